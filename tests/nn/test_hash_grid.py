# SPDX-License-Identifier: Apache-2.0
"""HashGrid: the encoding as a module, its levels switched and trained apart, and what a torch module has to survive."""

from __future__ import annotations

import copy
import io
import itertools
import pickle

import numpy as np
import pytest
import torch
import warphash as wh
from warphash.nn import encoding

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SPEC = wh.hashgrid.GridSpec(3, levels=4, log2_table_size=8, base_resolution=3, finest_resolution=20)


def make(spec: wh.hashgrid.GridSpec = SPEC, **options: object) -> wh.nn.HashGrid:
    torch.manual_seed(1)
    return wh.nn.HashGrid(spec, **{"init_range": 1.0, **options})


def points(*shape: int, dims: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(*(shape or (9,)), dims, generator=torch.Generator().manual_seed(2)).to(dtype)


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_values_and_gradients_are_those_of_the_definition(dims: int) -> None:
    spec = wh.hashgrid.GridSpec(dims, levels=3, log2_table_size=5, base_resolution=3, finest_resolution=17)
    grid = make(spec, dtype=torch.float64)
    x = points(dims=dims, dtype=torch.float64).requires_grad_()
    upstream = torch.randn(9, spec.output_features, dtype=torch.float64)
    encoded = grid(x)
    expected = wh.hashgrid.reference.encode(x, grid.table, spec)
    torch.testing.assert_close(encoded, expected)
    found = torch.autograd.grad(encoded, (x, grid.table), upstream)
    for one, other in zip(found, torch.autograd.grad(expected, (x, grid.table), upstream), strict=True):
        torch.testing.assert_close(one, other)


def test_initial_table() -> None:
    table = wh.nn.HashGrid(SPEC).table
    assert table.shape == (SPEC.rows, 2)
    assert table.requires_grad
    assert table.dtype == torch.float32
    assert 0.99e-4 < table.abs().max() <= 1e-4
    assert abs(table.mean()) < 1e-5
    assert not make(init_range=0).table.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_seed_gives_the_same_table_in_each_dtype(dtype: torch.dtype) -> None:
    assert torch.equal(make(dtype=dtype).table, make().table.to(dtype))
    grid = make(dtype=dtype)
    before = grid.table.clone()
    grid.reset_parameters()
    assert not torch.equal(grid.table, before)


def test_leading_dimensions_and_empty_batches() -> None:
    grid, x = make(), points(24)
    assert torch.equal(grid(x.reshape(2, 3, 4, 3)), grid(x).reshape(2, 3, 4, 8))
    assert torch.equal(grid(x[0]), grid(x)[0])
    assert grid(x[:0]).shape == (0, 8)
    grid(points(5, 0)).sum().backward()
    assert not grid.table.grad.any()


@pytest.mark.parametrize("active", [0, 1, 3, 4, np.int64(2)])
def test_levels_are_turned_on_from_the_coarsest(active: int) -> None:
    grid, x = make(), points()
    full = grid(x)
    grid.set_active_levels(active)
    encoded = grid(x)
    assert torch.equal(encoded[:, : active * 2], full[:, : active * 2])
    assert not encoded[:, active * 2 :].any()
    encoded.sum().backward()
    assert all(grid.table.grad[a:b].any() == (level < active) for level, a, b in ranges())
    grid.set_active_levels(4)
    assert torch.equal(grid(x), full)


def ranges() -> list[tuple[int, int, int]]:
    return [(level, a, b) for level, (a, b) in enumerate(itertools.pairwise(SPEC.offsets))]


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor])
def test_weights_of_levels(kind: object) -> None:
    grid, x = make(), points()
    full = grid(x).reshape(9, 4, 2)
    grid.set_active_levels(kind([1.0, 0.3, 0.0, -2.0]))
    torch.testing.assert_close(grid(x).reshape(9, 4, 2), full * torch.tensor([1.0, 0.3, 0.0, -2.0])[:, None])


def test_weights_of_one_change_no_bit() -> None:
    grid, x = make(), points(100)
    assert torch.equal(grid(x), wh.hashgrid.encode(x, grid.table, SPEC))


