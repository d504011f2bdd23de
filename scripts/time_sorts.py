#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bucket_sort beside CUB's radix sort (cub_sort.cu, compiled here) and torch's stable sort; needs a CUDA device.

CUB sorts all tables at once by the bits of table and code, with 32-bit indices beside them: its time is for the order
alone. bucket_sort also writes the inverse order and the offsets, all of 64 bits.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch
import warphash
from gpu_timing import median_seconds
from rich.console import Console
from rich.table import Table

SOURCE = Path(__file__).with_name("cub_sort.cu")


def compiled(folder: Path) -> Path | None:
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        return None
    major, minor = torch.cuda.get_device_capability()
    program = folder / "cub_sort"
    subprocess.run([nvcc, "-std=c++20", "-O3", f"-arch=sm_{major}{minor}", str(SOURCE), "-o", str(program)], check=True)
    return program


def cub_seconds(program: Path, tables: int, items: int, bits: int, repeats: int) -> float:
    sizes = map(str, (tables, items, bits, repeats))
    done = subprocess.run([str(program), *sizes], check=True, capture_output=True, text=True)
    return statistics.median(float(line) * 1e-3 for line in done.stdout.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 12, 16, 22])
    parser.add_argument("--tables", type=int, default=8)
    parser.add_argument("--items", type=int, default=1 << 20)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = Table(
        "bits", "bucket_sort", "CUB", "torch", title=f"µs for {options.tables} x {options.items}, not flushed"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(Path(folder))
        for bits in options.bits:
            codes = torch.randint(0, 1 << bits, (options.tables, options.items), dtype=torch.int32, device="cuda")
            found = {
                "bucket_sort": median_seconds(
                    lambda c=codes, b=bits: warphash.lsh.bucket_sort(c, 1 << b), options.repeats
                ),
                "cub": None
                if program is None
                else cub_seconds(program, options.tables, options.items, bits, options.repeats),
                "torch": median_seconds(lambda c=codes: c.sort(dim=-1, stable=True), options.repeats),
            }
            rows.append({"bits": bits, "seconds": found})
            table.add_row(str(bits), *("-" if s is None else f"{s * 1e6:.0f}" for s in found.values()))
    Console().print(torch.cuda.get_device_name(), table)
    if options.json:
        options.json.write_text(json.dumps({"device": torch.cuda.get_device_name(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
