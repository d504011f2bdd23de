# SPDX-License-Identifier: Apache-2.0
"""Softmax attention that also gives its log-sum-exp, whole and in tiles through permutations; both with derivatives.

With P the softmax, O = P V and L the log-sum-exp of the scaled logits, gradients dO and dL give

    dS = P * (dO V^T - rowsum(dO * O) + dL),  dQ = scale dS K,  dK = scale dS^T Q,  dV = P^T dO.

torch's fused kernels know no dL. It is folded in exactly: the row sum is made of ``out`` and ``grad_out`` as they are
given, so a column of ones in ``out`` beside one of -dL in ``grad_out`` (and zeros in q, k and v) adds dL to each dS.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .._dtypes import compute_dtype
from .autocast import without_autocast

_aten = torch.ops.aten
# Of the rows gathered for a part of the tiles: they are read right after, from the second-level cache.
PART_BYTES = 4 << 20


# ---- One attention, [N, Lq, d] against [N, Lk, d] -------------------------------------------------------------------
def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """(out, lse) by torch's differentiable operators, logits and sums in the compute dtype."""
    logits = _logits(q, k, bias, causal, scale)
    lse = logits.logsumexp(-1)
    return ((logits - lse.unsqueeze(-1)).exp() @ v.to(logits.dtype)).to(q.dtype), lse


def _logits(q: Tensor, k: Tensor, bias: Tensor | None, causal: bool, scale: float) -> Tensor:
    """Scaled, biased and masked, in the compute dtype: [N, Lq, Lk]."""
    wide = compute_dtype(q.dtype)
    logits = scale * (q.to(wide) @ k.to(wide).mT)
    if bias is not None:
        logits = logits + bias
    if causal:
        hidden = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        logits = logits.masked_fill(hidden, -math.inf)
    return logits


