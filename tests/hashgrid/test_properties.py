# SPDX-License-Identifier: Apache-2.0
"""Laws of the encoding, over drawn grids and points."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from warphash.hashgrid import GridSpec, encode, total_variation

from .samples import KINDS, rows

laws = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def specs(draw: st.DrawFn, interpolations: tuple[str, ...] = ("linear", "smoothstep"), **fixed: Any) -> GridSpec:
    """Grids of a few thousand rows at most."""
    dims = draw(st.integers(1, 5))
    base = draw(st.integers(1, 4))
    most = {1: 100, 2: 20, 3: 9, 4: 5, 5: 4}[dims]
    options = {
        "levels": draw(st.integers(1, 4)),
        "features": draw(st.integers(1, 9)),
        "log2_table_size": draw(st.integers(0, 8)),
        "base_resolution": base,
        "finest_resolution": draw(st.integers(base, max(base, most))),
        "kind": draw(st.sampled_from(KINDS)),
        "interpolation": draw(st.sampled_from(interpolations)),
    }
    return GridSpec(dims, **{**options, **fixed})


@st.composite
def problems(draw: st.DrawFn, **options: Any) -> tuple[GridSpec, Tensor, torch.Generator]:
    """A grid, points in and around the unit cube in float64, and a generator for more randomness."""
    spec = draw(specs(**options))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    x = 1.5 * torch.rand(draw(st.integers(0, 40)), spec.dims, dtype=torch.float64, generator=generator) - 0.25
    return spec, x, generator


Problem = tuple[GridSpec, Tensor, torch.Generator]


@laws
@given(problems(interpolations=("linear", "smoothstep", "nearest")))
def test_weights_of_a_cell_sum_to_one(problem: Problem) -> None:
    spec, x, _ = problem
    constant = torch.arange(1.0, spec.features + 1, dtype=torch.float64)
    encoded = encode(x, constant.expand(spec.rows, -1), spec)
    torch.testing.assert_close(encoded, constant.repeat(len(x), spec.levels), rtol=1e-14, atol=0)
    single = encode(x.float(), constant.float().expand(spec.rows, -1), spec)
    torch.testing.assert_close(single, constant.float().repeat(len(x), spec.levels), rtol=1e-6, atol=0)


@laws
@given(problems(interpolations=("linear", "smoothstep", "nearest")))
def test_an_encoding_lies_between_the_rows_of_its_table(problem: Problem) -> None:
    spec, x, _ = problem
    table = rows(spec, torch.float64)
    encoded = encode(x, table, spec).view(len(x), spec.levels, spec.features)
    for level in range(spec.levels):
        own = table[spec.offsets[level] : spec.offsets[level + 1]]
        assert (encoded[:, level] <= own.amax(0) + 1e-12).all()
        assert (encoded[:, level] >= own.amin(0) - 1e-12).all()


@laws
@given(problems(), st.integers(0, 2**32))
def test_the_encoding_is_continuous_across_faces(problem: Problem, seed: int) -> None:
    """Points that are moved onto a face of some level, from both sides of it."""
    spec, x, generator = problem
    level = int(torch.randint(spec.levels, (1,), generator=generator))
    axis = int(torch.randint(spec.dims, (1,), generator=generator))
    scale = spec.scales[level][axis]
    if scale == 0:
        return
    table = rows(spec, torch.float64)
    face = (x[:, axis] * scale).round() - 0.5  # a whole position
    low, high = x.clone(), x.clone()
    low[:, axis], high[:, axis] = (face - 1e-9) / scale, (face + 1e-9) / scale
    assert not torch.equal((low[:, axis] * scale + 0.5).floor(), (high[:, axis] * scale + 0.5).floor()) or not len(x)
    torch.testing.assert_close(encode(low, table, spec), encode(high, table, spec), rtol=0, atol=1e-6)
    if spec.interpolation == "smoothstep":  # its first derivative too
        slopes = []
        for side in (low, high):
            asking = side.requires_grad_()
            slopes.append(torch.autograd.grad(encode(asking, table, spec).sum(), asking)[0])
        torch.testing.assert_close(*slopes, rtol=0, atol=1e-3)


@laws
@given(problems(interpolations=("linear", "smoothstep", "nearest")))
def test_the_order_of_points_does_not_matter(problem: Problem) -> None:
    spec, x, generator = problem
    x, table = x.float(), rows(spec)
    order = torch.randperm(len(x), generator=generator)
    assert torch.equal(encode(x[order], table, spec), encode(x, table, spec)[order])
    cut = len(x) // 3
    parts = [encode(part, table, spec) for part in (x[:cut], x[cut:])]
    assert torch.equal(torch.cat(parts), encode(x, table, spec))


@laws
@given(problems(interpolations=("linear", "smoothstep", "nearest")))
def test_the_encoding_is_linear_in_the_table_and_its_gradient_is_the_transpose(problem: Problem) -> None:
    """<encode(table), g> = <table, gradient(g)>."""
    spec, x, generator = problem
    table, other = (rows(spec, torch.float64, seed).requires_grad_() for seed in (1, 2))
    sums = encode(x, 2 * table - 0.5 * other, spec)
    encoded = encode(x, table, spec)
    torch.testing.assert_close(sums, 2 * encoded - 0.5 * encode(x, other, spec), rtol=1e-12, atol=1e-12)
    upstream = torch.randn(encoded.shape, dtype=torch.float64, generator=generator)
    (gradient,) = torch.autograd.grad(encoded, table, upstream)
    torch.testing.assert_close((encoded * upstream).sum(), (table * gradient).sum(), rtol=1e-11, atol=1e-11)


@laws
@given(problems(), st.floats(0, 1), st.floats(0, 1))
def test_levels_do_not_know_of_each_other(problem: Problem, first: float, second: float) -> None:
    spec, x, _ = problem
    table = rows(spec, torch.float64)
    whole = encode(x, table, spec).view(len(x), spec.levels, spec.features)
    weights = torch.linspace(first, second, spec.levels, dtype=torch.float64)
    scaled = encode(x, table, spec, level_weights=weights).view_as(whole)
    assert torch.equal(scaled, whole * weights[:, None] + 0.0)
    for level in range(spec.levels):
        only = [0.0] * spec.levels
        only[level] = 1.0
        alone = encode(x, table, spec, level_weights=only).view_as(whole)
        assert torch.equal(alone[:, level], whole[:, level])
        assert alone.count_nonzero() <= whole[:, level].count_nonzero()


@laws
@given(problems())
def test_variation_is_a_seminorm_squared(problem: Problem) -> None:
    spec, x, _ = problem
    table = rows(spec, torch.float64)
    value = total_variation(x, table, spec)
    assert value >= 0
    torch.testing.assert_close(total_variation(x, 3 * table, spec), 9 * value)
    torch.testing.assert_close(total_variation(x, table + 5, spec), value, rtol=1e-9, atol=1e-9)
    assert total_variation(x, torch.ones_like(table), spec) == 0
