# SPDX-License-Identifier: Apache-2.0
"""The example of long histories: the order of the methods, the time, the picture, the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from .program import Program

EXAMPLE = Program("behavior_attention", picture_bytes=30_000)

pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("one_thread")
def test_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "behavior.png"
    aucs, times = EXAMPLE.load().main(["--quick", "--out", str(picture)])
    assert EXAMPLE.drew(picture)
    # 400 users alone: the whole run asks for .01.
    assert aucs[256]["SDIM"] > aucs[256]["attention"] - 0.03
    assert aucs[256]["SDIM"] > aucs[256]["mean"] + 0.05
    assert aucs[256]["SDIM"] > aucs[256]["last 20"] + 0.03
    assert times[4096]["attention"] > 3 * times[4096]["SDIM"]
    assert f"{aucs[256]['SDIM']:.4f}" in capsys.readouterr().out


def test_auc_is_a_share_of_ordered_pairs() -> None:
    scores = torch.randn(200, generator=torch.Generator().manual_seed(0))
    labels = (torch.rand(200, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    taken, others = scores[labels > 0.5], scores[labels < 0.5]
    assert abs(EXAMPLE.load().auc(scores, labels) - (taken[:, None] > others).double().mean().item()) < 1e-12


@pytest.mark.parametrize("arguments", [["--users", "9"], ["--epochs", "0"], ["--seed", "none"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_whole_run(tmp_path: Path) -> None:
    picture = tmp_path / "behavior.png"
    stdout = EXAMPLE.run("--out", str(picture))
    assert EXAMPLE.drew(picture)
    scores, times = stdout.split("ms for")
    row = r"(\d+) [│|]" + r" +([\d.]+) [│|]" * 4
    rows = {int(found[0]): [float(x) for x in found[1:]] for found in re.findall(row, scores)}
    sdim, attention, last, mean = rows[1024]
    assert sdim > attention - 0.01
    assert sdim > mean + 0.03
    assert sdim > last + 0.03
    ratio = re.search(r"16384 .* ([\d.]+) [│|]\s*$", times, re.MULTILINE)
    assert float(ratio[1]) > 10
