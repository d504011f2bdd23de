# SPDX-License-Identifier: Apache-2.0
"""Limits, the model that turns them into times, and the native probes."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import warphash
from warphash import _C

from bench.harness.limits import LARGEST_BUFFER, SMALLEST_BUFFER, CudaProbe, Limits, cpu_probe, label, memory_limit
from bench.harness.model import bounds, named_share, names, nearest
from bench.harness.workload import Chain, Need

RATES = {"fast": 100.0, "slow": 10.0, "read:65536": 1000.0}


def limits():
    return Limits(lambda name, threads: RATES.get(name), threads=1)


def test_memory_limits_are_named_by_the_nearest_power_of_two():
    assert memory_limit("read", 33_000_000) == f"read:{32 << 20}"
    assert memory_limit("read", 50_000_000) == f"read:{64 << 20}"
    assert memory_limit("write", 1) == f"write:{SMALLEST_BUFFER}"
    assert memory_limit("gather", 1e12) == f"gather:{LARGEST_BUFFER}"


def test_labels():
    assert label(f"read:{32 << 20}") == "read 32 MiB"
    assert label(f"read:{1 << 14}") == "read 16 KiB"
    assert label("popcount_avx512") == "popcount_avx512"


def test_a_need_takes_its_fastest_unit():
    (bound,) = bounds([Need({"fast": 200.0, "slow": 200.0, "absent": 1.0})], limits())
    assert (bound.limit, bound.seconds) == ("fast", 2.0)


def test_another_unit_may_need_more_operations():
    (bound,) = bounds([Need({"fast": 1000.0, "slow": 20.0})], limits())
    assert (bound.limit, bound.seconds) == ("slow", 2.0)


def test_the_nearest_limit_is_the_need_that_takes_longest():
    needs = [Need({"fast": 200.0}), Need({"read:65536": 5000.0})]
    assert nearest(needs, limits()).limit == "read:65536"
    assert nearest(needs, limits()).seconds == 5.0


def test_units_out_of_reach_do_not_count_but_memory_does():
    needs = [Need({"fast": 100.0, "slow": 100.0}), Need({"read:65536": 2000.0})]
    assert nearest(needs, limits(), frozenset({"slow"})).limit == "slow"
    assert nearest(needs, limits(), frozenset()).limit == "read:65536"


def test_a_chain_takes_the_sum_of_its_needs():
    chain = Chain("levels", [Need({"fast": 200.0, "slow": 200.0}), Need({"slow": 10.0})])
    (bound,) = bounds([chain], limits())
    assert (bound.limit, bound.seconds) == ("levels", 3.0)
    assert nearest([chain, Need({"read:65536": 5000.0})], limits()).seconds == 5.0
    assert named_share([chain], "levels", 6.0, limits()) == 0.5
    assert named_share([chain], "slow", 6.0, limits()) is None


def test_a_chain_with_a_link_that_nobody_can_measure_says_nothing():
    chain = Chain("levels", [Need({"fast": 200.0}), Need({"absent": 10.0})])
    assert bounds([chain], limits()) == []
    assert named_share([chain], "levels", 6.0, limits()) is None
    assert bounds([Chain("nothing", [])], limits()) == []


def test_no_unit_at_all():
    assert nearest([Need({"absent": 1.0})], limits()) is None


def test_share_of_a_named_limit():
    needs = [Need({"fast": 200.0, "slow": 20.0})]
    assert named_share(needs, "slow", 4.0, limits()) == 0.5
    assert named_share(needs, "absent", 4.0, limits()) is None


def test_limits_are_probed_once_and_the_better_of_two_rounds_counts():
    answers = {"up": iter([1.0, 3.0]), "down": iter([5.0, 4.0]), "absent": iter([None])}
    calls = []

    def probe(name, threads):
        calls.append((name, threads))
        return next(answers[name])

    found = Limits(probe, threads=7)
    assert [found.rate(name) for name in ("up", "up", "down", "absent")] == [1.0, 1.0, 5.0, None]
    assert calls == [("up", 7), ("down", 7), ("absent", 7)]
    found.refresh()
    assert found.known() == {"up": 3.0, "down": 5.0, "absent": None}


# ---- the native probes -----------------------------------------------------------------------------------

UNITS = {
    "scalar": {"popcount_portable", "multiply_add", "affine_min"},
    "avx2": {"popcount_word", "distance_avx2", "distance_word"},
    "avx512": {"popcount_avx512", "distance_avx512"},
}
LEVELS = ("scalar", "avx2", "avx512", "amx")


def test_units_are_there_where_the_machine_has_them():
    machine = LEVELS.index(_C.cpu_features()["machine_isa"])
    for level, units in UNITS.items():
        for unit in units:
            rate = getattr(_C.probes, unit)()
            assert (rate is not None and rate > 1e7) == (LEVELS.index(level) <= machine), unit


def test_amx_is_absent_where_the_processor_lacks_it():
    if _C.cpu_features()["machine_isa"] != "amx":
        assert _C.probes.int8_amx() is None


def test_rates_are_those_of_a_processor():
    """No unit does more than a few vectors of 64 bytes a cycle; a loop that the compiler removed would."""
    clock = _C.probes.core_clock()
    assert 2e8 < clock < 1e10
    most_a_cycle = {"popcount_portable": 8, "distance_avx2": 16, "popcount_avx512": 32, "multiply_add": 128}
    most_a_cycle["affine_min"] = 32
    for unit, most in most_a_cycle.items():
        rate = getattr(_C.probes, unit)()
        assert rate is None or rate < 2 * most * clock, unit


def test_caches_are_faster_than_memory():
    near = _C.probes.read_bandwidth(16 << 10)
    far = _C.probes.read_bandwidth(256 << 20)
    assert near > far > 1e8
    assert _C.probes.gather_rate(256 << 20) * 64 < 4 * far + near


def test_rows_are_read_and_added_to_faster_in_small_tables():
    for probe in (_C.probes.row_gather_rate, _C.probes.row_update_rate):
        near, far = probe(32 << 10), probe(256 << 20)
        assert near > far > 1e6
        assert near < 8 * _C.probes.core_clock()
    assert cpu_probe("row_gather:65536", 2) > 0
    assert cpu_probe("row_update:65536", 2) > 0


def test_sums_are_added_to_faster_in_a_near_cache():
    near, far = (_C.probes.accumulate_rate(size) for size in (16 << 10, 256 << 20))
    assert 4 * _C.probes.core_clock() > near > far > 1e6
    assert cpu_probe("accumulate:16384", 2) > 0


def test_fresh_memory_is_slower_than_memory_written_again():
    assert 1e7 < _C.probes.touch_bandwidth(64 << 20) < _C.probes.write_bandwidth(1 << 20)
    assert cpu_probe("touch:4096", 2) > 0


def test_threads_share_the_work():
    assert _C.probes.read_bandwidth(64 << 10, 2) > 1e8
    assert _C.probes.write_bandwidth(64 << 10, 2) > 1e8


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: _C.probes.read_bandwidth(10), "bytes"),
        (lambda: _C.probes.gather_rate(1 << 20, 0), "threads"),
        (lambda: _C.probes.row_gather_rate(10), "bytes"),
        (lambda: _C.probes.row_update_rate(1 << 20, 0), "threads"),
        (lambda: _C.probes.touch_bandwidth(10), "bytes"),
        (lambda: _C.probes.accumulate_rate(1 << 20, 0), "threads"),
        (lambda: _C.probes.popcount_portable(-1), "threads"),
        (lambda: _C.probes.popcount_portable(max(64, 4 * os.cpu_count()) + 1), "threads: expected 1 to"),
        (lambda: _C.probes.write_bandwidth(1 << 20, 2**30), "threads: expected 1 to"),
    ],
)
def test_bad_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_a_thread_that_cannot_be_started_is_an_error():
    """Stacks larger than the address space that is left stand for any reason; the process must live on."""
    code = """
