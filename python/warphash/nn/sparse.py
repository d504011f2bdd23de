# SPDX-License-Identifier: Apache-2.0
"""Heads that end in sparse vectors over a vocabulary: SPLADE."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import _checks
from .._dtypes import compute_dtype
from ..spgemm import csr
from .autocast import autocast, autocast_is_on, without_autocast

AGGREGATIONS = ("max", "sum")
# Elements of the largest intermediate result of a block of the vocabulary.
BLOCK_ELEMENTS = 1 << 24


def blocks(vocabulary: int, elements_a_term: int) -> list[slice]:
    """The vocabulary in pieces that need no more than so many elements each."""
    size = max(BLOCK_ELEMENTS // max(elements_a_term, 1), 1)
    return [slice(begin, min(begin + size, vocabulary)) for begin in range(0, vocabulary, size)]


class LargestLogits(torch.autograd.Function):
    """For each term the largest logit of a row's tokens and the token that has it, without the logits of all tokens.

    The gradient goes to that token alone, so that backward costs a row of the weight for each term and row, not for
    each token. Both passes take the vocabulary block by block.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(hidden: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor) -> tuple[Tensor, Tensor]:
        largest, tokens = [], []
        for block in blocks(weight.shape[0], hidden.shape[0] * hidden.shape[1]):
            logits = functional.linear(hidden, weight[block], None if bias is None else bias[block])
            found = logits.masked_fill(~mask.unsqueeze(-1), -torch.inf).max(1)
            largest.append(found.values)
            tokens.append(found.indices)
        return torch.cat(largest, 1), torch.cat(tokens, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, Tensor]) -> None:
        hidden, weight, bias, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(hidden, weight, output[1])
        ctx.has_bias = bias is not None

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        hidden, weight, tokens = ctx.saved_tensors
        dtype = compute_dtype(hidden.dtype)
        grad = grad_outputs[0].to(dtype)
        to_hidden = torch.zeros_like(hidden, dtype=dtype) if ctx.needs_input_grad[0] else None
        to_weight = []
        for block in blocks(weight.shape[0], hidden.shape[0] * hidden.shape[2]):
            of_block = grad[:, block].unsqueeze(-1)
            place = tokens[:, block].unsqueeze(-1).expand(-1, -1, hidden.shape[2])
            if to_hidden is not None:
                to_hidden = to_hidden.scatter_add(1, place, of_block * weight[block].to(dtype))
            if ctx.needs_input_grad[1]:
                to_weight.append((of_block * hidden.gather(1, place).to(dtype)).sum(0))
        return (
            None if to_hidden is None else to_hidden.to(hidden.dtype),
            torch.cat(to_weight).to(weight.dtype) if to_weight else None,
            grad.sum(0).to(weight.dtype) if ctx.has_bias else None,
            None,
        )


def saturated(logits: Tensor) -> Tensor:
    """log(1 + ReLU(logits)), in float32 where the dtype is half of that."""
    return torch.log1p(torch.relu(logits).to(compute_dtype(logits.dtype))).to(logits.dtype)


def keep_largest(weights: Tensor, top_k: int) -> Tensor:
    """Zero but for the top_k largest of the last dimension, equal ones by index; gradients reach what is kept.

    NaN counts as the largest, so that pruning hides none.
    """
    if top_k >= weights.shape[-1]:
        return weights
    if top_k == 0:
        return weights * 0
    ranked = weights.detach().nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    least = ranked.topk(top_k, -1).values[..., -1:]
    above, equal = ranked > least, ranked == least
    keep = above | (equal & (equal.cumsum(-1) <= top_k - above.sum(-1, keepdim=True)))
    return torch.where(keep, weights, torch.zeros_like(weights))


