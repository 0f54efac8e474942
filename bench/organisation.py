"""How long a large organisation takes to load: 10,000 users in 200 groups, each user with an identity, a group and a key.

A control plane starts over a database that has them, until it is ready; then a replica starts that has nothing, until it is ready:
the snapshot is read, built, signed, sent, verified, decoded and installed by then. A second replica finds the snapshot encoded.
A request with the key of the last user shows that they are there. The goal is 2 s for both together. No core is reserved.
"""

import contextlib
import os
import pathlib
import secrets
import subprocess
import time

import bodies
import machine
import money
import peers
import tollgate

ROOT = pathlib.Path(__file__).resolve().parent.parent
USERS = 10_000
GROUPS = 200
GOAL_MS = 2_000
POLL_SECONDS = 0.002
# A replica writes its disk cache about two seconds after the snapshot came.
CACHE_SECONDS_MAX = 20
STORES = ("SQLite", "PostgreSQL")

DECLARATION = """
providers:
  - name: simulator
    dialect: anthropic
    base_url: {provider}
    allow_private: true
    vendor: anthropic
    credentials: [{{ name: primary, secret: {secret}, weight: 1 }}]
"""


class Plane:
    """A control plane over the database, and the replicas that are started at it."""

    def __init__(self, stack, programs, url, directory):
        self.stack, self.programs, self.directory = stack, programs, directory
        self.fleet_token = secrets.token_hex(32)
        ports = {name: peers.free_port() for name in ("ADMIN", "FLEET", "HTTP")}
        self.ports = ports
        listen = {f"TOLLGATE_{name}_LISTEN": f"127.0.0.1:{port}" for name, port in ports.items()}
        environment = {
            "TOLLGATE_DATABASE_URL": url,
            "TOLLGATE_DATA_DIR": directory,
            "TOLLGATE_FLEET_TOKEN": self.fleet_token,
            **listen,
        }
        command = [str(programs / "tollgate-control-plane")]
        self.process, self.ready_ms = self.start("control-plane", command, environment, ports["HTTP"])

    def replica(self, name):
        """Starts a replica that has nothing yet. Its process, the milliseconds until it was ready, and its address."""
        data = os.path.join(self.directory, f"{name}-{secrets.token_hex(4)}")
        os.mkdir(data, 0o700)
        port, status = peers.free_port(), peers.free_port()
        environment = {
            "TOLLGATE_LISTEN": f"127.0.0.1:{port}",
            "TOLLGATE_STATUS_LISTEN": f"127.0.0.1:{status}",
            "TOLLGATE_CONTROL_PLANE": f"http://127.0.0.1:{self.ports['FLEET']}",
            "TOLLGATE_DATA_DIR": data,
            "TOLLGATE_NAME": name,
            "TOLLGATE_FLEET_TOKEN": self.fleet_token,
        }
        process, ready_ms = self.start(name, [str(self.programs / "tollgate-proxy")], environment, status)
        return process, ready_ms, f"http://127.0.0.1:{port}/v1/messages", data

    def start(self, name, command, environment, port):
        began = time.monotonic()
        process = machine.Process(name, command, machine.all_cores(), environment, self.directory)
        self.stack.callback(process.stop)
        url = f"http://127.0.0.1:{port}/readyz"
        process.wait_for(lambda: tollgate.ready(url), "it was ready", seconds=60, pause=POLL_SECONDS)
        return process, (time.monotonic() - began) * 1e3

    def command(self, *arguments):
        """Runs a command of the command line; what it prints."""
        with open(os.path.join(self.directory, "admin-token")) as file:
            token = file.read().strip()
        environment = {"PATH": os.environ["PATH"], "HOME": self.directory}
        environment |= {"TOLLGATE_SERVER": f"http://127.0.0.1:{self.ports['ADMIN']}", "TOLLGATE_TOKEN": token}
        return tollgate.run(self.programs, arguments, environment)


