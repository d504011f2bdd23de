# SPDX-License-Identifier: Apache-2.0
"""Running a workload: checks of answers, peers that are missing or broken, samples, choice of workloads, targets."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import torch

from bench.harness import runner
from bench.harness.targets import judge
from bench.harness.timing import HostClock
from bench.harness.workload import Contestant, Faster, MeanFaster, NoSlower, OfLimit, Peak, Rate, Within, chosen

_spec = importlib.util.spec_from_file_location("bench_fakes", Path(__file__).with_name("fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)


@pytest.fixture(scope="module")
def outcome():
    found = runner.run(fakes.workload(contestants=fakes.PEERS), fakes.settings(), HostClock(), "sums")
    runner.apply_limits([found], fakes.fake_limits())
    return found


@pytest.fixture(scope="module")
def rows(outcome):
    return {row.contestant: row for row in outcome.rows}


def test_ours_comes_first_and_is_checked(outcome):
    assert outcome.ours.contestant == "warphash"
    assert outcome.ours.check == runner.OK


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "not here: ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
        ("refused", "not here: no such unit here"),
        ("broken", "failed: ZeroDivisionError: divided by nothing"),
    ],
)
def test_a_peer_that_cannot_run_is_named_with_the_reason(rows, name, reason):
    assert rows[name].reason == reason
    assert rows[name].timing is None
    assert rows[name].seconds is None


def test_a_wrong_answer_is_found(rows):
    assert rows["wrong"].check == runner.WRONG
    assert rows["wrong"].reason == "46, expected 45"


def test_a_peer_with_less_work_is_checked_on_it_and_scaled(rows):
    assert rows["half"].check == runner.SAMPLED
    assert rows["half"].seconds == pytest.approx(2 * rows["half"].timing.median)
    assert rows["half"].note == "half"


def test_a_peer_that_computes_something_else_is_not_compared(rows):
    assert rows["unlike"].check == runner.NOT_COMPARED
    assert rows["unlike"].timing is not None


def test_the_share_of_the_limit_is_that_of_the_scaled_time(rows):
    row = rows["half"]
    # Ten additions at four million a second.
    assert row.bound.limit == "wide_adder"
    assert row.of_limit == pytest.approx(2.5e-6 / row.seconds)


def test_units_narrow_the_limit():
    narrow = Contestant("narrow", fakes.ours, units=frozenset({"adder"}))
    found = runner.run(fakes.workload(contestants=(narrow,)), fakes.settings(), HostClock())
    runner.apply_limits([found], fakes.fake_limits())
    assert [row.bound.limit for row in found.rows] == ["wide_adder", "adder"]


def test_our_own_failure_is_not_hidden():
    bad = dataclasses.replace(fakes.workload(), contestants=(Contestant("warphash", fakes.broken),))
    with pytest.raises(ZeroDivisionError):
        runner.run(bad, fakes.settings(), HostClock())


def test_contestants_of_another_device_or_mode_stay_away():
    elsewhere = Contestant("on a GPU", fakes.ours, devices=("cuda",))
    later = Contestant("only in full", fakes.ours, modes=("full",))
    workload = fakes.workload(contestants=(elsewhere, later))
    names = [row.contestant for row in runner.run(workload, fakes.settings(), HostClock()).rows]
    assert names == ["warphash"]


def test_choice_of_workloads():
    room = fakes.room(
        fakes.workload("quick one"),
        fakes.workload("full one", mode="full"),
        fakes.workload("tiny one", mode="named"),
        fakes.workload("gpu one", devices=("cuda",)),
    )

    def names(mode, only, device="cpu"):
        return [workload.name for _, workload in chosen([room], mode, only, device)]

    assert names("quick", None) == ["quick one"]
    assert names("full", None) == ["quick one", "full one"]
    assert names("quick", "one") == ["quick one"]
    assert names("quick", "full") == ["full one"]
    assert names("quick", "tiny") == ["tiny one"]
    assert names("full", "q*k") == ["quick one"]
    assert names("quick", "nothing like it") == []
    assert names("quick", None, "cuda") == ["quick one", "gpu one"]


def _timed(name, ours_seconds, peer_seconds, targets, needs=None):
    workload = fakes.workload(name, contestants=(Contestant("Peer A", fakes.ours),), targets=targets)
    rows = [runner.Row("warphash"), runner.Row("Peer A")]
    for row, seconds in zip(rows, (ours_seconds, peer_seconds), strict=True):
        row.timing = runner.Timing((seconds,), (seconds,), 1)
    outcome = runner.Outcome("sums", workload, rows)
    runner.apply_limits([outcome], fakes.fake_limits())
    return outcome


def _verdicts(*outcomes, isa="avx512", **changes):
    found = judge(outcomes, isa, fakes.settings(**changes), fakes.fake_limits())
    return [verdict.met for outcome in outcomes for verdict in found[outcome.workload.name]]


def test_targets_against_a_peer():
    assert _verdicts(_timed("a", 1.0, 4.0, (Faster("Peer", 4), Faster("Peer", 4.1), Faster("Nobody", 2)))) == [
        True,
        False,
        None,
    ]


def test_no_target_is_judged_by_a_wrong_answer():
    outcome = _timed("a", 1.0, 4.0, (Faster("Peer", 4),))
    outcome.rows[1].check = runner.WRONG
    assert _verdicts(outcome) == [None]


def test_targets_of_another_level_or_thread_count_are_left_out():
    targets = (Faster("Peer", 2, isa="amx"), Faster("Peer", 2, threads=8), Faster("Peer", 2, ours="warphash (avx2)"))
    assert _verdicts(_timed("a", 1.0, 4.0, targets)) == []


def test_targets_of_the_limit():
    # Ten additions: 2.5 microseconds at the wide adder, 10 at the other.
    outcome = _timed("a", 5e-6, 1.0, (OfLimit(0.5), OfLimit(0.6), OfLimit(1.9, limit="adder"), OfLimit(0.1, limit="?")))
    assert _verdicts(outcome) == [True, False, True, None]


def test_targets_between_workloads():
    pair = _timed("a", 1.0, 1.0, ()), _timed("b", 2.5, 1.0, (NoSlower("a", 3), NoSlower("a", 2), NoSlower("c", 2)))
    assert _verdicts(*pair) == [True, False, None]


def test_targets_of_memory():
    outcome = _timed("a", 1.0, 1.0, (Peak(1.1), Peak(1.2)))
    assert _verdicts(outcome) == []
    outcome.workload = dataclasses.replace(outcome.workload, facts={"output_bytes": 1000.0})
    assert _verdicts(outcome) == []
    outcome.ours.peak = 1150
    assert _verdicts(outcome) == [False, True]


# ---- targets of a GPU ------------------------------------------------------------------------------------

GPU = torch.device("cuda")


def _judged(*outcomes):
    found = judge(outcomes, "avx512", fakes.settings(device=GPU), fakes.fake_limits())
    return [verdict for outcome in outcomes for verdict in found[outcome.workload.name]]


def test_targets_of_a_rate():
    """Ten items in five seconds are two a second."""
    (met, missed) = _judged(_timed("a", 5.0, 1.0, (Rate(2.0), Rate(2.1))))
    assert (met.met, missed.met) == (True, False)
    assert (met.text, met.found) == ("warphash: at least 2 a second", "2")
    peer = _judged(_timed("a", 5.0, 1.0, (Rate(10.0, ours="Peer"), Rate(10.0, ours="Nobody"))))
    assert [(verdict.met, verdict.text) for verdict in peer] == [(True, "Peer: at least 10 a second")]


def test_targets_of_a_time():
    (met, missed) = _judged(_timed("a", 90e-6, 1.0, (Within(90e-6), Within(60e-6))))
    assert (met.met, missed.met) == (True, False)
    assert (missed.text, missed.found) == ("warphash: at most 60 µs", "90 µs")


def test_targets_of_a_time_that_was_not_measured_stay_open():
    outcome = _timed("a", 1.0, 1.0, (Within(1.0), Rate(1.0), OfLimit(0.5, device="cuda")))
    outcome.ours.timing = None
    assert [(verdict.met, verdict.found) for verdict in _judged(outcome)] == [(None, "not measured here")] * 3


def test_targets_of_a_mean():
    """Twice and eight times as fast: four times in the mean."""
    targets = tuple(MeanFaster("Peer", times, ("a", "b")) for times in (3.99, 4.01))
    pair = _timed("a", 1.0, 2.0, targets), _timed("b", 1.0, 8.0, ())
    assert [(verdict.met, verdict.found) for verdict in _judged(*pair)] == [(True, "4.00x"), (False, "4.00x")]
    alone = _judged(_timed("a", 1.0, 2.0, (MeanFaster("Peer", 1, ("a", "b")), MeanFaster("Nobody", 1, ("a",)))))
    assert [(verdict.met, verdict.found) for verdict in alone] == [
        (None, "2.00x, but of 1 alone"),
        (None, "not measured here"),
    ]


def test_targets_of_another_device_are_left_out():
    cpu, gpu = (Faster("Peer", 2), OfLimit(0.5), Peak(1.1)), (Rate(1.0), Within(1.0), Peak(1.1, device="cuda"))
    outcome = _timed("a", 1.0, 4.0, (*cpu, *gpu))
    outcome.workload = dataclasses.replace(outcome.workload, facts={"output_bytes": 1000.0})
    outcome.ours.peak = 1000
    assert _verdicts(outcome) == [True, False, True]
    assert [verdict.met for verdict in _judged(outcome)] == [True, True, True]
