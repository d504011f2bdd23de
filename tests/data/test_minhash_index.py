# SPDX-License-Identifier: Apache-2.0
"""MinHashIndex against a comparison of all signatures; growth, state, files."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash.data import runs
from warphash.retrieval import storage

Index = wh.data.MinHashIndex


def expected(index: Index, queries: list[str]) -> list[list[int]]:
    """By brute force over all signatures."""
    other = Index(ngram=index.ngram, unit=index.unit, num_perm=index.num_perm, seed=index.seed)
    other.add(queries)
    share = (other.signatures[:, None] == index.signatures).sum(2).double() / index.num_perm
    share[(other.signatures == -1).all(1)] = 0
    return [(row >= index.threshold).nonzero().squeeze(1).tolist() for row in share]


def lists(found: list[Tensor]) -> list[list[int]]:
    assert all(x.dtype == torch.int64 for x in found)
    return [x.tolist() for x in found]


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 0.8, 0.93, 1.0])
@pytest.mark.parametrize("num_perm", [1, 16, 100, 128])
def test_answers_are_exact_for_the_estimate(texts: list[str], threshold: float, num_perm: int) -> None:
    index = Index(threshold=threshold, num_perm=num_perm)
    index.add(texts[:200])
    queries = texts[150:]
    assert lists(index.query(queries)) == expected(index, queries)


def test_bands_miss_nothing() -> None:
    for num_perm in (1, 2, 64, 100, 128, 200):
        for percent in range(1, 101):
            index = Index(threshold=percent / 100, num_perm=num_perm)
            sketching = index._sketching
            bands, rows = sketching.bands_for_estimate()
            least = sketching.least_equal()
            assert least / num_perm >= index.threshold
            assert least == 0 or (least - 1) / num_perm < index.threshold
            assert bands > num_perm - least
            assert bands * rows <= num_perm


@pytest.mark.parametrize("step", [1, 7, 64])
def test_growth_changes_no_answer(texts: list[str], step: int) -> None:
    index = Index()
    for begin in range(0, len(texts), step):
        index.add(texts[begin : begin + step])
        if begin % 3:
            index.query(texts[:2])
    assert len(index) == len(texts)
    assert lists(index.query(texts)) == expected(index, texts)
    sizes = [len(run) for run in index._tables._runs]
    assert sum(sizes) == len(texts)
    assert all(a >= 2 * b for a, b in itertools.pairwise(sizes))


def test_steps_of_few_answers_change_nothing(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_MOST_MET", 10)
    monkeypatch.setattr("warphash.data.index._COMPARED", 3)
    index = Index(threshold=0.3)
    index.add(texts)
    assert lists(index.query(texts)) == expected(index, texts)


def test_estimates_agree_with_the_true_jaccard(texts: list[str]) -> None:
    index = Index(num_perm=1024)
    index.add(texts)
    found = {(i, j) for i, row in enumerate(index.query(texts)) for j in row.tolist() if i < j}
    sure, possible = (
        set(map(tuple, wh.data.deduplicate(texts, threshold=t).pairs.tolist())) for t in (0.85, 0.75)
    )  # fmt: skip
    assert sure <= found <= possible


def test_texts_without_units_and_copies() -> None:
    index = Index()
    assert lists(index.query(["a"])) == [[]]
    index.add(["", "same text", "?", "Same TEXT!", "another one"])
    assert lists(index.query(["", "same text", "nothing like it", "?"])) == [[], [1, 3], [], []]
    assert index.query([]) == []
    index.add([])
    assert len(index) == 5


def test_many_copies_in_one_bucket() -> None:
    index = Index()
    index.add(["the same again"] * 20_000)
    found = index.query(["the same again", "another"])
    assert torch.equal(found[0], torch.arange(20_000))
    assert len(found[1]) == 0


def test_options_are_told() -> None:
    index = Index(threshold=0.7, ngram=3, unit="char", num_perm=64, seed=5)
    assert (index.threshold, index.ngram, index.unit, index.num_perm, index.seed) == (0.7, 3, "char", 64, 5)
    assert repr(index) == "MinHashIndex(threshold=0.7, ngram=3, unit='char', num_perm=64, seed=5), 0 texts"


def test_an_error_leaves_the_index_as_it_was(texts: list[str]) -> None:
    index = Index()
    index.add(texts)

    def failing() -> Iterator[str]:
        yield from texts
        raise KeyError("source")

    for bad in (["a", 5], "one text", None):
        with pytest.raises(TypeError, match=r"^texts must be"):
            index.add(bad)
        with pytest.raises(TypeError, match=r"^texts must be"):
            index.query(bad)
    with pytest.raises(KeyError):
        index.add(failing())
    assert len(index) == len(texts)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"threshold": 0.0}, ValueError, "^threshold must be above 0"),
        ({"ngram": 0}, ValueError, "^ngram must be at least 1"),
        ({"unit": "x"}, ValueError, "^unit must be one of"),
        ({"num_perm": 0}, ValueError, "^num_perm must be at least 1"),
        ({"seed": 2**63}, ValueError, "^seed must be below"),
    ],
)
def test_bad_options(options: dict[str, object], error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        Index(**options)


# ---- State and files ------------------------------------------------------------------------------------------------
@pytest.fixture
def index(texts: list[str]) -> Index:
    index = Index(threshold=0.6, ngram=2, num_perm=96, seed=3)
    index.add(texts[:90])
    index.query(texts[:1])
    index.add(texts[90:150])
    return index


def test_state(index: Index, texts: list[str]) -> None:
    state = index.state_dict()
    assert state["scheme"] == "affine32"
    other = Index(threshold=0.6, ngram=2, num_perm=96, seed=3)
    other.load_state_dict(state)
    other.add(texts[150:])
    index.add(texts[150:])
    assert lists(other.query(texts)) == lists(index.query(texts))
    for copied in (copy.deepcopy(index), pickle.loads(pickle.dumps(index))):
        assert lists(copied.query(texts)) == lists(index.query(texts))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scheme": "mersenne61"}, "^state has scheme 'mersenne61', this index has 'affine32'"),
        ({"seed": 4}, "^state has seed 4, this index has 3"),
        ({"ngram": 5}, "^state has ngram 5, this index has 2"),
        ({"unit": "char"}, "^state has unit 'char'"),
        ({"num_perm": 128}, "^state has num_perm 128"),
        ({"seed": True}, "^state has seed True"),
        ({"signatures": torch.zeros(3, 95, dtype=torch.int32)}, r"^state must have signatures int32 \[N, 96\]"),
        ({"signatures": torch.zeros(3, 96)}, r"^state must have signatures int32 \[N, 96\]"),
    ],
)
def test_states_that_were_made_otherwise_are_refused(index: Index, change: dict[str, object], text: str) -> None:
    before = index.signatures.clone()
    with pytest.raises(ValueError, match=text):
        index.load_state_dict({**index.state_dict(), **change})
    assert torch.equal(index.signatures, before)


def test_incomplete_states_are_refused(index: Index) -> None:
    for name in ("scheme", "seed", "signatures"):
        state = index.state_dict()
        del state[name]
        with pytest.raises(ValueError, match=f"^state lacks {name}"):
            index.load_state_dict(state)
    with pytest.raises(TypeError, match=r"^state must be a dict"):
        index.load_state_dict([1])
    with pytest.raises(TypeError, match=r"^signatures must be a torch tensor"):
        index.load_state_dict({**index.state_dict(), "signatures": [1]})


def test_file(index: Index, texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "texts.index"
    index.save(path)
    loaded = Index.load(path)
    assert repr(loaded) == repr(index)
    assert lists(loaded.query(texts)) == lists(index.query(texts))
    assert Index.load(path, seed=3, ngram=2, unit="word", num_perm=96, threshold=0.9).threshold == 0.9
    for option, value in (("seed", 0), ("ngram", 5), ("unit", "char"), ("num_perm", 128)):
        with pytest.raises(ValueError, match=rf"texts.index: has {option} .*, expected {value!r}"):
            Index.load(path, **{option: value})
    with pytest.raises(ValueError, match=r"^threshold must be"):
        Index.load(path, threshold=2.0)
    Index(num_perm=4).save(path)
    assert len(Index.load(path)) == 0


def test_damaged_and_foreign_files_are_refused(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "texts.index"
    index.save(path)
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"x", whole[:200] + b"\1" + whole[201:], b"", b"text", whole[:10]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"texts\.index: "):
            Index.load(path)
    fields = {name: value for name, value in index.state_dict().items() if name != "signatures"}
    for change, text in (
        ({"scheme": "mersenne61"}, "has scheme 'mersenne61', which this warphash does not make"),
        ({"num_perm": 7}, "damaged"),
        ({"unit": "line"}, "damaged"),
        ({"seed": "3"}, "damaged"),
    ):
        storage.save_arrays(path, "minhash", {**fields, **change}, {"signatures": index.signatures})
        with pytest.raises(ValueError, match=text):
            Index.load(path)
    storage.save_arrays(path, "minhash", {"scheme": "affine32"}, {"signatures": index.signatures})
    with pytest.raises(ValueError, match="damaged"):
        Index.load(path)
    wh.retrieval.HammingIndex(8).save(path)
    with pytest.raises(ValueError, match="holds a hamming index, expected minhash"):
        Index.load(path)


def test_a_failed_save_leaves_the_old_file(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "texts.index"
    index.save(path)
    before = path.read_bytes()
    index.add(["more"])

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        index.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["texts.index"]


def test_another_default_device_decides_nothing(texts: list[str]) -> None:
    index = Index()
    index.add(texts)
    wanted = lists(index.query(texts))
    with torch.device("meta"):
        other = Index()
        other.add(texts)
        assert lists(other.query(texts)) == wanted
