# SPDX-License-Identifier: Apache-2.0
"""One small call of every operator, checked: for foreign torch versions, wheels, and runs under compute-sanitizer.

On the CPU the answers are compared with the plain-torch references, on CUDA with the CPU kernels, bit for bit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import warphash as wh
from warphash.hamming import reference

Call = tuple[str, Callable[..., Any], tuple[Any, ...]]


def calls() -> Iterator[Call]:
    """(name, function, arguments) with tensors on the CPU; sizes that leave tails in every direction."""
    random = torch.Generator().manual_seed(0)
    for bits in (1, 64, 200, 1024):
        queries, database = (torch.randn(rows, bits, generator=random) for rows in (37, 521))
        q, d = wh.hamming.pack(queries), wh.hamming.pack(database)
        shared = torch.rand(len(d), generator=random) < 0.5
        each = torch.rand(len(q), len(d), generator=random) < 0.5
        yield f"pack {bits}", wh.hamming.pack, (queries,)
        yield f"unpack {bits}", wh.hamming.unpack, (d, bits)
        yield f"cdist {bits}", wh.hamming.cdist, (q, d)
        for rows in (1, 7, 37):
            yield f"topk {bits} Q={rows}", wh.hamming.topk, (q[:rows], d, 10)
        yield f"topk {bits} large k", wh.hamming.topk, (q, d, 600)
        yield f"range_search {bits}", wh.hamming.range_search, (q, d, bits // 2)
        yield f"histogram {bits}", wh.hamming.histogram, (q, d)
        yield f"asymmetric_topk {bits}", wh.hamming.asymmetric_topk, (queries, d, 10)
        yield f"jaccard_topk {bits}", wh.hamming.jaccard_topk, (q, d, 10)
        for mask in (shared, each):
            masked = {"mask": mask}
            yield f"topk {bits} masked", _With(wh.hamming.topk, masked), (q, d, 10)
            yield f"histogram {bits} masked", _With(wh.hamming.histogram, masked), (q, d)


class _With:
    """A function with keyword arguments, which move to the device as the others do."""

    def __init__(self, function: Callable[..., Any], keywords: dict[str, Any]) -> None:
        self.function, self.keywords, self.__name__ = function, keywords, function.__name__

    def __call__(self, *arguments: Any) -> Any:
        device = arguments[0].device
        return self.function(*arguments, **{key: value.to(device) for key, value in self.keywords.items()})


def _parts(result: Any) -> tuple[torch.Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def expected(function: Callable[..., Any], arguments: tuple[Any, ...], device: torch.device) -> Any:
    """From the reference of the same name on the CPU, from the CPU kernel on CUDA."""
    if device.type == "cuda":
        return function(*arguments)
    oracle = getattr(reference, function.__name__)
    return oracle(*arguments, **function.keywords) if isinstance(function, _With) else oracle(*arguments)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    device = torch.device(options.parse_args().device)
    wrong = count = 0
    for name, function, arguments in calls():
        moved = tuple(value.to(device) if isinstance(value, torch.Tensor) else value for value in arguments)
        got = [part.cpu() for part in _parts(function(*moved))]
        want = [part.cpu() for part in _parts(expected(function, arguments, device))]
        same = len(got) == len(want) and all(
            a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(got, want, strict=True)
        )
        count += 1
        if not same:
            wrong += 1
            print(f"{name} on {device.type}: not equal to the expected answer", file=sys.stderr)
    print(
        f"warphash {wh.__version__}, torch {torch.__version__}, {device.type}: {count - wrong} passed, {wrong} failed"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
