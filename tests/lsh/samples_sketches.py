# SPDX-License-Identifier: Apache-2.0
"""Calls of the operators of lsh/sketches for the conformance checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import warphash as wh
from conformance.op_case import BadCall, OpCase, Sample
from torch import Tensor
from warphash.lsh.sketches import reference
from warphash.lsh.sketches.parameters import SCHEMES, minhash_parameters, one_permutation_parameters

CPU = torch.device("cpu")
LENGTHS = (3, 0, 17, 1, 40, 0)  # six sets: their seven offsets stay what they are when rolled by seven
WIDTHS = (1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129, 130)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tokens(count: int, dtype: torch.dtype = torch.int32, seed: int = 0) -> Tensor:
    """Random tokens of all magnitudes and both signs."""
    low = torch.iinfo(dtype).min
    return torch.randint(low, -low - 1, (count,), dtype=dtype, generator=_generator(seed))


def offsets_of(lengths: tuple[int, ...]) -> Tensor:
    """Where sets of these lengths begin and end."""
    return torch.tensor([0, *torch.tensor(lengths, dtype=torch.int64).cumsum(0).tolist()])


def sets(lengths: tuple[int, ...] = LENGTHS, dtype: torch.dtype = torch.int32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random sets of these lengths."""
    return tokens(sum(lengths), dtype, seed), offsets_of(lengths)


def signatures(rows: int, width: int, seed: int = 0) -> Tensor:
    """Random values, about every fifth -1, and rows that are all or almost all -1."""
    out = tokens(rows * width, seed=seed).view(rows, width)
    out[torch.rand(rows, width, generator=_generator(seed)) < 0.2] = -1
    out[2::5] = -1
    out[3::5, 1:] = -1
    return out


def _every_second(x: Tensor) -> Tensor:
    return torch.stack([x, x.flip(0)], 1).flatten()[::2]


# ---- Sketches of sets -----------------------------------------------------------------------------------------------
def _set_samples(count: int, options: dict[str, Any], others: list[dict[str, Any]]) -> list[Sample]:
    t, o = sets()
    return [
        Sample("plain", (t, o, count), options),
        Sample("int64", (*sets(dtype=torch.int64), count), options),
        Sample("not contiguous", (_every_second(t), _every_second(o), count), options),
        Sample("expanded", (t[:1].expand(61), o, count), options),
        Sample("no sets", (t[:0], o[:1], count), options),
        Sample("empty sets", (t[:0], torch.zeros(4, dtype=torch.int64), count), options),
        Sample("one", (t, torch.tensor([0, 61]), 1), options),
        *(Sample(f"options {i}", (t, o, count), other) for i, other in enumerate(others)),
        *(Sample(f"options {i}, int64", (*sets(dtype=torch.int64), count), other) for i, other in enumerate(others)),
    ]