import resource
from warphash import _C
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20), resource.RLIM_INFINITY))
try:
    _C.probes.popcount_portable(8)
except RuntimeError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(_C.probes.popcount_portable(2) > 1e6)
"""
    done = subprocess.run(
        ["prlimit", f"--stack={8 << 20}:", sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("threads: the system started ")
    assert second == "True"


def test_the_harness_finds_every_probe():
    assert cpu_probe("read:65536", 1) > 0
    assert cpu_probe("cuda_int8", 1) is None
    with pytest.raises(AttributeError):
        cpu_probe("no_such_unit", 1)


def test_what_fails_is_absent_where_that_is_allowed():
    def probe(name, threads):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    assert Limits(probe, threads=1, forgiving=True).rate("fast") is None
    with pytest.raises(RuntimeError, match="illegal"):
        Limits(probe, threads=1).rate("fast")
    answers = iter([2.0, None])
    found = Limits(lambda name, threads: next(answers) or probe(name, threads), threads=1, forgiving=True)
    assert found.rate("fast") == 2.0
    found.refresh()
    assert found.rate("fast") == 2.0


def test_names_of_all_limits_of_needs():
    needs = [Need({"fast": 1.0}, told={"slow": 1.0}), Chain("levels", [Need({"read:65536": 1.0})])]
    assert names(needs) == {"fast", "slow", "read:65536"}


# ---- a GPU's, without one --------------------------------------------------------------------------------


class Native:
    """Stands for the CUDA half: each probe answers with its name."""

    def __getattr__(self, name):
        return lambda *arguments: (name, *arguments)


@pytest.fixture
def cuda_probe(monkeypatch):
    from warphash import _load

    monkeypatch.setattr(_load, "_cuda", Native())
    probe = CudaProbe(torch.device("cuda", 0))
    monkeypatch.setattr(probe, "_bandwidth", lambda size, kind: (kind, size))
    monkeypatch.setattr(probe, "_product", lambda dtype: ("product", dtype))
    return probe


def test_names_of_limits_find_the_probes_of_a_gpu(cuda_probe):
    assert cuda_probe.measured("row_gather:4194304") == ("row_gather_rate", 4194304)
    assert cuda_probe.measured("row_update:4194304") == ("row_update_rate", 4194304)
    assert cuda_probe.measured("gather:65536") == ("gather_rate", 65536)
    assert cuda_probe.measured("accumulate:16384") == ("accumulate_rate", 16384)
    assert cuda_probe.measured("touch:65536") == ("touch", 65536)
    assert cuda_probe.measured("affine_min") == ("affine_min_rate",)
    assert cuda_probe.measured("cuda_shared_count") == ("shared_count_rate",)
    assert cuda_probe.measured("cuda_float32") == ("product", torch.float32)
    for name in ("distance_avx2", "int8_amx", "multiply_add", "core_clock"):
        assert cuda_probe.measured(name) is None


def test_probes_that_the_harness_calls_are_in_the_stub():
    stub = Path(warphash.__file__).with_name("_C_cuda.pyi").read_text()
    for name in ("row_gather_rate", "row_update_rate", "gather_rate", "accumulate_rate", "affine_min_rate"):
        assert f"def {name}(" in stub


@pytest.mark.parametrize("name", ["hamming", "hashgrid", "lsh", "spgemm"])
def test_every_workload_has_a_limit_on_a_gpu(name, cuda_probe):
    """All needs are stated by names that a GPU's probes know, chains whole."""
    limits = Limits(lambda limit, _: None if cuda_probe.measured(limit) is None else 1.0, threads=1)
    for workload in importlib.import_module(f"bench.{name}").ROOM.workloads:
        if "cuda" in workload.devices:
            assert len(bounds(workload.needs, limits)) == len(workload.needs), workload.name
