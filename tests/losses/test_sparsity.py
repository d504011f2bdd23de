# SPDX-License-Identifier: Apache-2.0
"""The FLOPS regulariser: values, derivatives, dtypes, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import warphash as wh


def test_values() -> None:
    weights = torch.tensor([[1.0, 0, -2], [3, 0, 2]])
    assert wh.losses.flops(weights).item() == 2**2 + 0 + 2**2
    random = torch.rand(5, 7, dtype=torch.float64)
    assert wh.losses.flops(random).item() == pytest.approx(float((np.abs(random.numpy()).mean(0) ** 2).sum()))
    batch = torch.stack([random, -2 * random])
    expected = torch.stack([wh.losses.flops(random), 4 * wh.losses.flops(random)])
    torch.testing.assert_close(wh.losses.flops(batch), expected)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (3, 0, 2)])
def test_empty(shape: tuple[int, ...]) -> None:
    weights = torch.zeros(shape, requires_grad=True)
    out = wh.losses.flops(weights)
    assert out.shape == shape[:-2]
    assert not out.any()
    out.sum().backward()
    assert weights.grad.shape == shape


def test_derivatives() -> None:
    weights = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(wh.losses.flops, (weights,))
    assert torch.autograd.gradgradcheck(wh.losses.flops, (weights,))
    zeros = torch.zeros(4, 6, requires_grad=True)
    wh.losses.flops(zeros).backward()
    assert not zeros.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_summed_in_float32(dtype: torch.dtype) -> None:
    weights = torch.full((3000, 4), 60.0, dtype=dtype, requires_grad=True)
    out = wh.losses.flops(weights)
    assert out.dtype == torch.float32
    assert out.item() == 4 * 3600
    out.backward()
    assert weights.grad.dtype == dtype


def test_autocast_compile_and_vmap() -> None:
    weights = torch.rand(5, 8)
    expected = wh.losses.flops(weights)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(wh.losses.flops(weights), expected)
    torch._dynamo.reset()
    compiled = torch.compile(wh.losses.flops, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(weights), expected)
    torch.testing.assert_close(torch.vmap(wh.losses.flops)(weights[None])[0], expected)


def test_refusals() -> None:
    for bad, error, text in (
        ([[1.0]], TypeError, "weights must be a torch tensor, got list"),
        (torch.ones(2, 3, dtype=torch.int64), TypeError, "weights must have a floating dtype"),
        (torch.ones(2, 3).to_sparse(), TypeError, "weights must be a dense tensor"),
        (torch.ones(3), ValueError, r"weights must be \[\.\.\., N, V\], got \[3\]"),
    ):
        with pytest.raises(error, match=text):
            wh.losses.flops(bad)
