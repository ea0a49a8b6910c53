"""What the figures depend on besides the subjects."""

import os
import platform
import subprocess
from pathlib import Path

from .scenarios import PERF


def facts() -> dict:
    """The machine, its kernel, and the limits that a thousand sessions meet."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu(),
        "memoryMB": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "kernel": f"{platform.system()} {platform.release()}",
        "somaxconn": int(Path("/proc/sys/net/core/somaxconn").read_text()),
        "openFiles": os.sysconf("SC_OPEN_MAX"),
    }


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    """The commit that is measured, with a + if the tree differs from it."""
    def git(*arguments: str) -> str:
        answer = subprocess.run(["git", "-C", PERF, *arguments], capture_output=True, text=True,
                                check=False)
        return answer.stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")


def listen_overflows() -> int:
    """How often a connection found the queue of a listener full, since the machine started."""
    lines = Path("/proc/net/netstat").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2]):
        if names.startswith("TcpExt:"):
            return int(dict(zip(names.split(), values.split()))["ListenOverflows"])
    return 0
