# SPDX-License-Identifier: Apache-2.0
"""Timing: statistics, turns, budgets."""

import gc
import itertools
import statistics
import time

import pytest

from bench.harness.timing import HostClock, Timing, measure, quartiles, turns


class FakeClock:
    """Takes each call's word for how long it took, and remembers the order of calls."""

    def __init__(self):
        self.order = []

    def run(self, call, repeats):
        name, seconds = call()
        self.order.append((name, repeats))
        return seconds, 2 * seconds


def test_median_and_quartiles_are_those_of_the_samples():
    timing = Timing(wall=(5.0, 1.0, 2.0, 4.0, 3.0), cpu=(2.0, 4.0, 6.0, 8.0, 10.0), repeats=1)
    assert timing.median == 3.0
    assert quartiles(timing.wall) == (2.0, 4.0)
    assert timing.iqr == 2.0
    assert timing.cpu_median == 6.0


def test_one_sample_has_no_spread():
    assert Timing((0.5,), (0.5,), 1).iqr == 0.0


def test_an_outlier_does_not_move_the_median():
    assert Timing((1.0, 1.0, 1.0, 1.0, 900.0), (1.0,) * 5, 1).median == 1.0


def test_turns_give_everyone_their_count():
    counts = {"fast": 10, "slow": 3, "once": 1, "never": 0}
    order = turns(counts)
    assert {name: order.count(name) for name in counts} == counts


def test_turns_mix_contestants_and_do_not_favour_a_place():
    order = turns({"a": 40, "b": 40})
    longest = max(len(list(run)) for _, run in itertools.groupby(order))
    assert longest <= 2
    firsts = order[::2]
    assert 10 < firsts.count("a") < 30


def test_turns_spread_a_slow_contestant_over_the_whole_run():
    order = turns({"fast": 30, "slow": 3})
    places = [index / len(order) for index, name in enumerate(order) if name == "slow"]
    assert places[0] < 0.4 < places[1] < 0.7 < places[2]


def test_turns_of_nobody():
    assert turns({}) == []
    assert measure({}, budget=1.0, clock=FakeClock()) == {}


def test_samples_follow_the_budget():
    timings = measure(
        {"fast": lambda: ("fast", 0.03), "slow": lambda: ("slow", 0.4), "slowest": lambda: ("slowest", 9.0)},
        budget=6.0,
        clock=FakeClock(),
        fewest=3,
        most=25,
    )
    assert len(timings["fast"].wall) == 25
    assert 3 <= len(timings["slow"].wall) <= 5
    assert len(timings["slowest"].wall) == 1
    assert timings["slow"].median == 0.4
    assert timings["slow"].cpu_median == 0.8


def test_short_calls_are_repeated_inside_a_sample():
    clock = FakeClock()
    timings = measure({"short": lambda: ("short", 1e-6)}, budget=0.2, clock=clock)
    assert timings["short"].repeats == 200
    # The first call finds out how short it is and is no sample.
    assert len(timings["short"].wall) == len(clock.order) - 1
    assert all(repeats == 200 for _, repeats in clock.order[1:])


def test_no_collection_of_garbage_while_timing():
    seen = []
    measure({"a": lambda: (seen.append(gc.isenabled()), ("a", 0.1))[1]}, budget=0.3, clock=FakeClock())
    assert seen
    assert not any(seen)
    assert gc.isenabled()


def test_collection_is_switched_on_again_after_a_failure():
    def fails():
        raise KeyError("broken")

    with pytest.raises(KeyError):
        measure({"a": fails}, budget=0.1, clock=FakeClock())
    assert gc.isenabled()


def test_host_clock_tells_sleeping_from_working():
    clock = HostClock()
    wall, cpu = clock.run(lambda: time.sleep(0.02), 2)
    assert 0.02 <= wall < 0.2
    assert cpu < 0.01
    wall, cpu = clock.run(lambda: statistics.fmean(range(200_000)), 1)
    assert cpu > 0.2 * wall > 0
