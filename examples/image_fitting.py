# SPDX-License-Identifier: Apache-2.0
"""A large image as a function of position: hash encoding against sinusoidal frequencies and plain coordinates.

The same small MLP is fitted three times to random pixels of an image that lies in scikit-image's wheel, each time
behind another encoding of the pixel's position, with the same number of steps. On plain coordinates a ReLU network
learns slowly varying functions only; frequencies help; with a trained table it has little more to do than to mix
what has been looked up. Prints a table and draws target, fit, error and the course of the PSNR.

    python examples/image_fitting.py --out image_fitting.png
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import warphash as wh
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from skimage import data
from torch import Tensor, nn
from torch.nn import functional

IMAGES = {"hubble": data.hubble_deep_field, "retina": data.retina}
DETAILS = {"hubble": (0.52, 0.62, 0.22), "retina": (0.38, 0.10, 0.22)}  # top, left, side: parts of the longer side
COLOURS = {"hash grid": "#2a6fbb", "frequencies": "#d9822b", "coordinates": "#7d8590"}
BATCH, HIDDEN, CHUNK = 8192, 64, 1 << 18


class Target:
    """An image as pixels [height, width, 3] in [0, 1]; positions are in units of the longer side."""

    def __init__(self, name: str, every: int) -> None:
        self.pixels = torch.tensor(IMAGES[name]()[::every, ::every], dtype=torch.float32) / 255
        self.height, self.width = self.pixels.shape[:2]
        self.side = max(self.height, self.width)
        self.flat = self.pixels.reshape(-1, 3)
        self.detail = tuple(round(part * self.side) for part in DETAILS[name])

    def positions(self, index: Tensor) -> Tensor:
        """Centres [N, 2] of pixels."""
        return torch.stack([index % self.width + 0.5, index // self.width + 0.5], -1) / self.side


class Frequencies(nn.Module):
    """sin and cos of 2^k pi x, the finest with a period of about two pixels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        count = max(1, round(math.log2(side)))
        self.register_buffer("factors", math.pi * 2.0 ** torch.arange(count))
        self.output_features = 4 * count

    def forward(self, x: Tensor) -> Tensor:
        """[N, 2] → [N, 4 count]."""
        angles = (x[..., None] * self.factors).flatten(-2)
        return torch.cat([angles.sin(), angles.cos()], -1)


class Coordinates(nn.Identity):
    """Nothing done."""

    output_features = 2


@dataclass
class Fit:
    """A trained model and how it came there."""

    model: nn.Module
    steps: list[int] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


def psnr(error: Tensor) -> float:
    """In dB, of values in [0, 1]."""
    return -10 * math.log10(error.square().mean().item())


def make_model(name: str, target: Target, log2_table_size: int) -> nn.Module:
    """Position [N, 2] → colour [N, 3]."""
    spec = wh.hashgrid.GridSpec(
        2, levels=12, log2_table_size=log2_table_size, base_resolution=16, finest_resolution=target.side
    )
    encoding = {
        "hash grid": lambda: wh.nn.HashGrid(spec),
        "frequencies": lambda: Frequencies(target.side),
        "coordinates": Coordinates,
    }[name]()
    return nn.Sequential(
        encoding,
        nn.Linear(encoding.output_features, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, 3),
    )  # fmt: skip


@torch.no_grad()
def draw_pixels(model: nn.Module, target: Target) -> Tensor:
    """The fitted image, clamped to what can be shown."""
    pieces = torch.arange(len(target.flat)).split(CHUNK)
    return torch.cat([model(target.positions(piece)) for piece in pieces]).clamp(0, 1).reshape(target.pixels.shape)


