# SPDX-License-Identifier: Apache-2.0
"""Long behaviour sequences: attention of candidates over a user's history by hash collisions, split for serving.

Source: SDIM, "Sampling Is All You Need on Modeling Long-Term User Behaviors for CTR Prediction" (Cao et al. 2022).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _checks, lsh
from .._dtypes import compute_dtype
from .._random import checked_seed
from .planes import FixedPlanes

SCHEME = "simhash/1"  # of the planes; another scheme gives other buckets
MOST_BITS = 16


def _head_count(dim: int, num_heads: Any) -> int:
    heads = _checks.count("num_heads", num_heads, 1)
    if dim % heads:
        raise ValueError(f"num_heads must divide dim = {dim}, got {heads}")
    return heads


class _HashedBehavior(FixedPlanes):
    """Planes and their place in saved states, shared by the two halves."""

    def __init__(self, dim: int, num_hashes: int, bits: int, normalize: bool, seed: int, num_heads: int) -> None:
        super().__init__()
        self.dim = _checks.count("dim", dim, 1)
        self.num_hashes = _checks.count("num_hashes", num_hashes, 1)
        self.bits = _checks.count("bits", bits, 1)
        if self.bits > MOST_BITS:
            raise ValueError(f"bits must be at most {MOST_BITS}, got {bits}")
        self.normalize = _checks.flag("normalize", normalize)
        self.seed = checked_seed(seed)
        self.num_heads = _head_count(self.dim, num_heads)
        drawn = lsh.random_planes(self.dim, self.num_hashes * self.bits, seed=self.seed)
        self.register_buffer("planes", drawn.view(self.dim, self.num_hashes, self.bits))

    @property
    def num_buckets(self) -> int:
        """Buckets of one hash."""
        return 1 << self.bits

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.dim}, num_hashes={self.num_hashes}, bits={self.bits}, normalize={self.normalize}, "
            f"seed={self.seed}, num_heads={self.num_heads}"
        )

    def get_extra_state(self) -> dict[str, Any]:
        """What the planes were made from."""
        names = ("dim", "num_hashes", "bits", "normalize", "seed", "num_heads")
        return {"scheme": SCHEME, **{name: getattr(self, name) for name in names}}

    def _refusal(self, saved: dict[str, Any], own: dict[str, Any]) -> str:
        differing = {name: (saved.get(name), own[name]) for name in own if saved.get(name) != own[name]}
        text = ", ".join(f"{name} = {theirs!r}, here {ours!r}" for name, (theirs, ours) in differing.items())
        return f"state_dict was made for other buckets: {text or 'unknown entries'}"

    # ---- codes ---------------------------------------------------------------------------------------------------
    def _checked(self, name: str, x: Any, shape: str) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(x).__name__}")
        if not x.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {x.dtype}")
        _checks.dense(name, x)
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"{name} must be {shape} with dim = {self.dim}, got shape {tuple(x.shape)}")
        return x

    def _split(self, x: Tensor) -> Tensor:
        """[B, N, dim] to [B, heads, N, dim / heads]."""
        parts: Tensor = x.unflatten(-1, (self.num_heads, -1))
        return parts.transpose(1, 2)

    def _codes(self, x: Tensor) -> Tensor:
        """Buckets int32 [B, heads, hashes, N] of vectors [B, heads, N, dim / heads]."""
        planes = self.planes.unflatten(0, (self.num_heads, -1))
        codes = [lsh.simhash_codes(x[:, head], planes[head]) for head in range(self.num_heads)]
        by_head: Tensor = torch.stack(codes, 1)
        return by_head.transpose(2, 3)

    # ---- tables --------------------------------------------------------------------------------------------------
    def _sums(self, sequence: Tensor, mask: Tensor | None = None) -> Tensor:
        items = self._checked("sequence", sequence, "[B, L, dim]")
        if items.dim() != 3:
            raise ValueError(f"sequence must be [B, L, dim], got shape {tuple(items.shape)}")
        values = self._split(items)
        codes = self._codes(values)
        if mask is not None:
            codes = torch.where(_checked_mask(mask, items)[:, None, None], codes, -1)
        # One set of values against many tables: [B, heads, 1, L, d] and [B, heads, m, L]. Sums of a long history are
        # beyond float16.
        wide = values.to(compute_dtype(values.dtype))
        found: Tensor = lsh.bucket_sum(wide.unsqueeze(2), codes, self.num_buckets, validate=False)
        return found.permute(0, 2, 3, 1, 4).flatten(3)

    def _normalized(self, sums: Tensor) -> Tensor:
        if not self.normalize:
            return sums
        parts = sums.to(compute_dtype(sums.dtype)).unflatten(-1, (self.num_heads, -1))
        # The direction does not depend on the scale, but squares may leave the range of the dtype.
        largest = parts.detach().abs().amax(-1, keepdim=True)
        empty = largest == 0
        parts = parts / torch.where(empty, 1.0, largest)
        # The root of a one in the place of a zero: neither value nor derivatives of an empty bucket are NaN.
        length = torch.where(empty, 1.0, parts.square().sum(-1, keepdim=True)).sqrt()
        table: Tensor = torch.where(empty, 0.0, parts / length).flatten(-2).to(sums.dtype)
        return table

    def _table(self, sequence: Tensor, mask: Tensor | None) -> Tensor:
        return self._normalized(self._sums(sequence, mask)).to(sequence.dtype)

    def _checked_sums(self, sums: Any, batch: int | None = None) -> Tensor:
        if not isinstance(sums, Tensor):
            raise TypeError(f"sums must be a torch tensor, got {type(sums).__name__}")
        if not sums.is_floating_point():
            raise TypeError(f"sums must be floating point, got {sums.dtype}")
        _checks.dense("sums", sums)
        rows = sums.shape[0] if batch is None and sums.dim() else batch
        shape = (rows, self.num_hashes, self.num_buckets, self.dim)
        if sums.shape != shape:
            raise ValueError(f"sums must be [B, num_hashes, 2^bits, dim] = {shape}, got shape {tuple(sums.shape)}")
        return sums


class BehaviorSequenceEncoder(_HashedBehavior):
    """A user's history as sums of its items a hash bucket: a table that answers any number of candidates.

    With m hashes of b sign bits each, an item s falls into bucket sig_j(s) of every hash j, and

        H[j, c] = sum of the items with sig_j(s) = c,   table = H / |H| (``normalize``) or H.

    Two vectors share a bucket with probability (1 - angle / pi)^b, so a mean over hashes of the candidate's buckets is
    an attention over the history whose weight falls with the angle: :class:`SDIMAttention`. The table depends on the
    history alone: it is made once a user, off the path of a request.

    Args:
        dim: size of an item.
        num_hashes: m.
        bits: b, 1 to 16; a table has 2^b buckets a hash.
        normalize: divide each bucket by its Euclidean length (the paper's form); an empty bucket stays zero.
        seed: of the planes: 0 to 2^63 - 1. They are a buffer ``planes`` [dim, m, b], float32 whatever the module is
            cast to, and never trained. Saved states carry the seed; one of other buckets is refused (ValueError).
        num_heads: the vectors are cut into so many parts, each with buckets of its own; it divides dim.

    Shapes: sequence [B, L, dim] floating point, mask bool [B, L], True = valid -> table [B, m, 2^b, dim] in the dtype
    of the sequence. Masked items count nothing, a user without any has a table of zeros.

    Derivatives: of every order to the sequence, buckets being constants. Complexity: O(B L m b dim) for the buckets and
    O(B L m dim) for the sums; memory: the table and 4 B L m bytes of codes.
    """

    def __init__(
        self,
        dim: int,
        num_hashes: int = 48,
        bits: int = 3,
        normalize: bool = True,
        seed: int = 0,
        *,
        num_heads: int = 1,
    ) -> None:
        super().__init__(dim, num_hashes, bits, normalize, seed, num_heads)

    def sums(self, sequence: Tensor, mask: Tensor | None = None) -> Tensor:
        """The sums H [B, m, 2^b, dim], not normalised: what :meth:`update` adds to and :meth:`normalized` ends.

        In float32 for a sequence of half precision.
        """
        return self._sums(sequence, mask)

    def normalized(self, sums: Tensor) -> Tensor:
        """The table of sums [B, m, 2^b, dim]: each bucket (of each head) by its length, if the module normalises."""
        return self._normalized(self._checked_sums(sums))

    @torch.no_grad()
    def update(self, sums: Tensor, item: Tensor) -> Tensor:
        """Appends one behaviour [B, dim] to sums [B, m, 2^b, dim], in place and in O(m) rows, without gradient.

        Adding the items of a history one by one gives :meth:`sums` of the whole, up to the rounding of the sums.
        """
        new = self._checked("item", item, "[B, dim]")
        if new.dim() != 2:
            raise ValueError(f"item must be [B, dim], got shape {tuple(new.shape)}")
        self._checked_sums(sums, new.shape[0])
        _checks.same_device("sums", sums, "item", new)
        codes = self._codes(self._split(new.unsqueeze(1))).squeeze(-1).long()  # [B, heads, m]
        rows = torch.arange(new.shape[0], device=new.device)[:, None]
        hashes = torch.arange(self.num_hashes, device=new.device)
        for part, added, code in zip(
            sums.tensor_split(self.num_heads, -1), new.tensor_split(self.num_heads, -1), codes.unbind(1), strict=True
        ):
            part[rows, hashes, code] += added[:, None].to(sums.dtype)
        return sums

    def forward(self, sequence: Tensor, mask: Tensor | None = None) -> Tensor:
        """Sequence [B, L, dim], mask [B, L] -> table [B, m, 2^b, dim]."""
        return self._table(sequence, mask)


def _checked_mask(mask: Any, sequence: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"mask must be a bool tensor, got {getattr(mask, 'dtype', type(mask).__name__)}")
    if mask.shape != sequence.shape[:2]:
        raise ValueError(f"mask must be [B, L] = {tuple(sequence.shape[:2])}, got shape {tuple(mask.shape)}")
    _checks.same_device("sequence", sequence, "mask", mask)
    return mask


class SDIMAttention(_HashedBehavior):
    """Attention of candidates over a long history by hash collisions: a mean of m rows for each candidate.

        interest(q) = 1/m · sum over j of table[j, sig_j(q)]

    with the table of :class:`BehaviorSequenceEncoder`. Its expectation weighs an item by (1 - angle / pi)^bits, as a
    softmax of that sharpness would, yet its cost does not depend on the length of the history.

    Args:
        dim: size of a candidate and of an item.
        num_hashes: m; the deviation from the expectation falls as 1 / sqrt(m).
        bits: sharpness.
        normalize: as of the encoder.
        seed: of the planes; an encoder apart has the same arguments and so the same planes.
        num_heads: as of the encoder.

    Shapes: candidate [B, dim] or [B, C, dim]; then sequence [B, L, dim] and mask [B, L] (True = valid), or a table
    [B, m, 2^bits, dim] -> [B, dim] or [B, C, dim], in the dtype of the table.

    Derivatives: of every order to the sequence or the table. None to the candidate, whose buckets are constants: it
    learns where it is used beside the interest, as in the paper's network. Complexity from a table: O(B C m bits dim).
    """

    def __init__(
        self,
        dim: int,
        *,
        num_hashes: int = 48,
        bits: int = 3,
        normalize: bool = True,
        seed: int = 0,
        num_heads: int = 1,
    ) -> None:
        super().__init__(dim, num_hashes, bits, normalize, seed, num_heads)

    def encoder(self) -> BehaviorSequenceEncoder:
        """The other half, with the same planes: what runs off the path of requests."""
        half = BehaviorSequenceEncoder(
            self.dim, self.num_hashes, self.bits, self.normalize, self.seed, num_heads=self.num_heads
        )
        half.planes = self.planes
        return half

    def forward(
        self,
        candidate: Tensor,
        sequence: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        table: Tensor | None = None,
    ) -> Tensor:
        """(candidate, sequence, mask) or (candidate, table): four dimensions in second place are a table."""
        asked = self._checked("candidate", candidate, "[B, dim] or [B, C, dim]")
        if asked.dim() not in (2, 3):
            raise ValueError(f"candidate must be [B, dim] or [B, C, dim], got shape {tuple(asked.shape)}")
        if (sequence is None) == (table is None):
            raise ValueError("sequence or table must be given, and not both")
        if isinstance(sequence, Tensor) and sequence.dim() == 4:
            sequence, table = None, sequence
        if table is None:
            items = self._checked("sequence", sequence, "[B, L, dim]")
            if items.shape[0] != asked.shape[0]:
                raise ValueError(f"sequence must have B = {asked.shape[0]} rows, got shape {tuple(items.shape)}")
            table = self._table(items, mask)
        elif mask is not None:
            raise ValueError("mask must be left out beside a table, which holds what was valid")
        return self._interest(asked, table)

    def _interest(self, candidate: Tensor, table: Tensor) -> Tensor:
        shape = (candidate.shape[0], self.num_hashes, self.num_buckets, self.dim)
        if not isinstance(table, Tensor) or table.shape != shape:
            came = tuple(table.shape) if isinstance(table, Tensor) else type(table).__name__
            raise ValueError(f"table must be [B, num_hashes, 2^bits, dim] = {shape}, got {came}")
        _checks.same_device("candidate", candidate, "table", table)
        several = candidate if candidate.dim() == 3 else candidate.unsqueeze(1)
        codes = self._codes(self._split(several))  # [B, heads, m, C]
        by_head = table.unflatten(-1, (self.num_heads, -1)).permute(0, 3, 1, 2, 4)
        found: Tensor = lsh.bucket_gather_mean(by_head, codes, validate=False)  # [B, heads, C, d]
        interest = found.transpose(1, 2).flatten(2)
        return interest if candidate.dim() == 3 else interest.squeeze(1)
