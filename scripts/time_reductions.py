#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast rows of a hash grid's gradient are added to by each instruction, over sizes of a level; needs a CUDA device.

Two floats by two instructions, by one (red.v2.f32), neighbouring rows together (red.v4.f32), and two float16
(red.f16x2), as tiny-cuda-nn adds them. From the table: whether float32 gradients cost anything beside half ones, and
whether pairing neighbours in csrc/hashgrid/scatter.cu is worth its test.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from warphash import _C_cuda

# How many rows of two features an addition is for, and the bytes of such a row.
ADDITIONS = {"single": (1, 8), "pair": (1, 8), "quad": (2, 8), "halves": (1, 4)}
CORNERS = 128  # of a point: 16 levels of 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log2-rows", type=int, nargs="*", default=[12, 14, 16, 19, 21, 24], help="rows of a level")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = Table(
        "log2 rows", *ADDITIONS, "best, 10⁹ points of 128 corners", title="10⁹ rows of two features added to a second"
    )
    rows = []
    for log2_rows in options.log2_rows:
        rates = {
            name: each * _C_cuda.row_update_rate((1 << log2_rows) * width, name)
            for name, (each, width) in ADDITIONS.items()
        }
        rows.append({"log2_rows": log2_rows, "rows_a_second": rates})
        best = max(rates, key=lambda name: rates[name])
        shown = [f"{rate * 1e-9:.3g}" for rate in rates.values()]
        table.add_row(str(log2_rows), *shown, f"{best}: {rates[best] * 1e-9 / CORNERS:.3g}")
    Console().print(torch.cuda.get_device_name(), table)
    if options.json:
        options.json.write_text(json.dumps({"device": torch.cuda.get_device_name(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