def train(name: str, target: Target, options: argparse.Namespace, progress: Progress) -> Fit:
    torch.manual_seed(options.seed)
    fit = Fit(make_model(name, target, options.log2_table_size))
    optimizer = torch.optim.Adam(fit.model.parameters(), lr=1e-2, betas=(0.9, 0.99), eps=1e-15)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / max(1, options.steps)))
    watched = torch.randperm(len(target.flat))[:20_000]
    for step in progress.track(range(options.steps + 1), description=name):
        if step % max(1, options.steps // 25) == 0 or step == options.steps:
            with torch.no_grad():
                found = fit.model(target.positions(watched)).clamp(0, 1)
            fit.steps.append(step)
            fit.psnr.append(psnr(found - target.flat[watched]))
        if step == options.steps:
            break
        started = time.perf_counter()
        index = torch.randint(len(target.flat), (BATCH,))
        loss = functional.mse_loss(fit.model(target.positions(index)), target.flat[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        fit.seconds += time.perf_counter() - started
    return fit


def show_table(fits: dict[str, Fit], scores: dict[str, float], target: Target, steps: int) -> None:
    values = target.pixels.numel()
    table = Table(title=f"{target.width} x {target.height} pixels, {values:,} values, {steps} steps of {BATCH} pixels")
    for column in ("encoding", "parameters", "seconds", "PSNR, dB"):
        table.add_column(column, justify="left" if column == "encoding" else "right")
    for name, fit in fits.items():
        table.add_row(name, f"{fit.parameters:,}", f"{fit.seconds:.1f}", f"{scores[name]:.2f}")
    table.add_row("mean colour", "3", "", f"{scores['mean colour']:.2f}")
    Console().print(table)


def draw(path: Path, target: Target, fits: dict[str, Fit], scores: dict[str, float]) -> None:
    """Above the whole image, its fit and the error; below a detail by each encoding, and the PSNR over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import patches, pyplot

    top, left, side = target.detail
    shown = {name: draw_pixels(fit.model, target) for name, fit in fits.items()}
    # All in inches: three columns above, four squares and the curves below.
    width, edge, gap, square, label = 14.6, 0.2, 0.15, 2.55, 0.36
    column = (width - 2 * edge - 2 * gap - 0.85) / 3
    tall = column * target.height / target.width
    height = 0.55 + label + tall + 0.2 + label + square + edge
    figure = pyplot.figure(figsize=(width, height), facecolor="white")

    def place(x: float, y: float, wide: float, high: float) -> Any:
        return figure.add_axes((x / width, y / height, wide / width, high / height))

    def picture(axes: Any, image: Tensor, title: str, **settings: Any) -> Any:
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=12)
        return axes.imshow(image.numpy(), interpolation="antialiased", **settings)

    upper = edge + square + label + 0.2
    above = [place(edge + k * (column + gap), upper, column, tall) for k in range(3)]
    picture(above[0], target.pixels, f"target, {target.pixels.numel() / 1e6:.2f} M values")
    above[0].add_patch(patches.Rectangle((left, top), side, side, fill=False, edgecolor="#ffd23f", linewidth=1.6))
    count = f"{fits['hash grid'].parameters / 1e6:.2f} M parameters"
    picture(above[1], shown["hash grid"], f"hash grid, {count} · {scores['hash grid']:.1f} dB")
    error = 100 * (shown["hash grid"] - target.pixels).abs().mean(-1)
    limit = max(error.flatten().sort().values[int(0.995 * error.numel())].item(), 0.1)
    title = "error of the hash grid, % of full scale"
    drawn = picture(above[2], error, title, cmap="magma", vmin=0, vmax=limit)
    bar = place(edge + 3 * column + 2 * gap + 0.12, upper, 0.17, tall)
    figure.colorbar(drawn, cax=bar, extend="max").ax.tick_params(labelsize=9)

    rows, columns = slice(top, top + side), slice(left, left + side)
    below = [place(edge + k * (square + gap), edge, square, square) for k in range(4)]
    picture(below[0], target.pixels[rows, columns], "detail of the target")
    for axes, (name, image) in zip(below[1:], shown.items(), strict=True):
        picture(axes, image[rows, columns], f"{name} · {scores[name]:.1f} dB")
    first = edge + 4 * (square + gap) + 0.4
    curves = place(first, edge + 0.38, width - edge - first, square - 0.38)
    low = scores["mean colour"]
    curves.axhline(low, color="#9aa1ab", linestyle=":", linewidth=1.5)
    labels = [("mean colour", low, "#7d8590", -3)]
    for name, fit in fits.items():
        curves.plot(fit.steps, fit.psnr, color=COLOURS[name], linewidth=2)
        labels.append((f"{name}, {fit.seconds:.0f} s", fit.psnr[-1], COLOURS[name], 4))
    for text, value, colour, points in labels:  # at the end of its line, above or below
        curves.annotate(
            text, (fits["hash grid"].steps[-1], value), (0, points), textcoords="offset points", ha="right",
            va="bottom" if points > 0 else "top", fontsize=9, color=colour,
        )  # fmt: skip
    curves.margins(y=0.12)
    curves.set_xlabel("step", fontsize=10)
    curves.set_title("PSNR in dB, the same MLP", fontsize=12)
    curves.tick_params(labelsize=9)
    curves.grid(alpha=0.25)
    for spine in ("top", "right"):
        curves.spines[spine].set_visible(False)
    headline = "An image fitted by a small MLP behind three encodings of the position"
    figure.text(edge / width, 1 - 0.14 / height, headline, va="top", fontsize=15, weight="bold")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Fits and draws; returns the PSNR of the whole image by encoding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", choices=sorted(IMAGES), default="retina")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--log2-table-size", type=int, default=16, help="rows of a hashed level, as a power of two")
    parser.add_argument("--quick", action="store_true", help="every fourth pixel and at most 60 steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("image_fitting.png"), help="the picture")
    options = parser.parse_args(arguments)
    if options.steps < 0:
        parser.error("--steps must not be negative")
    if not 4 <= options.log2_table_size <= 24:
        parser.error("--log2-table-size must be 4 to 24")
    if options.quick:
        options.steps = min(options.steps, 60)
    target = Target(options.image, 4 if options.quick else 1)
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        fits = {name: train(name, target, options, progress) for name in COLOURS}
    scores = {name: psnr(draw_pixels(fit.model, target) - target.pixels) for name, fit in fits.items()}
    scores["mean colour"] = psnr(target.flat - target.flat.mean(0))
    draw(options.out, target, fits, scores)
    show_table(fits, scores, target, options.steps)
    print(f"picture: {options.out}", file=sys.stderr)
    return scores


if __name__ == "__main__":
    main()
