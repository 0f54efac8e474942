"""Sets Tollgate up as its users do: a control plane over SQLite, one proxy, a key, everything on."""

import dataclasses
import decimal
import http.server
import json
import os
import re
import secrets
import subprocess
import threading
import time
import urllib.request

import machine
import peers

# Traces of one request in a hundred, as a busy installation would have it.
TRACE_RATIO = "0.01"
PROVIDER_SECRET = "bench-provider-secret"

DECLARATION = """
providers:
  - name: simulator
    dialect: anthropic
    base_url: {provider}
    allow_private: true
    vendor: anthropic
    credentials: [{{ name: primary, secret: {secret}, weight: 1 }}]
customers:
  - {{ name: bench }}
  - {{ name: spending, budgets: [{budget}] }}
teams:
  - {{ name: bench, customer: bench }}
  - {{ name: spending, customer: spending, budgets: [{budget}] }}
"""
# More than the benchmark spends, also in one part of it that a replica borrows ahead.
BUDGET_USD = 1_000_000
BUDGET = f"{{ limit: {BUDGET_USD} USD, window: 1M, align: calendar }}"


def simulator(stack, programs, cores, directory):
    """The simulated provider, as a target that is asked directly."""
    command = [str(programs / "tollgate-simulator"), "--listen", "127.0.0.1:0", "--no-ledger"]
    process = machine.Process("simulator", command, cores, directory=directory)
    stack.callback(process.stop)
    address = process.first_line().split()[-1].removeprefix("http://")
    headers = {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": PROVIDER_SECRET,
    }
    return peers.Target("direct", f"http://{address}/v1/messages", headers, process)


