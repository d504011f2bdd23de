# SPDX-License-Identifier: Apache-2.0
"""The example of the speed of products: its graphs, its counts, the picture, the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .program import Program

EXAMPLE = Program("sparse_products", picture_bytes=30_000)

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")


@pytest.mark.usefixtures("one_thread")
def test_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "products.png"
    found = EXAMPLE.load().main(["--quick", "--scales", "8", "10", "12", "--out", str(picture)])
    assert EXAMPLE.drew(picture)
    assert list(found.seconds) == [8, 10]
    assert {"warphash", "SciPy", "torch"} <= set(found.seconds[8])
    assert found.products[10] > found.entries[10] > 2**10
    assert found.triangles["karate club"] == (78, 45)
    assert found.triangles["Les Misérables"] == (254, 467)
    assert found.triangles["R-MAT 10"][1] > 10_000
    assert "networkx" in found.counting["R-MAT 10"]
    printed = capsys.readouterr().out
    assert f"{found.products[10]:,}" in printed
    assert torch.get_num_threads() == 1


def test_rmat() -> None:
    """Distinct edges, the same for a seed, denser where both numbers are small."""
    rmat = EXAMPLE.load().rmat
    pairs = rmat(10)
    assert torch.equal(pairs, rmat(10))
    assert not torch.equal(pairs[:100], rmat(10, seed=1)[:100])
    assert len(pairs.unique(dim=0)) == len(pairs)
    assert int(pairs.min()) >= 0
    assert int(pairs.max()) < 2**10
    upper = (pairs < 2**9).float().mean(0)
    assert (upper - 0.76).abs().max() < 0.1  # fewer of the many are distinct


@pytest.mark.parametrize("arguments", [["--scales", "3"], ["--threads", "0"], ["--scales", "many"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_whole_run(tmp_path: Path) -> None:
    picture = tmp_path / "products.png"
    stdout = EXAMPLE.run("--out", str(picture))
    assert EXAMPLE.drew(picture)
    assert "R-MAT 14" in stdout
