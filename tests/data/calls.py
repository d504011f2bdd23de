# SPDX-License-Identifier: Apache-2.0
"""Calls of the command, and texts for it."""

from __future__ import annotations

import json
import sys

import pytest
from warphash.__main__ import main

Captured = pytest.CaptureFixture[bytes]

COMMAND = [sys.executable, "-W", "error", "-m", "warphash", "dedup"]


def dedup(*arguments: object) -> int:
    return main(["dedup", *map(str, arguments)])


def refused(capsys: Captured, *arguments: object) -> str:
    """The one line of stderr."""
    assert dedup(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("python -m warphash dedup: ")
    return err


def lines_of(texts: list[str], field: str = "text") -> list[bytes]:
    return [json.dumps({"id": i, field: text}, ensure_ascii=i % 2 == 0).encode() for i, text in enumerate(texts)]


def words(seed: int, count: int = 60) -> str:
    return " ".join(f"w{seed}x{i}" for i in range(count))


def row_of(summary: str, name: str) -> str:
    """A value of the summary."""
    return next(line.split()[-2] for line in summary.splitlines() if f" {name} " in line)


TEXTS = [words(0), words(1), words(0) + " more", "", words(2), words(1).upper(), "", "kurz"]
KEPT = [0, 1, 3, 4, 6, 7]
