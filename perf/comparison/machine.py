"""What the figures depend on besides the subjects."""

import datetime
import os
import platform
import re
import subprocess
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Build:
    """What is measured: the daemon as it was built, beside the tree in which it lies."""

    # The commit that it says it was built from, with a + where it may differ from that.
    commit: str
    # When it was built, and the commit of the tree now, with a + if files were changed.
    built: str
    tree: str

    @property
    def words(self) -> str:
        """What the name of the commit doesn't say, or nothing."""
        if self.commit == self.tree and not self.commit.endswith("+"):
            return ""
        return (f"The daemon was built at {self.built} and says it is of commit "
                f"{self.commit.rstrip('+')}; the tree is at {self.tree}."
                + (" Files of it were changed before the daemon was built, so that it may not be of "
                   "that commit." if self.commit.endswith("+") else ""))


DIGITS = 10


def build(binary: Path = PERF.parent / "target" / "release" / "ringbgp") -> Build:
    """What the daemon says it was built from. It can't know whether files were changed: if one is now
    that is older than the build, it may be in it."""
    tree = git("rev-parse", f"--short={DIGITS}", "HEAD") or "unknown"
    changed = [PERF.parent / line[3:].rpartition(" -> ")[2]
               for line in git("status", "--porcelain", "--untracked-files=no").splitlines()]
    here = tree + ("+" if changed else "")
    if not binary.is_file():
        return Build(here, "an unknown time", here)
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    said = re.search(r"\(([0-9a-f]+)\)", answer.stdout)
    built = binary.stat().st_mtime
    doubtful = any(not file.exists() or file.stat().st_mtime <= built for file in changed)
    return Build((said[1][:DIGITS] if said else "unknown") + ("+" if doubtful else ""),
                 datetime.datetime.fromtimestamp(built).strftime("%Y-%m-%d %H:%M"), here)


def git(*arguments: str) -> str:
    answer = subprocess.run(["git", "-C", PERF, *arguments], capture_output=True, text=True,
                            check=False)
    return answer.stdout.rstrip()


def listen_overflows() -> int:
    """How often a connection found the queue of a listener full, since the machine started."""
    lines = Path("/proc/net/netstat").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2]):
        if names.startswith("TcpExt:"):
            return int(dict(zip(names.split(), values.split()))["ListenOverflows"])
    return 0
