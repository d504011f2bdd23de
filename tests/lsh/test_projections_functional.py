# SPDX-License-Identifier: Apache-2.0
"""The public projections: golden codes, parameters from seeds, edges, kinds of arrays, the compiler."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash.lsh.projections import reference
from warphash.lsh.projections.parameters import rotation_size

from .samples_projections import vectors


def fixed(rows: int, dim: int) -> Tensor:
    """Eighths from -6.25 to 6.25, the same everywhere."""
    return ((torch.arange(rows * dim) * 37 % 101 - 50).float() / 8).view(rows, dim)


def digest(x: Tensor) -> int:
    """The first 32 bits of SHA-256 of the elements."""
    return int.from_bytes(hashlib.sha256(x.contiguous().numpy().tobytes()).digest()[:4], "big")


# ---- Golden values: they hold on every machine and for ever, since users save codes ---------------------------------
GOLDEN_PARAMETERS = {
    "planes": 0x0FF84B13,
    "signs": 0x7599ECE4,
    "directions": 0x14619AF4,
    "cauchy": 0x493DC141,
    "offsets": 0xE2982FD2,
}
GOLDEN_CODES = {
    "simhash": 0xA6E40F37,
    "simhash float64": 0xA6E40F37,
    "simhash float16": 0xA6E40F37,
    "codes": 0x23DCBA1D,
    "gray": 0xAD9ED62C,
    "hd3": 0x4B46A767,
    "hd3 large": 0x2E6DE9EF,
    "cross": 0xAF61964D,
    "cross large": 0xB20360CA,
    "pstable": 0x28B1D06B,
}


def parameters() -> dict[str, Tensor]:
    """One of each kind."""
    return {
        "planes": wh.lsh.random_planes(40, 70, seed=2026),
        "signs": wh.lsh.random_planes(40, 70, seed=2026, kind="rademacher"),
        "directions": wh.lsh.random_directions(40, 20, seed=2026),
        "cauchy": wh.lsh.random_directions(40, 20, seed=2026, kind="cauchy"),
        "offsets": wh.lsh.random_offsets(20, 2.5, seed=2026),
    }


def codes() -> dict[str, Tensor]:
    """One of each operator, more for other dtypes and sizes."""
    x, made = fixed(50, 40), parameters()
    planes = made["planes"]
    return {
        "simhash": wh.lsh.simhash(x, planes),
        "simhash float64": wh.lsh.simhash(x.double() / 3, planes),
        "simhash float16": wh.lsh.simhash(x.half(), planes),
        "codes": wh.lsh.simhash_codes(x, planes.view(40, 10, 7)),
        "gray": wh.lsh.simhash_codes(x, planes.view(40, 10, 7), order="gray"),
        "hd3": wh.lsh.hd3_simhash(x / 3, 100, seed=2026),
        "hd3 large": wh.lsh.hd3_simhash(fixed(5, 3000) / 3, 5000, seed=2026),
        "cross": wh.lsh.cross_polytope(x / 3, tables=4, seed=2026),
        "cross large": wh.lsh.cross_polytope(fixed(5, 3000) / 3, tables=4, seed=2026),
        "pstable": wh.lsh.pstable(x, made["directions"], made["offsets"], 2.5),
    }


def test_golden_parameters() -> None:
    assert {name: digest(x) for name, x in parameters().items()} == GOLDEN_PARAMETERS


def test_golden_codes() -> None:
    assert {name: digest(x) for name, x in codes().items()} == GOLDEN_CODES


def test_golden_rows() -> None:
    x = fixed(3, 40)
    assert wh.lsh.simhash(x, wh.lsh.random_planes(40, 24, seed=0)).tolist() == [
        [147, 51, 128],
        [61, 221, 50],
        [45, 54, 205],
    ]
    assert wh.lsh.cross_polytope(x, tables=5, seed=0).tolist() == [
        [102, 81, 26, 121, 23],
        [112, 68, 69, 124, 84],
        [22, 126, 124, 38, 114],
    ]
    assert wh.lsh.hd3_simhash(x, 24, seed=0).tolist() == [[71, 152, 27], [117, 50, 99], [155, 207, 208]]


# ---- Parameters -----------------------------------------------------------------------------------------------------
def test_the_generator_of_torch_is_not_touched() -> None:
    before = torch.get_rng_state()
    parameters()
    wh.lsh.cross_polytope(fixed(3, 40), tables=2, seed=123456)
    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_are_the_callers_own() -> None:
    first = wh.lsh.random_planes(4, 5, seed=9)
    kept = first.clone()
    first.zero_()
    assert torch.equal(wh.lsh.random_planes(4, 5, seed=9), kept)
    assert not torch.equal(wh.lsh.random_planes(4, 5, seed=10), kept)
    assert not torch.equal(wh.lsh.random_directions(4, 5, seed=9), kept)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: wh.lsh.random_planes(-1, 3, seed=0), ValueError, "^dim must be at least 0, got -1"),
        (lambda: wh.lsh.random_planes(3, 2.0, seed=0), TypeError, "^bits must be an int, got float"),
        (lambda: wh.lsh.random_planes(3, 2, seed=-5), ValueError, "^seed must be at least 0"),
        (lambda: wh.lsh.random_planes(3, 2, seed=0, kind="normal"), ValueError, "^kind must be 'gaussian' or 'rademac"),
        (lambda: wh.lsh.random_planes(3, 2, seed=0, kind=None), ValueError, "^kind must be .*got None"),
        (lambda: wh.lsh.random_directions(3, -2, seed=0), ValueError, "^hashes must be at least 0"),
        (lambda: wh.lsh.random_directions(3, 2, seed=0, kind="levy"), ValueError, "^kind must be 'gaussian' or 'cauc"),
        (lambda: wh.lsh.random_offsets(3, 0.0, seed=0), ValueError, "^width must be above 0 and finite"),
        (lambda: wh.lsh.random_offsets(3, torch.nan, seed=0), ValueError, "^width must be above 0 and finite"),
        (lambda: wh.lsh.random_offsets(True, 1.0, seed=0), TypeError, "^hashes must be an int, got bool"),
        (lambda: rotation_size(2**30 + 1), ValueError, r"^x must have at most 1073741824 dimensions"),
    ],
)
def test_wrong_parameters_are_refused(call: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()  # type: ignore[operator]


# ---- Edges ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_zeros_give_ones_and_nan_zeros(dtype: torch.dtype) -> None:
    x = torch.tensor([[0.0, 0.0], [-0.0, -0.0], [torch.nan, 1.0], [torch.inf, 1.0], [-torch.inf, torch.inf]]).to(dtype)
    planes = torch.tensor([[1.0] * 9, [1.0] * 9])
    assert wh.lsh.simhash(x, planes).tolist() == [[255, 1], [255, 1], [0, 0], [255, 1], [0, 0]]
    assert wh.lsh.simhash_codes(x, planes[:, None]).flatten().tolist() == [511, 511, 0, 511, 0]
    assert wh.lsh.hd3_simhash(x, 9, seed=1)[:3].tolist() == [[255, 1], [255, 1], [0, 0]]
    assert wh.lsh.cross_polytope(x, tables=2, seed=1)[:3].tolist() == [[0, 0]] * 3
    least = -(2**31)
    floors = wh.lsh.pstable(x, planes[:, :1], torch.zeros(1), 0.5).flatten().tolist()
    assert floors == [0, 0, least, 2**31 - 1, least]


def test_without_dimensions_all_bits_are_one() -> None:
    x = torch.zeros(2, 0)
    assert wh.lsh.simhash(x, torch.zeros(0, 11)).tolist() == [[255, 7]] * 2
    assert wh.lsh.simhash_codes(x, torch.zeros(0, 1, 30)).tolist() == [[2**30 - 1]] * 2
    assert wh.lsh.hd3_simhash(x, 11, seed=0).tolist() == [[255, 7]] * 2
    assert wh.lsh.cross_polytope(x, tables=1, seed=0).tolist() == [[0]] * 2
    assert wh.lsh.pstable(x, torch.zeros(0, 1), torch.tensor([3.5]), 1.0).tolist() == [[3]] * 2


def test_scales_of_rotations_neither_over_nor_underflow() -> None:
    """Signs of the largest and the smallest numbers are those of ordinary ones."""
    x = fixed(8, 100)
    ordinary = wh.lsh.hd3_simhash(x, 128, seed=3)
    for factor in (2.0**100, 2.0**-100):
        assert torch.equal(wh.lsh.hd3_simhash(x * factor, 128, seed=3), ordinary)
        assert torch.equal(
            wh.lsh.cross_polytope(x * factor, tables=2, seed=3), wh.lsh.cross_polytope(x, tables=2, seed=3)
        )


def test_gray_order_is_a_bijection_and_neighbours_differ_by_one_bit() -> None:
    bits = 7
    everything = torch.arange(2**bits)[:, None] >> torch.arange(bits) & 1
    planes = torch.eye(bits)[:, None]
    x = everything.float() - 0.5
    binary = wh.lsh.simhash_codes(x, planes).flatten()
    ranks = wh.lsh.simhash_codes(x, planes, order="gray").flatten().long()
    assert binary.tolist() == list(range(2**bits))
    assert ranks.sort().values.tolist() == list(range(2**bits))
    in_order = torch.empty_like(binary).scatter_(0, ranks, binary)
    steps = (in_order[1:] ^ in_order[:-1]).tolist()
    assert all(step & (step - 1) == 0 and step for step in steps)


def test_more_rotations_extend_the_code() -> None:
    x = fixed(6, 20)
    long = wh.lsh.hd3_simhash(x, 200, seed=4)
    assert torch.equal(wh.lsh.hd3_simhash(x, 64, seed=4), long[:, :8])
    tables = wh.lsh.cross_polytope(x, tables=5, seed=4)
    assert torch.equal(wh.lsh.cross_polytope(x, tables=2, seed=4), tables[:, :2])


# ---- Kinds of arrays, peers, the compiler ---------------------------------------------------------------------------
def test_numpy_in_numpy_out() -> None:
    x, planes = fixed(5, 8).numpy(), wh.lsh.random_planes(8, 12, seed=0)
    sums = x @ planes.numpy()
    out = wh.lsh.simhash(x, planes.numpy())
    assert isinstance(out, np.ndarray)
    assert np.array_equal(out, np.packbits(sums >= 0, axis=1, bitorder="little"))
    for other in (
        wh.lsh.simhash_codes(x, planes[:, None]),
        wh.lsh.hd3_simhash(x, 9, seed=0),
        wh.lsh.cross_polytope(x, tables=2, seed=0),
        wh.lsh.pstable(x, planes, np.zeros(12, np.float32), 1.0),
    ):
        assert isinstance(other, np.ndarray)


def test_faiss_gives_the_same_codes() -> None:
    """Away from the planes, on which its sums in another order may differ."""
    faiss = pytest.importorskip("faiss")
    x = vectors(2000, 48)
    index = faiss.IndexLSH(48, 64, True, False)
    planes = faiss.vector_to_array(index.rrot.A).reshape(64, 48).T.copy()
    ours = wh.hamming.unpack(wh.lsh.simhash(x.numpy(), planes), 64)
    theirs = wh.hamming.unpack(index.sa_encode(x.numpy()), 64)
    near = np.abs(x.double().numpy() @ planes.astype(np.float64)) < 1e-5
    assert (ours == theirs)[~near].all()


def test_one_graph_with_its_parameters() -> None:
    """Seeds become constants of the graph; nothing of NumPy is traced."""

    def everything(x: Tensor) -> tuple[Tensor, ...]:
        planes = wh.lsh.random_planes(40, 70, seed=2026)
        ways, offsets = wh.lsh.random_directions(40, 20, seed=1), wh.lsh.random_offsets(20, 2.5, seed=1)
        return (
            wh.lsh.simhash(x, planes),
            wh.lsh.simhash_codes(x, planes.view(40, 10, 7), order="gray"),
            wh.lsh.hd3_simhash(x, 100, seed=2026),
            wh.lsh.cross_polytope(x, tables=4, seed=2026),
            wh.lsh.pstable(x, ways, offsets, 2.5),
        )

    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
    for rows in (5, 9):
        x = fixed(rows, 40)
        assert all(torch.equal(a, b) for a, b in zip(compiled(x), everything(x), strict=True))
    torch._dynamo.reset()


def test_vmap_over_parameters() -> None:
    x, planes = vectors(3, 5, 8), torch.stack([wh.lsh.random_planes(8, 11, seed=s) for s in range(3)])
    out = torch.func.vmap(wh.lsh.simhash)(x, planes)
    assert torch.equal(out, torch.stack([reference.simhash(a, b) for a, b in zip(x, planes, strict=True)]))
    assert torch.func.vmap(wh.lsh.simhash, in_dims=(None, 0))(x[0], planes[:0]).shape == (0, 5, 2)