def starting(bench, programs, directory):
    """Fills a database of each kind, and starts over it again and again."""
    for store in STORES:
        with contextlib.ExitStack() as stack:
            provider = tollgate.simulator(stack, programs, machine.all_cores(), directory)
            data = os.path.join(directory, f"organisation-{store.lower()}")
            os.mkdir(data, 0o700)
            url = f"sqlite://{data}/tollgate.db" if store == "SQLite" else postgres(stack)
            bench.say(f"{USERS} users in {GROUPS} groups: filling {store}")
            key = fill(programs, url, data)
            secret = furnish(programs, url, data, provider, key)
            for number in range(1, bench.plan.rounds + 1):
                bench.say(f"round {number} of {bench.plan.rounds}: starting over {store}")
                with contextlib.ExitStack() as started:
                    start(bench, store, Plane(started, programs, url, data), secret)


def start(bench, store, plane, secret):
    note = lambda figure, value: bench.note("organisation", store, figure, value)  # noqa: E731
    note("control plane ms", plane.ready_ms)
    first, first_ms, url, data = plane.replica("first")
    note("first replica ms", first_ms)
    note("together ms", plane.ready_ms + first_ms)
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01", "authorization": f"Bearer {secret}"}
    status, body = peers.answer(peers.Target("first", url, headers, first), bodies.small())
    if status != 200:
        raise machine.Stop(f"the key of the last user was answered with {status}: {body[:300]!r}")
    note("second replica ms", plane.replica("second")[1])
    note("control plane MB", plane.process.resident_bytes() / 1e6)
    note("replica MB", first.resident_bytes() / 1e6)
    cached = os.path.join(data, "snapshot-a")
    first.wait_for(lambda: os.path.exists(cached), "it wrote its disk cache", seconds=CACHE_SECONDS_MAX)
    note("snapshot KB", os.path.getsize(cached) / 1e3)


def fill(programs, url, data):
    """Puts the organisation into an empty database; the name of the last user's key."""
    command = [str(programs / "examples" / "organisation"), url, data, str(USERS), str(GROUPS)]
    return money.run(command).split()[-1]


def furnish(programs, url, data, provider, key):
    """Adds the simulated provider, and rotates the key, so that its secret is known."""
    with contextlib.ExitStack() as stack:
        plane = Plane(stack, programs, url, data)
        declaration = os.path.join(data, "provider.yaml")
        base_url = provider.url.removesuffix("/v1/messages")
        with open(declaration, "w") as file:
            file.write(DECLARATION.format(provider=base_url, secret=tollgate.PROVIDER_SECRET))
        plane.command("apply", "-f", declaration)
        return plane.command("key", "rotate", key)["secret"]


def postgres(stack):
    """A throw-away PostgreSQL, which ends with the stack; its URL."""
    command = ["scripts/with-services", "sh", "-c", 'echo "$TOLLGATE_TEST_POSTGRES_URL"; cat >/dev/null']
    on_all_cores = lambda: os.sched_setaffinity(0, machine.all_cores())  # noqa: E731
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, preexec_fn=on_all_cores)

    def stop():
        process.stdin.close()
        process.wait()
        process.stdout.close()

    stack.callback(stop)
    url = process.stdout.readline().strip()
    if not url:
        raise machine.Stop("PostgreSQL did not start")
    return url


def table(bench, spread):
    """What was measured of it, and the goal."""
    rows = [
        ("control plane, from its start until it is ready, ms", "control plane ms", "{:.0f}", ""),
        ("first replica, from its start until it is ready, ms", "first replica ms", "{:.0f}", ""),
        ("both, one after the other, ms", "together ms", "{:.0f}", f"{GOAL_MS}"),
        ("second replica, ms", "second replica ms", "{:.0f}", ""),
        ("snapshot as the replica keeps it, KB", "snapshot KB", "{:.0f}", ""),
        ("control plane, resident MB", "control plane MB", "{:.1f}", ""),
        ("replica, resident MB", "replica MB", "{:.1f}", ""),
    ]
    if not any(key[0] == "organisation" for key in bench.figures):
        return []
    lines = ["", f"| {USERS} users in {GROUPS} groups, a key each | {' | '.join(STORES)} | goal |", "|---|--:|--:|--:|"]
    for what, figure, form, goal in rows:
        cells = [spread(bench.figures.get(("organisation", store, figure), []), form) for store in STORES]
        lines.append(f"| {what} | {' | '.join(cells)} | {goal} |")
    return lines
