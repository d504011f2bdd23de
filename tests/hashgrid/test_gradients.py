# SPDX-License-Identifier: Apache-2.0
"""First and second derivatives: finite differences in float64, dtypes, who asks for what, determinism, refusals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from warphash.hashgrid import GridSpec, encode, reference

from .samples import DTYPES, INTERPOLATIONS, KINDS, level_weights, points, rows, small, wide, without_cell

_ops = torch.ops.warphash
NAMES = ("x", "table", "level_weights")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Thousands of calls of a few points: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def away_from_faces(spec: GridSpec, count: int, seed: int = 0) -> Tensor:
    """Points in float64 that a finite difference does not carry into another cell on any level."""
    x = points(4000, spec.dims, torch.float64, seed)
    for scales in spec.scales:
        place = (x * torch.tensor(scales, dtype=torch.float64) + 0.5) % 1.0
        x = x[((place > 0.02) & (place < 0.98)).all(1)]
    assert len(x) >= count
    return x[:count].clone()


def tiny(dims: int, kind: str, interpolation: str, **options: Any) -> GridSpec:
    """As few rows as show a level below and a level above the table's size."""
    few = {"levels": 2, "log2_table_size": 3, "base_resolution": 2, "finest_resolution": 3, "features": 2}
    if dims > 3:
        few["features"] = 1
    if dims > 2 and kind == "dense":
        few["levels"] = 1
    return GridSpec(dims, **{**few, **options}, kind=kind, interpolation=interpolation)


def checked_inputs(spec: GridSpec, weights: Tensor | None, count: int) -> list[Tensor]:
    inputs = [away_from_faces(spec, count), rows(spec, torch.float64)]
    return [x.requires_grad_() for x in (*inputs, *([] if weights is None else [weights]))]


def of_all(spec: GridSpec) -> Any:
    """The encoding as a function of its tensors alone."""
    return lambda x, table, weights=None: encode(x, table, spec, level_weights=weights)


# ---- Finite differences ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dims", range(1, 6))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_finite_differences_of_both_orders(dims: int, kind: str, interpolation: str) -> None:
    spec = tiny(dims, kind, interpolation)
    weights = torch.tensor([0.6, 1.3], dtype=torch.float64)[: spec.levels]
    inputs = checked_inputs(spec, weights, 2)
    assert torch.autograd.gradcheck(of_all(spec), inputs)
    assert torch.autograd.gradgradcheck(of_all(spec), inputs)


@pytest.mark.parametrize("dims", [6, 7])
@pytest.mark.parametrize("interpolation", ["linear", "smoothstep"])
def test_finite_differences_of_many_dims(dims: int, interpolation: str) -> None:
    spec = tiny(dims, "hash", interpolation, levels=1, log2_table_size=2)
    inputs = checked_inputs(spec, None, 1)
    assert torch.autograd.gradcheck(of_all(spec), inputs)
    assert torch.autograd.gradgradcheck(of_all(spec), inputs)


