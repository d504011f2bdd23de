# SPDX-License-Identifier: Apache-2.0
"""Learned binary codes for scikit-learn's handwritten digits, against random projections and ITQ.

Trains a small network that ends in a HashHead (GreedyHash: classify the code, straight-through gradient, and a pull of
each value towards ±1), indexes the codes, and compares mean average precision with LSH and ITQ on the same split: 20
queries a class, all other images are training set and database. Prints a table and draws queries with their neighbours.

    python examples/digits_hashing.py --out digits_hashing.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
import warphash as wh
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

QUERIES_A_CLASS = 20
NEIGHBOURS = 6
METHODS = ("LSH", "ITQ", "trained")


class Digits:
    """Images as [N, 64] in [0, 1], split into queries and database."""

    def __init__(self, seed: int) -> None:
        bunch = load_digits()
        images = torch.tensor(bunch.data, dtype=torch.float32) / 16
        labels = torch.tensor(bunch.target, dtype=torch.int64)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        chosen = torch.cat([order[labels[order] == digit][:QUERIES_A_CLASS] for digit in range(10)])
        rest = torch.ones(len(labels), dtype=torch.bool)
        rest[chosen] = False
        self.queries, self.query_labels = images[chosen], labels[chosen]
        self.database, self.database_labels = images[rest], labels[rest]


class HashNetwork(nn.Module):
    """Image [N, 64] → 256 hidden units → code of the given bits."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 256), nn.ReLU())
        self.head = wh.nn.HashHead(256, bits)

    def encode(self, images: Tensor) -> Tensor:
        """Packed codes."""
        with torch.no_grad():
            return self.head.encode(self.body(images))


def train(digits: Digits, bits: int, epochs: int, seed: int, progress: Progress) -> HashNetwork:
    torch.manual_seed(seed)
    network, classifier = HashNetwork(bits), nn.Linear(bits, 10)
    optimizer = torch.optim.Adam([*network.parameters(), *classifier.parameters()], lr=1e-3)
    for _ in progress.track(range(epochs), description=f"training {bits} bits"):
        for rows in torch.randperm(len(digits.database)).split(64):
            u = network.head.project(network.body(digits.database[rows]))
            loss = functional.cross_entropy(classifier(network.head.binarize(u)), digits.database_labels[rows])
            loss = loss + 0.1 * (u.abs() - 1).abs().pow(3).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def score(encoder: wh.nn.LinearHash | HashNetwork, digits: Digits) -> float:
    """Mean average precision over the whole database, ties averaged."""
    return wh.retrieval.mean_average_precision(
        encoder.encode(digits.queries),
        encoder.encode(digits.database),
        digits.query_labels,
        digits.database_labels,
        ties="average",
    )


def show_table(scores: dict[tuple[str, int], float], all_bits: list[int]) -> None:
    table = Table(title="Mean average precision on scikit-learn's digits")
    table.add_column("bits", justify="right")
    for method in METHODS:
        table.add_column(method, justify="right")
    for bits in all_bits:
        table.add_row(str(bits), *(f"{scores[method, bits]:.3f}" for method in METHODS))
    Console().print(table)


def draw(
    path: Path, digits: Digits, bits: int, encoders: dict[str, wh.nn.LinearHash | HashNetwork], titles: dict[str, str]
) -> None:
    """One query a digit, and beside it the nearest images by each kind of code."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    right, wrong, ink = "#2e9e5b", "#d64545", "#2b2f36"
    rows = torch.arange(10) * QUERIES_A_CLASS
    # Columns: the query, then per method a gap and its neighbours.
    widths = [1.25] + [0.45, *[1.0] * NEIGHBOURS] * len(encoders)
    figure = pyplot.figure(figsize=(0.62 * sum(widths), 0.62 * 10 * 1.28 + 1.1), facecolor="white")
    grid = figure.add_gridspec(
        10, len(widths), width_ratios=widths, left=0.015, right=0.985, bottom=0.02, top=0.885, wspace=0.12, hspace=0.42
    )

    def picture(row: int, column: int, image: Tensor, colour: str, width: float) -> Any:
        axes = figure.add_subplot(grid[row, column])
        axes.imshow(image.reshape(8, 8).numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(edgecolor=colour, linewidth=width)
        return axes

    for row, query in enumerate(rows):
        picture(row, 0, digits.queries[query], ink, 0.8)
    for place, (method, encoder) in enumerate(encoders.items()):
        codes = encoder.encode(digits.database)
        index = wh.retrieval.HammingIndex(bits)
        index.add(codes)
        distances, indices = index.search(encoder.encode(digits.queries[rows]), NEIGHBOURS)
        first = 2 + place * (NEIGHBOURS + 1)
        for row in range(10):
            for rank in range(NEIGHBOURS):
                neighbour = indices[row, rank]
                same = digits.database_labels[neighbour] == digits.query_labels[rows[row]]
                axes = picture(row, first + rank, digits.database[neighbour], right if same else wrong, 2.2)
                axes.set_title(int(distances[row, rank]), fontsize=7.5, color=ink, pad=2.5)
        left, end = (grid[0, first + offset].get_position(figure) for offset in (0, NEIGHBOURS - 1))
        middle = (left.x0 + end.x1) / 2
        figure.text(middle, 0.915, titles[method], ha="center", va="bottom", fontsize=11, color=ink)
    query_box = grid[0, 0].get_position(figure)
    figure.text((query_box.x0 + query_box.x1) / 2, 0.915, "query", ha="center", va="bottom", fontsize=11, color=ink)
    figure.text(0.015, 0.985, "Nearest digits by Hamming distance", va="top", fontsize=14, weight="bold", color=ink)
    figure.text(
        0.985, 0.983, "framed green: same digit · red: another · above: distance in bits", va="top", ha="right",
        fontsize=9, color=ink,
    )  # fmt: skip
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> dict[tuple[str, int], float]:
    """Runs the comparison; returns mean average precision by (method, bits)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64], help="code lengths, at most 64 for ITQ")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("digits_hashing.png"), help="the picture, of the shortest codes"
    )
    options = parser.parse_args(arguments)
    if not all(1 <= bits <= 64 for bits in options.bits):
        parser.error("--bits must be 1 to 64")
    if options.epochs < 0:
        parser.error("--epochs must not be negative")
    digits = Digits(options.seed)
    scores: dict[tuple[str, int], float] = {}
    drawn: dict[str, wh.nn.LinearHash | HashNetwork] = {}
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        for bits in sorted(set(options.bits)):
            encoders = {
                "LSH": wh.nn.random_projection(digits.database, bits, seed=options.seed),
                "ITQ": wh.nn.itq(digits.database, bits, seed=options.seed),
                "trained": train(digits, bits, options.epochs, options.seed, progress),
            }
            drawn = drawn or encoders
            scores |= {(method, bits): score(encoder, digits) for method, encoder in encoders.items()}
    shortest = min(options.bits)
    titles = {method: f"{method}, {shortest} bits · mAP {scores[method, shortest]:.3f}" for method in METHODS}
    draw(options.out, digits, shortest, drawn, titles)
    show_table(scores, sorted(set(options.bits)))
    print(f"picture: {options.out}", file=sys.stderr)
    return scores


if __name__ == "__main__":
    torch.set_num_threads(1)  # matrices this small gain nothing from threads, and sums stay in one order
    main()
