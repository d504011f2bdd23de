# SPDX-License-Identifier: Apache-2.0
"""The distance example: coarse to fine against all levels, true distances, tracing, the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from .program import Program

EXAMPLE = Program("sdf_sphere_tracing", picture_bytes=100_000)

pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("one_thread")
def test_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "sdf.png"
    errors = EXAMPLE.load().main(["--quick", "--out", str(picture)])
    assert EXAMPLE.drew(picture)
    plain, progressive = errors["all levels"], errors["coarse to fine"]
    # Over three seeds .038 to .046 and .024 to .028, eikonal .188 to .197 and .169 to .174, from .27 at the beginning.
    assert progressive["distance"][-1] < 0.15 * progressive["distance"][0]
    assert progressive["distance"][-1] < 0.9 * plain["distance"][-1]
    assert progressive["eikonal"][-1] < plain["eikonal"][-1] < 0.25
    assert f"{progressive['distance'][-1]:.4f}" in capsys.readouterr().out


@pytest.mark.usefixtures("one_thread")
def test_cloud_lies_on_the_surface() -> None:
    module = EXAMPLE.load()
    torch.manual_seed(0)
    points, normals = module.scan(5000)
    assert points.shape == normals.shape == (5000, 3)
    assert module.distance(points).abs().max() < 1e-5
    assert (normals.norm(dim=-1) - 1).abs().max() < 1e-3
    # True distances: along the normal they grow as the way does (but in the corners), and the cloud is no less far.
    off = (module.distance(points + 0.004 * normals) - 0.004).abs()
    assert (off < 1e-5).float().mean() > 0.98
    x = torch.rand(500, 3)
    x = x[module.distance(x) > 0]
    nearest = torch.cdist(x, points).amin(1)
    assert (nearest >= module.distance(x) - 1e-5).all()
    assert (nearest - module.distance(x)).mean() < 0.01


def test_tracing_a_ball() -> None:
    module = EXAMPLE.load()

    def ball(x: Tensor) -> tuple[Tensor, Tensor]:
        away = x - 0.5
        return away.norm(dim=-1) - 0.3, torch.nn.functional.normalize(away, dim=-1)

    size, span = 80, 0.58
    image = module.trace(ball, size, span=span)
    assert image.shape == (size, size, 3)
    drawn = (image < 1).any(-1)
    # Seen from a distance of 2 the outline has the radius 0.3 / sqrt(4 - 0.09) of the plane at 1.
    expected = torch.pi * (0.3 / (4 - 0.09) ** 0.5) ** 2 / span**2
    assert abs(drawn.float().mean().item() / expected - 1) < 0.03
    rows, columns = drawn.nonzero().float().mean(0).tolist()
    assert abs(rows - (size - 1) / 2) < 1
    assert abs(columns - (size - 1) / 2) < 1
    upper, lower = image[: size // 2][drawn[: size // 2]], image[size // 2 :][drawn[size // 2 :]]
    assert upper.mean() > lower.mean() + 0.1  # lit from above
    assert bool((module.trace(ball, 16, low=0.0, high=0.1) == 1).all())  # nothing in that box


@pytest.mark.parametrize(
    "arguments", [["--steps", "0"], ["--points", "0"], ["--batch", "1"], ["--size", "7"], ["--seed", "none"]]
)
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_whole_run(tmp_path: Path) -> None:
    picture = tmp_path / "sdf.png"
    stdout = EXAMPLE.run("--out", str(picture))
    assert EXAMPLE.drew(picture)
    found = re.findall(r"(all levels|coarse to fine)\D*([\d.]+)\D*([\d.]+)", stdout)
    errors = {name: (float(distance), float(eikonal)) for name, distance, eikonal in found}
    # Over three seeds .034 to .038 with all levels and .0079 to .0093, eikonal .081 to .087 and .072 to .076.
    assert errors["coarse to fine"][0] < 0.012
    assert errors["coarse to fine"][0] < 0.5 * errors["all levels"][0]
    assert errors["coarse to fine"][1] < errors["all levels"][1] < 0.1
