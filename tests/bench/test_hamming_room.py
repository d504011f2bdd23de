# SPDX-License-Identifier: Apache-2.0
"""The Hamming room's checks notice wrong answers, and its inputs are what they say."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import warphash

from bench import hamming, hamming_inputs, hamming_ours
from bench.harness.workload import QUICK, NoSlower

CPU = torch.device("cpu")


@pytest.fixture
def search():
    return hamming_inputs.random_search(CPU, 3, 500, 128, k=7)


@pytest.fixture
def answer(search):
    return tuple(part.numpy().copy() for part in warphash.hamming.topk(search.queries, search.database, search.k))


def test_a_right_answer_passes(search, answer):
    assert hamming_ours.check_topk(answer, answer, search) is None


def test_ties_may_stand_in_another_order(search):
    same = hamming_inputs.Search(search.queries, search.database[:1].repeat(20, 1), k=5)
    distances, indices = (part.numpy() for part in warphash.hamming.topk(same.queries, same.database, 5))
    assert hamming_ours.check_topk((distances, indices), (distances, indices + 9), same) is None


@pytest.mark.parametrize("spoil", ["distance", "index", "twice", "short"])
def test_a_wrong_answer_is_noticed(search, answer, spoil):
    distances, indices = (part.copy() for part in answer)
    if spoil == "distance":
        distances[1, 2] += 1
    elif spoil == "index":
        indices[1, 0] = int(np.argmax(hamming_ours.distances_of(search, np.arange(500)[None])[0]))
    elif spoil == "twice":
        indices[0, 1] = indices[0, 0]
        distances[0, 1] = distances[0, 0]
    else:
        distances, indices = distances[:, :-1], indices[:, :-1]
    assert hamming_ours.check_topk(answer, (distances, indices), search)


def test_range_rows_may_stand_in_another_order():
    offsets, distances, indices = np.array([0, 2]), np.array([1, 2]), np.array([5, 9])
    turned = offsets, distances[::-1], indices[::-1]
    assert hamming_ours.check_range((offsets, distances, indices), turned, None) is None
    assert hamming_ours.check_range((offsets, distances, indices), (offsets, distances[::-1], indices), None)
    assert hamming_ours.check_range((offsets, distances, indices), (np.array([0, 1]), distances[:1], indices[:1]), None)


def test_scores_within_rounding():
    scores = np.float32([[3.0, 2.0]])
    assert hamming_ours.check_scores((scores,), (scores + 1e-5,), None) is None
    assert hamming_ours.check_scores((scores,), (scores + 0.1,), None)


def test_falling_order_falls():
    problem = hamming_inputs.falling_search(CPU, 4, 3000, 128)
    distances = warphash.hamming.cdist(problem.queries[:1], problem.database)[0]
    assert (distances.diff() <= 0).all()
    assert distances[0] > 120
    assert distances[-1] < 8
    assert (problem.queries[1:] != problem.queries[0]).any()


def test_digits_are_clustered_and_repeatable():
    problem = hamming_inputs.digit_search(CPU, 20, 4000, 128)
    again = hamming_inputs.digit_search(CPU, 20, 4000, 128)
    assert torch.equal(problem.database, again.database)
    near = warphash.hamming.topk(problem.queries, problem.database, 1)[0].float().mean()
    assert near < 25
    assert problem.database.unique(dim=0).shape[0] > 3900


def test_a_part_is_the_first_rows():
    problem = hamming_inputs.random_search(CPU, 5, 100, 64)
    part = problem.part(2, 30)
    assert (part.query_count, part.code_count, part.pairs) == (2, 30, 60)
    assert torch.equal(part.database, problem.database[:30])


def test_names_are_distinct_and_every_operator_is_in_the_quick_set():
    names = [workload.name for workload in hamming.ROOM.workloads]
    assert len(names) == len(set(names))
    quick = {workload.name.split()[0].rstrip(",") for workload in hamming.ROOM.workloads if workload.mode == QUICK}
    assert quick == {"topk", "range", "histogram", "cdist", "asymmetric", "jaccard", "pack", "unpack"}


def test_targets_between_workloads_name_existing_ones():
    names = {workload.name for workload in hamming.ROOM.workloads}
    for workload in hamming.ROOM.workloads:
        for target in workload.targets:
            if isinstance(target, NoSlower):
                assert target.than in names


def test_needs_grow_with_the_work():
    by_name = {workload.name: workload for workload in hamming.ROOM.workloads}
    small, large = by_name["topk 64b Q=32 N=1M k=10"], by_name["topk 256b Q=32 N=1M k=10"]
    assert large.needs[1].amounts["distance_avx512"] == 4 * small.needs[1].amounts["distance_avx512"]
    assert small.needs[1].amounts["distance_avx512"] == 32 * 2**20
    assert small.items == 32 * 2**20


def test_numba_counts_on_a_gpu_as_we_do():
    """By Numba's simulator, which must be asked for before Numba is loaded."""
    pytest.importorskip("numba")
    code = """
import numpy as np
from bench.hamming_numba_cuda import THREADS, distances, grid
generator = np.random.default_rng(1)
queries, codes = (generator.integers(-2**31, 2**31, (rows, 2), dtype=np.int32) for rows in (3, 300))
out = np.full((3, 300), -1, np.int16)
distances[grid(3, 300), THREADS](queries, codes, out)
expected = np.bitwise_count((queries[:, None] ^ codes).view(np.uint32)).sum(2)
assert np.array_equal(out, expected), (out, expected)
"""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
