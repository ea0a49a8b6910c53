"""Tests of what can be wrong without a daemon: cd perf && python3 -m unittest comparison.tests"""

import ast
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from . import judge, machine, plot, report, rounds, scenarios, subjects
from .measure import CUT_OFF, DONE, UNAVAILABLE
from .scenarios import Phase, Scenario
from .subjects import Subject

RELAY, OWN = Subject("relay", "relay"), Subject("ringbgp", "ringbgp")
BIRD, FRR = Subject("bird", "bird"), Subject("frr", "frr")
EVERY = [RELAY, OWN, BIRD, FRR]


def a_run(subject: Subject, round_number: int, seconds: float, phase: str = "main", **more) -> dict:
    return {"scenario": "s", "phase": phase, "subject": subject.name, "round": round_number,
            "status": DONE, "seconds": seconds, "cpuSeconds": seconds / 2,
            "peakRssBytes": 50_000_000, "bottleneck": False} | more


def a_scenario(**goals) -> Scenario:
    return Scenario("s", "S", "load", "load", goals)


class Judging(unittest.TestCase):
    def test_ratios_are_of_one_round(self):
        runs = [a_run(OWN, 0, 2.0), a_run(RELAY, 0, 1.0), a_run(OWN, 1, 30.0),
                a_run(RELAY, 1, 10.0), a_run(OWN, 2, 1.0)]
        self.assertEqual(judge.ratios(runs, "main", "ringbgp", "relay", "seconds"), [2.0, 3.0])

    def test_repeats_of_a_round_are_added(self):
        runs = [a_run(OWN, 0, 1.0), a_run(OWN, 0, 2.0), a_run(RELAY, 0, 1.0), a_run(RELAY, 0, 1.0)]
        self.assertEqual(judge.ratios(runs, "main", "ringbgp", "relay", "seconds"), [1.5])

    def test_a_round_that_lacks_a_repeat_is_left_out(self):
        runs = [a_run(OWN, 0, 1.0), a_run(OWN, 0, 2.0), a_run(OWN, 1, 1.0),
                a_run(RELAY, 0, 1.0), a_run(RELAY, 0, 1.0), a_run(RELAY, 1, 1.0),
                a_run(RELAY, 1, 1.0)]
        self.assertEqual(judge.ratios(runs, "main", "ringbgp", "relay", "seconds"), [1.5])

    def test_the_best_is_of_the_others_alone(self):
        runs = [a_run(RELAY, 0, 0.1), a_run(OWN, 0, 0.2), a_run(BIRD, 0, 2.0), a_run(FRR, 0, 1.0)]
        [verdict] = judge.judge(a_scenario(wallOfBest=0.25), runs, EVERY)
        self.assertEqual((verdict.against, verdict.figure.median, verdict.met), ("frr", 0.2, True))

    def test_the_ratio_to_the_relay_comes_from_the_larger_size(self):
        runs = [a_run(RELAY, 0, 1.0), a_run(OWN, 0, 9.0),
                a_run(RELAY, 0, 2.0, "sized"), a_run(OWN, 0, 2.2, "sized")]
        [verdict] = judge.judge(a_scenario(wallOfRelay=1.2), runs, EVERY)
        self.assertAlmostEqual(verdict.figure.median, 1.1)
        self.assertTrue(verdict.met)

    def test_a_close_ratio_needs_more_pairs_whatever_the_goal(self):
        def lacks(limit, ratio, pairs, relay=2.0):
            runs = [run for number in range(pairs) for run in (
                a_run(RELAY, number, relay), a_run(OWN, number, ratio * relay))]
            [verdict] = judge.judge(a_scenario(wallOfRelay=limit), runs, EVERY)
            return verdict.lacks
        self.assertEqual(lacks(1.5, 1.2, 5), "fewer pairs than the rule: 5 of 15")
        self.assertEqual(lacks(3, 1.3, 5), "fewer pairs than the rule: 5 of 15")
        self.assertEqual(lacks(3, 2.5, 4), "fewer pairs than the rule: 4 of 5")
        self.assertIsNone(lacks(3, 2.5, 5, relay=0.1))
        self.assertEqual(lacks(1.5, 1.2, 15, relay=1.5),
                         "smaller than the rule: the relay took 1.50 s, not 2")
        self.assertIsNone(lacks(1.5, 1.2, 15))

    def test_a_verdict_of_too_little_is_no_bare_yes(self):
        [verdict] = judge.judge(a_scenario(wallOfRelay=1.5),
                                [a_run(RELAY, 0, 2.0), a_run(OWN, 0, 2.2)], EVERY)
        self.assertEqual(report.mark(verdict), "yes (fewer pairs than the rule: 1 of 15)")

    def test_octets_stand_beside_a_ratio_to_a_relay_that_ran_another_command(self):
        runs = [a_run(RELAY, 0, 2.0, octets=1000), a_run(OWN, 0, 4.0, octets=900)]
        other = Scenario("s", "S", "load", "load", {"wallOfRelay": 3}, relay="fanout")
        [verdict] = judge.judge(other, runs, EVERY)
        self.assertIn("; octets 0.90 ×", report.judged(verdict))
        [verdict] = judge.judge(a_scenario(wallOfRelay=3), runs, EVERY)
        self.assertNotIn("octets", report.judged(verdict))

    def test_a_goal_without_figures_is_neither_met_nor_missed(self):
        [verdict] = judge.judge(a_scenario(wallOfBest=0.2), [a_run(OWN, 0, 1.0)], EVERY)
        self.assertIsNone(verdict.met)

    def test_memory_a_peer_is_what_lies_above_the_baseline(self):
        scenario = Scenario("s", "S", "peers --peers 1001", "", {"rssKiBPerPeer": 8},
                            baseline="peers --peers 1")
        runs = [a_run(OWN, 0, 1.0, peakRssBytes=10_000_000 + 1000 * 4096),
                a_run(OWN, 0, 1.0, "baseline", peakRssBytes=10_000_000)]
        [verdict] = judge.judge(scenario, runs, EVERY)
        self.assertEqual(verdict.figure.median, 4.0)

    def test_an_overflow_in_one_run_is_one_too_many(self):
        runs = [a_run(OWN, number, 1.0, listenOverflows=overflows)
                for number, overflows in enumerate([0, 0, 408])]
        [verdict] = judge.judge(a_scenario(listenOverflows=0), runs, EVERY)
        self.assertFalse(verdict.met)

    def test_more_nlri_an_update_is_better(self):
        runs = [a_run(OWN, 0, 1.0, nlriPerUpdate=12.0)]
        [verdict] = judge.judge(a_scenario(nlriPerUpdate=10), runs, EVERY)
        self.assertTrue(verdict.met)


