# SPDX-License-Identifier: Apache-2.0
"""The sketches of each instruction set on NumPy arrays: the definition, bit for bit, whatever the number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from warphash import _C
from warphash.lsh.sketches import reference
from warphash.lsh.sketches.parameters import SCHEMES, minhash_parameters, one_permutation_parameters

from .samples_sketches import WIDTHS, offsets_of, sets, signatures, tokens

kernels = _C.kernels
CPU = torch.device("cpu")
PRIME = 2**61 - 1


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


def minhash_equals(isa: str, t: Tensor, o: Tensor, a: Tensor, b: Tensor, scheme: int) -> bool:
    """Whether MinHash is that of the reference."""
    out = kernels.lsh_minhash(isa, t.numpy(), o.numpy(), a.numpy(), b.numpy(), scheme)
    return equal(out, reference.minhash_by(t, o, a, b, scheme))


# ---- MinHash --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scheme", range(len(SCHEMES)))
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_minhash_of_every_width(isa: str, scheme: int, dtype: torch.dtype) -> None:
    t, o = sets((3, 0, 18, 1), dtype)
    for width in range(131):
        assert minhash_equals(isa, t, o, *minhash_parameters(width, width, SCHEMES[scheme], CPU), scheme), width


@pytest.mark.parametrize("scheme", range(len(SCHEMES)))
def test_minhash_across_pieces(isa: str, scheme: int) -> None:
    """Tokens are mixed 1024 at a time, 1024 permutations are held at a time."""
    for dtype in (torch.int32, torch.int64):
        t, o = sets((1023, 1024, 1025, 0, 2049), dtype, seed=scheme)
        assert minhash_equals(isa, t, o, *minhash_parameters(5, 1, SCHEMES[scheme], CPU), scheme)
        t, o = sets((2, 0, 7), dtype, seed=scheme)
        for width in (1023, 1024, 1025, 1041, 2100):
            assert minhash_equals(isa, t, o, *minhash_parameters(width, 1, SCHEMES[scheme], CPU), scheme), width


@pytest.mark.parametrize("scheme", [SCHEMES.index("affine32"), SCHEMES.index("datasketch_legacy")])
def test_minhash_of_long_sets_is_cut_for_threads(isa: str, threads: int, scheme: int) -> None:
    t, o = sets((5, 300_000, 0, 1, 90_000, 8))
    assert minhash_equals(isa, t, o, *minhash_parameters(18, 2, SCHEMES[scheme], CPU), scheme)


def test_minhash_of_many_sets(isa: str, threads: int) -> None:
    lengths = tuple(torch.randint(0, 40, (3000,), generator=torch.Generator().manual_seed(1)).tolist())
    t, o = sets(lengths)
    assert minhash_equals(isa, t, o, *minhash_parameters(33, 2, "affine32", CPU), 0)


def _unmixed(x: int) -> int:
    """The token whose fmix32 is x."""
    x ^= x >> 16
    x = x * pow(0xC2B2AE35, -1, 2**32) % 2**32
    x ^= (x >> 13) ^ (x >> 26)
    x = x * pow(0x85EBCA6B, -1, 2**32) % 2**32
    return x ^ (x >> 16)


def _int64(values: list[int]) -> Tensor:
    return torch.from_numpy(np.array(values, np.uint64).view(np.int64))


def test_extremes_of_arithmetic(isa: str) -> None:
    """Mixed tokens, factors and summands at the ends of their ranges, around 2^29, 2^32 and multiples of 2^61 - 1."""
    mixed = [0, 1, 2, 2**29 - 1, 2**29, 2**31, 2**32 - 2, 2**32 - 1]
    t = torch.from_numpy(np.array([_unmixed(x) for x in mixed], np.uint32).view(np.int32))
    assert np.array_equal(reference.mixed(t), np.array(mixed, np.uint64))
    small = [0, 1, 2**29 - 1, 2**29, 2**32 - 1, 2**32, 2**60, PRIME - 2, PRIME - 1]
    whole = [*small, PRIME, PRIME + 1, 7 * PRIME, 8 * PRIME, 2**63, 2**64 - 9, 2**64 - 8, 2**64 - 2, 2**64 - 1]
    for scheme, ends in ((0, whole), (1, whole), (2, small), (3, whole), (4, whole)):
        a, b = (_int64(list(part)) for part in zip(*((x, y) for x in ends for y in ends), strict=True))
        for one in range(len(mixed)):
            assert minhash_equals(isa, t[one : one + 1], torch.tensor([0, 1]), a, b, scheme), (scheme, mixed[one])
        if scheme == 4:
            for token in _int64(whole):
                assert minhash_equals(isa, token[None], torch.tensor([0, 1]), a, b, scheme)


def test_parameters_of_mersenne_must_be_residues(isa: str) -> None:
    t, o = sets()
    good, bad = np.array([1]), np.array([PRIME])
    for a, b in ((bad, good), (good, bad)):
        with pytest.raises(ValueError, match=r"below 2\^61 - 1"):
            kernels.lsh_minhash(isa, t.numpy(), o.numpy(), a, b, SCHEMES.index("mersenne61"))


@pytest.mark.parametrize(
    "offsets", [[1, 61], [0, 60], [0, 62], [0, 9, 3, 61], [0, 2**62, 61], [0, -5, 61], [-(2**63), 61], [5]]
)
def test_bad_offsets_read_nothing(isa: str, offsets: list[int]) -> None:
    t, bounds = tokens(61).numpy(), np.array(offsets)
    one = np.array([1])
    with pytest.raises(ValueError, match=r"^offsets must ascend from 0 to 61"):
        kernels.lsh_minhash(isa, t, bounds, one, one, 0)
    with pytest.raises(ValueError, match=r"^offsets must ascend from 0 to 61"):
        kernels.lsh_one_permutation(isa, t, bounds, 8, 1, 1)


# ---- One permutation ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_one_permutation_of_every_width(isa: str, dtype: torch.dtype) -> None:
    t, o = sets((3, 0, 18, 1, 260, 1025), dtype)
    for bins in (*range(1, 131), 1000, 4097, 2**20 + 3):
        a, b = one_permutation_parameters(bins)
        out = kernels.lsh_one_permutation(isa, t.numpy(), o.numpy(), bins, a, b)
        assert equal(out, reference.one_permutation_by(t, o, bins, a, b)), bins


def test_one_permutation_of_long_sets_is_cut_for_threads(isa: str, threads: int) -> None:
    t, o = sets((5, 700_000, 0, 1, 400_000, 8))
    out = kernels.lsh_one_permutation(isa, t.numpy(), o.numpy(), 200, 77, 5)
    assert equal(out, reference.one_permutation_by(t, o, 200, 77, 5))


def test_a_hash_of_all_ones_is_no_empty_bin(isa: str) -> None:
    """fmix32 is a bijection: one token's hash is 2^32 - 1, which counts as one less."""
    token = _unmixed((_unmixed(2**32 - 1) - 5) % 2**32)
    t = np.array([token], np.uint32).view(np.int32)
    out = kernels.lsh_one_permutation(isa, t, np.array([0, 1]), 7, 1, 5)
    assert out.tolist() == [[-1, -1, -1, -1, -1, -1, -2]]