def test_weights_given_for_a_call_take_a_gradient() -> None:
    grid, x = make(dtype=torch.float64), points(dtype=torch.float64)
    grid.set_active_levels(1)
    weights = torch.rand(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: grid(x, level_weights=w), (weights,))
    assert torch.equal(grid(x, level_weights=[1, 1, 1, 1]), wh.hashgrid.encode(x, grid.table, SPEC))


def test_levels_are_kept_in_the_state() -> None:
    grid, x = make(), points()
    grid.set_active_levels([1.0, 0.3, 0.0, 0.0])
    stream = io.BytesIO()
    torch.save(grid.state_dict(), stream)
    stream.seek(0)
    loaded = wh.nn.HashGrid(SPEC)
    loaded.load_state_dict(torch.load(stream))
    assert set(grid.state_dict()) == {"table", "level_weights"}
    for other in (loaded, copy.deepcopy(grid), pickle.loads(pickle.dumps(grid))):
        assert other.spec == SPEC
        assert torch.equal(other.level_weights, torch.tensor([1.0, 0.3, 0.0, 0.0]))
        assert torch.equal(other(x), grid(x))


def test_levels_changed_before_the_backward_pass_are_noticed() -> None:
    grid = make()
    encoded = grid(points())
    grid.set_active_levels(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        encoded.sum().backward()


def test_schedule_of_levels() -> None:
    assert [wh.nn.progressive_levels(step, 14) for step in (0, 200, 210, 211, 10_000)] == [3, 3, 3, 4, 14]
    assert wh.nn.progressive_levels(0, 8, share=0) == 1
    assert wh.nn.progressive_levels(10**18, 8, share=0.5, rate=1e300, start=0) == 8
    assert [wh.nn.progressive_levels(step, 4, share=0.25, rate=0.5, start=1) for step in range(8)] == [
        *(1, 1, 2, 2, 3, 3, 4, 4),
    ]


def test_views_of_levels() -> None:
    grid = make()
    assert [len(grid.level_view(level)) for level in range(4)] == list(SPEC.level_rows)
    assert torch.equal(torch.cat([grid.level_view(level) for level in range(4)]), grid.table)
    grid.level_view(2).square().sum().backward()
    assert all(grid.table.grad[a:b].any() == (level == 2) for level, a, b in ranges())
    with torch.no_grad():
        grid.level_view(0).zero_()
    assert not grid.table[: SPEC.offsets[1]].any()
    for level in (-1, 4):
        with pytest.raises(IndexError, match="level must be within 0 and 3"):
            grid.level_view(level)
    with pytest.raises(TypeError, match="level"):
        grid.level_view(1.0)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_learning_rates_of_levels(optimizer: type[torch.optim.Optimizer]) -> None:
    grid, x = make(), points(50)
    rates = (0.1, 0.0, 0.05, 0.1)
    one = optimizer([{"params": [p], "lr": r} for p, r in zip(grid.level_parameters(), rates, strict=True)], lr=1.0)
    alone = {rate: make() for rate in (0.1, 0.05)}
    others = [optimizer(other.parameters(), lr=rate) for rate, other in alone.items()]
    before = grid.table.detach().clone()
    for _ in range(3):
        for module, step in zip((grid, *alone.values()), (one, *others), strict=True):
            step.zero_grad()
            (module(x) * torch.arange(8.0)).square().sum().backward()  # each level has a gradient of its own
            step.step()
    assert grid.table.grad is None
    assert torch.equal(grid.level_view(1), before[SPEC.offsets[1] : SPEC.offsets[2]])
    for level, rate in ((0, 0.1), (2, 0.05), (3, 0.1)):
        assert not torch.equal(grid.level_view(level), before[SPEC.offsets[level] : SPEC.offsets[level + 1]])
        assert torch.equal(grid.level_view(level), alone[rate].level_view(level)), level


def test_parameters_of_levels_collect_gradients() -> None:
    grid, other, x = make(), make(), points()
    rows = grid.level_parameters()
    assert [id(p) for p in grid.level_parameters()] == [id(p) for p in rows]
    for _ in range(2):
        grid(x).sum().backward()
        other(x).sum().backward()
    assert torch.equal(torch.cat([p.grad for p in rows]), other.table.grad)
    assert [name for name, _ in grid.named_parameters()] == ["table"]
    assert set(grid.state_dict()) == {"table", "level_weights"}
    copied = copy.deepcopy(grid)  # with a table of its own
    copied(x).sum().backward()
    assert torch.equal(copied.table.grad, other.table.grad / 2)
    assert copied.level_parameters()[0].data_ptr() == copied.table.data_ptr()


@pytest.mark.parametrize("move", ["convert", "load"])
def test_parameters_of_levels_do_not_outlive_a_move(move: str) -> None:
    grid = make()
    old = grid.level_parameters()
    x = points(dtype=torch.float64)
    if move == "convert":
        grid.double()
    else:
        grid.load_state_dict(make().double().state_dict(), assign=True)
        grid.level_weights = grid.level_weights.double()
    with pytest.raises(RuntimeError, match=r"level_parameters\(\) were taken before"):
        grid(x)
    grid.table.requires_grad_()
    new = grid.level_parameters()
    assert new[0] is not old[0]
    grid.table.requires_grad_(False)
    with pytest.raises(ValueError, match=r"^table must require a gradient"):
        grid.level_parameters()
    grid.table.requires_grad_()
    grid.zero_grad()
    grid(points(dtype=torch.float64)).sum().backward()
    assert new[0].grad.dtype == torch.float64


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype: torch.dtype) -> None:
    for grid in (make(dtype=dtype), make().to(dtype)):
        grid.set_active_levels([1.0, 0.3, 0.0, 0.0])
        assert grid.level_weights.dtype == wide(dtype)
        x = points(dtype=wide(dtype))
        encoded = grid(x)
        assert encoded.dtype == dtype
        encoded.sum().backward()
        assert grid.table.grad.dtype == dtype
        expected = wh.hashgrid.reference.encode(x, grid.table, SPEC, level_weights=grid.level_weights)
        torch.testing.assert_close(encoded, expected)


