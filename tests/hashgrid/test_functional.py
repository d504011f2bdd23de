# SPDX-License-Identifier: Apache-2.0
"""The encoding: which rows it reads, how it interpolates, what it does outside of the unit cube, weights, dtypes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash.hashgrid import GridSpec, encode, reference

from .samples import DTYPES, INTERPOLATIONS, KINDS, level_weights, points, rows, small, wide, without_cell

PRIMES = (1, 2654435761, 805459861, 3674653429, 2097192037, 1434869437, 2165219737)


# ---- Rows -----------------------------------------------------------------------------------------------------------
def row_of(spec: GridSpec, level: int, vertex: tuple[int, ...]) -> int:
    """Row of a vertex in the whole table, in whole numbers."""
    resolution = spec.resolutions[level]
    axes = (resolution,) * spec.dims if isinstance(resolution, int) else resolution
    row = 0
    if spec.kind == "hash" and spec.level_rows[level] < math.prod(axes):
        for coordinate, prime in zip(vertex, PRIMES, strict=False):
            row ^= coordinate * prime % 2**32
    else:
        row = sum(v * math.prod(axes[:axis]) for axis, v in enumerate(vertex)) % 2**32
    return spec.offsets[level] + row % spec.level_rows[level]


def rows_read(spec: GridSpec, level: int, vertices: list[tuple[int, ...]]) -> list[int]:
    """Rows that points nearest to the vertices read, by a table whose rows hold their own number."""
    numbers = torch.arange(spec.rows, dtype=torch.float64)[:, None]
    scale = torch.tensor(spec.scales[level], dtype=torch.float64)
    encoded = encode(torch.tensor(vertices, dtype=torch.float64) / scale, numbers, spec)
    return [int(row) for row in encoded[:, level]]


def nearest(dims: int, **options: Any) -> GridSpec:
    """A spec of single features whose points read one row."""
    return small(dims, features=1, interpolation="nearest", **options)


@pytest.mark.parametrize("log2", range(0, 19, 3))
def test_the_vertex_of_ones_by_hand(log2: int) -> None:
    spec = nearest(3, levels=1, base_resolution=100, finest_resolution=100, log2_table_size=log2)
    assert 1 ^ 2654435761 ^ 805459861 == 0xAE352E25
    assert rows_read(spec, 0, [(1, 1, 1)]) == [0xAE352E25 % 2**log2]
    assert rows_read(spec, 0, [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]) == [
        prime % 2**log2 for prime in (0, 1, 2654435761, 805459861)
    ]


@pytest.mark.parametrize("dims", range(1, 8))
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_vertices_near_and_far(dims: int, kind: str) -> None:
    """Words of 32 bits wrap: vertices that are negative, and those around 2^31, 2^32 and beyond."""
    spec = nearest(dims, kind=kind, levels=3, base_resolution=3, finest_resolution=5 if dims > 4 else 9)
    generator = np.random.default_rng(dims)
    for level in range(3):
        within = [tuple(v) for v in generator.integers(0, 9, (30, dims)).tolist()]
        near = [tuple(v) for v in generator.integers(-40, 40, (30, dims)).tolist()]
        middles = (2**31 - 1, 2**31, 2**31 + 5, 2**32 - 1, 2**32 + 7, -(2**31), -(2**31) - 1, -(2**32) - 3, 2**44 + 9)
        far = [tuple(generator.choice(middles, dims).tolist()) for _ in range(30)]
        vertices = [*within, *near, *far]
        assert rows_read(spec, level, vertices) == [row_of(spec, level, vertex) for vertex in vertices]


def test_rows_of_axes_that_differ() -> None:
    spec = nearest(3, kind="dense", levels=2, base_resolution=(2, 5, 3), finest_resolution=(4, 7, 9))
    for level, axes in enumerate(spec.resolutions):
        vertices = list(itertools.product(*map(range, axes)))
        found = rows_read(spec, level, vertices)
        assert found == [row_of(spec, level, vertex) for vertex in vertices]
        assert len(set(found)) == len(vertices)


def test_neighbours_along_the_first_axis_are_neighbours_in_the_table() -> None:
    """The first multiplier is 1: from an even vertex the hash of the next differs in its last bit alone."""
    spec = nearest(3, levels=1, base_resolution=50, finest_resolution=50, log2_table_size=10)
    even = [(2 * i, 3 * i, 5 * i) for i in range(25)]
    assert rows_read(spec, 0, [(a + 1, b, c) for a, b, c in even]) == [row ^ 1 for row in rows_read(spec, 0, even)]


# ---- Interpolation --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dims", range(1, 6))
@pytest.mark.parametrize("interpolation", ["linear", "smoothstep"])
def test_a_linear_table_by_hand(dims: int, interpolation: str) -> None:
    """A vertex holds a linear function of itself, so the encoding is that function of the (smoothed) position."""
    spec = GridSpec(dims, levels=1, features=1, base_resolution=5, kind="dense", interpolation=interpolation)
    vertices = torch.tensor(list(itertools.product(range(5), repeat=dims))).flip(1)  # the first axis runs fastest
    slopes = torch.arange(1.0, dims + 1, dtype=torch.float64)
    table = torch.zeros(spec.rows, 1, dtype=torch.float64)
    table[: 5**dims, 0] = vertices.double() @ slopes
    x = points(50, dims, torch.float64) * 3.49 / 4  # the upper vertex is within the grid
    position = 4 * x + 0.5
    t = position - position.floor()
    share = t if interpolation == "linear" else t * t * (3 - 2 * t)
    expected = ((position.floor() + share) * slopes).sum(1)
    torch.testing.assert_close(encode(x, table, spec)[:, 0], expected, rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize(
    ("resolution", "x", "pair"),
    [
        (4, 1.0, (3, 4)),  # beyond the last vertex lie the rows that round the level up to 8
        (8, 1.0, (7, 0)),
        (8, 0.0, (0, 1)),
        (8, -1 / 7, (7, 0)),
        (20, -1 / 19, (15, 0)),  # 24 rows: -1 is 2^32 - 1, which leaves 15
        (20, 24 / 19, (0, 1)),
        (20, -(2.0**32) / 19, (0, 1)),  # 2^32 vertices away is the same vertex
        (20, (2.0**31 + 3) / 19, (11, 12)),
    ],
)
def test_the_faces_of_the_cube_and_beyond_by_hand(resolution: int, x: float, pair: tuple[int, int]) -> None:
    """Halfway between two vertices, counted from 0 for the table's rows."""
    spec = GridSpec(1, levels=1, features=1, base_resolution=resolution, kind="dense")
    table = torch.randn(spec.rows, 1, dtype=torch.float64)
    encoded = encode(torch.tensor([[x]], dtype=torch.float64), table, spec).item()
    assert encoded == pytest.approx((table[pair[0]] + table[pair[1]]).item() / 2, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_far_points_are_the_definition(dtype: torch.dtype, interpolation: str, kind: str) -> None:
    """Positions around whole numbers, and around the ends of 23, 24, 31, 32, 52 and 63 bits; and far beyond."""
    ends = [0.0, 1.0, *(2.0**bits for bits in (1, 22, 23, 24, 30, 31, 32, 33, 52, 53, 62, 63, 64, 90))]
    places = torch.tensor([end * sign for end in ends for sign in (1, -1)], dtype=dtype)
    around = [torch.nextafter(places, torch.full_like(places, side)) for side in (-math.inf, math.inf)]
    along = torch.cat([places, *around, places - 0.5])
    # In float64 the reference rounds twice, which whole powers of two as scales make once again.
    for resolution in (2, 3, 5, 9, *((7, 100) if dtype == torch.float32 else ())):
        spec = GridSpec(
            2, levels=1, base_resolution=resolution, per_level_scale=1, log2_table_size=4, kind=kind,
            interpolation=interpolation,
        )  # fmt: skip
        table = rows(spec, dtype)
        x = torch.stack([along, along.roll(7)], 1) / spec.scales[0][0]
        encoded, expected = encode(x, table, spec), reference.encode(x, table, spec)
        rtol, atol = (1e-5, 1e-6) if dtype == torch.float32 else (1e-14, 1e-14)
        torch.testing.assert_close(encoded, expected, rtol=rtol, atol=atol)
        assert encoded.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_point_without_a_cell_is_nan_alone(dtype: torch.dtype) -> None:
    spec = small()
    table, x = rows(spec, dtype), without_cell().to(wide(dtype))
    x[16, 0] = torch.finfo(x.dtype).max
    usable = x.isfinite().all(1) & (x.abs() < 1e30).all(1)
    assert usable.tolist() == [i not in (1, 3, 4, 16, 17) for i in range(20)]
    encoded = encode(x, table, spec)
    assert encoded[~usable].isnan().all()
    assert torch.equal(encoded[usable], encode(x[usable], table, spec))
    weighted = encode(x, table, spec, level_weights=level_weights(spec))
    assert weighted[~usable].view(-1, 4, 2)[:, [0, 2, 3]].isnan().all()
    assert not weighted[~usable].view(-1, 4, 2)[:, 1].any()
    assert not encode(x, table, spec, level_weights=[0] * 4).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_coordinate_with_a_cell(dtype: torch.dtype) -> None:
    spec = small(2)
    largest = reference.largest_coordinate(spec, dtype)
    bound = torch.tensor([[largest, 0.5], [-largest, 0.5]], dtype=dtype)
    beyond = torch.nextafter(bound, 2 * bound.sign() * bound.abs())
    assert encode(bound, rows(spec, dtype), spec).isfinite().all()
    assert encode(beyond, rows(spec, dtype), spec).isnan().all()


# ---- Level weights --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_scale_levels(dtype: torch.dtype) -> None:
    spec = small()
    x, table, weights = points(40, 3, wide(dtype)), rows(spec, dtype), level_weights(spec, wide(dtype))
    plain = encode(x, table.to(wide(dtype)), spec)
    expected = (plain.view(40, 4, 2) * weights[:, None]).view(40, 8).to(dtype)
    assert torch.equal(encode(x, table, spec, level_weights=weights), expected)
    for same in (weights.tolist(), tuple(weights.tolist()), weights.double(), weights.numpy()):
        assert torch.equal(encode(x, table, spec, level_weights=same), expected)
    assert torch.equal(encode(x, table, spec, level_weights=torch.ones(4)), plain.to(dtype))
    negative = encode(x, table, spec, level_weights=-weights)
    assert torch.equal(negative, -expected)


def test_levels_of_weight_zero_are_not_read() -> None:
    spec = small()
    table = rows(spec)
    table[spec.offsets[1] : spec.offsets[2]] = torch.nan
    table[spec.offsets[3] :] = torch.inf
    encoded = encode(points(9, 3), table, spec, level_weights=[1, 0, 2, -0.0])
    assert encoded.isfinite().all()
    assert encoded.view(9, 4, 2)[:, [1, 3]].view(torch.int32).eq(0).all()


# ---- Features and dtypes --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("features", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 31])
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_feature_is_as_alone(features: int, dtype: torch.dtype) -> None:
    spec, alone = small(features=features), small(features=1)
    x, table = points(37, 3, wide(dtype)), rows(spec, dtype)
    together = encode(x, table, spec).view(37, 4, features)
    for feature in range(features):
        assert torch.equal(together[:, :, feature], encode(x, table[:, feature : feature + 1].contiguous(), alone))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("features", [1, 2, 3, 4, 8])
def test_half_tables_are_summed_in_float32(dtype: torch.dtype, features: int) -> None:
    """Nothing but the result is rounded, to the nearest."""
    spec = small(features=features)
    x, table = points(200, 3), rows(spec, dtype)
    encoded = encode(x, table, spec)
    assert encoded.dtype == dtype
    assert torch.equal(encoded, encode(x, table.float(), spec).to(dtype))
    exact = reference.encode(x.double(), table.double(), spec)
    torch.testing.assert_close(encoded.double(), exact, rtol=2.0**-8, atol=1e-4)


@pytest.mark.parametrize("features", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_is_widened_and_rounded_as_by_torch(dtype: torch.dtype, features: int) -> None:
    """All 65536 numbers are read from a table, times a factor, and rounded; and read from an upstream gradient."""
    spec = GridSpec(
        1, levels=1, features=features, base_resolution=65536, per_level_scale=1, kind="dense", interpolation="nearest"
    )
    halves = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    table = torch.stack([halves.roll(i) for i in range(features)], 1)
    x = torch.arange(65536, dtype=torch.float32)[:, None] / 65535
    # Thirds and odd factors meet ties, subnormal numbers and overflow.
    for factor in (1.0, 2.0**-8, 1 + 2.0**-11, 1 + 2.0**-8, 2.0**-14 / 3, 700.0, 2.0**-133):
        weight = torch.tensor([factor])
        encoded = encode(x, table, spec, level_weights=weight)
        expected = (table.float() * weight).to(dtype)
        np.testing.assert_array_equal(encoded.float().numpy(), expected.float().numpy())
    gradient = torch.ops.warphash.hashgrid_backward(table, x, table, None, spec.text, False, True, False, False)[1]
    np.testing.assert_array_equal(gradient.numpy(), table.float().numpy())


# ---- Shapes and kinds of arrays -------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(), (1,), (0,), (5,), (2, 3), (2, 0, 3), (1, 2, 1, 3)])
def test_leading_dimensions_stay(shape: tuple[int, ...]) -> None:
    spec = small()
    x = points(math.prod(shape), 3).view(*shape, 3)
    encoded = encode(x, rows(spec), spec)
    assert encoded.shape == (*shape, 8)
    assert torch.equal(encoded.view(-1, 8), encode(x.view(-1, 3), rows(spec), spec))


def test_numpy_in_and_out() -> None:
    spec = small()
    x, table = points(9, 3), rows(spec)
    encoded = encode(x.numpy(), table.numpy(), spec)
    assert isinstance(encoded, np.ndarray)
    assert np.array_equal(encoded, encode(x, table, spec).numpy())
    assert isinstance(encode(x, table.numpy(), spec), Tensor)


@pytest.mark.parametrize("dims", range(1, 8))
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_every_dims_is_the_definition(dims: int, interpolation: str) -> None:
    for kind, dtype in itertools.product(KINDS, (torch.float32, torch.float64)):
        spec = small(dims, kind=kind, interpolation=interpolation, features=3)
        x, table, weights = 3 * points(50, dims, dtype) - 1, rows(spec, dtype), level_weights(spec, dtype)
        encoded = encode(x, table, spec, level_weights=weights)
        expected = reference.encode(x, table, spec, level_weights=weights)
        rtol, atol = (1e-5, 2e-6) if dtype == torch.float32 else (1e-13, 1e-13)
        torch.testing.assert_close(encoded, expected, rtol=rtol, atol=atol)


def test_a_standard_grid_is_the_definition() -> None:
    """Sixteen levels to 2048 with a table of 2^14 rows, in float32 to the last place of its positions."""
    spec = GridSpec(3, log2_table_size=14)
    x, table = points(500, 3), rows(spec)
    torch.testing.assert_close(encode(x, table, spec), reference.encode(x, table, spec), rtol=1e-5, atol=2e-6)


@pytest.mark.big
def test_more_than_two_billion_results() -> None:
    """2^31 numbers and a few come out of 2^27 points; the last points are as a small call has them."""
    spec = GridSpec(1, levels=8, features=2, base_resolution=4, finest_resolution=100, log2_table_size=4)
    table, count = rows(spec, torch.float16), 2**27 + 5
    x = torch.linspace(0, 1, count)[:, None]
    encoded = encode(x, table, spec)
    assert encoded.numel() > 2**31
    for part in (slice(0, 9), slice(count // 2, count // 2 + 9), slice(count - 9, count)):
        assert torch.equal(encoded[part], encode(x[part].clone(), table, spec))


@pytest.mark.big
def test_more_than_two_billion_numbers_in_a_table() -> None:
    """The last vertex of each level, at a position that float32 has."""
    vertices = 2**27 + 17
    spec = GridSpec(
        1, levels=2, features=8, base_resolution=vertices, per_level_scale=1, kind="dense", interpolation="nearest"
    )
    table = torch.zeros(spec.rows, 8, dtype=torch.float16)
    assert table.numel() > 2**31
    table[vertices - 1] = torch.arange(8) + 10
    table[spec.offsets[1] + vertices - 1] = torch.arange(8)
    encoded = encode(torch.tensor([[1.0], [0.5]]), table, spec)
    assert encoded[0].tolist() == [*range(10, 18), *range(8)]
    assert not encoded[1].any()


def test_the_room_says_what_it_has() -> None:
    assert {"GridSpec", "encode"} <= set(wh.hashgrid.__all__)
