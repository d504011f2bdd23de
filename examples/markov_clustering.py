# SPDX-License-Identifier: Apache-2.0
"""Clusters of real graphs by flow: Markov clustering, whose every step is a product of a sparse matrix with itself.

A random walk's matrix is squared (flow spreads), each entry is taken to a power and rows are scaled back to sum 1
(strong flow wins), small entries are dropped; after some steps each node's flow ends in the centre of its cluster. The
power sets how fine clusters are: of some, the one with the best modularity is kept, which looks at no label. Clusters
are drawn, and compared with Louvain's and with the labels where a graph has them.

    python examples/markov_clustering.py --out markov_clustering.png
    python examples/markov_clustering.py --graphs imports --powers 1.3 1.5 --out imports.png
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx
import real_graphs
import torch
import warphash as wh
from real_graphs import RealGraph, to_csr
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

GRAPHS: dict[str, Callable[[], RealGraph]] = {
    "karate": real_graphs.karate, "miserables": real_graphs.miserables,
    "digits": real_graphs.digits, "imports": real_graphs.imports,
}  # fmt: skip
DROPPED, CHAOS, MOST_STEPS = 1e-4, 1e-5, 100
GREY = "#b9bec7"


@dataclass
class Clustering:
    """What a run has found."""

    graph: RealGraph
    labels: Tensor  # int64 [N]: the smallest member of each node's cluster
    power: float
    steps: int
    entries: list[int]  # of the matrix after each step
    products: int  # of two numbers, in all steps
    seconds: float
    modularity: float

    def clusters(self) -> list[set[int]]:
        return groups(self.labels.tolist())


def groups(labels: list[Any]) -> list[set[int]]:
    """The nodes of each label, the most first."""
    members: dict[Any, set[int]] = {}
    for node, label in enumerate(labels):
        members.setdefault(label, set()).add(node)
    return sorted(members.values(), key=lambda nodes: (-len(nodes), min(nodes)))


def rows_of(matrix: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(matrix.shape[0]), matrix.crow_indices().diff())


def inflated(matrix: Tensor, power: float) -> tuple[Tensor, float]:
    """(Rows to a power, small entries dropped, never a row's largest, sums 1; how far the worst row is from the end).

    At the end all entries of a row are equal.
    """
    rows, columns, values = rows_of(matrix), matrix.col_indices().long(), matrix.values() ** power
    count = matrix.shape[0]
    sums = values.new_zeros(count).index_add(0, rows, values)
    values = values / sums[rows]
    largest = values.new_zeros(count).scatter_reduce(0, rows, values, "amax")
    kept = (values >= DROPPED) | (values == largest[rows])
    rows, columns, values = rows[kept], columns[kept], values[kept]
    values = values / values.new_zeros(count).index_add(0, rows, values)[rows]
    largest = values.new_zeros(count).scatter_reduce(0, rows, values, "amax")
    squares = values.new_zeros(count).index_add(0, rows, values.square())
    return to_csr(torch.stack([rows, columns], 1), values, count), float((largest - squares).max())


def markov_clustering(graph: RealGraph, power: float) -> Clustering:
    """Squares and inflates until nothing moves."""
    start, count = time.perf_counter(), len(graph)
    loops = torch.arange(count)
    pairs = torch.cat([graph.edges, graph.edges.flip(1), torch.stack([loops, loops], 1)])
    # A loop as heavy as a node's mean edge: else the flow of a star would swing to and fro.
    ends = graph.edges.flatten()
    degree = torch.bincount(ends, minlength=count)
    loop = torch.bincount(ends, graph.weights.repeat_interleave(2), minlength=count) / degree
    loop = torch.where(degree == 0, 1, loop).float()
    matrix, _ = inflated(to_csr(pairs, torch.cat([graph.weights, graph.weights, loop]).double(), count), 1)
    entries, products, chaos, steps = [matrix.values().numel()], 0, math.inf, 0
    while chaos > CHAOS and steps < MOST_STEPS:
        products += int(matrix.crow_indices().diff()[matrix.col_indices().long()].sum())
        matrix, chaos = inflated(wh.spgemm.matmul(matrix, matrix), power)
        entries.append(matrix.values().numel())
        steps += 1
    # Nodes that share flow are one cluster.
    flow = torch.stack([rows_of(matrix), matrix.col_indices().long()], 1).sort(1).values
    flow = flow[flow[:, 0] != flow[:, 1]].unique(dim=0)
    labels = wh.lsh.connected_components(flow, count)
    seconds = time.perf_counter() - start
    found = networkx.community.modularity(graph.to_networkx(), groups(labels.tolist()))
    return Clustering(graph, labels, power, steps, entries, products, seconds, found)


def adjusted_rand(first: list[Any], second: list[Any]) -> float:
    """How well two divisions agree: 1 for equal ones, 0 in the mean for those that chance makes (Hubert and Arabie)."""

    def pairs(counts: Counter[Any]) -> int:
        return sum(math.comb(count, 2) for count in counts.values())

    both = pairs(Counter(zip(first, second, strict=True)))
    one, other, all_pairs = pairs(Counter(first)), pairs(Counter(second)), math.comb(len(first), 2)
    expected = one * other / max(all_pairs, 1)
    return 1.0 if one == other == both else (both - expected) / ((one + other) / 2 - expected)


def louvain(graph: RealGraph) -> tuple[list[int], float]:
    """(Labels, modularity) of networkx's Louvain."""
    clusters = networkx.community.louvain_communities(graph.to_networkx(), seed=0)
    labels = [0] * len(graph)
    for number, nodes in enumerate(clusters):
        for node in nodes:
            labels[node] = number
    return labels, networkx.community.modularity(graph.to_networkx(), clusters)


def positions(graph: RealGraph) -> dict[int, Any]:
    """Where nodes are drawn: by forces, the largest part of a graph above, others in a row below it.

    Parts of one or two nodes are left out.
    """
    drawn = graph.to_networkx()
    parts = [drawn.subgraph(nodes) for nodes in sorted(networkx.connected_components(drawn), key=len, reverse=True)]
    parts = [part for number, part in enumerate(parts) if number == 0 or len(part) > 2]
    found: dict[int, Any] = {}
    radius, place = math.sqrt(len(parts[0])), 0.0
    for number, part in enumerate(parts):
        if len(part) > 300:
            layout = networkx.forceatlas2_layout(part, max_iter=100, seed=1)
        else:
            layout = networkx.kamada_kawai_layout(part, weight=None)
        points = torch.tensor([list(map(float, layout[node])) for node in part], dtype=torch.float64)
        points = points - points.mean(0)
        # Outliers come closer, so that they do not squeeze all others.
        far = points.norm(dim=1)
        far = far / far.quantile(0.9).clamp(min=1e-9)
        size = math.sqrt(len(part))
        points = points / points.norm(dim=1).clamp(min=1e-9)[:, None] * far.clamp(max=1.4)[:, None] * size
        if number:
            points = points * 0.7 + torch.tensor([place + 0.8 * size - radius, -1.8 * radius])
            place += 1.8 * size
        found.update({node: point.numpy() for node, point in zip(part, points, strict=True)})
    return found


def colours_of(clusters: list[set[int]], count: int) -> list[Any]:
    """A colour for each node: the largest clusters have their own, small ones share a grey."""
    from matplotlib import colormaps

    # Without greys.
    palette = [
        *(colour for number, colour in enumerate(colormaps["tab10"].colors) if number != 7),
        *colormaps["Dark2"].colors[:-1], *colormaps["tab20"].colors[1:14:2],
    ]  # fmt: skip
    colours: list[Any] = [GREY] * count
    for number, nodes in enumerate(clusters[: len(palette)]):
        if len(nodes) < max(3, count // 200):
            break
        for node in nodes:
            colours[node] = palette[number]
    return colours


def named(result: Clustering) -> list[tuple[int, str]]:
    """(node, text) of what may be written beside nodes, the most important first."""
    graph, count = result.graph, len(result.graph)
    degree = torch.bincount(graph.edges.flatten(), minlength=count)
    if graph.labels is None:
        return [(int(node), graph.nodes[node]) for node in degree.argsort(descending=True)]
    texts = []
    for nodes in result.clusters():
        if len(nodes) < count / 150:
            break
        hub = max(nodes, key=degree.tolist().__getitem__)
        if graph.name == "imports":  # the module that most others of its cluster use
            texts.append((hub, graph.nodes[hub]))
        else:
            texts.append((hub, Counter(graph.labels[node] for node in nodes).most_common(1)[0][0]))
    return texts


def write(axes: Any, texts: list[tuple[int, str]], where: dict[int, Any]) -> None:
    """Texts above their nodes, single signs bold; those that would cover an earlier one are left out."""
    from matplotlib import patheffects

    axes.figure.canvas.draw()
    taken: list[Any] = []
    for node, text in texts[:40]:
        sign = len(text) == 1
        drawn = axes.annotate(
            text, where[node], zorder=4, fontsize=13 if sign else 8.5, weight="bold" if sign else "normal", ha="center",
            va="bottom", color="#20242a", xytext=(0, 5), textcoords="offset points",
            path_effects=[patheffects.withStroke(linewidth=2.2, foreground="white")],
        )  # fmt: skip
        box = drawn.get_window_extent()
        if any(box.overlaps(other) for other in taken):
            drawn.remove()
        else:
            taken.append(box)


def draw_one(axes: Any, result: Clustering) -> None:
    from matplotlib.collections import LineCollection

    graph = result.graph
    where, count = positions(graph), len(graph)
    drawn = [node for node in range(count) if node in where]
    colours = colours_of(result.clusters(), count)
    edges, labels = [edge for edge in graph.edges.tolist() if edge[0] in where], result.labels.tolist()
    inside = [labels[i] == labels[j] for i, j in edges]
    for kind, alpha in ((False, 0.35 if count < 500 else 0.15), (True, 0.6 if count < 500 else 0.3)):
        lines = [(where[i], where[j]) for (i, j), same in zip(edges, inside, strict=True) if same == kind]
        shades = [colours[i] if kind else GREY for (i, _), same in zip(edges, inside, strict=True) if same == kind]
        width = 0.35 if count > 500 else 1.1
        axes.add_collection(LineCollection(lines, colors=shades, linewidths=width, alpha=alpha, zorder=1 + kind))
    degree = torch.bincount(graph.edges.flatten(), minlength=count).double()
    numbered = graph.name == "karate club"
    sizes = (5 if count > 500 else 60) * (degree / degree.mean()).clamp(0.4, 6)
    if numbered:
        sizes = sizes.clamp(min=150)
    axes.scatter(
        [where[node][0] for node in drawn], [where[node][1] for node in drawn], s=sizes[drawn].tolist(),
        c=[colours[node] for node in drawn], zorder=3, linewidths=0.4 if count < 500 else 0.2, edgecolors="white",
    )  # fmt: skip
    axes.set_title(
        f"{graph.name}: {count:,} nodes, {len(graph.edges):,} edges · {len(result.clusters())} clusters, "
        f"modularity {result.modularity:.2f}", fontsize=10.5, loc="left",
    )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.margins(0.04)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if not numbered:
        write(axes, named(result), where)
        return
    # The club knows its members by number.
    for node in range(count):
        axes.annotate(
            str(node + 1), where[node], zorder=4, fontsize=7, ha="center", va="center", color="white", weight="bold"
        )


def draw(path: Path, results: list[Clustering], progress: Progress) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    across = min(2, len(results))
    down = -(-len(results) // across)
    figure, grid = pyplot.subplots(down, across, figsize=(7 * across, 6.2 * down), facecolor="white", squeeze=False)
    for axes in grid.flat[len(results) :]:
        axes.set_visible(False)
    for axes, result in zip(grid.flat, progress.track(results, description="drawing"), strict=False):
        draw_one(axes, result)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def show(results: list[Clustering], progress: Progress) -> None:
    table = Table(title="Markov clustering of real graphs", caption="agreement: adjusted Rand index to known labels")
    for name in ("graph", "method", "clusters", "modularity", "agreement", "ms"):
        table.add_column(name, justify="left" if name in ("graph", "method") else "right", no_wrap=True)
    for result in progress.track(results, description="comparing"):
        known = result.graph.labels
        start = time.perf_counter()
        labels, modularity = louvain(result.graph)
        seconds = time.perf_counter() - start
        flow = (f"flow, power {result.power:g}", result.labels.tolist(), result.modularity, result.seconds)
        for first, (method, found, quality, took) in enumerate((flow, ("Louvain", labels, modularity, seconds))):
            agreement = "–" if known is None else f"{adjusted_rand(found, known):.2f}"
            table.add_row(
                "" if first else result.graph.name, method, str(len(groups(found))), f"{quality:.3f}", agreement,
                f"{1e3 * took:.0f}", end_section=bool(first),
            )  # fmt: skip
    Console().print(table)
    for result in results:
        print(
            f"{result.graph.name}: {result.products:,} products of numbers in {result.steps} steps, at most "
            f"{max(result.entries):,} entries"
        )


def main(arguments: list[str] | None = None) -> list[Clustering]:
    """Returns what was found for each graph."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", nargs="+", choices=list(GRAPHS), default=list(GRAPHS))
    parser.add_argument("--powers", type=float, nargs="+", default=[1.3, 1.5, 1.8, 2.0, 2.5, 3.0, 4.0], help="to try")
    parser.add_argument("--out", type=Path, default=Path("markov_clustering.png"), help="the picture")
    options = parser.parse_args(arguments)
    if not all(1 < power <= 30 for power in options.powers):
        parser.error("--powers must be above 1 and at most 30")
    results = []
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("clustering", total=len(options.graphs) * len(options.powers))
        for name in dict.fromkeys(options.graphs):
            graph, found = GRAPHS[name](), []
            for power in options.powers:
                found.append(markov_clustering(graph, power))
                progress.advance(task)
            results.append(max(found, key=lambda result: result.modularity))
        show(results, progress)
        draw(options.out, results, progress)
    print(f"picture: {options.out}", file=sys.stderr)
    return results


if __name__ == "__main__":
    main()
