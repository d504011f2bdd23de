# SPDX-License-Identifier: Apache-2.0
"""What lies some hops away in a graph, by sparse products: powers of an adjacency and tokens of neighbourhoods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .. import _checks, _random, spgemm
from ..spgemm.csr import VALUES, build, outside_of_graphs, rows_of, values_of
from .graph_patterns import diagonal, merged, ones, selection, square, with_diagonal

PowerKind = Literal["walks", "reach", "shells", "distances"]
TokenKind = Literal["shells", "balls"]
Layout = Literal["padded", "csr"]


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def _shells(edges: Tensor, start: Tensor, hops: int) -> Iterator[Tensor]:
    """From row i's one node of ``start`` [R, N]: the pattern of nodes at a distance of exactly 1, 2, … ``hops``."""
    frontier = seen = start
    for hop in range(hops):
        if hop:
            seen = merged(seen, frontier)
        frontier = spgemm.matmul(frontier, edges, semiring="or_and", mask=seen, complement=True)
        yield frontier


class GraphPower(nn.Module):
    """What lies 1, 2, … ``hops`` hops away in a graph: products of a sparse adjacency with itself.

    Args:
        hops: how many powers, at least 1.
        kind: what an entry (i, j) of the h-th one is:

            - ``"walks"``: the sum over all walks of h edges from i to j of the product of their weights, A^h.
              Differentiable twice in A's values; while A's pattern stays, the products are planned once.
            - ``"reach"``: true where j is at most h hops from i, i itself among them.
            - ``"shells"``: true where j is exactly h hops from i: products that leave out what was seen before.
            - ``"distances"``: the length of the shortest path from i to j of at most h edges, weights being lengths;
              0 for i itself. Differentiable: each path's edges take its gradient (the first of equal ones).
        normalize: of ``"walks"``: None, ``"row"`` (rows of A sum to 1: powers hold the probabilities of a random walk)
            or ``"symmetric"`` (D^-1/2 A D^-1/2, D the sums of rows). Rows that sum to 0 become zeros.
        self_loops: of ``"walks"``: adds 1 to A's diagonal first, as graph convolutions do.

    Stored entries are the edges, whatever their value; those of 0 too. Powers fill in: the h-th has an entry for each
    pair of nodes that it joins, and nothing is pruned.
    """

    def __init__(
        self,
        hops: int,
        *,
        kind: PowerKind = "walks",
        normalize: Literal["row", "symmetric"] | None = None,
        self_loops: bool = False,
    ) -> None:
        super().__init__()
        self.hops = _checks.count("hops", hops, 1)
        self.kind = _one_of("kind", kind, ("walks", "reach", "shells", "distances"))
        self.normalize = None if normalize is None else _one_of("normalize", normalize, ("row", "symmetric"))
        self.self_loops = _checks.flag("self_loops", self_loops)
        if self.kind != "walks" and (self.normalize is not None or self.self_loops):
            raise ValueError(f"normalize and self_loops belong to kind='walks', got kind={self.kind!r}")
        self._plans: list[spgemm.Plan] = []
        self._planned: tuple[Tensor, Tensor] | None = None

    def extra_repr(self) -> str:
        """Its arguments."""
        shown = f"{self.hops}, kind={self.kind!r}"
        return shown + (f", normalize={self.normalize!r}, self_loops={self.self_loops}" if self.kind == "walks" else "")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plans": [], "_planned": None}

    @outside_of_graphs
    def forward(self, adjacency: Tensor) -> tuple[Tensor, ...]:
        """The powers 1 to ``hops``.

        Args:
            adjacency: sparse_csr [N, N], an entry (i, j) for each edge from i to j; unsorted and repeated ones are
                legal. Float16, bfloat16, float32, float64, int32 or int64 for ``"walks"`` and ``"distances"``
                (floating where it is normalised), any dtype for the others.

        Returns:
            Sparse_csr tensors [N, N], columns ascending: of the adjacency's dtype for ``"walks"`` and ``"distances"``,
            of bool for the others.

        Raises:
            TypeError, ValueError: not a square sparse_csr tensor; its dtype does not suit the kind.
        """
        square("adjacency", adjacency)
        if self.kind == "walks":
            return tuple(self._walks(adjacency))
        if self.kind == "distances":
            return tuple(self._distances(adjacency))
        edges, start = _edges(adjacency), diagonal(adjacency, torch.bool)
        shells = _shells(edges, start, self.hops)
        if self.kind == "shells":
            return tuple(shells)
        balls = []
        for shell in shells:
            start = merged(start, shell)
            balls.append(start)
        return tuple(balls)

    def _numbers(self, adjacency: Tensor) -> None:
        """Refuses values that are no numbers or that products do not know."""
        if adjacency.dtype == torch.bool or adjacency.dtype not in VALUES:
            known = "float16, bfloat16, float32, float64, int32 or int64"
            raise TypeError(f"adjacency must have values of {known} for kind={self.kind!r}, got {adjacency.dtype}")

    def _walks(self, adjacency: Tensor) -> Iterator[Tensor]:
        self._numbers(adjacency)
        if self.normalize is not None and not adjacency.is_floating_point():
            raise TypeError(f"adjacency must have a floating dtype to be normalised, got {adjacency.dtype}")
        if self.self_loops:
            adjacency = with_diagonal(adjacency, 1)
        crow, col, values = adjacency.crow_indices(), adjacency.col_indices(), values_of(adjacency)
        if self.normalize is not None:
            rows = rows_of(crow, len(col)).long()
            sums = values.new_zeros(len(crow) - 1).index_add(0, rows, values)
            power = -1.0 if self.normalize == "row" else -0.5
            # The inner where keeps infinities out of the gradient.
            scale = torch.where(sums == 0, 0, torch.where(sums == 0, 1, sums) ** power)
            values = values * scale[rows]
            if self.normalize == "symmetric":
                values = values * scale[col]
        self._plan(adjacency, crow, col)
        power_values = self._plans[0].matmul(values, values.new_ones(len(crow) - 1))
        yield self._plans[0].csr(power_values)
        for plan in self._plans[1:]:
            power_values = plan.matmul(power_values, values)
            yield plan.csr(power_values)

    def _plan(self, adjacency: Tensor, crow: Tensor, col: Tensor) -> None:
        """Plans A·I, which sorts and combines entries, and the products of each power with A."""
        known = self._planned
        if known is not None and known[0].device == crow.device and known[0].dtype == crow.dtype:
            same = known[0] is crow and known[1] is col
            if same or (torch.equal(known[0], crow) and torch.equal(known[1], col)):
                return
        plain = ones(adjacency, torch.float32)
        self._plans = [spgemm.plan(plain, diagonal(adjacency, torch.float32))]
        for _ in range(self.hops - 1):
            last = self._plans[-1]
            self._plans.append(spgemm.plan(last.csr(plain.values().new_ones(last.nnz)), plain))
        self._planned = (crow.clone(), col.clone())

    def _distances(self, adjacency: Tensor) -> Iterator[Tensor]:
        self._numbers(adjacency)
        lengths = with_diagonal(adjacency, 0)
        # A row of zeros on the diagonal is the identity of min_plus: the product combines what is stored twice.
        lengths = spgemm.matmul(lengths, diagonal(adjacency, adjacency.dtype, 0), semiring="min_plus")
        power = lengths
        yield power
        for _ in range(self.hops - 1):
            power = spgemm.matmul(power, lengths, semiring="min_plus")
            yield power


