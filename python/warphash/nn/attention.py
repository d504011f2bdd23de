# SPDX-License-Identifier: Apache-2.0
"""Attention over long sequences in near-linear time by sorting queries and keys into hash buckets.

Source: "HyperAttention: Long-context Attention in Near-Linear Time" (Han et al., 2023). The estimate here keeps the
gradient of the log-sum-exp, masks tails and sampled keys of a query's own block, and sorts in true Gray order.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from .. import _checks, lsh
from .._constants import constant, kept
from .._dtypes import compute_dtype
from .._random import Stream, checked_seed, words
from .attention_blocks import Tiles, tiled_attention, whole_attention
from .autocast import autocast, without_autocast
from .planes import FixedPlanes

__all__ = ["HyperAttention", "hyper_attention"]

SCHEME = "hyper-attention/1"  # of planes and sampled positions
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


# ---- Sampled positions ----------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=64)
def _drawn(seed: int, first: int, count: int, keys: int, device: torch.device) -> Tensor:
    """Positions in [0, keys): the high 32 bits of each word times keys, over 2^32."""
    high = words(seed, Stream.SAMPLES, count, first) >> np.uint64(32)
    return kept(((high * np.uint64(keys)) >> np.uint64(32)).astype(np.int64), device)


# A constant of a compiled graph: see _constants.
@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def _sampled(seed: int, first: int, groups: int, count: int, keys: int, device: torch.device) -> Tensor:
    return constant(_drawn(seed, first, groups * count, keys, device)).view(groups, count)


def sample_positions(
    seed: int, groups: int, count: int, keys: int, *, first: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Positions int64 [groups, count] drawn uniformly with replacement from [0, keys), the same for a seed everywhere.

    first: the number of the first position in the seed's stream; calls that shall differ start at different ones.
    """
    numbers = (operator.index(number) for number in (seed, first, groups, count, keys))
    found: Tensor = _sampled(*numbers, torch.device(device))
    return found


