# SPDX-License-Identifier: Apache-2.0
"""Writes what a bench has measured into the documents, between `<!-- results -->` and `<!-- /results -->`.

results_table.py results/bench.json [more.json] README.md docs/benchmarks.md

Several runs stand one after the other, each with its machine and settings. A document named benchmarks.md gets every
contestant with time, rate, share of the limit and check; the others get tables of peers' time over ours, room by room.
No number is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)
OURS = "warphash"


def seconds_text(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def ratio_text(ratio: float) -> str:
    """Two digits: a ratio of medians is not worth more."""
    rounded = float(f"{ratio:.2g}")
    return f"{rounded:,.0f}×" if rounded >= 10 else f"{rounded:.1f}×" if rounded >= 1 else f"{rounded:.2f}×"


def limit_text(name: str) -> str:
    """`read:33554432` for readers: read 32 MiB."""
    kind, _, size = name.partition(":")
    return f"{kind} {int(size) / (1 << 20):g} MiB" if size else kind


def _measured(workload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in workload["rows"] if row["status"] == "measured"]


def _family(contestant: str) -> str:
    """The ways of torch are one column, of which the best counts."""
    return "torch (best)" if contestant.startswith("torch") else contestant


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|---|" + "---:|" * (len(head) - 1),
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def _room_tables(workloads: Sequence[Mapping[str, Any]]) -> list[str]:
    """One table a group: our time and share of the limit, then peers' time over ours."""
    lines = []
    for group in dict.fromkeys(workload["group"] for workload in workloads):
        members = [workload for workload in workloads if workload["group"] == group]
        columns: dict[str, None] = {}
        for workload in members:
            columns |= {_family(row["contestant"]): None for row in _measured(workload)}
        columns = {name: None for name in columns if not name.startswith(OURS)}
        rows = []
        for workload in members:
            found = {row["contestant"]: row for row in _measured(workload)}
            ours = found.get(OURS)
            if ours is None:
                continue
            limit = f"{ours['of_limit']:.0%}" if ours["of_limit"] is not None else "–"
            cells = [workload["name"], seconds_text(ours["seconds"]), limit]
            for column in columns:
                ratios = [row["time_over_ours"] for name, row in found.items() if _family(name) == column]
                cells.append(ratio_text(min(ratios)) if ratios else "–")
            rows.append(cells)
        lines += [f"**{group}**", "", *_table([OURS, "time", "of limit", *columns], rows)]
    return lines


def _full_tables(workloads: Sequence[Mapping[str, Any]]) -> list[str]:
    """One table a workload, every contestant."""
    lines = []
    for workload in workloads:
        rows = []
        result = workload["facts"].get("output_bytes")
        peaks = bool(result) and any(row.get("peak_bytes") for row in workload["rows"])
        for row in workload["rows"]:
            if row["status"] != "measured":
                rows.append([row["contestant"], f"not measured: {row['reason']}", *[""] * (4 + peaks)])
                continue
            rows.append(
                [
                    row["contestant"],
                    seconds_text(row["seconds"]) + (" *" if row["share"] < 1 else ""),
                    f"{row['rate'] / 1e9:.3g}",
                    ratio_text(row["time_over_ours"]) if row["time_over_ours"] else "–",
                    f"{row['of_limit']:.0%} ({limit_text(row['limit'])})" if row["of_limit"] is not None else "–",
                    *([f"{row['peak_bytes'] / result:.3g}×" if row.get("peak_bytes") else "–"] if peaks else []),
                    row["check"],
                ]
            )
        head = ["contestant", "time", "G items/s", "time over ours", "of the nearest limit"]
        head += ["memory over the result", "answer"] if peaks else ["answer"]
        lines += [f"### {workload['room']}: {workload['name']}", "", *_table(head, rows)]
    return lines


def _heading(data: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[str]:
    """before: the run above, whose versions are not written again."""
    machine, settings = data["machine"], data["settings"]
    where = machine["gpu"]["name"] if isinstance(machine.get("gpu"), dict) else machine["cpu"]
    told = before["versions"] if before is not None else {}
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items() if told.get(name) != version)
    threads = "one thread" if settings["threads"] == 1 else f"{settings['threads']} threads"
    kept = ", freed memory kept" if settings.get("keeps_memory") else ""
    return [
        f"Measured {data['date'][:10]} on {where}, {threads}, `{settings['mode']}` run{kept}"
        + (";" if versions else "."),
        *([f"{versions}."] if versions else []),
        "",
    ]


def _targets(workloads: Sequence[Mapping[str, Any]]) -> list[str]:
    verdicts = [(workload["name"], target) for workload in workloads for target in workload["targets"]]
    judged = [(name, target) for name, target in verdicts if target["met"] is not None]
    if not judged:
        return []
    missed = [
        f"- missed: {name}: {target['text']}; found {target['found']}" for name, target in judged if not target["met"]
    ]
    return [f"Targets met: {len(judged) - len(missed)} of {len(judged)} that this machine can judge.", "", *missed, ""]


def text(runs: Sequence[Mapping[str, Any]], full: bool) -> str:
    """The lines between the marks."""
    lines = [] if full else ["Columns of peers: their time over ours, above 1 where warphash is faster.", ""]
    for data, before in zip(runs, [None, *runs], strict=False):
        workloads = data["workloads"]
        lines += _heading(data, before)
        if full:
            lines += _targets(workloads) + _full_tables(workloads)
            continue
        for room in dict.fromkeys(workload["room"] for workload in workloads):
            own = [workload for workload in workloads if workload["room"] == room]
            lines += [f"### {room}", "", *_room_tables(own), *_targets(own)]
    if full:
        lines.append("\\* given less work and scaled up; *sampled*: the answer was checked on that part.")
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "files", type=Path, nargs="+", help="*.json: what `python -m bench --json` wrote; others: where to write it"
    )
    files = parser.parse_args(arguments).files
    results = [file for file in files if file.suffix == ".json"]
    documents = [file for file in files if file.suffix != ".json"]
    if not results or not documents:
        parser.error("expected at least one *.json and one document")
    runs = []
    for file in results:
        try:
            runs.append(json.loads(file.read_text()))
        except (OSError, ValueError) as error:
            print(f"{file}: {error}; run `make bench` first", file=sys.stderr)
            return 2
    for document in documents:
        old = document.read_text()
        if not MARKED.search(old):
            print(f"{document}: has no <!-- results --> … <!-- /results -->", file=sys.stderr)
            return 2
        new = text(runs, full=document.name == "benchmarks.md")
        document.write_text(MARKED.sub(lambda found: found[1] + new + found[2], old))  # noqa: B023
    return 0


if __name__ == "__main__":
    sys.exit(main())
