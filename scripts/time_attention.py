#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HyperAttention, forward and backward, beside torch's scaled_dot_product_attention; needs a CUDA device by default.

The paper reports 5 times the speed of FlashAttention at 131072 rows, causal, on another card and another kernel: what
comes out here stands beside that, whatever it is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.functional import scaled_dot_product_attention
from warphash.nn import HyperAttention

Attention = Callable[..., torch.Tensor]


def seconds(call: Callable[[], Any], device: str, repeats: int) -> float:
    """The fastest of some, after one that warms up; everything that was asked for is done by the end of each."""

    def timed() -> float:
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    timed()
    return min(timed() for _ in range(repeats))


def timed(forward: Attention, inputs: list[torch.Tensor], backward: bool, device: str, repeats: int) -> float | None:
    """None where memory does not suffice."""
    above = torch.randn_like(inputs[0])

    def call() -> None:
        if backward:
            torch.autograd.grad(forward(*inputs), inputs, above)
            return
        with torch.no_grad():
            forward(*inputs)

    try:
        return seconds(call, device, repeats)
    except torch.OutOfMemoryError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="*", default=[32768, 131072])
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = options.device
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    attention = HyperAttention(options.dim).to(device)
    ways: dict[str, Attention] = {
        "ours": lambda *x: attention(*x, causal=True),
        "sdpa": lambda *x: scaled_dot_product_attention(*x, is_causal=True),
    }
    table = Table("rows", "what", "HyperAttention", "SDPA", "SDPA / HyperAttention", title="ms, causal")
    rows = []
    for length in options.lengths:
        shape = (1, options.heads, length, options.dim)
        inputs = [torch.randn(shape, dtype=dtype, device=device, requires_grad=True) for _ in range(3)]
        for backward in (False, True):
            what = "forward and backward" if backward else "forward"
            found = {way: timed(call, inputs, backward, device, options.repeats) for way, call in ways.items()}
            rows.append({"rows": length, "what": what, "seconds": found})
            cells = ["no memory" if time is None else f"{time * 1e3:.1f}" for time in found.values()]
            ours, sdpa = found.values()
            table.add_row(str(length), what, *cells, f"{sdpa / ours:.2f}" if ours and sdpa else "-")
    Console().print(name, table)
    if options.json:
        options.json.write_text(json.dumps({"device": name, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
