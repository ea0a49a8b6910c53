"""The order of runs: subjects in alternation, each run with a fresh daemon (A B C, A B C, …).

A subject that is cut off is tried once more and then left alone, as is one that fails twice or
can't be run at all. One of the others that lies so far behind the best of them, in time and in CPU,
that it can't become it, isn't run again after two rounds: only the best is compared with pairwise.
"""

from collections.abc import Callable

from .judge import Run, done, median_of
from .measure import DONE, UNAVAILABLE, run
from .scenarios import Phase, Scenario
from .subjects import Subject

TRIES = 2
HOPELESS = 3.0
ROUNDS_OF_HOPELESS = 2


def measure(scenario: Scenario, phase: Phase, subjects: list[Subject], limit: float,
            tell: Callable[[Subject, Run], None], beside: str | None = None) -> list[Run]:
    """All runs of one phase."""
    runs: list[Run] = []
    for round_number in range(max(phase.pairs, phase.pairs_of_others)):
        taking_part = [subject for subject in subjects
                       if takes_part(subject, subjects, phase, round_number, runs)]
        for repeat in range(phase.repeat):
            for subject in taking_part:
                arguments = phase.relay if subject.is_relay else phase.arguments
                one = run(subject, scenario, arguments, limit, beside=beside)
                one |= {"scenario": scenario.name, "phase": phase.name, "subject": subject.name,
                        "round": round_number, "repeat": repeat}
                runs.append(one)
                tell(subject, one)
    return runs


def takes_part(subject: Subject, subjects: list[Subject], phase: Phase, round_number: int,
               runs: list[Run]) -> bool:
    """Whether a subject is run in this round."""
    if subject.is_relay and phase.relay is None:
        return False
    if round_number >= (phase.pairs_of_others if subject.is_other else phase.pairs):
        return False
    before = [run for run in runs if run["subject"] == subject.name]
    if any(run["status"] == UNAVAILABLE for run in before):
        return False
    if sum(run["status"] != DONE for run in before) >= TRIES:
        return False
    return not subject.is_other or not is_hopeless(subject, subjects, runs)


def is_hopeless(subject: Subject, subjects: list[Subject], runs: list[Run]) -> bool:
    """Whether one of the others is so far behind the best of them that more runs say nothing."""
    mine = done(runs, subject.name)
    rivals = [done(runs, other.name) for other in subjects if other.is_other and other != subject]
    rivals = [theirs for theirs in rivals if theirs]
    if len(mine) < ROUNDS_OF_HOPELESS or not rivals:
        return False
    return all(
        median_of(mine, key) > HOPELESS * min(median_of(theirs, key) for theirs in rivals)
        for key in ("seconds", "cpuSeconds"))