class Tollgate:
    """A control plane and the proxy under test."""

    def __init__(self, stack, programs, provider, mine, others, directory):
        self.programs = programs
        self.directory = directory
        fleet_token = secrets.token_hex(32)
        collector = trace_collector(stack)
        plane_data, proxy_data = os.path.join(directory, "control-plane"), os.path.join(directory, "proxy")
        os.mkdir(plane_data, 0o700)
        os.mkdir(proxy_data, 0o700)
        ports = {name: peers.free_port() for name in ("admin", "fleet", "http")}
        plane = machine.Process(
            "control-plane",
            [str(programs / "tollgate-control-plane")],
            others,
            {
                "TOLLGATE_DATABASE_URL": f"sqlite://{plane_data}/tollgate.db",
                "TOLLGATE_DATA_DIR": plane_data,
                "TOLLGATE_ADMIN_LISTEN": f"127.0.0.1:{ports['admin']}",
                "TOLLGATE_FLEET_LISTEN": f"127.0.0.1:{ports['fleet']}",
                "TOLLGATE_HTTP_LISTEN": f"127.0.0.1:{ports['http']}",
                "TOLLGATE_FLEET_TOKEN": fleet_token,
            },
            directory,
        )
        stack.callback(plane.stop)
        plane.wait_for(lambda: ready(f"http://127.0.0.1:{ports['http']}/readyz"), "it was ready")
        self.plane_metrics = f"http://127.0.0.1:{ports['http']}/metrics"
        self.server = f"http://127.0.0.1:{ports['admin']}"
        with open(os.path.join(plane_data, "admin-token")) as file:
            self.token = file.read().strip()
        base_url = provider.url.removesuffix("/v1/messages")
        declaration = os.path.join(directory, "bench.yaml")
        with open(declaration, "w") as file:
            file.write(DECLARATION.format(provider=base_url, secret=PROVIDER_SECRET, budget=BUDGET))
        self.command("apply", "-f", declaration)
        self.key = self.command("key", "create", "--name", "bench", "--team", "bench", "--model", "claude-*")["secret"]
        self.spending_key = self.budgeted_key("spending")
        # Requests that were sent by others than the load generator.
        self.extra = 0
        self.process = machine.Process(
            "proxy",
            [str(programs / "tollgate-proxy")],
            mine,
            {
                "TOLLGATE_LISTEN": "127.0.0.1:0",
                "TOLLGATE_STATUS_LISTEN": "127.0.0.1:0",
                "TOLLGATE_CONTROL_PLANE": f"http://127.0.0.1:{ports['fleet']}",
                "TOLLGATE_DATA_DIR": proxy_data,
                "TOLLGATE_NAME": "bench",
                "TOLLGATE_FLEET_TOKEN": fleet_token,
                "TOLLGATE_OTLP_ENDPOINT": collector,
                "TOLLGATE_TRACE_RATIO": TRACE_RATIO,
            },
            directory,
        )
        stack.callback(self.process.stop)
        found = endpoints(self.process, proxy_data)
        self.url, self.proxy_metrics = found["proxy"] + "/v1/messages", found["status"] + "/metrics"
        self.probes = 0
        # Ready when the proxy has its first snapshot, and with it the keys.
        self.await_key(self.target())
        self.await_key(self.budgets())

    def target(self):
        return self.target_of("tollgate", self.key)

    def budgets(self):
        """The same proxy, for a key that is held in three budgets: its own, its team's and its customer's."""
        target = self.target_of("budgets", self.spending_key)
        return dataclasses.replace(target, workloads=("W1",), exchanges=self.exchanges)

    def target_of(self, name, key):
        headers = {
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "authorization": f"Bearer {key}",
        }
        return peers.Target(name, self.url, headers, self.process)

    def budgeted_key(self, name):
        """Makes a key with a budget, in a team and a customer that have one each."""
        budget = f"{BUDGET_USD} USD/1M"
        created = self.command("key", "create", "--name", name, "--team", "spending", "--model", "claude-*", "--budget", budget)
        return created["secret"]

    def await_key(self, target):
        """Waits until the proxy knows the key of a target."""
        probe = b'{"model":"claude-opus-4-8","max_tokens":1,"messages":[{"role":"user","content":"hello"}]}'

        def answers():
            self.probes += 1
            try:
                return peers.answer(target, probe)[0] == 200
            except OSError:
                return False

        self.process.wait_for(answers, "it answered")
        # One was answered; those before it may be in the ledger, or not.
        self.extra += 1

    def exchanges(self):
        """How often the proxy has asked the control plane for money."""
        return sample(self.plane_metrics, r'tollgate_control_plane_rpcs_total{.*LeaseService/Exchange".*}')

    def waits(self):
        """How many attempts of the proxy did not find enough borrowed at once."""
        return sample(self.proxy_metrics, "tollgate_budget_waits")

    def command(self, *arguments):
        """What a command of the command line prints, read as JSON."""
        environment = {"PATH": os.environ["PATH"], "HOME": self.directory}
        environment |= {"TOLLGATE_SERVER": self.server, "TOLLGATE_TOKEN": self.token}
        return run(self.programs, arguments, environment)

    def proof(self, sent):
        """That each request is in the ledger: once it is, nothing was left out to be fast."""
        sent += self.extra
        deadline = time.monotonic() + 30
        while True:
            report = self.command("usage", "report", "--by", "key", "--since", "24h")
            rows = report if isinstance(report, list) else report["rows"]
            counted = sum(int(row["requests"]) for row in rows)
            if counted >= sent or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        cost = sum(decimal.Decimal(row["cost_usd"]) for row in rows)
        if not sent <= counted <= sent + self.probes:
            raise machine.Stop(f"{sent} requests were answered and {counted} are in the ledger")
        return f"all of {sent} requests are in the ledger, at {cost} USD"


def run(programs, arguments, environment):
    """What a command of the command line prints, read as JSON."""
    command = [str(programs / "tollgate"), *arguments, "-o", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise machine.Stop(f"tollgate {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def sample(url, name):
    """The sum of the samples of a metric whose name and labels match."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(name + " ", line))


def ready(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def endpoints(process, data):
    path = os.path.join(data, "endpoints.json")

    def read():
        try:
            with open(path) as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    return process.wait_for(read, "it wrote endpoints.json")


def trace_collector(stack):
    """Takes traces over OTLP and forgets them."""

    class Collector(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):  # noqa: N802
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_address[1]}"