@pytest.mark.parametrize("interpolation", ["linear", "smoothstep"])
def test_finite_differences_without_weights_and_of_axes_that_differ(interpolation: str) -> None:
    spec = tiny(2, "hash", interpolation, base_resolution=(2, 3), finest_resolution=(5, 3))
    inputs = checked_inputs(spec, None, 3)
    assert torch.autograd.gradcheck(of_all(spec), inputs, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(of_all(spec), inputs, gen_non_contig_grad_outputs=True)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_finite_differences_around_weights_of_zero(interpolation: str) -> None:
    """A level of weight zero has a derivative in its weight, and so have its first derivatives."""
    spec = tiny(2, "hash", interpolation, levels=3)
    inputs = checked_inputs(spec, torch.tensor([0.0, 0.7, 0.0], dtype=torch.float64), 2)
    assert torch.autograd.gradcheck(of_all(spec), inputs)
    assert torch.autograd.gradgradcheck(of_all(spec), inputs)


@pytest.mark.parametrize("interpolation", ["linear", "smoothstep"])
def test_finite_differences_with_levels_skipped(interpolation: str) -> None:
    """Weights that ask for no gradient, some of them zero."""
    spec = tiny(3, "hash", interpolation, levels=3)
    weights = torch.tensor([0.0, 0.7, 0.0], dtype=torch.float64)
    inputs = checked_inputs(spec, None, 2)

    def masked(x: Tensor, table: Tensor) -> Tensor:
        return encode(x, table, spec, level_weights=weights)

    assert torch.autograd.gradcheck(masked, inputs)
    assert torch.autograd.gradgradcheck(masked, inputs)


# ---- Against autograd through the definition ------------------------------------------------------------------------
def problem(spec: GridSpec, dtype: torch.dtype, count: int = 40) -> list[Tensor]:
    """x, table, weights that ask for gradients."""
    x = 2 * points(count, spec.dims, wide(dtype)) - 0.5
    tensors = [x, rows(spec, dtype), level_weights(spec, wide(dtype)) + 0.1]
    return [tensor.requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("dims", range(1, 8))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_the_definitions(dims: int, dtype: torch.dtype) -> None:
    for interpolation, features in itertools.product(INTERPOLATIONS, (1, 2, 5, 8) if dims < 6 else (3, 4)):
        spec = small(dims, features=features, interpolation=interpolation, finest_resolution=6 if dims < 5 else 3)
        inputs = problem(spec, dtype)
        upstream = torch.randn(40, spec.output_features, dtype=dtype)
        results = []
        for function in (encode, reference.encode):
            encoded = function(inputs[0], inputs[1], spec, level_weights=inputs[2])
            results.append(torch.autograd.grad(encoded, inputs, upstream, materialize_grads=True))
        for name, found, expected in zip(NAMES, *results, strict=True):
            rtol, atol = (1e-4, 1e-4) if dtype == torch.float32 else (1e-12, 1e-12)
            torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("features", [1, 2, 3, 4, 8, 16])
def test_gradients_of_half_tables(dtype: torch.dtype, features: int) -> None:
    """As those of the same table in float32; the table's is then rounded, those of x and the weights are float32."""
    spec = small(features=features)
    inputs = problem(spec, dtype)
    upstream = torch.randn(40, spec.output_features).to(dtype)
    found = torch.autograd.grad(encode(inputs[0], inputs[1], spec, level_weights=inputs[2]), inputs, upstream)
    assert [x.dtype for x in found] == [torch.float32, dtype, torch.float32]
    widened = [x.detach().to(torch.float32).requires_grad_() for x in inputs]
    encoded = encode(widened[0], widened[1], spec, level_weights=widened[2])
    expected = torch.autograd.grad(encoded, widened, upstream.float())
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1].to(dtype))
    assert torch.equal(found[2], expected[2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_second_derivatives_of_half_tables(dtype: torch.dtype) -> None:
    """As those of the same numbers in float32, rounded."""
    spec = small(interpolation="smoothstep", finest_resolution=4)
    results = []
    for kind in (dtype, torch.float32):
        x, table, weights = (
            tensor.detach().to(kind if tensor.dtype == dtype else torch.float32).requires_grad_()
            for tensor in problem(spec, dtype)
        )
        upstream = torch.linspace(-1, 1, 40 * 8).view(40, 8).to(dtype).to(kind).requires_grad_()
        encoded = encode(x, table, spec, level_weights=weights)
        of_x, of_table, of_weights = torch.autograd.grad(encoded, (x, table, weights), upstream, create_graph=True)
        loss = (of_x**2).sum() + (of_table.float() ** 2).sum() + of_weights.sin().sum()
        results.append(torch.autograd.grad(loss, (x, table, weights, upstream)))
    for found, expected in zip(*results, strict=True):
        assert found.dtype in (dtype, torch.float32)
        torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.02 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_million_points_in_one_cell(dtype: torch.dtype) -> None:
    """Gradients of half types are summed in float32: each of the cell's vertices has 2^20 / 8."""
    spec = GridSpec(3, levels=1, base_resolution=3, kind="dense", per_level_scale=1)
    count = 2**20
    x = torch.full((count, 3), 0.5, dtype=wide(dtype)) * (1.0 / 2) + 0.25  # positions 1.5
    gradient = torch.ones(1, 2, dtype=dtype).expand(count, 2)
    table = rows(spec, dtype)
    found = _ops.hashgrid_backward(gradient, x, table, None, spec.text, True, True, False, False)
    assert found[1].dtype == wide(dtype)
    vertices = [i + 3 * j + 9 * k for i, j, k in itertools.product((1, 2), repeat=3)]
    expected = torch.zeros(spec.rows, 2, dtype=wide(dtype))
    expected[vertices] = count / 8
    assert torch.equal(found[1], expected)
    assert found[0].isfinite().all()
    assert torch.equal(found[0], found[0][:1].expand(count, 3))
    upstream = torch.full((1, 2), 2.0**-6, dtype=dtype).expand(count, 2)
    asking = table.requires_grad_()
    (rounded,) = torch.autograd.grad(encode(x, asking, spec), asking, upstream)
    assert rounded.dtype == dtype
    assert rounded[vertices].eq(2.0**11).all()


# ---- Who asks for what ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("asking", [subset for n in (1, 2, 3) for subset in itertools.combinations(range(3), n)])
def test_each_gradient_is_the_same_alone_and_among_others(asking: tuple[int, ...]) -> None:
    spec = small(2, interpolation="smoothstep")
    everything = [x.detach() for x in problem(spec, torch.float32)]
    upstream = torch.randn(40, 8)

    def gradients(asking: tuple[int, ...]) -> tuple[dict[int, Tensor], dict[tuple[int, int], Tensor]]:
        tensors = [x.clone().requires_grad_(i in asking) for i, x in enumerate(everything)]
        wanted = [tensors[i] for i in asking]
        encoded = encode(tensors[0], tensors[1], spec, level_weights=tensors[2])
        first = torch.autograd.grad(encoded, wanted, upstream, create_graph=True)
        second = {}
        for i, gradient in zip(asking, first, strict=True):
            if not gradient.requires_grad:  # linear in the only one that asks
                continue
            parts = torch.autograd.grad(gradient.sin().sum(), wanted, retain_graph=True, materialize_grads=True)
            second.update({(i, j): part for j, part in zip(asking, parts, strict=True)})
        return dict(zip(asking, first, strict=True)), second

    first, second = gradients(asking)
    all_first, all_second = gradients((0, 1, 2))
    assert all(torch.equal(gradient, all_first[i]) for i, gradient in first.items())
    assert all(torch.equal(gradient, all_second[pair]) for pair, gradient in second.items())
    assert not all_second[1, 1].any()
    assert not all_second[2, 2].any()


def test_what_asks_for_nothing_gets_nothing() -> None:
    spec = small()
    assert not encode(points(3, 3), rows(spec), spec, level_weights=level_weights(spec)).requires_grad
    with torch.no_grad():
        assert not encode(points(3, 3).requires_grad_(), rows(spec), spec).requires_grad


def test_weights_of_another_dtype_get_their_own() -> None:
    spec = small()
    weights = level_weights(spec).double().requires_grad_()
    (gradient,) = torch.autograd.grad(encode(points(9, 3), rows(spec), spec, level_weights=weights).sum(), weights)
    assert gradient.dtype == torch.float64
    narrow = weights.detach().float().requires_grad_()
    (expected,) = torch.autograd.grad(encode(points(9, 3), rows(spec), spec, level_weights=narrow).sum(), narrow)
    assert torch.equal(gradient, expected.double())


@pytest.mark.parametrize("change", ["expanded", "transposed", "every second"])
def test_upstream_gradients_of_any_layout(change: str) -> None:
    spec = small(2)
    upstream, v = {
        "expanded": (torch.randn(1, 8).expand(40, 8), torch.randn(1, 2).expand(40, 2)),
        "transposed": (torch.randn(8, 40).T, torch.randn(2, 40).T),
        "every second": (torch.randn(80, 16)[::2, ::2], torch.randn(80, 4)[::2, ::2]),
    }[change]
    results = []
    for of_encoded, of_x in ((upstream, v), (upstream.contiguous(), v.contiguous())):
        inputs = problem(spec, torch.float32)
        encoded = encode(inputs[0], inputs[1], spec, level_weights=inputs[2])
        first = torch.autograd.grad(encoded, inputs, of_encoded, create_graph=True)
        results.append((*first, *torch.autograd.grad(first[0], inputs, of_x)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_points_are_independent() -> None:
    """The gradient in x of one point knows of no other, and an expanded point collects from all of its copies."""
    spec = small(2)
    x, table = points(30, 2).requires_grad_(), rows(spec)
    (together,) = torch.autograd.grad(encode(x, table, spec).sum(), x)
    for i in (0, 7, 29):
        alone = x[i : i + 1].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(encode(alone, table, spec).sum(), alone)
        assert torch.equal(gradient, together[i : i + 1])
    single = x[:1].detach().requires_grad_()
    (collected,) = torch.autograd.grad(encode(single.expand(8, 2), table, spec).sum(), single)
    torch.testing.assert_close(collected, 8 * together[:1])


# ---- Points without a cell ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upstream_of_lost", [1.0, torch.nan, torch.inf])
def test_points_without_a_cell_add_nothing(dtype: torch.dtype, upstream_of_lost: float) -> None:
    """Gradients of table and weights are those of a call in which such points have no weight, in both orders."""
    spec = small(interpolation="smoothstep")
    x, table = without_cell().to(wide(dtype)), rows(spec, dtype)
    x[16, 0] = torch.finfo(x.dtype).max
    lost = x.isnan().any(1) | (x.abs() > 1e30).any(1)
    assert int(lost.sum()) == 5
    gradient, v = torch.randn(20, 8).to(dtype), torch.randn(20, 3, dtype=x.dtype)
    gradient[lost], v[lost] = upstream_of_lost, upstream_of_lost
    clean, silent, still = (tensor.clone() for tensor in (x, gradient, v))
    clean[lost], silent[lost], still[lost] = 0, 0, 0  # the origin, as good as any
    weights = level_weights(spec, x.dtype)
    everything = (spec.text, *(True,) * 3, False)
    found = _ops.hashgrid_backward(gradient, x, table, weights, *everything)
    expected = _ops.hashgrid_backward(silent, clean, table, weights, *everything)
    assert found[0][lost].isnan().all()
    assert torch.equal(found[0][~lost], expected[0][~lost])
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[2], expected[2])
    assert found[1].isfinite().all()
    assert found[2].isfinite().all()
    everything = (spec.text, *(True,) * 4, False)
    second = _ops.hashgrid_double_backward(v, gradient, x, table, weights, *everything)
    expected = _ops.hashgrid_double_backward(still, silent, clean, table, weights, *everything)
    assert second[1][lost].isnan().all()
    assert second[0][lost].view(5, 4, 2)[:, [0, 2, 3]].isnan().all()
    assert not second[0][lost].view(5, 4, 2)[:, 1].any()
    for i in (0, 1):
        assert torch.equal(second[i][~lost], expected[i][~lost])
    for i in (2, 3):
        assert torch.equal(second[i], expected[i])
        assert second[i].isfinite().all()


def test_training_goes_on_beside_a_nan() -> None:
    spec = small()
    table = rows(spec).requires_grad_()
    encoded = encode(without_cell(), table, spec)
    encoded[encoded.isfinite()].sum().backward()
    assert table.grad is not None
    assert table.grad.isfinite().all()
    assert table.grad.any()


# ---- Levels of weight zero ------------------------------------------------------------------------------------------
def test_a_skipped_level_takes_no_part() -> None:
    """Exact zeros in both orders, whatever its rows hold; but its own weight's gradient is right."""
    spec = small(2, interpolation="smoothstep")
    x, table = points(30, 2).requires_grad_(), rows(spec)
    hidden = slice(spec.offsets[1], spec.offsets[2])
    table[hidden] = torch.nan
    table.requires_grad_()
    weights = torch.tensor([1.0, 0.0, 0.5, 1.0])
    upstream = torch.randn(30, 8).requires_grad_()
    encoded = encode(x, table, spec, level_weights=weights)
    first = torch.autograd.grad(encoded, (x, table), upstream, create_graph=True)
    second = torch.autograd.grad((first[0] ** 2).sum(), (x, table, upstream))
    assert not encoded.view(30, 4, 2)[:, 1].any()
    assert not second[2].view(30, 4, 2)[:, 1].any()
    for gradient in (first[1], second[1]):
        assert not gradient[hidden].any()
        assert gradient.isfinite().all()
    assert first[0].isfinite().all()
    assert second[0].isfinite().all()


def test_the_gradient_of_a_weight_of_zero() -> None:
    spec = small(2)
    x, table, upstream = points(30, 2), rows(spec), torch.randn(30, 8)
    weights = torch.tensor([1.0, 0.0, 0.5, 0.0]).requires_grad_()
    (found,) = torch.autograd.grad(encode(x, table, spec, level_weights=weights), weights, upstream)
    expected = (encode(x, table, spec) * upstream).view(30, 4, 2).sum((0, 2))
    torch.testing.assert_close(found, expected)


# ---- Modes ----------------------------------------------------------------------------------------------------------
def test_deterministic_algorithms_change_nothing() -> None:
    """On the CPU sums are always in one order; memory that torch fills with NaN in this mode is written whole."""
    spec = small()
    results = []
    for mode in (False, True):
        inputs = problem(spec, torch.float32)
        torch.use_deterministic_algorithms(mode)
        try:
            encoded = encode(inputs[0], inputs[1], spec, level_weights=inputs[2])
            first = torch.autograd.grad(encoded.sin().sum(), inputs, create_graph=True)
            second = torch.autograd.grad(sum(g.sin().sum() for g in first), inputs)
        finally:
            torch.use_deterministic_algorithms(False)
        results.append((*first, *second))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(x.isfinite().all() for x in results[1])


def test_autocast_changes_nothing() -> None:
    spec = small()
    inputs = problem(spec, torch.float32)
    expected = torch.autograd.grad(encode(inputs[0], inputs[1], spec, level_weights=inputs[2]).sum(), inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded = encode(inputs[0], inputs[1], spec, level_weights=inputs[2])
        found = torch.autograd.grad(encoded.sum(), inputs)
    assert encoded.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_inputs_changed_in_place_are_noticed() -> None:
    spec = small()
    x, table = points(3, 3), rows(spec).requires_grad_()
    encoded = encode(x, table, spec)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        encoded.sum().backward()


def test_no_points_have_gradients_of_zero() -> None:
    spec = small()
    inputs = [points(0, 3), rows(spec), level_weights(spec)]
    inputs = [x.requires_grad_() for x in inputs]
    encoded = encode(inputs[0], inputs[1], spec, level_weights=inputs[2])
    first = torch.autograd.grad(encoded.sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), inputs)
    for gradients in (first, second):
        assert all(g.shape == x.shape and not g.any() for g, x in zip(gradients, inputs, strict=True))


def test_forward_mode_is_refused() -> None:
    spec = small()
    for place in range(3):
        tensors = [points(3, 3), rows(spec), level_weights(spec)]
        with forward_ad.dual_level():
            tensors[place] = forward_ad.make_dual(tensors[place], torch.ones_like(tensors[place]))
            with pytest.raises(NotImplementedError, match="jvp"):
                encode(tensors[0], tensors[1], spec, level_weights=tensors[2])


def test_a_third_derivative_in_x_is_refused() -> None:
    spec = small(2, interpolation="smoothstep")
    for function in (
        lambda x: encode(x, rows(spec), spec),
        lambda x: _ops.hashgrid_encode(x, rows(spec), None, spec.text),
    ):
        x = points(5, 2).requires_grad_()
        (first,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        with pytest.raises(NotImplementedError, match="a third was asked for"):
            torch.autograd.grad(second.sum(), x)


def test_third_derivatives_that_are_firsts_in_x_are_right() -> None:
    """Through the table's and the weights' gradients, which are linear in what came from above."""
    spec = small(2, interpolation="smoothstep", finest_resolution=4)
    results = []
    for function in (encode, reference.encode):
        x, table = points(5, 2, torch.float64).requires_grad_(), rows(spec, torch.float64).requires_grad_()
        (first,) = torch.autograd.grad(function(x, table, spec).sin().sum(), table, create_graph=True)
        (second,) = torch.autograd.grad((first**3).sum(), table, create_graph=True)
        results.append(torch.autograd.grad(second.sin().sum(), (x, table)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
