# SPDX-License-Identifier: Apache-2.0
"""Total variation and views of levels."""

from __future__ import annotations

import itertools

import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash.hashgrid import GridSpec, level_view, reference, total_variation

from .samples import DTYPES, KINDS, level_weights, points, rows, small, wide, without_cell

_ops = torch.ops.warphash


def test_a_variation_by_hand() -> None:
    """One dimension: the lower vertex of the cell and its neighbour above."""
    spec = GridSpec(1, levels=1, features=2, base_resolution=5, kind="dense")
    table = torch.tensor([0.0, 1.0, 4.0, 9.0, 16.0, 1.0, 1.0, 1.0], dtype=torch.float64)[:, None] * torch.tensor([1, 2])
    x = torch.tensor([[0.0], [0.3], [0.6], [0.99]], dtype=torch.float64)  # positions 0.5, 1.7, 2.9, 4.46
    expected = sum((1 + 4) * step**2 for step in (1, 3, 5, -15)) / 4
    assert total_variation(x, table, spec).item() == expected
    assert total_variation(x, table, spec, level_weights=[0.5]).item() == expected / 2


@pytest.mark.parametrize("dims", range(1, 8))
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradients_are_the_definitions(dims: int, dtype: torch.dtype) -> None:
    for kind, features in itertools.product(KINDS, (1, 2, 3, 8) if dims < 4 else (4,)):
        spec = small(dims, kind=kind, features=features)
        x = 2 * points(60, dims, wide(dtype)) - 0.5
        results = []
        for function in (total_variation, reference.total_variation):
            table = rows(spec, dtype).requires_grad_()
            weights = level_weights(spec, wide(dtype)).requires_grad_()
            value = function(x, table, spec, level_weights=weights)
            results.append((value, *torch.autograd.grad(value, (table, weights))))
        rtol = {torch.float32: 1e-4, torch.float64: 1e-11}.get(dtype, 3e-2)
        for found, expected in zip(*results, strict=True):
            assert found.dtype == expected.dtype
            torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol * float(expected.detach().abs().max()))


def test_finite_differences_of_both_orders() -> None:
    spec = small(2, levels=2, log2_table_size=3)
    x = points(5, 2, torch.float64)
    table, weights = rows(spec, torch.float64).requires_grad_(), torch.tensor([0.0, 0.5], dtype=torch.float64)

    def value(table: Tensor, weights: Tensor) -> Tensor:
        return total_variation(x, table, spec, level_weights=weights)

    inputs = (table, weights.requires_grad_())
    assert torch.autograd.gradcheck(value, inputs)
    assert torch.autograd.gradgradcheck(value, inputs)


def test_points_have_no_gradient() -> None:
    spec = small()
    x, table = points(9, 3).requires_grad_(), rows(spec).requires_grad_()
    value = total_variation(x, table, spec)
    of_x, of_table = torch.autograd.grad(value, (x, table), allow_unused=True, materialize_grads=True)
    assert not of_x.any()
    assert of_table.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_points_without_a_cell_count_as_zero(dtype: torch.dtype) -> None:
    spec = small()
    x, table = without_cell().to(wide(dtype)), rows(spec, dtype)
    x[16, 0] = torch.finfo(x.dtype).max
    usable = x.isfinite().all(1) & (x.abs() < 1e30).all(1)
    assert int(usable.sum()) == 15
    found = _ops.hashgrid_variation(x, table, spec.text)
    torch.testing.assert_close(found, _ops.hashgrid_variation(x[usable], table, spec.text))
    gradient = torch.ones(4, dtype=x.dtype)
    of_all = _ops.hashgrid_variation_backward(gradient, x, table, spec.text, False)
    torch.testing.assert_close(of_all, _ops.hashgrid_variation_backward(gradient, x[usable], table, spec.text, True))
    torch.testing.assert_close(
        total_variation(x, table, spec), total_variation(x[usable], table, spec) * 15 / 20, rtol=1e-6, atol=0
    )


