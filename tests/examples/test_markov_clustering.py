# SPDX-License-Identifier: Apache-2.0
"""The example of clusters by flow: known communities, each step of it densely, the picture, the command line."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
import torch

from .program import Program

EXAMPLE = Program("markov_clustering", picture_bytes=30_000)

pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("one_thread")
def test_small_graphs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "clusters.png"
    example = EXAMPLE.load()
    club, characters = example.main(
        ["--graphs", "karate", "miserables", "--powers", "1.8", "2.5", "--out", str(picture)]
    )
    assert EXAMPLE.drew(picture)
    assert club.modularity > 0.4
    assert characters.modularity > 0.4
    # Those that split off with the instructor and with the officer, four members apart at most.
    assert example.adjusted_rand(club.labels.tolist(), club.graph.labels) > 0.5
    assert f"{club.modularity:.3f}" in capsys.readouterr().out


@pytest.mark.usefixtures("one_thread")
def test_two_factions() -> None:
    example = EXAMPLE.load()
    club = example.markov_clustering(example.real_graphs.karate(), 1.8)
    assert len(club.clusters()) == 2
    assert example.adjusted_rand(club.labels.tolist(), club.graph.labels) > 0.85


@pytest.mark.usefixtures("one_thread")
def test_cliques_are_found() -> None:
    """Cliques on a ring, one edge between neighbours; and a node that knows nobody."""
    example = EXAMPLE.load()
    pairs = [(6 * c + i, 6 * c + j) for c in range(5) for i, j in itertools.combinations(range(6), 2)]
    pairs += [(6 * c, (6 * c + 7) % 30) for c in range(5)]
    graph = example.real_graphs.undirected("cliques", torch.tensor(pairs), [str(node) for node in range(31)], None)
    found = example.markov_clustering(graph, 2.0)
    assert found.labels.tolist() == [node // 6 * 6 for node in range(31)]
    assert found.products > 0
    assert found.entries[-1] <= 2 * 31  # one centre each, or two that share


def test_one_step_is_dense_arithmetic() -> None:
    example = EXAMPLE.load()
    dense = torch.rand(8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.01
    pairs = dense.nonzero()
    matrix, chaos = example.inflated(example.to_csr(pairs, dense.flatten(), 8), 2.0)
    expected = dense.square() / dense.square().sum(1, keepdim=True)
    expected = torch.where(expected < 1e-4, 0, expected)
    expected = expected / expected.sum(1, keepdim=True)
    torch.testing.assert_close(matrix.to_dense(), expected)
    assert chaos == pytest.approx(float((expected.amax(1) - expected.square().sum(1)).max()))


def test_adjusted_rand_by_counting_pairs() -> None:
    example, generator = EXAMPLE.load(), random.Random(0)
    for _ in range(20):
        first, second = ([generator.randrange(3) for _ in range(12)] for _ in range(2))
        pairs = list(itertools.combinations(range(12), 2))
        a = sum(first[i] == first[j] for i, j in pairs)
        b = sum(second[i] == second[j] for i, j in pairs)
        both = sum(first[i] == first[j] and second[i] == second[j] for i, j in pairs)
        expected = a * b / len(pairs)
        assert example.adjusted_rand(first, second) == pytest.approx((both - expected) / ((a + b) / 2 - expected))
    assert example.adjusted_rand([1, 1, 2], ["x", "x", "y"]) == 1


def test_imports_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative, listed, renamed, commented, nested and foreign imports."""
    graphs = EXAMPLE.load().real_graphs
    root = tmp_path / "somepackage"
    (root / "inner").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "__init__.py").write_text("from .a import (\n    thing,  # of a\n    other as o,\n)\n")
    (root / "a.py").write_text("import os, somepackage.b as b\n")
    (root / "b.py").write_text("def f():\n    from .inner import c\n")
    (root / "inner" / "__init__.py").write_text("")
    (root / "inner" / "c.py").write_text("from .. import a\nfrom ..b import f\nx = 'import somepackage.d'\n")
    (root / "d.py").write_text("from numpy import array\n")
    (root / "tests" / "e.py").write_text("import somepackage\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    graph = graphs.imports(("somepackage", "nosuchpackage"))
    found = {tuple(sorted((graph.nodes[i], graph.nodes[j]))) for i, j in graph.edges.tolist()}
    assert found == {
        ("somepackage", "somepackage.a"),
        ("somepackage.a", "somepackage.b"),
        ("somepackage.b", "somepackage.inner.c"),
        ("somepackage.a", "somepackage.inner.c"),
    }
    assert graph.labels == ["somepackage"] * 6


@pytest.mark.parametrize("arguments", [["--powers", "1"], ["--graphs", "nothing"], ["--powers", "x"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_whole_run(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    picture = tmp_path / "clusters.png"
    stdout = EXAMPLE.run("--out", str(picture))
    assert EXAMPLE.drew(picture)
    assert all(name in stdout for name in ("karate club", "Les Misérables", "digits", "imports"))
