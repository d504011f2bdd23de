# SPDX-License-Identifier: Apache-2.0
"""Operators that serve one class alone and have no public function: legal calls of them, made once for all checks."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch
import warphash as wh

PREFIX = "hamming_multi_index_"
BITS, SUBSTRINGS = 21, 3


@dataclasses.dataclass(frozen=True)
class InternalCall:
    """A legal call of ``torch.ops.warphash.<op>``."""

    op: str
    name: str
    arguments: tuple[Any, ...]

    @property
    def operator(self) -> Any:
        """The overload in torch's registry."""
        return getattr(torch.ops.warphash, self.op).default


@functools.cache
def internal_calls() -> list[InternalCall]:
    """Calls of every internal operator: plain, without queries, without codes, without a budget."""
    codes = wh.hamming.pack(torch.randn(200, BITS, generator=torch.Generator().manual_seed(0)))
    tables = torch.ops.warphash.hamming_multi_index_build(codes, BITS, SUBSTRINGS)
    of_none = torch.ops.warphash.hamming_multi_index_build(codes[:0], BITS, SUBSTRINGS)
    calls = [
        InternalCall(PREFIX + "build", "plain", (codes, BITS, SUBSTRINGS)),
        InternalCall(PREFIX + "build", "no codes", (codes[:0], BITS, SUBSTRINGS)),
    ]
    for part, count in (("topk", 4), ("range", 5)):
        calls += [
            InternalCall(PREFIX + part, "plain", (codes[:5], codes, *tables, BITS, count, 1e9)),
            InternalCall(PREFIX + part, "no queries", (codes[:0], codes, *tables, BITS, count, 1e9)),
            InternalCall(PREFIX + part, "no codes", (codes[:5], codes[:0], *of_none, BITS, 0, 1e9)),
            InternalCall(PREFIX + part, "no budget", (codes[:5], codes, *tables, BITS, count, 0.0)),
        ]
    return calls
