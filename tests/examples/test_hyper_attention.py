# SPDX-License-Identifier: Apache-2.0
"""The example of attention by hashing: errors fall with samples, hashes help, the picture, the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from .program import Program

EXAMPLE = Program("hyper_attention", picture_bytes=30_000)

pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("one_thread")
def test_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "attention.png"
    found, times = EXAMPLE.load().main(["--quick", "--out", str(picture)])
    assert EXAMPLE.drew(picture)
    for row in found.values():
        assert row[-1][0] < row[0][0]  # more samples
    for kind in ("clusters", "pairs"):
        assert all(hashed < 0.75 * chance for hashed, chance in found[kind])
    assert list(times) == [1024, 2048]
    assert all(ours > 0 and theirs > 0 for row in times.values() for ours, theirs in row.values())
    assert "ahead from" in capsys.readouterr().out


def test_crossover_is_the_first_length_that_stays_ahead() -> None:
    times = {
        1: {"x": (2.0, 1.0)},
        2: {"x": (1.0, 2.0)},
        4: {"x": (3.0, 2.0)},
        8: {"x": (1.0, 2.0)},
        16: {"x": (1.0, 9.0)},
    }
    assert EXAMPLE.load().crossover(times, "x") == "8"
    assert EXAMPLE.load().crossover({1: times[1]}, "x") == "beyond"
    assert EXAMPLE.load().crossover({2: times[2]}, "x") == "2"


@pytest.mark.parametrize("arguments", [["--longest", "1000"], ["--heads", "0"], ["--dtype", "int8"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_a_longer_run(tmp_path: Path) -> None:
    picture = tmp_path / "attention.png"
    stdout = EXAMPLE.run("--longest", "16384", "--out", str(picture))
    assert EXAMPLE.drew(picture)
    (last,) = (line for line in stdout.splitlines() if "16,384" in line and "ms" in line)
    assert float(last.split("│")[2].split()[0]) > 1.5  # without a mask, forward
