# SPDX-License-Identifier: Apache-2.0
"""Calls of the operators of lsh/pairs for the conformance checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import warphash as wh
from conformance.op_case import BadCall, OpCase, Sample, strided
from torch import Tensor
from warphash.lsh.pairs import reference

MODES = ("all", "chain")


def keys(items: int, bands: int, below: int = 30, seed: int = 0) -> Tensor:
    """Random keys; a few are -1."""
    return torch.randint(-1, below, (items, bands), generator=torch.Generator().manual_seed(seed))


def pairs(count: int, items: int, seed: int = 0) -> Tensor:
    """Random pairs in any order."""
    return torch.randint(0, max(items, 1), (count, 2), generator=torch.Generator().manual_seed(seed))


def sets(count: int, most: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sorted token sets in CSR, some of them empty."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(0, most + 1, (count,), generator=generator).tolist()
    rows = [torch.randint(0, 2 * most + 1, (size,), generator=generator).unique() for size in sizes]
    offsets = torch.tensor([0, *map(len, rows)]).cumsum(0)
    return torch.cat([*rows, torch.zeros(0, dtype=torch.int64)]), offsets


def _bad_longs(name: str, place: int, shape: str, *arguments: Any) -> list[BadCall]:
    good = arguments[place]

    def call(label: str, value: Any, error: type[Exception], text: str) -> BadCall:
        return BadCall(f"{name}: {label}", (*arguments[:place], value, *arguments[place + 1 :]), error, text)

    return [
        call("not an array", [1, 2], TypeError, f"^{name} must be a torch tensor.*got list"),
        call("int32", good.int(), TypeError, f"^{name} must be int64, got torch.int32"),
        call("floating", good.double(), TypeError, f"^{name} must be int64, got torch.float64"),
        call("rank", good[None], ValueError, rf"^{name} must be \[{shape}\], got shape \(1, "),
        call("sparse", good.to_sparse(), TypeError, f"^{name} must be a dense tensor.*sparse_coo"),
    ]


# ---- Candidate pairs ------------------------------------------------------------------------------------------------
def _key_samples(*options: dict[str, Any]) -> list[Sample]:
    plain = keys(50, 4)
    found = {
        "plain": plain,
        "one band": plain[:, :1],
        "no items": plain[:0],
        "no bands": plain[:, :0],
        "one item": plain[:1],
        "nothing meets": torch.arange(200).view(50, 4),
        "all meet": torch.zeros(20, 3, dtype=torch.int64),
        "none has a key": torch.full((20, 3), -1),
        "large and negative keys": plain * 2**58 - 5,
        "not contiguous": strided(plain),
        "expanded": plain[:, :1].expand(50, 4),
    }
    return [
        Sample(f"{name} {option}" if option else name, (x,), option) for name, x in found.items() for option in options
    ]


def _sweep_keys(*options: dict[str, Any]) -> Iterator[Sample]:
    for items in (0, 1, 2, 3, 17, 64, 200):
        for bands in (1, 2, 7):
            for option in options:
                yield Sample(f"{items} x {bands} {option}", (keys(items, bands, 1 + items // 2, items),), option)


def _pair_arguments(sample: Sample) -> tuple[Any, ...]:
    most = sample.options.get("max_bucket")
    return *sample.arguments, -1 if most is None else most, MODES.index(sample.options.get("mode", "all"))


_OPTIONS = ({}, {"mode": "chain"}, {"max_bucket": 3}, {"max_bucket": 0}, {"max_bucket": 2, "mode": "chain"})

PAIRS = OpCase(
    op="lsh_candidate_pairs",
    function=wh.lsh.candidate_pairs,
    reference=reference.candidate_pairs,
    samples=_key_samples(*_OPTIONS),
    operator_arguments=_pair_arguments,
    resized=(Sample("first", (keys(50, 4),)), Sample("second", (keys(90, 7),))),
    large=Sample("large", (keys(30_000, 8, 40_000),)),
    bad_calls=[
        *_bad_longs("keys", 0, "N, bands", keys(50, 4)),
        BadCall("mode", (keys(5, 2),), ValueError, "^mode must be one of all, chain, got 'star'", {"mode": "star"}),
        BadCall("mode is no word", (keys(5, 2),), ValueError, "^mode must be one of", {"mode": 1}),
        BadCall("negative", (keys(5, 2),), ValueError, "^max_bucket must be at least 0", {"max_bucket": -1}),
        BadCall("a float", (keys(5, 2),), TypeError, "^max_bucket must be an int", {"max_bucket": 2.0}),
        BadCall(
            "too many", (torch.zeros(70_000, 1, dtype=torch.int64),), ValueError,
            r"^keys have 2449965000 pairs, more than 2\^31 - 1: pass max_bucket",
        ),
    ],
    sweep=lambda: _sweep_keys(*_OPTIONS),
    batches=[Sample("item", (keys(50, 4),))],
    data_dependent=True,
)  # fmt: skip

SIZES = OpCase(
    op="lsh_bucket_sizes",
    function=wh.lsh.bucket_sizes,
    reference=reference.bucket_sizes,
    samples=_key_samples({}),
    operator_arguments=lambda sample: sample.arguments,
    resized=(Sample("first", (keys(50, 4),)), Sample("second", (keys(90, 7),))),
    large=Sample("large", (keys(30_000, 8, 40_000),)),
    bad_calls=[
        *_bad_longs("keys", 0, "N, bands", keys(50, 4)),
    ],
    sweep=lambda: _sweep_keys({}),
    batches=[Sample("item", (keys(50, 4),))],
    data_dependent=True,
)


# ---- Components -----------------------------------------------------------------------------------------------------
def _sweep_components() -> Iterator[Sample]:
    for items in (0, 1, 2, 5, 31, 64, 200):
        for count in (0, 1, items // 2, 3 * items):
            yield Sample(f"{items} items, {count} pairs", (pairs(count if items else 0, items, count), items))


COMPONENTS = OpCase(
    op="lsh_connected_components",
    function=wh.lsh.connected_components,
    reference=reference.connected_components,
    samples=[
        Sample("plain", (pairs(30, 50), 50)),
        Sample("no pairs", (pairs(0, 50), 50)),
        Sample("no items", (pairs(0, 0), 0)),
        Sample("with themselves", (torch.arange(10).repeat(2, 1).T, 10)),
        Sample("a path backwards", (torch.stack([torch.arange(1, 60), torch.arange(59)], 1).flip(0), 60)),
        Sample("not contiguous", (strided(pairs(30, 50)), 50)),
        Sample("expanded", (pairs(1, 50).expand(30, 2), 50)),
    ],
    operator_arguments=lambda sample: sample.arguments,
    resized=(Sample("first", (pairs(30, 50), 50)), Sample("second", (pairs(70, 50), 50))),
    large=Sample("large", (pairs(100_000, 200_000), 200_000)),
    bad_calls=[
        *_bad_longs("pairs", 0, "P, 2", pairs(30, 50), 50),
        BadCall(
            "triples", (pairs(30, 50).view(20, 3), 50), ValueError, r"^pairs must be \[P, 2\], got shape \(20, 3\)"
        ),
        BadCall("negative", (pairs(30, 50), -1), ValueError, "^n must be at least 0, got -1"),
        BadCall("beyond int64", (pairs(30, 50), 2**70), ValueError, r"^n must be below 2\^63"),
        BadCall("a float", (pairs(30, 50), 50.0), TypeError, "^n must be an int, got float"),
        BadCall("member", (torch.tensor([[1, 50]]), 50), IndexError, r"^pairs must have members in \[0, 50\), got 50"),
        BadCall("below", (torch.tensor([[-1, 5]]), 50), IndexError, r"^pairs must have members in \[0, 50\), got -1"),
    ],
    sweep=_sweep_components,
    batches=[Sample("item", (pairs(30, 50), 50))],
)


# ---- Jaccard --------------------------------------------------------------------------------------------------------
def _sweep_jaccard() -> Iterator[Sample]:
    for count in (1, 2, 9, 40):
        for most in (0, 1, 5, 33, 200):
            yield Sample(f"{count} sets of {most}", (*sets(count, most, most), pairs(70, count, most)))


_TOKENS, _ENDS = sets(20, 30)
_FEW = pairs(40, 20)
_UNSORTED = _TOKENS.flip(0)

JACCARD = OpCase(
    op="lsh_pair_jaccard",
    function=wh.lsh.pair_jaccard,
    reference=reference.pair_jaccard,
    samples=[
        Sample("plain", (_TOKENS, _ENDS, _FEW)),
        Sample("no pairs", (_TOKENS, _ENDS, _FEW[:0])),
        Sample("no sets", (*sets(0, 5), pairs(0, 0))),
        Sample("empty sets", (*sets(20, 0), _FEW)),
        Sample("one much larger", (
            torch.cat([torch.arange(0, 6000, 2), torch.tensor([4, 5, 5998, 6001])]), torch.tensor([0, 3000, 3004]),
            torch.tensor([[0, 1], [1, 0], [0, 0]]),
        )),
        Sample("not contiguous", (torch.stack([_TOKENS, _TOKENS], 1)[:, 0], _ENDS, strided(_FEW))),
        Sample("expanded", (_TOKENS, _ENDS, _FEW[:1].expand(40, 2))),
    ],
    operator_arguments=lambda sample: sample.arguments,
    resized=(Sample("first", (_TOKENS, _ENDS, _FEW)), Sample("second", (*sets(30, 40), pairs(70, 20)))),
    large=Sample("large", (*sets(500, 300), pairs(40_000, 500))),
    bad_calls=[
        *_bad_longs("tokens", 0, "T", _TOKENS, _ENDS, _FEW),
        *_bad_longs("offsets", 1, r"N \+ 1", _TOKENS, _ENDS, _FEW),
        *_bad_longs("pairs", 2, "P, 2", _TOKENS, _ENDS, _FEW),
        BadCall("no offsets", (_TOKENS, _ENDS[:0], _FEW), ValueError, r"^offsets must be \[N \+ 1\] with at least one"),
        BadCall("offsets end early", (_TOKENS, _ENDS[:-1], _FEW), ValueError, "^offsets must ascend from 0 to T = "),
        BadCall("offsets descend", (_TOKENS, _ENDS.flip(0), _FEW), ValueError, "^offsets must ascend from 0 to T = "),
        BadCall("order", (_UNSORTED, _ENDS, _FEW), ValueError, "^tokens must be ascending and distinct"),
        BadCall("member", (_TOKENS, _ENDS, _FEW + 20), IndexError, r"^pairs must have members in \[0, 20\), got"),
        BadCall("device", (_TOKENS, _ENDS.to("meta"), _FEW), ValueError, "^offsets must be on the device of tokens"),
    ],
    sweep=_sweep_jaccard,
    # Seven of each: rolled by seven they are still sets.
    batches=[Sample("item", (torch.tensor([1, 2, 9, 2, 9, 4, 9]), torch.tensor([0, 3, 3, 5, 5, 6, 7]), pairs(9, 6)))],
)  # fmt: skip

CASES: list[OpCase] = [PAIRS, SIZES, COMPONENTS, JACCARD]
