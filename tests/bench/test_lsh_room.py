# SPDX-License-Identifier: Apache-2.0
"""The LSH room: peers agree with us, wrong answers are noticed, needs and inputs are what they say."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from bench import lsh, lsh_bucket_peers, lsh_inputs, lsh_ours, lsh_peers, lsh_sketch_peers
from bench.harness import cli
from bench.harness.workload import QUICK, Settings, Unavailable

CPU = torch.device("cpu")
SETTINGS = Settings(CPU, threads=2)
VECTORS = partial(lsh_inputs.vectors, CPU, rows=2000, dim=128)
DOCUMENTS = partial(lsh_inputs.documents, CPU, count=300, length=40, num_perm=64)
CODES = partial(lsh_inputs.codes, CPU, tables=4, items=3000, queries=50)


def _wrong(problem, solve, prepare, check):
    try:
        prepared = prepare(problem, SETTINGS)
        result = prepared.call()
    except (ImportError, Unavailable) as error:
        pytest.skip(str(error))
    assert prepared.answer is not None
    inputs = problem if prepared.inputs is None else prepared.inputs
    return check(solve(inputs), prepared.answer(result), inputs)


# ---- contestants -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [64, 256])
@pytest.mark.parametrize("peer", [lsh_peers.numpy_simhash, lsh_peers.torch_simhash, lsh_peers.faiss_simhash])
def test_peers_hash_vectors_as_we_do(peer, bits):
    assert _wrong(VECTORS(bits=bits), lsh_ours.solve_simhash, peer, lsh_ours.few_bits_differ) is None


def test_peers_rotate_as_we_do():
    assert _wrong(VECTORS(bits=128), lsh_ours.solve_hd3, lsh_peers.torch_hd3, lsh_ours.few_bits_differ) is None
    solve, peer = lsh_ours.solve_cross_polytope, lsh_peers.torch_butterflies
    assert _wrong(VECTORS(bits=3), solve, peer, lsh_ours.few_codes_differ) is None


def test_peers_sort_by_code_as_we_do():
    problem = lsh_inputs.vectors(CPU, rows=500, heads=3, dim=64, bits=7)
    assert _wrong(problem, lsh_ours.solve_sort, lsh_peers.torch_sort, lsh_ours.sizes_alike) is None


@pytest.mark.parametrize(
    "peer", [lsh_sketch_peers.numpy_minhash, lsh_sketch_peers.numba_minhash, lsh_sketch_peers.torch_minhash]
)
def test_peers_sketch_as_we_do(peer):
    assert _wrong(DOCUMENTS(), lsh_ours.solve_minhash, peer, lsh_ours.equal) is None


def test_peers_find_the_components_that_we_find():
    problem = lsh_inputs.signatures(CPU, count=900, bands=16, duplicates=100)
    assert _wrong(problem, lsh_ours.solve_components, lsh_sketch_peers.numpy_components, lsh_ours.equal) is None
    labels = lsh_ours.solve_components(problem)
    assert 80 < int((labels != torch.arange(900)).sum()) <= 100
    assert torch.equal(labels, lsh_ours.solve_deduplicate(problem.documents, 16))


@pytest.mark.parametrize("num_buckets", [256, 1 << 16])
@pytest.mark.parametrize(
    "peer", [lsh_bucket_peers.numba_bucket_sort, lsh_bucket_peers.numpy_bucket_sort, lsh_bucket_peers.torch_bucket_sort]
)
def test_peers_sort_buckets_as_we_do(peer, num_buckets):
    problem = CODES(num_buckets=num_buckets, dtype=torch.int32)
    assert _wrong(problem, lsh_ours.solve_bucket_sort, peer, lsh_ours.equal) is None


@pytest.mark.parametrize("peer", [lsh_bucket_peers.numpy_query, lsh_bucket_peers.torch_query])
def test_peers_find_the_candidates_that_we_find(peer):
    problem = CODES(num_buckets=256, dtype=torch.int32)
    assert _wrong(problem, lsh_ours.solve_query, peer, lsh_ours.equal) is None


@pytest.mark.parametrize("peer", [lsh_bucket_peers.torch_bucket_sum, lsh_bucket_peers.one_hot_bucket_sum])
def test_peers_sum_buckets_as_we_do(peer):
    problem = lsh_inputs.sequences(CPU, users=2, items=50, dim=8, tables=3, num_buckets=8)
    assert _wrong(problem, lsh_ours.solve_bucket_sum, peer, lsh_ours.close) is None


def test_a_slow_peer_gets_a_part():
    problem = VECTORS(bits=64)
    part, inputs, share = lsh_peers.sample(problem, SETTINGS, 1000)
    assert (part.count, inputs.count, share) == (300, 300, 0.15)
    assert lsh_peers.sample(problem, SETTINGS, 1e9)[1] is None
    part, inputs, share = lsh_sketch_peers.sample(DOCUMENTS(), SETTINGS, 100)
    assert (part.count, inputs.count, share) == (30, 30, 0.1)
    assert torch.equal(part.offsets, torch.arange(0, 31 * 40, 40))


# ---- checks ----------------------------------------------------------------------------------------------


def test_wrong_answers_are_noticed():
    codes = np.random.default_rng(0).integers(0, 256, (1000, 8), dtype=np.uint8)
    spoiled = codes.copy()
    spoiled[:20] ^= 255
    assert lsh_ours.few_bits_differ((codes,), (codes,), None) is None
    assert lsh_ours.few_bits_differ((codes,), (spoiled,), None) == "2.00% of all bits differ"
    assert lsh_ours.few_codes_differ((codes,), (spoiled,), None) == "2.00% of all codes differ"
    assert lsh_ours.equal((codes, codes), (codes,), None) is None
    assert lsh_ours.equal((codes,), (spoiled,), None) == "array 0: 2.00% of its values differ"
    assert lsh_ours.close((codes * 1.0,), (spoiled * 1.0,), None).startswith("differs by up to")
    for check in (lsh_ours.few_bits_differ, lsh_ours.few_codes_differ, lsh_ours.equal, lsh_ours.close):
        assert "shape" in check((codes,), (codes[1:],), None)
    offsets = np.arange(0, 1001, 100)
    moved = offsets.copy()
    moved[5] += 3
    assert lsh_ours.sizes_alike((offsets,) * 3, (offsets,) * 3, None) is None
    assert lsh_ours.sizes_alike((offsets,) * 3, (moved,) * 3, None) == "0.60% of all rows are in other buckets"


def test_inputs_are_what_they_say():
    found = lsh_inputs.documents(CPU, count=900, duplicates=100)
    rows = found.rows()
    assert len(rows) == 900
    equal = [np.mean(rows[i] == rows[i - 1]) for i in range(1, 900, 2)]
    assert sum(share > 0.8 for share in equal) == found.planted == 100
    problem = CODES(num_buckets=1 << 16, dtype=torch.int32)
    assert problem.queries.shape == (4, 50)
    assert torch.equal(problem.queries[:2], problem.codes[:2, :50])


# ---- the whole -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only", ["tiny simhash", "tiny minhash"])
def test_a_run(tmp_path, only):
    options = ["--device", "cpu", "--quick", "--only", only, "--json", str(tmp_path / "r.json")]
    assert cli.main(["lsh", *options, "--plot", str(tmp_path / "r.png")]) == 0
    data = json.loads((tmp_path / "r.json").read_text())
    (workload,) = data["workloads"]
    rows = {row["contestant"]: row for row in workload["rows"]}
    assert rows["warphash"]["status"] == "measured"
    assert all(row["check"] in ("ok", "sampled", "—") for row in rows.values() if row["status"] == "measured")
    assert (tmp_path / "r.png").stat().st_size > 10_000


def test_every_quick_workload_has_a_pure_python_baseline_and_a_limit():
    for workload in lsh.ROOM.workloads:
        if workload.mode == QUICK:
            assert workload.needs
            assert any(contestant.baseline for contestant in workload.contestants) or "one-permutation" in workload.name
    names = [workload.name for workload in lsh.ROOM.workloads]
    assert len(set(names)) == len(names)
