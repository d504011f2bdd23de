# SPDX-License-Identifier: Apache-2.0
"""The CUDA entries of sketches, on CPU tensors over emulated kernels, against the CPU operators, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import warphash  # noqa: F401  (registers the CPU operators)
from cuda_emulation.emulated import MODE
from cuda_emulation.operators import load_operators
from warphash.lsh.sketches.parameters import SCHEMES, minhash_parameters

from .test_emulated_sketches import KERNELS, SIZES, sets_of, signatures

pytestmark = pytest.mark.skipif(MODE != "plain", reason="the kernels are checked in the other modes by their own tests")


@pytest.fixture(scope="module")
def emulated() -> Any:
    return load_operators(KERNELS, "tests/lsh/emulated_sketches_operators.cpp")


def same(emulated: Any, name: str, *arguments: Any) -> None:
    found, expected = getattr(emulated, name)(*arguments), getattr(torch.ops.warphash, name)(*arguments)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", SIZES)
def test_sets(emulated: Any, name: str, dtype: torch.dtype) -> None:
    tokens, offsets = sets_of(name, dtype)
    for number, scheme in enumerate(SCHEMES):
        for permutations in (0, 20, 130):
            a, b = minhash_parameters(permutations, 3, scheme, torch.device("cpu"))
            same(emulated, "lsh_minhash", tokens, offsets, a, b, number)
    for bins in (1, 100, 1200):
        same(emulated, "lsh_one_permutation", tokens, offsets, bins, 0x9E3779B1, 77)
    strided = torch.stack([tokens, tokens + 1], 1)[:, 0]
    a, b = minhash_parameters(40, 3, "affine32", torch.device("cpu"))
    same(emulated, "lsh_minhash", strided, offsets, a.flip(0), b[::1], 0)


@pytest.mark.parametrize(("rows", "width"), [(0, 12), (1, 1), (9, 12), (40, 128)])
def test_signatures(emulated: Any, rows: int, width: int) -> None:
    for values in (signatures(rows, width), signatures(width, rows).t() if rows else signatures(rows, width)):
        same(emulated, "lsh_densify", values, 2**63 - 1)
        for bands in {1, max(1, width // 4), width}:
            same(emulated, "lsh_band_keys", values, bands)
        for bits in (1, 2, 4, 8, 16):
            same(emulated, "lsh_bbit_pack", values, bits)


def test_last_line_of_checks(emulated: Any) -> None:
    tokens, offsets = sets_of("short", torch.int64)
    a, b = minhash_parameters(8, 3, "affine32", torch.device("cpu"))
    values = signatures(3, 8)
    for call in (
        lambda: emulated.lsh_minhash(tokens.float(), offsets, a, b, 0),
        lambda: emulated.lsh_minhash(tokens[None], offsets, a, b, 0),
        lambda: emulated.lsh_minhash(tokens, offsets.int(), a, b, 0),
        lambda: emulated.lsh_minhash(tokens, offsets[:0], a, b, 0),
        lambda: emulated.lsh_minhash(tokens, offsets, a[1:], b, 0),
        lambda: emulated.lsh_minhash(tokens, offsets, a.int(), b, 0),
        lambda: emulated.lsh_minhash(tokens, offsets, a, b, 5),
        lambda: emulated.lsh_one_permutation(tokens, offsets, 2**31, 1, 0),
        lambda: emulated.lsh_densify(values.long(), 0),
        lambda: emulated.lsh_band_keys(values, 3),
        lambda: emulated.lsh_band_keys(values[0], 2),
        lambda: emulated.lsh_bbit_pack(values, 3),
    ):
        with pytest.raises(RuntimeError, match="must"):
            call()
