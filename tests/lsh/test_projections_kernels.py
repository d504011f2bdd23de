# SPDX-License-Identifier: Apache-2.0
"""The projections of each instruction set on NumPy arrays: the definition, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash import _C
from warphash.lsh.projections import reference
from warphash.lsh.projections.parameters import rotation_signs, rotation_size

from .samples_projections import awkward, vectors

kernels = _C.kernels
CPU = torch.device("cpu")
DTYPES = (torch.float16, torch.float32, torch.float64)


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Several thread counts, more than the machine's among them."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def equal(a: np.ndarray, b: Tensor) -> bool:
    """Whether a kernel's answer is that of the reference."""
    return np.array_equal(a, b.numpy())


def test_fma_of_the_reference_rounds_once() -> None:
    """Against exact fractions: random bits, so half-way cases, subnormal numbers and cancellation occur."""
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2**32, (3, 4000), dtype=np.uint64).astype(np.uint32)
    a, b, c = (torch.from_numpy(row.view(np.float32).copy()) for row in bits)
    c[::3] = -(a * b)[::3] * (1 + 2.0**-22)
    a[::5] *= 2.0**-70
    a[::7], b[::7], c[::7] = a[::7] * 0 + 2.0**-75 * 3, b[::7] * 0 + 2.0**-75 * 5, (a * 0 + 2.0**-149 * 3)[::7]
    good = a.isfinite() & b.isfinite() & c.isfinite()
    out = reference.fma(a, b, c)
    for x, y, z, got in zip(a[good].tolist(), b[good].tolist(), c[good].tolist(), out[good].tolist(), strict=True):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        if np.isinf(got):
            assert abs(exact) > Fraction(float(np.finfo(np.float32).max))
            continue
        error = abs(Fraction(got) - exact)
        for neighbour in np.nextafter(np.float32(got), np.array([-np.inf, np.inf], np.float32)):
            assert np.isinf(neighbour) or error <= abs(Fraction(float(neighbour)) - exact)
        if error and float(got) == got and got:  # a tie goes to the even one
            up = np.nextafter(np.float32(got), np.float32(np.inf if Fraction(got) < exact else -np.inf))
            if np.isfinite(up) and abs(Fraction(float(up)) - exact) == error:
                assert np.float32(got).view(np.uint32) % 2 == 0


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 40, 600])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_are_exactly_the_chains(isa: str, dim: int, dtype: torch.dtype) -> None:
    """An offset of minus the right sum and a width of the smallest number: only that very sum gives 0."""
    generator = np.random.default_rng(dim)
    count = 300 if dim < 100 else 20
    wide = generator.standard_normal((dim + 1, count)) * 2.0 ** generator.integers(-60, 60, (dim + 1, count))
    near = generator.integers(-3, 4, (dim + 1, count)) * (1 + 2.0**-23 * generator.integers(-4, 5, (dim + 1, count)))
    small = generator.standard_normal((dim + 1, count)) * 2.0 ** generator.integers(-80, -60, (dim + 1, count))
    kinds = [wide, near] if dtype == torch.float64 else [wide, near, small]  # the reference is exact within the range
    width = 2.0**-1074 if dtype == torch.float64 else 2.0**-149
    for values in kinds:
        x, directions = (torch.from_numpy(part).to(dtype) for part in (values[:1, :dim].copy(), values[1:].copy()))
        if x.shape[1] < dim:
            x = torch.from_numpy(values[1:, :1].T.copy()).to(dtype).contiguous()
        offsets = -reference.projections(x, directions)[0]
        codes = kernels.lsh_pstable(isa, x.numpy(), directions.numpy(), offsets.numpy(), width)
        assert (codes == 0).all()
        shifted = torch.nextafter(offsets, torch.full_like(offsets, torch.inf))
        assert (kernels.lsh_pstable(isa, x.numpy(), directions.numpy(), shifted.numpy(), width) > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rows", "dim", "bits"),
    [(1, 5, 1), (2, 8, 8), (3, 9, 9), (4, 17, 16), (5, 31, 17), (6, 33, 33), (7, 64, 48), (13, 100, 49), (17, 65, 64),
     (25, 30, 65), (50, 12, 128), (97, 7, 130), (20, 500, 40), (193, 3, 7)],
)  # fmt: skip
def test_simhash_is_the_reference(isa: str, dtype: torch.dtype, rows: int, dim: int, bits: int) -> None:
    x = vectors(rows, dim, seed=bits)
    x = (awkward(x) if rows > 3 and dim > 3 else x).to(dtype)
    planes = wh.lsh.random_planes(dim, bits, seed=3)
    assert equal(kernels.lsh_simhash(isa, x.numpy(), planes.numpy()), reference.simhash(x, planes))
    if dtype == torch.float64:
        doubles = planes.double() / 3
        assert equal(kernels.lsh_simhash(isa, x.numpy(), doubles.numpy()), reference.simhash(x, doubles))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bits", [*range(1, 31)])
