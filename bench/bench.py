"""The benchmark: Tollgate with everything on, beside a bare reverse proxy, in interleaved rounds; and what its money costs.

  bench/run            about ten minutes; prints a table and writes it under bench/results/
  bench/run --quick    about two minutes, one round
  bench/run --only tollgate,budgets,funds,lend --workloads W1    the money alone
  bench/run --only organisation --workloads none    how a large organisation loads
  bench/run --only tools --workloads none    the way to servers of tools

The proxy under test has a core of its own; the load generator, the simulated provider and the control plane share the others.
Everything is on loopback, on free ports. CPU time per request is that of the proxy's process alone, from /proc, while as
many requests as it can take come in. Latency is measured at a fixed rate that leaves it mostly idle, and what the direct way
to the provider takes is subtracted. Figures are medians over the rounds, with the lowest and the highest. "budgets" is the
proxy of "tollgate", for a key whose requests are held in three budgets.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import bodies
import load
import machine
import mcp
import money
import organisation
import peers
import tollgate

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


@dataclasses.dataclass
class Workload:
    """What is sent, and how often."""

    name: str
    title: str
    body: bytes
    connections: int
    # Requests a second, far below what any of the proxies can take.
    fixed_rate: int


@dataclasses.dataclass
class Plan:
    """How long everything takes."""

    rounds: int
    seconds: float
    streams: int
    # Of the load of many keys, and of the exchanges of the control plane alone.
    steady_seconds: float
    exchanges: int


FULL = Plan(rounds=5, seconds=3.0, streams=2_000, steady_seconds=30.0, exchanges=20_000)
QUICK = Plan(rounds=1, seconds=1.5, streams=500, steady_seconds=10.0, exchanges=5_000)


WORKLOADS = [
    Workload("W1", "1 KB body, JSON answer", bodies.small(), 32, 1_000),
    Workload("W2", "400 KB agent session, JSON answer", bodies.session(), 16, 100),
    Workload("W3", "200 events streamed", bodies.streamed(200), 16, 100),
]
# Long enough that thousands of connections are open before the first of them ends.
SLOW_STREAM = bodies.streamed(24, "500ms")
SLOW_STREAM_OPENING_SECONDS = 11
# Connections to the provider that idled before a stream took them, and files that are closed meanwhile.
REUSED_MAX = 100


class Bench:
    """The targets, and what was measured of them."""

    def __init__(self, plan, generator, direct, targets, workloads):
        self.plan = plan
        self.workloads = [workload for workload in WORKLOADS if workload.name in workloads]
        self.generator = generator
        self.direct = direct
        self.targets = targets
        self.figures = {}
        self.say = say

    def note(self, target, workload, figure, value):
        self.figures.setdefault((target, workload, figure), []).append(value)

    def idle(self):
        for target in self.slow_targets():
            self.note(target.name, "W4", "idle MB", target.process.resident_bytes() / 1e6)

    def slow_targets(self):
        return [target for target in self.targets if target.takes("W4")]

    def round(self, number):
        for workload in self.workloads:
            direct = self.fixed(self.direct, workload)
            for target in self.targets:
                if not target.takes(workload.name):
                    continue
                say(f"round {number} of {self.plan.rounds}: {workload.name} {target.name}")
                calls = Calls(self, target, workload)
                fixed = self.fixed(target, workload)
                calls.note("calls, fixed", fixed.requests)
                for figure, part in (("added p50", 0.50), ("added p99", 0.99)):
                    added = fixed.quantile_us(part) - direct.quantile_us(part)
                    self.note(target.name, workload.name, figure, added)
                # The size of the run from a short one, so that each takes as long on any machine.
                probe = self.flat_out(target, workload, workload.connections * 4)
                run = self.flat_out(target, workload, max(100, int(probe.rate * self.plan.seconds)))
                calls.note("calls, flat out", probe.requests + run.requests)
                self.note(target.name, workload.name, "rate", run.rate)
                self.note(target.name, workload.name, "cpu", run.cpu_us)

    def fixed(self, target, workload):
        requests = int(workload.fixed_rate * self.plan.seconds)
        return self.generator.run(target, workload.body, requests, 8, rate=workload.fixed_rate)

    def flat_out(self, target, workload, requests):
        return self.generator.run(target, workload.body, requests, workload.connections, watched=target.process)

    def streams(self):
        """Memory of the proxy while all streams are open, less what it had before."""
        count = self.plan.streams
        for target in self.slow_targets():
            say(f"W4 {target.name}: {count} streams at once")
            before, files = target.process.resident_bytes(), target.process.open_files()
            cpu = target.process.cpu_seconds()
            opened = self.generator.start(target, SLOW_STREAM, count)
            # Each stream has a connection on either side; those on the far side that idled before are used again.
            all_open = lambda p=target.process, f=files: p.open_files() >= f + 2 * count - REUSED_MAX  # noqa: E731
            opened.wait_for(all_open, f"{count} streams were open", SLOW_STREAM_OPENING_SECONDS)
            held = target.process.resident_bytes()
            self.generator.finish(target, opened, count)
            self.note(target.name, "W4", "MB with all streams", held / 1e6)
            self.note(target.name, "W4", "KB a stream", (held - before) / count / 1e3)
            self.note(target.name, "W4", "cpu", (target.process.cpu_seconds() - cpu) * 1e6 / count)


class Calls:
    """Counts how often the proxy asks for money, for a target that has budgets."""

    def __init__(self, bench, target, workload):
        self.bench, self.target, self.workload = bench, target, workload
        self.before = target.exchanges() if target.exchanges else 0

    def note(self, figure, requests):
        if self.target.exchanges:
            after = self.target.exchanges()
            self.bench.note(self.target.name, self.workload.name, figure, (after - self.before) / requests)
            self.before = after


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- the table -------------------------------------------------------------------------------------------------------


def spread(values, form="{:.0f}"):
    if not values:
        return "–"
    middle = form.format(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({form.format(min(values))}–{form.format(max(values))})"


def table(bench, header):
    lines = [*header, "", "| workload | proxy | CPU µs per request | to the floor | added p50 µs | added p99 µs | most per second |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|")
    get = lambda target, workload, figure: bench.figures.get((target, workload, figure), [])  # noqa: E731
    for workload in bench.workloads:
        for target in bench.targets:
            if not target.takes(workload.name):
                continue
            pairs = zip(get(target.name, workload.name, "cpu"), get("floor", workload.name, "cpu"))
            ratios = [ours / floor for ours, floor in pairs if floor]
            cells = [
                f"{workload.name} {workload.title}",
                target.name,
                spread(get(target.name, workload.name, "cpu")),
                spread(ratios, "{:.2f}"),
                spread(get(target.name, workload.name, "added p50")),
                spread(get(target.name, workload.name, "added p99")),
                spread(get(target.name, workload.name, "rate")),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    if not bench.workloads:
        lines = [*header]
    lines += money.table(bench, spread) + mcp.table(bench, spread) + organisation.table(bench, spread)
    if not get("floor", "W4", "KB a stream"):
        return "\n".join(lines) + "\n"
    lines += ["", f"| W4: {bench.plan.streams} slow streams at once | MB idle | MB with all streams | KB per stream |"]
    lines.append("|---|--:|--:|--:|")
    for target in bench.slow_targets():
        cells = [spread(get(target.name, "W4", figure), "{:.1f}") for figure in ("idle MB", "MB with all streams", "KB a stream")]
        lines.append(f"| {target.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def header(plan, proof):
    now = datetime.datetime.now(datetime.UTC)
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    version = subprocess.run(["h2load", "--version"], capture_output=True, text=True).stdout.split()
    return [
        f"# Benchmark of {now:%Y-%m-%d %H:%M} UTC",
        "",
        f"Machine: {machine.description()}. Commit {commit.stdout.strip() or 'unknown'}. Load: h2load {version[1]}, HTTP/1.1.",
        f"{plan.rounds} round{'s' * (plan.rounds > 1)}, interleaved; medians (lowest–highest).",
        f"Tollgate with virtual key, access rules, metering, spool and traces (one request in 100): {proof}.",
        "At the highest rate the load, the provider and the control plane share the other cores, and can be what limits it.",
    ]


def write(bench, text):
    RESULTS.mkdir(parents=True, exist_ok=True)
    stem = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H%MZ")
    (RESULTS / f"{stem}.md").write_text(text)
    figures = {" / ".join(key): [round(value, 3) for value in values] for key, values in bench.figures.items()}
    (RESULTS / f"{stem}.json").write_text(json.dumps(figures, indent=1) + "\n")
    say(f"written to bench/results/{stem}.md")


def own(directory, name):
    """A directory for the processes of one part."""
    path = os.path.join(directory, name)
    os.mkdir(path)
    return path


def main():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, about a minute")
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "target" / "measure")
    parser.add_argument("--only", help="the targets to measure, separated by commas; also tools, funds, lend and organisation")
    parser.add_argument("--workloads", default="W1,W2,W3,W4", help="the workloads to measure, separated by commas")
    parser.add_argument("--no-write", action="store_true", help="print the table and write no file")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    directory = tempfile.mkdtemp(prefix="tollgate-bench-")
    kept = True
    try:
        with contextlib.ExitStack() as stack:
            mine, others = machine.cores()
            os.sched_setaffinity(0, others)
            provider = tollgate.simulator(stack, arguments.programs, others, directory)
            targets = [peers.floor(stack, arguments.programs, provider, mine, directory)]
            if shutil.which("nginx"):
                targets.append(peers.nginx(stack, provider, mine, directory))
            only = arguments.only.split(",") if arguments.only else None
            ours = None
            if only is None or {"tollgate", "budgets"} & set(only):
                ours = tollgate.Tollgate(stack, arguments.programs, provider, mine, others, directory)
                targets += [ours.target(), ours.budgets()]
            targets = [target for target in targets if only is None or target.name in only or target.name == "floor"]
            generator = load.Load(others, directory)
            for target in targets:
                peers.verify_equal(provider, target, bodies.small())
            workloads = arguments.workloads.split(",")
            bench = Bench(plan, generator, provider, targets, workloads)
            bench.idle()
            for number in range(1, plan.rounds + 1):
                bench.round(number)
            if "W4" in workloads:
                bench.streams()
            proof = "not measured"
            if ours:
                if only is None or "budgets" in only:
                    money.steady(bench, ours)
                # Each was also asked once to compare its answer with the direct one.
                of_ours = [target.name for target in targets if target.process is ours.process]
                proof = ours.proof(sum(generator.sent[name] + 1 for name in of_ours))
        if only is None or "tools" in only:
            mcp.measure(bench, arguments.programs, (mine, others), own(directory, "tools"))
        # The programs below take every core: the processes above have ended.
        if only is None or "funds" in only:
            say("hold and settle on the hot path")
            money.holding(bench)
        if only is None or "lend" in only:
            money.lending(bench, arguments.programs, directory)
        if only is None or "organisation" in only:
            organisation.starting(bench, arguments.programs, directory)
        text = table(bench, header(plan, proof))
        print(text)
        if not arguments.no_write:
            write(bench, text)
        kept = False
    except machine.Stop as problem:
        sys.exit(f"bench: {problem}\nlogs are in {directory}")
    finally:
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
