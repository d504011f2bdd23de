# SPDX-License-Identifier: Apache-2.0
"""HammingIndex: both methods against the search functions, whatever the data and the order of additions."""

from __future__ import annotations

import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import warphash as wh
from warphash.retrieval import multi_index


def pack(bits: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.packbits(bits, axis=1, bitorder="little"))


def make_codes(kind: str, count: int, bits: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    if kind == "random":
        return pack(rng.random((count, bits)) < 0.5)
    if kind == "clustered":  # a few centres, a tenth of the bits flipped
        centres = np.random.default_rng(77).random((8, bits)) < 0.5
        return pack(centres[rng.integers(0, 8, count)] ^ (rng.random((count, bits)) < 0.1))
    if kind == "skewed":  # nearly all bits zero: full buckets
        return pack(rng.random((count, bits)) < 0.02)
    assert kind == "equal"
    return pack(np.ones((count, bits), dtype=bool))


KINDS = ("random", "clustered", "skewed", "equal")


@pytest.fixture
def tables_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables for any number of codes, and never the scan."""
    monkeypatch.setattr(multi_index, "SMALLEST", 1)
    monkeypatch.setattr(multi_index, "scan_cost", lambda queries: 1e12)


def assert_same(actual: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> None:
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def make_index(codes: torch.Tensor, bits: int, method: str) -> wh.retrieval.HammingIndex:
    index = wh.retrieval.HammingIndex(bits, method=method)
    index.add(codes)
    return index


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [1, 7, 8, 23, 33, 64, 100, 128, 256])
@pytest.mark.usefixtures("tables_always")
def test_multi_index_equals_scan(kind: str, bits: int) -> None:
    codes, queries = make_codes(kind, 700, bits), make_codes(kind, 9, bits, seed=1)
    if bits > 64 and kind == "random":  # neighbours at half the bits: every flip of a substring would be tried
        queries = codes[:9] ^ make_codes("skewed", 9, bits, seed=2)
    index = make_index(codes, bits, "multi_index")
    near = wh.hamming.topk(queries, codes, 5)[0].max() <= 0.3 * bits or bits <= 23
    for k in (1, 5) if near else ():
        assert_same(index.search(queries, k), wh.hamming.topk(queries, codes, k))
    for radius in (0, 1, 2, 3, 5, 8):
        assert_same(index.range_search(queries, radius), wh.hamming.range_search(queries, codes, radius))


@pytest.mark.parametrize("bits", [1, 12, 20])
@pytest.mark.usefixtures("tables_always")
def test_every_radius_and_every_k(bits: int) -> None:
    codes, queries = make_codes("random", 90, bits), make_codes("random", 4, bits, seed=1)
    index = make_index(codes, bits, "multi_index")
    for radius in (*range(bits + 3), 2**31, 2**70):
        assert_same(index.range_search(queries, radius), wh.hamming.range_search(queries, codes, radius))
    for k in (0, 1, 2, 3, 10, 45, 89, 90, 91, 200):
        assert_same(index.search(queries, k), wh.hamming.topk(queries, codes, k))


@pytest.mark.parametrize("substrings", [1, 2, 3, 4, 5, 7, 21, 22])
@pytest.mark.usefixtures("tables_always")
def test_any_cut_gives_the_same(substrings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_index, "choose_substrings", lambda *_: substrings)
    codes, queries = make_codes("clustered", 600, 22), make_codes("clustered", 6, 22, seed=1)
    index = make_index(codes, 22, "multi_index")
    assert_same(index.search(queries, 7), wh.hamming.topk(queries, codes, 7))
    for radius in range(8):
        assert_same(index.range_search(queries, radius), wh.hamming.range_search(queries, codes, radius))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scan_cost", [0.0, 0.003, 0.02, 0.1])
def test_queries_that_give_up_are_scanned(kind: str, scan_cost: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_index, "SMALLEST", 1)
    monkeypatch.setattr(multi_index, "scan_cost", lambda queries: scan_cost)
    codes = make_codes(kind, 3000, 48)
    queries = torch.cat([codes[::60], make_codes("random", 30, 48, seed=5)])  # some easy, some hard
    index = make_index(codes, 48, "multi_index")
    for count in (1, 10, len(queries)):
        assert_same(index.search(queries[:count], 3), wh.hamming.topk(queries[:count], codes, 3))
        for radius in (1, 6, 14):
            assert_same(
                index.range_search(queries[:count], radius), wh.hamming.range_search(queries[:count], codes, radius)
            )


def test_easy_queries_do_not_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = make_codes("random", 40_000, 64)
    index = make_index(codes, 64, "multi_index")
    expected = wh.hamming.topk(codes[:50], codes, 1), wh.hamming.range_search(codes[:50], codes, 4)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr(multi_index.hamming, "topk", refuse)
    monkeypatch.setattr(multi_index.hamming, "range_search", refuse)
    assert_same(index.search(codes[:50], 1), expected[0])
    assert_same(index.range_search(codes[:50], 4), expected[1])
    with pytest.raises(AssertionError, match="scanned"):
        index.range_search(codes[:50], 40)


@pytest.mark.parametrize("method", ["flat", "multi_index"])
@pytest.mark.usefixtures("tables_always")
def test_additions_between_searches(method: str) -> None:
    codes, queries = make_codes("clustered", 6000, 40), make_codes("clustered", 5, 40, seed=1)
    index = wh.retrieval.HammingIndex(40, method=method)
    count, made = 0, set()
    for size in (0, 1, 2, 50, 0, 700, 3000, 40, 40, 2167):
        index.add(codes[count : count + size])
        count += size
        assert len(index) == count
        assert_same(index.search(queries, 4), wh.hamming.topk(queries, codes[:count], 4))
        assert_same(index.range_search(queries, 6), wh.hamming.range_search(queries, codes[:count], 6))
        made.add(id(index._tables.offsets) if index._tables else None)
    assert torch.equal(index.codes, codes)
    assert method == "flat" or 1 < len(made) < 10  # neither never rebuilt nor at every search


@pytest.mark.parametrize("method", ["flat", "multi_index"])
@pytest.mark.usefixtures("tables_always")
def test_thread_count_does_not_matter(method: str) -> None:
    codes = make_codes("clustered", 5000, 64)
    index = make_index(codes, 64, method)
    expected = index.search(codes[:40], 10), index.range_search(codes[:40], 9)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = make_index(codes, 64, method)
        assert_same(alone.search(codes[:40], 10), expected[0])
        assert_same(alone.range_search(codes[:40], 9), expected[1])
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("method", ["flat", "multi_index"])
@pytest.mark.usefixtures("tables_always")
def test_eight_searches_at_once(method: str) -> None:
    codes = make_codes("clustered", 3000, 64)
    index = make_index(codes, 64, method)  # the threads race for its tables
    expected = wh.hamming.topk(codes[:64], codes, 5)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda i: index.search(codes[8 * i : 8 * i + 8], 5), range(8)))
    assert_same(tuple(torch.cat(part) for part in zip(*parts, strict=True)), expected)


@pytest.mark.parametrize("method", ["flat", "multi_index"])
def test_the_default_device_does_not_matter(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_index, "SMALLEST", 1)
    codes = make_codes("clustered", 2000, 48)
    queries = torch.cat([codes[:40], make_codes("random", 40, 48)])
    expected = wh.hamming.topk(queries, codes, 3), wh.hamming.range_search(queries, codes, 2)
    with torch.device("meta"):
        make_index(codes, 48, method).save(tmp_path / "index")
        index = wh.retrieval.HammingIndex.load(tmp_path / "index")
        actual = index.search(queries, 3), index.range_search(queries, 2)
    assert index.device.type == "cpu"
    for a, b in zip(actual, expected, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("method", ["flat", "multi_index"])
@pytest.mark.usefixtures("tables_always")
def test_masks(method: str) -> None:
    codes, queries = make_codes("clustered", 400, 32), make_codes("clustered", 6, 32, seed=1)
    index = make_index(codes, 32, method)
    for mask in (torch.rand(400) < 0.5, torch.rand(6, 400) < 0.5):
        assert_same(index.search(queries, 5, mask=mask), wh.hamming.topk(queries, codes, 5, mask=mask))
        assert_same(index.range_search(queries, 9, mask=mask), wh.hamming.range_search(queries, codes, 9, mask=mask))


@pytest.mark.parametrize("method", ["flat", "multi_index"])
@pytest.mark.usefixtures("tables_always")
def test_bad_masks(method: str) -> None:
    index = make_index(make_codes("random", 5, 16), 16, method)
    yes = torch.ones(5, dtype=torch.bool)
    for mask, error in (
        (yes.to_sparse(), TypeError),
        (yes.float(), TypeError),
        ([True] * 5, TypeError),
        (yes[:4], ValueError),
        (yes.to("meta"), ValueError),
    ):
        for search in (index.search, index.range_search):
            with pytest.raises(error, match=r"mask must (be|hold)"):
                search(index.codes[:2], 1, mask=mask)


@pytest.mark.parametrize("method", ["flat", "multi_index"])
def test_empty_index(method: str) -> None:
    index = wh.retrieval.HammingIndex(16, method=method)
    distances, indices = index.search(torch.zeros(3, 2, dtype=torch.uint8), 2)
    assert (distances == 2**31 - 1).all()
    assert (indices == -1).all()
    assert distances.shape == (3, 2)
    offsets, distances, indices = index.range_search(torch.zeros(3, 2, dtype=torch.uint8), 16)
    assert offsets.tolist() == [0, 0, 0, 0]
    assert len(distances) == len(indices) == 0
    assert len(index) == 0


@pytest.mark.parametrize("method", ["flat", "multi_index"])
@pytest.mark.usefixtures("tables_always")
def test_no_queries(method: str) -> None:
    index = make_index(make_codes("random", 50, 16), 16, method)
    none = torch.zeros(0, 2, dtype=torch.uint8)
    assert [part.shape for part in index.search(none, 3)] == [(0, 3), (0, 3)]
    assert [part.tolist() for part in index.range_search(none, 3)] == [[0], [], []]


def test_answers_in_the_callers_kind() -> None:
    codes = make_codes("random", 50, 16)
    index = wh.retrieval.HammingIndex(16)
    read_only = codes.numpy().copy()
    read_only.flags.writeable = False
    index.add(read_only)
    expected = index.search(codes, 3)
    actual = index.search(codes.numpy(), 3)
    assert all(isinstance(part, np.ndarray) for part in actual)
    assert_same(tuple(torch.from_numpy(part) for part in actual), expected)
    assert all(isinstance(part, np.ndarray) for part in index.range_search(codes.numpy()[::-1], 3))


def test_the_index_keeps_its_own_copy() -> None:
    codes = make_codes("random", 50, 16)
    index = wh.retrieval.HammingIndex(16)
    index.add(codes)
    expected = codes.clone()
    codes.zero_()
    assert torch.equal(index.codes, expected)


def test_strided_codes() -> None:
    codes = make_codes("random", 50, 24)
    index = wh.retrieval.HammingIndex(24)
    index.add(codes.T.contiguous().T[::2])
    assert_same(index.search(codes.T.contiguous().T, 4), wh.hamming.topk(codes, codes[::2].contiguous(), 4))


@pytest.mark.usefixtures("tables_always")
def test_state_dict_and_copies() -> None:
    codes = make_codes("clustered", 500, 20)
    index = make_index(codes, 20, "multi_index")
    expected = index.search(codes[:5], 6)
    other = wh.retrieval.HammingIndex(20)
    other.add(codes[:3])
    other.load_state_dict(copy.deepcopy(index.state_dict()))
    for same in (other, copy.deepcopy(index), pickle.loads(pickle.dumps(index))):
        assert len(same) == 500
        assert_same(same.search(codes[:5], 6), expected)
        same.add(codes[:9])
        assert len(same) == 509
        assert len(index) == 500
    with pytest.raises(ValueError, match="20 bits"):
        wh.retrieval.HammingIndex(24).load_state_dict(index.state_dict())
    with pytest.raises(TypeError, match=r"state\['bits'\] must be an int"):
        other.load_state_dict({"bits": "20", "codes": codes})
    with pytest.raises(TypeError, match=r"state\['codes'\] must be"):
        other.load_state_dict({"bits": 20, "codes": None})
    with pytest.raises(TypeError, match="state must be a dict"):
        other.load_state_dict(None)
    with pytest.raises(ValueError, match="lacks codes"):
        other.load_state_dict({"bits": 20})


@pytest.mark.parametrize("stored", ["state_dict", "pickle", "deepcopy"])
@pytest.mark.usefixtures("tables_always")
def test_only_codes_are_stored(stored: str) -> None:
    index = wh.retrieval.HammingIndex(64, method="multi_index")
    codes = make_codes("random", 5000, 64)
    index.add(codes)
    index.add(codes[:1])  # doubles the buffer
    index.search(codes[:3], 1)
    if stored == "deepcopy":
        assert copy.deepcopy(index)._buffer.untyped_storage().nbytes() == 8 * 5001
    else:
        file = io.BytesIO()
        torch.save(index.state_dict(), file) if stored == "state_dict" else pickle.dump(index, file)
        assert 8 * 5001 <= len(file.getvalue()) < 8 * 5001 + 4000
    assert_same(index.search(codes[:3], 2), wh.hamming.topk(codes[:3], index.codes, 2))
    index.add(codes)
    assert len(index) == 10_001


def test_numpy_integers_are_integers() -> None:
    index = wh.retrieval.HammingIndex(np.int64(16))
    assert type(index.bits) is int
    index.add(make_codes("random", 9, 16))
    assert_same(index.search(index.codes, np.int32(2)), index.search(index.codes, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"bits": 0}, ValueError, "bits"),
        ({"bits": 8.0}, TypeError, "bits"),
        ({"method": "tree"}, ValueError, "method"),
        ({"bits": 2**40}, ValueError, "bits"),
        ({"bits": 2**70}, ValueError, "bits"),
        ({"bits": "8"}, TypeError, "bits"),
        ({"device": "nope"}, ValueError, "device"),
        ({"device": "meta"}, ValueError, "device"),
        ({"device": "mps"}, ValueError, "device"),
        ({"device": "cuda:99"}, ValueError, "device"),
        ({"device": 5.0}, TypeError, "device"),
    ],
)
def test_bad_construction(arguments: dict[str, object], error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=name):
        wh.retrieval.HammingIndex(**{"bits": 8, **arguments})


@pytest.mark.parametrize("method", ["flat", "multi_index"])
@pytest.mark.usefixtures("tables_always")
def test_bad_codes_and_numbers(method: str) -> None:
    index = make_index(make_codes("random", 50, 12), 12, method)
    good = make_codes("random", 2, 12)
    for name, call in (
        ("codes", index.add),
        ("queries", lambda q: index.search(q, 1)),
        ("queries", lambda q: index.range_search(q, 1)),
    ):
        with pytest.raises(TypeError, match=f"{name} must be packed codes of dtype uint8"):
            call(good.int())
        with pytest.raises(ValueError, match=rf"{name} must be \[N, 2\]"):
            call(torch.zeros(2, 3, dtype=torch.uint8))
        with pytest.raises(ValueError, match=f"{name} must be 2-D"):
            call(good[0])
        with pytest.raises(ValueError, match=f"{name} must hold data"):
            call(good.to("meta"))
        with pytest.raises(TypeError, match=f"{name} must be a dense tensor"):
            call(good.to_sparse())
        with pytest.raises(TypeError, match=f"{name} must be a dense tensor"):
            call(torch.nested.nested_tensor([good[0], good[1]], layout=torch.jagged))
        with pytest.raises(ValueError, match=f"{name} must have zero padding"):
            call(good | torch.tensor([0, 16], dtype=torch.uint8))
        with pytest.raises(TypeError, match=name):
            call([[1, 2]])
    assert len(index) == 50
    with pytest.raises(ValueError, match="k"):
        index.search(good, -1)
    with pytest.raises(ValueError, match="radius"):
        index.range_search(good, -1)
    for value in (1.5, "2", None):
        with pytest.raises((TypeError, ValueError), match="k"):
            index.search(good, value)
        with pytest.raises((TypeError, ValueError), match="radius"):
            index.range_search(good, value)


@pytest.mark.cuda
@pytest.mark.parametrize("method", ["flat", "multi_index"])
def test_cuda(method: str) -> None:
    codes = make_codes("clustered", 20_000, 64)
    index = wh.retrieval.HammingIndex(64, method=method, device="cuda")
    index.add(codes[:5])
    index.add(codes[5:].cuda())
    assert index.codes.is_cuda
    expected = wh.hamming.topk(codes[:30], codes, 5), wh.hamming.range_search(codes[:30], codes, 8)
    assert_same(index.search(codes[:30], 5), expected[0])
    assert all(part.is_cuda for part in index.search(codes[:30].cuda(), 5))
    assert_same(tuple(part.cpu() for part in index.range_search(codes[:30].cuda(), 8)), expected[1])
