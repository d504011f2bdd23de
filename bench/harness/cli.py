# SPDX-License-Identifier: Apache-2.0
"""`python -m bench`: exit code 0; 1 where an answer is wrong or a time has regressed; 2 where the call is wrong."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import ROOMS
from bench.harness import allocator, compare, machine, memory, model, profile, report
from bench.harness.limits import LARGEST_BUFFER, Limits, memory_limit
from bench.harness.runner import WRONG, Outcome, apply_limits, first_line, run
from bench.harness.targets import Verdict, judge
from bench.harness.timing import Clock, CudaClock, HostClock
from bench.harness.workload import FULL, QUICK, Room, Settings, Unavailable, Workload, chosen

FINE, BAD_RESULT, BAD_CALL = 0, 1, 2
NO_TIME = "no time left"
Verdicts = dict[str, list[Verdict]]

# A buffer that the second-level cache of every GPU we know holds, and no first-level cache.
IN_L2 = 16 << 20

# Cores that others may take before the figures are called doubtful.
BUSY = 0.2


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="python -m bench", description="Benches of the kernels against their peers.")
    out.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}; all without one")
    out.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where a GPU is found, else cpu")
    length = out.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a few minutes (default)")
    length.add_argument("--full", action="store_true", help="every workload")
    out.add_argument(
        "--memory", action="store_true", help="also the peak memory of contestants, each in a process; part of --full"
    )
    out.add_argument(
        "--keep-memory",
        action="store_true",
        help="what is freed stays in the process, for everybody; else large results are fresh pages at each call",
    )
    out.add_argument("--threads", type=int, help="threads for everyone; default: the cores of this machine")
    out.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    out.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="write the roofline picture there (PNG), with the room's name where there are several",
    )
    out.add_argument("--profile", type=Path, metavar="DIR", help="trace ours and the baselines instead of timing them")
    out.add_argument("--against", type=Path, metavar="FILE", help="compare with an earlier --json file")
    out.add_argument("--tolerance", type=float, default=0.15, help="slower than this is a regression (default 0.15)")
    out.add_argument(
        "--within",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="begin no further workload after so many seconds",
    )
    out.add_argument(
        "--keep-going",
        action="store_true",
        help="go on after a workload in which our own call has failed (exit code 1); write --json after each",
    )
    out.add_argument("--only", metavar="PATTERN", help="workloads whose name has this part (* and ? allowed)")
    out.add_argument("--list", action="store_true", help="name the workloads and contestants, run nothing")
    return out


@dataclass(frozen=True)
class _Refused(Exception):
    text: str


def load_rooms(names: Sequence[str]) -> list[Room]:
    unknown = [name for name in names if name not in ROOMS]
    if unknown:
        raise _Refused(f"ROOM: expected some of {', '.join(ROOMS)}, got {unknown[0]!r}")
    try:
        return [importlib.import_module(f"bench.{name}").ROOM for name in names or ROOMS]
    except ImportError as error:
        raise Unavailable(f"the package is not built: {error}") from error


def _settings(options: argparse.Namespace) -> Settings:
    kind = options.device or ("cuda" if _cuda_ready() else "cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise _Refused("--device cuda: torch finds no GPU here")
    cores = len(os.sched_getaffinity(0))
    threads = options.threads if options.threads is not None else cores
    if threads < 1:
        raise _Refused(f"--threads: expected at least 1, got {threads}")
    most = max(64, 4 * cores)
    if threads > most:
        raise _Refused(f"--threads: expected at most {most} on {cores} cores, got {threads}")
    device = torch.device("cuda", torch.cuda.current_device()) if kind == "cuda" else torch.device("cpu")
    mode = FULL if options.full else QUICK
    seconds, call = (20.0, 2.0) if options.full else (3.0, 0.2)
    return Settings(device, threads, mode, seconds, call, keeps_memory=options.keep_memory)


def _check_outputs(options: argparse.Namespace) -> None:
    """A place that cannot be written is told before minutes of measuring, not after them."""
    for name, is_folder in (("json", False), ("plot", False), ("profile", True)):
        path: Path | None = getattr(options, name)
        if path is None:
            continue
        wrong = _why_not_writable(path, is_folder)
        if wrong:
            raise _Refused(f"--{name}: {path} {wrong}")


def _why_not_writable(path: Path, is_folder: bool) -> str:
    """Empty where it can be written; folders that are missing will be made."""
    if path.exists():
        if path.is_dir() != is_folder:
            return "is no folder" if is_folder else "is a folder, a file was expected"
        return "" if os.access(path, os.W_OK) else "cannot be written"
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        return f"cannot be made: {parent} is no folder"
    return "" if os.access(parent, os.W_OK | os.X_OK) else f"cannot be made: {parent} cannot be written"


def _cuda_ready() -> bool:
    """A GPU alone is not enough: without our CUDA half there is nothing of ours to run on it."""
    if not torch.cuda.is_available():
        return False
    try:
        from warphash._load import _cuda
    except ImportError:
        return False
    return _cuda is not None


def use_threads(threads: int) -> None:
    """The same number for everybody who counts threads by process-wide settings."""
    torch.set_num_threads(threads)
    try:
        import faiss

        faiss.omp_set_num_threads(threads)
    except ImportError:
        pass
    try:
        import numba

        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    except ImportError:
        pass


def _list(rooms: Sequence[Room], picked: Sequence[tuple[Room, Workload]], console: Console) -> None:
    marked = {id(workload) for _, workload in picked}
    for room in rooms:
        for workload in room.workloads:
            names = ", ".join(contestant.name for contestant in workload.contestants)
            mark = "*" if id(workload) in marked else " "
            console.print(f"{mark} {room.name}  {workload.name}  [{workload.mode}]", markup=False, highlight=False)
            console.print(f"      {names}", style="dim", markup=False, highlight=False)


def _run_all(
    picked: Sequence[tuple[Room, Workload]],
    settings: Settings,
    clock: Clock,
    limits: Limits,
    console: Console,
    *,
    within: float = math.inf,
    keep_going: bool = False,
    save: Callable[[Sequence[Outcome], Mapping[str, str]], None] | None = None,
) -> tuple[list[Outcome], dict[str, str]]:
    """Outcomes, and why there is none of a workload: no time left for it, or our own call failed.

    save: is given both after each workload, those to come as such that no time was left for.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    outcomes, lacking = [], {}
    end = time.monotonic() + within
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(picked))
        for number, (room, workload) in enumerate(picked):
            if time.monotonic() > end:
                lacking[workload.name] = NO_TIME
                continue
            progress.update(task, description=workload.name)
            start = time.perf_counter()
            try:
                outcomes.append(run(workload, settings, clock, room.name))
                if settings.device.type == "cuda":  # the inputs are still at hand
                    memory.measure(outcomes[-1:], settings)
            except Unavailable as error:
                console.print(f"left out: {workload.name}: {error}", style="yellow", highlight=False)
            except Exception as error:
                if not keep_going:
                    raise
                lacking[workload.name] = first_line(error)
                console.print(f"failed: {workload.name}: {first_line(error)}", style="red", highlight=False)
            else:
                limits.refresh(memory=False)
            if save is not None:
                save(outcomes, lacking | {later.name: NO_TIME for _, later in picked[number + 1 :]})
            progress.advance(task)
            if not console.is_terminal:
                console.print(f"{workload.name}: {time.perf_counter() - start:.1f} s", highlight=False)
    return outcomes, lacking


