# SPDX-License-Identifier: Apache-2.0
"""The digits example: the ranking of the methods, the picture, the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .program import Program

EXAMPLE = Program("digits_hashing", picture_bytes=20_000)

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("one_thread")
def test_a_few_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "digits.png"
    scores = EXAMPLE.load().main(["--bits", "16", "--epochs", "10", "--out", str(picture)])
    assert EXAMPLE.drew(picture)
    assert 0.3 < scores["LSH", 16] < scores["ITQ", 16] < scores["trained", 16] < 1
    # Over three seeds ITQ gave .622 with a deviation of .016, LSH .375 with .041: three deviations are allowed.
    assert abs(scores["ITQ", 16] - 0.622) < 0.05
    assert abs(scores["LSH", 16] - 0.375) < 0.125
    assert f"{scores['trained', 16]:.3f}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--bits", "65"], ["--epochs", "-1"], ["--bits", "none"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_whole_run(tmp_path: Path) -> None:
    picture = tmp_path / "digits.png"
    stdout = EXAMPLE.run("--out", str(picture), timeout=120, one_thread=False)
    assert EXAMPLE.drew(picture)
    rows = [[float(number) for number in re.findall(r"\d*\.?\d+", line)] for line in stdout.splitlines()]
    table = {int(row[0]): row[1:] for row in rows if len(row) == 4}
    assert set(table) == {16, 32, 64}
    expected = {16: (0.375, 0.622), 32: (0.475, 0.662), 64: (0.571, 0.695)}
    for bits, (lsh, itq, trained) in table.items():
        assert abs(lsh - expected[bits][0]) < 0.125
        assert abs(itq - expected[bits][1]) < 0.05
        assert trained > 0.93
