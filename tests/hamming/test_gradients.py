# SPDX-License-Identifier: Apache-2.0
"""Derivatives of asymmetric scores: the signs of the codes that were returned."""

from __future__ import annotations

import pytest
import torch
import warphash as wh

from .samples import codes, values

ham = wh.hamming


def test_the_gradient_is_the_sum_of_the_returned_codes_signs() -> None:
    weights, d = values(3, 45).requires_grad_(), codes(30, 6)
    scores, indices = ham.asymmetric_topk(weights, d, 5)
    upstream = torch.randn(3, 5)
    (gradient,) = torch.autograd.grad(scores, weights, upstream)
    signs = 2.0 * ham.unpack(d, 45) - 1
    torch.testing.assert_close(gradient, (upstream[:, :, None] * signs[indices]).sum(1))


def test_finite_differences() -> None:
    """Scores are linear between changes of rank, so a central difference is exact but for rounding."""
    weights, d = values(2, 24).requires_grad_(), codes(12, 3)
    direction = values(2, 24, seed=5)
    step = 2.0**-7

    def total(x: torch.Tensor) -> torch.Tensor:
        return ham.asymmetric_topk(x, d, 3)[0].sum()

    (gradient,) = torch.autograd.grad(total(weights), weights)
    with torch.no_grad():
        slope = (total(weights + step * direction) - total(weights - step * direction)) / (2 * step)
    torch.testing.assert_close(slope, (gradient * direction).sum(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_gradient_has_the_dtype_of_the_queries(dtype: torch.dtype) -> None:
    weights, d = values(3, 45).to(dtype).requires_grad_(), codes(30, 6)
    ham.asymmetric_topk(weights, d, 5)[0].sum().backward()
    assert weights.grad is not None
    assert weights.grad.dtype == dtype
    wide = weights.detach().float().requires_grad_()
    ham.asymmetric_topk(wide, d, 5)[0].sum().backward()
    assert wide.grad is not None
    torch.testing.assert_close(weights.grad, wide.grad.to(dtype), rtol=0, atol=0)


def test_missing_results_have_no_gradient() -> None:
    weights, d = values(2, 16).requires_grad_(), codes(3, 2)
    scores, indices = ham.asymmetric_topk(weights, d, 5)
    assert (indices[:, 3:] == -1).all()
    upstream = torch.zeros(2, 5)
    upstream[:, 3:] = 1.0
    (gradient,) = torch.autograd.grad(scores, weights, upstream)
    assert not gradient.any()


@pytest.mark.parametrize(("queries", "count", "k"), [(0, 5, 3), (2, 0, 3), (2, 5, 0)])
def test_empty_results_have_zero_gradients(queries: int, count: int, k: int) -> None:
    weights = values(queries, 16).requires_grad_()
    scores, _ = ham.asymmetric_topk(weights, codes(count, 2), k)
    (gradient,) = torch.autograd.grad(scores.masked_fill(scores.isinf(), 0.0).sum(), weights)
    assert gradient.shape == (queries, 16)
    assert not gradient.any()


def test_indices_and_codes_carry_no_gradient() -> None:
    weights = values(2, 16).requires_grad_()
    assert not ham.asymmetric_topk(weights, codes(5, 2), 2)[1].requires_grad
    assert not ham.pack(weights).requires_grad


def test_training_through_a_search() -> None:
    """A query that climbs its best score comes to the code's signs."""
    d = codes(40, 4)
    weights = (0.1 * values(1, 32)).requires_grad_()
    target = int(ham.asymmetric_topk(weights, d, 1)[1])
    optimizer = torch.optim.SGD([weights], lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        (-ham.asymmetric_topk(weights, d, 1)[0].sum()).backward()
        optimizer.step()
    assert torch.equal(ham.pack(weights.detach())[0], d[target])


def test_scores_in_the_graph_keep_their_inputs_versions() -> None:
    """A database changed in place between forward and backward is an error, not a wrong gradient."""
    weights, d = values(2, 16).requires_grad_(), codes(5, 2)
    scores, _ = ham.asymmetric_topk(weights, d, 2)
    d.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        scores.sum().backward()
