# SPDX-License-Identifier: Apache-2.0
"""Contestants for the hash encoding: torch eager and compiled, and Numba, all reading the same table in large pages.

No kernel of a hash encoding with derivatives in torch can be installed by pip: tiny-cuda-nn is compiled from source and
runs on CUDA alone; Dr.Jit has the encoding outside of torch's autograd, and on the CPU needs a libLLVM of the system's.
Slow peers get fewer points, so that a call takes what the settings allow; their time is then scaled, and flagged. Their
rough speeds here only choose how much they get.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from bench.harness.workload import FULL, NAMED, Contestant, Prepared, Settings, Unavailable
from bench.hashgrid_inputs import PRIMES, Encoding
from bench.hashgrid_numba import numba_backward, numba_encode, numba_train
from bench.hashgrid_ours import as_arrays, eikonal_step, second_derivative


@dataclass(frozen=True)
class Sample:
    """The part of a problem that a peer gets, and that part's share of the points."""

    problem: Encoding
    inputs: Encoding | None
    share: float


def sample(problem: Encoding, settings: Settings, points_per_second: float, least: int = 16) -> Sample:
    """As many points as fit the time of one call, at this speed for 16 levels of 8 corners; at least one in `least`.

    Writing a table costs the same for few points: who does that gets no small part, lest scaling make it slower.
    """
    rate = points_per_second * 128 * problem.count / problem.shape.corner_reads
    if settings.device.type == "cuda":
        rate *= 100
    count = max(int(settings.seconds_per_call * rate), problem.count // least) // 4096 * 4096
    if count >= problem.count or count == 0:
        return Sample(problem, None, 1.0)
    return Sample(problem.part(count), problem.part(count), count / problem.count)


def _prepared(part: Sample, call: Callable[[], Any], note: str) -> Prepared:
    return Prepared(call, as_arrays, part.inputs, part.share, note)


# ---- torch -----------------------------------------------------------------------------------------------


def _signed(word: int) -> int:
    """The int32 of the same 32 bits."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >= 1 << 31 else word


def corners(problem: Encoding, level: int, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Rows (int32 [n]) and weights ([n]) of the corners of a level's cells, by 32-bit arithmetic as plain torch can."""
    spec = problem.spec
    rows, dims = spec.level_rows[level], spec.dims
    hashed = spec.is_hashed(level)
    place = x * spec.scales[level][0] + 0.5
    cell = place.floor()
    upper = place - cell
    lower = 1 - upper
    vertex = cell.to(torch.int32)
    resolution = spec.resolutions[level]
    multipliers = [_signed(PRIMES[axis] if hashed else resolution**axis) for axis in range(dims)]
    combine = torch.bitwise_xor if hashed else torch.add
    low = [vertex[:, axis] * multipliers[axis] for axis in range(dims)]
    high = [value + multipliers[axis] for axis, value in enumerate(low)]
    index, weight = [low[0], high[0]], [lower[:, 0], upper[:, 0]]
    for axis in range(1, dims):
        index = [combine(value, one) for one in (low[axis], high[axis]) for value in index]
        weight = [value * one for one in (lower[:, axis], upper[:, axis]) for value in weight]
    # Points lie in [0, 1]: a dense row passes the end of its level by less than the level's length.
    wrapped = [value & (rows - 1) if hashed else torch.where(value >= rows, value - rows, value) for value in index]
    return wrapped, weight


LevelSum = Callable[[torch.Tensor, list[torch.Tensor], list[torch.Tensor]], torch.Tensor]


def sum_by_bag(table: torch.Tensor, rows: list[torch.Tensor], weights: list[torch.Tensor]) -> torch.Tensor:
    """One call that gathers and sums."""
    weight = torch.stack(weights, 1).to(table.dtype)
    return F.embedding_bag(torch.stack(rows, 1), table, per_sample_weights=weight, mode="sum")


def sum_by_select(table: torch.Tensor, rows: list[torch.Tensor], weights: list[torch.Tensor]) -> torch.Tensor:
    """All corners gathered by one index_select, then weighted and summed."""
    count = len(rows)
    found = table.index_select(0, torch.stack(rows, 1).view(-1)).view(-1, count, table.shape[1])
    return (found.to(weights[0].dtype) * torch.stack(weights, 1).unsqueeze(-1)).sum(1).to(table.dtype)


def sum_by_corner(table: torch.Tensor, rows: list[torch.Tensor], weights: list[torch.Tensor]) -> torch.Tensor:
    """Corner by corner: for a compiler, which makes one loop of it."""
    return sum(table[row].float() * weight.unsqueeze(1) for row, weight in zip(rows, weights, strict=True)).to(
        table.dtype
    )


def encode(problem: Encoding, way: LevelSum, x: torch.Tensor, tables: Sequence[torch.Tensor]) -> torch.Tensor:
    """tables: one a level, so that each gradient is only as large as its level. Levels of weight zero are skipped."""
    active = problem.shape.active
    nothing = x.new_zeros(len(x), problem.shape.features, dtype=tables[0].dtype)
    parts = [
        way(tables[level], *corners(problem, level, x)) if level in active else nothing for level in range(len(tables))
    ]
    return torch.cat(parts, 1)


WAYS = {"embedding_bag": sum_by_bag, "index_select": sum_by_select}
FASTER = "the faster of embedding_bag and index_select"


def _seconds(call: Callable[[], Any], device: torch.device) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    call()
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def _best(make: Callable[[Encoding, LevelSum], Callable[[], Any]], problem: Encoding) -> Callable[[], Any]:
    """The call by the way that is fastest on a part of the points."""
    few = problem.part(max(1, problem.count // 4))
    times = {}
    for name, way in WAYS.items():
        try:
            times[name] = _seconds(make(few, way), problem.x.device)
        except (RuntimeError, NotImplementedError):  # a dtype that one of them does not know
            continue
    if not times:
        raise Unavailable("no way of torch works for this dtype")
    return make(problem, WAYS[min(times, key=times.__getitem__)])


def eager_encode(problem: Encoding, settings: Settings) -> Prepared:
    part = sample(problem, settings, 6e5 * settings.threads)
    tables = part.problem.level_tables()
    call = _best(lambda problem, way: partial(encode, problem, way, problem.x, tables), part.problem)
    return _prepared(part, call, f"level by level, {FASTER}")


def compiled_encode(problem: Encoding, settings: Settings) -> Prepared:
    """Compiled for these very sizes, before the timing."""
    part = sample(problem, settings, 4e6 * settings.threads)
    tables = part.problem.level_tables()
    compiled = torch.compile(partial(encode, part.problem, sum_by_corner), dynamic=False)

    @torch.no_grad()
    def call() -> torch.Tensor:
        return compiled(part.problem.x, tables)

    return _prepared(part, call, "all levels in one graph; compile time not counted")


def _leaves(problem: Encoding) -> list[torch.Tensor]:
    return [table.detach().requires_grad_() for table in problem.level_tables()]


def eager_backward(problem: Encoding, settings: Settings) -> Prepared:
    """The graph is built once; what is timed is going back through it."""
    part = sample(problem, settings, 1e5 * settings.threads, least=4)

    def graph(problem: Encoding, way: LevelSum) -> Callable[[], torch.Tensor]:
        tables = _leaves(problem)
        encoded = encode(problem, way, problem.x, tables)
        return lambda: torch.cat(torch.autograd.grad(encoded, tables, problem.gradient, retain_graph=True))

    return _prepared(part, _best(graph, part.problem), f"autograd, a gradient a level, {FASTER}")


def _train(problem: Encoding, forward: Callable[..., torch.Tensor], with_x: bool) -> Any:
    x = problem.x.detach().requires_grad_() if with_x else problem.x
    tables = _leaves(problem)
    encoded = forward(x, tables)
    found = torch.autograd.grad(encoded, [*([x] if with_x else []), *tables], problem.gradient)
    return (encoded, *found[:1], torch.cat(found[1:])) if with_x else (encoded, torch.cat(found))


def eager_train(problem: Encoding, settings: Settings, with_x: bool) -> Prepared:
    part = sample(problem, settings, 8e4 * settings.threads, least=4)
    call = _best(lambda few, way: partial(_train, few, partial(encode, few, way), with_x), part.problem)
    return _prepared(part, call, f"autograd, a gradient a level, {FASTER}")


def compiled_train(problem: Encoding, settings: Settings, with_x: bool) -> Prepared:
    part = sample(problem, settings, 1e5 * settings.threads, least=4)
    compiled = torch.compile(partial(encode, part.problem, sum_by_corner), dynamic=False)
    call = partial(_train, part.problem, compiled, with_x)
    return _prepared(part, call, "all levels in one graph; compile time not counted")


def eager_eikonal(problem: Encoding, settings: Settings) -> Prepared:
    """embedding_bag has no second derivative, and neither has torch.compile."""
    part = sample(problem, settings, 3e4 * settings.threads)
    forward = partial(encode, part.problem, sum_by_select)

    def call() -> Any:
        of_x, of_head, *of_tables = eikonal_step(
            forward, part.problem.x, part.problem.level_tables(), part.problem.head
        )
        return of_x, of_head, torch.cat(of_tables)

    return _prepared(part, call, "autograd twice, index_select")


def eager_double_backward(problem: Encoding, settings: Settings) -> Prepared:
    """embedding_bag has no second derivative, and neither has torch.compile."""
    part = sample(problem, settings, 3e4 * settings.threads)
    forward = partial(encode, part.problem, sum_by_select)
    back = second_derivative(forward, part.problem, part.problem.level_tables())

    def call() -> Any:
        of_x, of_gradient, *of_tables = back()
        return of_x, of_gradient, torch.cat(of_tables)

    return _prepared(part, call, "autograd, index_select; the first derivative made before")


# ---- who takes part --------------------------------------------------------------------------------------

BOTH = ("cpu", "cuda")
EAGER = "torch eager"
COMPILED = "torch.compile"


def encode_peers(compiled_modes: tuple[str, ...], compiled_devices: tuple[str, ...]) -> tuple[Contestant, ...]:
    return (
        Contestant("Numba", numba_encode),
        Contestant(EAGER, eager_encode, devices=BOTH, baseline=True),
        Contestant(COMPILED, compiled_encode, devices=compiled_devices, modes=compiled_modes),
    )


def train_peers(with_x: bool) -> tuple[Contestant, ...]:
    return (
        *(() if with_x else (Contestant("Numba", numba_train),)),
        Contestant(EAGER, partial(eager_train, with_x=with_x), devices=BOTH, baseline=True),
        Contestant(COMPILED, partial(compiled_train, with_x=with_x), devices=BOTH, modes=(FULL, NAMED)),
    )


BACKWARD_PEERS = (
    Contestant("Numba", numba_backward),
    Contestant(EAGER, eager_backward, devices=BOTH, baseline=True),
)
DOUBLE_BACKWARD_PEERS = (Contestant(EAGER, eager_double_backward, devices=BOTH, baseline=True),)
EIKONAL_PEERS = (Contestant(EAGER, eager_eikonal, devices=BOTH, baseline=True),)
