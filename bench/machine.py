"""What the benchmark does to processes: pins them, ends them by their ids, and reads their costs from /proc."""

import ctypes
import os
import resource
import signal
import subprocess
import time

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1
# W4 opens two sockets for each stream in the proxy and one at each end.
OPEN_FILES = 16_384
ALL_CORES = os.sched_getaffinity(0)


class Stop(Exception):
    """The benchmark cannot go on; the text says why."""


class Process:
    """A process pinned to cores, that ends with the benchmark whatever happens."""

    def __init__(self, name, command, cores, environment=None, directory=None):
        self.name = name
        self.log_path = os.path.join(directory or "/tmp", f"{name}.log")
        self.log = open(self.log_path, "ab")  # noqa: SIM115
        libc = ctypes.CDLL(None)

        def prepare():
            os.sched_setaffinity(0, cores)
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))

        self.popen = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            preexec_fn=prepare,
        )
        self.pid = self.popen.pid

    def first_line(self):
        line = self.popen.stdout.readline().decode().strip()
        if not line:
            raise Stop(f"{self.name} did not start:\n{self.tail()}")
        return line

    def wait_for(self, condition, what, seconds=20, pause=0.02):
        """The first true value of the condition."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.popen.poll() is not None:
                raise Stop(f"{self.name} ended with {self.popen.returncode} before {what}:\n{self.tail()}")
            if value := condition():
                return value
            time.sleep(pause)
        raise Stop(f"{self.name}: {what} did not happen within {seconds} s:\n{self.tail()}")

    def tail(self):
        self.log.flush()
        with open(self.log_path, errors="replace") as log:
            return "".join(log.readlines()[-15:])

    def cpu_seconds(self):
        """User and system time of all threads, ended ones included."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/statm") as statm:
            return int(statm.read().split()[1]) * PAGE_BYTES

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self.popen.stdout.close()
        self.log.close()


class Family(Process):
    """A process whose work its children do, such as nginx."""

    def members(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as children:
            return [int(pid) for pid in children.read().split()]

    def cpu_seconds(self):
        total = super().cpu_seconds()
        for pid in self.members():
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
        return total

    def resident_bytes(self):
        """Resident memory with shared pages counted once, over the whole family."""
        total = 0
        for pid in [self.pid, *self.members()]:
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
        return total

    def open_files(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.members())


def all_cores():
    """Those that the benchmark may use, whatever it was pinned to since."""
    return ALL_CORES


def cores():
    """The core of the proxy under test, and those of everything else."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise Stop("the benchmark needs two cores: one for the proxy under test, one for the load")
    return {available[0]}, set(available[1:])


def description():
    """The class of the machine, in one line."""
    with open("/proc/cpuinfo") as cpuinfo:
        names = [line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES / 2**30
    kernel = os.uname()
    return f"{len(names)} x {names[0] if names else kernel.machine}, {memory:.0f} GiB, Linux {kernel.release.split('-')[0]}"
