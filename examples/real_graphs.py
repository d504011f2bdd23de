# SPDX-License-Identifier: Apache-2.0
"""Graphs of the real world that any machine with this package has; the examples on sparse products share them."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx
import torch
from torch import Tensor

PACKAGES = ("fsspec", "jinja2", "markdown_it", "mpmath", "networkx", "numpy", "pygments", "rich", "sympy")
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<base>[.\w]+)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n]*)|import[ \t]+(?P<whole>[^\n]*))",
    re.MULTILINE,
)
LEFT_OUT = {"tests", "test", "testing", "benchmarks", "examples"}


@dataclass(frozen=True)
class RealGraph:
    """An undirected graph without loops."""

    name: str
    edges: Tensor  # int64 [E, 2], i < j, sorted, distinct
    weights: Tensor  # float32 [E]
    nodes: list[str]
    labels: list[str] | None  # what kind each node is, where that is known

    def __len__(self) -> int:
        return len(self.nodes)

    def adjacency(self, dtype: torch.dtype = torch.float32, *, weighted: bool = True) -> Tensor:
        """Sparse_csr [N, N], symmetric."""
        both = torch.cat([self.edges, self.edges.flip(1)])
        values = self.weights if weighted else torch.ones_like(self.weights)
        return to_csr(both, torch.cat([values, values]).to(dtype), len(self))

    def to_networkx(self) -> networkx.Graph:
        """With node numbers and the attribute weight."""
        graph = networkx.Graph()
        graph.add_nodes_from(range(len(self)))
        weights = self.weights.tolist()
        graph.add_weighted_edges_from((i, j, w) for (i, j), w in zip(self.edges.tolist(), weights, strict=True))
        return graph


def to_csr(pairs: Tensor, values: Tensor, nodes: int) -> Tensor:
    """Sparse_csr [nodes, nodes] with int32 indices from distinct pairs [E, 2]."""
    keys = pairs[:, 0] * nodes + pairs[:, 1]
    if (keys.diff() < 0).any():
        order = keys.argsort()
        pairs, values = pairs[order], values[order]
    counts = torch.bincount(pairs[:, 0], minlength=nodes)
    crow = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(crow, pairs[:, 1].int(), values, (nodes, nodes), check_invariants=True)


def undirected(name: str, pairs: Tensor, nodes: list[str], labels: list[str] | None) -> RealGraph:
    """Pairs in any order and direction, repeated ones and loops among them; all weights 1."""
    pairs = pairs[pairs[:, 0] != pairs[:, 1]].sort(1).values.unique(dim=0)
    return RealGraph(name, pairs, torch.ones(len(pairs)), nodes, labels)


def of_networkx(name: str, graph: networkx.Graph, label: str | None) -> RealGraph:
    nodes = list(graph)
    number = {node: place for place, node in enumerate(nodes)}
    weighted = {
        tuple(sorted((number[i], number[j]))): float(weight) for i, j, weight in graph.edges(data="weight", default=1)
    }
    edges = sorted(weighted)
    labels = None if label is None else [str(graph.nodes[node][label]) for node in nodes]
    weights = torch.tensor([weighted[edge] for edge in edges])
    return RealGraph(name, torch.tensor(edges), weights, [str(node) for node in nodes], labels)


def karate() -> RealGraph:
    """Friends in Zachary's karate club, and the club that each joined when it split (1977)."""
    return of_networkx("karate club", networkx.karate_club_graph(), "club")


def miserables() -> RealGraph:
    """Characters of Les Misérables that meet, by how many chapters they share (Knuth, 1993)."""
    return of_networkx("Les Misérables", networkx.les_miserables_graph(), None)


def imports(packages: tuple[str, ...] = PACKAGES) -> RealGraph:
    """Modules of installed packages that import each other; a module's label is its package."""
    files = dict(item for package in packages for item in _modules(package))
    number = {name: place for place, name in enumerate(files)}
    pairs = []
    for name, path in files.items():
        for target in _imported(name, path):
            while target and target not in number:  # a function or class: then its module
                target = target.rpartition(".")[0]
            if target:
                pairs.append((number[name], number[target]))
    labels = [name.partition(".")[0] for name in files]
    return undirected("imports", torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2), list(files), labels)


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return
    root = Path(next(iter(spec.submodule_search_locations)))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not LEFT_OUT & set(parts):
            yield ".".join([package, *(part for part in parts if part != "__init__")]), path


def _imported(name: str, path: Path) -> Iterator[str]:
    """Full names of what a module imports, read off its lines: parsing takes ten times as long."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for found in IMPORT.finditer(path.read_text("utf-8", errors="replace")):
        listed = re.sub(r"#[^\n]*|[()\\]", " ", found["names"] or found["whole"])
        names = [part.split()[0] for part in listed.split(",") if part.split()]
        base = found["base"] or ""
        if base.startswith("."):
            level = len(base) - len(base.lstrip("."))
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - level + 1], *([base.lstrip(".")] if base.lstrip(".") else [])])
        yield from (f"{base}.{part}" if base else part for part in names)


def digits(neighbours: int = 8, pixels: int = 64) -> RealGraph:
    """Scikit-learn's digits, each image joined to those nearest to it by their first pixels; labelled by its digit."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.data, dtype=torch.float32)[:, :pixels]
    nearest = torch.cdist(images, images).fill_diagonal_(torch.inf).topk(neighbours, largest=False).indices
    pairs = torch.stack([torch.arange(len(images)).repeat_interleave(neighbours), nearest.flatten()], 1)
    names = [str(number) for number in range(len(images))]
    return undirected("digits", pairs, names, [str(digit) for digit in bunch.target])
