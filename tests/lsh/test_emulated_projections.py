# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of projections, run on the CPU, against the definitions in plain torch, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cuda_emulation.emulated import EmulatedKernels
from torch import Tensor
from warphash.lsh.projections import reference

FOLDER = "csrc/lsh/projections"
KERNELS = [
    f"{FOLDER}/{name}.cu"
    for name in ("pstable", "rotation", "rotation_registers", "simhash", "simhash_bf16", "simhash_codes")
]
SOURCES = [*KERNELS, "tests/lsh/emulated_projections.cpp"]

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NAMES = ("f16", "bf16", "f32", "f64")


def generator(*seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(hash(seed) % 2**31)


def later(x: Tensor) -> Tensor:
    """The same values, contiguous, at an address that no vector load may use."""
    room = x.new_zeros(x.numel() + 1)
    return room[1:].copy_(x.flatten()).view(x.shape)


def places(*dims: int, of: int) -> tuple[Callable[[Tensor], Tensor], ...]:
    """Aligned as torch does, and for some dimensions also at an odd address."""
    return (lambda x: x, later) if of in dims else (lambda x: x,)


def vectors(rows: int, dim: int, dtype: torch.dtype) -> Tensor:
    """Random rows; the first ones hold NaN, infinities and zeros of both signs."""
    x = torch.randn(rows, dim, generator=generator(rows, dim), dtype=torch.float64)
    for row, value in zip(x, (torch.nan, torch.inf, 0.0, -0.0, -torch.inf), strict=False):
        row[: dim // 2 + 1] = value
    return x.to(dtype)


def planes(dim: int, columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(dim, columns, generator=generator(dim, columns), dtype=torch.float64).to(dtype)


def given(x: Tensor) -> tuple[int, Tensor, int, int]:
    return DTYPES.index(x.dtype), x, *x.shape


def signs(rotations: int, dim: int) -> Tensor:
    size = max(8, 1 << max(dim - 1, 0).bit_length())
    return torch.randint(0, 256, (rotations, 3, size // 8), dtype=torch.uint8, generator=generator(rotations, dim))


# All tile widths, tails of rows, dimensions and columns, several steps, several tiles a block.
SHAPES = [(0, 5, 9), (3, 0, 9), (1, 1, 1), (300, 20, 7), (260, 35, 16), (140, 17, 70), (5, 16, 130)]


@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
@pytest.mark.parametrize(("rows", "dim", "bits"), SHAPES)
def test_simhash(emulated_kernels: EmulatedKernels, rows: int, dim: int, bits: int, dtype: torch.dtype) -> None:
    x = vectors(rows, dim, dtype)
    for place in places(16, of=dim):
        for plane_type in (torch.float32, torch.float64)[: 1 + (dtype == torch.float64)]:
            normals = planes(dim, bits, plane_type)
            codes = torch.full((rows, (bits + 7) // 8), 0xA5, dtype=torch.uint8)
            emulated_kernels.simhash(*given(place(x)), normals, plane_type == torch.float64, bits, codes)
            assert torch.equal(codes, reference.simhash(x, normals))


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=NAMES[:3])
@pytest.mark.parametrize(
    ("rows", "dim", "bits"),
    [
        (0, 5, 9),
        (3, 0, 9),
        (1, 1, 1),
        (1100, 5, 20),
        (300, 33, 30),
        (70, 70, 64),
        (140, 30, 200),
        (40, 200, 90),
        (270, 72, 128),
        (140, 100, 280),
    ],
)
def test_simhash_fast(emulated_kernels: EmulatedKernels, rows: int, dim: int, bits: int, dtype: torch.dtype) -> None:
    x = vectors(rows, dim, dtype)
    small = torch.randint(-9, 10, (rows, dim), generator=generator(rows, bits)).to(dtype)
    normals = planes(dim, bits)
    for place in places(72, of=dim):
        codes = torch.full((rows, (bits + 7) // 8), 0xA5, dtype=torch.uint8)
        emulated_kernels.simhash_fast(*given(place(small)), normals.sign(), bits, codes)
        assert torch.equal(codes, reference.simhash(small, normals.sign()))  # exact in any precision

        emulated_kernels.simhash_fast(*given(place(x)), normals, bits, codes)
        found = (codes[..., None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten(1)
        assert not found[:, bits:].any()
        rounded = [t.bfloat16().double() for t in (x.float(), normals)]
        sums, sizes = rounded[0] @ rounded[1], rounded[0].abs() @ rounded[1].abs()
        sure = sums.isnan() | ~(sums.abs() <= 1e-5 * sizes)
        assert torch.equal(found[:, :bits].bool()[sure], (sums >= 0)[sure])


@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
@pytest.mark.parametrize(
    ("rows", "dim", "hashes", "bits"),
    [(0, 3, 2, 5), (3, 3, 0, 5), (3, 0, 2, 30), (270, 9, 1, 7), (9, 9, 1, 9), (9, 20, 5, 9), (140, 9, 3, 30)],
)
def test_simhash_codes(
    emulated_kernels: EmulatedKernels, rows: int, dim: int, hashes: int, bits: int, dtype: torch.dtype
) -> None:
    x, normals = vectors(rows, dim, dtype), planes(dim, hashes * bits)
    for gray in (False, True):
        codes = torch.full((rows, hashes), -7, dtype=torch.int32)
        emulated_kernels.simhash_codes(*given(x), normals, False, hashes, bits, gray, codes)
        order = "gray" if gray else "binary"
        assert torch.equal(codes, reference.simhash_codes(x, normals.view(dim, hashes, bits), order=order))


@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
@pytest.mark.parametrize(
    ("rows", "dim", "hashes"), [(0, 3, 2), (3, 3, 0), (3, 0, 5), (140, 9, 8), (20, 20, 13), (9, 9, 68)]
)
def test_pstable(emulated_kernels: EmulatedKernels, rows: int, dim: int, hashes: int, dtype: torch.dtype) -> None:
    x = vectors(rows, dim, dtype)
    for plane_type in (torch.float32, torch.float64)[: 1 + (dtype == torch.float64)]:
        wide = plane_type == torch.float64
        directions, offsets = planes(dim, hashes, plane_type), planes(1, hashes, plane_type)[0]
        for width in (0.7, 1e-9):  # also past the ends of int32
            codes = torch.full((rows, hashes), -7, dtype=torch.int32)
            emulated_kernels.pstable(*given(x), directions, wide, offsets, wide, hashes, width, codes)
            assert torch.equal(codes, reference.pstable(x, directions, offsets, width))


def packed(values: Tensor, bits: int) -> Tensor:
    return reference._packed(values.flatten(-2)[..., :bits] >= 0)


def best(values: Tensor) -> Tensor:
    """Codes of cross-polytopes, one value after the other."""
    rows = values.flatten(0, -2).tolist()
    codes = []
    for row in rows:
        place = max(range(len(row)), key=lambda i: (abs(row[i]), -i) if row[i] == row[i] else (-1.0, -i))
        codes.append(place + len(row) * (row[place] < 0))
    return torch.tensor(codes, dtype=torch.int32).view(values.shape[:-1])


# All sizes in registers and, for float64, in shared memory; 512 and 1024 in shared, 2048 in global memory.
@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
@pytest.mark.parametrize(
    ("rows", "dim", "rotations"),
    [(0, 5, 2), (5, 5, 0), (2, 0, 1), (70, 7, 3), (40, 16, 2), (9, 30, 2), (9, 64, 3), (33, 101, 2), (9, 256, 1),
     (3, 260, 2), (3, 1000, 1), (2, 1025, 2)],
)  # fmt: skip
def test_rotations(emulated_kernels: EmulatedKernels, rows: int, dim: int, rotations: int, dtype: torch.dtype) -> None:
    x, negative = vectors(rows, dim, dtype), signs(rotations, dim)
    values = reference.rotations(x, negative)
    size = values.shape[-1]
    for place in places(16, 64, 1000, of=dim):
        for bits in {rotations * size, max(0, rotations * size - 3)}:
            codes = torch.full((rows, (bits + 7) // 8), 0xA5, dtype=torch.uint8)
            emulated_kernels.hd3(*given(place(x)), place(negative), rotations, bits, codes)
            assert torch.equal(codes, packed(values, bits))
        axes = torch.full((rows, rotations), -7, dtype=torch.int32)
        emulated_kernels.cross_polytope(*given(place(x)), place(negative), rotations, axes)
        assert torch.equal(axes, best(values))


@pytest.mark.parametrize("dtype", DTYPES[2:], ids=NAMES[2:])
def test_tiny_and_equal_values(emulated_kernels: EmulatedKernels, dtype: torch.dtype) -> None:
    """Values that the scale makes zero, and rows whose largest magnitude stands in many places."""
    rows = torch.eye(64, dtype=dtype)[:6]
    x = torch.cat([rows, -rows, torch.finfo(dtype).tiny * torch.finfo(dtype).eps * rows, 0 * rows])
    for copies in (x, x.repeat(1, 8)):  # in registers, in shared memory
        negative = signs(2, copies.shape[1])
        values = reference.rotations(copies, negative)
        codes = torch.empty((len(x), values.shape[-1] // 4), dtype=torch.uint8)
        emulated_kernels.hd3(*given(copies), negative, 2, 2 * values.shape[-1], codes)
        assert torch.equal(codes, packed(values, 2 * values.shape[-1]))
        axes = torch.empty((len(x), 2), dtype=torch.int32)
        emulated_kernels.cross_polytope(*given(copies), negative, 2, axes)
        assert torch.equal(axes, best(values))