# ---- Signatures -----------------------------------------------------------------------------------------------------
def test_densify(isa: str, threads: int) -> None:
    for width in (*WIDTHS, 143, 144, 145, 1000):
        x = signatures(11, width, width)
        for seed in (0, width, 2**63 - 1):
            assert equal(kernels.lsh_densify(isa, x.numpy(), seed), reference.densify(x, seed=seed)), width


def test_densify_falls_back_to_the_next_bin(isa: str) -> None:
    """Some of 2000 bins miss the one that is not empty 256 times."""
    x = torch.full((4, 2000), -1, dtype=torch.int32)
    x[0, 7], x[1, 1999], x[2, 0], x[2, 1000] = 5, 6, 7, 8
    out = kernels.lsh_densify(isa, x.numpy(), 1)
    assert equal(out, reference.densify(x, seed=1))
    assert (out[0] == 5).all()
    assert (out[1] == 6).all()
    assert set(out[2].tolist()) == {7, 8}
    assert (out[3] == -1).all()


def test_band_keys(isa: str, threads: int) -> None:
    x = signatures(500, 240)
    for bands in (1, 2, 3, 5, 8, 15, 16, 120, 240):
        assert equal(kernels.lsh_band_keys(isa, x.numpy(), bands), reference.band_keys(x, bands)), bands


def test_bbit_pack(isa: str, threads: int) -> None:
    for width in (*range(70), 127, 128, 129, 257):
        x = signatures(300 if width == 128 else 3, width, width)
        for bits in (1, 2, 4, 8, 16):
            assert equal(kernels.lsh_bbit_pack(isa, x.numpy(), bits), reference.bbit_pack(x, bits)), (width, bits)


def test_a_hundred_runs_are_equal(isa: str) -> None:
    t, o = (x.numpy() for x in sets((5, 9000, 0, 1, 400)))
    a, b = (x.numpy() for x in minhash_parameters(40, 3, "affine32", CPU))
    first = kernels.lsh_minhash(isa, t, o, a, b, 0)
    binned = kernels.lsh_one_permutation(isa, t, o, 40, 3, 4)
    for _ in range(100):
        assert np.array_equal(kernels.lsh_minhash(isa, t, o, a, b, 0), first)
        assert np.array_equal(kernels.lsh_one_permutation(isa, t, o, 40, 3, 4), binned)


def test_bad_arrays_are_refused() -> None:
    t, o = (x.numpy() for x in sets())
    one, x = np.array([1]), signatures(3, 8).numpy()
    for call in (
        lambda: kernels.lsh_minhash("scalar", t[::2], o, one, one, 0),
        lambda: kernels.lsh_minhash("scalar", t.astype(np.float32), o, one, one, 0),
        lambda: kernels.lsh_minhash("scalar", t, o[:0], one, one, 0),
        lambda: kernels.lsh_minhash("scalar", t, o, one, np.array([1, 2]), 0),
        lambda: kernels.lsh_minhash("scalar", t, o, one, one, 5),
        lambda: kernels.lsh_minhash("sse", t, o, one, one, 0),
        lambda: kernels.lsh_one_permutation("scalar", t, o, 0, 1, 1),
        lambda: kernels.lsh_densify("scalar", x[0], 1),
        lambda: kernels.lsh_band_keys("scalar", x, 3),
        lambda: kernels.lsh_bbit_pack("scalar", x, 3),
    ):
        with pytest.raises(ValueError, match="must"):
            call()


def test_offsets_of_sets() -> None:
    assert offsets_of((3, 0, 2)).tolist() == [0, 3, 3, 5]
