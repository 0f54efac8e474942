"""What money costs: on the proxy's hot path, in calls to the control plane, and in its database.

The goals are those of the design: hold and settle in three budgets within 20 µs (99 % of requests), at most 0.6 lease calls
a request at steady load, 1,500 exchanges a second over PostgreSQL and 500 over SQLite.
"""

import http.client
import os
import pathlib
import random
import re
import subprocess
import threading
import time
import urllib.parse

import bodies
import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Steady load: so many keys, each busy enough that it borrows several times while it is watched.
KEYS = 20
REQUESTS_PER_SECOND = 100
SENDERS = 16
# The first requests find nothing borrowed; what is measured begins after so many of each key.
OPENING_REQUESTS = 2
PROGRAM_SECONDS_MAX = 600


def holding(bench):
    """The bench of Criterion: hold and settle on the hot path. Its percentiles."""
    command = ["cargo", "bench", "--locked", "--profile", "measure", "-p", "tollgate-proxy", "--bench", "funds"]
    output = run(command)
    if mean := re.search(r"hold_and_settle\s+time:\s+\[\S+ \S+ (\S+) (\S+) ", output):
        unit = {"ns": 1e-3, "µs": 1, "us": 1, "ms": 1e3}[mean[2]]
        bench.note("funds", "one thread", "mean µs", float(mean[1]) * unit)
    line = r"3 budgets, .* keys, (.*): p50 ([\d.]+) µs, p99 ([\d.]+) µs, p99.9 ([\d.]+) µs; (\d+) of (\d+) waited"
    found = re.findall(line, output)
    if not found:
        raise machine.Stop(f"the bench of the funds said nothing:\n{output}")
    for what, p50, p99, p999, waited, count in found:
        for figure, value in (("p50 µs", p50), ("p99 µs", p99), ("p99.9 µs", p999)):
            bench.note("funds", what, figure, float(value))
        bench.note("funds", what, "waited %", 100 * int(waited) / int(count))


def lending(bench, programs, directory):
    """Exchanges a second out of the control plane's books, of three budgets each."""
    program = str(programs / "examples" / "lend")
    exchanges = str(bench.plan.exchanges)
    sqlite = os.path.join(directory, "books.db")
    postgres = ["scripts/with-services", "sh", "-c", f'"{program}" "$TOLLGATE_TEST_POSTGRES_URL" {exchanges}']
    for number in range(1, bench.plan.rounds + 1):
        lent(bench, "SQLite", number, [program, f"sqlite://{sqlite}-{number}", exchanges])
        lent(bench, "PostgreSQL", number, postgres, {"TOLLGATE_TEST_DURABLE": "on"})
        lent(bench, "PostgreSQL without fsync", number, postgres)


def lent(bench, store, number, command, environment=None):
    bench.say(f"round {number} of {bench.plan.rounds}: lend {store}")
    output = run(command, environment)
    found = re.search(r"lenders: (\d+) a second; half within ([\d.]+) ms, 99 % within ([\d.]+) ms", output)
    if not found:
        raise machine.Stop(f"lend said nothing:\n{output}")
    for figure, value in zip(("exchanges a second", "p50 ms", "p99 ms"), found.groups()):
        bench.note("lend", store, figure, float(value))


def run(command, environment=None):
    """What a program prints that may use every core."""
    cores = machine.all_cores()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS_MAX,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode != 0:
        raise machine.Stop(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def steady(bench, ours):
    """Many keys, each of which asks now and then: what of it makes the control plane's work, and who waits."""
    bench.say(f"steady load: {KEYS} keys, {REQUESTS_PER_SECOND} requests a second")
    targets = [ours.target_of("steady", ours.budgeted_key(f"steady-{number}")) for number in range(KEYS)]
    ours.await_key(targets[-1])
    schedule(targets * OPENING_REQUESTS)
    picks = random.Random(1)
    requests = int(REQUESTS_PER_SECOND * bench.plan.steady_seconds)
    before, waits = ours.exchanges(), ours.waits()
    schedule([picks.choice(targets) for _ in range(requests)])
    bench.note("steady", "W1", "lease calls a request", (ours.exchanges() - before) / requests)
    bench.note("steady", "W1", "admitted at once %", 100 * (1 - (ours.waits() - waits) / requests))
    ours.extra += KEYS * OPENING_REQUESTS + requests


def schedule(targets):
    """Sends a small request to each, one after the other at the fixed rate, over a few connections."""
    began, body, failed = time.monotonic(), bodies.small(), []

    def send(first):
        parts = urllib.parse.urlsplit(targets[0].url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        for number in range(first, len(targets), SENDERS):
            time.sleep(max(0.0, began + number / REQUESTS_PER_SECOND - time.monotonic()))
            connection.request("POST", parts.path, body, targets[number].headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                failed.append(text)
        connection.close()

    senders = [threading.Thread(target=send, args=(first,)) for first in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    if failed:
        raise machine.Stop(f"{len(failed)} of {len(targets)} requests were not answered with 200: {failed[0][:300]!r}")


def table(bench, spread):
    """What was measured of it, and the goals."""
    get = lambda *key: bench.figures.get(key, [])  # noqa: E731
    rows = []
    for what in ("one thread", "two threads on one team"):
        for figure, goal in (("mean µs", ""), ("p50 µs", ""), ("p99 µs", "20"), ("p99.9 µs", ""), ("waited %", "")):
            rows.append((f"hold and settle, {what}: {figure}", get("funds", what, figure), "{:.2f}", goal))
    on, off = get("budgets", "W1", "cpu"), get("tollgate", "W1", "cpu")
    ratios = [with_budgets / without for with_budgets, without in zip(on, off) if without]
    rows.append(("W1, CPU with three budgets to without", ratios, "{:.2f}", ""))
    rows.append(("W1, one key, 1,000 a second: lease calls a request", get("budgets", "W1", "calls, fixed"), "{:.4f}", "0.6"))
    rows.append(("W1, one key, flat out: lease calls a request", get("budgets", "W1", "calls, flat out"), "{:.4f}", "0.6"))
    many = f"{KEYS} keys, {REQUESTS_PER_SECOND} a second"
    rows.append((f"{many}: lease calls a request", get("steady", "W1", "lease calls a request"), "{:.3f}", "0.6"))
    rows.append((f"{many}: admitted at once %", get("steady", "W1", "admitted at once %"), "{:.1f}", ""))
    for store, goal in (("SQLite", "500"), ("PostgreSQL", "1500"), ("PostgreSQL without fsync", "1500")):
        rows.append((f"exchanges a second, {store}", get("lend", store, "exchanges a second"), "{:.0f}", goal))
        rows.append((f"p99 ms of an exchange, {store}", get("lend", store, "p99 ms"), "{:.1f}", ""))
    lines = ["", "| money: three budgets (customer, team, key) | measured | goal |", "|---|--:|--:|"]
    lines += [f"| {what} | {spread(values, form)} | {goal} |" for what, values, form, goal in rows if values]
    return lines if len(lines) > 3 else []