class SparseEncoderHead(nn.Module):
    """Token states to one sparse vector over a vocabulary (SPLADE): what :class:`warphash.retrieval.SparseIndex` finds.

    With logits = Linear(hidden) [B, L, vocab_size] and the tokens i that the mask admits, the weight of term v is

    * ``agg="max"``: max_i log(1 + ReLU(logits_iv)) (SPLADE v2 and later; Formal et al. 2021),
    * ``agg="sum"``: Σ_i log(1 + ReLU(logits_iv)) (SPLADE; Formal, Piwowarski and Clinchant 2021),

    which is 0 for a row without tokens. Regularise by :func:`warphash.losses.flops`. For tied weights let
    ``head.linear.weight`` be the embedding's parameter.

    Args:
        hidden_size: size of the last dimension of ``hidden``.
        vocab_size: terms.
        agg: see above.
        top_k: keep this many largest weights of each row, equal ones by index, and zero the rest; None: keep all.
        bias: whether the linear layer has one.

    Shapes: hidden [B, L, hidden_size] of a floating dtype, attention_mask [B, L] of bool, integers or floats (nonzero:
    a token) → weights [B, vocab_size] in the linear layer's output dtype. Halves: the logarithm and sums of gradients
    in float32. Differentiable twice. Memory: ``max`` keeps an index a term and row for backward, and neither pass holds
    logits of all tokens, but those of a block of the vocabulary (64 MB of float32; the largest of them B · L elements);
    ``sum`` holds all.
    """

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        *,
        agg: str = "max",
        top_k: int | None = None,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        hidden_size, vocab_size = (
            _checks.count("hidden_size", hidden_size, 1),
            _checks.count("vocab_size", vocab_size, 1),
        )
        if not isinstance(agg, str) or agg not in AGGREGATIONS:
            raise ValueError(f"agg must be one of {', '.join(AGGREGATIONS)}; got {agg!r}")
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise TypeError(f"dtype must be a floating torch.dtype, got {dtype}")
        self.hidden_size = hidden_size
        self.vocab_size = vocab_size
        self.agg = agg
        self.top_k = None if top_k is None else _checks.count("top_k", top_k, 1)
        self.linear = nn.Linear(hidden_size, vocab_size, bias=_checks.flag("bias", bias), device=device, dtype=dtype)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Weights [B, vocab_size]."""
        mask = self._checked(hidden, attention_mask)
        parameters = (hidden, self.linear.weight) + (() if self.linear.bias is None else (self.linear.bias,))
        hidden, weight, *rest = autocast(*parameters)
        bias = rest[0] if rest else None
        with without_autocast(hidden.device):
            if attention_mask is not None:  # so that NaN of padding reaches no gradient of the weight either
                hidden = hidden.masked_fill(~mask.unsqueeze(-1), 0)
            if hidden.shape[1] == 0:
                # No tokens: zeros that a gradient still goes through.
                empty = hidden.sum(1) @ weight.T
                return empty * 0 if bias is None else (empty + bias) * 0
            if self.agg == "max":
                largest, _ = LargestLogits.apply(hidden, weight, bias, mask)  # type: ignore[no-untyped-call]
                weights = saturated(largest)
            else:
                logits = functional.linear(hidden, weight, bias)
                each = torch.log1p(
                    torch.relu(logits.masked_fill(~mask.unsqueeze(-1), 0)).to(compute_dtype(hidden.dtype))
                )
                weights = each.sum(1).to(hidden.dtype)
            return weights if self.top_k is None else keep_largest(weights, self.top_k)

    @csr.outside_of_graphs
    @torch.no_grad()
    def encode(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The weights that are not 0 as ``torch.sparse_csr`` [B, vocab_size] with int64 indices, without gradient.

        torch.compile calls it between its graphs, and refuses it under ``fullgraph=True``.
        """
        weights = self(hidden, attention_mask)
        present = weights != 0
        crow = torch.cat([present.new_zeros(1, dtype=torch.int64), present.sum(1).cumsum(0)])
        return csr.build(crow, present.nonzero()[:, 1], weights[present], (weights.shape[0], self.vocab_size))

    def extra_repr(self) -> str:
        pruned = "" if self.top_k is None else f", top_k={self.top_k}"
        return f"hidden_size={self.hidden_size}, vocab_size={self.vocab_size}, agg={self.agg!r}{pruned}"

    def _checked(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        if not isinstance(hidden, Tensor):
            raise TypeError(f"hidden must be a torch tensor, got {type(hidden).__name__}")
        _checks.dense("hidden", hidden)
        if not hidden.is_floating_point():
            raise TypeError(f"hidden must have a floating dtype, got {hidden.dtype}")
        if hidden.dim() != 3 or hidden.shape[2] != self.hidden_size:
            raise ValueError(f"hidden must be [B, L, {self.hidden_size}], got {list(hidden.shape)}")
        weight = self.linear.weight
        if hidden.device != weight.device:
            raise ValueError(f"hidden is on {hidden.device} and the layer's weight on {weight.device}")
        if hidden.dtype != weight.dtype and not autocast_is_on(hidden.device):
            raise TypeError(
                f"hidden is {hidden.dtype} and the layer's weight {weight.dtype}; convert one, or use autocast"
            )
        if attention_mask is None:
            return torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        if not isinstance(attention_mask, Tensor):
            raise TypeError(f"attention_mask must be a torch tensor, got {type(attention_mask).__name__}")
        _checks.dense("attention_mask", attention_mask)
        if attention_mask.shape != hidden.shape[:2]:
            raise ValueError(
                f"attention_mask must be {list(hidden.shape[:2])} as hidden, got {list(attention_mask.shape)}"
            )
        if attention_mask.device != hidden.device:
            raise ValueError(f"attention_mask is on {attention_mask.device} and hidden on {hidden.device}")
        return attention_mask != 0
