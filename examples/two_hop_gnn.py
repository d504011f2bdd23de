# SPDX-License-Identifier: Apache-2.0
"""A small graph network that looks two hops far, and learns the weights of its edges through a sparse product.

Handwritten digits are joined to the images whose upper halves are most like their own, so that a fifth of the edges
lead to another digit, and only few images are labelled. A network classifies each from its own pixels, from the mean of
its neighbours, and from the mean of what is exactly two hops away. The weights of the last one are a product: A·A
without what A joins already. All edges weigh the same, or they learn: an edge's weight then follows from the two
images' difference, pixels scaled, and the gradient of the scales comes through the product. Prints accuracies, and
draws the weights.

    python examples/two_hop_gnn.py --out two_hop_gnn.png
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import real_graphs
import torch
import warphash as wh
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

METHODS = {  # hops, whether edges learn their weights
    "own pixels": (0, False), "one hop": (1, False), "one hop, learned": (1, True),
    "two hops": (2, False), "two hops, learned": (2, True),
}  # fmt: skip
SAME, OTHER, INK = "#2e9e5b", "#d64545", "#2b2f36"


class Digits:
    """Images, their graph, and which are labelled."""

    def __init__(self, neighbours: int) -> None:
        bunch = load_digits()
        self.images = torch.tensor(bunch.data, dtype=torch.float32) / 16
        self.labels = torch.tensor(bunch.target, dtype=torch.int64)
        self.adjacency = real_graphs.digits(neighbours, pixels=32).adjacency()
        self.columns = self.adjacency.col_indices().long()
        self.rows = torch.repeat_interleave(torch.arange(len(self.labels)), self.adjacency.crow_indices().diff())
        # What is no more than one hop away: the mask of what is exactly two.
        (self.near,) = wh.nn.GraphPower(1, kind="reach")(self.adjacency)
        self.differences = (self.images[self.rows] - self.images[self.columns]).square()

    def split(self, labelled: int, seed: int) -> tuple[Tensor, Tensor]:
        """(Images that are labelled, so many of each digit; all others)."""
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(seed))
        chosen = torch.cat([order[self.labels[order] == digit][:labelled] for digit in range(10)])
        rest = torch.ones(len(self.labels), dtype=torch.bool)
        rest[chosen] = False
        return chosen, rest.nonzero().squeeze(1)


def mean(matrix: Tensor, x: Tensor) -> Tensor:
    """The weighted mean of x [N, d] over each row's entries; 0 where a row has none."""
    rows = torch.repeat_interleave(torch.arange(len(x)), matrix.crow_indices().diff())
    columns, weights = matrix.col_indices().long(), matrix.values()
    sums = x.new_zeros(len(x)).index_add(0, rows, weights)
    total = x.new_zeros(x.shape).index_add(0, rows, weights[:, None] * x[columns])
    return total / sums.clamp(min=1e-12)[:, None]


class HopNetwork(nn.Module):
    """Logits from a node's own features and from means over what is one and two hops away."""

    def __init__(self, digits: Digits, hops: int, learned: bool) -> None:
        super().__init__()
        self.digits, self.hops, self.learned = digits, hops, learned
        self.layers = nn.ModuleList(nn.Linear(64, 10) for _ in range(hops + 1))
        # Weights are about e^-1 before they learn.
        start = -math.log(float(digits.differences.sum(1).mean()))
        self.log_scales = nn.Parameter(torch.full((64,), start), requires_grad=learned)

    def edge_weights(self) -> Tensor:
        """A: ones, or each edge by how little its images differ where it matters."""
        values = torch.exp(-self.digits.differences @ self.log_scales.exp())
        if not self.learned:
            values = torch.ones_like(values)
        crow, col = self.digits.adjacency.crow_indices(), self.digits.adjacency.col_indices()
        return torch.sparse_csr_tensor(crow, col, values, self.digits.adjacency.shape, check_invariants=False)

    def forward(self) -> Tensor:
        """Logits [N, 10]."""
        x = self.digits.images
        logits = self.layers[0](x)
        if self.hops:
            edges = self.edge_weights()
            logits = logits + mean(edges, self.layers[1](x))
        if self.hops == 2:
            two = wh.spgemm.matmul(edges, edges, mask=self.digits.near, complement=True)
            logits = logits + mean(two, self.layers[2](x))
        return logits


