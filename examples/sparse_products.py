# SPDX-License-Identifier: Apache-2.0
"""How fast is a sparse matrix times itself? R-MAT graphs of growing size, against SciPy, torch and MKL; and triangles.

An R-MAT graph has few nodes with very many edges, as those of the web and of people have, which makes the rows of its
square differ by orders of magnitude. Libraries multiply the same matrix in turn, several times; the median counts. Then
triangles of such graphs and of real ones are counted by a product that computes only what its mask wants, by the whole
product, and by networkx, which must all agree.

    python examples/sparse_products.py --out sparse_products.png
    python examples/sparse_products.py --scales 8 10 12 --threads 2 --out sparse_products.png
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import real_graphs
import torch
import warphash as wh
from real_graphs import RealGraph, to_csr, undirected
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy import sparse
from torch import Tensor

EDGES_A_NODE, QUADRANTS = 16, (0.57, 0.19, 0.19, 0.05)
COLOURS = {"warphash": "#e4572e", "SciPy": "#2a6fbb", "torch": "#7d8590", "MKL": "#6a994e", "networkx": "#a05195"}
METHODS = {"masked": "only what the mask wants", "whole": "the whole product (SciPy)", "networkx": "networkx"}
SHADES = {"masked": COLOURS["warphash"], "whole": COLOURS["SciPy"], "networkx": COLOURS["networkx"]}
Seconds = dict[str, float]


@dataclass
class Found:
    """What the picture and the tests want to know."""

    products: dict[int, int] = field(default_factory=dict)  # by scale: pairs of entries that meet
    entries: dict[int, int] = field(default_factory=dict)  # by scale: of the result
    seconds: dict[int, Seconds] = field(default_factory=dict)  # by scale and library
    triangles: dict[str, tuple[int, int]] = field(default_factory=dict)  # by graph: edges, triangles
    counting: dict[str, Seconds] = field(default_factory=dict)  # by graph and method


def rmat(scale: int, seed: int = 0) -> Tensor:
    """int64 [edges, 2], distinct, of 2^scale nodes: each bit of an edge's ends falls into one of four quadrants.

    Source: Chakrabarti, Zhan and Faloutsos, R-MAT: a recursive model for graph mining, 2004.
    """
    generator = torch.Generator().manual_seed(seed)
    borders = torch.tensor(QUADRANTS).cumsum(0)[:3]
    pairs = torch.zeros(EDGES_A_NODE << scale, 2, dtype=torch.int64)
    for _ in range(scale):
        quadrant = torch.bucketize(torch.rand(len(pairs), generator=generator), borders)
        pairs = 2 * pairs + torch.stack([quadrant >> 1, quadrant & 1], 1)
    return pairs.unique(dim=0)


def to_scipy(x: Tensor) -> sparse.csr_matrix:
    """On the same memory."""
    return sparse.csr_matrix((x.values().numpy(), x.col_indices().numpy(), x.crow_indices().numpy()), tuple(x.shape))


def mkl() -> Any:
    """Its binding, where it is installed and finds its library."""
    try:
        if "MKL_RT" not in os.environ:  # the binding looks for names of older versions only
            for file in importlib.metadata.files("mkl") or ():
                if "libmkl_rt.so" in file.name:
                    os.environ["MKL_RT"] = str(file.locate())
        import sparse_dot_mkl
    except ImportError:
        return None
    return sparse_dot_mkl


def libraries(matrix: Tensor, threads: int) -> dict[str, Callable[[], Any]]:
    """How each one squares it. Ours alone sorts the columns of its result."""
    other = to_scipy(matrix)
    calls: dict[str, Callable[[], Any]] = {
        "warphash": lambda: wh.spgemm.matmul(matrix, matrix),
        "SciPy": lambda: other @ other,
        "torch": lambda: torch.sparse.mm(matrix, matrix),
    }
    if binding := mkl():
        binding.mkl_set_num_threads(threads)
        calls["MKL"] = lambda: binding.dot_product_mkl(other, other)
    return calls


def medians(calls: dict[str, Callable[[], Any]], clock: Callable[[], float], budget: float) -> Seconds:
    """Each call's median; all take turns, three calls each, so that what else the machine does falls on all of them."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    while len(times["warphash"]) < 9 or (time.perf_counter() - begin < budget and len(times["warphash"]) < 300):
        for name, call in calls.items():
            for _ in range(3):
                start = clock()
                call()
                times[name].append(clock() - start)
    return {name: sorted(values)[len(values) // 2] for name, values in times.items()}


def square(scale: int, found: Found, threads: int, budget: float) -> None:
    """Times one size, and checks the answer by SciPy's."""
    pairs = rmat(scale)
    values = 0.5 + torch.rand(len(pairs), generator=torch.Generator().manual_seed(1))
    matrix = to_csr(pairs, values, 1 << scale)
    ours = to_scipy(wh.spgemm.matmul(matrix, matrix))
    theirs = to_scipy(matrix) @ to_scipy(matrix)
    theirs.sort_indices()
    same = np.array_equal(ours.indptr, theirs.indptr) and np.array_equal(ours.indices, theirs.indices)
    if not same or not np.allclose(ours.data, theirs.data, rtol=1e-4):
        raise SystemExit(f"the product of scale {scale} differs from SciPy's")
    found.entries[scale] = ours.nnz
    found.products[scale] = int(matrix.crow_indices().diff()[matrix.col_indices().long()].sum())
    clock = time.process_time if threads == 1 else time.perf_counter
    found.seconds[scale] = medians(libraries(matrix, threads), clock, budget)


def lower(graph: RealGraph) -> Tensor:
    """Each edge once, from the node of fewer edges to that of more: rows of hubs stay short."""
    degree = torch.bincount(graph.edges.flatten(), minlength=len(graph))
    rank = torch.empty_like(degree)
    rank[degree.argsort(descending=True, stable=True)] = torch.arange(len(degree))
    pairs = rank[graph.edges].sort(1, descending=True).values
    return to_csr(pairs, torch.ones(len(pairs), dtype=torch.int32), len(graph))


def count_triangles(graph: RealGraph, networkx_too: bool) -> tuple[dict[str, int], Seconds]:
    """(triangles, seconds) by method."""
    edges = lower(graph)
    other = to_scipy(edges)
    calls: dict[str, Callable[[], int]] = {
        "masked": lambda: int(wh.spgemm.matmul(edges, edges, mask=edges).values().sum()),
        "whole": lambda: int((other @ other).multiply(other).sum()),
    }
    if networkx_too:
        drawn = graph.to_networkx()
        calls["networkx"] = lambda: sum(networkx.triangles(drawn).values()) // 3
    counts, seconds = {}, {}
    for name, call in calls.items():
        times = []
        while len(times) < 3 and sum(times) < 5:
            start = time.process_time()
            counts[name] = call()
            times.append(time.process_time() - start)
        seconds[name] = min(times)
    return counts, seconds


def triangles(scales: list[int], found: Found, progress: Progress) -> None:
    graphs = [real_graphs.karate(), real_graphs.miserables(), real_graphs.imports()]
    if importlib.util.find_spec("sklearn"):
        graphs.append(real_graphs.digits())
    for scale in scales:
        names = [str(node) for node in range(1 << scale)]
        graphs.append(undirected(f"R-MAT {scale}", rmat(scale), names, None))
    for graph in progress.track(graphs, description="triangles"):
        counts, seconds = count_triangles(graph, len(graph.edges) < 100_000)
        if len(set(counts.values())) != 1:
            raise SystemExit(f"methods count different triangles of {graph.name}: {counts}")
        found.triangles[graph.name] = (len(graph.edges), counts["masked"])
        found.counting[graph.name] = seconds


def draw(path: Path, found: Found, threads: int) -> None:
    """Speed over the size on the left, seconds for triangles on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(13, 5.2), facecolor="white", gridspec_kw={"width_ratios": [1, 1.1]}
    )
    scales = list(found.seconds)
    ends = []
    for name in found.seconds[scales[0]]:
        speed = [found.products[scale] / found.seconds[scale][name] / 1e6 for scale in scales]
        left.plot(scales, speed, color=COLOURS[name], marker="o", markersize=4.5, linewidth=2)
        ends.append((speed[-1], name))
    top = left.get_ylim()[1]
    place = -1.0
    for speed, name in sorted(ends):  # names at the lines' ends, none above another
        place = max(speed, place + 0.055 * top)
        left.annotate(
            name, (scales[-1], place), xytext=(8, 0), textcoords="offset points", va="center", color=COLOURS[name],
            weight="bold", fontsize=10,
        )  # fmt: skip
    left.set_xticks(scales, [f"{2**scale:,}" for scale in scales], fontsize=8.5)
    left.set(xlabel="rows and columns of A", ylim=(0, None), xlim=(scales[0] - 0.3, scales[-1] + 0.4))
    what = "one thread" if threads == 1 else f"{threads} threads"
    left.set_title(f"A·A: million products per second, {what}", fontsize=11, loc="left")

    names = list(found.triangles)
    height = 0.26
    for row, name in enumerate(names):
        for place, method in enumerate(METHODS):
            if method not in found.counting[name]:
                continue
            seconds = found.counting[name][method]
            y = row + (place - 1) * height
            right.barh(y, seconds, height * 0.9, color=SHADES[method], label=METHODS[method] if row == 0 else None)
            text = f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
            right.annotate(text, (seconds, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5)
    labels = [f"{name}\n{found.triangles[name][1]:,} triangles" for name in names]
    right.set_yticks(range(len(names)), labels, fontsize=8.5)
    right.invert_yaxis()
    largest = max(max(seconds.values()) for seconds in found.counting.values())
    right.set(xscale="log", xlim=(None, largest * 6), xlabel="seconds")
    right.set_title("Counting triangles", fontsize=11, loc="left")
    right.legend(frameon=False, fontsize=8.5, loc="upper right")
    for axes, grid in ((left, "y"), (right, "x")):
        axes.grid(axis=grid, alpha=0.25)
        axes.set_axisbelow(True)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
    figure.tight_layout(w_pad=2.5)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def show(found: Found, threads: int) -> None:
    clock = "processor time, one thread" if threads == 1 else f"wall time, {threads} threads"
    names = list(next(iter(found.seconds.values())))
    table = Table(title=f"ms for A·A of R-MAT graphs ({clock})")
    for name in ("scale", "products", "entries", *names, "SciPy / ours"):
        table.add_column(name, justify="right")
    for scale, seconds in found.seconds.items():
        ratio = seconds["SciPy"] / seconds["warphash"]
        table.add_row(
            str(scale), f"{found.products[scale]:,}", f"{found.entries[scale]:,}",
            *(f"{1e3 * seconds[name]:.3g}" for name in names), f"{ratio:.1f}",
        )  # fmt: skip
    Console().print(table)
    table = Table(title="Triangles, and ms to count them")
    for name in ("graph", "edges", "triangles", *METHODS):
        table.add_column(name, justify="left" if name == "graph" else "right")
    for name, (edges, count) in found.triangles.items():
        times = found.counting[name]
        shown = (f"{1e3 * times[method]:.3g}" if method in times else "–" for method in METHODS)
        table.add_row(name, f"{edges:,}", f"{count:,}", *shown)
    Console().print(table)


def main(arguments: list[str] | None = None) -> Found:
    """Returns times and counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scales", type=int, nargs="+", default=[8, 9, 10, 11, 12, 13, 14], help="of 2^scale nodes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small graphs, short times")
    parser.add_argument("--out", type=Path, default=Path("sparse_products.png"), help="the picture")
    options = parser.parse_args(arguments)
    if not all(4 <= scale <= 18 for scale in options.scales):
        parser.error("--scales must be 4 to 18")
    if options.threads < 1:
        parser.error("--threads must be at least 1")
    scales = sorted(set(options.scales))
    if options.quick:
        scales = [scale for scale in scales if scale <= 10] or scales[:1]
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    found = Found()
    try:
        with Progress(console=Console(file=sys.stderr), transient=True) as progress, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
            for scale in progress.track(scales, description="squaring"):
                square(scale, found, options.threads, 0.2 if options.quick else 3)
            triangles([scale for scale in scales if scale in (10, 12, 14)], found, progress)
    finally:
        torch.set_num_threads(before)
    draw(options.out, found, options.threads)
    show(found, options.threads)
    print(f"picture: {options.out}", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