def _fused(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether torch's kernel for the CPU serves: it wants one head dimension, and at least one row of each."""
    return q.device.type == "cpu" and q.shape[-1] == v.shape[-1] and 0 not in (*q.shape, *k.shape)


def _masked(bias: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """As the kernel takes it: [N, 1, Lq, Lk], which need not lie in memory."""
    return None if bias is None else bias.expand(q.shape[0], q.shape[1], k.shape[1]).unsqueeze(1)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """(out [N, Lq, dv], lse [N, Lq]), without derivatives. bias [N, 1 or Lq, Lk] in the compute dtype."""
    if not _fused(q, k, v):
        return plain(q, k, v, bias, causal, scale)
    out, lse = _aten._scaled_dot_product_flash_attention_for_cpu(
        *(x.unsqueeze(1) for x in (q, k, v)), 0.0, causal, attn_mask=_masked(bias, q, k), scale=scale
    )
    return out.squeeze(1), lse.squeeze(1)


def attend_backward(
    gradients: tuple[Tensor, Tensor | None], q: Tensor, k: Tensor, v: Tensor, answer: tuple[Tensor, Tensor],
    bias: Tensor | None, causal: bool, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients to q, k and v from those of (out, lse), the latter's None where it is zero."""
    of_out, of_lse = gradients
    out, lse = answer
    if _fused(q, k, v):
        operands = [of_out, q, k, v, out]
        if of_lse is not None:
            last = -of_lse.unsqueeze(-1).to(q.dtype)
            operands = [
                torch.cat([of_out, last], -1),
                *(pad(x, (0, 1)) for x in (q, k, v)),
                torch.cat([out, torch.ones_like(last)], -1),
            ]
        found = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
            *(x.unsqueeze(1) for x in operands), lse.unsqueeze(1), 0.0, causal, attn_mask=_masked(bias, q, k),
            scale=scale,
        )  # fmt: skip
        to_q, to_k, to_v = (x.squeeze(1)[..., : q.shape[-1]] for x in found)
        return to_q, to_k, to_v
    wide = compute_dtype(q.dtype)
    weights = (_logits(q, k, bias, causal, scale) - lse.unsqueeze(-1)).exp()
    upper = of_out.to(wide)
    delta = (upper * out.to(wide)).sum(-1, keepdim=True)
    if of_lse is not None:
        delta = delta - of_lse.unsqueeze(-1)
    of_logits = scale * weights * (upper @ v.to(wide).mT - delta)
    to_q, to_k, to_v = of_logits @ k.to(wide), of_logits.mT @ q.to(wide), weights.mT @ upper
    return to_q.to(q.dtype), to_k.to(k.dtype), to_v.to(v.dtype)


class WholeAttention(torch.autograd.Function):
    """``attend`` with its derivative; the second one goes through plain operators."""

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
        return attend(q, k, v, None, causal, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        q, k, v, ctx.causal, ctx.scale = inputs
        ctx.save_for_backward(q, k, v, *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        of_out, of_lse = gradients
        of_out = torch.zeros_like(out) if of_out is None else of_out
        with without_autocast(q.device):
            if torch.is_grad_enabled():
                of_lse = torch.zeros_like(lse) if of_lse is None else of_lse
                found = differentiated(
                    lambda q, k, v: plain(q, k, v, None, ctx.causal, ctx.scale), (q, k, v), (of_out, of_lse)
                )
            else:
                found = attend_backward((of_out, of_lse), q, k, v, (out, lse), None, ctx.causal, ctx.scale)
        return (*found, None, None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        return _side_by_side(whole_attention, info.batch_size, in_dims, inputs)


def _side_by_side(
    function: Any, size: int, in_dims: tuple[int | None, ...], inputs: tuple[Any, ...]
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    """The batch of vmap in the first dimension of everything, which is a batch already."""

    def folded(x: Any, dim: int | None) -> Any:
        if not isinstance(x, Tensor):
            return x
        moved = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
        return moved.reshape(-1, *moved.shape[2:])

    out, lse = function(*(folded(x, dim) for x, dim in zip(inputs, in_dims, strict=True)))
    return (out.unflatten(0, (size, -1)), lse.unflatten(0, (size, -1))), (0, 0)


def differentiated(function: Any, inputs: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients to the inputs by operators with derivatives of their own, for derivatives of derivatives."""
    found: tuple[Tensor, ...] = torch.func.vjp(function, *inputs)[1](gradients)
    return found


# ---- Tiles: some queries against one block of keys and the sampled ones ---------------------------------------------
@dataclass(frozen=True)
class Tiles:
    """Which rows meet. Places beyond the last row hold the last one; masks leave them out.

    queries [N, T, Tq]: rows of q. real: None where all are, else bool [N, T, Tq]. keys [N, T, B]: rows of k and v.
    samples [N, M]: rows of k and v that every tile sees too. bias [N, T, B + M], in the compute dtype: 0 or -inf for a
    tile's own keys, log(weight) or -inf for the samples.
    """

    queries: Tensor
    real: Tensor | None
    keys: Tensor
    samples: Tensor
    bias: Tensor

    def tensors(self) -> tuple[Tensor | None, ...]:
        """All of them, in order."""
        return self.queries, self.real, self.keys, self.samples, self.bias

    def parts(self, width: int, itemsize: int) -> Iterator[tuple[Tensor, Tensor | None, Tensor, Tensor]]:
        """Queries, real, keys and bias of some tiles at a time."""
        tile = (self.queries.shape[2] + 2 * self.bias.shape[2]) * width * itemsize * self.queries.shape[0]
        step = max(1, PART_BYTES // max(tile, 1))
        for first in range(0, self.queries.shape[1], step):
            rows = slice(first, first + step)
            real = None if self.real is None else self.real[:, rows]
            yield self.queries[:, rows], real, self.keys[:, rows], self.bias[:, rows]


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x [N, L, d] at index [N, ...]: [N, ..., d]."""
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, x.shape[-1])
    return x.gather(1, flat).reshape(*index.shape, x.shape[-1])


def _entries(x: Tensor, index: Tensor) -> Tensor:
    """Entries of x [N, L] at index [N, ...]: [N, ...]."""
    return x.gather(1, index.flatten(1)).view_as(index)


def _gathered(x: Tensor, keys: Tensor, sampled: Tensor) -> Tensor:
    """A tile's own keys and the samples: [N T, B + M, d]."""
    own = _rows(x, keys)
    return torch.cat([own, sampled.unsqueeze(1).expand(-1, own.shape[1], -1, -1)], 2).flatten(0, 1)


def _destination(queries: Tensor, real: Tensor | None, rows: int) -> Tensor:
    """Where results go, [N, T Tq]: what stands for no query goes to a row beyond the last."""
    return (queries if real is None else torch.where(real, queries, rows)).flatten(1)


def plain_tiles(q: Tensor, k: Tensor, v: Tensor, tiles: Tiles, scale: float) -> tuple[Tensor, Tensor]:
    """(out, lse) of all tiles at once by differentiable operators."""
    k_tiles, v_tiles = (_gathered(x, tiles.keys, _rows(x, tiles.samples)) for x in (k, v))
    q_tiles = _rows(q, tiles.queries).flatten(0, 1)
    out, lse = plain(q_tiles, k_tiles, v_tiles, tiles.bias.flatten(0, 1).unsqueeze(1), False, scale)
    batch, rows = q.shape[:2]
    place = _destination(tiles.queries, tiles.real, rows)
    wide = place.unsqueeze(-1).expand(-1, -1, v.shape[-1])
    all_out = out.new_zeros(batch, rows + 1, v.shape[-1]).scatter(1, wide, out.reshape(wide.shape))
    all_lse = lse.new_zeros(batch, rows + 1).scatter(1, place, lse.reshape(place.shape))
    return all_out[:, :rows], all_lse[:, :rows]


class TiledAttention(torch.autograd.Function):
    """Attention in tiles, some at a time, so that gathered rows never lie in memory as a whole."""

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, scale: float, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        tiles = Tiles(*tensors)  # type: ignore[arg-type]
        batch, rows = q.shape[:2]
        beyond = 0 if tiles.real is None else 1
        out = q.new_empty(batch, rows + beyond, v.shape[-1])
        lse = q.new_empty(batch, rows + beyond, dtype=compute_dtype(q.dtype))
        k_sampled, v_sampled = _rows(k, tiles.samples), _rows(v, tiles.samples)
        for queries, real, keys, bias in tiles.parts(q.shape[-1], q.element_size()):
            part_out, part_lse = attend(
                _rows(q, queries).flatten(0, 1), _gathered(k, keys, k_sampled), _gathered(v, keys, v_sampled),
                bias.flatten(0, 1).unsqueeze(1), False, scale,
            )  # fmt: skip
            place = _destination(queries, real, rows)
            wide = place.unsqueeze(-1).expand(-1, -1, v.shape[-1])
            out.scatter_(1, wide, part_out.reshape(wide.shape))
            lse.scatter_(1, place, part_lse.reshape(place.shape))
        return out[:, :rows].contiguous(), lse[:, :rows].contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        q, k, v, ctx.scale, *tensors = inputs
        ctx.save_for_backward(q, k, v, *output, *tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse, *tensors = ctx.saved_tensors
        tiles = Tiles(*tensors)
        with without_autocast(q.device):
            if torch.is_grad_enabled():
                found = differentiated(lambda q, k, v: plain_tiles(q, k, v, tiles, ctx.scale), (q, k, v), gradients)
            else:
                found = _tiles_backward(gradients, q, k, v, (out, lse), tiles, ctx.scale)
        return (*found, *(None,) * (1 + len(tensors)))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        return _side_by_side(tiled_attention, info.batch_size, in_dims, inputs)


def _tiles_backward(
    gradients: tuple[Tensor, ...], q: Tensor, k: Tensor, v: Tensor, answer: tuple[Tensor, Tensor], tiles: Tiles,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    of_out, of_lse = gradients
    out, lse = answer
    batch, rows = q.shape[:2]
    wide = compute_dtype(q.dtype)
    to_q = q.new_empty(batch, rows + (tiles.real is not None), q.shape[-1])
    # Many tiles add to one row: in the compute dtype.
    to_k, to_v = (torch.zeros_like(x, dtype=wide) for x in (k, v))
    k_sampled, v_sampled = _rows(k, tiles.samples), _rows(v, tiles.samples)
    to_samples = [torch.zeros_like(x, dtype=wide) for x in (k_sampled, v_sampled)]
    own = tiles.keys.shape[2]
    for queries, real, keys, bias in tiles.parts(q.shape[-1], q.element_size()):
        upper, upper_lse = _rows(of_out, queries), _entries(of_lse, queries)
        if real is not None:
            upper, upper_lse = torch.where(real.unsqueeze(-1), upper, 0), torch.where(real, upper_lse, 0)
        part_lse = _entries(lse, queries)
        q_part, q_out = _rows(q, queries), _rows(out, queries)
        if real is not None:
            # A row that stands for no query may have another block's keys: its own answer would not fit them.
            part_lse = torch.where(real, part_lse, math.inf)
        found = attend_backward(
            (upper.flatten(0, 1), upper_lse.flatten(0, 1)), q_part.flatten(0, 1), _gathered(k, keys, k_sampled),
            _gathered(v, keys, v_sampled), (q_out.flatten(0, 1), part_lse.flatten(0, 1)),
            bias.flatten(0, 1).unsqueeze(1), False, scale,
        )  # fmt: skip
        place = _destination(queries, real, rows)
        spread = place.unsqueeze(-1).expand(-1, -1, q.shape[-1])
        to_q.scatter_(1, spread, found[0].reshape(spread.shape))
        for total, sampled, part in zip((to_k, to_v), to_samples, found[1:], strict=True):
            by_tile = part.unflatten(0, (batch, -1)).to(wide)
            index = keys.flatten(1).unsqueeze(-1).expand(-1, -1, total.shape[-1])
            total.scatter_add_(1, index, by_tile[:, :, :own].flatten(1, 2))
            sampled += by_tile[:, :, own:].sum(1)
    index = tiles.samples.unsqueeze(-1)
    for total, sampled in zip((to_k, to_v), to_samples, strict=True):
        total.scatter_add_(1, index.expand(-1, -1, total.shape[-1]), sampled)
    return to_q[:, :rows].contiguous(), to_k.to(k.dtype), to_v.to(v.dtype)


# Each one call of torch.compile's graph.
@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def whole_attention(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """(out [N, Lq, dv], lse [N, Lq]) of all keys."""
    found: tuple[Tensor, Tensor] = WholeAttention.apply(q, k, v, causal, scale)  # type: ignore[no-untyped-call]
    return found


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
    """(out [N, Lq, dv], lse [N, Lq]); tensors: those of Tiles."""
    found: tuple[Tensor, Tensor] = TiledAttention.apply(q, k, v, scale, *tensors)  # type: ignore[no-untyped-call]
    return found