class Rounds(unittest.TestCase):
    PHASE = Phase("main", "load", "load", 4, 3)

    def measure(self, outcome, phase=PHASE):
        """The names of the subjects in the order in which they were run."""
        order = []

        def run(subject, *_, **__):
            order.append(subject.name)
            return outcome(subject, order.count(subject.name))
        with mock.patch.object(rounds, "run", run):
            rounds.measure(a_scenario(), phase, EVERY, 120, lambda *_: None)
        return order

    @staticmethod
    def alike(_subject, _count):
        return {"status": DONE, "seconds": 1.0, "cpuSeconds": 1.0}

    def test_subjects_alternate_and_the_others_end_sooner(self):
        names = [subject.name for subject in EVERY]
        self.assertEqual(self.measure(self.alike), names * 3 + ["relay", "ringbgp"])

    def test_who_is_cut_off_is_tried_once_more(self):
        order = self.measure(lambda subject, count: {"status": CUT_OFF} if subject == BIRD
                             else self.alike(subject, count))
        self.assertEqual(order.count("bird"), 2)

    def test_who_cannot_run_is_not_tried_again(self):
        order = self.measure(lambda subject, count: {"status": UNAVAILABLE} if subject == BIRD
                             else self.alike(subject, count))
        self.assertEqual(order.count("bird"), 1)

    def test_who_cannot_become_the_best_is_run_twice(self):
        order = self.measure(lambda subject, _: {
            "status": DONE, "seconds": 9.0 if subject == BIRD else 1.0,
            "cpuSeconds": 9.0 if subject == BIRD else 1.0})
        self.assertEqual((order.count("bird"), order.count("frr")), (2, 3))

    def test_the_relay_stays_out_where_nothing_is_comparable(self):
        order = self.measure(self.alike, Phase("baseline", "load", None, 2, 0))
        self.assertEqual(order, ["ringbgp", "ringbgp"])


class Building(unittest.TestCase):
    """The commit of a result is the daemon's own, whatever the tree says."""

    def build(self, changed: str, age_of_change: float):
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            binary, source = root / "ringbgp", root / "main.rs"
            binary.write_text("#!/bin/sh\necho 'ringbgp 0.1.0 (0123456789ab)'\n")
            binary.chmod(0o755)
            source.write_text("")
            then = binary.stat().st_mtime - age_of_change
            os.utime(source, (then, then))
            said = {"rev-parse": "fedcba9876", "status": changed}
            with (mock.patch.object(machine, "PERF", root / "perf"),
                  mock.patch.object(machine, "git", lambda command, *_: said[command])):
                return machine.build(binary)

    def test_a_daemon_of_another_commit_says_so(self):
        build = self.build("", 0)
        self.assertEqual((build.commit, build.tree), ("0123456789", "fedcba9876"))
        self.assertIn("the tree is at fedcba9876", build.words)

    def test_what_was_changed_before_the_build_may_be_in_it(self):
        self.assertEqual(self.build(" M main.rs", 60).commit, "0123456789+")
        self.assertEqual(self.build(" D gone.rs", 60).commit, "0123456789+")
        self.assertIn("may not be", self.build(" M main.rs", 60).words)

    def test_what_was_changed_after_the_build_is_not_in_it(self):
        self.assertEqual(self.build(" M main.rs", -60).commit, "0123456789")


