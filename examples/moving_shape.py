# SPDX-License-Identifier: Apache-2.0
"""A shape that moves, turns and changes, fitted frame by frame: the motion first, then the rest, weights carried over.

A key flies through space, turns about a slanted axis, and its teeth grow. The first frame trains a signed distance
network. Each later frame first finds the rigid motion with the network held fixed, then trains everything for a few
steps, as NeuS2 does for dynamic scenes. For comparison each frame is also fitted from scratch with as many steps, and
told where the key is.

    python examples/moving_shape.py --out moving_shape.png
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
from sdf_sphere_tracing import box, torus, trace
from torch import Tensor

REACH = 0.27  # half the side of a box around the key, whatever its rotation
COLOURS = {"motion alone": "#8fc1ea", "carried over": "#2a6fbb", "from scratch": "#d9822b"}


@dataclass
class Frame:
    """The key at one time: position of its middle, rotation, length of its teeth."""

    centre: Tensor
    rotation: Tensor
    degrees: float
    teeth: float

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance of points [N, 3], exact outside; the least one of that to the parts."""
        p = (x - self.centre) @ self.rotation  # = rotation^T times each
        parts = [
            torus((p + torch.tensor([0, 0.13, 0]))[:, [1, 2, 0]], 0.072, 0.022),
            box(p - torch.tensor([0, 0.07, 0]), torch.tensor([0.016, 0.14, 0.016])) - 0.006,
        ]
        for place in (0.115, 0.18):
            size = torch.tensor([0.012, 0.014, self.teeth / 2])
            parts.append(box(p - torch.tensor([0, place, -self.teeth / 2]), size) - 0.006)
        return torch.stack(parts).amin(0)

    def field(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distance and its gradient."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = self.distance(x)
            (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Points in a ball around the key, half of them close to its surface, and their distances."""
        ball = torch.nn.functional.normalize(torch.randn(count, 3), dim=-1) * 0.46 * torch.rand(count, 1) ** (1 / 3)
        points = self.centre + ball
        close = points[: count // 2]
        value, gradient = self.field(close)  # a step to the surface, and a little off it
        points[: count // 2] = close - value[:, None] * gradient + 0.02 * torch.randn_like(close)
        return points, self.distance(points)


def turn(axis: Tensor, degrees: float) -> Tensor:
    """Rotation matrix."""
    x, y, z = torch.nn.functional.normalize(axis, dim=0).tolist()
    return torch.linalg.matrix_exp(math.radians(degrees) * torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]]))


def motion(frames: int) -> list[Frame]:
    """The key's way, a third of a turn in all."""
    axis, found = torch.tensor([0.8, 0.1, 0.45]), []
    for index in range(frames):
        part = index / max(1, frames - 1)
        shift = torch.tensor([-0.04 * part, 0.28 * part, 0.10 * math.sin(math.pi * part)])
        found.append(
            Frame(torch.tensor([0.52, 0.36, 0.46]) + shift, turn(axis, 120 * part), 120 * part, 0.045 + 0.035 * part)
        )
    return found


def angle(rotation: Tensor) -> float:
    """Of a rotation matrix, in degrees."""
    x = torch.stack([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return math.degrees(math.atan2(x.norm().item(), rotation.trace().item() - 1))


@dataclass
class Fit:
    """What was found of each frame."""

    degrees: list[float] = field(default_factory=list)
    rotation_error: list[float] = field(default_factory=list)
    centres: list[Tensor] = field(default_factory=list)
    errors: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COLOURS})
    images: dict[str, list[Tensor]] = field(default_factory=lambda: {name: [] for name in ("target", *COLOURS)})


def moved(network: wh.nn.SDFNetwork, transform: wh.nn.RigidTransform) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Distance and gradient in the space of the frame."""

    @torch.no_grad()
    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = network.sdf_and_gradient(transform(x))
        return value, transform.rotate(gradient, inverse=True)

    return evaluate


def placed(frame: Frame) -> wh.nn.RigidTransform:
    """Takes the middle of the frame's key to that of the unit cube, without turning."""
    transform = wh.nn.RigidTransform()
    transform.set_motion(torch.eye(3), 0.5 - frame.centre)
    return transform


def make_network() -> wh.nn.SDFNetwork:
    spec = wh.hashgrid.GridSpec(3, levels=8, log2_table_size=14, base_resolution=8, finest_resolution=128)
    return wh.nn.SDFNetwork(wh.nn.HashGrid(spec), radius=0.1)


def fit_all(frames: list[Frame], options: argparse.Namespace, progress: Progress) -> Fit:
    """Fits frame after frame, and each from scratch beside."""
    torch.manual_seed(options.seed)
    found, network, transform = Fit(), make_network(), placed(frames[0])
    later = len(frames) - 1
    total = options.first_steps + later * (options.motion_steps + options.steps) * 2
    bar = progress.add_task("frames", total=total)

    def fit(
        frame: Frame, net: wh.nn.SDFNetwork, motion: wh.nn.RigidTransform, first: int, then: int, **rates: float
    ) -> None:
        wh.nn.fit_frame(
            net, motion, lambda step: frame.sample(options.batch), transform_steps=first, steps=then,
            progress=lambda step, loss: progress.advance(bar), **rates,
        )  # fmt: skip

    def keep(name: str, frame: Frame, net: wh.nn.SDFNetwork, motion: wh.nn.RigidTransform, probe: Tensor) -> None:
        field = moved(net, motion)
        found.errors[name].append((field(probe)[0] - frame.distance(probe)).abs().mean().item())
        if name != "motion alone":
            found.images[name].append(show(field, frame, options.size))

    for index, frame in enumerate(frames):
        probe = frame.sample(8192)[0]
        if index == 0:
            fit(frame, network, transform, 0, options.first_steps, transform_lr=0.0, lr=2e-3)
            keep("motion alone", frame, network, transform, probe)
            scratch, still = network, transform
        else:
            fit(frame, network, transform, options.motion_steps, 0, transform_lr=2e-2)
            keep("motion alone", frame, network, transform, probe)
            fit(frame, network, transform, 0, options.steps, transform_lr=2e-2, lr=1e-3)
            scratch, still = make_network(), placed(frame)
            fit(frame, scratch, still, 0, options.motion_steps + options.steps, transform_lr=0.0, lr=2e-3)
        keep("carried over", frame, network, transform, probe)
        keep("from scratch", frame, scratch, still, probe)
        found.images["target"].append(show(frame.field, frame, options.size))
        rotation = transform.rotation.detach().T  # of the key, from the network to the frame
        found.degrees.append(angle(rotation))
        found.rotation_error.append(angle(rotation.T @ frame.rotation))
        found.centres.append(0.5 - transform.translation.detach())
    return found


def show(field: Callable[[Tensor], tuple[Tensor, Tensor]], frame: Frame, size: int) -> Tensor:
    return trace(field, size, low=frame.centre - REACH, high=frame.centre + REACH, span=0.4)


def draw(path: Path, frames: list[Frame], found: Fit) -> None:
    """Above a strip of the frames, below errors and recovered motion."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    edge, panel, tall, strip = 0.75, 2.1, 1.6, ("target", "carried over", "from scratch")
    count = len(frames)
    width, height, plots = max(edge + count * panel + 0.15, 10.0), 0.72 + 3 * tall + 3.25, 2.35
    figure = pyplot.figure(figsize=(width, height), facecolor="white")

    def place(x: float, y: float, wide: float, high: float) -> Any:
        return figure.add_axes((x / width, y / height, wide / width, high / height))

    cut = round(len(found.images["target"][0]) * (1 - tall / panel) / 2)  # empty above and below
    for row, name in enumerate(strip):
        bottom = 3.25 + (2 - row) * tall
        figure.text(
            0.36 / width, (bottom + tall / 2) / height, name, rotation=90, ha="center", va="center", fontsize=12
        )
        for column, image in enumerate(found.images[name]):
            axes = place(edge + column * panel, bottom, panel - 0.06, tall - 0.06)
            axes.imshow(image.numpy()[cut:-cut], interpolation="antialiased")
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set_edgecolor("#d5d9df")
            if row == 0:
                axes.set_title(f"frame {column}, {frames[column].degrees:.0f}°", fontsize=11)

    wide = (width - edge - 0.15 - 2 * 0.65) / 3
    errors, angles, places = (place(edge + k * (wide + 0.65), 0.5, wide, plots) for k in range(3))
    for name, colour in COLOURS.items():  # frame 0 is the same for all
        values = [1000 * value for value in found.errors[name]]
        errors.plot(range(1, count), values[1:], "o-", color=colour, linewidth=2, markersize=5, label=name)
    errors.set_ylim(0, 1.3 * max(1000 * max(values[1:]) for values in found.errors.values()))
    errors.set_title("mean |distance - true distance|, thousandths", fontsize=11.5)
    angles.plot([frame.degrees for frame in frames], color="#9aa1ab", linewidth=5, alpha=0.6, label="true")
    angles.plot(found.degrees, "o", color="#2a6fbb", markersize=6, label="found")
    angles.set_title("angle turned, degrees", fontsize=11.5)
    for axis, colour in zip(range(3), ("#c8504b", "#3a9a5b", "#3f6fc4"), strict=True):
        places.plot([frame.centre[axis] for frame in frames], color=colour, linewidth=5, alpha=0.35)
        places.plot([centre[axis] for centre in found.centres], "o", color=colour, markersize=6, label="xyz"[axis])
    places.set_title("position, lines true and dots found", fontsize=11.5)
    for axes in (errors, angles, places):
        axes.set_xlabel("frame", fontsize=10)
        axes.set(xticks=range(count), xlim=(-0.25, count - 0.75))
        axes.tick_params(labelsize=9)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=9, framealpha=0.9, loc="upper right" if axes is errors else "upper left")
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
    headline = "A key that flies, turns and grows longer teeth, fitted frame by frame"
    figure.text(0.15 / width, 1 - 0.12 / height, headline, va="top", fontsize=15, weight="bold")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> Fit:
    """Fits and draws; returns what was found of each frame."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--first-steps", type=int, default=500, help="for the first frame")
    parser.add_argument("--motion-steps", type=int, default=100, help="a frame, for the motion alone")
    parser.add_argument("--steps", type=int, default=50, help="a frame, for everything")
    parser.add_argument("--batch", type=int, default=2048, help="points a step")
    parser.add_argument("--size", type=int, default=300, help="pixels along a side of a traced image")
    parser.add_argument("--quick", action="store_true", help="at most 3 frames, few steps, small images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("moving_shape.png"), help="the picture")
    options = parser.parse_args(arguments)
    for name, least in {"frames": 2, "first_steps": 1, "motion_steps": 0, "steps": 0, "batch": 2, "size": 8}.items():
        if getattr(options, name) < least:
            parser.error(f"--{name.replace('_', '-')} must be at least {least}")
    frames = motion(options.frames)
    if options.quick:
        frames = frames[:3]
        for name, most in {"first_steps": 150, "motion_steps": 100, "steps": 20, "batch": 512, "size": 48}.items():
            setattr(options, name, min(getattr(options, name), most))
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        found = fit_all(frames, options, progress)
    draw(options.out, frames, found)
    table = Table(title=f"{options.motion_steps} steps for the motion, {options.steps} for everything, a frame")
    for column in ("frame", "angle", "found", "off by", "position off by", *COLOURS):
        table.add_column(column, justify="right")
    for index, frame in enumerate(frames):
        off = (found.centres[index] - frame.centre).norm().item()
        turned = (f"{frame.degrees:.1f}°", f"{found.degrees[index]:.1f}°", f"{found.rotation_error[index]:.2f}°")
        table.add_row(str(index), *turned, f"{off:.4f}", *(f"{found.errors[name][index]:.5f}" for name in COLOURS))
    Console().print(table)
    print(f"picture: {options.out}", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
