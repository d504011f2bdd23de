# SPDX-License-Identifier: Apache-2.0
"""SparseIndex: answers are those of the dense product, whatever the order of additions; files; refusals."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash.spgemm import csr

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def sparse(rows: int, columns: int, density: float, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(rows, columns, generator=generator) < density
    # Quarters of small integers: sums are exact in every dtype, and many are equal.
    values = torch.randint(1, 9, (rows, columns), generator=generator).to(dtype) / 4
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), present.sum(1).cumsum(0)])
    return csr.build(crow, present.nonzero()[:, 1], values[present], (rows, columns))


def made(crow: list[int], col: list[int], values: list[float], columns: int) -> Tensor:
    """As it is given, right or wrong."""
    parts = (torch.tensor(crow), torch.tensor(col), torch.tensor(values))
    return csr.build(*parts, (len(crow) - 1, columns))


def dense_answer(queries: Tensor, documents: Tensor, k: int) -> tuple[Tensor, Tensor]:
    scores = queries.to_dense().double() @ documents.to_dense().double().T
    shared = (queries.to_dense() != 0).double() @ (documents.to_dense() != 0).double().T > 0
    scores = torch.where(shared, scores, -torch.inf)
    values, indices = torch.sort(scores, dim=1, descending=True, stable=True)
    found = scores.new_full((len(scores), k), -torch.inf)
    where = indices.new_full((len(scores), k), -1)
    width = min(k, scores.shape[1])
    found[:, :width], where[:, :width] = values[:, :width], indices[:, :width]
    return found.to(queries.dtype), torch.where(found == -torch.inf, -1, where)


def assert_same(actual: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for got, wanted in zip(actual, expected, strict=True):
        assert got.dtype == wanted.dtype
        assert torch.equal(got, wanted)


def rows_of(x: Tensor, begin: int, end: int) -> Tensor:
    return csr.build(*_parts(x.to_dense()[begin:end]), (end - begin, x.shape[1]))


def _parts(dense: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    present = dense != 0
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), present.sum(1).cumsum(0)])
    return crow, present.nonzero()[:, 1], dense[present]


@pytest.mark.parametrize("dtype", DTYPES)
def test_search(dtype: torch.dtype) -> None:
    documents, queries = sparse(300, 80, 0.1, 0, dtype), sparse(12, 80, 0.15, 1, dtype)
    index = wh.retrieval.SparseIndex(documents)
    assert (len(index), index.vocabulary, index.dtype, index.entries) == (300, 80, dtype, documents._nnz())
    for k in (0, 1, 7, 300, 400):
        assert_same(index.search(queries, k), dense_answer(queries, documents, k))


@pytest.mark.parametrize("sizes", [[1, 1, 1, 7], [0, 3, 0, 120], [150, 1], [2] * 30])
def test_additions(sizes: list[int]) -> None:
    """In whatever pieces documents come, searched between or not, the answers are those of all of them."""
    total = 100 + sum(sizes)
    everything, queries = sparse(total, 60, 0.1, 2), sparse(9, 60, 0.2, 3)
    for between in (False, True):
        index = wh.retrieval.SparseIndex(rows_of(everything, 0, 100))
        count = 100
        for size in sizes:
            index.add(rows_of(everything, count, count + size))
            count += size
            assert len(index) == count
            if between:
                assert_same(index.search(queries, 10), dense_answer(queries, rows_of(everything, 0, count), 10))
        assert_same(index.search(queries, 10), dense_answer(queries, everything, 10))
        assert torch.equal(index.documents.to_dense(), everything.to_dense())
        assert index.entries == everything._nnz()


def test_starts_empty() -> None:
    documents = sparse(5, 20, 0.5, 4)
    index = wh.retrieval.SparseIndex(rows_of(documents, 0, 0))
    queries = sparse(2, 20, 0.5, 5)
    assert_same(index.search(queries, 2), dense_answer(queries, rows_of(documents, 0, 0), 2))
    index.add(documents)
    assert_same(index.search(queries, 3), dense_answer(queries, documents, 3))
    assert index.search(rows_of(queries, 0, 0), 3)[0].shape == (0, 3)


def test_nan_and_infinite_scores_of_later_documents() -> None:
    """NaN is last among scores, whichever part it comes from, and before nothing at all."""
    inf, nan = torch.inf, torch.nan
    weights = torch.tensor([1.0, nan, -inf, 2.0, nan, -inf, 1.0, inf])
    rows = csr.build(torch.arange(9), torch.zeros(8, dtype=torch.int64), weights, (8, 1))
    query = csr.build(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1))
    whole = wh.retrieval.SparseIndex(rows).search(query, 10)
    assert whole[1].tolist() == [[7, 3, 0, 6, 2, 5, 1, 4, -1, -1]]
    # A first document long enough that the others stay apart.
    grown = wh.retrieval.SparseIndex(sparse(500, 1, 1.0, 0))
    grown.add(rows)
    scores, indices = grown.search(query, 510)
    assert [i - 500 for i in indices[0].tolist() if i >= 500] == [7, 3, 0, 6, 2, 5, 1, 4]
    assert indices[0, -2:].tolist() == [-1, -1]
    assert scores[0].isnan().sum() == 2


def test_unsorted_and_repeated_terms_are_added_up() -> None:
    documents = made([0, 3, 5], [4, 1, 4, 2, 2], [1.0, 2, 3, 4, 5], 5)
    queries = made([0, 3], [4, 2, 4], [1.0, 1, 1], 5)
    for index in (wh.retrieval.SparseIndex(documents), wh.retrieval.SparseIndex(rows_of(documents, 0, 0))):
        if not len(index):
            index.add(documents)
        scores, indices = index.search(queries, 2)
        assert indices.tolist() == [[1, 0]]
        assert scores.tolist() == [[9, 8]]


def test_later_changes_of_what_was_given_do_not_matter() -> None:
    documents, queries = sparse(50, 20, 0.3, 6), sparse(3, 20, 0.3, 7)
    index = wh.retrieval.SparseIndex(rows_of(documents, 0, 40))
    more = rows_of(documents, 40, 50)
    index.add(more)
    more.values().zero_()
    more.col_indices().zero_()
    assert_same(index.search(queries, 5), dense_answer(queries, documents, 5))


def test_between_graphs_of_the_compiler() -> None:
    documents, queries = sparse(20, 10, 0.5, 1), sparse(3, 10, 0.5, 2)

    def search(queries: Tensor) -> Tensor:
        index = wh.retrieval.SparseIndex(documents)
        index.add(documents)
        return index.search(queries, 3)[0] * 2

    assert torch.equal(torch.compile(search, backend="aot_eager")(queries), search(queries))


def test_no_gradient() -> None:
    documents, queries = sparse(20, 10, 0.5, 8), sparse(2, 10, 0.5, 9).requires_grad_()
    scores, _ = wh.retrieval.SparseIndex(documents).search(queries, 3)
    assert not scores.requires_grad


def test_state_copies_and_files(tmp_path: Path) -> None:
    documents, queries = sparse(70, 30, 0.2, 10), sparse(4, 30, 0.3, 11)
    index = wh.retrieval.SparseIndex(rows_of(documents, 0, 66))
    index.add(rows_of(documents, 66, 70))
    expected = dense_answer(queries, documents, 6)
    other = wh.retrieval.SparseIndex(rows_of(documents, 0, 1))
    other.load_state_dict(index.state_dict())
    index.save(tmp_path / "a.index")
    loaded = wh.retrieval.SparseIndex.load(tmp_path / "a.index", device="cpu")
    for each in (other, loaded, copy.deepcopy(index), pickle.loads(pickle.dumps(index))):
        assert len(each) == 70
        assert_same(each.search(queries, 6), expected)
    loaded.add(documents)
    assert len(loaded) == 140
    assert len(index) == 70
    assert repr(index) == "SparseIndex(vocabulary=30, torch.float32, device='cpu'), 70 documents"


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_an_index_that_was_just_added_to(way: Callable[[wh.retrieval.SparseIndex], Any]) -> None:
    documents, queries = sparse(20, 30, 0.3, 1), sparse(4, 30, 0.3, 2)
    index = wh.retrieval.SparseIndex(documents)
    index.add(documents)
    other = way(index)
    other.add(documents)
    assert (len(index), len(other)) == (40, 60)
    assert_same(
        index.search(queries, 7), dense_answer(queries, torch.cat([documents.to_dense()] * 2).to_sparse_csr(), 7)
    )
    assert_same(
        other.search(queries, 7), dense_answer(queries, torch.cat([documents.to_dense()] * 3).to_sparse_csr(), 7)
    )


def test_threads_add_and_search_at_once() -> None:
    documents, queries = sparse(20, 30, 0.3, 1), sparse(4, 30, 0.3, 2)
    index = wh.retrieval.SparseIndex(documents)

    def work(_: int) -> None:
        for _ in range(30):
            index.add(documents)
            index.search(queries, 3)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(index) == index.documents.shape[0] == 20 * (1 + 6 * 30)


@pytest.mark.parametrize("dtype", DTYPES)
def test_files_of_every_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    documents, queries = sparse(20, 10, 0.5, 12, dtype), sparse(3, 10, 0.5, 13, dtype)
    index = wh.retrieval.SparseIndex(documents)
    index.save(tmp_path / "x")
    assert_same(wh.retrieval.SparseIndex.load(tmp_path / "x").search(queries, 4), index.search(queries, 4))


def test_damaged_files(tmp_path: Path) -> None:
    index = wh.retrieval.SparseIndex(sparse(20, 10, 0.5, 14))
    path = tmp_path / "x"
    index.save(path)
    whole = path.read_bytes()
    for damaged in (whole[:-5], whole[:100], b"", whole[:200] + b"\xff" + whole[201:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="x: "):
            wh.retrieval.SparseIndex.load(path)
    wh.retrieval.HammingIndex(8).save(path)
    with pytest.raises(ValueError, match="holds a hamming index, expected sparse"):
        wh.retrieval.SparseIndex.load(path)


def test_a_file_that_is_whole_but_wrong(tmp_path: Path) -> None:
    """What a checksum cannot see: columns that no document has."""
    state = wh.retrieval.SparseIndex(sparse(20, 10, 0.5, 15)).state_dict()
    for name, change in (("col", 99), ("crow", 5), ("documents", 3), ("vocabulary", 4)):
        fields = {"vocabulary": state["vocabulary"], "documents": state["documents"]}
        arrays = {x: state[x].clone() for x in ("crow", "col", "values")}
        if name in fields:
            fields[name] = change
        else:
            arrays[name][0] = change
        wh.retrieval.storage.save_arrays(tmp_path / "x", "sparse", fields, arrays)
        with pytest.raises(ValueError, match="x: damaged: state"):
            wh.retrieval.SparseIndex.load(tmp_path / "x")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = wh.retrieval.SparseIndex(sparse(20, 10, 0.5, 16))
    index.save(tmp_path / "x")
    before = (tmp_path / "x").read_bytes()
    index.add(sparse(5, 10, 0.5, 17))
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        index.save(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_refusals() -> None:
    index = wh.retrieval.SparseIndex(sparse(20, 10, 0.5, 18))
    new = wh.retrieval.SparseIndex
    with pytest.raises(TypeError, match=r"documents must be a torch.sparse_csr tensor.*to_sparse_csr"):
        new(torch.zeros(3, 4))
    with pytest.raises(TypeError, match="documents must have values of float16"):
        new(made([0, 1], [0], [1], 2))
    with pytest.raises(ValueError, match=r"documents must have column indices in \[0, 2\)"):
        new(made([0, 1], [5], [1.0], 2))
    with pytest.raises(ValueError, match="device must be the CPU"):
        new(sparse(2, 2, 0.5, 0), device="meta")
    with pytest.raises(ValueError, match=r"documents must be \[rows, 10\] as the index"):
        index.add(sparse(2, 9, 0.5, 0))
    with pytest.raises(TypeError, match=r"documents must have values of the index's dtype, torch\.float32"):
        index.add(sparse(2, 10, 0.5, 0, torch.float64))
    with pytest.raises(TypeError, match=r"queries must be a torch\.sparse_csr tensor"):
        index.search(torch.ones(1, 10), 3)
    with pytest.raises(ValueError, match=r"queries must be \[rows, 10\] as the index"):
        index.search(sparse(2, 9, 0.5, 0), 3)
    with pytest.raises(ValueError, match=r"queries must have column indices in \[0, 10\)"):
        index.search(made([0, 1], [11], [1.0], 10), 3)
    for bad, error in ((-1, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="k must be"):
            index.search(sparse(2, 10, 0.5, 0), bad)
    with pytest.raises(TypeError, match="state must be a dict"):
        index.load_state_dict([])
    with pytest.raises(ValueError, match="state lacks col, crow, documents, values"):
        index.load_state_dict({"vocabulary": 10})
    state = index.state_dict()
    with pytest.raises(ValueError, match=r"state\['crow'\] must hold data, got a tensor on the meta device"):
        index.load_state_dict({**state, "crow": state["crow"].to("meta")})
    with pytest.raises(TypeError, match=r"state\['values'\] must be a dense tensor, got layout torch.sparse_coo"):
        index.load_state_dict({**state, "values": state["values"].to_sparse()})
    with pytest.raises(ValueError, match="state holds 4 terms, this index has 10"):
        index.load_state_dict(new(sparse(2, 4, 0.5, 0)).state_dict())
    assert len(index) == 20


# ---- Rows of (ids, weights) ------------------------------------------------------------------------------------------
def test_rows_of_lists() -> None:
    rows = wh.retrieval.sparse_rows([[3, 1], [], (2, 2, 0)], [[0.5, 1], [], [1, 2, 4]], 4)
    assert rows.layout == torch.sparse_csr
    assert rows.crow_indices().tolist() == [0, 2, 2, 4]
    assert rows.col_indices().tolist() == [1, 3, 0, 2]
    assert rows.values().tolist() == [1, 0.5, 4, 3]
    assert rows.dtype == torch.float32
    assert wh.retrieval.sparse_rows([[1], [0, 2]], None, 3).to_dense().tolist() == [[0, 1, 0], [1, 0, 1]]
    assert wh.retrieval.sparse_rows([], [], 3).shape == (0, 3)
    assert wh.retrieval.sparse_rows([[]], None, 0).shape == (1, 0)


def test_rows_of_tensors_and_arrays() -> None:
    ids = [torch.tensor([2, 0], dtype=torch.int32), torch.tensor([1]).numpy()]
    weights = [torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([3.0], dtype=torch.float64).numpy()]
    rows = wh.retrieval.sparse_rows(ids, weights, 3)
    assert rows.dtype == torch.float64
    assert rows.to_dense().tolist() == [[2, 0, 1], [0, 3, 0]]
    assert wh.retrieval.sparse_rows(ids, weights, 3, dtype=torch.float16).dtype == torch.float16


@pytest.mark.parametrize(
    ("ids", "weights", "columns", "error", "text"),
    [
        ([[0, 5]], None, 5, IndexError, r"ids must be in \[0, 5\), got 5"),
        ([[-1]], None, 5, IndexError, r"ids must be in \[0, 5\), got -1"),
        ([[0.5]], None, 5, TypeError, r"ids\[0\] must be integers, got torch.float32"),
        ([["a"]], None, 5, TypeError, r"ids\[0\] must be numbers"),
        ([[[0]]], None, 5, ValueError, r"ids\[0\] must be 1-D"),
        ([3], None, 5, TypeError, r"ids\[0\] must be"),
        ("abc", None, 5, TypeError, "ids must be a sequence of rows, got str"),
        ([[0], [1]], [[1.0]], 5, ValueError, "weights must have as many rows as ids, 2, got 1"),
        ([[0], [1, 2]], [[1.0], [1.0]], 5, ValueError, r"weights\[1\] must have 2 numbers, as ids\[1\] has, got 1"),
        ([[0]], [[1j]], 5, TypeError, r"weights\[0\] must be real numbers, got torch.complex64"),
        ([[0]], [[1.0]], -1, ValueError, "columns must be at least 0"),
        ([[0]], [[1.0]], 2.0, TypeError, "columns must be an int"),
    ],
)
def test_bad_rows(ids: object, weights: object, columns: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        wh.retrieval.sparse_rows(ids, weights, columns)


def test_bad_dtype() -> None:
    with pytest.raises(TypeError, match=r"dtype must be a floating torch.dtype"):
        wh.retrieval.sparse_rows([[0]], None, 1, dtype=torch.int64)
