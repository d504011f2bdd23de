# SPDX-License-Identifier: Apache-2.0
"""Which item will a user take next? Attention over a long history, by a softmax and by hash collisions.

Synthetic users like some of 20 kinds of items, each to another degree, and their history is drawn by that; a tenth of
the labels is wrong, so that no model can be perfect. The same small network scores a candidate from its features and
what the history says of it: the mean of all items, attention over the last 20, attention over all, or SDIM. It draws
the AUC over the length of the history, and the time that 100 candidates take.

    python examples/behavior_attention.py --out behavior_attention.png
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import warphash as wh
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

KINDS, DIM, LAST, NOISE = 20, 32, 20, 0.1
CANDIDATES, HIDDEN = 40, 64
SHARPNESS = (2.0, 4.0, 8.0, 16.0)
TIMED_USERS, TIMED_CANDIDATES, TIMED_DIM = 4, 100, 64
COLOURS = {"SDIM": "#e4572e", "attention": "#2a6fbb", "last 20": "#6a994e", "mean": "#7d8590"}


@dataclass
class Users:
    """What is known of some users, and what they did with some candidates."""

    history: Tensor  # [users, length, dim]
    candidates: Tensor  # [users, candidates, dim]
    labels: Tensor  # [users, candidates]


def make_users(count: int, length: int, generator: torch.Generator) -> Users:
    """Degrees of liking from a Dirichlet distribution; who likes a kind well takes it."""
    kinds = functional.normalize(torch.randn(KINDS, DIM, generator=torch.Generator().manual_seed(1)), dim=1)
    liking = torch._sample_dirichlet(torch.full((count, KINDS), 0.4), generator)

    def items(drawn: Tensor) -> Tensor:
        return kinds[drawn] + 0.8 * torch.randn(*drawn.shape, DIM, generator=generator) / DIM**0.5

    history = torch.multinomial(liking, length, replacement=True, generator=generator)
    shown = torch.randint(KINDS, (count, CANDIDATES), generator=generator)
    taken = liking.gather(1, shown) > 0.03
    wrong = torch.rand(taken.shape, generator=generator) < NOISE
    return Users(items(history), items(shown), (taken ^ wrong).float())


def softmax_attention(candidates: Tensor, history: Tensor, sharpness: float) -> Tensor:
    """Interest [users, candidates, dim]."""
    return functional.scaled_dot_product_attention(candidates, history, history, scale=sharpness)


def auc(scores: Tensor, labels: Tensor) -> float:
    """Probability that a taken candidate has a higher score than one that is not."""
    order = scores.argsort()
    ranks = torch.empty_like(scores, dtype=torch.float64)
    ranks[order] = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    positive = labels > 0.5
    count = int(positive.sum())
    return ((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count))).item()


def score(train: Users, test: Users, interest: Callable[[Users], Tensor], epochs: int) -> float:
    """AUC on the test's users of a network that has learnt from the others."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3 * DIM, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    def features(users: Users) -> Tensor:
        found = interest(users)
        # The interest's length is its strength; its scale is the method's own.
        found = found / found.square().mean().sqrt()
        return torch.cat([users.candidates, found, users.candidates * found], -1).flatten(0, 1)

    x, y = features(train), train.labels.flatten()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(2048):
            loss = functional.binary_cross_entropy_with_logits(network(x[rows]).squeeze(1), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return auc(network(features(test)).squeeze(1), test.labels.flatten())


def best_attention(train: Users, test: Users, length: int, epochs: int) -> float:
    """AUC of attention over the last `length` items, at the sharpness that suits it best here."""

    def interest(users: Users, sharpness: float) -> Tensor:
        return softmax_attention(users.candidates, users.history[:, -length:], sharpness)

    return max(score(train, test, lambda users, s=s: interest(users, s), epochs) for s in SHARPNESS)


def aucs(train: Users, test: Users, length: int, epochs: int) -> dict[str, float]:
    """By method, for histories of their last `length` items."""
    layer = wh.nn.SDIMAttention(DIM)
    encode = layer.encoder()
    return {
        "SDIM": score(train, test, lambda users: layer(users.candidates, encode(users.history[:, -length:])), epochs),
        "attention": best_attention(train, test, length, epochs),
        "mean": score(
            train,
            test,
            lambda users: users.history[:, -length:].mean(1, keepdim=True).expand_as(users.candidates),
            epochs,
        ),
    }


def milliseconds(call: Callable[[], Tensor], seconds: float) -> float:
    """The median of calls that take about so long together."""
    call()
    times = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * sorted(times)[len(times) // 2]


@torch.no_grad()
def timings(length: int, seconds: float) -> dict[str, float]:
    """Of 100 candidates for each of 4 users, in ms."""
    generator = torch.Generator().manual_seed(2)
    history = torch.randn(TIMED_USERS, length, TIMED_DIM, generator=generator)
    candidates = torch.randn(TIMED_USERS, TIMED_CANDIDATES, TIMED_DIM, generator=generator)
    layer = wh.nn.SDIMAttention(TIMED_DIM)
    table = layer.encoder()(history)
    return {
        "SDIM": milliseconds(lambda: layer(candidates, table), seconds),
        "attention": milliseconds(lambda: softmax_attention(candidates, history, 4.0), seconds),
        "SDIM's table": milliseconds(lambda: layer.encoder()(history), seconds),
    }


def draw(path: Path, found: dict[int, dict[str, float]], times: dict[int, dict[str, float]]) -> None:
    """AUC over the length on the left, time on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.8), facecolor="white")
    for name in COLOURS:
        values = [found[length][name] for length in found]
        left.plot(list(found), values, color=COLOURS[name], marker="o", markersize=4, linewidth=2, label=name)
    left.set(xscale="log", xlabel="items of the history", title="AUC of what the user takes")
    left.set_xticks(list(found), list(map(str, found)))
    left.minorticks_off()
    left.legend(frameon=False, fontsize=9, loc="lower right")
    styles = {"SDIM": "solid", "attention": "solid", "SDIM's table": "dashed"}
    labels = {"SDIM": "SDIM, from the table", "SDIM's table": "making the table, once a user"}
    for name, style in styles.items():
        values = [times[length][name] for length in times]
        colour = COLOURS[name.split("'")[0]]
        right.plot(
            list(times), values, color=colour, linestyle=style, marker="o", markersize=4, linewidth=2,
            label=labels.get(name, name),
        )  # fmt: skip
    longest = max(times)
    ratio = times[longest]["attention"] / times[longest]["SDIM"]
    right.set(xscale="log", yscale="log", xlabel="items of the history", title=f"ms for {TIMED_CANDIDATES} candidates")
    right.set_xticks(list(times), [f"{length // 1024}k" for length in times])
    right.minorticks_off()
    right.annotate(
        f"{ratio:.0f} times", (longest, (times[longest]["attention"] * times[longest]["SDIM"]) ** 0.5),
        ha="right", va="center", fontsize=11, color="#333333",
    )  # fmt: skip
    right.legend(frameon=False, fontsize=9, loc="upper left", handlelength=3.5)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
    figure.suptitle(
        "Attention over long histories, by a softmax and by hash collisions", x=0.02, ha="left", weight="bold"
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def show(found: dict[int, dict[str, float]], times: dict[int, dict[str, float]]) -> None:
    table = Table(title="AUC")
    table.add_column("items", justify="right")
    for name in COLOURS:
        table.add_column(name, justify="right")
    for length, values in found.items():
        table.add_row(str(length), *(f"{values[name]:.4f}" for name in COLOURS))
    Console().print(table)
    table = Table(title=f"ms for {TIMED_CANDIDATES} candidates of each of {TIMED_USERS} users")
    names = list(next(iter(times.values())))
    for name in ("items", *names, "attention / SDIM"):
        table.add_column(name, justify="right")
    for length, values in times.items():
        ratio = values["attention"] / values["SDIM"]
        table.add_row(str(length), *(f"{values[name]:.2f}" for name in names), f"{ratio:.1f}")
    Console().print(table)


def main(arguments: list[str] | None = None) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]:
    """Returns AUC and milliseconds, by length and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=1500, help="half as many again are tested on")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="fewer users and two lengths")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("behavior_attention.png"), help="the picture")
    options = parser.parse_args(arguments)
    if options.users < 10:
        parser.error("--users must be at least 10")
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    lengths, timed = (LAST, 64, 256, 1024), (1024, 2048, 4096, 8192, 16384)
    if options.quick:
        options.users, lengths, timed = min(options.users, 400), (LAST, 256), (1024, 4096)
    generator = torch.Generator().manual_seed(options.seed)
    train = make_users(options.users, max(lengths), generator)
    test = make_users(options.users // 2, max(lengths), generator)
    found, times = {}, {}
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        for length in progress.track(lengths, description="AUC"):
            found[length] = aucs(train, test, length, options.epochs)
            # The first length is LAST: the other rows' short attention has been seen there.
            found[length][f"last {LAST}"] = found[lengths[0]]["attention"]
        for length in progress.track(timed, description="time"):
            times[length] = timings(length, 0.05 if options.quick else 0.3)
    draw(options.out, found, times)
    show(found, times)
    print(f"picture: {options.out}", file=sys.stderr)
    return found, times


if __name__ == "__main__":
    main()