def _bad_sets(count: int, name: str, options: dict[str, Any]) -> list[BadCall]:
    t, o = sets()

    def call(label: str, error: type[Exception], text: str, *arguments: Any) -> BadCall:
        return BadCall(label, arguments, error, text, options)

    return [
        call("not an array", TypeError, "^tokens must be a torch tensor.*got list", [1, 2], o, count),
        call("float tokens", TypeError, "^tokens must be int32 or int64, got torch.float32", t.float(), o, count),
        call("short tokens", TypeError, "^tokens must be int32 or int64, got torch.int16", t.short(), o, count),
        call("2-D tokens", ValueError, r"^tokens must be 1-D \[T\].*\(1, 61\)", t[None], o, count),
        call("sparse tokens", TypeError, "^tokens must be a dense tensor", t.to_sparse(), o, count),
        call("offsets not an array", TypeError, "^offsets must be a torch tensor.*got NoneType", t, None, count),
        call("int32 offsets", TypeError, "^offsets must be int64, got torch.int32", t, o.int(), count),
        call("2-D offsets", ValueError, r"^offsets must be 1-D \[N \+ 1\].*\(1, 7\)", t, o[None], count),
        call("no offsets", ValueError, r"^offsets must be 1-D \[N \+ 1\].*\(0,\)", t, o[:0], count),
        call("devices", ValueError, "^offsets must be on the device of tokens, cpu, got meta", t, o.to("meta"), count),
        call("offsets do not start at 0", ValueError, "^offsets must ascend from 0 to 61", t, o + 1, count),
        call("offsets end too soon", ValueError, "^offsets must ascend .*got 60", t, o.clamp(max=60), count),
        call("offsets end too late", ValueError, "^offsets must ascend .*got 62", t, o + (o == 61), count),
        call("offsets descend", ValueError, "^offsets must ascend .*got 3", t, torch.tensor([0, 9, 3, 61]), count),
        call("offsets leave the tokens", ValueError, "^offsets must ascend", t, torch.tensor([0, 2**62, 61]), count),
        call("negative offsets", ValueError, "^offsets must ascend", t, torch.tensor([0, -5, 61]), count),
        call("none wanted", ValueError, f"^{name} must be at least 1, got 0", t, o, 0),
        call("too many wanted", ValueError, f"^{name} must be at most 1048576, got 1048577", t, o, 2**20 + 1),
        call("float number", TypeError, f"^{name} must be an int, got float", t, o, 2.0),
        call("bool number", TypeError, f"^{name} must be an int, got bool", t, o, True),
        *(
            BadCall(f"seed {seed}", (t, o, count), error, text, {**options, "seed": seed})
            for seed, error, text in (
                (-1, ValueError, "^seed must be at least 0, got -1"),
                (2**63, ValueError, r"^seed must be below 2\^63"),
                (1.0, TypeError, "^seed must be an int, got float"),
            )
        ),
    ]


def _minhash_arguments(sample: Sample) -> tuple[Any, ...]:
    t, o, count = sample.arguments
    scheme = sample.options.get("scheme", "affine32")
    return t, o, *minhash_parameters(count, sample.options["seed"], scheme, CPU), SCHEMES.index(scheme)


def _one_permutation_arguments(sample: Sample) -> tuple[Any, ...]:
    return *sample.arguments, *one_permutation_parameters(sample.options["seed"])


def _sweep_minhash() -> Iterator[Sample]:
    for place, width in enumerate(WIDTHS):
        for dtype in (torch.int32, torch.int64):
            for scheme in SCHEMES:
                t, o = sets((place, 1, 0, 2 * place % 7), dtype, seed=width)
                yield Sample(f"{width}, {dtype}, {scheme}", (t, o, width), {"seed": place, "scheme": scheme})


def _sweep_one_permutation() -> Iterator[Sample]:
    for place, width in enumerate(WIDTHS):
        for dtype in (torch.int32, torch.int64):
            for filled in (True, False):
                t, o = sets((7 * place, 1, 0, 200 + place), dtype, seed=width)
                yield Sample(f"{width}, {dtype}, {filled}", (t, o, width), {"seed": place, "densify": filled})


_ITEM = Sample("item", (*sets(), 9), {"seed": 3})
_RESIZED = (
    Sample("first", (*sets(), 9), {"seed": 3}),
    Sample("second", (*sets((5, 70, 2, 0, 0, 8, 9, 1)), 9), {"seed": 3}),
)
_MINHASH_OPTIONS = {"seed": 3}

