# SPDX-License-Identifier: Apache-2.0
"""MinHashIndex: a growing collection of signatures of texts, asked for those that are similar to others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .. import _checks, lsh
from .._files import PathLike
from ..interop import as_tensor
from ..retrieval.storage import load_arrays, save_arrays
from .runs import Runs
from .sketches import Sketching, Stages, sketched

__all__ = ["MinHashIndex"]

KIND = "minhash"
_COMPARED = 1 << 16  # signatures at a time


class MinHashIndex:
    """Signatures of texts, which can be added at any time, and searches for similar ones. No text is kept.

    Two texts are similar if their signatures agree in a share of at least ``threshold`` of their values. That share
    estimates the Jaccard similarity J of the sets of shingles (:func:`warphash.lsh.shingles`), with a standard
    deviation of sqrt(J (1 - J) / num_perm), 0.035 at J = 0.8 and 128 values. Relative to that estimate answers are
    exact: none is missed, since signatures are cut into one band more than they may have differing values.

    Args:
        threshold: above 0 and at most 1. The smaller, the shorter the bands, and the more signatures are compared:
            up to 0.5 a band is one value.
        ngram: units a shingle, see :func:`warphash.lsh.shingles`.
        unit: ``"word"`` or ``"char"``.
        num_perm: values of a signature.
        seed: of the hash functions.

    Memory: 4 · num_perm bytes a text, at most twice over while the buffer grows, and after a search 12 bytes a band
    more (32 bands at threshold 0.8 and 128 values). Adding is amortised O(1) a text beside its signature; tables are
    made at the first search after it, of the new ones alone, and merged with older ones as long as these are less than
    twice as large: O(log N) times a text in all.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        ngram: int = 5,
        unit: str = "word",
        num_perm: int = 128,
        seed: int = 0,
    ) -> None:
        self._sketching = Sketching(threshold, ngram, unit, num_perm, seed)
        self._bands, self._rows = self._sketching.bands_for_estimate()
        self._buffer = torch.empty(0, self.num_perm, dtype=torch.int32, device="cpu")
        self._count = 0
        self._tables = Runs()

    @property
    def threshold(self) -> float:
        return self._sketching.threshold

    @property
    def ngram(self) -> int:
        return self._sketching.ngram

    @property
    def unit(self) -> str:
        return self._sketching.unit

    @property
    def num_perm(self) -> int:
        return self._sketching.num_perm

    @property
    def seed(self) -> int:
        return self._sketching.seed

    @property
    def signatures(self) -> Tensor:
        """The signatures, int32 [N, num_perm]: a view, to be read only."""
        return self._buffer[: self._count]

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={value!r}" for name, value in self._sketching.fields().items() if name != "scheme")
        return f"MinHashIndex({parts}), {self._count} texts"

    def add(self, texts: Iterable[str]) -> None:
        """Appends texts, a list or another iterable of str; their indices are len(self), len(self) + 1, …

        An error, also one of the iterable itself, leaves the index as it was.
        """
        self._append([batch.signatures for batch in sketched(texts, self._sketching, Stages())])

    def query(self, texts: Iterable[str]) -> list[Tensor]:
        """For each text the indices of similar stored texts, int64, ascending. A text without any unit has none.

        Complexity: O(log N) a band and run of tables, and O(num_perm) for each stored text that shares a band.
        """
        self._catch_up()
        answers: list[Tensor] = []
        for batch in sketched(texts, self._sketching, Stages()):
            answers += self._similar(batch.signatures)
        return answers

    def state_dict(self) -> dict[str, Any]:
        """Scheme, parameters and the signatures, trimmed to size (a view: copy it to keep it apart from the index)."""
        self._trim()
        return {**self._sketching.fields(), "signatures": self.signatures}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replaces the signatures by those of a state_dict of the same scheme, seed and other parameters.

        ``threshold`` may differ: this index keeps its own. Signatures that were made otherwise mean nothing to it:
        ValueError.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a dict as state_dict gives, got {type(state).__name__}")
        own = {name: value for name, value in self._sketching.fields().items() if name != "threshold"}
        missing = (own.keys() | {"signatures"}) - state.keys()
        if missing:
            raise ValueError(f"state lacks {', '.join(sorted(missing))}")
        for name, value in own.items():
            if type(state[name]) is not type(value) or state[name] != value:
                raise ValueError(f"state has {name} {state[name]!r}, this index has {value!r}")
        signatures = as_tensor(state["signatures"], "signatures")
        signatures = _checks.with_data("signatures", _checks.dense("signatures", signatures))
        if signatures.dtype != torch.int32 or signatures.dim() != 2 or signatures.shape[1] != self.num_perm:
            raise ValueError(
                f"state must have signatures int32 [N, {self.num_perm}], got {signatures.dtype} "
                f"{list(signatures.shape)}"
            )
        self._buffer = signatures.detach().to("cpu", copy=True).contiguous()
        self._count = len(self._buffer)
        self._tables = Runs()

    def save(self, path: PathLike) -> None:
        """Writes the index to path, whole or not at all; see :mod:`warphash.retrieval.storage` for the format."""
        save_arrays(path, KIND, self._sketching.fields(), {"signatures": self.signatures})

    @classmethod
    def load(
        cls,
        path: PathLike,
        *,
        threshold: float | None = None,
        ngram: int | None = None,
        unit: str | None = None,
        num_perm: int | None = None,
        seed: int | None = None,
    ) -> MinHashIndex:
        """The index that :meth:`save` wrote, with its parameters.

        Args:
            path: a file of :meth:`save`.
            threshold: another threshold than the saved one; None: that one.
            ngram: what the file must have been made with; None: anything.
            unit: the same.
            num_perm: the same.
            seed: the same.

        Raises:
            ValueError: the file is truncated, damaged, foreign, of a newer format or of another scheme, or was made
                with other parameters than those that were given; the text has the path and the reason.
        """
        fields, arrays = load_arrays(path, KIND)
        expected = {"ngram": ngram, "unit": unit, "num_perm": num_perm, "seed": seed}
        name = os.fsdecode(path)
        for parameter, value in expected.items():
            if value is not None and fields.get(parameter) != value:
                raise ValueError(f"{name}: has {parameter} {fields.get(parameter)!r}, expected {value!r}")
        if "scheme" in fields and fields["scheme"] != Sketching().fields()["scheme"]:
            raise ValueError(f"{name}: has scheme {fields['scheme']!r}, which this warphash does not make")
        try:
            parameters = {key: fields[key] for key in ("threshold", *expected)}
            index = cls(**parameters | ({} if threshold is None else {"threshold": threshold}))
            index.load_state_dict({**fields, "signatures": arrays["signatures"]})
        except (KeyError, TypeError, ValueError) as error:
            if threshold is not None and str(error).startswith("threshold"):
                raise
            raise ValueError(f"{name}: damaged: {error}") from error
        return index

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: the signatures alone. Tables are made anew faster than they would be read."""
        self._trim()
        return {**self.__dict__, "_tables": Runs()}

    def _append(self, parts: list[Tensor]) -> None:
        wanted = self._count + sum(map(len, parts))
        if wanted > len(self._buffer):
            grown = torch.empty(max(wanted, 2 * len(self._buffer)), self.num_perm, dtype=torch.int32, device="cpu")
            grown[: self._count] = self.signatures
            self._buffer = grown
        for part in parts:
            self._buffer[self._count : self._count + len(part)] = part
            self._count += len(part)

    def _trim(self) -> None:
        # A view is stored with all memory behind it, and behind the signatures nothing was ever written.
        if len(self._buffer) > self._count:
            self._buffer = self.signatures.clone()

    def _keys(self, signatures: Tensor) -> Tensor:
        keys: Tensor = lsh.band_keys(signatures[:, : self._bands * self._rows], self._bands)
        return keys

    def _catch_up(self) -> None:
        if (tabled := len(self._tables)) < self._count:
            self._tables.append(self._keys(self.signatures[tabled:]))

    def _similar(self, signatures: Tensor) -> list[Tensor]:
        least = self._sketching.least_equal()
        rows, counts = [], torch.zeros(len(signatures), dtype=torch.int64, device="cpu")
        for queries, met in self._tables.meeting(self._keys(signatures)):
            equal = torch.cat(
                [
                    (signatures[q] == self.signatures[r]).sum(1)
                    for q, r in zip(queries.split(_COMPARED), met.split(_COMPARED), strict=True)
                ]
            )
            rows.append(met[equal >= least])
            counts += torch.bincount(queries[equal >= least], minlength=len(signatures))
        found = torch.cat([torch.empty(0, dtype=torch.int64, device="cpu"), *rows])
        return list(found.split(counts.tolist()))
