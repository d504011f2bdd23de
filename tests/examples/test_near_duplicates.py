# SPDX-License-Identifier: Apache-2.0
"""The example of licence texts: clusters, the measured curve, the picture, the command line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .program import Program

EXAMPLE = Program("near_duplicates", picture_bytes=30_000)

pytest.importorskip("matplotlib")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three families of texts, and files that are not read."""
    generator = random.Random(0)
    root = tmp_path / "texts"
    (root / "inner").mkdir(parents=True)
    for family in range(3):
        words = [f"f{family}w{i}" for i in range(200)]
        for copy in range(8):
            changed = list(words)
            for _ in range(3 * copy):
                changed[generator.randrange(200)] = "x"
            (root / "inner" / f"{family}-{copy}.txt").write_text(" ".join(changed))
    (root / "picture.png").write_bytes(b"\x89PNG\r\n")
    (root / "empty.txt").write_text(" \n")
    (root / "link").symlink_to(root / "inner" / "0-0.txt")
    return root


@pytest.mark.usefixtures("one_thread")
def test_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "near.png"
    found = EXAMPLE.load().main(["--folder", str(folder), "--threshold", "0.5", "--out", str(picture)])
    assert EXAMPLE.drew(picture)
    assert len(found.paths) == 24
    similar = found.similarity.triu(1) >= 0.5
    assert set(map(tuple, found.result.pairs.tolist())) <= set(map(tuple, similar.nonzero().tolist()))
    assert len(found.result.pairs) >= 0.95 * int(similar.sum())
    assert (
        sum(pairs for _, _, pairs in found.measured) == int(((found.similarity > 0) & (found.similarity < 1)).sum()) / 2
    )
    assert "24 texts" in capsys.readouterr().out


def test_kinds() -> None:
    kind_of = EXAMPLE.load().kind_of
    assert kind_of("x\nApache  License\n") == "Apache"
    assert kind_of("MIT\nPermission is hereby\n granted, free of\ncharge") == "MIT"
    assert kind_of("\n  A text of its own  \n") == "A text of its own"


@pytest.mark.parametrize("arguments", [["--threshold", "0"], ["--most", "1"], ["--folder", "/nonexistent"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(["--folder", str(tmp_path)])
    assert caught.value.code == 2
    assert "fewer than two texts" in capsys.readouterr().err


@pytest.mark.slow
def test_whole_run(tmp_path: Path) -> None:
    """Licences of this very installation: torch's and NumPy's companions alone bring some twice."""
    picture = tmp_path / "near.png"
    stdout = EXAMPLE.run("--out", str(picture), timeout=300, one_thread=False)
    assert EXAMPLE.drew(picture)
    assert "Largest clusters" in stdout
    assert " 0 clusters" not in stdout
