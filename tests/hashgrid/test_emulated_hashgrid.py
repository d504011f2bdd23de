# SPDX-License-Identifier: Apache-2.0
"""Every CUDA launcher of the room, run on the CPU: against the CPU operators, bit for bit where no atomics add, and
against the reference's autograd.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import pytest
import torch
from cuda_emulation.emulated import MODE, EmulatedKernels, load
from torch import Tensor
from warphash.hashgrid import GridSpec, reference

from .emulated_calls import (
    FIRST,
    KERNELS,
    SECOND,
    Call,
    assert_same,
    assert_same_bits,
    derive,
    derive_on_cpu,
    encode,
    encode_on_cpu,
    sizes,
)
from .samples import DTYPES, INTERPOLATIONS, KINDS, small

SOURCES = [*KERNELS, "tests/hashgrid/emulated_hashgrid.cpp"]
FEATURES = (1, 2, 3, 4, 8)
ORDERS = (1, 2)
NO_COPIES = 10**6  # multiprocessors, for which the few points of a test are not worth a block's copy


def all_of(order: int) -> Sequence[str]:
    return FIRST if order == 1 else SECOND


def check(kernels: EmulatedKernels, call: Call, *, multiprocessors: int = 2, slack: float = 0) -> None:
    assert_same_bits(encode(kernels, call), encode_on_cpu(call))
    for order in ORDERS:
        expected = derive_on_cpu(call, order, all_of(order))
        for deterministic in (False, True):
            options = {"deterministic": deterministic, "multiprocessors": multiprocessors}
            assert_same(derive(kernels, call, order, all_of(order), **options), expected, slack)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("dims", range(1, 8))
def test_dims_features_and_types(dims: int, features: int, dtype: torch.dtype) -> None:
    """Each compiled variant once: kinds, interpolations and schedules take turns."""
    number = 5 * dims + FEATURES.index(features) + 2 * DTYPES.index(dtype)
    kernels = load(SOURCES, seed=number % 5)
    kind, interpolation = KINDS[number % 3], INTERPOLATIONS[number // 3 % 3]
    spec = small(dims, features=features, kind=kind, interpolation=interpolation, levels=3)
    call = Call.random(spec, 33, dtype, weighted=number % 2 == 0).spoiled()
    check(kernels, call, multiprocessors=NO_COPIES if number % 4 < 2 else 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_kinds_and_interpolations(emulated_kernels: EmulatedKernels, kind: str, interpolation: str) -> None:
    """Enough points for several blocks, and for a block to take several turns."""
    spec = small(kind=kind, interpolation=interpolation, levels=3)
    check(emulated_kernels, Call.random(spec, 300).spoiled())


@pytest.mark.parametrize("count", [0, 1, 33, 300, 700, 1200])
def test_counts(emulated_kernels: EmulatedKernels, count: int) -> None:
    check(emulated_kernels, Call.random(small(2, levels=2), count, weighted=False))
    check(emulated_kernels, Call.random(small(2, levels=2), count), multiprocessors=NO_COPIES)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("features", [2, 3])
def test_any_choice_of_outputs(
    emulated_kernels: EmulatedKernels, order: int, interpolation: str, features: int
) -> None:
    call = Call.random(small(2, interpolation=interpolation, features=features), 33).spoiled()
    names = all_of(order)
    expected = derive_on_cpu(call, order, names)
    for size in range(len(names) + 1):
        for wanted in itertools.combinations(names, size):
            for deterministic, multiprocessors in ((False, 2), (False, NO_COPIES), (True, 2)):
                options = {"deterministic": deterministic, "multiprocessors": multiprocessors}
                found = derive(emulated_kernels, call, order, wanted, **options)
                assert_same(found, {name: expected[name] for name in wanted})


@pytest.mark.parametrize("levels", [32, 33, 70])
def test_more_levels_than_a_launch_takes(emulated_kernels: EmulatedKernels, levels: int) -> None:
    spec = small(2, levels=levels, interpolation="smoothstep")
    check(emulated_kernels, Call.random(spec, 20))
    check(emulated_kernels, Call.random(spec, 20, torch.float64, weighted=False), multiprocessors=NO_COPIES)


@pytest.mark.parametrize("weights", ["zeros", "first", "last"])
def test_levels_that_are_skipped(emulated_kernels: EmulatedKernels, weights: str) -> None:
    """Even where all are, the derivatives of their weights are there, and points without a cell are zeros."""
    call = Call.random(small(), 33).spoiled()
    chosen = torch.zeros(call.spec.levels)
    if weights != "zeros":
        chosen[0 if weights == "first" else -1] = 0.5
    check(emulated_kernels, dataclasses.replace(call, weights=chosen))


@pytest.mark.parametrize("dtype", DTYPES)
def test_unaligned_bases(emulated_kernels: EmulatedKernels, dtype: torch.dtype) -> None:
    def moved(tensor: Tensor) -> Tensor:
        room = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
        return room[1:].view(tensor.shape).copy_(tensor)

    call = Call.random(small(), 33, dtype)
    check(emulated_kernels, dataclasses.replace(call, table=moved(call.table)))
    check(emulated_kernels, dataclasses.replace(call, gradient=moved(call.gradient), x=moved(call.x), v=moved(call.v)))


@pytest.mark.parametrize("features", [1, 2, 4])
def test_tables_of_an_odd_number_of_rows(emulated_kernels: EmulatedKernels, features: int) -> None:
    """The last row has no neighbour to be loaded with."""
    for dtype in (torch.float32, torch.float16):
        spec = small(kind="tiled", base_resolution=3, levels=3, features=features)
        assert spec.rows % 2 == 1
        check(emulated_kernels, Call.random(spec, 100, dtype), multiprocessors=NO_COPIES)
    spec = small(1, log2_table_size=0, levels=3, features=features)
    assert spec.rows == 3
    check(emulated_kernels, Call.random(spec, 33), multiprocessors=NO_COPIES, slack=1e-4)  # second order: all cancels


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("multiprocessors", [2, NO_COPIES])
def test_exact_sums(emulated_kernels: EmulatedKernels, order: int, multiprocessors: int) -> None:
    """Points in the middle of cells and small whole gradients: sums without rounding are equal in any order."""
    generator = torch.Generator().manual_seed(0)
    spec = small(levels=1, base_resolution=5, finest_resolution=5)  # scale 4: cells begin at multiples of 1/4, less 1/8
    call = Call.random(spec, 300, weighted=False)
    x = torch.randint(0, 4, (300, 3), generator=generator) / 4
    gradient = torch.randint(-9, 10, call.gradient.shape, generator=generator).float()
    v = torch.randint(-4, 5, call.v.shape, generator=generator).float()
    call = dataclasses.replace(call, x=x, gradient=gradient, v=v)
    expected = derive_on_cpu(call, order, all_of(order))["of_table"]
    for wanted, deterministic in itertools.product((("of_table",), all_of(order)), (False, True)):
        options = {"deterministic": deterministic, "multiprocessors": multiprocessors}
        found = derive(emulated_kernels, call, order, wanted, **options)
        assert torch.equal(found["of_table"], expected)


@pytest.mark.parametrize("order", ORDERS)
def test_infinite_gradients(emulated_kernels: EmulatedKernels, order: int) -> None:
    """What is not finite arrives as such, and leaves the other sums alone."""
    call = Call.random(small(2), 33)
    gradient, v = call.gradient.clone(), call.v.clone()
    gradient[4, 1], gradient[5, 0], gradient[20, 7] = torch.inf, -torch.inf, torch.nan
    v[7, 1], v[8, 0] = torch.inf, torch.nan
    call = dataclasses.replace(call, gradient=gradient, v=v)
    expected = derive_on_cpu(call, order, all_of(order))
    for deterministic in (False, True):
        found = derive(emulated_kernels, call, order, all_of(order), deterministic=deterministic)
        assert_same(found, expected)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(torch.float32, scale) for scale in (1e-42, 1e-30, 1e30)] + [(torch.float64, scale) for scale in (1e-200, 1e200)],
)
@pytest.mark.parametrize("order", ORDERS)
def test_fixed_point_at_any_magnitude(
    emulated_kernels: EmulatedKernels, order: int, dtype: torch.dtype, scale: float
) -> None:
    call = Call.random(small(2), 100, dtype)
    call = dataclasses.replace(call, gradient=call.gradient * scale, v=call.v * min(scale, 1e5))
    expected = derive_on_cpu(call, order, ["of_table"])["of_table"]
    found = derive(emulated_kernels, call, order, ["of_table"], deterministic=True)["of_table"]
    tolerance = 1e-12 if dtype == torch.float64 else 3e-6
    atol = tolerance * float(expected.abs().max()) + torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=atol)


@pytest.mark.parametrize("order", ORDERS)
def test_fixed_point_is_the_same_under_every_schedule(emulated_kernels: EmulatedKernels, order: int) -> None:
    call = Call.random(small(2), 300)
    found = []
    for seed in range(3):
        emulated_kernels.seed(seed)
        found.append(derive(emulated_kernels, call, order, all_of(order), deterministic=True))
    for other in found[1:]:
        for name, value in found[0].items():
            assert_same_bits(other[name], value)


@pytest.mark.skipif(MODE != "plain", reason="the same calls as above")
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dims", [1, 2, 3, 4, 5])
def test_reference(emulated_kernels: EmulatedKernels, dims: int, interpolation: str) -> None:
    spec = small(dims, interpolation=interpolation, features=2, levels=3)
    call = Call.random(spec, 20, torch.float64)
    x, table, gradient = (tensor.clone().requires_grad_() for tensor in (call.x, call.table, call.gradient))
    weights = torch.tensor([0.7, 0.2, -1.5], dtype=torch.float64, requires_grad=True)
    call = dataclasses.replace(call, weights=weights.detach())
    out = reference.encode(x, table, spec, level_weights=weights)
    torch.testing.assert_close(encode(emulated_kernels, call), out.detach())
    inputs = (x, table, weights)
    first = torch.autograd.grad(out, inputs, gradient, create_graph=True, materialize_grads=True)
    found = derive(emulated_kernels, call, 1, FIRST)
    torch.testing.assert_close(found, {name: value.detach() for name, value in zip(FIRST, first, strict=True)})
    found = derive(emulated_kernels, call, 2, SECOND)
    if interpolation == "nearest":
        assert not any(value.any() for value in found.values())
        return
    second = torch.autograd.grad(first[0], (gradient, *inputs), call.v, materialize_grads=True)
    torch.testing.assert_close(found, dict(zip(SECOND, second, strict=True)))


def test_grid_specs_of_their_own(emulated_kernels: EmulatedKernels) -> None:
    """Axes of different resolutions, levels of a single vertex, more features than are compiled."""
    for spec in (
        small(2, base_resolution=(2, 3), finest_resolution=(9, 31)),
        GridSpec(3, levels=2, base_resolution=1, finest_resolution=1),
        small(3, features=16),
        small(6, features=5, levels=2),
    ):
        check(emulated_kernels, Call.random(spec, 40))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dims", [1, 2, 3, 4, 7])
def test_total_variation(emulated_kernels: EmulatedKernels, dims: int, dtype: torch.dtype, deterministic: bool) -> None:
    for features, count in ((2, 300), (3, 33), (1, 1), (2, 0)):
        call = Call.random(small(dims, features=features), count, dtype).spoiled()
        text, real = call.spec.text, call.x.dtype
        by_level, of_table = (
            torch.full((call.spec.levels,), 77, dtype=real),
            torch.full(call.table.shape, 77, dtype=real),
        )
        emulated_kernels.variation(*sizes(call), by_level)
        emulated_kernels.variation_backward(*sizes(call), of_table, deterministic)
        expected = torch.ops.warphash.hashgrid_variation(call.x, call.table, text)
        gradient = torch.ops.warphash.hashgrid_variation_backward(call.weights, call.x, call.table, text, True)
        assert_same({"by_level": by_level, "of_table": of_table}, {"by_level": expected, "of_table": gradient})
