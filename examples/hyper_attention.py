# SPDX-License-Identifier: Apache-2.0
"""Attention over long sequences by hashing: how far it is from the exact answer, and from which length on it is
faster.

Four kinds of queries and keys, from diffuse to one heavy key a query, are attended to exactly, by HyperAttention, and
by the same estimate with blocks in random order, which shows what the hashes are good for. Then both are timed against
`scaled_dot_product_attention` over the length, with and without a causal mask, forward and forward with backward.

    python examples/hyper_attention.py --out hyper_attention.png
    python examples/hyper_attention.py --longest 131072 --device cuda --heads 32 --dtype bfloat16
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import warphash as wh
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor
from torch.nn import functional

KINDS = {"half": "diffuse", "normal": "normal", "clusters": "32 clusters", "pairs": "one heavy key a query"}
SAMPLES = (64, 128, 256, 512)
CASES = {
    "forward": (False, False), "forward and backward": (False, True),
    "causal, forward": (True, False), "causal, forward and backward": (True, True),
}  # fmt: skip
HASHED, CHANCE, EXACT = "#e4572e", "#7d8590", "#2a6fbb"
DIM = 64
Errors = dict[str, list[tuple[float, float]]]  # by kind of input, one pair for each number of samples
Times = dict[int, dict[str, tuple[float, float]]]  # by length and case: ours, torch's


def make_inputs(kind: str, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [length, dim]. Values have a mean, as those of trained layers do."""
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(length, DIM, generator=generator) for _ in range(3))
    v = v + 0.5
    if kind == "half":
        return q / 2, k / 2, v
    if kind == "clusters":
        centres = 3 * torch.randn(32, DIM, generator=generator)
        which = torch.randint(32, (2, length), generator=generator)
        return (q + centres[which[0]]) / 2, (k + centres[which[1]]) / 2, v
    if kind == "pairs":
        k = 1.5 * k
        return k[torch.randperm(length, generator=generator)] + 0.1 * q, k, v
    return q, k, v


@torch.no_grad()
def errors(kind: str, length: int, samples: int) -> tuple[float, float]:
    """Frobenius norm of the error over that of the exact answer: by hashes, and by blocks in random order."""
    q, k, v = make_inputs(kind, length)
    exact = functional.scaled_dot_product_attention(q, k, v)
    shuffled = torch.randperm(length, generator=torch.Generator().manual_seed(2))
    found = []
    for planes, order in ((7, torch.arange(length)), (0, shuffled)):
        layer = wh.nn.HyperAttention(DIM, num_projections=planes, sample_size=samples)
        out = layer(q[None, None], k[None, None, order], v[None, None, order])[0, 0]
        found.append(((out - exact).norm() / exact.norm()).item())
    return found[0], found[1]


def seconds(call: Callable[[], object], device: torch.device, budget: float) -> float:
    """The least of a few calls, after one to warm up."""
    times: list[float] = []
    for turn in range(4):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took = time.perf_counter() - start
        if turn or took > budget:
            times.append(took)
        if took > budget:
            break
    return min(times)


def timings(
    length: int, heads: int, device: torch.device, dtype: torch.dtype, budget: float
) -> dict[str, tuple[float, float]]:
    """Seconds of HyperAttention and of torch's, by case."""
    layer = wh.nn.HyperAttention(DIM).to(device)
    q, k, v = (torch.randn(1, heads, length, DIM, device=device, dtype=dtype) for _ in range(3))
    upper = torch.randn_like(q)
    found = {}
    for case, (causal, backward) in CASES.items():
        inputs = [x.detach().requires_grad_(backward) for x in (q, k, v)]
        ways = (
            lambda x=inputs, c=causal: layer(*x, causal=c),
            lambda x=inputs, c=causal: functional.scaled_dot_product_attention(*x, is_causal=c),
        )
        times = []
        for way in ways:
            call = way if not backward else (lambda w=way, x=inputs: torch.autograd.grad(w(), x, upper))
            times.append(seconds(call, device, budget))
        found[case] = (times[0], times[1])
    return found