CASES: list[OpCase] = [
    OpCase(
        op="lsh_minhash",
        function=wh.lsh.minhash,
        reference=reference.minhash,
        samples=_set_samples(
            21,
            _MINHASH_OPTIONS,
            [{"seed": 2**32 - 1, "scheme": scheme} for scheme in SCHEMES] + [{"seed": 2**63 - 1, "validate": False}],
        ),
        operator_arguments=_minhash_arguments,
        resized=_RESIZED,
        large=Sample("large", (*sets((50,) * 2000 + (30_000, 0, 3)), 128), {"seed": 3}),
        bad_calls=[
            *_bad_sets(9, "num_perm", _MINHASH_OPTIONS),
            BadCall("scheme", (*sets(), 9), ValueError, "^scheme must be .*got 'sha1'", {"seed": 1, "scheme": "sha1"}),
            BadCall("scheme number", (*sets(), 9), ValueError, "^scheme must be .*got 0", {"seed": 1, "scheme": 0}),
            BadCall(
                "seed of datasketch",
                (*sets(), 9),
                ValueError,
                r"^seed must be below 2\^32 for scheme 'datasketch', got 4294967296",
                {"seed": 2**32, "scheme": "datasketch"},
            ),
        ],
        sweep=_sweep_minhash,
        batches=[_ITEM],
    ),
    OpCase(
        op="lsh_one_permutation",
        function=wh.lsh.one_permutation_minhash,
        reference=reference.one_permutation_minhash,
        samples=_set_samples(
            21,
            _MINHASH_OPTIONS,
            [{"seed": 0, "densify": False}, {"seed": 2**63 - 1}, {"seed": 5, "validate": False}],
        ),
        operator_arguments=_one_permutation_arguments,
        resized=_RESIZED,
        large=Sample("large", (*sets((50,) * 2000 + (300_000, 0, 3)), 128), {"seed": 3}),
        bad_calls=_bad_sets(9, "num_bins", _MINHASH_OPTIONS),
        sweep=_sweep_one_permutation,
        batches=[_ITEM],
    ),
]


# ---- What is made of signatures -------------------------------------------------------------------------------------
def _row_samples(width: int, *rest: Any, options: dict[str, Any]) -> list[Sample]:
    x = signatures(13, width)
    return [
        Sample("plain", (x, *rest), options),
        Sample("one row", (x[:1], *rest), options),
        Sample("not contiguous", (x.mT.contiguous().mT, *rest), options),
        Sample("every second", (x.repeat_interleave(2, 1)[::2, ::2], *rest), options),
        Sample("expanded", (x[:1].expand(13, width), *rest), options),
        Sample("no rows", (x[:0], *rest), options),
        Sample("nothing but -1", (torch.full((3, width), -1, dtype=torch.int32), *rest), options),
    ]


def _bad_rows(*rest: Any, options: dict[str, Any]) -> list[BadCall]:
    x = signatures(3, 12)
    text = "^signatures must be "
    return [
        BadCall("not an array", ([1, 2], *rest), TypeError, text + "a torch tensor.*got list", options),
        BadCall("int64", (x.long(), *rest), TypeError, text + "int32, got torch.int64", options),
        BadCall("float", (x.float(), *rest), TypeError, text + "int32, got torch.float32", options),
        BadCall("1-D", (x[0], *rest), ValueError, text + r"2-D \[N, num_perm\].*\(12,\)", options),
        BadCall("3-D", (x[None], *rest), ValueError, text + r"2-D .*\(1, 3, 12\)", options),
        BadCall("sparse", (x.to_sparse(), *rest), TypeError, text + "a dense tensor", options),
    ]


def _sweep_densify() -> Iterator[Sample]:
    for width in WIDTHS:
        yield Sample(f"{width} bins", (signatures(11, width, width),), {"seed": width})
    few = torch.full((3, 2000), -1, dtype=torch.int32)  # 256 attempts find one value of 2000 hardly ever
    few[0, 7], few[1, 1999], few[2, 0] = 5, 6, 7
    yield Sample("one value of 2000", (few,), {"seed": 1})


def _sweep_bands() -> Iterator[Sample]:
    for width in WIDTHS:
        for bands in (n for n in range(1, width + 1) if width % n == 0):
            yield Sample(f"{width} values, {bands} bands", (signatures(7, width, width), bands))