def test_no_points_vary_by_nothing() -> None:
    spec = small()
    table = rows(spec).requires_grad_()
    value = total_variation(points(0, 3), table, spec)
    assert value == 0
    assert not torch.autograd.grad(value, table)[0].any()


def test_descent_on_the_variation_makes_levels_agree() -> None:
    spec = small(2, kind="dense")
    table = rows(spec).requires_grad_()
    before = float(total_variation(points(500, 2), table.detach(), spec))
    optimizer = torch.optim.SGD([table], lr=0.1)
    for step in range(100):
        optimizer.zero_grad()
        total_variation(points(500, 2, seed=step), table, spec).backward()
        optimizer.step()
    assert float(total_variation(points(500, 2), table, spec).detach()) < 0.3 * before


# ---- Views of levels ------------------------------------------------------------------------------------------------
def test_views_of_levels_make_up_the_table() -> None:
    spec = small()
    table = rows(spec)
    views = [level_view(table, spec, level) for level in range(spec.levels)]
    assert [len(view) for view in views] == list(spec.level_rows)
    assert torch.equal(torch.cat(views), table)
    views[2].zero_()
    assert not table[spec.offsets[2] : spec.offsets[3]].any()
    assert all(view.data_ptr() == table[offset:].data_ptr() for view, offset in zip(views, spec.offsets, strict=False))


def test_gradients_of_levels_are_their_own() -> None:
    spec = small()
    table = rows(spec).requires_grad_()
    (level_view(table, spec, 1) ** 2).sum().backward()
    assert table.grad is not None
    assert torch.equal(level_view(table.grad, spec, 1), 2 * level_view(table.detach(), spec, 1))
    assert not level_view(table.grad, spec, 0).any()


@pytest.mark.parametrize(
    ("table", "level", "error", "text"),
    [
        ("rows", 4, IndexError, "^level must be within 0 and 3, got 4"),
        ("rows", -1, IndexError, "^level must be within 0 and 3, got -1"),
        ("rows", 1.0, TypeError, "^level must be an int, got float"),
        ("short", 0, ValueError, r"^table must have \d+ rows"),
        ("scalar", 0, ValueError, r"^table must have \d+ rows.*\(\)"),
        ("array", 0, TypeError, "^table must be a torch tensor.*ndarray"),
    ],
)
def test_views_of_what_is_not_there(table: str, level: object, error: type[Exception], text: str) -> None:
    spec = small()
    whole = rows(spec)
    given = {"rows": whole, "short": whole[:-1], "scalar": torch.tensor(1.0), "array": whole.numpy()}[table]
    with pytest.raises(error, match=text):
        wh.hashgrid.level_view(given, spec, level)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-6])
def test_second_derivatives_in_weights_keep_their_digits(dtype: torch.dtype, size: float) -> None:
    spec = GridSpec(2, levels=3, log2_table_size=5, base_resolution=2, finest_resolution=6)
    x = torch.rand(40, 2)
    table = torch.randn(spec.rows, 2).to(dtype)
    v = size * torch.randn(spec.rows, 2)
    text = spec.text
    gradient = torch.ones(spec.levels, requires_grad=True)
    of_table = torch.ops.warphash.hashgrid_variation_backward(gradient, x, table, text, False)
    (found,) = torch.autograd.grad(of_table, gradient, v)
    exact = table.double().requires_grad_()
    wanted = []
    for level in range(spec.levels):
        weights = torch.zeros(spec.levels).index_fill(0, torch.tensor(level), 1.0).double()
        total = reference.total_variation(x.double(), exact, spec, level_weights=weights) * len(x)
        wanted.append((torch.autograd.grad(total, exact)[0] * v.double()).sum())
    expected = torch.stack(wanted).float()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_many_features() -> None:
    spec = GridSpec(1, levels=1, features=2**16, log2_table_size=0, base_resolution=4, finest_resolution=4)
    table = torch.ones(1, 2**16)
    assert wh.hashgrid.total_variation(torch.rand(3, 1), table, spec) == 0
    with pytest.raises(ValueError, match=r"^features must be at most 65536"):
        GridSpec(1, levels=2, features=2**16)