def crossover(times: Times, case: str) -> str:
    """The first measured length from which HyperAttention stays ahead."""
    ahead = [length for length in times if times[length][case][0] <= times[length][case][1]]
    behind = [length for length in times if length not in ahead]
    stays = [length for length in ahead if not behind or length > max(behind)]
    return f"{min(stays):,}" if stays else "beyond"


def show(found: Errors, times: Times) -> None:
    table = Table(title="relative error, by hashes / by blocks in random order")
    table.add_column("input")
    for samples in SAMPLES:
        table.add_column(f"M = {samples}", justify="right")
    for kind, row in found.items():
        table.add_row(KINDS[kind], *(f"{hashed:.3f} / {chance:.3f}" for hashed, chance in row))
    Console().print(table)
    table = Table(title="time of torch's attention over ours")
    table.add_column("length", justify="right")
    for case in CASES:
        table.add_column(case, justify="right")
    for length, row in times.items():
        cells = (f"{row[case][1] / row[case][0]:.2f} ({1e3 * row[case][0]:,.0f} ms)" for case in CASES)
        table.add_row(f"{length:,}", *cells)
    table.add_row("ahead from", *(crossover(times, case) for case in CASES))
    Console().print(table)


def draw(path: Path, found: Errors, times: Times) -> None:
    """Errors over the number of samples above, times over the length below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(2, 4, figsize=(15, 7.4), facecolor="white")
    for axes, (kind, row) in zip(rows[0], found.items(), strict=True):
        for place, (colour, name) in enumerate(((HASHED, "hashes"), (CHANCE, "random order"))):
            axes.plot(SAMPLES, [pair[place] for pair in row], color=colour, marker="o", markersize=4, label=name)
        axes.set_title(KINDS[kind], fontsize=11)
        axes.set(xscale="log", xlabel="sampled keys", ylim=(0, None))
        axes.set_xticks(SAMPLES, list(map(str, SAMPLES)))
    rows[0, 0].set_ylabel("error relative to the answer")
    rows[0, 0].legend(frameon=False, fontsize=9)
    lengths = list(times)
    for axes, case in zip(rows[1], CASES, strict=True):
        for place, (colour, name) in enumerate(((HASHED, "HyperAttention"), (EXACT, "exact, torch"))):
            values = [1e3 * times[length][case][place] for length in lengths]
            axes.plot(lengths, values, color=colour, marker="o", markersize=4, label=name)
        axes.set_title(case, fontsize=11)
        axes.set(xscale="log", yscale="log", xlabel="tokens")
        axes.set_xticks(lengths, [f"{length // 1024}k" for length in lengths])
    rows[1, 0].set_ylabel("ms")
    rows[1, 0].legend(frameon=False, fontsize=9)
    for axes in rows.flatten():
        axes.minorticks_off()
        axes.grid(alpha=0.25)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
    figure.suptitle("Attention by hashing: its error and its time", x=0.02, ha="left", weight="bold", fontsize=14)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main(
    arguments: list[str] | None = None,
) -> tuple[Errors, Times]:
    """Returns errors by kind and number of samples, and seconds by length and case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longest", type=int, default=32768, help="tokens; lengths double from 1024 to this")
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--quick", action="store_true", help="errors of 1024 tokens, times up to 2048")
    parser.add_argument("--out", type=Path, default=Path("hyper_attention.png"), help="the picture")
    options = parser.parse_args(arguments)
    if options.longest < 1024:
        parser.error("--longest must be at least 1024")
    if options.heads < 1:
        parser.error("--heads must be at least 1")
    if options.quick:
        options.longest = min(options.longest, 2048)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    lengths = [1 << bits for bits in range(10, int(math.log2(options.longest)) + 1)]
    torch.manual_seed(0)
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        found = {
            kind: [errors(kind, 1024 if options.quick else 4096, samples) for samples in SAMPLES]
            for kind in progress.track(list(KINDS), description="error")
        }
        times = {
            length: timings(length, options.heads, device, dtype, 0.5)
            for length in progress.track(lengths, description="time")
        }
    draw(options.out, found, times)
    show(found, times)
    print(f"picture: {options.out}", file=sys.stderr)
    return found, times


if __name__ == "__main__":
    main()
