# SPDX-License-Identifier: Apache-2.0
"""The room of sparse products: peers agree with us, wrong answers are noticed, needs and inputs are what they say."""

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from bench import spgemm, spgemm_inputs, spgemm_other_peers, spgemm_ours, spgemm_peers
from bench.harness import cli, memory
from bench.harness.runner import Outcome, Row
from bench.harness.timing import Timing
from bench.harness.workload import QUICK, MeanFaster, NoSlower, Settings, Unavailable

CPU = torch.device("cpu")
SETTINGS = Settings(CPU, threads=2)
GRAPH = partial(spgemm_inputs.rmat, 7)


def _wrong(problem, solve, prepare, check):
    try:
        prepared = prepare(problem, SETTINGS)
        result = prepared.call()
    except (ImportError, Unavailable) as error:
        pytest.skip(str(error))
    assert prepared.answer is not None
    inputs = problem if prepared.inputs is None else prepared.inputs
    return check(solve(inputs), prepared.answer(result), inputs)


def _named(peers):
    return [pytest.param(peer.prepare, id=peer.name) for peer in peers if "cpu" in peer.devices]


# ---- contestants -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", _named(spgemm_peers.PRODUCT_PEERS))
def test_peers_multiply_as_we_do(peer):
    problem = spgemm_inputs.square(CPU, graph=GRAPH)
    assert _wrong(problem, spgemm_ours.solve_matmul, peer, spgemm_ours.same_matrix) is None


@pytest.mark.parametrize("peer", _named(spgemm_peers.SEMIRING_PEERS))
def test_peers_have_our_semiring(peer):
    problem = spgemm_inputs.square(CPU, graph=GRAPH, semiring="min_plus")
    assert _wrong(problem, spgemm_ours.solve_matmul, peer, spgemm_ours.same_matrix) is None


@pytest.mark.parametrize("peer", _named(spgemm_other_peers.TOPK_PEERS))
def test_peers_find_the_largest_that_we_find(peer):
    problem = spgemm_inputs.wide(CPU, queries=20, documents=400, k=50)
    assert _wrong(problem, spgemm_ours.solve_topk, peer, spgemm_ours.same_best) is None


@pytest.mark.parametrize("peer", _named(spgemm_other_peers.BACKWARD_PEERS))
def test_peers_derive_as_we_do(peer):
    problem = spgemm_inputs.backward(CPU, graph=GRAPH)
    solve = lambda inputs: spgemm_ours.backward_call(inputs)()  # noqa: E731
    assert _wrong(problem, solve, peer, spgemm_ours.same_gradients) is None


@pytest.mark.parametrize("peer", _named(spgemm_other_peers.REUSE_PEERS))
def test_peers_compute_the_values_that_we_compute(peer):
    problem = spgemm_inputs.reuse(CPU, graph=GRAPH)
    assert _wrong(problem, spgemm_ours.solve_reuse, peer, spgemm_ours.same_values) is None


@pytest.mark.parametrize("peer", _named(spgemm_other_peers.MASKED_PEERS))
def test_peers_mask_as_we_do(peer):
    problem = spgemm_inputs.triangles(CPU, scale=7)
    assert _wrong(problem, spgemm_ours.solve_matmul, peer, spgemm_ours.same_matrix) is None


def test_a_slow_peer_gets_a_part_of_the_rows():
    problem = spgemm_inputs.backward(CPU, graph=GRAPH)
    products = spgemm_inputs.count_products(*problem.csr)
    part, inputs, share = spgemm_inputs.sample(problem, SETTINGS, products)
    assert part is inputs
    rows = part.a.shape[0]
    assert rows == int(128 * SETTINGS.seconds_per_call)
    assert part.gradient.shape == (rows, 128)
    assert share == spgemm_inputs.count_products(*part.csr) / products
    assert 0.05 < share < 0.5
    assert spgemm_inputs.sample(problem, SETTINGS, 1e15)[1:] == (None, 1.0)


# ---- checks ----------------------------------------------------------------------------------------------


def test_wrong_answers_are_noticed():
    a = GRAPH()
    spoiled = replace(a, values=a.values.copy())
    spoiled.values[3] += 1
    moved = replace(a, col=np.roll(a.col, 1))
    check = partial(spgemm_ours.same_matrix, a.torch())
    assert check(a, None) is None
    assert check(spoiled, None) == "values differ"
    assert "of all columns differ" in check(moved, None)
    assert "entries, ours" in check(a.some(np.zeros(128, np.int64)), None)
    assert "shape" in check(a.some(np.arange(3)), None)
    arrays = (a.values, a.values[:5])
    assert spgemm_ours.same_values(arrays, arrays, None) is None
    assert spgemm_ours.same_values(arrays, (spoiled.values, a.values[:5]), None) == "array 0: values differ"
    assert "array 1: shape" in spgemm_ours.same_values(arrays, (a.values, a.values[:4]), None)
    best = (np.arange(8, dtype=np.float32).reshape(2, 4), np.arange(8).reshape(2, 4))
    assert spgemm_ours.same_best(best, best, None) is None
    assert spgemm_ours.same_best(best, (best[0] + 1, best[1]), None) == "values differ"
    assert spgemm_ours.same_best(best, (best[0], best[1] + 1), None) == "100.00% of all columns differ"
    assert "shape" in spgemm_ours.same_best(best, (best[0][1:], best[1][1:]), None)


