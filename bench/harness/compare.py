# SPDX-License-Identifier: Apache-2.0
"""A run against an earlier one's JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.harness.report import SCHEMA
from bench.harness.texts import seconds_text


class Unreadable(Exception):
    """The file is no result of ours; the text says what is wrong."""


@dataclass(frozen=True)
class Change:
    """ratio: now / before. regression: one of our own rows is slower than the tolerance and its own spread allow."""

    workload: str
    contestant: str
    before: float
    now: float
    ours: bool
    regression: bool

    @property
    def ratio(self) -> float:
        return self.now / self.before


def read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or "workloads" not in data:
        raise Unreadable(f"{path}: not a result file of this bench (schema {SCHEMA} expected)")
    return data


def _rows(data: Mapping[str, Any]) -> dict[tuple[str, str], tuple[dict[str, Any], bool]]:
    return {
        (workload["name"], row["contestant"]): (row, index == 0)
        for workload in data["workloads"]
        for index, row in enumerate(workload["rows"])
        if row.get("seconds")
    }


# What two runs should have in common, and what a file meant that does not tell.
SHARED = (
    ("machine", "cpu", None),
    ("machine", "gpu", None),
    ("settings", "threads", None),
    ("settings", "device", None),
    ("settings", "keeps_memory", False),
)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What makes the two runs hard to compare."""
    found = []
    for where, key, untold in SHARED:
        old, new = (run.get(where, {}).get(key, untold) for run in (before, now))
        if old != new:
            found.append(f"{key}: {old} then, {new} now")
    return found


def changes(before: Mapping[str, Any], now: Mapping[str, Any], tolerance: float) -> list[Change]:
    """Rows that both runs have. A peer's row never counts as a regression: it tells how far the machine has drifted."""
    old = _rows(before)
    found = []
    for key, (row, ours) in _rows(now).items():
        if key not in old:
            continue
        earlier = old[key][0]
        slower = row["seconds"] - earlier["seconds"]
        beyond = slower > tolerance * earlier["seconds"] and slower > max(row["iqr"], earlier["iqr"])
        found.append(Change(*key, earlier["seconds"], row["seconds"], ours, ours and beyond))
    return found


def table(found: list[Change], console: Console) -> None:
    out = Table(title="Against the earlier run", title_justify="left", title_style="bold")
    for heading in ("workload", "contestant"):
        out.add_column(heading)
    for heading in ("before", "now", "now / before", ""):
        out.add_column(heading, justify="right")
    for change in found:
        mark = Text("REGRESSION", style="bold red") if change.regression else Text("")
        cells = (seconds_text(change.before), seconds_text(change.now), f"{change.ratio:.2f}")
        out.add_row(change.workload, Text(change.contestant, style="bold" if change.ours else ""), *cells, mark)
    console.print(out)