def test_codes_are_the_reference(isa: str, dtype: torch.dtype, bits: int) -> None:
    x, hashes = vectors(29, 11, seed=bits).to(dtype), bits % 4 + 1
    planes = wh.lsh.random_planes(11, hashes * bits, seed=3)
    for gray in (False, True):
        expected = reference.simhash_codes(x, planes.unflatten(1, (hashes, bits)), order="gray" if gray else "binary")
        assert equal(kernels.lsh_simhash_codes(isa, x.numpy(), planes.numpy(), bits, gray), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [0, 1, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 256, 300, 512, 1000, 2048, 5000])
def test_rotations_are_the_reference(isa: str, dtype: torch.dtype, dim: int) -> None:
    rows = 9 if dim < 1000 else 4
    x = vectors(rows, dim, seed=dim)
    x = (awkward(x) if dim > 3 else x).to(dtype)
    size = rotation_size(dim)
    signs = rotation_signs(3, size, dim, CPU)
    for bits in (3 * size, 2 * size + 3):
        expected = reference.hd3_simhash(x, bits, seed=dim)
        assert equal(kernels.lsh_hd3(isa, x.numpy(), signs.numpy(), bits), expected)
    expected = reference.cross_polytope(x, tables=3, seed=dim)
    assert equal(kernels.lsh_cross_polytope(isa, x.numpy(), signs.numpy()), expected)


