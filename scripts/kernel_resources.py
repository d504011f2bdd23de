# SPDX-License-Identifier: Apache-2.0
"""Registers, stack and spills of every CUDA kernel, as ptxas reports them; no GPU is needed.

Exit code 1 where a kernel spills: its loop then waits for local memory, which no test of its answers shows.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["-std=c++20", "--expt-relaxed-constexpr", "-Xptxas=-v", "-Icsrc", "-cubin"]


@dataclass(frozen=True)
class Kernel:
    file: str
    target: str
    name: str
    registers: int
    shared_bytes: int
    stack_bytes: int
    spill_bytes: int


def nvcc() -> str:
    found = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if found is None:
        raise SystemExit("kernel_resources.py: there is no nvcc on the PATH")
    return found


def targets(source: Path) -> Sequence[str]:
    return ("sm_90a",) if source.stem.endswith("_sm90a") else ("sm_80", "sm_90")


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def parse(report: str, file: str, target: str) -> Iterator[Kernel]:
    """The kernels in what ptxas wrote about one file and one target."""
    for part in re.split(r"Compiling entry function '", report)[1:]:
        name, _, rest = part.partition("'")
        # Functions that were not inlined have lines of their own, above their kernel's "Used".
        yield Kernel(
            file=file,
            target=target,
            name=name,
            registers=_number(r"Used (\d+) registers", rest),
            shared_bytes=_number(r"(\d+) bytes smem", rest),
            stack_bytes=max(map(int, re.findall(r"(\d+) bytes stack frame", rest)), default=0),
            spill_bytes=sum(map(int, re.findall(r"(\d+) bytes spill", rest))),
        )


def compiled(source: Path, target: str) -> list[Kernel]:
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc(), *FLAGS, f"-arch={target}", str(source), "-o", f"{folder}/kernel.cubin"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return list(parse(done.stdout + done.stderr, source.relative_to(ROOT / "csrc").as_posix(), target))


def demangled(names: Sequence[str]) -> list[str]:
    """Without namespaces and arguments, which say nothing in a table."""
    tool = shutil.which("c++filt")
    if tool is None:
        return list(names)
    text = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    plain = re.sub(r"\(anonymous namespace\)::|warphash::|\bvoid |\((?:\w+::)*\w+\)(?=\d)", "", text)
    return [re.sub(r"\(.*", "", line) for line in plain.splitlines()]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    options.add_argument("--all", action="store_true", help="a line for each template variant, not the worst of them")
    arguments = options.parse_args()
    sources = sorted((ROOT / "csrc").rglob("*.cu"))
    jobs = [(source, target) for source in sources for target in targets(source)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        kernels = [kernel for found in pool.map(lambda job: compiled(*job), jobs) for kernel in found]
    table = Table("file", "kernel", "target", box=None)
    for heading in ("variants", "registers", "shared", "stack", "spills"):
        table.add_column(heading, justify="right")
    groups: dict[tuple[str, str, str], list[Kernel]] = {}
    for kernel, name in zip(kernels, demangled([kernel.name for kernel in kernels]), strict=True):
        groups.setdefault((kernel.file, name if arguments.all else name.partition("<")[0], kernel.target), []).append(
            kernel
        )
    for key, members in groups.items():
        worst = [
            max(getattr(kernel, field) for kernel in members)
            for field in ("registers", "shared_bytes", "stack_bytes", "spill_bytes")
        ]
        table.add_row(*key, str(len(members)), *map(str, worst), style="bold red" if worst[-1] else "")
    Console(width=160).print(table)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps([asdict(kernel) for kernel in kernels], indent=1) + "\n")
    spilling = sum(kernel.spill_bytes > 0 for kernel in kernels)
    print(f"{len(kernels)} kernels of {len(sources)} files, {spilling} with spills")
    return 1 if spilling else 0


if __name__ == "__main__":
    sys.exit(main())
