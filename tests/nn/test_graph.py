# SPDX-License-Identifier: Apache-2.0
"""Powers of graphs and tokens of neighbourhoods against dense products, networkx and walks taken one by one."""

from __future__ import annotations

import copy
import pickle

import networkx
import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash._random import Stream, words
from warphash.nn.graph_patterns import merged, with_diagonal
from warphash.spgemm.csr import build, csr_of, values_of


def csr(dense: Tensor, index: torch.dtype = torch.int64) -> Tensor:
    rows, cols = dense.nonzero().unbind(1)
    crow = torch.cat([rows.new_zeros(1), torch.bincount(rows, minlength=len(dense)).cumsum(0)])
    return build(crow.to(index), cols.to(index), dense[rows, cols], tuple(dense.shape))


def random_graph(nodes: int, edges: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Dense and directed, with weights 1 to 9 and some loops; the last fifth of the nodes has no edge out."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.zeros(nodes, nodes, dtype=dtype)
    pairs = torch.randint(nodes, (edges, 2), generator=generator)
    dense[pairs[:, 0], pairs[:, 1]] = torch.randint(1, 10, (edges,), generator=generator).to(dtype)
    dense[nodes - nodes // 5 :] = 0
    return dense


def hop_counts(dense: Tensor) -> Tensor:
    graph = networkx.from_numpy_array((dense != 0).numpy(), create_using=networkx.DiGraph)
    found = torch.full(dense.shape, torch.inf)
    for node, reached in networkx.all_pairs_shortest_path_length(graph):
        for other, hops in reached.items():
            found[node, other] = hops
    return found


GRAPHS = [random_graph(30, 70, 0), random_graph(11, 60, 1), random_graph(40, 30, 2), torch.zeros(3, 3).double()]


@pytest.mark.parametrize("dense", GRAPHS)
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_walks_are_powers(dense: Tensor, index: torch.dtype) -> None:
    powers = wh.nn.GraphPower(3)(csr(dense, index))
    assert len(powers) == 3
    for hop, power in enumerate(powers, 1):
        assert power.layout == torch.sparse_csr
        assert power.col_indices().dtype == index
        torch.testing.assert_close(power.to_dense(), torch.linalg.matrix_power(dense, hop), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dense", GRAPHS)
def test_shells_and_reach_are_breadth_first(dense: Tensor) -> None:
    counts = hop_counts(dense)
    for hop, (shell, ball) in enumerate(
        zip(wh.nn.GraphPower(4, kind="shells")(csr(dense)), wh.nn.GraphPower(4, kind="reach")(csr(dense)), strict=True),
        1,
    ):
        assert torch.equal(shell.to_dense(), counts == hop)
        assert torch.equal(ball.to_dense(), counts <= hop)


@pytest.mark.parametrize("dense", GRAPHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_distances(dense: Tensor, dtype: torch.dtype) -> None:
    graph = networkx.from_numpy_array(dense.numpy(), create_using=networkx.DiGraph)
    powers = wh.nn.GraphPower(3, kind="distances")(csr(dense.to(dtype)))
    best = torch.where(dense == 0, torch.inf, dense)
    best.fill_diagonal_(0)
    expected = best
    for power in powers:
        found = torch.full_like(best, torch.inf)
        rows = torch.repeat_interleave(torch.arange(len(dense)), power.crow_indices().diff())
        found[rows, power.col_indices()] = power.values().double()
        assert power.dtype == dtype
        assert torch.equal(found, expected)
        expected = (expected[:, :, None] + best[None]).amin(1)
    last = wh.nn.GraphPower(max(len(dense) - 1, 1), kind="distances")(csr(dense.to(dtype)))[-1]
    assert len(last.values()) == sum(len(reached) for _, reached in networkx.all_pairs_dijkstra_path_length(graph))


@pytest.mark.parametrize("normalize", ["row", "symmetric"])
@pytest.mark.parametrize("self_loops", [False, True])
def test_normalised(normalize: str, self_loops: bool) -> None:
    dense = GRAPHS[0]
    full = dense + torch.eye(len(dense)) if self_loops else dense
    sums = full.sum(1)
    scale = torch.where(sums == 0, 0, sums ** (-1 if normalize == "row" else -0.5))
    full = scale[:, None] * full * (1 if normalize == "row" else scale)
    layer = wh.nn.GraphPower(2, normalize=normalize, self_loops=self_loops)
    first, second = layer(csr(dense))
    torch.testing.assert_close(first.to_dense(), full)
    torch.testing.assert_close(second.to_dense(), full @ full)


def test_unsorted_and_repeated_edges() -> None:
    crow, col = torch.tensor([0, 3, 4, 6]), torch.tensor([2, 1, 2, 0, 2, 0])
    adjacency = build(crow, col, torch.tensor([1.0, 2, 3, 4, 0, 5]), (3, 3))
    dense = torch.tensor([[0, 2.0, 4], [4, 0, 0], [5, 0, 0]])
    first, second = wh.nn.GraphPower(2)(adjacency)
    assert torch.equal(first.to_dense(), dense)
    assert torch.equal(second.to_dense(), dense @ dense)
    assert torch.equal(first.col_indices(), torch.tensor([1, 2, 0, 0, 2]))  # a stored 0 is an edge
    distances = wh.nn.GraphPower(1, kind="distances")(adjacency)[0]
    assert distances.values().tolist() == [0, 2, 1, 4, 0, 5, 0]
    tokens = wh.nn.neighborhood_tokens(adjacency, max_hops=1)
    assert tokens.tolist() == [[[0, -1], [1, 2]], [[1, -1], [0, -1]], [[2, -1], [0, -1]]]


@pytest.mark.parametrize(
    "options",
    [{}, {"normalize": "row"}, {"normalize": "symmetric", "self_loops": True}, {"kind": "distances"}],
)
def test_gradients(options: dict[str, object]) -> None:
    adjacency = csr(random_graph(9, 20, 3))
    crow, col = adjacency.crow_indices(), adjacency.col_indices()
    # Lengths that no two paths share.
    weights = (torch.rand(len(col), generator=torch.Generator().manual_seed(4)).double() + 0.5).requires_grad_()
    layer = wh.nn.GraphPower(3, **options)

    def call(w: Tensor) -> tuple[Tensor, ...]:
        return tuple(values_of(power) for power in layer(csr_of(crow, col, w, (9, 9))))

    assert torch.autograd.gradcheck(call, weights)
    assert torch.autograd.gradgradcheck(call, weights)


def test_training_reaches_edge_weights() -> None:
    """The weights of a graph are found again from its square."""
    dense = random_graph(12, 30, 5)
    adjacency, target = csr(dense), csr(dense @ dense).values()
    weights = torch.full_like(adjacency.values(), 5).requires_grad_()
    layer, optimizer = wh.nn.GraphPower(2), torch.optim.Adam([weights], lr=0.1)
    losses = []
    for _ in range(150):
        parts = (adjacency.crow_indices(), adjacency.col_indices(), weights)
        power = layer(torch.sparse_csr_tensor(*parts, (12, 12), check_invariants=False))[1]
        loss = (power.values() - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]


def test_another_pattern_is_planned_anew() -> None:
    layer = wh.nn.GraphPower(2)
    for dense in (GRAPHS[0], GRAPHS[0] * 2, GRAPHS[0].T.contiguous(), GRAPHS[1], GRAPHS[0]):
        for index in (torch.int32, torch.int64):
            torch.testing.assert_close(layer(csr(dense, index))[1].to_dense(), dense @ dense)
    grown = csr(GRAPHS[1])
    layer(grown)
    grown.col_indices()[0] = (grown.col_indices()[0] + 1) % 2 if grown.col_indices()[1] > 1 else 0
    torch.testing.assert_close(layer(grown)[1].to_dense(), grown.to_dense() @ grown.to_dense())


def test_a_module_like_others() -> None:
    layer = wh.nn.GraphPower(2, normalize="row")
    before = layer(csr(GRAPHS[0]))[1]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(csr(GRAPHS[0]))[1].values(), before.values())
    assert not layer.state_dict()
    assert repr(layer) == "GraphPower(2, kind='walks', normalize='row', self_loops=False)"


@pytest.mark.parametrize("dense", [*GRAPHS, torch.zeros(0, 0)])
@pytest.mark.parametrize("kind", ["shells", "balls"])
def test_whole_neighbourhoods(dense: Tensor, kind: str) -> None:
    counts = hop_counts(dense) if len(dense) else dense
    adjacency = csr(dense, torch.int32)
    padded = wh.nn.neighborhood_tokens(adjacency, max_hops=3, kind=kind)
    matrix = wh.nn.neighborhood_tokens(adjacency, max_hops=3, kind=kind, layout="csr")
    assert padded.shape[:2] == (len(dense), 4)
    assert padded.dtype == torch.int64
    assert matrix.shape == (4 * len(dense), len(dense))
    largest = 0
    for node in range(len(dense)):
        for hop in range(4):
            members = (counts[node] == hop if kind == "shells" else counts[node] <= hop).nonzero().flatten()
            token = padded[node, hop]
            assert torch.equal(token[: len(members)], members)
            assert (token[len(members) :] == -1).all()
            begin, end = matrix.crow_indices()[4 * node + hop : 4 * node + hop + 2]
            assert torch.equal(matrix.col_indices()[begin:end], members)
            largest = max(largest, len(members))
    assert padded.shape[2] == largest


def walked(dense: Tensor, node: int, hop: int, sample: int, walks: int, samples: int, seed: int) -> list[int]:
    """One token by walking, with the numbers that the docs of the stream name."""
    found, count = {node}, len(dense)
    for walk in range(walks):
        at = node
        for step in range(hop):
            number = (hop * (hop - 1) // 2 + step) * count * samples * walks
            number += node * samples * walks + sample * walks + walk
            neighbours = dense[at].nonzero().flatten().tolist()
            if neighbours:
                at = neighbours[(int(words(seed, Stream.WALKS, 1, number)[0]) >> 33) * len(neighbours) >> 31]
            found.add(at)
    return sorted(found)


@pytest.mark.parametrize("dense", [*GRAPHS, torch.zeros(0, 0)])
def test_walks(dense: Tensor) -> None:
    tokens = wh.nn.neighborhood_tokens(csr(dense), max_hops=3, walks=2, samples=2, seed=11)
    assert tokens.shape[:2] == (len(dense), 7)
    for node in range(len(dense)):
        assert tokens[node, 0].tolist() == [node] + [-1] * (tokens.shape[2] - 1)
        for hop in range(1, 4):
            for sample in range(2):
                token = tokens[node, 1 + 2 * (hop - 1) + sample]
                expected = walked(dense, node, hop, sample, 2, 2, 11)
                assert token[: len(expected)].tolist() == expected
                assert (token[len(expected) :] == -1).all()


def test_walks_choose_evenly_and_by_seed() -> None:
    star = torch.zeros(9, 9)
    star[0, 1:] = 1
    taken = torch.zeros(9)
    for seed in range(2):
        matrix = wh.nn.neighborhood_tokens(csr(star), max_hops=1, walks=1, samples=4000, seed=seed, layout="csr")
        taken += torch.bincount(matrix.col_indices()[: 1 + 8000], minlength=9)
    assert (taken[1:] - 1000).abs().max() < 5 * 1000**0.5
    first, again, other = (
        wh.nn.neighborhood_tokens(csr(GRAPHS[0]), max_hops=3, walks=3, seed=seed).tolist() for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("options", [{}, {"kind": "balls"}, {"walks": 3, "samples": 2}])
@pytest.mark.parametrize("layout", ["padded", "csr"])
def test_some_nodes(options: dict[str, object], layout: str) -> None:
    adjacency, chosen = csr(GRAPHS[0]), torch.tensor([7, 0, 29, 7])
    tokens = 1 + 2 * options.get("samples", 1)
    every = wh.nn.neighborhood_tokens(adjacency, max_hops=2, layout=layout, **options)
    some = wh.nn.neighborhood_tokens(adjacency, max_hops=2, layout=layout, nodes=chosen, **options)
    if layout == "csr":
        every, some = (x.to_dense().reshape(-1, tokens, 30) for x in (every, some))
        assert torch.equal(some, every[chosen])
    else:
        assert torch.equal(some, every[chosen][:, :, : some.shape[2]])
        assert (every[chosen][:, :, some.shape[2] :] == -1).all()
    none = wh.nn.neighborhood_tokens(adjacency, max_hops=2, layout=layout, nodes=chosen[:0], **options)
    assert none.shape == ((0, 30) if layout == "csr" else (0, tokens, 0))


def test_tokens_sum_features() -> None:
    """A csr of tokens is a factor."""
    dense = GRAPHS[1]
    tokens = wh.nn.neighborhood_tokens(csr(dense), max_hops=2, layout="csr")
    x = torch.randn(11, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = (tokens.to(torch.float64) @ x).reshape(11, 3, 4)
    counts = hop_counts(dense)
    for hop in range(3):
        torch.testing.assert_close(found[:, hop], (counts == hop).double() @ x)


def test_permutation() -> None:
    """Nodes by other numbers have the same neighbourhoods by those numbers."""
    dense, order = GRAPHS[0], torch.randperm(30, generator=torch.Generator().manual_seed(0))
    tokens = wh.nn.neighborhood_tokens(csr(dense), max_hops=3)
    moved = wh.nn.neighborhood_tokens(csr(dense[order][:, order]), max_hops=3)
    back = torch.where(moved < 0, -1, order[moved])
    for node in range(30):
        for hop in range(4):
            assert set(tokens[order[node], hop].tolist()) == set(back[node, hop].tolist())


def test_parts() -> None:
    """A union of patterns, and entries on the diagonal."""
    a, b = torch.rand(2, 7, 5, generator=torch.Generator().manual_seed(0)) < 0.3
    union = merged(csr(a), csr(b))
    assert torch.equal(union.to_dense(), a | b)
    assert torch.equal(union.col_indices(), csr(a | b).col_indices())
    full = with_diagonal(csr(GRAPHS[0]), 7.0)
    torch.testing.assert_close(full.to_dense(), GRAPHS[0] + 7 * torch.eye(30))


SMALL = csr(torch.ones(3, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: wh.nn.GraphPower(0), ValueError, "hops must be at least 1"),
        (lambda: wh.nn.GraphPower(1.5), TypeError, "hops"),
        (lambda: wh.nn.GraphPower(2, kind="steps"), ValueError, "kind must be one of"),
        (lambda: wh.nn.GraphPower(2, normalize="column"), ValueError, "normalize must be one of"),
        (lambda: wh.nn.GraphPower(2, self_loops=1), TypeError, "self_loops"),
        (lambda: wh.nn.GraphPower(2, kind="reach", self_loops=True), ValueError, "belong to kind='walks'"),
        (lambda: wh.nn.GraphPower(2)(torch.ones(3, 3)), TypeError, "to_sparse_csr"),
        (lambda: wh.nn.GraphPower(2)([1]), TypeError, "^adjacency must be a torch.sparse_csr tensor, got list"),
        (lambda: wh.nn.GraphPower(2)(torch.ones(2, 3, 3).to_sparse_csr()), ValueError, "^adjacency must be 2-D"),
        (lambda: wh.nn.GraphPower(2)(csr(torch.ones(2, 3))), ValueError, "square"),
        (lambda: wh.nn.GraphPower(2)(csr(torch.ones(3, 3) > 0)), TypeError, "^adjacency must have values of float16"),
        (
            lambda: wh.nn.GraphPower(2, kind="distances")(csr(torch.ones(3, 3) > 0)),
            TypeError,
            "^adjacency must have values of float16",
        ),
        (
            lambda: wh.nn.GraphPower(2)(csr(torch.ones(3, 3).byte())),
            TypeError,
            "^adjacency must have values of float16",
        ),
        (
            lambda: wh.nn.GraphPower(2, kind="distances")(csr(torch.ones(3, 3).byte())),
            TypeError,
            "^adjacency must have values of float16",
        ),
        (lambda: wh.nn.GraphPower(2, normalize="row")(csr(torch.ones(3, 3).long())), TypeError, "normalised"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=-1), ValueError, "max_hops"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, walks=0), ValueError, "walks"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, samples=2), ValueError, "without walks"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, kind="x"), ValueError, "kind"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, kind="balls", walks=1), ValueError, "left alone"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, layout="coo"), ValueError, "layout"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, seed=-1), ValueError, "seed"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, nodes=[0]), TypeError, "nodes"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, nodes=torch.tensor([0.0])), TypeError, "nodes"),
        (lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, nodes=torch.tensor([3])), IndexError, "nodes"),
        (
            lambda: wh.nn.neighborhood_tokens(SMALL, max_hops=1, nodes=torch.tensor([1]).to_sparse()),
            TypeError,
            "^nodes must be a dense tensor",
        ),
        (lambda: wh.nn.neighborhood_tokens(torch.ones(3, 3), max_hops=1), TypeError, "adjacency"),
    ],
)
def test_refusals(call: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("options", [{}, {"walks": 2}])
def test_wrong_columns_are_refused(options: dict[str, object]) -> None:
    wrong = build(torch.tensor([0, 1, 1]), torch.tensor([5]), torch.ones(1), (2, 2))
    with pytest.raises(ValueError, match="5"):
        wh.nn.neighborhood_tokens(wrong, max_hops=1, **options)
    for kind in ("walks", "reach", "shells", "distances"):
        with pytest.raises(ValueError, match="5"):
            wh.nn.GraphPower(2, kind=kind)(wrong)


BROKEN = {
    "start": ([1, 2, 3, 3], [0, 2, 1]),
    "end": ([0, 2, 2, 2], [0, 2, 1]),
    "beyond": ([0, 2**50, 2**50, 3], [0, 2, 1]),
    "descending": ([0, 3, 2, 2], [0, 2]),
    "negative": ([0, -5, 3, 3], [0, 2, 1]),
    "column": ([0, 2, 3, 3], [0, 3, 1]),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_graphs_are_refused_by_name(broken: str) -> None:
    crow, col = (torch.tensor(x) for x in BROKEN[broken])
    wrong = build(crow, col, torch.ones(len(col)), (3, 3))
    text = "^adjacency must have (column indices in|row pointers that ascend)"
    for options in (
        *({"kind": kind} for kind in ("walks", "reach", "shells", "distances")),
        {"normalize": "row"},
        {"normalize": "symmetric"},
        {"self_loops": True},
    ):
        with pytest.raises(ValueError, match=text):
            wh.nn.GraphPower(2, **options)(wrong)
    for options in ({}, {"walks": 2}):
        with pytest.raises(ValueError, match=text):
            wh.nn.neighborhood_tokens(wrong, max_hops=1, **options)


@pytest.mark.cuda
def test_cuda() -> None:
    adjacency = csr(GRAPHS[0])
    for kind in ("walks", "reach", "shells", "distances"):
        for here, there in zip(
            wh.nn.GraphPower(3, kind=kind)(adjacency),
            wh.nn.GraphPower(3, kind=kind)(adjacency.cuda()),
            strict=True,
        ):
            assert torch.equal(here.values(), there.values().cpu())
    for options in ({}, {"walks": 2, "samples": 3}):
        here = wh.nn.neighborhood_tokens(adjacency, max_hops=3, **options)
        assert torch.equal(here, wh.nn.neighborhood_tokens(adjacency.cuda(), max_hops=3, **options).cpu())