@pytest.mark.parametrize("log_size", [14, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_rotations_agree_with_scalar(isa: str, dtype: torch.dtype, log_size: int) -> None:
    x = vectors(2, (1 << log_size) - 5).to(dtype).numpy()
    signs = rotation_signs(2, 1 << log_size, 1, CPU).numpy()
    bits = 2 << log_size
    assert np.array_equal(kernels.lsh_hd3(isa, x, signs, bits), kernels.lsh_hd3("scalar", x, signs, bits))
    assert np.array_equal(kernels.lsh_cross_polytope(isa, x, signs), kernels.lsh_cross_polytope("scalar", x, signs))


def test_ties_go_to_the_lowest_place(isa: str) -> None:
    """A unit vector spreads evenly: in the first round all magnitudes are equal, so ties abound."""
    for size in (8, 16, 32, 64, 128, 256, 512):
        x = torch.cat([torch.eye(size)[:7], torch.zeros(1, size), torch.full((1, size), torch.nan)])
        for dtype in (torch.float32, torch.float64):
            signs = rotation_signs(5, size, 7, CPU)
            codes = kernels.lsh_cross_polytope(isa, x.to(dtype).numpy(), signs.numpy())
            assert equal(codes, reference.cross_polytope(x.to(dtype), tables=5, seed=7))
            assert (codes[7:] == 0).all()


def test_threads_change_nothing(isa: str, threads: int) -> None:
    x = vectors(9001, 37).numpy()
    planes, offsets = wh.lsh.random_planes(37, 70, seed=1).numpy(), wh.lsh.random_offsets(70, 0.5, seed=1).numpy()
    signs = rotation_signs(2, 64, 1, CPU).numpy()
    for run in (
        lambda level: kernels.lsh_simhash(level, x, planes),
        lambda level: kernels.lsh_simhash_codes(level, x, planes, 14, True),
        lambda level: kernels.lsh_pstable(level, x, planes, offsets, 0.5),
        lambda level: kernels.lsh_hd3(level, x, signs, 128),
        lambda level: kernels.lsh_cross_polytope(level, x, signs),
    ):
        assert np.array_equal(run(isa), run("scalar"))
    whole = kernels.lsh_simhash(isa, x, planes)
    for first, last in itertools.pairwise((0, 1, 4000, 4010, 9001)):
        assert np.array_equal(kernels.lsh_simhash(isa, x[first:last], planes), whole[first:last])


# ---- Fast -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("rows", "dim", "bits"), [(1, 7, 5), (9, 64, 16), (31, 129, 40), (40, 700, 130), (7, 0, 9)])
def test_fast_is_exact_on_what_bfloat16_holds(isa: str, rows: int, dim: int, bits: int) -> None:
    x = torch.randint(-16, 17, (rows, dim)).float()
    planes = wh.lsh.random_planes(dim, bits, seed=1, kind="rademacher")
    for dtype in (torch.float16, torch.float32):
        fast = kernels.lsh_simhash(isa, x.to(dtype).numpy(), planes.numpy(), fast=True)
        assert equal(fast, reference.simhash(x, planes))
    for offset in (0, 1):  # bfloat16 pairs may lie at odd addresses
        halves = torch.cat([torch.zeros(offset), x.flatten()]).bfloat16()[offset:].view(rows, dim)
        assert torch.equal(wh.lsh.simhash(halves, planes, precision="fast"), reference.simhash(x, planes))


@pytest.mark.parametrize("dim", [5, 64, 129, 1000])
def test_fast_flips_only_near_a_plane(isa: str, dim: int) -> None:
    x, planes = vectors(200, dim), wh.lsh.random_planes(dim, 96, seed=1)
    fast = kernels.lsh_simhash(isa, x.numpy(), planes.numpy(), fast=True)
    flipped = np.unpackbits(fast ^ kernels.lsh_simhash(isa, x.numpy(), planes.numpy()), axis=1, bitorder="little")
    sums = (x.double() @ planes.double()).numpy()
    scale = torch.linalg.vector_norm(x, dim=1)[:, None] * torch.linalg.vector_norm(planes, dim=0)
    assert (np.abs(sums)[flipped == 1] <= 2.0**-7 * scale.numpy()[flipped == 1]).all()
    assert flipped.mean() < 0.01
    alone = np.concatenate([kernels.lsh_simhash(isa, row[None], planes.numpy(), fast=True) for row in x[:9].numpy()])
    assert np.array_equal(alone, fast[:9])


def test_kernels_refuse_what_does_not_fit() -> None:
    x, planes = vectors(3, 8).numpy(), vectors(8, 6).numpy()
    signs = rotation_signs(1, 8, 0, CPU).numpy()
    for call, text in (
        (lambda: kernels.lsh_simhash("scalar", x, planes[:7]), "planes must have a row for each dimension"),
        (lambda: kernels.lsh_simhash("scalar", x.astype(np.int32), planes), "x must be float16, float32 or float64"),
        (lambda: kernels.lsh_simhash("scalar", x[:, ::2], planes[:4]), "x must be contiguous and 2-D"),
        (lambda: kernels.lsh_simhash("scalar", x, planes.astype(np.float64)), "planes must be float32"),
        (lambda: kernels.lsh_simhash_codes("scalar", x, planes, 4, False), "bits must be 1 to 30 and divide"),
        (lambda: kernels.lsh_hd3("scalar", x, signs, 9), "bits must be at most"),
        (lambda: kernels.lsh_cross_polytope("scalar", x[:, :0], signs[..., :0]), "signs must be uint8"),
        (lambda: kernels.lsh_pstable("scalar", x, planes, planes[0, :5], 1.0), "offsets must be one a direction"),
        (lambda: kernels.lsh_simhash("neon", x, planes), "isa must be"),
    ):
        with pytest.raises(ValueError, match=text):
            call()
