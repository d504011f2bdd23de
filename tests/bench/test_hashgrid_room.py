# SPDX-License-Identifier: Apache-2.0
"""The hash-grid room: peers agree with us, wrong answers are noticed, needs and inputs are what they say."""

import importlib.util
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from warphash import _C
from warphash.hashgrid import reference

from bench import hashgrid, hashgrid_inputs, hashgrid_ours, hashgrid_peers
from bench.harness import cli
from bench.harness.limits import Limits
from bench.harness.model import bounds, nearest
from bench.harness.workload import QUICK, Chain, NoSlower, Settings
from bench.hashgrid_inputs import Shape

CPU = torch.device("cpu")
SMALL = Shape(log2_rows=10, points=3000)
SETTINGS = Settings(CPU, threads=2)

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")


@pytest.fixture
def problem():
    return hashgrid_inputs.encoding(CPU, SMALL)


def _wrong(problem, solve, prepare, check):
    prepared = prepare(problem, SETTINGS)
    inputs = problem if prepared.inputs is None else prepared.inputs
    return check(solve(inputs), prepared.answer(prepared.call()), inputs)


# ---- contestants -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [SMALL, replace(SMALL, dims=2, features=4), replace(SMALL, active=(3, 7)), replace(SMALL, order="morton")],
    ids=["3d", "2d", "two levels", "morton"],
)
@pytest.mark.parametrize("peer", ["eager", pytest.param("numba", marks=needs_numba)])
def test_peers_encode_as_we_do(shape, peer):
    problem = hashgrid_inputs.encoding(CPU, shape)
    prepare = {"eager": hashgrid_peers.eager_encode, "numba": hashgrid_peers.numba_encode}[peer]
    assert _wrong(problem, hashgrid_ours.solve_encode, prepare, hashgrid_ours.closeness(4e-3)) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_eager_torch_encodes_half_tables_as_we_do(dtype):
    problem = hashgrid_inputs.encoding(CPU, replace(SMALL, dtype=dtype))
    wrong = _wrong(problem, hashgrid_ours.solve_encode, hashgrid_peers.eager_encode, hashgrid_ours.closeness(2e-2))
    assert wrong is None


@pytest.mark.parametrize(
    ("solve", "prepare", "rows"),
    [
        (hashgrid_ours.solve_backward, hashgrid_peers.eager_backward, 1.0),
        (hashgrid_ours.solve_train, partial(hashgrid_peers.eager_train, with_x=False), 1.0),
        (hashgrid_ours.solve_train_with_x, partial(hashgrid_peers.eager_train, with_x=True), hashgrid.MOST),
        (hashgrid_ours.solve_eikonal, hashgrid_peers.eager_eikonal, hashgrid.MOST),
        (hashgrid_ours.solve_double_backward, hashgrid_peers.eager_double_backward, hashgrid.MOST),
    ],
)
def test_eager_torch_differentiates_as_we_do(problem, solve, prepare, rows):
    assert _wrong(problem, solve, prepare, hashgrid_ours.closeness(2e-2, rows)) is None


@needs_numba
@pytest.mark.parametrize(
    ("solve", "prepare"),
    [
        (hashgrid_ours.solve_backward, hashgrid_peers.numba_backward),
        (hashgrid_ours.solve_train, hashgrid_peers.numba_train),
    ],
)
def test_numba_differentiates_as_we_do(problem, solve, prepare):
    assert _wrong(problem, solve, prepare, hashgrid_ours.closeness(4e-3)) is None


def test_a_slow_peer_gets_a_part_and_one_that_writes_tables_no_small_one():
    problem = hashgrid_inputs.encoding(CPU, replace(SMALL, points=1 << 16))
    part = hashgrid_peers.sample(problem, SETTINGS, 1e3, least=4)
    assert part.share == 0.25
    assert part.problem.count == part.inputs.count == 1 << 14
    assert torch.equal(part.problem.gradient, problem.gradient[: 1 << 14])
    assert hashgrid_peers.sample(problem, SETTINGS, 1e9).inputs is None


def test_kernels_of_every_level_give_the_same_bits(problem):
    x, table, gradient = problem.x.numpy(), problem.table.numpy(), problem.gradient.numpy()
    encoded = hashgrid_ours.solve_encode(problem).numpy()
    to_x, to_table = hashgrid_ours.solve_both_backward(problem)
    levels = ("scalar", "avx2", "avx512", "amx")
    for isa in levels[: levels.index(_C.cpu_features()["machine_isa"]) + 1]:
        assert np.array_equal(_C.kernels.hashgrid_encode(isa, x, table, problem.spec.text), encoded)
        found = _C.kernels.hashgrid_backward(isa, gradient, x, table, problem.spec.text)
        assert np.array_equal(found[0], to_x.numpy())
        assert np.array_equal(found[1], to_table.numpy())


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("sse", 3, 2), "isa must be"),
        (("scalar", 2, 2), "x must be"),
        (("scalar", 3, 2), "table must be"),
    ],
)
def test_kernels_refuse_what_does_not_fit(problem, arguments, part):
    isa, dims, features = arguments
    x, table = (np.zeros((1, width), np.float32) for width in (dims, features))
    with pytest.raises(ValueError, match=part):
        _C.kernels.hashgrid_encode(isa, x, table, problem.spec.text)
    with pytest.raises(ValueError, match="gradient must be"):
        _C.kernels.hashgrid_backward("scalar", x, problem.x.numpy(), problem.table.numpy(), problem.spec.text)