# ---- Which rows meet ------------------------------------------------------------------------------------------------
def _even_tiles(order: Tensor, blocks: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Sorted queries [N, Lq] cut into as many tiles as there are blocks of keys: (queries, real, block of each)."""
    batch, rows = order.shape
    size = max(1, -(-rows // blocks))
    tiles = max(1, -(-rows // size))
    places = torch.arange(tiles * size, device=order.device)
    queries = order[:, places.clamp(max=rows - 1)].view(batch, tiles, size)
    real = None if tiles * size == rows else (places < rows).view(1, tiles, size).expand(batch, -1, -1)
    return queries, real, torch.arange(tiles, device=order.device).expand(batch, -1)


def _ragged_tiles(
    ranks: Tensor, key_offsets: Tensor, keys: int, block: int, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [N, Lq] beside the block in which a key of their rank would begin, whatever other queries there are.

    Each block's queries are cut into tiles of `size`; there are never more than Lq / size + blocks of them.
    """
    batch, rows = ranks.shape
    blocks = -(-keys // block)
    own_block = key_offsets.gather(1, ranks.long()).clamp(max=keys - 1) // block
    order, _, offsets = lsh.bucket_sort(own_block, blocks, validate=False)
    per_block = (offsets.diff(dim=1) + size - 1) // size
    ends = per_block.cumsum(1)
    tiles = rows // size + blocks
    number = torch.arange(tiles, device=ranks.device).expand(batch, -1).contiguous()
    block_of = torch.searchsorted(ends, number, right=True).clamp(max=blocks - 1)
    within = number - (ends - per_block).gather(1, block_of)
    begin = offsets.gather(1, block_of) + within * size
    places = begin.unsqueeze(-1) + torch.arange(size, device=ranks.device)
    real = (places < offsets.gather(1, block_of + 1).unsqueeze(-1)) & (number < ends[:, -1:]).unsqueeze(-1)
    queries = order.gather(1, places.clamp(0, rows - 1).flatten(1)).view(batch, tiles, size)
    return queries, real, block_of


def _tiles(q: Tensor, k: Tensor, planes: Tensor, positions: Tensor, block: int, strict: bool) -> Tiles:
    """Tiles of q [N, Lq, d] and k [N, Lk, d]; positions [N, M] in the sorted keys."""
    keys = k.shape[1]
    blocks = -(-keys // block)
    by_rank = lsh.sort_lsh(k.detach(), planes)
    real: Tensor | None
    if strict:
        ranks = lsh.simhash_codes(q.detach(), planes.unsqueeze(1), order="gray").squeeze(-1)
        size = max(1, min(block, -(-q.shape[1] // blocks)))
        queries, real, block_of = _ragged_tiles(ranks, by_rank.offsets, keys, block, size)
    else:
        queries, real, block_of = _even_tiles(lsh.sort_lsh(q.detach(), planes).order, blocks)
    places = block_of.unsqueeze(-1) * block + torch.arange(block, device=k.device)
    own = by_rank.order.gather(1, places.clamp(max=keys - 1).flatten(1)).view_as(places)
    wide = compute_dtype(q.dtype)
    tail = torch.where(places < keys, 0.0, -math.inf).to(wide)
    # A sampled key stands for keys / M of those outside of the block; those inside are there already.
    count = positions.shape[1]
    weight = math.log(keys / count) if count else 0.0
    inside = (positions // block).unsqueeze(1) == block_of.unsqueeze(-1)
    sampled = torch.where(inside, -math.inf, weight).to(wide)
    return Tiles(queries, real, own, by_rank.order.gather(1, positions), torch.cat([tail, sampled], -1))


def _estimate(
    q: Tensor, k: Tensor, v: Tensor, planes: Tensor, positions: Tensor, block: int, scale: float, strict: bool
) -> tuple[Tensor, Tensor]:
    """Without a mask: exact where one block holds all keys, else blocks and samples. [N, L, d] and [N, L]."""
    if k.shape[1] <= block or 0 in q.shape[:2]:
        whole: tuple[Tensor, Tensor] = whole_attention(q, k, v, False, scale)
        return whole
    tiles = _tiles(q, k, planes, positions, block, strict)
    tiled: tuple[Tensor, Tensor] = tiled_attention(q, k, v, scale, *tiles.tensors())
    return tiled


def _merged(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two answers over different keys as one over both."""
    lse = torch.logaddexp(first[1], second[1])
    one, other = (part * (own - lse).exp().unsqueeze(-1).to(part.dtype) for part, own in (first, second))
    return one + other, lse


def _causal(
    q: Tensor, k: Tensor, v: Tensor, planes: Tensor, positions: Any, block: int, scale: float, strict: bool, least: int
) -> tuple[Tensor, Tensor]:
    """Exact pieces of at most `least` rows along the diagonal, estimates of the squares below.

    A piece of n rows is two pieces of n / 2 and the square of its later queries with its earlier keys. All squares of a
    size are one call: pieces stand side by side in the first dimension.
    """
    batch, rows = q.shape[:2]
    halvings = 0
    while -(-rows // 2**halvings) > max(least, 1):
        halvings += 1
    pieces = 2**halvings
    padded = -(-rows // pieces) * pieces
    if padded != rows:  # rows after the last are seen by none before them
        q, k, v = (pad(x, (0, 0, 0, padded - rows)) for x in (q, k, v))
    q_parts, k_parts, v_parts = (x.reshape(batch * pieces, padded // pieces, x.shape[-1]) for x in (q, k, v))
    out, lse = whole_attention(q_parts, k_parts, v_parts, True, scale)
    while pieces > 1:
        pieces //= 2
        size = padded // pieces // 2
        q_parts, k_parts, v_parts = (x.reshape(batch * pieces, 2, size, x.shape[-1]) for x in (q, k, v))
        drawn = positions(batch * pieces, size)
        later, earlier, values = q_parts[:, 1], k_parts[:, 0], v_parts[:, 0]
        square = _estimate(later, earlier, values, planes, drawn, block, scale, strict)
        out, lse = out.reshape(batch * pieces, 2, size, v.shape[-1]), lse.reshape(batch * pieces, 2, size)
        both = _merged((out[:, 1], lse[:, 1]), square)
        out, lse = torch.stack([out[:, 0], both[0]], 1), torch.stack([lse[:, 0], both[1]], 1)
    return out.reshape(batch, padded, v.shape[-1])[:, :rows], lse.reshape(batch, padded)[:, :rows]


# ---- Public ---------------------------------------------------------------------------------------------------------
def hyper_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    planes: Tensor,
    positions: Tensor,
    *,
    block_size: int = 256,
    scale: float | None = None,
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """HyperAttention without a causal mask, with planes and sampled positions given: a function of its arguments alone.

    Keys and queries are sorted by the rank of their SimHash code. The sorted keys are cut into blocks of block_size,
    the sorted queries into as many; each block of queries attends to its block of keys exactly, and to the keys at
    ``positions`` of the sorted order, each of which stands for nk / M of the keys outside of the block.

    Args:
        q: queries ``[..., nq, d]``, float16, bfloat16, float32 or float64.
        k: keys ``[..., nk, d]``, of the same dtype.
        v: values ``[..., nk, dv]``, of the same dtype.
        planes: float32 ``[d, bits]``, at most 16 bits.
        positions: int64 ``[..., M]`` in [0, nk), with the leading dimensions of q; M = 0: blocks alone.
        block_size: keys of a block; nk <= block_size is exact attention.
        scale: of the logits; None: d^-1/2.
        strict: the block of a query depends on the keys' ranks and its own alone, not on other queries.

    Returns:
        (out ``[..., nq, dv]``, lse ``[..., nq]``): the estimate and its log-sum-exp (float32; float64 for float64).
        exp(lse) is unbiased over positions drawn uniformly with replacement. Differentiable in q, k and v; hashes are
        constants.

    Raises:
        TypeError, ValueError: an argument of another kind or shape; the text names it.

    Complexity: O(nq (block_size + M) d). Workspace: parts of 4 MiB, and 8 bytes a query and key.
    """
    q, k, v = _inputs(q, k, v, q.shape[-1] if isinstance(q, Tensor) and q.dim() else 1, "[..., nq, d]", None)
    block = _checks.count("block_size", block_size, 1)
    factor = _scale(scale, q.shape[-1])
    leading = q.shape[:-2]
    if not isinstance(positions, Tensor) or positions.dtype != torch.int64:
        raise TypeError(
            f"positions must be an int64 tensor, got {getattr(positions, 'dtype', type(positions).__name__)}"
        )
    if positions.shape[:-1] != leading:
        raise ValueError(f"positions must be [..., M] beside q {tuple(q.shape)}, got shape {tuple(positions.shape)}")
    if _checks.data_is_checked(True):
        _checks.within("positions must be", positions, k.shape[-2])
    batch = math.prod(leading)
    flat_q, flat_k, flat_v = (x.reshape(batch, *x.shape[-2:]) for x in (q, k, v))
    drawn = positions.reshape(batch, positions.shape[-1])
    with without_autocast(q.device):
        out, lse = _estimate(flat_q, flat_k, flat_v, planes, drawn, block, factor, strict)
    return out.reshape(*q.shape[:-1], v.shape[-1]), lse.reshape(q.shape[:-1])


def _scale(scale: Any, dim: int) -> float:
    return max(dim, 1) ** -0.5 if scale is None else _checks.real("scale", scale)


def _inputs(q: Any, k: Any, v: Any, head_dim: int, shape: str, dims: int | None) -> tuple[Tensor, ...]:
    """The checked inputs, in autocast's dtype where it is on."""
    if all(isinstance(x, Tensor) for x in (q, k, v)):
        q, k, v = autocast(q, k, v)
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(x).__name__}")
        _checks.dense(name, x)
        if x.dtype not in _FLOATS:
            raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got {x.dtype}")
        if x.dtype != q.dtype:
            raise TypeError(f"{name} must have the dtype of q, {q.dtype}, got {x.dtype}")
        if x.dim() < 2 or (dims is not None and x.dim() != dims):
            raise ValueError(
                f"{name} must be {shape.replace('nq', 'nq' if name == 'q' else 'nk')}, got {tuple(x.shape)}"
            )
        _checks.same_device("q", q, name, x)
        if x.shape[:-2] != q.shape[:-2]:
            raise ValueError(
                f"{name} must have the leading dimensions of q, {tuple(q.shape[:-2])}, got {tuple(x.shape)}"
            )
        if name != "v" and x.shape[-1] != head_dim:
            raise ValueError(f"{name} must have d = {head_dim}, got shape {tuple(x.shape)}")
    if v.shape[-2] != k.shape[-2]:
        raise ValueError(f"v must have the nk = {k.shape[-2]} rows of k, got shape {tuple(v.shape)}")
    if k.shape[-2] == 0 and q.shape[-2] != 0:
        raise ValueError(f"k must have at least one row for {q.shape[-2]} queries, got none")
    return q, k, v


class HyperAttention(FixedPlanes):
    """Softmax attention, exact within hash buckets and estimated from sampled keys elsewhere.

    Without a mask: :func:`hyper_attention`. Causal: sequences longer than min_seq_len are halved; both halves are done
    likewise, and the square of the later queries with the earlier keys is estimated without a mask. So a causal call of
    at most min_seq_len rows is exact, and no key or value is ever seen by a query before it.

    Args:
        head_dim: d.
        num_projections: planes of the hash, 0 to 16; they are a buffer ``planes`` [d, num_projections], shared by all
            heads, float32 whatever the module is cast to, and never trained.
        block_size: keys of a block; a call with no more keys than that is exact.
        sample_size: sampled keys for each head (and square).
        min_seq_len: where the causal recursion stops.
        strict_causal: by default a query's block depends on where all queries of its square stand in the sorted order:
            no value leaks from the future, but which earlier keys are looked at does. True: the block follows from the
            keys' ranks and the query's own, so that no row depends on a later one. In both forms where a sequence is
            halved depends on its length: a prefix alone gives other rows.
        seed: of planes and sampled positions: the same call gives the same answer. None: seed 0 for the planes, and
            new positions from torch's generator at each call in training mode (those of seed 0 in eval mode).

    Shapes: q [b, h, nq, d], k [b, h, nk, d], v [b, h, nk, dv] -> out [b, h, nq, dv]; with return_lse also lse
    [b, h, nq] (float32; float64 for float64). Causal calls have nq = nk. float16, bfloat16, float32 and float64; half
    types have their logits and sums in float32.

    Derivatives: to q, k and v, through out and lse, of every order (beyond the first by plain operators, which hold all
    logits of the tiles); hashes, order and positions are constants. Complexity: O(n (block_size + sample_size) d),
    causal O(n (min_seq_len / 2 + log(n / min_seq_len) (block_size + sample_size)) d).

    Saved states carry the seed and the scheme; a state of others is refused (ValueError).
    """

    def __init__(
        self,
        head_dim: int,
        *,
        num_projections: int = 7,
        block_size: int = 256,
        sample_size: int = 256,
        min_seq_len: int = 4096,
        strict_causal: bool = False,
        seed: int | None = 0,
    ) -> None:
        super().__init__()
        self.head_dim = _checks.count("head_dim", head_dim, 1)
        self.num_projections = _checks.count("num_projections", num_projections)
        if self.num_projections > 16:
            raise ValueError(f"num_projections must be at most 16, got {num_projections}")
        self.block_size = _checks.count("block_size", block_size, 1)
        self.sample_size = _checks.count("sample_size", sample_size)
        self.min_seq_len = _checks.count("min_seq_len", min_seq_len, 1)
        self.strict_causal = _checks.flag("strict_causal", strict_causal)
        self.seed = None if seed is None else checked_seed(seed)
        self.register_buffer("planes", lsh.random_planes(self.head_dim, self.num_projections, seed=self.seed or 0))

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.head_dim}, num_projections={self.num_projections}, block_size={self.block_size}, "
            f"sample_size={self.sample_size}, min_seq_len={self.min_seq_len}, strict_causal={self.strict_causal}, "
            f"seed={self.seed}"
        )

    def get_extra_state(self) -> dict[str, Any]:
        """What planes and positions were made from."""
        return {"scheme": SCHEME, "seed": self.seed, "num_projections": self.num_projections}

    def _positions(self, groups: int, keys: int, first: int, device: torch.device) -> Tensor:
        if self.seed is None and self.training:
            return torch.randint(max(keys, 1), (groups, self.sample_size), device=device)
        return sample_positions(self.seed or 0, groups, self.sample_size, keys, first=first, device=device)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float | None = None,
        causal: bool = False,
        return_lse: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Out [b, h, nq, dv], or (out, lse [b, h, nq])."""
        q, k, v = _inputs(q, k, v, self.head_dim, "[b, h, nq, d]", 4)
        causal, return_lse = _checks.flag("causal", causal), _checks.flag("return_lse", return_lse)
        factor = _scale(scale, self.head_dim)
        batch = q.shape[0] * q.shape[1]
        flat_q, flat_k, flat_v = (x.reshape(batch, *x.shape[2:]) for x in (q, k, v))
        if causal and q.shape[2] != k.shape[2]:
            raise ValueError(f"k must have the nq = {q.shape[2]} rows of q in a causal call, got {k.shape[2]}")

        # Each size of squares has numbers of its own.
        def positions(groups: int, keys: int) -> Tensor:
            return self._positions(groups, keys, groups * self.sample_size, q.device)

        planes, block, strict, least = self.planes, self.block_size, self.strict_causal, self.min_seq_len
        with without_autocast(q.device):
            if causal:
                out, lse = _causal(flat_q, flat_k, flat_v, planes, positions, block, factor, strict, least)
            else:
                drawn = self._positions(batch, k.shape[2], 0, q.device)
                out, lse = _estimate(flat_q, flat_k, flat_v, planes, drawn, block, factor, False)
        out = out.reshape(*q.shape[:3], v.shape[3])
        return (out, lse.reshape(q.shape[:3])) if return_lse else out
