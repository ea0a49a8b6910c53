"""One run: a fresh daemon, one command of the load generator, what both say of it."""

import contextlib
import json
import os
import signal
import subprocess
import time

from . import machine
from .scenarios import PERF, Scenario
from .subjects import Daemon, Subject, Unavailable, last_line

LOADGEN = os.environ.setdefault(
    "LOADGEN", str(PERF.parent / "target" / "release" / "ringbgp-loadgen"))
# What a run may take beside its limit: sessions that come up, tables that are compared.
GRACE_SECONDS = 60
# What a profiler needs to attach itself.
COMPANION_SECONDS = 0.5

DONE, CUT_OFF, FAILED, UNAVAILABLE, DIFFERENT = "done", "cut off", "failed", "unavailable", "differs"


def neighbors(scenario: Scenario, arguments: str) -> str:
    """The routers that a command uses, as "ADDRESS ASN" lines."""
    command = [LOADGEN, "neighbors", *scenario.command(arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def run(subject: Subject, scenario: Scenario, arguments: str, limit: float,
        verify: bool = False, beside: str | None = None) -> dict:
    """Runs one command against a fresh daemon; never raises for what the daemon does. `beside` is
    a shell command that runs meanwhile, with the daemon's process as $PID."""
    try:
        routers = neighbors(scenario, arguments)
        with Daemon(subject, scenario.kind, scenario.family, routers) as daemon:
            with companion(beside, daemon):
                return against(daemon, scenario, arguments, limit, verify)
    except Unavailable as unavailable:
        return {"status": UNAVAILABLE, "reason": str(unavailable)}
    except subprocess.CalledProcessError as error:
        return {"status": FAILED, "reason": last_line(error.stderr)}


@contextlib.contextmanager
def companion(command: str | None, daemon: Daemon):
    """Runs a shell command beside the measurement, and interrupts it at the end."""
    if command is None:
        yield
        return
    process = subprocess.Popen(["bash", "-c", f"exec {command}"],
                               env=dict(os.environ, PID=str(daemon.pid)))
    time.sleep(COMPANION_SECONDS)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def against(daemon: Daemon, scenario: Scenario, arguments: str, limit: float,
            verify: bool) -> dict:
    """Runs one command against a daemon that is ready."""
    command = [LOADGEN, *scenario.command(arguments, daemon.reload), "--json",
               "--target", f"127.0.0.1:{daemon.port}", "--pid", str(daemon.pid),
               "--timeout", str(limit)] + (["--verify"] if verify else [])
    overflows = machine.listen_overflows()
    began = time.monotonic()
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False,
                                timeout=limit + GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        return {"status": CUT_OFF, "reason": f"not done after {limit:.0f} s"}
    result = {"listenOverflows": machine.listen_overflows() - overflows}
    if answer.returncode == 0:
        return result | figures(json.loads(answer.stdout)) | {"status": DONE}
    code = daemon.process.poll()
    result["reason"] = last_line(answer.stderr) if code is None else f"the daemon ended: {code}"
    if code is None and time.monotonic() - began >= limit:
        return result | {"status": CUT_OFF, "reason": f"not done after {limit:.0f} s"}
    return result | {"status": DIFFERENT if verify and code is None else FAILED}


def figures(said: dict) -> dict:
    """What is kept of the load generator's answer, flat."""
    dut, receivers, latency = said.get("dut") or {}, said["receivers"], said.get("latency") or {}
    return {
        "seconds": said["seconds"],
        "cpuSeconds": dut.get("cpuSeconds"),
        "peakRssBytes": dut.get("peakRssBytes"),
        "rssBytes": dut.get("rssBytes"),
        "establishedSeconds": said["established"]["seconds"],
        "nlri": receivers["nlri"],
        "octets": receivers["octets"],
        "nlriPerUpdate": receivers["nlriPerUpdate"],
        "stallP50Seconds": latency.get("p50"),
        "bottleneck": said["loadgen"]["bottleneck"],
        "phases": said.get("phases", []),
        "verified": said.get("verified"),
    }
