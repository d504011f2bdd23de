# SPDX-License-Identifier: Apache-2.0
"""Operators without a public function of tensors, for one class alone, as the derivative of another or of texts: legal
calls of them, made once for all checks.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch
import warphash as wh
from hashgrid import samples as hashgrid
from lsh import samples_text
from spgemm import samples as spgemm

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
    """Calls of every internal operator."""
    shingles = [InternalCall("lsh_shingles", name, arguments) for name, arguments in samples_text.calls()]
    products = [InternalCall(*call) for call in spgemm.calls()]
    return [*_multi_index_calls(), *_hashgrid_calls(), *shingles, *products]


def _multi_index_calls() -> list[InternalCall]:
    """Plain, without queries, without codes, without a budget."""
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


def _hashgrid_calls() -> list[InternalCall]:
    """All derivatives at once, some of them, without points, of half types, of levels that are skipped."""
    calls = []
    for op, wanted in (("hashgrid_backward", 3), ("hashgrid_double_backward", 4)):
        everything = (True,) * wanted
        for name, spec, dtype, flags in (
            ("plain", hashgrid.small(), torch.float32, everything),
            ("smoothstep", hashgrid.small(2, features=3, interpolation="smoothstep"), torch.float64, everything),
            ("nearest", hashgrid.small(4, kind="dense", interpolation="nearest"), torch.float32, everything),
            ("float16", hashgrid.small(1, features=4), torch.float16, everything),
            ("bfloat16", hashgrid.small(5, features=1, kind="tiled"), torch.bfloat16, everything),
            ("some", hashgrid.small(), torch.float32, tuple(i % 2 == 0 for i in range(wanted))),
            ("others", hashgrid.small(), torch.float32, tuple(i % 2 == 1 for i in range(wanted))),
        ):
            for count in (21, 0) if name == "plain" else (21,):
                weights = None if name == "float16" else hashgrid.level_weights(spec, hashgrid.wide(dtype))
                gradient = torch.randn(count, spec.output_features, generator=torch.Generator().manual_seed(2)).to(
                    dtype
                )
                x = hashgrid.points(count, spec.dims, hashgrid.wide(dtype))
                v = (0.5 - x.flip(0),) if op == "hashgrid_double_backward" else ()
                arguments = (*v, gradient, x, hashgrid.rows(spec, dtype), weights, spec.text, *flags, False)
                calls.append(InternalCall(op, f"{name}, {count} points", arguments))
    for name, spec, dtype in (
        ("plain", hashgrid.small(), torch.float32),
        ("dense", hashgrid.small(2, kind="dense", features=3), torch.float64),
        ("float16", hashgrid.small(1, features=4), torch.float16),
        ("bfloat16", hashgrid.small(5, features=1, kind="tiled"), torch.bfloat16),
    ):
        for count in (21, 0) if name == "plain" else (21,):
            x = hashgrid.points(count, spec.dims, hashgrid.wide(dtype))
            by_level = hashgrid.level_weights(spec, hashgrid.wide(dtype))
            arguments = (by_level, x, hashgrid.rows(spec, dtype), spec.text, False)
            calls.append(InternalCall("hashgrid_variation_backward", f"{name}, {count} points", arguments))
    return calls