def _roofs(rooms: Sequence[Room], limits: Limits, caches: dict[str, int], threads: int, device: str) -> dict[str, str]:
    """Measures what the picture needs: name of a memory level -> limit."""
    for room in rooms:
        for ceiling in room.ceilings:
            limits.rate(ceiling)
    far = memory_limit("read", LARGEST_BUFFER if device == "cuda" else max(4 * caches.get("l3", 0), 128 << 20))
    levels = {"memory": far}
    if device == "cpu":
        limits.rate("core_clock")
        levels |= {
            level.upper(): memory_limit("read", caches[level] * (threads if level == "l2" else 1) / 2)
            for level in ("l2", "l3")
            if level in caches
        }
    limits.rate(far.replace("read", "gather"))
    if device == "cuda":
        limits.rate(memory_limit("gather", IN_L2))
    for limit in (*levels.values(), *(limit for room in rooms for limit in room.levels.values())):
        limits.rate(limit)
    return levels


def _bench(options: argparse.Namespace, out: Console, progress: Console) -> int:
    rooms = load_rooms(options.rooms)
    settings = _settings(options)
    picked = chosen(rooms, settings.mode, options.only, settings.device.type)
    if options.list:
        _list(rooms, picked, out)
        return FINE
    if not picked:
        raise _Refused(f"--only: no workload for {settings.device.type} matches {options.only!r}; see --list")
    if not (math.isfinite(options.tolerance) and options.tolerance >= 0):
        raise _Refused(f"--tolerance: expected a number of at least 0, got {options.tolerance:g}")
    _check_outputs(options)
    earlier = compare.read(options.against) if options.against else None
    if settings.keeps_memory:
        allocator.keep_freed_memory()
    use_threads(settings.threads)
    if options.profile:
        profile.run(picked, settings, options.profile, out)
        return FINE
    limits = Limits.of(settings.device, settings.threads, forgiving=options.keep_going)
    described = machine.describe(settings.device, settings.threads)
    levels = _roofs(rooms, limits, described["caches"], settings.threads, settings.device.type)
    if settings.device.type == "cuda":
        # A moment there, and what a failing call leaves of the device may measure nothing.
        for name in sorted({name for _, workload in picked for name in model.names(workload.needs)}):
            limits.rate(name)
    clock: Clock = CudaClock(settings.device) if settings.device.type == "cuda" else HostClock()

    def results(outcomes: Sequence[Outcome], lacking: Mapping[str, str]) -> tuple[Verdicts, dict[str, Any]]:
        apply_limits(outcomes, limits)
        verdicts = judge(outcomes, str(described["features"].get("isa", "")), settings, limits)
        known = limits.known()
        return verdicts, report.record(outcomes, verdicts, known, described, machine.versions(), settings, lacking)

    def save(outcomes: Sequence[Outcome], lacking: Mapping[str, str]) -> None:
        report.write_json(results(outcomes, lacking)[1], options.json)

    outcomes, lacking = _run_all(
        picked,
        settings,
        clock,
        limits,
        progress,
        within=options.within,
        keep_going=options.keep_going,
        save=save if options.json and options.keep_going else None,
    )
    if (options.memory or options.full) and settings.device.type == "cpu":
        memory.measure(outcomes, settings)
    apply_limits(outcomes, limits)
    limits.refresh()
    described["cores_taken_by_others"] = max(described["cores_taken_by_others"], machine.cores_taken_by_others())
    verdicts, data = results(outcomes, lacking)
    out.print(_heading(described, settings), highlight=False)
    for room in rooms:
        report.tables(room, [outcome for outcome in outcomes if outcome.room == room.name], verdicts, out)
    for name, reason in lacking.items():
        out.print(f"not measured: {name}: {reason}", style="yellow", highlight=False, markup=False)
    report.limits_table(limits, out)
    out.print("* given less work and scaled; 'sampled': the answer was checked on that part", style="dim")
    if options.json:
        report.write_json(data, options.json)
        out.print(f"results: {options.json}", highlight=False)
    if options.plot:
        _plot(rooms, data, levels, options.plot, out)
    _warn(described, outcomes, out)
    bad = [row for outcome in outcomes for row in outcome.rows if row.check == WRONG]
    regressed = _compare(earlier, data, options.tolerance, out) if earlier is not None else False
    failed = any(reason != NO_TIME for reason in lacking.values())
    return BAD_RESULT if bad or regressed or failed else FINE


