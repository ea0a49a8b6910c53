"""What is compared: daemons, each behind a driver in perf/drivers, started and stopped for one run."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .scenarios import PERF

DRIVERS = PERF / "drivers"
READY_SECONDS = 180
UNAVAILABLE = 3


class Unavailable(Exception):
    """The daemon isn't there, or can't do what is asked; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A daemon: a driver, and the binary if it isn't the installed one."""

    name: str
    driver: str
    binary: str | None = None
    # Environment variables that its driver obeys.
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether this is ringbgp, whose goals are judged."""
        return self.driver.startswith("ringbgp")

    @property
    def is_relay(self) -> bool:
        """Whether this is the null relay, the limit."""
        return self.driver == "relay"

    @property
    def is_other(self) -> bool:
        """Whether this is one of the daemons that ringbgp is compared with."""
        return not self.is_own and not self.is_relay

    def environment(self, family: str = "ipv4") -> dict[str, str]:
        environment = dict(os.environ, FAMILY=family) | dict(self.settings)
        if self.binary:
            environment["BINARY"] = self.binary
        return environment

    def says(self, question: str) -> str:
        """What the driver answers to `version` or `settings`."""
        answer = subprocess.run([DRIVERS / self.driver, question], env=self.environment(),
                                capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise Unavailable(last_line(answer.stderr) or f"exit code {answer.returncode}")
        return answer.stdout.strip()


def installed() -> list[Subject]:
    """A subject for each driver: the relay and ringbgp first, then the others."""
    drivers = [path.name for path in sorted(DRIVERS.iterdir())
               if path.is_file() and os.access(path, os.X_OK)]
    subjects = [Subject(driver, driver) for driver in drivers]
    return sorted(subjects, key=lambda subject: (not subject.is_relay, not subject.is_own))


def peer(text: str) -> Subject:
    """A subject from NAME=PATH, where NAME is a driver or driver:label."""
    name, _, path = text.partition("=")
    driver = name.partition(":")[0]
    if not path or not (DRIVERS / driver).is_file():
        known = ", ".join(subject.driver for subject in installed())
        raise ValueError(f"--peer {text}: NAME=PATH is wanted, NAME one of {known}, or one of them"
                         " with :LABEL")
    return Subject(name, driver, str(Path(path).resolve()))


class Daemon:
    """A running subject, with a directory of its own; a context manager."""

    def __init__(self, subject: Subject, kind: str, family: str, neighbors: str):
        self.subject = subject
        self.directory = Path(tempfile.mkdtemp(prefix="compare-"))
        self.port = free_port()
        self.environment = subject.environment(family)
        neighbors_file = self.directory / "neighbors"
        neighbors_file.write_text(neighbors, encoding="utf-8")
        home = self.directory / "home"
        home.mkdir()
        self.home = home
        self.log = self.directory / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [DRIVERS / subject.driver, "start", home, str(self.port), neighbors_file, kind],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                start_new_session=True)

    def __enter__(self) -> "Daemon":
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def reload(self) -> str:
        """The shell command that changes the daemon's policy."""
        return f"{DRIVERS / self.subject.driver} reload {self.home}"

    def wait_until_ready(self) -> None:
        """Waits until the daemon listens and knows all neighbors."""
        deadline = time.monotonic() + READY_SECONDS
        while not (is_listening(self.port) and self.driver_says_ready()):
            code = self.process.poll()
            if code is not None:
                reason = last_line(self.log.read_text(errors="replace")) or "said nothing"
                raise Unavailable(reason if code == UNAVAILABLE else
                                  f"ended before it was ready: {reason}")
            if time.monotonic() > deadline:
                raise Unavailable(f"not ready after {READY_SECONDS} s")
            time.sleep(0.05)

    def driver_says_ready(self) -> bool:
        answer = subprocess.run([DRIVERS / self.subject.driver, "ready", self.home],
                                env=self.environment, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, check=False)
        return answer.returncode == 0

    def stop(self) -> None:
        """Ends the daemon and what it started; nothing of it stays."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def end_cleanly() -> None:
    """Has this program, told to end by a signal, end what it started first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


next_port = 18000 + os.getpid() % 2000


def free_port() -> int:
    """A port on which nobody listens: each run has another, so that no run meets the closing
    connections of the one before."""
    global next_port
    while True:
        next_port = 18000 + (next_port + 1 - 18000) % 12000
        if not is_listening(next_port):
            return next_port


def is_listening(port: int) -> bool:
    """Whether something listens on the port over IPv4."""
    listening = "0A"
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            fields = line.split()
            if fields[3] == listening and int(fields[1].rpartition(":")[2], 16) == port:
                return True
    return False


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
