# SPDX-License-Identifier: Apache-2.0
"""`--profile`: torch.profiler traces of our contestant and of the baselines, and a table of where their time goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity

from bench.harness.report import seconds_text
from bench.harness.workload import Contestant, Room, Settings, Unavailable, Workload

CALLS = 3
SHOWN = 8


def _file_name(*parts: str) -> str:
    return ".".join(re.sub(r"[^A-Za-z0-9=±]+", "_", part).strip("_") for part in parts) + ".json"


def _trace(contestant: Contestant, inputs: object, settings: Settings, file: Path) -> list[tuple[str, float]]:
    """Writes the trace; returns (event, its own seconds of one call of the whole workload), longest first."""
    prepared = contestant.prepare(inputs, settings)
    prepared.call()
    activities = [ProfilerActivity.CPU]
    on_gpu = settings.device.type == "cuda"
    if on_gpu:
        activities.append(ProfilerActivity.CUDA)
    # Without Python frames: torch 2.13 now and then fails to decode their names.
    # The first call under a profiler sets it up and is left out.
    plan = torch.profiler.schedule(wait=0, warmup=1, active=CALLS, repeat=1)
    with torch.profiler.profile(activities=activities, schedule=plan, record_shapes=True) as profiler:
        for _ in range(1 + CALLS):
            with torch.profiler.record_function(contestant.name):
                prepared.call()
            profiler.step()
        if on_gpu:
            torch.cuda.synchronize(settings.device)
    profiler.export_chrome_trace(str(file))
    scale = 1e-6 / CALLS / prepared.share
    own = {
        event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total) * scale
        for event in profiler.key_averages()
        if not event.key.startswith("ProfilerStep")
    }
    # The frame around a call holds what no event inside it claims: Python itself.
    own = {("(Python itself)" if key == contestant.name else key): value for key, value in own.items()}
    return sorted(((key, value) for key, value in own.items() if value > 0), key=lambda item: -item[1])


def run(picked: Sequence[tuple[Room, Workload]], settings: Settings, folder: Path, console: Console) -> None:
    """Ours and every contestant marked as a baseline, side by side, for each workload that has a baseline."""
    folder.mkdir(parents=True, exist_ok=True)
    for _, workload in picked:
        sides = [workload.contestants[0], *(contestant for contestant in workload.contestants if contestant.baseline)]
        if len(sides) == 1:
            continue
        inputs = workload.make(settings.device)
        columns: dict[str, list[tuple[str, float]]] = {}
        for contestant in sides:
            if settings.device.type not in contestant.devices:
                continue
            try:
                file = folder / _file_name(workload.name, contestant.name)
                columns[contestant.name] = _trace(contestant, inputs, settings, file)
            except (ImportError, Unavailable) as error:
                console.print(f"{contestant.name}: not here: {error}", style="dim", highlight=False)
        _table(workload, columns, console)
    console.print(f"traces: {folder} (open them at chrome://tracing or in Perfetto)", highlight=False)


def _table(workload: Workload, columns: dict[str, list[tuple[str, float]]], console: Console) -> None:
    table = Table(title=f"{workload.name}: where the time goes", title_justify="left", title_style="bold")
    for name, events in columns.items():
        total = sum(seconds for _, seconds in events)
        table.add_column(f"{name}, {seconds_text(total)} a call" if total else name)
        table.add_column("", justify="right")
    for index in range(SHOWN):
        cells = []
        for events in columns.values():
            total = sum(seconds for _, seconds in events) or 1.0
            if index < len(events):
                event, seconds = events[index]
                cells += [event, f"{seconds_text(seconds)} {seconds / total:4.0%}"]
            else:
                cells += ["", ""]
        if any(cells):
            table.add_row(*cells)
    console.print(table)
    console.print()
