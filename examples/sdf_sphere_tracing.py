# SPDX-License-Identifier: Apache-2.0
"""A signed distance function learnt from points with normals, all levels at once against coarse to fine.

Two rings linked inside a frame, whose distances are known exactly, give a cloud of surface points with normals. A hash
grid and a small MLP are fitted to it: distance 0 and the given normal on the points, slope 1 everywhere (the eikonal
loss). The derivatives of the network come exactly, in the same pass, and one ordinary backward serves. Once all levels
are on from the start, once they are turned on from coarse to fine. Both are drawn by sphere tracing, shaded by the
networks' own normals.

    python examples/sdf_sphere_tracing.py --out sdf_sphere_tracing.png
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import warphash as wh
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor
from torch.nn import functional

LEVELS, NEAR = 10, 0.05
RUNS = ("all levels", "coarse to fine")
COLOURS = {"all levels": "#d9822b", "coarse to fine": "#2a6fbb"}
MEASURES = {"distance": "mean |distance - true distance|", "eikonal": "mean | |gradient| - 1 |"}
Field = Callable[[Tensor], tuple[Tensor, Tensor]]  # points [N, 3] → distances [N] and their gradients [N, 3]


def box(p: Tensor, half: Tensor) -> Tensor:
    """Distance to a box around 0."""
    q = p.abs() - half
    return q.clamp(min=0).norm(dim=-1) + q.amax(-1).clamp(max=0)


def torus(p: Tensor, ring: float, tube: float) -> Tensor:
    """Distance to a ring in the plane of the first two axes."""
    return torch.stack([p[:, :2].norm(dim=-1) - ring, p[:, 2]], -1).norm(dim=-1) - tube


def frame(p: Tensor, half: float, bar: float, rounding: float) -> Tensor:
    """Distance to the twelve bars along the edges of a cube."""
    bars = []
    for axis in range(3):
        centre, size = torch.full((3,), half), torch.full((3,), bar)
        centre[axis], size[axis] = 0, half + bar
        bars.append(box(p.abs() - centre, size))
    return torch.stack(bars).amin(0) - rounding


def distance(x: Tensor) -> Tensor:
    """True distance of points in the unit cube: the parts are apart, so it is the least of theirs.

    Except within the corners of the frame, where bars meet and the depth is a little more.
    """
    p, shift = x - 0.5, torch.tensor([0.065, 0.0, 0.0])
    rings = torus(p - shift, 0.14, 0.035), torus((p + shift)[:, [0, 2, 1]], 0.14, 0.035)
    return torch.stack([frame(p, 0.31, 0.016, 0.012), *rings]).amin(0)


def truth(x: Tensor) -> tuple[Tensor, Tensor]:
    """True distance and its gradient."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = distance(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def scan(count: int) -> tuple[Tensor, Tensor]:
    """Random points of the surface and their normals: points close to it, moved onto it."""
    points, normals = torch.empty(0, 3), torch.empty(0, 3)
    while len(points) < count:
        x = torch.rand(1 << 17, 3)
        x = x[distance(x).abs() < 0.01]
        for _ in range(3):
            value, gradient = truth(x)
            x = x - value[:, None] * gradient
        value, gradient = truth(x)
        good = (value.abs() < 1e-5) & ((gradient.norm(dim=-1) - 1).abs() < 1e-3)  # not where parts of the frame meet
        points, normals = torch.cat([points, x[good]]), torch.cat([normals, gradient[good]])
    return points[:count], normals[:count]