def _sweep_bits() -> Iterator[Sample]:
    for width in (*range(70), 127, 128, 129, 130, 257):
        for bits in (1, 2, 4, 8, 16):
            yield Sample(f"{width} values, {bits} bits", (signatures(3, width, width), bits))


_SEED: dict[str, Any] = {"seed": 4}

CASES += [
    OpCase(
        op="lsh_densify",
        function=wh.lsh.densify,
        reference=reference.densify,
        samples=[
            *_row_samples(21, options=_SEED),
            Sample("no bins", (signatures(3, 0),), _SEED),
            Sample("largest seed", (signatures(9, 33),), {"seed": 2**63 - 1}),
        ],
        operator_arguments=lambda sample: (*sample.arguments, sample.options["seed"]),
        resized=(Sample("first", (signatures(5, 21),), _SEED), Sample("second", (signatures(9, 40),), _SEED)),
        large=Sample("large", (signatures(5000, 128),), _SEED),
        bad_calls=[
            *_bad_rows(options=_SEED),
            BadCall("negative seed", (signatures(3, 4),), ValueError, "^seed must be at least 0", {"seed": -1}),
            BadCall("seed of text", (signatures(3, 4),), TypeError, "^seed must be an int, got str", {"seed": "1"}),
        ],
        sweep=_sweep_densify,
        batches=[Sample("item", (signatures(6, 21),), _SEED)],
    ),
    OpCase(
        op="lsh_band_keys",
        function=wh.lsh.band_keys,
        reference=reference.band_keys,
        samples=[
            *_row_samples(24, 4, options={}),
            Sample("one band", (signatures(9, 24), 1)),
            Sample("bands of one", (signatures(9, 24), 24)),
        ],
        operator_arguments=lambda sample: sample.arguments,
        resized=(Sample("first", (signatures(5, 24), 4)), Sample("second", (signatures(9, 40), 4))),
        large=Sample("large", (signatures(5000, 128), 16)),
        bad_calls=[
            *_bad_rows(4, options={}),
            BadCall("they do not divide", (signatures(3, 12), 5), ValueError, "^bands must divide the 12 .*got 5"),
            BadCall("no values", (signatures(3, 0), 5), ValueError, "^bands must divide the 0 .*got 5"),
            BadCall("no bands", (signatures(3, 12), 0), ValueError, "^bands must be at least 1, got 0"),
            BadCall("negative", (signatures(3, 12), -4), ValueError, "^bands must be at least 1, got -4"),
            BadCall("float", (signatures(3, 12), 4.0), TypeError, "^bands must be an int, got float"),
        ],
        sweep=_sweep_bands,
        batches=[Sample("item", (signatures(6, 24), 4))],
    ),
    OpCase(
        op="lsh_bbit_pack",
        function=wh.lsh.bbit_pack,
        reference=reference.bbit_pack,
        samples=[
            *_row_samples(21, 4, options={}),
            *(Sample(f"{bits} bits", (signatures(9, 35), bits)) for bits in (1, 2, 4, 8, 16)),
            Sample("no values", (signatures(3, 0), 4)),
        ],
        operator_arguments=lambda sample: sample.arguments,
        resized=(Sample("first", (signatures(5, 21), 2)), Sample("second", (signatures(9, 40), 2))),
        large=Sample("large", (signatures(5000, 128), 2)),
        bad_calls=[
            *_bad_rows(4, options={}),
            *(
                BadCall(f"{bits} bits", (signatures(3, 12), bits), ValueError, f"^bits must be .*got {bits}")
                for bits in (0, 3, 5, 32)
            ),
            BadCall("negative bits", (signatures(3, 12), -1), ValueError, "^bits must be at least 0, got -1"),
            BadCall("float bits", (signatures(3, 12), 1.0), TypeError, "^bits must be an int, got float"),
        ],
        sweep=_sweep_bits,
        batches=[Sample("item", (signatures(6, 21), 4))],
    ),
]
