"""Drives h2load, the load generator of nghttp2, over HTTP/1.1, and reads what it measured."""

import collections
import dataclasses
import os
import re
import signal
import time

import machine

# The answers that a run may cost before it is called broken.
PATIENCE_SECONDS = 60


@dataclasses.dataclass
class Run:
    """What one run measured."""

    requests: int
    seconds: float
    cpu_us: float
    latencies_us: list

    @property
    def rate(self):
        return self.requests / self.seconds

    def quantile_us(self, part):
        ordered = sorted(self.latencies_us)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


class Load:
    """A load generator that knows where it runs."""

    def __init__(self, cores, directory):
        self.cores = cores
        self.directory = directory
        # How many requests each target was sent.
        self.sent = collections.Counter()

    def run(self, target, body, requests, connections, rate=None, watched=None):
        """Sends so many requests, as fast as the connections allow or at a fixed rate."""
        log = os.path.join(self.directory, "requests.tsv")
        body_path = os.path.join(self.directory, "body.json")
        with open(body_path, "wb") as file:
            file.write(body)
        if os.path.exists(log):
            os.remove(log)
        command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-n{requests}", f"-d{body_path}", f"--log-file={log}"]
        if rate:
            # Each connection has a clock of its own. One begins after the other, so that requests come one by one: begun at once, the
            # connections would send at the same instants, and most of what is measured would be one request's wait for the others.
            between_ms = max(1, round(1e3 / rate))
            command += [f"--rps={rate / connections:.4f}", "-r1", f"--rate-period={between_ms}ms"]
        command += self.arguments(target)
        before = watched.cpu_seconds() if watched else 0
        started = time.monotonic()
        output = self.execute(command)
        seconds = time.monotonic() - started
        after = watched.cpu_seconds() if watched else 0
        self.verify(target, output, requests)
        if finished := re.search(r"finished in ([\d.]+)(us|ms|s|m)", output):
            seconds = float(finished[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[finished[2]]
        with open(log) as rows:
            latencies = [int(row.split("\t")[2]) for row in rows]
        # Connections are opened and caches filled in the first tenth.
        return Run(requests, seconds, (after - before) * 1e6 / requests, latencies[len(latencies) // 10 :])

    def start(self, target, body, connections):
        """Opens so many streams at once, one request each, and leaves them open."""
        body_path = os.path.join(self.directory, "stream.json")
        with open(body_path, "wb") as file:
            file.write(body)
        command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-n{connections}", f"-d{body_path}"]
        return machine.Process("load", [*command, *self.arguments(target)], self.cores, directory=self.directory)

    def finish(self, target, process, requests):
        """Waits until each of the streams has ended."""
        try:
            output, _ = process.popen.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.stop()
        self.verify(target, output.decode(), requests)

    def execute(self, command):
        process = machine.Process("load", command, self.cores, directory=self.directory)
        try:
            output, _ = process.popen.communicate(timeout=PATIENCE_SECONDS)
        except Exception as problem:
            os.kill(process.pid, signal.SIGKILL)
            raise machine.Stop(f"the load generator did not end: {problem}") from problem
        finally:
            process.stop()
        return output.decode()

    @staticmethod
    def arguments(target):
        headers = [argument for name, value in target.headers.items() for argument in ("-H", f"{name}: {value}")]
        return [*headers, target.url]

    def verify(self, target, output, requests):
        """Every request must have been answered with 2xx: a refusal is fast, and would flatter the figures."""
        self.sent[target.name] += requests
        codes = re.search(r"status codes: (\d+) 2xx", output)
        if not codes or int(codes[1]) != requests:
            raise machine.Stop(f"not all of {requests} requests were answered with 2xx:\n{output}")