def train(digits: Digits, method: str, labelled: int, epochs: int, seed: int) -> tuple[HopNetwork, float]:
    """(The network, its accuracy on the images without a label)."""
    chosen, rest = digits.split(labelled, seed)
    torch.manual_seed(seed)
    network = HopNetwork(digits, *METHODS[method])
    groups = [
        {"params": network.layers.parameters(), "weight_decay": 1e-3},
        {"params": [network.log_scales], "lr": 2e-2},
    ]
    optimizer = torch.optim.Adam(groups, lr=1e-2)
    for _ in range(epochs):
        loss = functional.cross_entropy(network()[chosen], digits.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        guesses = network()[rest].argmax(1)
    return network, float((guesses == digits.labels[rest]).float().mean())


@dataclass
class Found:
    """What the picture and the tests want to know."""

    accuracy: dict[tuple[str, int], list[float]]  # by method and number of labels a digit, one for each seed
    network: HopNetwork  # of two hops with learned edges
    same: Tensor  # bool [edges]: whether an edge joins images of one digit
    before: Tensor  # float [edges]: its weight over the mean of its node's edges, before training
    after: Tensor


def shares(network: HopNetwork) -> Tensor:
    """Each edge's weight over the mean of its node's edges."""
    with torch.no_grad():
        weights, rows = network.edge_weights().values(), network.digits.rows
    degree = torch.bincount(rows)
    return weights * (degree / torch.bincount(rows, weights))[rows]


def compare(digits: Digits, labelled: list[int], epochs: int, seeds: int, progress: Progress) -> Found:
    accuracy: dict[tuple[str, int], list[float]] = {}
    task = progress.add_task("training", total=len(METHODS) * len(labelled) * seeds)
    for count in labelled:
        for method in METHODS:
            accuracy[method, count] = []
            for seed in range(seeds):
                network, score = train(digits, method, count, epochs, seed)
                accuracy[method, count].append(score)
                progress.advance(task)
    same = digits.labels[digits.rows] == digits.labels[digits.columns]
    return Found(accuracy, network, same, shares(HopNetwork(digits, 2, True)), shares(network))


def examples(found: Found, count: int) -> list[int]:
    """Nodes whose edges to other digits have lost most, none beside another."""
    digits = found.network.digits
    lost = torch.where(found.same, 0, (found.before - found.after).clamp(min=0))
    total = torch.zeros(len(digits.labels)).index_add(0, digits.rows, lost)
    # Of few edges, so that they can be seen; and some neighbours of the same digit.
    degree = torch.bincount(digits.rows, minlength=len(total))
    alike = torch.bincount(digits.rows, found.same.double(), minlength=len(total)) / degree
    total[(degree > 14) | (alike < 0.4)] = 0
    picked: list[int] = []
    seen: set[int] = set()
    for node in total.argsort(descending=True).tolist():
        if node not in seen and digits.labels[node] not in digits.labels[picked]:
            picked.append(node)
            seen |= {node, *digits.columns[digits.rows == node].tolist()}
        if len(picked) == count:
            break
    return picked


def draw_node(axes: Any, found: Found, node: int) -> None:
    """An image and its neighbours, edges as wide as their weight."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    digits = found.network.digits
    mine = (digits.rows == node).nonzero().squeeze(1)
    mine = mine[found.after[mine].argsort(descending=True)]
    angles = torch.linspace(math.pi / 2, math.pi / 2 - 2 * math.pi, len(mine) + 1)[:-1]

    def image(number: int, place: tuple[float, float], colour: str, zoom: float) -> None:
        picture = OffsetImage(digits.images[number].reshape(8, 8).numpy(), cmap="gray_r", zoom=zoom)
        frame = {"edgecolor": colour, "linewidth": 1.8}
        axes.add_artist(AnnotationBbox(picture, place, pad=0.1, bboxprops=frame))

    for edge, angle in zip(mine.tolist(), angles.tolist(), strict=True):
        x, y, weight = math.cos(angle), math.sin(angle), float(found.after[edge])
        colour = SAME if found.same[edge] else OTHER
        axes.plot([0, x], [0, y], color=colour, linewidth=4 * min(weight, 4), zorder=1, alpha=0.8)
        image(int(digits.columns[edge]), (x, y), colour, 2.9)
        axes.text(1.38 * x, 1.38 * y, f"{weight:.1f}", ha="center", va="center", fontsize=8.5, color=INK)
    image(node, (0, 0), INK, 4.2)
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw(path: Path, found: Found) -> None:
    """Weights of all edges, scales of pixels, and some images with their edges."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 6.8), facecolor="white")
    grid = figure.add_gridspec(2, 1, left=0.03, right=0.4, bottom=0.05, top=0.87, hspace=0.32)
    top = figure.add_subplot(grid[0])
    bins = torch.linspace(0, 3, 46).tolist()
    for same, colour, name in ((True, SAME, "the same digit"), (False, OTHER, "another digit")):
        chosen = found.same == same
        text = f"{name}: {found.before[chosen].mean():.2f} → {found.after[chosen].mean():.2f}"
        top.hist(found.after[chosen].clamp(max=3).tolist(), bins, density=True, color=colour, alpha=0.55, label=text)
        top.hist(
            found.before[chosen].clamp(max=3).tolist(), bins, density=True, color=colour, histtype="step",
            linestyle="dotted", linewidth=1.3,
        )  # fmt: skip
    top.legend(frameon=False, fontsize=9, title="edges to, their mean weight", title_fontsize=9, alignment="left")
    top.set(yticks=[], xlim=(0, 3))
    top.set_xticks([0, 1, 2, 3], ["0", "1", "2", "≥ 3"], fontsize=9)
    top.set_title("Weights of edges, 1 = the node's mean · dotted: before training", fontsize=10, loc="left")
    for spine in ("top", "right", "left"):
        top.spines[spine].set_visible(False)
    bottom = figure.add_subplot(grid[1])
    scales = found.network.log_scales.detach().exp().reshape(8, 8)
    shown = bottom.imshow((scales / scales.mean()).numpy(), cmap="magma", vmin=0)
    bottom.set(xticks=[], yticks=[])
    bottom.set_anchor("W")
    bottom.set_title("What a difference of each pixel counts, 1 = the mean", fontsize=10, loc="left")
    # Edges were chosen by what lies above this line.
    bottom.axhline(3.5, color="white", linewidth=1.2, linestyle="dashed")
    bottom.text(7.9, 3.5, " above: what edges were\n chosen by", va="center", fontsize=9, color=INK)
    bar = figure.colorbar(shown, ax=bottom, location="left", fraction=0.05, pad=0.03)
    bar.ax.tick_params(labelsize=8)
    grid = figure.add_gridspec(2, 2, left=0.44, right=0.99, bottom=0.01, top=0.9, hspace=0.02, wspace=0.02)
    for number, node in enumerate(examples(found, 4)):
        draw_node(figure.add_subplot(grid[number // 2, number % 2]), found, node)
    figure.text(
        0.44, 0.915, "Some images and their edges · green: the same digit, red: another · numbers: weights", fontsize=10
    )
    figure.suptitle("Edge weights learned through A·A", x=0.03, ha="left", weight="bold", fontsize=13)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def show(found: Found) -> None:
    counts = sorted({count for _, count in found.accuracy})
    table = Table(title="Accuracy in %, by how many images of each digit have a label")
    table.add_column("looks at")
    for count in counts:
        table.add_column(str(count), justify="right")
    for method in METHODS:
        cells = []
        for count in counts:
            scores = torch.tensor(found.accuracy[method, count], dtype=torch.float64) * 100
            spread = f" ± {scores.std():.1f}" if len(scores) > 1 else ""
            cells.append(f"{scores.mean():.1f}{spread}")
        table.add_row(method, *cells)
    Console().print(table)


def main(arguments: list[str] | None = None) -> Found:
    """Returns accuracies and weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labelled", type=int, nargs="+", default=[2, 5, 10], help="images of each digit")
    parser.add_argument("--neighbours", type=int, default=8, help="that each image is joined to")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5, help="how many choices of labelled images")
    parser.add_argument("--out", type=Path, default=Path("two_hop_gnn.png"), help="the picture")
    options = parser.parse_args(arguments)
    if not all(1 <= count <= 100 for count in options.labelled):
        parser.error("--labelled must be 1 to 100")
    if not 2 <= options.neighbours <= 100:
        parser.error("--neighbours must be 2 to 100")
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        digits = Digits(options.neighbours)
        found = compare(digits, sorted(set(options.labelled)), options.epochs, options.seeds, progress)
    draw(options.out, found)
    show(found)
    print(f"picture: {options.out}", file=sys.stderr)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)  # matrices this small gain nothing from threads
    main()