def _warn(described: dict[str, Any], outcomes: Sequence[Outcome], out: Console) -> None:
    """What makes the figures doubtful."""
    taken = described["cores_taken_by_others"]
    if taken > BUSY:
        text = f"other programs kept {taken:.1f} of {described['cores']} cores busy: do not quote these figures"
        out.print(text, style="yellow", highlight=False)
    if any((row.of_limit or 0) > 1.1 for outcome in outcomes for row in outcome.rows):
        text = "a share is above 100%: the machine was busier while its limits were measured, or reads share a line"
        out.print(text, style="yellow", highlight=False)


def _heading(described: dict[str, Any], settings: Settings) -> str:
    where = described["gpu"]["name"] if "gpu" in described else described["cpu"]
    features = described["features"]
    level = features.get("isa") if isinstance(features, dict) else None
    kept = " · freed memory kept" if settings.keeps_memory else ""
    return f"{where} · {settings.threads} threads · {level} · {settings.mode}{kept}\n"


def _plot(rooms: Sequence[Room], data: dict[str, Any], levels: dict[str, str], path: Path, out: Console) -> None:
    try:
        from bench.harness import plot
    except ImportError as error:
        out.print(f"no picture: {error}", style="yellow", highlight=False)
        return
    for room in rooms:
        file = path if len(rooms) == 1 else path.with_stem(f"{path.stem}_{room.name}")
        if plot.roofline(room, data, levels | dict(room.levels), file):
            out.print(f"picture: {file}", highlight=False)


def _compare(earlier: dict[str, Any], data: dict[str, Any], tolerance: float, out: Console) -> bool:
    for difference in compare.differences(earlier, data):
        out.print(f"the runs differ in {difference}", style="yellow", highlight=False)
    found = compare.changes(earlier, data, tolerance)
    compare.table(found, out)
    return any(change.regression for change in found)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    progress = Console(stderr=True)
    out = Console() if sys.stdout.isatty() else Console(width=160)
    try:
        return _bench(options, out, progress)
    except (_Refused, compare.Unreadable, Unavailable) as error:
        text = error.text if isinstance(error, _Refused) else str(error)
        print(f"python -m bench: {text}", file=sys.stderr)
        return BAD_CALL