@dataclass
class Fit:
    """A network and its errors on the way."""

    network: wh.nn.SDFNetwork
    steps: list[int] = field(default_factory=list)
    errors: dict[str, list[float]] = field(default_factory=lambda: {measure: [] for measure in MEASURES})

    @torch.no_grad()
    def field(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.sdf_and_gradient(x)

    def measure(self, step: int, points: Tensor) -> None:
        value, gradient = self.field(points)
        self.steps.append(step)
        self.errors["distance"].append((value - distance(points)).abs().mean().item())
        self.errors["eikonal"].append((gradient.norm(dim=-1) - 1).abs().mean().item())


def train(name: str, options: argparse.Namespace, cloud: tuple[Tensor, Tensor], progress: Progress) -> Fit:
    torch.manual_seed(options.seed)
    spec = wh.hashgrid.GridSpec(3, levels=LEVELS, log2_table_size=15, base_resolution=8, finest_resolution=256)
    fit = Fit(wh.nn.SDFNetwork(wh.nn.HashGrid(spec), radius=0.1))
    network, (points, normals), steps, batch = fit.network, cloud, options.steps, options.batch
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3, betas=(0.9, 0.99), eps=1e-15)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1 ** max(0, 2 * step / steps - 1))
    watched = torch.rand(8192, 3)
    for step in progress.track(range(steps + 1), description=name):
        if name == "coarse to fine":  # a fifth of the levels, then one by one, all by seven eighths of the steps
            active = wh.nn.progressive_levels(step, LEVELS, share=0.2, rate=1.1 * LEVELS / steps, start=steps // 8)
            network.encoding.set_active_levels(active)
        if step % max(1, steps // 20) == 0 or step == steps:
            fit.measure(step, watched)
        if step == steps:
            break
        chosen = torch.randint(len(points), (batch,))
        close = points[chosen[: batch // 2]] + NEAR * torch.randn(batch // 2, 3)
        everywhere = torch.rand(batch // 2, 3)
        value, gradient = network.sdf_and_gradient(torch.cat([points[chosen], everywhere, close.clamp(0, 1)]))
        loss = 3 * value[:batch].abs().mean()
        loss = loss + 0.3 * (1 - (gradient[:batch] * normals[chosen]).sum(-1)).mean()
        loss = loss + wh.nn.eikonal_loss(gradient)
        # No second surface away from the points.
        loss = loss + 0.2 * torch.exp(-100 * value[batch : batch + batch // 2].abs()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return fit


def rays(size: int, span: float, azimuth: float = 0.3, elevation: float = 0.4) -> tuple[Tensor, Tensor]:
    """Origins and directions [size * size, 3] of a camera 2 away from the middle of the unit cube; z is up."""
    flat = math.cos(elevation)
    back = torch.tensor([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])
    right = torch.tensor([-math.sin(azimuth), math.cos(azimuth), 0.0])
    up = torch.linalg.cross(back, right)
    across = span * ((torch.arange(size) + 0.5) / size - 0.5)
    v, u = torch.meshgrid(-across, across, indexing="ij")
    plane = u.reshape(-1, 1) * right + v.reshape(-1, 1) * up
    return (0.5 + 2 * back).expand(len(plane), 3), functional.normalize(plane - back, dim=-1)


def trace(
    surface: Field, size: int, *, low: Tensor | float = 0.0, high: Tensor | float = 1.0, span: float = 0.58
) -> Tensor:
    """What lies in the box from low to high, as an image [size, size, 3].

    Each ray goes on by the distance that it finds, until that is nearly none or the box ends.
    """
    origin, direction = rays(size, span)
    ends = torch.stack([(side - origin) / direction for side in (low, high)]).sort(0).values
    t, end = ends[0].amax(-1), ends[1].amin(-1)
    alive = (t < end).nonzero().squeeze(1)
    hits = [alive[:0]]
    for _ in range(128):
        value = surface(origin[alive] + t[alive, None] * direction[alive])[0]
        hits.append(alive[value < 1e-3])
        t[alive] += 0.9 * value.clamp(min=5e-4)
        alive = alive[(value >= 1e-3) & (t[alive] < end[alive])]
    hit = torch.cat(hits)
    place = origin[hit] + t[hit, None] * direction[hit]
    normal = functional.normalize(surface(place)[1], dim=-1)
    sky = torch.ones(len(hit))
    for reach in (0.015, 0.04, 0.08):  # what is close above the surface takes light away
        sky -= 0.33 * (1 - surface(place + reach * normal)[0] / reach).clamp(0, 1)
    key, fill = functional.normalize(torch.tensor([[0.4, 0.9, 1.2], [1.0, -0.8, 0.1]]), dim=-1)
    light = 0.22 + 0.68 * (normal @ key).clamp(min=0) + 0.2 * (normal @ fill).clamp(min=0)
    shine = (normal * functional.normalize(key - direction[hit], dim=-1)).sum(-1).clamp(min=0) ** 40
    image = torch.ones(size * size, 3)
    image[hit] = torch.tensor([0.95, 0.68, 0.42]) * (light * (0.35 + 0.65 * sky))[:, None] + 0.15 * shine[:, None]
    return image.clamp(0, 1).reshape(size, size, 3)


def draw(path: Path, fits: dict[str, Fit], size: int) -> None:
    """Above the traced surfaces, below a slice of the distances; at the right the errors over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    width, height, panel, gap = 15.4, 8.0, 3.5, 0.12
    figure = pyplot.figure(figsize=(width, height), facecolor="white")

    def place(left: float, bottom: float, wide: float, high: float) -> Any:
        return figure.add_axes((left / width, bottom / height, wide / width, high / height))

    across = (torch.arange(200) + 0.5) / 200
    y, x = torch.meshgrid(across, across, indexing="ij")
    middle = torch.stack([x, y, torch.full_like(x, 0.5)], -1).reshape(-1, 3)
    for column, (name, surface) in enumerate({"target": truth, **{n: f.field for n, f in fits.items()}}.items()):
        axes = place(0.15 + column * (panel + gap), 3.75, panel, panel)
        axes.imshow(trace(surface, size).numpy(), interpolation="antialiased")
        axes.set_title(name, fontsize=13)
        axes.axis("off")
        axes = place(0.15 + column * (panel + gap), 0.2, panel, panel)
        values = surface(middle)[0].reshape(x.shape).numpy()
        axes.contourf(x, y, values, levels=[k * 0.02 - 0.2 for k in range(21)], cmap="RdBu", extend="both")
        axes.contour(x, y, values, levels=[k * 0.02 - 0.1 for k in range(16)], colors="#30343a", linewidths=0.35)
        axes.contour(x, y, values, levels=[0.0], colors="black", linewidths=1.8)
        axes.set(aspect="equal", xticks=[], yticks=[])
    for row, (measure, title) in enumerate(MEASURES.items()):
        axes = place(11.75, 4.35 - row * 3.75, 3.45, 2.75)
        for name, fit in fits.items():
            label = f"{name}: {fit.errors[measure][-1]:.4f}"
            axes.plot(fit.steps, fit.errors[measure], color=COLOURS[name], linewidth=2, label=label)
        axes.set_title(title, fontsize=11.5)
        axes.set_yscale("log")
        axes.set_xlabel("step", fontsize=10)
        axes.grid(alpha=0.25, which="both")
        axes.legend(fontsize=9.5, loc="upper right", framealpha=0.9)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
    title = "Distances learnt from surface points and normals; below, a slice of them (black: surface, red: inside)"
    figure.text(0.15 / width, 1 - 0.12 / height, title, va="top", fontsize=14.5, weight="bold")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, dict[str, list[float]]]:
    """Fits both and draws; returns the errors over the steps by run and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--points", type=int, default=30_000, help="of the cloud")
    parser.add_argument("--batch", type=int, default=2048, help="points of the cloud a step, and as many elsewhere")
    parser.add_argument("--size", type=int, default=560, help="pixels along a side of a traced image")
    parser.add_argument("--quick", action="store_true", help="at most 120 steps of 512 points, and small images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sdf_sphere_tracing.png"), help="the picture")
    options = parser.parse_args(arguments)
    for name, least in (("steps", 1), ("points", 1), ("batch", 2), ("size", 8)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}")
    if options.quick:
        options.steps, options.size = min(options.steps, 120), min(options.size, 96)
        options.batch = min(options.batch, 512)
    torch.manual_seed(options.seed)
    cloud = scan(options.points)
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        fits = {name: train(name, options, cloud, progress) for name in RUNS}
    draw(options.out, fits, options.size)
    table = Table(title=f"{options.steps} steps of {2 * options.batch} points, errors in the whole cube")
    for column in ("levels", *MEASURES.values()):
        table.add_column(column, justify="left" if column == "levels" else "right")
    for name, fit in fits.items():
        table.add_row(name, *(f"{fit.errors[measure][-1]:.4f}" for measure in MEASURES))
    Console().print(table)
    print(f"picture: {options.out}", file=sys.stderr)
    return {name: fit.errors for name, fit in fits.items()}


if __name__ == "__main__":
    main()
