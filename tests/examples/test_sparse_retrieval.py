# SPDX-License-Identifier: Apache-2.0
"""The example of sparse retrieval: hits of a small folder, docstrings, the picture, the command line."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from .program import Program

EXAMPLE = Program("sparse_retrieval", picture_bytes=20_000)

pytest.importorskip("matplotlib")

TEXTS = {
    "bread": "How to bake bread\nMix flour, water and salt. Let the dough rest, then bake it in a hot oven.",
    "cake": "How to bake a cake costing $5\nMix flour, sugar and eggs. Bake the dough for an hour.",
    "tyre": "Mending a tyre\nTake the wheel off, find the hole in the tube, glue a patch over the hole.",
    "same": "Mending a tyre again\nTake the wheel off, find the hole in the tube, glue a patch over the hole.",
    "short": "Nothing\nto find",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "texts"
    root.mkdir()
    for name, text in TEXTS.items():
        (root / f"{name}.txt").write_text(text)
    (root / "picture.png").write_bytes(b"\x89PNG\r\n\xff")
    return root


def bm25(example, question: str, bodies: list[list[str]]) -> list[float]:
    """The formula, document by document."""
    mean = sum(map(len, bodies)) / len(bodies)
    scores = []
    for body in bodies:
        counts = Counter(body)
        score = 0.0
        for word in example.words_of(question):
            met = sum(word in other for other in bodies)
            rarity = math.log(1 + (len(bodies) - met + 0.5) / (met + 0.5))
            damping = example.K1 * (1 - example.B + example.B * len(body) / mean)
            score += rarity * counts[word] * (example.K1 + 1) / (counts[word] + damping)
        scores.append(score)
    return scores


@pytest.mark.usefixtures("one_thread")
def test_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "found.png"
    question = "bake the dough of flour and of water unheardof"
    example = EXAMPLE.load()
    found = example.main(["--folder", str(folder), "--question", question, "--out", str(picture)])
    assert EXAMPLE.drew(picture)
    # Equal bodies once, and not the one that is too short.
    assert [document.name for document in found.documents] == ["bread.txt", "cake.txt", "same.txt"]
    expected = bm25(example, question, [document.body for document in found.documents])
    assert [number for number, _, _ in found.best] == [0, 1, 2]
    for number, score, parts in found.best:
        assert score == pytest.approx(expected[number], rel=1e-5)
        assert sum(parts) == pytest.approx(score, rel=1e-5)
    assert "unheardof" not in found.words
    assert found.curves["BM25"][-1] <= 1
    assert "bread.txt" in capsys.readouterr().out


def test_words() -> None:
    assert EXAMPLE.load().words_of("ServerProxy's do_GET, a HTTPServer x2") == [
        "server",
        "proxy",
        "do",
        "get",
        "http",
        "server",
    ]


def test_docstrings_without_running(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(
        '"""Module."""\nraise SystemExit\nclass C:\n    """Class."""\n    async def f(self):\n        """Method."""\n'
    )
    docstrings = EXAMPLE.load().docstrings
    assert sorted(docstrings(file, "m")) == [("m", "Module."), ("m.C", "Class."), ("m.C.f", "Method.")]
    file.write_text("def f(:")
    assert list(docstrings(file, "m")) == []


@pytest.mark.parametrize("arguments", [["--most", "0"], ["--question", "?"], ["--folder", "/nonexistent"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(["--folder", str(tmp_path)])
    assert caught.value.code == 2
    assert "there is no document" in capsys.readouterr().err


@pytest.mark.slow
def test_whole_run(tmp_path: Path) -> None:
    """The library's own docstrings: BM25 finds texts by their first lines better than words in common do."""
    picture = tmp_path / "found.png"
    stdout = EXAMPLE.run("--out", str(picture), timeout=300, one_thread=False)
    assert EXAMPLE.drew(picture)
    assert "subprocess" in stdout
    first = {
        line.split(":")[0]: float(line.split("first ")[1].split(",")[0])
        for line in stdout.splitlines()
        if ": own" in line
    }
    assert first["BM25"] > 1.5 * first["words in common"]
    assert first["BM25"] > first["tf-idf"] > 0.1
