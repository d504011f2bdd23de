# SPDX-License-Identifier: Apache-2.0
"""Second derivatives against autograd through the definition, the shape of the Hessian, and eikonal training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from warphash.hashgrid import GridSpec, encode, reference

from .samples import INTERPOLATIONS, KINDS, level_weights, points, rows, small

_ops = torch.ops.warphash


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small problems: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def operands(spec: GridSpec, dtype: torch.dtype, count: int = 30) -> tuple[Tensor, ...]:
    """v, gradient, x, table, weights."""
    generator = torch.Generator().manual_seed(3)
    v = torch.randn(count, spec.dims, dtype=dtype, generator=generator)
    gradient = torch.randn(count, spec.output_features, dtype=dtype, generator=generator)
    x = 2 * points(count, spec.dims, dtype) - 0.5
    return v, gradient, x, rows(spec, dtype), level_weights(spec, dtype)


def by_autograd(spec: GridSpec, v: Tensor, gradient: Tensor, x: Tensor, table: Tensor, weights: Tensor) -> list[Tensor]:
    """Derivatives of <v, dL/dx> through the definition: to gradient, x, table, weights."""
    gradient, x, table, weights = (tensor.clone().requires_grad_() for tensor in (gradient, x, table, weights))
    encoded = reference.encode(x, table, spec, level_weights=weights)
    (of_x,) = torch.autograd.grad(encoded, x, gradient, create_graph=True, materialize_grads=True)
    inputs = (gradient, x, table, weights)
    if not of_x.requires_grad:
        return [torch.zeros_like(tensor) for tensor in inputs]
    return list(torch.autograd.grad((of_x * v).sum(), inputs, materialize_grads=True))


@pytest.mark.parametrize("dims", range(1, 8))
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_closed_forms_are_autograds(dims: int, interpolation: str) -> None:
    kinds, widths = (KINDS, (1, 2, 3, 4, 8)) if dims < 4 else (KINDS[:1], (2, 5) if dims < 6 else (2,))
    for kind, features in itertools.product(kinds, widths):
        spec = small(dims, kind=kind, interpolation=interpolation, features=features)
        given = operands(spec, torch.float64, 10)
        found = list(_ops.hashgrid_double_backward(*given, spec.text, True, True, True, True, False))
        defined = by_autograd(spec, *given)
        active = given[4] != 0  # a weight of zero has a test of its own
        found[3], defined[3] = found[3][active], defined[3][active]
        for name, ours, expected in zip(("gradient", "x", "table", "level_weights"), found, defined, strict=True):
            torch.testing.assert_close(
                ours, expected, rtol=1e-11, atol=1e-10, msg=lambda m, n=name, f=features: f"{n}, {f} features: {m}"
            )


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dims", [1, 3, 5])
def test_float32_is_as_near_as_its_rounding(dims: int, interpolation: str) -> None:
    spec = small(dims, interpolation=interpolation, finest_resolution=4, features=4)
    given = operands(spec, torch.float32)
    found = _ops.hashgrid_double_backward(*given, spec.text, True, True, True, False, False)[:3]
    expected = by_autograd(spec, *given)[:3]
    torch.testing.assert_close(found, tuple(expected), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_derivative_in_a_weight_of_zero(dims: int, interpolation: str) -> None:
    """<v, dL/dx> is linear in a weight, so it has a slope at zero too."""
    spec = small(dims, interpolation=interpolation)
    v, gradient, x, table, weights = operands(spec, torch.float64)
    found = _ops.hashgrid_double_backward(v, gradient, x, table, weights, spec.text, False, False, False, True, False)[
        3
    ]
    assert weights[1] == 0
    torch.testing.assert_close(found, by_autograd(spec, v, gradient, x, table, weights)[3], rtol=1e-11, atol=1e-11)


def test_each_is_the_same_alone() -> None:
    spec = small(3, interpolation="smoothstep")
    given = operands(spec, torch.float32)
    everything = _ops.hashgrid_double_backward(*given, spec.text, True, True, True, True, False)
    for wanted in itertools.product((False, True), repeat=4):
        some = _ops.hashgrid_double_backward(*given, spec.text, *wanted, False)
        for flag, part, whole in zip(wanted, some, everything, strict=True):
            assert torch.equal(part, whole) if flag else part.shape == (0,)
    first = _ops.hashgrid_backward(*given[1:], spec.text, True, True, True, False)
    for wanted in itertools.product((False, True), repeat=3):
        some = _ops.hashgrid_backward(*given[1:], spec.text, *wanted, False)
        for flag, part, whole in zip(wanted, some, first, strict=True):
            assert torch.equal(part, whole) if flag else part.shape == (0,)


def test_linear_in_v_and_in_the_gradient() -> None:
    spec = small(3, interpolation="smoothstep")
    v, gradient, x, table, weights = operands(spec, torch.float64)
    flags = (spec.text, True, True, True, True, False)

    def of(v: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        out: tuple[Tensor, ...] = _ops.hashgrid_double_backward(v, gradient, x, table, weights, *flags)
        return out

    other = v.flip(0)
    sums = of(2 * v - 3 * other, gradient)
    for total, a, b in zip(sums, of(v, gradient), of(other, gradient), strict=True):
        torch.testing.assert_close(total, 2 * a - 3 * b, rtol=1e-10, atol=1e-10)
    for total, a, b in zip(of(v, gradient - gradient.flip(0))[1:], of(v, gradient)[1:], of(v, gradient.flip(0))[1:],
                           strict=True):  # fmt: skip
        torch.testing.assert_close(total, a - b, rtol=1e-10, atol=1e-10)
    assert not any(part.any() for part in of(torch.zeros_like(v), gradient))


# ---- The Hessian ----------------------------------------------------------------------------------------------------
def hessians(spec: GridSpec, count: int = 20) -> Tensor:
    """Second derivatives in x of a sum of features, [count, dims, dims]."""
    x = points(count, spec.dims, torch.float64).requires_grad_()
    mix = torch.randn(spec.output_features, dtype=torch.float64)
    (first,) = torch.autograd.grad((encode(x, rows(spec, torch.float64), spec) @ mix).sum(), x, create_graph=True)
    lines = [torch.autograd.grad(first[:, axis].sum(), x, retain_graph=True)[0] for axis in range(spec.dims)]
    return torch.stack(lines, 1)


@pytest.mark.parametrize("dims", range(2, 6))
@pytest.mark.parametrize("interpolation", ["linear", "smoothstep"])
def test_the_hessian_is_symmetric(dims: int, interpolation: str) -> None:
    hessian = hessians(small(dims, interpolation=interpolation))
    torch.testing.assert_close(hessian, hessian.mT, rtol=1e-11, atol=1e-10)
    off = ~torch.eye(dims, dtype=torch.bool)
    assert (hessian[:, off] != 0).all()  # the mixed derivatives of the linear interpolation are no zeros
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    if interpolation == "linear":
        assert not diagonal.any()
    else:
        assert (diagonal != 0).all()


def test_the_linear_interpolation_of_one_dimension_is_straight() -> None:
    assert not hessians(small(1)).any()
    assert hessians(small(1, interpolation="smoothstep")).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_hessian_by_torch_func(interpolation: str) -> None:
    spec = small(3, interpolation=interpolation)
    table, mix = rows(spec, torch.float64), torch.randn(8, dtype=torch.float64)

    def value(x: Tensor) -> Tensor:
        return encode(x, table, spec) @ mix

    def defined(x: Tensor) -> Tensor:
        return reference.encode(x, table, spec) @ mix

    x = points(4, 3, torch.float64)
    each = torch.stack([torch.func.jacrev(torch.func.grad(value))(one) for one in x])
    together = torch.func.vmap(torch.func.jacrev(torch.func.grad(value)))(x)
    torch.testing.assert_close(together, each)
    torch.testing.assert_close(torch.stack([torch.autograd.functional.hessian(value, one) for one in x]), each)
    if interpolation != "nearest":
        expected = torch.stack([torch.autograd.functional.hessian(defined, one) for one in x])
        torch.testing.assert_close(each, expected, rtol=1e-10, atol=1e-10)


def test_nearest_has_no_derivative_in_x() -> None:
    spec = small(3, interpolation="nearest")
    x = points(9, 3).requires_grad_()
    table = rows(spec).requires_grad_()
    encoded = encode(x, table, spec)
    of_x, of_table = torch.autograd.grad(encoded.sum(), (x, table), create_graph=True)
    assert not of_x.any()
    assert of_table.sum() == 9 * 8
    assert not any(g.any() for g in torch.autograd.grad(of_x.sum(), (x, table), materialize_grads=True))


# ---- Training -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("interpolation", ["linear", "smoothstep"])
def test_an_eikonal_loss_has_the_definitions_gradients(interpolation: str) -> None:
    spec = small(3, interpolation=interpolation, finest_resolution=6)
    hidden = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Softplus(beta=10), torch.nn.Linear(16, 1)).double()
    parameters = list(hidden.parameters())
    results = []
    for function in (encode, reference.encode):
        x = points(50, 3, torch.float64).requires_grad_()
        table = rows(spec, torch.float64).requires_grad_()
        weights = level_weights(spec, torch.float64)
        distance = hidden(function(x, table, spec, level_weights=weights))
        (normal,) = torch.autograd.grad(distance.sum(), x, create_graph=True)
        loss = distance.abs().mean() + 0.1 * ((normal.norm(dim=1) - 1) ** 2).mean()
        results.append((loss, *torch.autograd.grad(loss, (x, table, *parameters))))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_a_sphere_is_learned_with_unit_gradients() -> None:
    """Both losses fall: distances to a sphere, and the length of the gradient."""
    spec = small(3, interpolation="smoothstep", levels=2, log2_table_size=12, finest_resolution=8)
    table = (0.01 * rows(spec)).requires_grad_()
    head = torch.nn.Linear(4, 1)
    optimizer = torch.optim.Adam([table, *head.parameters()], lr=0.02)
    x = points(400, 3)
    distance = (x - 0.5).norm(dim=1) - 0.3
    history = []
    for _ in range(60):
        asking = x.clone().requires_grad_()
        found = head(encode(asking, table, spec))[:, 0]
        (normal,) = torch.autograd.grad(found.sum(), asking, create_graph=True)
        losses = ((found - distance) ** 2).mean(), ((normal.norm(dim=1) - 1) ** 2).mean()
        history.append([float(part.detach()) for part in losses])
        optimizer.zero_grad()
        (losses[0] + 0.1 * losses[1]).backward()
        optimizer.step()
    assert history[-1][0] < 0.05 * history[0][0]
    assert history[-1][1] < 0.2 * history[0][1]


def test_the_tables_gradient_is_differentiable() -> None:
    """As meta-learning wants it: a step of descent on the table, seen from x, weights and the table before."""
    spec = small(2, interpolation="smoothstep", finest_resolution=4)
    results = []
    for function in (encode, reference.encode):
        inputs = [points(20, 2, torch.float64), rows(spec, torch.float64), level_weights(spec, torch.float64)]
        x, table, weights = (tensor.requires_grad_() for tensor in inputs)
        loss = (function(x, table, spec, level_weights=weights) ** 2).mean()
        steps = torch.autograd.grad(loss, (table, weights), create_graph=True)
        moved, scaled = table - 0.1 * steps[0], weights - 0.1 * steps[1]
        after = (function(x.detach(), moved, spec, level_weights=scaled) ** 2).mean()
        results.append(torch.autograd.grad(after, (x, table, weights)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
