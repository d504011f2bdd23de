# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of sketches, run on the CPU, against their definitions, bit for bit."""

from __future__ import annotations

import pytest
import torch
from cuda_emulation.emulated import EmulatedKernels
from torch import Tensor
from warphash.lsh.sketches import reference
from warphash.lsh.sketches.parameters import SCHEMES, minhash_parameters

KERNELS = [f"csrc/lsh/sketches/{name}.cu" for name in ("minhash", "one_permutation", "signatures")]
SOURCES = [*KERNELS, "tests/lsh/emulated_sketches.cpp"]

# Sets up to 96 tokens are a warp's, longer ones are cut where the array's index is a multiple of 96 (token_sets.cuh).
SIZES = {
    "none": [],
    "empty": [0, 0],
    "short": [3, 0, 1, 31, 32, 33, 0, 96],
    "long": [97],
    "mixed": [0, 5, 300, 0, 0, 96, 97, 1, 200, 2, 191],
}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sets_of(name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    offsets = torch.tensor([0, *SIZES[name]]).cumsum(0)
    bounds = torch.iinfo(dtype)
    tokens = torch.randint(bounds.min, bounds.max, (int(offsets[-1]),), dtype=dtype, generator=generator(len(name)))
    return tokens, offsets


def given(tokens: Tensor, offsets: Tensor) -> tuple[Tensor, bool, int, Tensor, int]:
    return tokens, tokens.dtype == torch.int64, len(tokens), offsets, len(offsets) - 1


def signatures(rows: int, width: int) -> Tensor:
    """Random values, also empty ones, in each row a different share; the first row is that of an empty set."""
    values = torch.randint(-(2**31), 2**31, (rows, width), generator=generator(rows + width)).to(torch.int32)
    empty = torch.rand(rows, width, generator=generator(1)) < torch.linspace(1.1, 0, max(rows, 1))[:rows, None]
    return values.masked_fill(empty, -1)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_minhash(emulated_kernels: EmulatedKernels, scheme: str, name: str, dtype: torch.dtype) -> None:
    tokens, offsets = sets_of(name, dtype)
    for permutations in (0, 1, 33, 150) if name == "mixed" else (2, 70):
        a, b = minhash_parameters(permutations, 5, scheme, torch.device("cpu"))
        found = torch.full((len(offsets) - 1, permutations), 7, dtype=torch.int32)
        number = SCHEMES.index(scheme)
        emulated_kernels.minhash(*given(tokens, offsets), a, b, permutations, number, found)
        assert torch.equal(found, reference.minhash_by(tokens, offsets, a, b, number))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", SIZES)
def test_one_permutation(emulated_kernels: EmulatedKernels, name: str, dtype: torch.dtype) -> None:
    tokens, offsets = sets_of(name, dtype)
    for bins in (1, 7, 128, 1500):  # 1500 do not fit into the emulated shared memory
        found = torch.full((len(offsets) - 1, bins), 7, dtype=torch.int32)
        emulated_kernels.one_permutation(*given(tokens, offsets), bins, 0x9E3779B1, 0xFFFFFFF0, found)
        assert torch.equal(found, reference.one_permutation_by(tokens, offsets, bins, 0x9E3779B1, 0xFFFFFFF0))


def test_wrong_offsets_stay_in_bounds(emulated_kernels: EmulatedKernels) -> None:
    tokens = sets_of("mixed", torch.int32)[0]
    a, b = minhash_parameters(40, 5, "affine32", torch.device("cpu"))
    for offsets in (
        torch.tensor([-5, 400, 30, 30, 2**62, -(2**62), 200, 10**6]),
        torch.arange(8).flip(0) * 150,
        torch.full((8,), 10**9),
        torch.full((8,), -1),
    ):
        found = torch.full((7, 40), 7, dtype=torch.int32)
        emulated_kernels.minhash(*given(tokens, offsets), a, b, 40, 0, found)
        assert not (found == 7).any()
        for bins in (40, 1500):
            bins_found = torch.full((7, bins), 7, dtype=torch.int32)
            emulated_kernels.one_permutation(*given(tokens, offsets), bins, 3, 1, bins_found)
            assert not (bins_found == 7).any()


@pytest.mark.parametrize(("rows", "width"), [(0, 5), (3, 0), (4, 1), (9, 7), (6, 128), (5, 300)])
def test_densify(emulated_kernels: EmulatedKernels, rows: int, width: int) -> None:
    given_signatures = signatures(rows, width)
    for seed in (0, 2**63 - 1):
        found = torch.full((rows, width), 7, dtype=torch.int32)
        emulated_kernels.densify(given_signatures, rows, width, seed, found)
        assert torch.equal(found, reference.densify(given_signatures, seed=seed))


def test_densify_with_one_value_far_away(emulated_kernels: EmulatedKernels) -> None:
    """So many bins that 256 attempts mostly miss the only one that is not empty."""
    row = torch.full((1, 2000), -1, dtype=torch.int32)
    row[0, 1234] = 99
    found = torch.zeros_like(row)
    emulated_kernels.densify(row, 1, 2000, 3, found)
    assert (found == 99).all()


@pytest.mark.parametrize(("rows", "width", "bands"), [(0, 8, 2), (9, 8, 2), (9, 9, 3), (300, 12, 12), (7, 128, 16)])
def test_band_keys(emulated_kernels: EmulatedKernels, rows: int, width: int, bands: int) -> None:
    given_signatures = signatures(rows, width)
    keys = torch.full((rows, bands), 7)
    emulated_kernels.band_keys(given_signatures, rows, width, bands, keys)
    assert torch.equal(keys, reference.band_keys(given_signatures, bands))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize(("rows", "width"), [(0, 5), (3, 0), (1, 1), (9, 7), (70, 16), (5, 129)])
def test_bbit_pack(emulated_kernels: EmulatedKernels, rows: int, width: int, bits: int) -> None:
    given_signatures = signatures(rows, width)
    codes = torch.full((rows, (width * bits + 7) // 8), 0xA5, dtype=torch.uint8)
    emulated_kernels.bbit_pack(given_signatures, rows, width, bits, codes)
    assert torch.equal(codes, reference.bbit_pack(given_signatures, bits))