def test_conversions_keep_weights_unrounded() -> None:
    grid = make()
    grid.set_active_levels([0.3, 1.0, 1.0, 1.0])
    kept = grid.level_weights.clone()
    assert torch.equal(grid.half().bfloat16().float().level_weights, kept)
    assert torch.equal(grid.half().double().level_weights, kept.double())


def test_autocast_keeps_the_tables_dtype() -> None:
    grid, x = make(), points()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(grid(x), grid(x.clone()))
        assert grid(x).dtype == torch.float32
        assert torch.equal(grid(x.bfloat16()), grid(x.bfloat16().float()))
    with pytest.raises(TypeError, match=r"x must be torch.float32 for a table of torch.float32, got torch.bfloat16"):
        grid(x.bfloat16())


def test_meta_device() -> None:
    for grid in (make(device="meta"), make().to("meta")):
        encoded = grid(points().to("meta"))
        assert encoded.is_meta
        assert encoded.shape == (9, 8)
    grid.to_empty(device="cpu").reset_parameters()
    grid.set_active_levels(4)
    assert grid(points()).isfinite().all()


def test_compile_follows_levels_without_recompiling() -> None:
    grid, x = make(), points()
    torch._dynamo.reset()
    compiled = torch.compile(grid, fullgraph=True, backend="aot_eager")
    compiled(x).sum().backward()
    other = make()
    other(x).sum().backward()
    torch.testing.assert_close(grid.table.grad, other.table.grad)
    with torch._dynamo.config.patch(error_on_recompile=True):
        grid.set_active_levels(2)
        torch.testing.assert_close(compiled(x), grid(x))
        assert not compiled(x)[:, 4:].any()


def test_export() -> None:
    grid = make()
    exported = torch.export.export(grid, (points(),), dynamic_shapes={"x": {0: torch.export.Dim("points", min=2)}})
    torch.testing.assert_close(exported.module()(points(30)), grid(points(30)))


def test_gradients_of_single_points() -> None:
    grid, x = make(dtype=torch.float64), points(dtype=torch.float64)
    parameters = dict(grid.named_parameters())

    def loss(parameters: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(grid, parameters, (row,)).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)["table"]
    loss(parameters, x[4]).backward()
    torch.testing.assert_close(found[4], grid.table.grad)


