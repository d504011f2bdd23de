#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times every algorithm of the CUDA Hamming top-k beside the device's own limits; needs a CUDA device.

The thresholds in csrc/hamming/topk.cu are to be set from this table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from gpu_timing import median_seconds
from rich.console import Console
from rich.table import Table
from warphash import _C_cuda

ALGORITHMS = ("stream", "tile", "mma_b1", "mma_s8", "wgmma_b1", "wgmma_s8")


def pairs_a_second(algorithm: str, queries: torch.Tensor, database: torch.Tensor, k: int, repeats: int) -> float | None:
    """None where the device or the width is not served."""
    values = torch.empty(len(queries), k, dtype=torch.int32, device="cuda")
    indices = torch.empty(len(queries), k, dtype=torch.int64, device="cuda")
    sizes = (queries.data_ptr(), len(queries), database.data_ptr(), len(database), database.shape[1])
    stream = torch.cuda.current_stream().cuda_stream

    def call() -> None:
        _C_cuda.hamming_topk("distance", algorithm, *sizes, k, values.data_ptr(), indices.data_ptr(), stream)

    try:
        return len(queries) * len(database) / median_seconds(call, repeats)
    except RuntimeError as error:
        if "not supported" in str(error):
            return None
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, nargs="*", default=[64, 256, 1024])
    parser.add_argument("--queries", type=int, nargs="*", default=[1, 4, 8, 32, 64, 128, 1000])
    parser.add_argument("--codes", type=int, default=16 << 20)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    limits = {
        "copy_bandwidth": _C_cuda.copy_bandwidth(),
        "popc_rate": _C_cuda.popc_rate(),
        "mma_b1_rate": _C_cuda.mma_b1_rate(),
        "mma_s8_rate": _C_cuda.mma_s8_rate(),
    }
    console = Console()
    console.print(torch.cuda.get_device_name(), {name: f"{value:.3g} /s" for name, value in limits.items()})
    table = Table(
        "bits", "queries", *ALGORITHMS, "fastest", title=f"10⁹ pairs a second, N = {options.codes}, k = {options.k}"
    )
    rows = []
    for bits in options.bits:
        database = torch.randint(0, 256, (options.codes, bits // 8), dtype=torch.uint8, device="cuda")
        for count in options.queries:
            queries = torch.randint(0, 256, (count, bits // 8), dtype=torch.uint8, device="cuda")
            rates = {
                name: rate
                for name in ALGORITHMS
                if not (name == "stream" and count > 64)  # no contest, and slow
                if (rate := pairs_a_second(name, queries, database, options.k, options.repeats)) is not None
            }
            rows.append({"bits": bits, "queries": count, "pairs_a_second": rates})
            shown = [f"{rates[name] * 1e-9:.0f}" if name in rates else "-" for name in ALGORITHMS]
            table.add_row(str(bits), str(count), *shown, max(rates, key=lambda name: rates[name]))
    console.print(table)
    if options.json:
        device = torch.cuda.get_device_name()
        options.json.write_text(json.dumps({"device": device, "limits": limits, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
