"""The result as tables for people (Markdown) and as JSON for programs."""

import dataclasses

from . import judge
from .judge import Run, Spread, Verdict
from .measure import DONE
from .scenarios import RATIOS, Scenario
from .subjects import Subject

GOALS = {
    "wallOfRelay": ("wall", "× null relay"),
    "wallOfBest": ("wall", "× best"),
    "cpuOfBest": ("CPU", "× best"),
    "peakRssMB": ("peak RSS", "MB"),
    "rssOfBaseline": ("peak RSS", "× without"),
    "rssKiBPerPeer": ("peak RSS a peer", "KiB"),
    "nlriPerUpdate": ("NLRI an UPDATE", ""),
    "seconds": ("wall", "s"),
    "stallP50Seconds": ("stall p50", "s"),
    "listenOverflows": ("listen overflows", ""),
}


def number(value: float) -> str:
    """Three significant digits, and no more than are of use."""
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f}"


def bound(goal: str, limit: float) -> str:
    """A goal as people write it: 1/5 of something rather than 0.2."""
    if goal in RATIOS and limit < 1:
        return f"1/{round(1 / limit)}"
    return number(limit)


def spread(figure: Spread | None) -> str:
    if figure is None:
        return "–"
    if figure.count == 1 or figure.low == figure.high:
        return number(figure.median)
    return f"{number(figure.median)} [{number(figure.low)}–{number(figure.high)}]"


