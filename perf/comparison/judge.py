"""What the runs say: medians and spreads, ratios pair by pair, and which goals are met."""

import statistics
from dataclasses import dataclass

from .measure import DONE
from .scenarios import PAIRS, PAIRS_CLOSE, RATIOS, RELAY_SECONDS, Scenario, is_close
from .subjects import Subject

# One run's figures, with the names of its scenario, phase and subject and the number of its round.
Run = dict


@dataclass(frozen=True)
class Spread:
    """A median with its extremes, and of how many figures."""

    median: float
    low: float
    high: float
    count: int

    @staticmethod
    def of(values: list[float]) -> "Spread | None":
        if not values:
            return None
        return Spread(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class Verdict:
    """One goal of one of our subjects: what is wanted, what is, and whether that does."""

    scenario: str
    goal: str
    limit: float
    subject: str
    figure: Spread | None
    met: bool | None
    # With what it was compared, for ratios.
    against: str | None = None
    # DUT CPU over the relay's CPU, for ratios to the relay.
    cpu: Spread | None = None
    # The octets that its receivers were told over those of the relay's, where the relay ran another command.
    octets: Spread | None = None
    # What the figure lacks of the rule for ratios, in words.
    lacks: str | None = None


def done(runs: list[Run], subject: str, phase: str | None = None) -> list[Run]:
    """The runs of a subject that came to their end."""
    return [run for run in runs if run["subject"] == subject and run["status"] == DONE
            and phase in (None, run["phase"])]


def median_of(runs: list[Run], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def values(runs: list[Run], key: str) -> list[float]:
    """The figures of that name, of the runs that have it."""
    return [run[key] for run in runs if run.get(key) is not None]


def best_of_others(runs: list[Run], subjects: list[Subject], key: str) -> str | None:
    """The name of the daemon with the lowest median, of those that ringbgp is compared with."""
    medians = {subject.name: median_of(of_subject, key) for subject in subjects
               if subject.is_other and (of_subject := done(runs, subject.name, "main"))}
    return min(medians, key=medians.get, default=None)


def round_sums(runs: list[Run], subject: str, phase: str, key: str) -> dict[int, float]:
    """The figure of each whole round; repeats are added."""
    rounds: dict[int, list[float]] = {}
    for run in done(runs, subject, phase):
        rounds.setdefault(run["round"], []).append(run[key])
    repeats = max((len(figures) for figures in rounds.values()), default=0)
    return {number: sum(figures) for number, figures in rounds.items() if len(figures) == repeats}


def ratios(runs: list[Run], phase: str, subject: str, other: str, key: str) -> list[float]:
    """The figure of one over the figure of another, round by round; repeats of a round are added."""
    mine, theirs = (round_sums(runs, name, phase, key) for name in (subject, other))
    return [mine[number] / theirs[number] for number in sorted(mine.keys() & theirs.keys())
            if theirs[number] > 0]


def judge(scenario: Scenario, runs: list[Run], subjects: list[Subject]) -> list[Verdict]:
    """A verdict for each goal of the scenario and each subject of ours."""
    return [verdict(scenario, goal, limit, subject.name, runs, subjects)
            for goal, limit in scenario.goals.items() for subject in subjects if subject.is_own]


def verdict(scenario: Scenario, goal: str, limit: float, name: str, runs: list[Run],
            subjects: list[Subject]) -> Verdict:
    against = cpu = octets = lacks = None
    if goal in RATIOS:
        reference, key = RATIOS[goal]
        phase = "main"
        if reference == "relay":
            against = next((subject.name for subject in subjects if subject.is_relay), None)
            if any(run["phase"] == "sized" for run in runs):
                phase = "sized"
            cpu = Spread.of(ratios(runs, phase, name, against, "cpuSeconds")) if against else None
            if scenario.relay and against:
                octets = Spread.of(ratios(runs, phase, name, against, "octets"))
        else:
            against = best_of_others(runs, subjects, key)
        figure = Spread.of(ratios(runs, phase, name, against, key)) if against else None
        if figure:
            lacks = lacking(limit, figure, runs, phase, against if reference == "relay" else None)
    else:
        figure = Spread.of(plain(scenario, goal, name, runs))
    at_least = goal == "nlriPerUpdate"
    met = None
    if figure:
        # What must never happen must not happen in any run.
        worst = figure.high if goal == "listenOverflows" else figure.median
        met = figure.median >= limit if at_least else worst <= limit
    return Verdict(scenario.name, goal, limit, name, figure, met, against, cpu, octets,
                   lacks)


def lacking(limit: float, figure: Spread, runs: list[Run], phase: str,
            relay: str | None) -> str | None:
    """What a ratio lacks of the rule: 15 pairs, and a relay that takes 2 s, where it comes out near 1
    or is to be; else 5 pairs."""
    close = is_close(limit) or is_close(figure.median)
    wanted = PAIRS_CLOSE if close else PAIRS
    if figure.count < wanted:
        return f"fewer pairs than the rule: {figure.count} of {wanted}"
    if close and relay:
        seconds = statistics.median(round_sums(runs, relay, phase, "seconds").values())
        if seconds < RELAY_SECONDS:
            return f"smaller than the rule: the relay took {seconds:.2f} s, not {RELAY_SECONDS:g}"
    return None


def plain(scenario: Scenario, goal: str, name: str, runs: list[Run]) -> list[float]:
    """The figures of a goal that isn't a ratio to another subject."""
    main = done(runs, name, "main")
    if goal == "peakRssMB":
        return [value / 1e6 for value in values(main, "peakRssBytes")]
    if goal in ("rssOfBaseline", "rssKiBPerPeer"):
        baseline = values(done(runs, name, "baseline"), "peakRssBytes")
        if not baseline:
            return []
        floor = statistics.median(baseline)
        if goal == "rssOfBaseline":
            return [value / floor for value in values(main, "peakRssBytes")]
        more = int(option(scenario.arguments, "--peers")) - int(option(scenario.baseline, "--peers"))
        return [(value - floor) / 1024 / more for value in values(main, "peakRssBytes")]
    return values(main, goal)


def option(arguments: str, name: str) -> str:
    """The value of an option in a command."""
    words = arguments.split()
    return words[words.index(name) + 1]