def test_large_pages_are_asked_for_before_the_table_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(encoding._C, "prefer_large_pages", lambda *place: asked.append(place))
    grid = make(dtype=torch.float16)
    assert asked == [(grid.table.data_ptr(), SPEC.rows * 2 * 2)]
    make(device="meta")
    with torch._subclasses.FakeTensorMode():
        make()
    assert len(asked) == 1


def test_description() -> None:
    grid = make()
    assert repr(grid) == f"HashGrid({SPEC!r}, dtype=torch.float32)"
    assert grid.resolutions == SPEC.resolutions
    assert grid.output_features == 8


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"spec": 3}, TypeError, "spec must be a GridSpec, got int"),
        ({"dtype": torch.int32}, TypeError, r"dtype must be torch.float32, .* got torch.int32"),
        ({"dtype": None}, TypeError, "dtype must be"),
        ({"init_range": -1.0}, ValueError, "init_range must be at least 0, got -1"),
        ({"init_range": float("nan")}, ValueError, "init_range must be finite"),
        ({"init_range": "a"}, TypeError, "init_range"),
    ],
)
def test_bad_construction(arguments: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        wh.nn.HashGrid(**{"spec": SPEC, **arguments})


@pytest.mark.parametrize(
    ("active", "error", "text"),
    [
        (5, ValueError, "active must be at most 4, the levels of the grid, got 5"),
        (-1, ValueError, "active must be at least 0, got -1"),
        (True, TypeError, "active"),
        (2.0, TypeError, "active"),
        ("2", TypeError, "active"),
        ([1.0, 1.0], ValueError, r"active must be weights \[levels\], \(4,\) here, got shape \(2,\)"),
        ([1.0, 1.0, "a", 1.0], TypeError, r"active\[2\]"),
        ([1.0, 1.0, float("inf"), 1.0], ValueError, r"active\[2\] must be finite"),
        (torch.tensor([1.0, float("nan"), 1.0, 1.0]), ValueError, "active must be finite"),
        (torch.ones(4, dtype=torch.int64), TypeError, "active .* got a tensor of torch.int64"),
        (torch.tensor(2.0), ValueError, "active must be weights"),
    ],
)
def test_bad_levels(active: object, error: type[Exception], text: str) -> None:
    grid = make()
    with pytest.raises(error, match=text):
        grid.set_active_levels(active)
    assert torch.equal(grid.level_weights, torch.ones(4))


def test_bad_schedules() -> None:
    for name, value, error in (
        ("step", -1, ValueError),
        ("levels", 0, ValueError),
        ("share", 1.5, ValueError),
        ("rate", -0.1, ValueError),
        ("start", 1.5, TypeError),
    ):
        with pytest.raises(error, match=name):
            wh.nn.progressive_levels(**{"step": 0, "levels": 4, name: value})


def test_bad_points() -> None:
    grid = make()
    for x, error, text in (
        ([0.5] * 3, TypeError, "x must be a torch tensor, got list"),
        (points().to_sparse(), TypeError, "x must be a dense tensor"),
        (points().double(), TypeError, "x must be torch.float32 for a table of torch.float32, got torch.float64"),
        (points(dims=2), ValueError, r"x must be \[..., dims\] with 3 dims as spec has, got shape \(9, 2\)"),
        (torch.tensor(0.5), ValueError, r"x must be \[..., dims\]"),
        (points().to("meta"), ValueError, "x must be on the device of table, cpu, got meta"),
    ):
        with pytest.raises(error, match=text):
            grid(x)
    with pytest.raises(ValueError, match="level_weights"):
        grid(points(), level_weights=[1.0])


@pytest.mark.cuda
def test_cuda_equals_cpu() -> None:
    grid, x = make(), points(1000)
    grid.set_active_levels([1.0, 0.5, 1.0, 0.0])
    expected = grid(x)
    grid.cuda()
    torch.testing.assert_close(grid(x.cuda()).cpu(), expected)
    rows = grid.level_parameters()
    grid(x.cuda()).sum().backward()
    assert rows[0].grad.is_cuda
    assert make(device="cuda").table.is_cuda