def table(header: list[str], rows: list[list[str]], words: int = 1) -> list[str]:
    """A Markdown table: so many columns of words, then columns of figures."""
    lines = ["| " + " | ".join(header) + " |",
             "|" + " --- |" * words + " --: |" * (len(header) - words)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def markdown(result: dict, scenarios: list[Scenario], subjects: list[Subject],
             runs: list[Run], verdicts: list[Verdict], pictures: list[str]) -> str:
    machine = result["machine"]
    lines = [
        f"# Comparison of {result['date']}, commit {result['commit']}",
        "",
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memoryMB']:,} MB, "
        f"{machine['kernel']}, somaxconn {machine['somaxconn']}; daemon, senders and receivers "
        f"share the cores. {result['took']} By `{result['command']}`."
        + (f" {result['buildWords']}" if result["buildWords"] else ""),
        "",
        "Figures are medians with [lowest–highest]. Ratios are of runs next to each other, pair by "
        "pair. *Best* is the best of the daemons that are neither ringbgp nor the null relay, in "
        "that scenario and column. Wall is the time until the last receiver holds everything, CPU "
        "what the daemon used meanwhile.",
        "",
    ]
    lines += table(["subject", "version", "settings"],
                   [[subject.name, *described(result, subject)] for subject in subjects], 3)
    if result["quick"]:
        lines += ["**Small sizes, to see that all works: the goals are for the full ones.**", ""]
    for picture in pictures:
        lines += [f"![{picture}]({picture})", ""]
    lines += ["## Goals", ""] + goals(scenarios, verdicts, result["quick"])
    for scenario in scenarios:
        lines += one_scenario(scenario, scenario.measured(result["quick"]), subjects,
                              [run for run in runs if run["scenario"] == scenario.name],
                              absent(result))
    return "\n".join(lines)


def absent(result: dict) -> dict[str, str]:
    """By the name of each subject that isn't on the machine, why."""
    return {name: told["missing"].removeprefix(f"{name.partition(':')[0]}: ")
            for name, told in result["subjects"].items() if "missing" in told}


def described(result: dict, subject: Subject) -> list[str]:
    told = result["subjects"][subject.name]
    return [told.get("version", "–"), told.get("settings") or told.get("missing", "–")]


def goals(scenarios: list[Scenario], verdicts: list[Verdict], quick: bool) -> list[str]:
    """One row a goal: what is wanted, and figure and verdict of each of our subjects; no verdict on
    small sizes."""
    names = list(dict.fromkeys(verdict.subject for verdict in verdicts))
    rows = []
    for scenario in scenarios:
        for goal, limit in scenario.goals.items():
            of_goal = {verdict.subject: verdict for verdict in verdicts
                       if (verdict.scenario, verdict.goal) == (scenario.name, goal)}
            if not of_goal:
                continue
            what, unit = GOALS[goal]
            sign = "≥" if goal == "nlriPerUpdate" else "≤"
            row = [scenario.title, f"{what} {sign} {bound(goal, limit)} {unit}".strip()]
            for name in names:
                row += [judged(of_goal[name]), "–" if quick else mark(of_goal[name])]
            rows.append(row)
    header = ["scenario", "goal"]
    for name in names:
        header += [name, "met"]
    return table(header, rows, 2)


def judged(verdict: Verdict) -> str:
    text = spread(verdict.figure)
    if verdict.figure and verdict.goal in ("wallOfBest", "cpuOfBest"):
        text += f" of {verdict.against}"
    if verdict.figure and verdict.goal.startswith("wallOf"):
        pairs = verdict.figure.count
        text += f", {pairs} pair{'s' if pairs > 1 else ''}"
    if verdict.cpu:
        text += f"; CPU {spread(verdict.cpu)} ×"
    if verdict.octets:
        text += f"; octets {verdict.octets.median:.2f} ×"
    return text


def mark(verdict: Verdict) -> str:
    """Whether a goal is met, and what that rests on if it is too little."""
    met = {True: "yes", False: "**no**", None: "–"}[verdict.met]
    return f"{met} ({verdict.lacks})" if verdict.lacks else met


def one_scenario(scenario: Scenario, arguments: str, subjects: list[Subject], runs: list[Run],
                 missing: dict[str, str]) -> list[str]:
    """The figures of all subjects in one scenario; who is missing has a row that says so."""
    lines = [f"## {scenario.title}", "", f"`{' '.join(scenario.command(arguments, 'RELOAD'))}`", ""]
    if not scenario.timed:
        return lines + table(["subject", "tables"], [
            [subject.name, missing.get(subject.name) or verification(runs, subject.name)]
            for subject in subjects
            if not subject.is_relay], 2)
    rows = []
    for subject in subjects:
        mine = [run for run in runs if run["subject"] == subject.name and run["phase"] == "main"]
        if mine:
            rows.append(row_of(subject.name, mine, verification(runs, subject.name)))
        elif subject.name in missing:
            rows.append([subject.name, "0", missing[subject.name], "–", "–", "–", "–"])
    lines += table(["subject", "runs", "wall s", "CPU s", "peak RSS MB", "NLRI an UPDATE",
                    "tables"], rows)
    if scenario.sized and any(run["phase"] == "sized" for run in runs):
        lines += sized(scenario, subjects, runs, missing)
    return lines


def row_of(name: str, runs: list[Run], verified: str) -> list[str]:
    done = judge.done(runs, name)
    cells = [name, str(len(done))]
    if done:
        megabytes = [value / 1e6 for value in judge.values(done, "peakRssBytes")]
        cells += [spread(Spread.of(figures)) for figures in (
            judge.values(done, "seconds"), judge.values(done, "cpuSeconds"), megabytes,
            judge.values(done, "nlriPerUpdate"))]
        if any(run["bottleneck"] for run in done):
            cells[2] += " (the load generator was the limit)"
    else:
        cells += [said(runs[-1]), "–", "–", "–"]
    if done and len(done) < len(runs):
        cells[2] += f"; then {said(runs[-1])}" if runs[-1]["status"] != DONE else ""
    return cells + [verified]


def said(run: Run) -> str:
    reason = run.get("reason", "").replace("|", "/")
    return f"{run['status']}: {reason}" if reason else run["status"]


def verification(runs: list[Run], name: str) -> str:
    """What the untimed run said of the receivers' tables."""
    for run in runs:
        if run["subject"] == name and run["phase"] == "verify":
            return "as expected" if run["status"] == DONE else said(run)
    return "–"


def sized(scenario: Scenario, subjects: list[Subject], runs: list[Run],
          missing: dict[str, str]) -> list[str]:
    """The larger runs of which the ratio to the relay comes."""
    rows = []
    for subject in subjects:
        mine = judge.done(runs, subject.name, "sized")
        if mine:
            rows.append([subject.name, str(len(mine)),
                         spread(Spread.of(judge.values(mine, "seconds"))),
                         spread(Spread.of(judge.values(mine, "cpuSeconds")))])
        elif subject.name in missing and not subject.is_other:
            rows.append([subject.name, "0", missing[subject.name], "–"])
    times = f", {scenario.repeat} runs added up" if scenario.repeat > 1 else ""
    return [f"For the ratio to the relay, `{scenario.sized}`{times}:", ""] + table(
        ["subject", "runs", "wall s", "CPU s"], rows)


def plain(verdict: Verdict) -> dict:
    """A verdict as JSON has it."""
    return dataclasses.asdict(verdict)