def _edges(adjacency: Tensor) -> Tensor:
    """The edges as a canonical pattern: bool, columns ascending, none twice. Checks pointers and columns too."""
    return spgemm.matmul(ones(adjacency, torch.bool), diagonal(adjacency, torch.bool), semiring="or_and")


@outside_of_graphs
def neighborhood_tokens(
    adjacency: Tensor,
    *,
    max_hops: int,
    walks: int | None = None,
    samples: int = 1,
    kind: TokenKind = "shells",
    nodes: Tensor | None = None,
    layout: Layout = "padded",
    seed: int = 0,
) -> Tensor:
    """Neighbourhoods of nodes as tokens, sets of node numbers: what a sequence model over a graph reads.

    Without ``walks`` a token holds a whole neighbourhood and a node has 1 + m of them, m = ``max_hops``: itself, then
    what lies 1, 2, … m hops away, found by sparse or-and products whose complement mask leaves out what was seen
    before. With ``walks`` = M a token of hop h is what M random walks of h steps from the node have visited, and each
    hop has ``samples`` = s of them: 1 + m s tokens in all, hops ascending. (Graph Mamba reads far tokens first:
    ``tokens.flip(1)``.)

    Args:
        adjacency: sparse_csr [N, N] of any dtype; stored entries are the edges, whatever their value.
        max_hops: m; 0 makes each node its only token.
        walks: M, how many random walks make a token; None for whole neighbourhoods. Walks choose among the distinct
            neighbours uniformly, and end where there is none.
        samples: s, tokens a hop; more than one only with ``walks``.
        kind: ``"shells"``: a token holds what is exactly h hops away; ``"balls"``: at most h hops, the node included,
            which is what walks tend to. Walks visit balls: with ``walks`` it must be left alone.
        nodes: int64 [R], the nodes whose tokens are wanted, as for a batch; all by default. A node's tokens do not
            depend on which others are asked for.
        layout: ``"padded"`` or ``"csr"``.
        seed: of walks, 0 to 2^63 - 1; the same walks on every device.

    Returns:
        ``"padded"``: int64 [R, tokens, L], L the largest token, numbers ascending, then -1.
        ``"csr"``: bool sparse_csr [R · tokens, N] with int64 indices, a row for each token: a factor for
        :func:`warphash.spgemm.matmul` and for products with features.

    Raises:
        TypeError, ValueError, IndexError: an argument is out of its range; what is wrong is named.

    The whole neighbourhoods of a graph may hold N² numbers: take ``nodes`` in batches, or walks. Work and memory of
    walks are proportional to R s M m². There is no derivative.

    Source: Behrouz and Hashemi, Graph Mamba: Towards Learning on Graphs with State Space Models, 2024. Whole
    neighbourhoods are our deterministic variant.
    """
    square("adjacency", adjacency)
    hops, drawn = _checks.count("max_hops", max_hops), _checks.count("samples", samples, 1)
    _one_of("kind", kind, ("shells", "balls"))
    _one_of("layout", layout, ("padded", "csr"))
    seed = _random.checked_seed(seed)
    if walks is None:
        if drawn != 1:
            raise ValueError(f"samples must be 1 without walks, got {drawn}")
    elif kind != "shells":
        raise ValueError("kind must be left alone with walks, whose tokens are what they visited")
    else:
        walks = _checks.count("walks", walks, 1)
    count = adjacency.shape[0]
    chosen = _chosen(nodes, count, adjacency.device)
    edges = _edges(adjacency)
    own = torch.arange(len(chosen), device=chosen.device)
    tokens = 1 + hops * drawn
    if walks is not None:
        found = _walked(edges, chosen, hops, walks, drawn, seed)
    else:
        found = _whole(edges, chosen, hops, kind == "balls")
    pieces = [(own * tokens, chosen), *found]
    rows, members = (torch.cat(column) for column in zip(*pieces, strict=True))
    order = (rows * max(count, 1) + members).argsort()
    return _laid_out(rows[order], members[order], len(chosen), tokens, count, layout)


