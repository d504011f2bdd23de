# SPDX-License-Identifier: Apache-2.0
"""SparseIndex: a growing collection of sparse vectors and exact searches for the largest inner products."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import _checks, spgemm
from ..spgemm import csr
from .storage import PathLike, load_arrays, save_arrays

KIND = "sparse"
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_DOCUMENTS = 2**31 - 1
# Later documents are searched by themselves until they hold more than this share of the entries.
LATER_SHARE = 8


@dataclasses.dataclass(frozen=True)
class Postings:
    """For each term the documents that have it, ascending, with their weights: CSR [vocabulary, documents]."""

    crow: Tensor
    col: Tensor
    values: Tensor
    documents: int

    @property
    def entries(self) -> int:
        """Of all terms."""
        return len(self.col)

    @property
    def vocabulary(self) -> int:
        """Terms."""
        return len(self.crow) - 1

    def tensor(self) -> Tensor:
        """As a CSR tensor over the same memory."""
        return csr.build(self.crow, self.col, self.values, (self.vocabulary, self.documents))

    def to(self, device: torch.device, copy: bool = False) -> Postings:
        """On a device."""
        crow, col, values = (x.to(device, copy=copy) for x in (self.crow, self.col, self.values))
        return Postings(crow, col, values, self.documents)


def transposed(crow: Tensor, col: Tensor, values: Tensor, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """CSR of the transpose of a canonical one; indices are int32 where they fit."""
    index = torch.int32 if len(col) <= csr.MOST_INT32 else torch.int64
    rows = csr.rows_of(crow.to(index))
    ordered, order = torch.sort(col.to(torch.int32 if columns <= csr.MOST_INT32 else torch.int64), stable=True)
    return csr.crow_of(ordered, columns).to(index), rows[order], values[order]


def joined(first: Postings, second: Postings) -> Postings:
    """Postings of the documents of both; those of the second come after those of the first. No sort: O(entries)."""
    entries = first.entries + second.entries
    index = torch.int32 if entries <= csr.MOST_INT32 else torch.int64
    crow = (first.crow.long() + second.crow.long()).to(index)
    col = first.col.new_empty(entries, dtype=index)
    values = first.values.new_empty(entries)
    for part, before, offset in ((first, second.crow[:-1], 0), (second, first.crow[1:], first.documents)):
        counts = part.crow.long().diff()
        places = torch.repeat_interleave(before.long(), counts)
        places += torch.arange(part.entries, device=places.device)
        col[places] = (part.col.long() + offset).to(index)
        values[places] = part.values
    return Postings(crow, col, values, first.documents + second.documents)


class SparseIndex:
    """Exact search for the documents whose inner product with a query is largest, among sparse vectors.

    Documents are rows over a vocabulary with few entries, made by a learned sparse encoder (SPLADE), by BM25 or tf-idf.
    They are kept term by term: CSR ``[vocabulary, documents]``, the form in which a search wants them. A search is
    :func:`warphash.spgemm.topk` of queries and that matrix. Documents have the indices 0, 1, 2 … in the order of
    addition. Later ones are kept apart and searched by themselves until they hold an eighth of the entries. Threads may
    use it at once; it can be copied and pickled. torch.compile calls it between its graphs.

    Args:
        documents: ``torch.sparse_csr`` ``[N, vocabulary]`` of float16, bfloat16, float32 or float64, whose dtype is the
            index's own; entries in any order, duplicates are added up. :func:`sparse_rows` makes it of (ids, weights).
        device: where the index lies; None: where the documents are.

    Memory: 8 bytes an entry (float32; 12 beyond 2^31 entries) and 4 bytes a term. While documents are added some 40
    bytes an entry of the new ones, and the whole once more whenever later documents are taken in.
    """

    @csr.outside_of_graphs
    def __init__(self, documents: Tensor, *, device: torch.device | str | None = None) -> None:
        csr.csr("documents", documents)
        _checks.with_data("documents", documents)
        _checked_dtype("documents", documents.dtype)
        place = documents.device if device is None else _checks.usable_device("device", device)
        self._begin(_postings("documents", documents.to(place)))

    def _begin(self, postings: Postings) -> None:
        self._main = postings
        self._later: Postings | None = None
        # Rows as they came: row pointers, columns, weights.
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        # A search takes in what was added before it: threads that search at once would do so twice.
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"_main": self._main, "_later": self._later, "_waiting": list(self._waiting)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    @property
    def vocabulary(self) -> int:
        """Terms: columns of documents and queries."""
        return self._main.vocabulary

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and scores."""
        return self._main.values.dtype

    @property
    def device(self) -> torch.device:
        """Where the index lies."""
        return self._main.values.device

    @property
    def entries(self) -> int:
        """Stored weights of all documents."""
        return sum(part.entries for part, _ in self._parts())

    @property
    def documents(self) -> Tensor:
        """All documents, ``torch.sparse_csr`` [N, vocabulary], made anew: O(entries log entries)."""
        whole = self._whole()
        parts = transposed(whole.crow, whole.col, whole.values, whole.documents)
        return csr.build(*parts, (whole.documents, whole.vocabulary))

    def __len__(self) -> int:
        with self._lock:
            later = 0 if self._later is None else self._later.documents
            return self._main.documents + later + sum(len(crow) - 1 for crow, _, _ in self._waiting)

    def __repr__(self) -> str:
        return f"SparseIndex(vocabulary={self.vocabulary}, {self.dtype}, device='{self.device}'), {len(self)} documents"

    @csr.outside_of_graphs
    def add(self, documents: Tensor) -> None:
        """Appends documents ``torch.sparse_csr`` [n, vocabulary]; their indices are len(self) .. len(self) + n − 1."""
        rows = self._checked("documents", documents)
        # Checked and copied now: whoever gave them may change them later.
        own = _canonical("documents", rows, copy=True)
        with self._lock:
            if len(self) + len(rows) > MOST_DOCUMENTS:
                raise ValueError(f"documents must stay below 2^31 in all, got {len(rows)} more than {len(self)}")
            self._waiting.append((*csr.indices_of(own), own.values()))

    @csr.outside_of_graphs
    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k documents with the largest scores for each query: (scores [Q, k], indices int64 [Q, k]).

        Args:
            queries: ``torch.sparse_csr`` [Q, vocabulary] of the index's dtype.
            k: how many; rows end in (−inf, −1) where fewer documents share a term with the query.

        Returns:
            Scores by (score descending, index ascending), summed in the order of the query's terms, and indices, on the
            queries' device; without gradient (:func:`warphash.spgemm.topk` has one). Halves are summed in float32, then
            rounded and compared.
        """
        given = self._checked("queries", queries, moved=False)
        k = _checks.result_count("k", k, given.shape[0])
        with torch.no_grad():
            rows = _canonical("queries", given.to(self.device))
            found = None
            for part, first in self._parts():
                index = part.crow.dtype
                crow, col = (x.to(index) for x in csr.indices_of(rows))
                asked = csr.build(crow, col, rows.values(), (rows.shape[0], rows.shape[1]))
                scores, indices = spgemm.topk(asked, part.tensor(), k, validate=False)
                if first:
                    indices = torch.where(indices < 0, indices, indices + first)
                found = (scores, indices) if found is None else _best(found, (scores, indices), k)
        assert found is not None
        return found[0].to(given.device), found[1].to(given.device)

    def state_dict(self) -> dict[str, Any]:
        """vocabulary, the number of documents, and the postings' ``crow``, ``col``, ``values`` (shared memory)."""
        whole = self._whole()
        return {
            "vocabulary": whole.vocabulary,
            "documents": whole.documents,
            "crow": whole.crow,
            "col": whole.col,
            "values": whole.values,
        }

    @torch.inference_mode(False)
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replaces the documents by those of a state_dict of the same vocabulary; this index keeps its device.

        The weights' dtype becomes that of the state.
        """
        postings = _checked_state(state)
        if postings.vocabulary != self.vocabulary:
            raise ValueError(f"state holds {postings.vocabulary} terms, this index has {self.vocabulary}")
        postings = postings.to(self.device, copy=True)
        with self._lock:
            self._main, self._later, self._waiting = postings, None, []

    def save(self, path: PathLike) -> None:
        """Writes the index to path, whole or not at all; see :mod:`warphash.retrieval.storage` for the format."""
        whole = self._whole()
        fields = {"vocabulary": whole.vocabulary, "documents": whole.documents}
        save_arrays(path, KIND, fields, {"crow": whole.crow, "col": whole.col, "values": whole.values})

    @classmethod
    @torch.inference_mode(False)
    def load(cls, path: PathLike, *, device: torch.device | str | None = None) -> SparseIndex:
        """The index that :meth:`save` wrote, on the CPU unless a device is given.

        A truncated, damaged or foreign file, or one of a newer format: ValueError with the path and the reason.
        """
        place = torch.device("cpu") if device is None else _checks.usable_device("device", device)
        fields, arrays = load_arrays(path, KIND)
        try:
            postings = _checked_state({**fields, **arrays})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{os.fsdecode(path)}: damaged: {error}") from error
        index = cls.__new__(cls)
        index._begin(postings.to(place))
        return index

    @torch.inference_mode(False)
    def _parts(self) -> list[tuple[Postings, int]]:
        """Postings to search, each with the index of its first document."""
        with self._lock:
            if self._waiting:
                crows, cols, weights = zip(*self._waiting, strict=True)
                firsts = [0, *itertools.accumulate(len(crow) - 1 for crow in crows)]
                rows = torch.cat([csr.rows_of(crow) + first for crow, first in zip(crows, firsts, strict=False)])
                parts = (csr.crow_of(rows, firsts[-1]), torch.cat(cols), torch.cat(weights))
                new = Postings(*transposed(*parts, self.vocabulary), firsts[-1])
                self._later = new if self._later is None else joined(self._later, new)
                self._waiting = []
            if self._later is not None and self._later.entries * LATER_SHARE >= self._main.entries:
                self._main, self._later = joined(self._main, self._later), None
            return [(self._main, 0)] + ([] if self._later is None else [(self._later, self._main.documents)])

    @torch.inference_mode(False)
    def _whole(self) -> Postings:
        with self._lock:
            parts = self._parts()
            if len(parts) > 1:
                self._main, self._later = joined(parts[0][0], parts[1][0]), None
            return self._main

    def _checked(self, name: str, rows: Tensor, moved: bool = True) -> Tensor:
        csr.csr(name, rows)
        _checks.with_data(name, rows)
        if rows.shape[1] != self.vocabulary:
            raise ValueError(f"{name} must be [rows, {self.vocabulary}] as the index, got shape {tuple(rows.shape)}")
        if rows.dtype != self.dtype:
            raise TypeError(f"{name} must have values of the index's dtype, {self.dtype}, got {rows.dtype}")
        return rows.detach().to(self.device) if moved else rows.detach()


def _checked_dtype(name: str, dtype: torch.dtype) -> None:
    if dtype not in DTYPES:
        raise TypeError(f"{name} must have values of float16, bfloat16, float32 or float64, got {dtype}")


def _canonical(name: str, rows: Tensor, copy: bool = False) -> Tensor:
    """Columns ascending, duplicates added up; refuses what is no CSR."""
    values = rows.detach().values()
    pattern = csr.pattern_of(name, rows, torch.int64, True)
    parts = (pattern.crow, pattern.col, pattern.arranged(values, csr.PLUS_TIMES))
    if copy:
        own = (rows.crow_indices(), rows.col_indices(), values)
        parts = tuple(  # type: ignore[assignment]
            part.clone() if part.data_ptr() == before.data_ptr() else part
            for part, before in zip(parts, own, strict=True)
        )
    return csr.build(*parts, (rows.shape[0], rows.shape[1]))


@torch.inference_mode(False)  # what is made while a model is evaluated must serve afterwards, too
def _postings(name: str, documents: Tensor) -> Postings:
    if documents.shape[0] > MOST_DOCUMENTS:
        raise ValueError(f"{name} must be fewer than 2^31 rows, got {documents.shape[0]}")
    rows = _canonical(name, documents)
    crow, col = csr.indices_of(rows)
    return Postings(*transposed(crow, col, rows.values(), rows.shape[1]), rows.shape[0])


def _checked_state(state: Any) -> Postings:
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a dict as state_dict gives, got {type(state).__name__}")
    missing = {"vocabulary", "documents", "crow", "col", "values"} - state.keys()
    if missing:
        raise ValueError(f"state lacks {', '.join(sorted(missing))}")
    vocabulary, documents = (_checks.count(f"state['{name}']", state[name]) for name in ("vocabulary", "documents"))
    if documents > MOST_DOCUMENTS:
        raise ValueError(f"state['documents'] must be below 2^31, got {documents}")
    for name in ("crow", "col", "values"):
        part = state[name]
        if not isinstance(part, Tensor) or part.dim() != 1:
            raise TypeError(f"state['{name}'] must be a 1-D tensor, got {type(part).__name__}")
        _checks.with_data(f"state['{name}']", _checks.dense(f"state['{name}']", part))
    crow, col, values = (state[name].detach() for name in ("crow", "col", "values"))
    if crow.dtype not in (torch.int32, torch.int64) or col.dtype != crow.dtype:
        raise TypeError(f"state['crow'] and state['col'] must be int32 or int64 alike, got {crow.dtype}, {col.dtype}")
    _checked_dtype("state['values']", values.dtype)
    if len(crow) != vocabulary + 1 or len(col) != len(values):
        raise ValueError(
            f"state['crow'] must have {vocabulary + 1} pointers and state['values'] a weight for each column, got "
            f"{len(crow)} pointers, {len(col)} columns and {len(values)} weights"
        )
    if (crow.device, col.device) != (values.device, values.device):
        raise ValueError("state['crow'], state['col'] and state['values'] must be on one device")
    pointer, place, unsorted = torch.ops.warphash.spgemm_inspect(crow, col, documents).tolist()
    if pointer >= 0 or place >= 0 or unsorted:
        raise ValueError("state['crow'] and state['col'] must be the postings of documents, ascending for each term")
    return Postings(crow, col, values, documents)


def _best(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    """The k best of two answers, the second of later documents: equal scores stay in order, NaN before padding."""
    scores, indices = (torch.cat(pair, 1) for pair in zip(first, second, strict=True))
    ranked = torch.where(scores.isnan(), -torch.inf, scores)
    order = torch.sort(ranked, dim=1, descending=True, stable=True).indices
    kind = torch.where(indices < 0, 2, scores.isnan().long()).gather(1, order)
    order = order.gather(1, torch.sort(kind, dim=1, stable=True).indices)[:, :k]
    return scores.gather(1, order), indices.gather(1, order)
