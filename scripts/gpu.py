# SPDX-License-Identifier: Apache-2.0
"""Everything there is to see on a machine with a GPU, in one command of under ten minutes: `make gpu OUT=folder`.

Builds the package into the Python that runs this (which must hold a CUDA torch), without network, dependencies or
build isolation; runs every operator, the CUDA tests, the benches, and compute-sanitizer. Each step has a time limit and
a log; a step that fails does not keep the others from running, unless they need it. A sanitizer that the machine
refuses is recorded, not fatal. A room's benches are a step of their own: an error that brings the device down takes one
room's figures with it, not all. What the time did not suffice for can be run again, on the same machine, by `--only`.
Written into the folder: gpu.json and gpu.md, a log a step, tests.xml; bench_ROOM.json and roofline_ROOM.png for each
room; hamming_algorithms.json, reductions.json, sorts.json, attention.json.
Only the standard library is used here.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SANITIZER_FOUND = 99  # the exit code that compute-sanitizer is told to give where it has found an error
PASSED, FAILED, TIMED_OUT, REFUSED, NOT_RUN = "passed", "failed", "timed out", "refused", "not run"
# What the Python here must hold: nothing is downloaded.
NEEDED = {"torch": "torch", "numpy": "numpy", "rich": "rich", "pytest": "pytest", "hypothesis": "hypothesis"}
# Seconds in which each room's benches may begin a workload; the last one may take BENCH_REST beyond.
BENCH_SECONDS = {"hamming": 35, "hashgrid": 45, "lsh": 40, "spgemm": 60}
BENCH_REST = 40
SANITIZER_SECONDS = 100  # that earlier steps leave to the sanitizers
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
NEEDED |= {"scikit_build_core": "scikit-build-core", "pybind11": "pybind11"}

MACHINE = """
import json, torch
properties = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
print(json.dumps({
    "torch": torch.__version__, "torch_cuda": torch.version.cuda,
    "gpu": properties and properties.name, "gpu_memory": properties and properties.total_memory,
    "multiprocessors": properties and properties.multi_processor_count,
    "capability": properties and [properties.major, properties.minor]}))
assert properties is not None, "torch finds no GPU here"
"""


@dataclass
class Step:
    name: str
    command: list[str]
    limit: float  # seconds
    needs: str = ""  # a step that must have passed
    fatal: bool = True
    leaves: float = 0  # seconds of the budget, to those after it
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Result:
    name: str
    status: str
    seconds: float
    code: int | None
    command: list[str]
    log: str
    reason: str = ""


def program(name: str) -> str | None:
    """On the PATH, or where the toolkit puts it."""
    places = [os.environ.get(variable, "") for variable in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
    return shutil.which(name) or next(
        (found for place in places if place and (found := shutil.which(name, path=f"{place}/bin"))), None
    )


def missing() -> list[str]:
    """What this machine lacks, a sentence each."""
    found = [
        f"the Python package {name}" for module, name in NEEDED.items() if importlib.util.find_spec(module) is None
    ]
    if program("nvcc") is None:
        found.append("nvcc")
    found += [
        name for name in ("cmake", "ninja") if shutil.which(name) is None and importlib.util.find_spec(name) is None
    ]
    return found


def architecture() -> str:
    """Of the first card, for CMake: other cards' code would only take time. Empty where nobody tells."""
    question = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    first = (answer.splitlines() or [""])[0].strip().replace(".", "")
    return f"{first}-real" if first.isdigit() else ""


