# SPDX-License-Identifier: Apache-2.0
"""Sketches as users call them: frozen values, other tools' values, laws, arrays of several kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash.lsh.sketches.parameters import SCHEMES

from .samples_sketches import sets, signatures, tokens

# ---- Frozen values: saved signatures depend on them -----------------------------------------------------------------
NARROW = np.array([0, 1, 2, 3, -1, -2, 2**31 - 1, -(2**31), 1000, 123456789], np.int32)
WIDE = np.array([0, 1, 2, 3, -1, -2, 2**63 - 1, -(2**63), 10**12, 123456789], np.int64)
OFFSETS = np.array([0, 4, 4, 10])
NONE = [-1, -1, -1]
MINHASH: dict[str, tuple[list[list[int]], list[list[int]]]] = {
    "affine32": (
        [[449836251, 75142624, 1614424951], NONE, [1518222256, 32093345, 2125719961]],
        [[1289617363, 101403465, 1375980307], NONE, [383837019, 408608724, 244416748]],
    ),
    "multiply_shift64": (
        [[-2052696996, 219018903, 1465683897], NONE, [449714856, 1079914769, 507915465]],
        [[1974724548, 210977796, 938855101], NONE, [110892669, 114151261, 1102508455]],
    ),
    "mersenne61": (
        [[1325378410, 101403465, 175621193], NONE, [773827436, 758354734, 1045726256]],
        [[459019637, 101403465, 1614424953], NONE, [471951575, 434445601, 427529369]],
    ),
    "datasketch": (
        [[14995597, 1989508433, 833720247], NONE, [540532691, 116679607, 12309819]],
        [[14995597, 1989508433, 833720247], NONE, [1409665289, 116679607, 12309819]],
    ),
    "datasketch_legacy": (
        [[-1440015269, 517107973, 969428760], NONE, [-2026766622, 179980302, 65981065]],
        [[-1440015269, 517107973, 969428760], NONE, [1960254559, 129261903, 65981064]],
    ),
}
SPARSE = [
    [708052, -1, 1230097895, -1, -1, -1340041320, -1057326777, -1],
    [-1, -1, -1, -1, -1, -1, -1, -1],
    [-1, 860494659, 1560378188, 1715809450, -1716543436, -1, -633773368, -1],
]
FILLED = [
    [708052, 1230097895, 1230097895, -1057326777, 1230097895, -1340041320, -1057326777, -1057326777],
    [-1, -1, -1, -1, -1, -1, -1, -1],
    [1560378188, 860494659, 1560378188, 1715809450, -1716543436, 1715809450, -633773368, -633773368],
]
PACKED = {
    1: [[154], [255], [254]],
    2: [[100, 225], [85, 85], [86, 85]],
    4: [[156, 218, 137, 182], [153, 153, 153, 153], [146, 85, 209, 17]],
    8: [
        [108, 169, 122, 125, 201, 136, 86, 139],
        [57, 57, 57, 57, 57, 57, 57, 57],
        [66, 185, 117, 181, 65, 29, 209, 65],
    ],
}


@pytest.mark.parametrize("scheme", MINHASH)
def test_frozen_minhash(scheme: str) -> None:
    for values, expected in zip((NARROW, WIDE), MINHASH[scheme], strict=True):
        assert wh.lsh.minhash(values, OFFSETS, 3, seed=11, scheme=scheme).tolist() == expected


def test_frozen_one_permutation() -> None:
    sparse = wh.lsh.one_permutation_minhash(NARROW, OFFSETS, 8, seed=11, densify=False)
    assert sparse.tolist() == SPARSE
    assert wh.lsh.densify(sparse, seed=11).tolist() == FILLED
    assert wh.lsh.one_permutation_minhash(NARROW, OFFSETS, 8, seed=11).tolist() == FILLED


def test_frozen_keys_and_codes() -> None:
    signature = wh.lsh.minhash(NARROW, OFFSETS, 8, seed=11)
    keys = [[1170819557466671080, 765142132465144289], [-1, -1], [6283508670294198408, 5784679655242186384]]
    assert wh.lsh.band_keys(signature, 2).tolist() == keys
    for bits, codes in PACKED.items():
        assert wh.lsh.bbit_pack(signature, bits).tolist() == codes


# ---- datasketch -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scheme", ["affine32", "legacy"])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_equals_datasketch(scheme: str, seed: int) -> None:
    datasketch = pytest.importorskip("datasketch", minversion="2.0.0")
    ours = "datasketch" if scheme == "affine32" else "datasketch_legacy"
    hashes = np.random.default_rng(seed).integers(0, 2**32, 300, dtype=np.uint64)
    hashes[:3] = 0, 1, 2**32 - 1
    for num_perm in (1, 16, 130):
        sketch = datasketch.MinHash(num_perm, seed=seed, scheme=scheme, hashfunc=int)
        sketch.update_batch(hashes.tolist())
        expected = sketch.hashvalues.astype(np.uint32)
        for values in (hashes.astype(np.uint32).view(np.int32), hashes.view(np.int64)):
            out = wh.lsh.minhash(values, np.array([0, 300]), num_perm, seed=seed, scheme=ours)
            assert np.array_equal(out[0].view(np.uint32), expected)


# ---- Laws -----------------------------------------------------------------------------------------------------------
def _least(a: Tensor, b: Tensor) -> Tensor:
    wide = torch.minimum(a.long() & 0xFFFFFFFF, b.long() & 0xFFFFFFFF)
    return wide.to(torch.int32)


def _one_set(t: Tensor, scheme: str) -> Tensor:
    offsets = torch.tensor([0, len(t)])
    if scheme == "one permutation":
        return wh.lsh.one_permutation_minhash(t, offsets, 40, seed=5, densify=False)[0]
    return wh.lsh.minhash(t, offsets, 40, seed=5, scheme=scheme)[0]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("scheme", [*SCHEMES, "one permutation"])
def test_sets_have_no_order_and_no_repetition(scheme: str, dtype: torch.dtype) -> None:
    t = tokens(500, dtype)
    expected = _one_set(t, scheme)
    assert torch.equal(_one_set(t.flip(0), scheme), expected)
    assert torch.equal(_one_set(torch.cat([t, t[:77], t[:9]]), scheme), expected)


@pytest.mark.parametrize("scheme", [*SCHEMES, "one permutation"])
def test_the_sketch_of_a_union_is_the_least(scheme: str) -> None:
    a, b = tokens(300, seed=1), tokens(200, seed=2)
    assert torch.equal(_one_set(torch.cat([a, b]), scheme), _least(_one_set(a, scheme), _one_set(b, scheme)))
    assert torch.equal(_least(_one_set(a, scheme), _one_set(a[:0], scheme)), _one_set(a, scheme))


def test_merging_comes_before_densification() -> None:
    a, b = tokens(9, seed=1), tokens(7, seed=2)
    parts = wh.lsh.one_permutation_minhash(torch.cat([a, b]), torch.tensor([0, 9, 16]), 64, seed=3, densify=False)
    merged = wh.lsh.densify(_least(parts[0], parts[1])[None], seed=3)
    whole = wh.lsh.one_permutation_minhash(torch.cat([a, b]), torch.tensor([0, 16]), 64, seed=3)
    assert torch.equal(merged, whole)


def test_an_empty_set_matches_nothing() -> None:
    t, o = sets((4, 0, 0, 2))
    for signature in (wh.lsh.minhash(t, o, 32, seed=1), wh.lsh.one_permutation_minhash(t, o, 32, seed=1)):
        assert (signature[1:3] == -1).all()
        assert (wh.lsh.band_keys(signature, 8)[1:3] == -1).all()
        assert (wh.lsh.band_keys(signature, 8)[[0, 3]] >= 0).all()
        assert wh.lsh.minhash_jaccard(signature, signature).tolist() == [1.0, 0.0, 0.0, 1.0]


def test_seeds_and_schemes_differ() -> None:
    t, o = sets((50,))
    rows = [wh.lsh.minhash(t, o, 64, seed=seed, scheme=scheme) for scheme in SCHEMES for seed in (1, 2)]
    for i, first in enumerate(rows):
        assert not any((first == second).any() for second in rows[i + 1 :])


def test_signatures_of_two_widths_share_no_beginning() -> None:
    """A signature is made for its number of permutations: summands follow all factors."""
    t, o = sets((50,))
    short, long = (wh.lsh.minhash(t, o, count, seed=1) for count in (8, 16))
    assert not torch.equal(short, long[:, :8])


def test_equal_bands_of_different_columns_have_different_keys() -> None:
    keys = wh.lsh.band_keys(torch.full((1, 16), 7, dtype=torch.int32), 4)
    assert len(set(keys[0].tolist())) == 4


# ---- Estimates ------------------------------------------------------------------------------------------------------
def test_minhash_jaccard_is_the_share_of_equal_values() -> None:
    a = torch.tensor([[1, 2, 3, 4], [1, -1, 3, 4], [-1, -1, -1, -1]], dtype=torch.int32)
    b = torch.tensor([[1, 2, 0, 0], [1, -1, 3, 4], [-1, -1, -1, -1]], dtype=torch.int32)
    out = wh.lsh.minhash_jaccard(a, b)
    assert out.dtype == torch.float32
    assert out.tolist() == [0.5, 1.0, 0.0]
    assert wh.lsh.minhash_jaccard(a[:, None], b[None]).shape == (3, 3)
    assert wh.lsh.minhash_jaccard(a[0].numpy(), b[0].numpy()) == 0.5


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_bbit_jaccard_counts_equal_codes(bits: int) -> None:
    for width in (1, 3, 8, 35):
        a, b = (tokens(5 * width, seed=seed).view(5, width) for seed in (1, 2))
        b[1] = a[1]
        mixed = [reference_low_bits(x, bits) for x in (a, b)]
        share = (mixed[0] == mixed[1]).mean(1)
        expected = (share - 2.0**-bits) / (1 - 2.0**-bits)
        out = wh.lsh.bbit_jaccard(wh.lsh.bbit_pack(a, bits), wh.lsh.bbit_pack(b, bits), bits, width)
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5, atol=1e-6)
        assert out[1] == 1.0


def reference_low_bits(x: Tensor, bits: int) -> np.ndarray:
    """The low bits of fmix32."""
    word = x.numpy().view(np.uint32)
    word = (word ^ (word >> 16)) * np.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * np.uint32(0xC2B2AE35)
    return (word ^ (word >> 16)) & np.uint32(2**bits - 1)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda a: wh.lsh.minhash_jaccard(a.long(), a), TypeError, "^a must be int32, got torch.int64"),
        (lambda a: wh.lsh.minhash_jaccard(a, a.float()), TypeError, "^b must be int32, got torch.float32"),
        (lambda a: wh.lsh.minhash_jaccard(a, a[:, :5]), ValueError, "^b must have signatures as wide as .* 8, got 5"),
        (lambda a: wh.lsh.minhash_jaccard(a, a[:2]), ValueError, r"^b must have leading .*\(2, 8\) and \(3, 8\)"),
        (lambda a: wh.lsh.minhash_jaccard(a[0, 0], a), ValueError, r"^a must hold signatures .*\(\)"),
        (lambda a: wh.lsh.minhash_jaccard(a[:, :0], a), ValueError, r"^a must hold signatures .*\(3, 0\)"),
        (lambda a: wh.lsh.minhash_jaccard(a, a.to("meta")), ValueError, "^b must be on the device of a, cpu, got meta"),
        (lambda a: wh.lsh.minhash_jaccard(a, None), TypeError, "^b must be a torch tensor.*got NoneType"),
        (lambda a: wh.lsh.bbit_jaccard(a, a, 4, 8), TypeError, "^a must be uint8, got torch.int32"),
        (lambda a: wh.lsh.bbit_jaccard(a.byte(), a.byte(), 3, 8), ValueError, "^bits must be .*got 3"),
        (lambda a: wh.lsh.bbit_jaccard(a.byte(), a.byte(), 4, 8), ValueError, "^a must have 4 bytes for 8 .*got 8"),
        (lambda a: wh.lsh.bbit_jaccard(a.byte(), a.byte(), 4, 0), ValueError, "^num_perm must be at least 1, got 0"),
    ],
)
def test_bad_estimates_are_refused(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(signatures(3, 8))


def test_estimates_compile_and_vmap() -> None:
    a, b = signatures(6, 32, 1), signatures(6, 32, 2)
    b[:, ::3] = a[:, ::3]
    compiled = torch.compile(wh.lsh.minhash_jaccard, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(a, b), wh.lsh.minhash_jaccard(a, b))
    assert torch.equal(torch.func.vmap(wh.lsh.minhash_jaccard)(a, b), wh.lsh.minhash_jaccard(a, b))
    codes = wh.lsh.bbit_pack(a, 2), wh.lsh.bbit_pack(b, 2)
    packed = torch.compile(wh.lsh.bbit_jaccard, fullgraph=True, backend="aot_eager")
    assert torch.equal(packed(*codes, 2, 32), wh.lsh.bbit_jaccard(*codes, 2, 32))


# ---- Kinds of arrays, parameters ------------------------------------------------------------------------------------
def test_numpy_in_numpy_out() -> None:
    t, o = sets()
    out = wh.lsh.minhash(t.numpy(), o.numpy(), 8, seed=1)
    assert isinstance(out, np.ndarray)
    assert np.array_equal(out, wh.lsh.minhash(t, o, 8, seed=1).numpy())
    keys = wh.lsh.band_keys(out, 2)
    assert isinstance(keys, np.ndarray)
    assert keys.dtype == np.int64
    assert isinstance(wh.lsh.one_permutation_minhash(t.numpy(), o.numpy(), 8, seed=1), np.ndarray)
    assert isinstance(wh.lsh.minhash_jaccard(out, out), np.ndarray)


def test_torchs_generator_is_not_touched() -> None:
    t, o = sets()
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    for scheme in SCHEMES:
        wh.lsh.minhash(t, o, 9, seed=987, scheme=scheme)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], legacy)


def test_kept_parameters_outlive_inference_mode() -> None:
    t, o = sets()
    with torch.inference_mode():
        first = wh.lsh.minhash(t, o, 9, seed=31337)
    assert torch.equal(wh.lsh.minhash(t, o, 9, seed=31337), first)
    compiled = torch.compile(lambda t, o: wh.lsh.minhash(t, o, 9, seed=31338), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(t, o), wh.lsh.minhash(t, o, 9, seed=31338))
    with torch.device("meta"):
        wh.lsh.minhash(t, o, 9, seed=31339)
    assert wh.lsh.minhash(t, o, 9, seed=31339).device.type == "cpu"


def test_vmap_of_no_items() -> None:
    t, o = sets()
    out = torch.func.vmap(lambda t: wh.lsh.minhash(t, o, 9, seed=1))(t.new_zeros((0, len(t))))
    assert out.shape == (0, 6, 9)
