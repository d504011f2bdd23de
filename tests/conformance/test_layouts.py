# SPDX-License-Identifier: Apache-2.0
"""Where and how inputs lie in memory changes no bit of a result, and no input is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from .op_case import OpCase, Sample, raw_bytes, same_bits


def _shifted(x: Tensor) -> Tensor:
    """The same values, from an address that no vector register is aligned to."""
    storage = torch.empty(x.numel() + 3, dtype=x.dtype)
    return storage[3:].view(x.shape).copy_(x)


def _transposed(x: Tensor) -> Tensor:
    return x.permute(*reversed(range(x.dim()))).contiguous().permute(*reversed(range(x.dim())))


def _spread(x: Tensor) -> Tensor:
    """Every second element of a larger tensor, in every dimension."""
    larger = torch.zeros([2 * size + 1 for size in x.shape], dtype=x.dtype)
    return larger[tuple(slice(1, None, 2) for _ in x.shape)].copy_(x)


def _flipped_view(x: Tensor) -> Tensor:
    """A view of a gradient-carrying parent, as a layer hands over."""
    return torch.stack([x, x])[1]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "offset": _shifted,
    "transposed": _transposed,
    "spread": _spread,
    "view": _flipped_view,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_nothing(case: OpCase, sample: Sample, layout: str) -> None:
    expected = sample.mapped(lambda x: x.detach().contiguous()).call(case.function)
    out = sample.mapped(lambda x: LAYOUTS[layout](x.detach())).call(case.function)
    assert all(same_bits(a, b) for a, b in zip(out, expected, strict=True))


def test_inputs_are_not_written(case: OpCase, sample: Sample) -> None:
    versions = [x._version for x in sample.tensors()]
    before = [raw_bytes(x).clone() for x in sample.tensors()]
    sample.call(case.function)
    assert [x._version for x in sample.tensors()] == versions
    assert all(torch.equal(raw_bytes(x), old) for x, old in zip(sample.tensors(), before, strict=True))


def test_twice_the_same(case: OpCase, sample: Sample) -> None:
    first, second = sample.call(case.function), sample.call(case.function)
    assert all(same_bits(a, b) for a, b in zip(first, second, strict=True))


def test_deterministic_mode_fills_nothing_in(case: OpCase, sample: Sample) -> None:
    """In this mode torch fills new memory with NaN or the largest integer: what an operator does not write shows."""
    expected = sample.call(case.function)
    torch.use_deterministic_algorithms(True)
    try:
        out = sample.call(case.function)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(same_bits(a, b) for a, b in zip(out, expected, strict=True))


def test_autocast_changes_nothing(case: OpCase, sample: Sample) -> None:
    expected = sample.call(case.function)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            out = sample.call(case.function)
        assert all(same_bits(a, b) for a, b in zip(out, expected, strict=True))


def test_inference_mode_changes_nothing(case: OpCase, sample: Sample) -> None:
    expected = sample.call(case.function)
    with torch.inference_mode():
        out = sample.call(case.function)
    assert all(same_bits(a, b) for a, b in zip(out, expected, strict=True))