class Files(unittest.TestCase):
    def test_every_goal_has_a_name_and_close_ones_more_pairs(self):
        for scenario in scenarios.load():
            self.assertLessEqual(scenario.goals.keys(), report.GOALS.keys())
            if scenario.goals.get("wallOfRelay", 9) <= scenarios.CLOSE:
                phases = {phase.name: phase for phase in scenario.phases(False, None)}
                judged = phases.get("sized", phases["main"])
                self.assertEqual(judged.pairs, scenarios.PAIRS_CLOSE, scenario.name)

    def test_what_is_only_compared_is_in_a_table_of_its_own(self):
        [scenario] = [one for one in scenarios.load() if not one.timed]
        self.assertIn("--same-as", scenario.arguments)
        self.assertEqual(scenario.phases(False, 5), [])
        runs = [{"scenario": scenario.name, "phase": "verify", "subject": "bird", "status": DONE}]
        lines = report.one_scenario(scenario, scenario.arguments, EVERY, runs,
                                    {"frr": "not installed"})
        self.assertIn("| bird | as expected |", lines)
        self.assertIn("| frr | not installed |", lines)
        self.assertIn("| ringbgp | – |", lines)

    def test_every_table_says_who_is_not_installed(self):
        result = {"subjects": {"relay": {}, "bird": {"missing": "bird: not installed"},
                               "bird:3": {"missing": "bird: /opt/bird is not a program"},
                               "ringbgp": {"missing": "ringbgp: not installed"}}}
        missing = report.absent(result)
        self.assertEqual(missing["bird:3"], "/opt/bird is not a program")
        scenario = Scenario("s", "S", "load", "load", {}, sized="load --prefixes 9")
        runs = [a_run(RELAY, 0, 1.0), a_run(RELAY, 0, 2.0, "sized")]
        lines = report.one_scenario(scenario, scenario.arguments, EVERY, runs, missing)
        self.assertIn("| bird | 0 | not installed | – | – | – | – |", lines)
        self.assertIn("| ringbgp | 0 | not installed | – |", lines)

    def test_the_policy_change_is_one_word(self):
        scenario = next(one for one in scenarios.load() if "reload" in one.arguments)
        words = scenario.command(scenario.arguments, "driver reload /some where")
        self.assertIn("driver reload /some where", words)

    def test_another_build_names_its_driver(self):
        self.assertEqual(subjects.peer("bird:3=/opt/bird").driver, "bird")
        with self.assertRaises(ValueError):
            subjects.peer("nobody=/opt/nobody")


class Programs(unittest.TestCase):
    def test_what_programs_ask_of_the_modules_is_there(self):
        """They run for minutes before they come to some of it."""
        modules = {one.__name__.rpartition(".")[2]: one
                   for one in (judge, machine, plot, report, rounds, scenarios, subjects)}
        for name in ("compare", "growth", "policy", "soak"):
            tree = ast.parse((machine.PERF / name).read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    module = modules.get(node.value.id)
                    self.assertTrue(module is None or hasattr(module, node.attr),
                                    f"perf/{name}:{node.lineno}: {node.value.id}.{node.attr}")


class Drawing(unittest.TestCase):
    def test_words_in_a_plot_are_escaped(self):
        bar = plot.Bar("a<b", plot.OWN, 1.0, 0.5, 2.0, "1 s & more")
        drawn = plot.bars([("1 < 2", [bar])])
        self.assertIn("a&lt;b", drawn)
        self.assertNotIn("1 s & more", drawn)

    def test_a_curve_of_one_point_is_drawn(self):
        curve = plot.Curve("c", plot.OWN, [(1.0, 2.0)])
        self.assertIn("<circle", plot.curves([plot.Panel("t", "x", [curve])]))

    def test_figures_have_three_digits(self):
        self.assertEqual([report.number(value) for value in (0.0123, 0.456, 12.34, 1234.5, 3)],
                         ["0.012", "0.46", "12.3", "1,234", "3"])


if __name__ == "__main__":
    unittest.main()
