# SPDX-License-Identifier: Apache-2.0
"""HammingIndex: a growing database of binary codes and exact searches in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import _checks, hamming, interop
from . import multi_index
from .storage import PathLike, load_arrays, save_arrays

METHODS = ("flat", "multi_index")
KIND = "hamming"


class HammingIndex:
    """Exact nearest-neighbour and radius search among binary codes, which can be added at any time.

    Both methods give exactly the answers of :func:`warphash.hamming.topk` and :func:`warphash.hamming.range_search`
    over all codes added so far, ties by ascending index (the order of addition, from 0).

    * ``flat`` scans all codes.
    * ``multi_index`` (Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index hashing", 2012) cuts
      the codes into about bits / log2(N) substrings with a table each and looks only into the buckets that can hold an
      answer. A query whose probes would cost more than the scan is scanned. The tables are made at the first search,
      and anew when more than N / 32 codes came since; until then those are compared one by one. A table takes at most
      8 · N bytes. On a GPU, below 16384 and above 2^31 − 1 codes the method scans and makes no tables.

    Codes are uint8 [N, ceil(bits / 8)] as made by :func:`warphash.hamming.pack`, with zero padding bits. Arrays of any
    kind that :mod:`warphash.interop` knows are accepted; they are moved to the index's device, and answers come back in
    the kind, and on the device, of the queries.

    Args:
        bits: length of a code, at least 1.
        method: see above.
        device: where the codes are kept; None takes the device of the first codes added.

    Memory: the codes, at most twice over while the buffer grows (adding is amortised O(1) a code).
    """

    def __init__(self, bits: int, *, method: str = "flat", device: torch.device | str | None = None) -> None:
        bits = _checks.count("bits", bits, 1)
        if bits > 8 * _checks.WIDEST_CODE:
            raise ValueError(f"bits must be at most {8 * _checks.WIDEST_CODE}, got {bits}")
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
        self.bits = bits
        self.method = method
        self._device = None if device is None else _checks.usable_device("device", device)
        # A device always stands beside a tensor made here: torch.set_default_device must not decide.
        self._buffer = torch.empty(0, self.code_bytes, dtype=torch.uint8, device=self._device or "cpu")
        self._count = 0
        self._tables: multi_index.MultiIndexTables | None = None

    @property
    def code_bytes(self) -> int:
        return (self.bits + 7) // 8

    @property
    def device(self) -> torch.device:
        return self._buffer.device

    @property
    def codes(self) -> Tensor:
        """The codes, uint8 [N, code_bytes]: a view, to be read only."""
        return self._buffer[: self._count]

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"HammingIndex({self.bits}, method={self.method!r}, device='{self.device}'), {self._count} codes"

    def add(self, codes: Any) -> None:
        """Appends codes uint8 [n, code_bytes]; their indices are len(self) .. len(self) + n − 1."""
        new = self._checked(codes, "codes")
        if self._device is None:
            self._device = new.device
            self._buffer = self._buffer.to(self._device)
        wanted = self._count + new.shape[0]
        if wanted > self._buffer.shape[0]:
            grown = torch.empty(
                max(wanted, 2 * self._buffer.shape[0]), self.code_bytes, dtype=torch.uint8, device=self._buffer.device
            )
            grown[: self._count] = self.codes
            self._buffer = grown
        self._buffer[self._count : wanted] = new
        self._count = wanted

    def search(self, queries: Any, k: int, *, mask: Any = None) -> tuple[Any, Any]:
        """The k nearest codes of each query: (distances int32 [Q, k], indices int64 [Q, k]) by (distance, index).

        Rows with fewer than k codes end with distance 2147483647 and index −1. mask: bool [N] or [Q, N], True where a
        code may be returned; masked searches scan. Cost of a scan: Q · N comparisons.
        """
        given = self._checked(queries, "queries")
        rows = given.to(self.device)
        allowed = self._moved_mask(mask)
        k = _checks.count("k", k)
        tables = self._current_tables() if allowed is None and 0 < k <= self._count else None
        answer = hamming.topk(rows, self.codes, k, mask=allowed) if tables is None else tables.topk(rows, self.codes, k)
        distances, indices = (interop.like(queries, part.to(given.device)) for part in answer)
        return distances, indices

    def range_search(self, queries: Any, radius: int, *, mask: Any = None) -> tuple[Any, Any, Any]:
        """All codes within radius: (offsets int64 [Q + 1], distances int32 [R], indices int64 [R]).

        The answers of query q are those from offsets[q] to offsets[q + 1], by (distance, index); distance <= radius.
        Masks as in :meth:`search`.
        """
        given = self._checked(queries, "queries")
        rows = given.to(self.device)
        allowed = self._moved_mask(mask)
        radius = min(_checks.count("radius", radius), self.bits)
        tables = self._current_tables() if allowed is None else None
        if tables is None:
            answer = hamming.range_search(rows, self.codes, radius, mask=allowed)
        else:
            answer = tables.range_search(rows, self.codes, radius)
        offsets, distances, indices = (interop.like(queries, part.to(given.device)) for part in answer)
        return offsets, distances, indices

    def state_dict(self) -> dict[str, Any]:
        """bits, method and the codes, trimmed to size (a view: copy it to keep it apart from the index)."""
        self._trim()
        return {"bits": self.bits, "method": self.method, "codes": self.codes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replaces the codes by those of a state_dict of the same bits; this index keeps its method and device."""
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a dict as state_dict gives, got {type(state).__name__}")
        missing = {"bits", "codes"} - state.keys()
        if missing:
            raise ValueError(f"state lacks {', '.join(sorted(missing))}")
        if (bits := _checks.count("state['bits']", state["bits"], 1)) != self.bits:
            raise ValueError(f"state holds codes of {bits} bits, this index has {self.bits}")
        codes = self._checked(state["codes"], "state['codes']")
        if self._device is None:
            self._device = codes.device
        self._buffer = codes.to(self._device, copy=True)
        self._count = codes.shape[0]
        self._tables = None

    def save(self, path: PathLike) -> None:
        """Writes the index to path, whole or not at all; see :mod:`warphash.retrieval.storage` for the format."""
        save_arrays(path, KIND, {"bits": self.bits, "method": self.method}, {"codes": self.codes})

    @classmethod
    def load(cls, path: PathLike, *, device: torch.device | str | None = None) -> HammingIndex:
        """The index that :meth:`save` wrote, on the CPU unless a device is given.

        A truncated, damaged or foreign file, or one of a newer format: ValueError with the path and the reason.
        """
        place = None if device is None else _checks.usable_device("device", device)
        fields, arrays = load_arrays(path, KIND)
        try:
            index = cls(fields["bits"], method=fields["method"], device=place)
            index.load_state_dict({"bits": fields["bits"], "codes": arrays["codes"]})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fsdecode(path)}: damaged: {error}") from error
        return index

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: the codes alone. Tables are made anew faster than they would be read."""
        self._trim()
        return {**self.__dict__, "_tables": None}

    def _trim(self) -> None:
        # A view is stored with all memory behind it, and behind the codes nothing was ever written.
        if self._buffer.shape[0] > self._count:
            self._buffer = self.codes.clone()

    def _moved_mask(self, mask: Any) -> Tensor | None:
        if mask is None:
            return None
        return _checks.with_data("mask", _checks.dense("mask", interop.as_tensor(mask, "mask"))).to(self.device)

    def _current_tables(self) -> multi_index.MultiIndexTables | None:
        if self.method != "multi_index" or self.device.type != "cpu":
            return None
        if not multi_index.SMALLEST <= self._count <= multi_index.LARGEST:
            return None
        if self._tables is None or not self._tables.fits(self._count):
            self._tables = multi_index.MultiIndexTables(self.codes, self.bits)
        return self._tables

    def _checked(self, codes: Any, name: str) -> Tensor:
        tensor = _checks.with_data(name, _checks.codes(name, codes))
        if tensor.shape[1] != self.code_bytes:
            raise ValueError(f"{name} must be [N, {self.code_bytes}] for {self.bits} bits, got {list(tensor.shape)}")
        tensor = tensor.contiguous()
        padding = 8 * self.code_bytes - self.bits
        if padding and bool((tensor[:, -1] >= 1 << (8 - padding)).any()):
            raise ValueError(f"{name} must have zero padding bits: the last {padding} of each code's last byte")
        return tensor
