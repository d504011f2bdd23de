# SPDX-License-Identifier: Apache-2.0
"""Peak memory of contestants: the most that one call takes at once beside its inputs, in a process of its own.

A process for each, because allocators keep what they have had: after another's call nobody's peak could be told. On a
GPU torch's own allocator tells it, in this process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.harness.runner import Outcome
from bench.harness.workload import FULL, Contestant, Settings, Unavailable

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600  # more than any call takes that a bench would wait for


def _status(field: str) -> int:
    """Bytes, from what the system tells of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) << 10
    raise Unavailable(f"the system does not tell {field}")


def peak_here(room: str, workload: str, contestant: str, threads: int) -> int:
    """Bytes that the first call adds to this process; libraries are loaded by a small call before."""
    from bench.harness.cli import use_threads

    use_threads(threads)
    settings = Settings(torch.device("cpu"), threads, FULL, seconds_per_call=float("inf"))
    (found,) = (each for each in importlib.import_module(f"bench.{room}").ROOM.workloads if each.name == workload)
    (measured,) = (each for each in found.contestants if each.name == contestant)
    measured.prepare(found.small(settings.device), settings).call()
    prepared = measured.prepare(found.make(settings.device), settings)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    result = prepared.call()
    peak = _status("VmHWM") - before
    del result
    return peak


def _peak(room: str, workload: str, contestant: str, threads: int) -> int | None:
    """None where the process failed or the system has no such figures."""
    arguments = json.dumps([room, workload, contestant, threads])
    command = [sys.executable, "-m", "bench.harness.memory", arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=SECONDS)
        return int(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return None


def peak_on_device(measured: Contestant, inputs: Any, settings: Settings) -> int | None:
    """Bytes that torch's allocator gives out at most in a call; None for who has memory from elsewhere."""
    call = measured.prepare(inputs, settings).call
    call()
    torch.cuda.synchronize(settings.device)
    torch.cuda.reset_peak_memory_stats(settings.device)
    before = torch.cuda.memory_allocated(settings.device)
    result = call()
    torch.cuda.synchronize(settings.device)
    peak = torch.cuda.max_memory_allocated(settings.device) - before
    del result
    return peak or None


def _measure_on_device(outcome: Outcome, settings: Settings) -> None:
    contestants = {contestant.name: contestant for contestant in outcome.workload.contestants}
    # Too little memory is left, or an earlier error has brought the device down.
    refused = (RuntimeError, MemoryError)
    try:
        inputs = outcome.workload.make(settings.device)
    except refused:
        return
    for row in outcome.rows:
        if row.timing is not None:
            with contextlib.suppress(*refused):
                row.peak = peak_on_device(contestants[row.contestant], inputs, settings)


def measure(outcomes: Sequence[Outcome], settings: Settings) -> None:
    """Writes the peak of each row of the workloads that can tell."""
    for outcome in outcomes:
        if outcome.workload.small is None:
            continue
        if settings.device.type == "cuda":
            _measure_on_device(outcome, settings)
            continue
        for row in outcome.rows:
            if row.timing is not None:
                row.peak = _peak(outcome.room, outcome.workload.name, row.contestant, settings.threads)


if __name__ == "__main__":
    print(peak_here(*json.loads(sys.argv[1])))