# ---- checks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", ["value", "nan", "shape", "count"])
def test_a_wrong_answer_is_noticed(problem, spoil):
    check = hashgrid_ours.closeness(4e-3)
    mine = hashgrid_ours.solve_encode(problem).numpy()
    theirs = mine.copy()
    assert check((mine,), (theirs,), problem) is None
    if spoil == "value":
        theirs[17, 3] += 0.05
    elif spoil == "nan":
        theirs[17, 3] = np.nan
    elif spoil == "shape":
        theirs = theirs[:-1]
    assert check((mine,), (theirs, theirs) if spoil == "count" else (theirs,), problem)


def test_a_few_rows_may_differ_where_that_is_allowed():
    mine = np.ones((100, 2), np.float32)
    theirs = mine.copy()
    theirs[:2] = 9
    assert hashgrid_ours.closeness(1e-3, 0.98)((mine,), (theirs,), None) is None
    assert hashgrid_ours.closeness(1e-3, 0.99)((mine,), (theirs,), None) == "array 0: 2.00% of its rows differ"


def test_eikonal_gradients_are_those_of_the_reference():
    problem = hashgrid_inputs.encoding(CPU, replace(SMALL, points=50))
    ours = hashgrid_ours.solve_eikonal(problem)
    theirs = hashgrid_ours.eikonal_step(
        lambda x, table: reference.encode(x, table, problem.spec), problem.x, problem.table, problem.head
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


# ---- inputs ----------------------------------------------------------------------------------------------


def test_morton_order_keeps_neighbours_together(problem):
    sorted_problem = hashgrid_inputs.encoding(CPU, replace(SMALL, order="morton"))
    assert torch.equal(sorted_problem.x.sort(0).values, problem.x.sort(0).values)
    assert sorted_problem.x.diff(dim=0).norm(dim=1).mean() < 0.3 * problem.x.diff(dim=0).norm(dim=1).mean()


def test_levels_that_are_not_active_have_weight_zero():
    weights = hashgrid_inputs.encoding(CPU, replace(SMALL, active=(3, 7, 11, 15))).level_weights
    assert weights.nonzero().flatten().tolist() == [3, 7, 11, 15]
    assert hashgrid_inputs.encoding(CPU, SMALL).level_weights is None


def test_tables_of_levels_are_views():
    problem = hashgrid_inputs.encoding(CPU, SMALL)
    tables = problem.level_tables()
    assert [len(table) for table in tables] == list(problem.spec.level_rows)
    assert tables[-1].data_ptr() == problem.table[problem.spec.offsets[-2] :].data_ptr()


# ---- the command -----------------------------------------------------------------------------------------


def test_the_command_runs_the_room(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "use_threads", lambda threads: None)  # other tests keep theirs
    files = tmp_path / "out.json", tmp_path / "out.png"
    options = ("--only", "tiny", "--device", "cpu", "--threads", "1", "--json", str(files[0]), "--plot", str(files[1]))
    assert cli.main(["hashgrid", *options]) == 0
    text = capsys.readouterr().out
    assert "WRONG" not in text
    assert "failed" not in text
    (workload,) = json.loads(files[0].read_text())["workloads"]
    rows = {row["contestant"]: row for row in workload["rows"]}
    assert next(iter(rows)) == "warphash"
    assert rows["warphash"]["limit"] == hashgrid.GATHERS
    assert rows["warphash"]["of_limit"] > 0
    assert rows["torch eager"]["check"] in ("ok", "sampled")
    assert files[1].stat().st_size > 10_000


# ---- the room --------------------------------------------------------------------------------------------


def test_names_are_distinct_and_targets_name_existing_ones():
    names = [workload.name for workload in hashgrid.ROOM.workloads]
    assert len(names) == len(set(names))
    compared = [
        target.than for work in hashgrid.ROOM.workloads for target in work.targets if isinstance(target, NoSlower)
    ]
    assert len(compared) == 5
    quick = {workload.name for workload in hashgrid.ROOM.workloads if workload.mode == QUICK}
    assert set(compared) <= {workload.name for workload in hashgrid.ROOM.workloads}
    assert hashgrid.ROOM.workloads[0].name in quick


def test_needs_count_every_corner_by_the_size_of_its_level():
    by_name = {workload.name: workload for workload in hashgrid.ROOM.workloads}
    large, small = by_name["encode 3D T=2^19"].needs[0], by_name["encode 3D T=2^14"].needs[0]
    for chain in (large, small):
        assert isinstance(chain, Chain)
        assert sum(amount for need in chain.needs for amount in need.amounts.values()) == 2**18 * 128
    (at_four_mib,) = [
        need.amounts["row_gather:4194304"] for need in large.needs if "row_gather:4194304" in need.amounts
    ]
    assert at_four_mib == 2**18 * 8 * 11
    assert max(int(name.partition(":")[2]) for need in small.needs for name in need.amounts) == 1 << 17
    quarter = by_name["encode 3D T=2^19 4 of 16 levels"].needs[0]
    assert sum(amount for need in quarter.needs for amount in need.amounts.values()) == 2**18 * 32
    half = by_name["encode 3D T=2^19 float16"].needs[0]
    assert any("row_gather:2097152" in need.amounts for need in half.needs)


def test_limits_of_all_levels_add_up():
    workload = next(work for work in hashgrid.ROOM.workloads if work.name == "encode and backward to table 3D T=2^19")
    rates = {"row_gather": 1e9, "row_update": 5e8, "read": 1e12, "write": 1e12}
    limits = Limits(lambda name, threads: rates[name.partition(":")[0]], threads=1)
    bound = nearest(workload.needs, limits)
    assert bound.limit == hashgrid.BOTH
    assert bound.seconds == pytest.approx(2**18 * 128 * 3e-9)
    assert len(bounds(workload.needs, limits)) == 3
