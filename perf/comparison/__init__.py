"""The parts of perf/compare: daemons side by side, through the same scenarios in turn."""
