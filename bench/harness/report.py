# SPDX-License-Identifier: Apache-2.0
"""The table for readers and the JSON for programs."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.harness.limits import Limits, label
from bench.harness.runner import OK, SAMPLED, WRONG, Outcome, Row
from bench.harness.targets import Verdict
from bench.harness.texts import rate_text, seconds_text
from bench.harness.workload import Room, Settings

SCHEMA = 1


def _percent(share: float | None) -> str:
    if share is None:
        return "—"
    return f"{share:.0%}" if share >= 0.1 else f"{100 * share:.2g}%"


def _giga(rate: float) -> str:
    return f"{rate / 1e9:.3g}"


def _peak_text(row: Row, outcome: Outcome) -> str:
    """In parts of the result."""
    result = outcome.workload.facts.get("output_bytes")
    return "" if row.peak is None or not result else f"{row.peak / result:.3g}"


def _cells(row: Row, outcome: Outcome, first: bool, peaks: bool) -> list[Text]:
    name = Text(outcome.workload.name if first else "")
    who = Text(row.contestant, style="bold" if row is outcome.ours else "")
    if row.timing is None or row.seconds is None:
        return [name, who, Text(row.reason.partition(":")[0], style="dim italic"), *[Text("")] * (6 + peaks)]
    ours = outcome.ours.seconds
    spread = row.timing.iqr / row.timing.median
    check = Text(row.check, style={OK: "green", SAMPLED: "green", WRONG: "bold red"}.get(row.check, "dim"))
    time = seconds_text(row.seconds) + (" *" if row.share < 1 else "")
    return [
        name,
        who,
        Text(time),
        Text(_giga(outcome.workload.items / row.seconds)),
        Text("1" if row is outcome.ours or not ours else f"{row.seconds / ours:.3g}"),
        Text(_percent(row.of_limit)),
        Text(label(row.bound.limit) if row.bound is not None else "—", style="dim"),
        Text(f"{spread:.0%}" if len(row.timing.wall) > 1 else "one"),
        *([Text(_peak_text(row, outcome))] if peaks else []),
        check,
    ]


def tables(
    room: Room, outcomes: Sequence[Outcome], verdicts: Mapping[str, Sequence[Verdict]], console: Console
) -> None:
    """A table for each group of workloads, its notes and the verdicts on its targets."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.workload.group, []).append(outcome)
    for group, members in groups.items():
        table = Table(title=f"{room.name}: {group}", title_justify="left", title_style="bold", expand=False)
        table.add_column("workload")
        table.add_column("contestant")
        for heading in ("time", f"G{room.item}/s", "time / ours", "of limit"):
            table.add_column(heading, justify="right")
        table.add_column("nearest limit")
        table.add_column("IQR", justify="right")
        peaks = any(_peak_text(row, outcome) for outcome in members for row in outcome.rows)
        if peaks:
            table.add_column("memory / result", justify="right")
        table.add_column("check")
        notes: list[Text] = []
        for outcome in members:
            for index, row in enumerate(outcome.rows):
                table.add_row(*_cells(row, outcome, index == 0, peaks))
                if row.timing is None:
                    _add(notes, Text(f"  {row.contestant}: {row.reason}", style="dim"))
                elif row.note:
                    _add(notes, Text(f"  {row.contestant}: {row.note}", style="dim"))
                if row.check == WRONG:
                    _add(
                        notes, Text(f"  {outcome.workload.name}: {row.contestant} is WRONG: {row.reason}", style="red")
                    )
            for verdict in verdicts.get(outcome.workload.name, ()):
                notes.append(_verdict_line(outcome.workload.name, verdict))
            table.add_section()
        console.print(table)
        for note in notes:
            console.print(note)
        console.print()


def _add(notes: list[Text], note: Text) -> None:
    if note.plain not in {other.plain for other in notes}:
        notes.append(note)


def _verdict_line(workload: str, verdict: Verdict) -> Text:
    word, style = {True: ("met   ", "green"), False: ("MISSED", "bold red"), None: ("open  ", "yellow")}[verdict.met]
    return Text.assemble("  target ", (word, style), f" {workload}: {verdict.text}; found {verdict.found}")


def limits_table(limits: Limits, console: Console) -> None:
    """What the machine can do, as measured in this run."""
    table = Table(title="Limits of this machine", title_justify="left", title_style="bold")
    table.add_column("limit")
    table.add_column("rate", justify="right")
    on_a_gpu = any(rate is not None and name.startswith("cuda_") for name, rate in limits.known().items())
    for name, rate in sorted(limits.known().items(), key=lambda item: _limit_order(item[0])):
        if rate is None and (on_a_gpu or name.startswith("cuda_")):
            continue
        unit = "B/s" if name.startswith(("read", "write", "touch")) else "/s" if name != "core_clock" else "Hz"
        table.add_row(label(name), "not here" if rate is None else f"{rate_text(rate)}{unit}")
    console.print(table)
    console.print()


def _limit_order(name: str) -> tuple[str, int]:
    kind, _, size = name.partition(":")
    return kind, int(size or 0)


def _row_record(row: Row, outcome: Outcome) -> dict[str, Any]:
    ours = outcome.ours.seconds
    record: dict[str, Any] = {
        "contestant": row.contestant,
        "status": "measured" if row.timing is not None else "absent",
        "reason": row.reason,
        "note": row.note,
        "check": row.check,
        "share": row.share,
        "seconds": row.seconds,
        "cpu_seconds": row.cpu_seconds,
    }
    if row.timing is not None and row.seconds:
        record |= {
            "iqr": row.timing.iqr / row.share,
            "samples": [wall / row.share for wall in row.timing.wall],
            "repeats": row.timing.repeats,
            "rate": outcome.workload.items / row.seconds,
            "time_over_ours": row.seconds / ours if ours else None,
            "of_limit": row.of_limit,
            "limit": row.bound.limit if row.bound else None,
            "limit_seconds": row.bound.seconds if row.bound else None,
            "peak_bytes": row.peak,
        }
    return record


def record(
    outcomes: Sequence[Outcome],
    verdicts: Mapping[str, Sequence[Verdict]],
    limits: Mapping[str, float | None],
    machine: Mapping[str, Any],
    programs: Mapping[str, str],
    settings: Settings,
    lacking: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything measured, as plain data. lacking: workloads that were not, and why."""
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": {
            "mode": settings.mode,
            "threads": settings.threads,
            "device": settings.device.type,
            "keeps_memory": settings.keeps_memory,
        },
        "machine": dict(machine),
        "versions": dict(programs),
        "limits": dict(limits),
        "lacking": dict(lacking or {}),
        "workloads": [
            {
                "room": outcome.room,
                "name": outcome.workload.name,
                "group": outcome.workload.group,
                "facts": dict(outcome.workload.facts),
                "items": outcome.workload.items,
                "operations": outcome.workload.operations,
                "traffic_bytes": outcome.workload.traffic,
                "rows": [_row_record(row, outcome) for row in outcome.rows],
                "targets": [
                    {"text": verdict.text, "met": verdict.met, "found": verdict.found}
                    for verdict in verdicts.get(outcome.workload.name, ())
                ],
            }
            for outcome in outcomes
        ],
    }


def write_json(data: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n")