def test_columns_are_sorted_before_they_are_compared():
    ordered = GRAPH()
    rows = np.split(np.arange(len(ordered.col)), ordered.crow[1:-1])
    order = np.concatenate([row[::-1] for row in rows])
    shuffled = replace(ordered, col=ordered.col[order], values=ordered.values[order])
    assert not np.array_equal(shuffled.col, ordered.col)
    for found in (shuffled.torch(), shuffled.scipy()):
        assert spgemm_ours.same_matrix(ordered.torch(), spgemm_ours.as_matrix(found), None) is None


# ---- inputs and needs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [spgemm.RMAT_14, spgemm.RANDOM, spgemm.SMALL, spgemm.TINY])
def test_needs_are_those_of_the_matrices(graph):
    make, entries, size = graph
    matrix = make()
    assert len(matrix.col) == entries
    assert spgemm_inputs.count_products(matrix, matrix) == size.products
    assert (matrix.scipy() @ matrix.scipy()).nnz == size.entries


def test_inputs_are_what_they_say():
    cube = spgemm_inputs.stencil(4)
    assert cube.shape == (64, 64)
    assert len(cube.col) == 10**3  # three of each dimension, but for the two ends
    lower = spgemm_inputs.lower_triangle(7).scipy()
    found = ((lower @ lower).multiply(lower)).sum()
    whole = (lower + lower.T).toarray()
    assert found == round(np.trace(whole @ whole @ whole) / 6)
    queries, documents = spgemm_inputs.queries_and_documents(20, 400)
    assert (queries.shape, documents.shape) == ((20, 30_000), (30_000, 400))
    assert 100 < len(documents.col) / 400 < 128
    for matrix in (cube, queries, documents, GRAPH()):
        matrix.scipy().check_format()
        assert matrix.sorted() is matrix
        assert torch.equal(matrix.torch().to_dense(), torch.from_numpy(matrix.scipy().toarray()))
        assert torch.equal(matrix.transposed().torch().to_dense(), matrix.torch().to_dense().T)


def test_blocks_have_equal_work():
    matrix = GRAPH()
    edges = spgemm_peers.blocks_of(matrix, matrix, 4)
    work = [spgemm_inputs.count_products(matrix.some(np.arange(a, b)), matrix) for a, b in pairwise(edges)]
    assert (edges[0], edges[-1], len(work)) == (0, 128, 4)
    assert max(work) < 1.5 * sum(work) / 4


# ---- the whole -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only", ["tiny R-MAT squared", "tiny R-MAT squared, pattern known"])
def test_a_run(tmp_path, only):
    options = ["--device", "cpu", "--quick", "--only", only, "--json", str(tmp_path / "r.json")]
    assert cli.main(["spgemm", *options, "--plot", str(tmp_path / "r.png")]) == 0
    data = json.loads((tmp_path / "r.json").read_text())
    rows = {row["contestant"]: row for workload in data["workloads"] for row in workload["rows"]}
    assert rows["warphash"]["status"] == "measured"
    assert all(row["check"] in ("ok", "sampled", "—") for row in rows.values() if row["status"] == "measured")
    assert not only.endswith("squared") or (tmp_path / "r.png").stat().st_size > 10_000


def test_memory_is_that_of_the_call_alone():
    """SciPy's product takes its result's bytes and little besides; so does ours."""
    name = "random 2^17 x 8 squared"
    (workload,) = (each for each in spgemm.ROOM.workloads if each.name == name)
    outcome = Outcome("spgemm", workload, [Row("warphash"), Row("SciPy"), Row("MKL")])
    for row in outcome.rows[:2]:
        row.timing = Timing((1.0,), (1.0,), 1)
    memory.measure([outcome], SETTINGS)
    ours, scipy, absent = (row.peak for row in outcome.rows)
    assert 0.9 < ours / workload.facts["output_bytes"] < 1.1
    assert 0.9 < scipy / workload.facts["output_bytes"] < 1.5
    assert absent is None


def test_a_process_that_fails_tells_no_peak():
    assert memory._peak("spgemm", "no such workload", "SciPy", 1) is None


def test_targets_between_workloads_name_existing_ones():
    names = {workload.name for workload in spgemm.ROOM.workloads}
    targets = [target for workload in spgemm.ROOM.workloads for target in workload.targets]
    assert {target.than for target in targets if isinstance(target, NoSlower)} <= names
    (mean,) = (target for target in targets if isinstance(target, MeanFaster))
    quick = {workload.name: workload for workload in spgemm.ROOM.workloads if workload.mode == QUICK}
    assert set(mean.over) <= set(quick)
    for name in mean.over:
        assert any(contestant.name.startswith(mean.than) for contestant in quick[name].contestants)


def test_every_quick_workload_has_a_pure_python_baseline_and_a_limit():
    for workload in spgemm.ROOM.workloads:
        if workload.mode == QUICK:
            assert workload.needs
            assert any(contestant.baseline for contestant in workload.contestants), workload.name
    names = [workload.name for workload in spgemm.ROOM.workloads]
    assert len(set(names)) == len(names)