def _chosen(nodes: Any, count: int, device: torch.device) -> Tensor:
    if nodes is None:
        return torch.arange(count, device=device)
    if not isinstance(nodes, Tensor):
        raise TypeError(f"nodes must be a torch tensor, got {type(nodes).__name__}")
    _checks.dense("nodes", nodes)
    if nodes.dtype not in (torch.int32, torch.int64) or nodes.dim() != 1:
        raise TypeError(f"nodes must be int64 [R], got {nodes.dtype} {tuple(nodes.shape)}")
    if nodes.device != device:
        raise ValueError(f"nodes must be on the device of adjacency, {device}, got {nodes.device}")
    _checks.within("nodes must be", nodes, count)
    return nodes.long()


def _whole(edges: Tensor, chosen: Tensor, hops: int, balls: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows of the token matrix, members) of whole neighbourhoods."""
    tokens, start = 1 + hops, selection(chosen, edges)
    if balls:
        own = torch.arange(len(chosen), device=chosen.device)
        for hop in range(1, tokens):
            yield own * tokens + hop, chosen
    for hop, shell in enumerate(_shells(edges, start, hops), 1):
        members = shell.col_indices().long()
        rows = rows_of(shell.crow_indices(), len(members)).long() * tokens
        for token in range(hop, tokens if balls else hop + 1):
            yield rows + token, members


def _walked(
    edges: Tensor, chosen: Tensor, hops: int, walks: int, samples: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows of the token matrix, members) of what walks visited, no member twice."""
    crow, col = edges.crow_indices().long(), edges.col_indices().long()
    degree, count, tokens = crow.diff(), edges.shape[0], 1 + hops * samples
    if not len(col) or not len(chosen):  # nobody can walk: every token is its node
        own = torch.arange(len(chosen) * tokens, device=chosen.device)
        yield own[own % tokens > 0], chosen.repeat_interleave(tokens - 1)
        return
    first = chosen.cpu()[:, None] * (samples * walks) + torch.arange(samples * walks, device="cpu")
    for hop in range(1, hops + 1):
        at = chosen[:, None].expand(-1, samples * walks)
        visited = [at]
        for step in range(hop):
            number = first + (hop * (hop - 1) // 2 + step) * count * samples * walks
            words = _random.words_at(seed, _random.Stream.WALKS, number.numpy())
            bits = torch.from_numpy((words >> 33).astype("int64")).to(chosen.device)  # 31 of them
            choice = (bits * degree[at]) >> 31
            at = torch.where(degree[at] > 0, col[(crow[at] + choice).clamp(max=len(col) - 1)], at)
            visited.append(at)
        members = torch.stack(visited, 2).reshape(len(chosen) * samples, -1).sort(1).values
        new = torch.ones_like(members, dtype=torch.bool)
        new[:, 1:] = members[:, 1:] != members[:, :-1]
        row = torch.arange(len(chosen), device=chosen.device)[:, None] * tokens + 1 + (hop - 1) * samples
        row = (row + torch.arange(samples, device=chosen.device)).reshape(-1, 1).expand_as(members)
        yield row[new], members[new]


def _laid_out(rows: Tensor, members: Tensor, chosen: int, tokens: int, count: int, layout: Layout) -> Tensor:
    """Tokens from their members in order of rows."""
    sizes = torch.bincount(rows, minlength=chosen * tokens)
    offsets = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    if layout == "csr":
        true = torch.ones(len(members), dtype=torch.bool, device=members.device)
        return build(offsets, members, true, (chosen * tokens, count))
    largest = int(sizes.max()) if len(sizes) else 0
    padded = members.new_full((chosen * tokens, largest), -1)
    padded[rows, torch.arange(len(rows), device=rows.device) - offsets[rows]] = members
    return padded.reshape(chosen, tokens, largest)