def steps(out: Path) -> list[Step]:
    python = sys.executable
    build = {
        "WARPHASH_CUDA": "ON",
        "WARPHASH_CUDA_ARCHITECTURES": os.environ.get("WARPHASH_CUDA_ARCHITECTURES") or architecture(),
        "PIP_BREAK_SYSTEM_PACKAGES": "1",  # a distribution's Python refuses otherwise
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    install = ["install", "-v", "--no-deps", "--no-build-isolation", "--no-index", "--force-reinstall", "."]
    pytest = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", f"--junitxml={out / 'tests.xml'}"]
    smoke = [python, "scripts/smoke.py", "--device", "cuda"]
    found = [
        Step("machine", [python, "-c", MACHINE], 60),
        Step("driver", ["nvidia-smi"], 20, fatal=False),
        Step("build", [python, "-m", "pip", *install], 240, environment=build),
        Step("info", [python, "-m", "warphash", "info"], 60, needs="build"),
        Step("operators", smoke, 60, needs="build"),
        Step("tests", [python, "-m", "pytest", "-m", "cuda and not big", *pytest, "tests"], 150, needs="build"),
    ]
    for room, room_seconds in BENCH_SECONDS.items():
        files = ["--json", str(out / f"bench_{room}.json"), "--plot", str(out / f"roofline_{room}.png")]
        bench = ["-m", "bench", room, "--device", "cuda", "--keep-going", "--within", str(room_seconds), *files]
        found.append(Step(f"bench_{room}", [python, *bench], room_seconds + BENCH_REST, needs="build"))
    for name, script, limit in (
        ("algorithms", "time_hamming_algorithms", 45),
        ("reductions", "time_reductions", 20),
        ("sorts", "time_sorts", 40),
        ("attention", "time_attention", 40),
    ):
        file = out / f"{script.removeprefix('time_')}.json"
        timed = [python, f"scripts/{script}.py", "--json", str(file)]
        found.append(Step(name, timed, limit, needs="operators", fatal=False, leaves=SANITIZER_SECONDS))
    for tool in SANITIZERS:
        checker = [program("compute-sanitizer") or "compute-sanitizer", "--tool", tool]
        checker += ["--error-exitcode", str(SANITIZER_FOUND)]
        # Without torch's cache of memory each tensor is an allocation, whose ends memcheck sees.
        plain = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        found.append(Step(tool, [*checker, *smoke], 90, needs="operators", fatal=False, environment=plain))
    return found


def judged(step: Step, code: int) -> str:
    if code == 0:
        return PASSED
    if code == SANITIZER_FOUND or step.fatal:
        return FAILED
    return REFUSED


def run(step: Step, seconds: float, log: Path) -> Result:
    """Runs one step with all its processes within the seconds."""
    started = time.monotonic()
    code: int | None = None
    with log.open("w") as output:
        output.write(f"$ {' '.join(step.command)}\n")
        output.flush()
        try:
            process = subprocess.Popen(
                step.command,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **step.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            output.write(f"{error}\n")
            status = FAILED if step.fatal else REFUSED
        else:
            try:
                code = process.wait(seconds)
                status = judged(step, code)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                status = TIMED_OUT
    lines = log.read_text(errors="replace").strip().splitlines()
    reason = "" if status == PASSED else f"after {seconds:.0f} s" if status == TIMED_OUT else lines[-1][:200]
    return Result(step.name, status, time.monotonic() - started, code, step.command, log.name, reason)


def run_all(todo: Sequence[Step], out: Path, budget: float) -> list[Result]:
    """All steps within the budget; what is still to do when it is spent is not run."""
    end = time.monotonic() + budget
    results: list[Result] = []
    for number, step in enumerate(todo):
        log = out / f"{number:02}_{step.name}.log"
        left = end - time.monotonic() - step.leaves
        needed = next((result for result in results if result.name == step.needs), None)
        if needed is not None and needed.status != PASSED:
            result = Result(step.name, NOT_RUN, 0.0, None, step.command, "", f"{step.needs}: {needed.status}")
        elif left < 5:
            result = Result(step.name, NOT_RUN, 0.0, None, step.command, "", "no time left")
        else:
            print(f"{step.name} …", flush=True)
            result = run(step, min(step.limit, left), log)
        results.append(result)
        print(f"{result.name}: {result.status}, {result.seconds:.0f} s {result.reason}".rstrip(), flush=True)
    return results


def machine(out: Path) -> Mapping[str, object]:
    """What the first step has printed about torch and GPU, beside what this process knows."""
    known: dict[str, object] = {"python": platform.python_version(), "system": platform.platform()}
    for log in out.glob("00_machine.log"):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                known |= json.loads(line)
    return known


def fatal(results: Sequence[Result], todo: Sequence[Step]) -> bool:
    """A step that matters did not pass, or a sanitizer has found an error."""
    must = {step.name for step in todo if step.fatal}
    return any(result.status == FAILED or (result.name in must and result.status != PASSED) for result in results)


def write(results: Sequence[Result], out: Path) -> None:
    known = machine(out)
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    data = {"date": date, "machine": known, "steps": [asdict(result) for result in results]}
    (out / "gpu.json").write_text(json.dumps(data, indent=1) + "\n")
    lines = [f"{known.get('gpu', 'no GPU')}, torch {known.get('torch', '?')}, {date}", ""]
    lines += ["| step | result | seconds | |", "|---|---|---|---|"]
    lines += [f"| {r.name} | {r.status} | {r.seconds:.0f} | {r.reason.replace('|', '/')} |" for r in results]
    (out / "gpu.md").write_text("\n".join(lines) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--seconds", type=float, default=570, help="for all steps together (default 570)")
    parser.add_argument(
        "--dry-run", action="store_true", help="show the steps and what this machine lacks, run nothing"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="STEP", help="these steps alone, for which what they need was done before"
    )
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    todo = steps(out)
    if options.only:
        unknown = set(options.only) - {step.name for step in todo}
        if unknown:
            parser.error(f"--only: no step {min(unknown)}; there are {', '.join(step.name for step in todo)}")
        todo = [step for step in todo if step.name in options.only]
    lacks = missing()
    if options.dry_run:
        for step in todo:
            print(f"{step.name} (at most {step.limit:.0f} s): {' '.join(step.command)}")
        print(f"this machine lacks: {', '.join(lacks) or 'nothing'}")
        return 0
    if lacks:
        print(f"make gpu installs nothing but warphash, and {sys.executable} lacks {', '.join(lacks)}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    results = run_all(todo, out, options.seconds)
    write(results, out)
    print((out / "gpu.md").read_text())
    return 1 if fatal(results, todo) else 0


if __name__ == "__main__":
    sys.exit(main())
