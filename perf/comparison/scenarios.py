"""The scenarios and their goals, as perf/scenarios.json has them.

A scenario is a command of ringbgp-loadgen, the kind of session it needs, and what must be reached:

  arguments   what is measured, for every subject
  quick       the same, small: for a look and for CI
  sized       for a ratio to the relay of 1.5 or less: so large that the relay takes 2 s or more, where
              that is larger than `arguments`
  repeat      so many runs of `sized`, added up, are one figure, where it can't be made larger
  relay       what the relay runs instead, where it can't run `arguments`: as nearly the same octets to
              the same receivers as can be, and the result says how nearly; "none" where nothing is
              comparable
  timed       false: only the untimed run that compares tables
  baseline    what peak memory is compared with: `rssOfBaseline`, `rssKiBPerPeer`

`{reload}` in a command stands for the driver's command that changes the daemon's policy.
"""

import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path

PERF = Path(__file__).resolve().parent.parent

KIND_OPTIONS = {"external": [], "internal": ["--internal"], "route-server": ["--route-server"]}

# Goals by which a ratio to the relay or to the best of the others is judged.
RATIOS = {"wallOfRelay": ("relay", "seconds"), "wallOfBest": ("best", "seconds"),
          "cpuOfBest": ("best", "cpuSeconds")}
# Of ratios up to this one, either way, more pairs are needed to tell them from noise, and a relay that
# takes so many seconds.
CLOSE = 1.5
PAIRS_CLOSE = 15
PAIRS = 5
RELAY_SECONDS = 2.0


def is_close(ratio: float) -> bool:
    """Whether a ratio is near enough to 1 to need more pairs."""
    return 1 / CLOSE < ratio <= CLOSE


@dataclass(frozen=True)
class Scenario:
    """One row of the table of goals."""

    name: str
    title: str
    arguments: str
    quick: str
    goals: dict[str, float]
    kind: str = "external"
    family: str = "ipv4"
    sized: str | None = None
    repeat: int = 1
    relay: str | None = None
    baseline: str | None = None
    timed: bool = True

    def command(self, arguments: str, reload: str = "true") -> list[str]:
        """The arguments of ringbgp-loadgen for one of this scenario's commands."""
        words = [word.replace("{reload}", reload) for word in shlex.split(arguments)]
        return words + KIND_OPTIONS[self.kind] + ["--family", self.family]

    @property
    def is_close(self) -> bool:
        """Whether a ratio to the relay is the goal that few pairs can't tell from noise."""
        return is_close(self.goals.get("wallOfRelay", math.inf))

    @property
    def pairs(self) -> int:
        """The rounds that its goals need."""
        return PAIRS_CLOSE if self.is_close else PAIRS

    def measured(self, quick: bool) -> str:
        """The arguments that are measured, and with which tables are compared."""
        return self.quick if quick else self.arguments

    def phases(self, quick: bool, pairs: int | None) -> list["Phase"]:
        """What is timed for this scenario, in order."""
        if not self.timed:
            return []
        if quick:
            relay = None if self.relay else self.quick
            return [Phase("main", self.quick, relay, pairs or 2, pairs or 2)]
        own = PAIRS_CLOSE if self.is_close and not self.sized else PAIRS
        relay = None if self.relay == "none" else self.relay or self.arguments
        phases = [Phase("main", self.arguments, relay, pairs or own, pairs or PAIRS)]
        if self.sized:
            phases.append(Phase("sized", self.sized, self.sized, pairs or PAIRS_CLOSE, 0,
                                self.repeat))
        if self.baseline:
            phases.append(Phase("baseline", self.baseline, None, 3, 0))
        return phases


@dataclass(frozen=True)
class Phase:
    """Runs of one command, by subjects in alternation."""

    name: str
    arguments: str
    # None: the relay takes no part.
    relay: str | None
    # Rounds of ringbgp and the relay, and rounds in which the others take part.
    pairs: int
    pairs_of_others: int
    repeat: int = 1


def load(path: Path = PERF / "scenarios.json") -> list[Scenario]:
    """All scenarios, in the order of the table."""
    with open(path, encoding="utf-8") as file:
        return [Scenario(**entry) for entry in json.load(file)]
