# SPDX-License-Identifier: Apache-2.0
"""The image example: the order of the encodings, the picture, the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from .program import Program

EXAMPLE = Program("image_fitting", picture_bytes=100_000)

pytest.importorskip("skimage")
pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("image", ["hubble", "retina"])
def test_quick(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "image.png"
    scores = EXAMPLE.load().main(["--quick", "--image", image, "--out", str(picture)])
    assert EXAMPLE.drew(picture)
    # Over three seeds the hash grid was 7.0 to 8.0 dB above the mean colour on hubble, 15.9 to 17.6 on retina.
    assert scores["hash grid"] > scores["mean colour"] + (5 if image == "hubble" else 13)
    assert scores["hash grid"] > scores["frequencies"] + 4
    assert scores["frequencies"] > scores["mean colour"] - 0.5
    assert f"{scores['hash grid']:.2f}" in capsys.readouterr().out


def test_details_lie_within_the_images() -> None:
    module = EXAMPLE.load()
    for name in module.IMAGES:
        target = module.Target(name, 1)
        top, left, side = target.detail
        assert top + side <= target.height
        assert left + side <= target.width


def test_positions_are_of_the_pixels() -> None:
    target = EXAMPLE.load().Target("hubble", 4)
    row, column = 3, 5
    x = target.positions(torch.tensor([row * target.width + column]))
    assert torch.equal(target.flat[row * target.width + column], target.pixels[row, column])
    assert torch.allclose(x * target.side, torch.tensor([[column + 0.5, row + 0.5]]))


@pytest.mark.parametrize(
    "arguments", [["--steps", "-1"], ["--log2-table-size", "3"], ["--image", "moon"], ["--seed", "none"]]
)
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_whole_run(tmp_path: Path) -> None:
    picture = tmp_path / "image.png"
    stdout = EXAMPLE.run("--out", str(picture))
    assert EXAMPLE.drew(picture)
    found = re.findall(r"(hash grid|frequencies|coordinates|mean colour) .* ([\d.]+) [│|]", stdout)
    scores = {name: float(score) for name, score in found}
    assert scores["hash grid"] > 44
    assert scores["hash grid"] > scores["frequencies"] + 10
    assert scores["frequencies"] > scores["coordinates"] + 6
    assert abs(scores["mean colour"] - 12.84) < 0.01
