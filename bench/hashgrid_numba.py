# SPDX-License-Identifier: Apache-2.0
"""Numba as a contestant for the hash encoding: parallel loops, arranged so that its compiler can use vectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from bench.harness.workload import Prepared, Settings, Unavailable
from bench.hashgrid_inputs import PRIMES, Encoding, large_pages

# Points of which the corners are found at a time: their arrays stay in the L1 cache.
PIECE = 128
# Points of a task of the encoding, all levels of which are done before the next task.
TASK = 16 * PIECE
NOTE = "compiled by Numba, parallel; results into a kept array"


def geometry(problem: Encoding) -> tuple[np.ndarray, ...]:
    """Active levels; of each level of the grid scale, multipliers [levels, dims], rows, first row, whether hashed."""
    spec = problem.spec
    levels = range(len(spec.level_rows))
    hashed = np.array([spec.is_hashed(level) for level in levels])
    strides = np.array([[spec.resolutions[level] ** axis for axis in range(spec.dims)] for level in levels])
    return (
        np.array(problem.shape.active, np.int64),
        np.array([spec.scales[level][0] for level in levels], np.float32),
        np.where(hashed[:, None], np.array(PRIMES[: spec.dims]), strides).astype(np.uint32),
        np.array(spec.level_rows, np.uint32),
        np.array(spec.offsets[:-1], np.int64),
        hashed,
    )


@lru_cache
def kernels(dims: int, features: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """(encode, backward to the table) for these numbers, which the compiler may count with."""
    from numba import njit, prange

    corners = 1 << dims

    @njit(inline="always")
    def place(x, first, count, scale, multiplier, rows, hashed, row, weight):  # type: ignore[no-untyped-def]
        """Rows within the level and weights of the corners of some points: row, weight [corners, PIECE]."""
        low, high = np.empty(PIECE, np.uint32), np.empty(PIECE, np.uint32)
        upper = np.empty(PIECE, np.float32)
        for axis in range(dims):
            step = multiplier[axis]
            for i in range(count):
                position = scale * x[first + i, axis] + np.float32(0.5)
                cell = np.floor(position)
                upper[i] = position - cell
                low[i] = np.uint32(np.int32(cell)) * step
                high[i] = low[i] + step
            if axis == 0:
                for i in range(count):
                    row[0, i], row[1, i] = low[i], high[i]
                    weight[0, i], weight[1, i] = np.float32(1) - upper[i], upper[i]
                continue
            half = 1 << axis
            for k in range(half):
                if hashed:
                    for i in range(count):
                        row[half + k, i] = row[k, i] ^ high[i]
                        row[k, i] = row[k, i] ^ low[i]
                else:
                    for i in range(count):
                        row[half + k, i] = row[k, i] + high[i]
                        row[k, i] = row[k, i] + low[i]
                for i in range(count):
                    weight[half + k, i] = weight[k, i] * upper[i]
                    weight[k, i] = weight[k, i] * (np.float32(1) - upper[i])
        for k in range(corners):
            if hashed:
                for i in range(count):
                    row[k, i] &= rows - np.uint32(1)
            else:
                for i in range(count):
                    row[k, i] = row[k, i] - rows if row[k, i] >= rows else row[k, i]

    @njit(parallel=True)
    def encode(x, table, out, active, scales, multipliers, rows, offsets, hashed):  # type: ignore[no-untyped-def]
        tasks = (len(x) + TASK - 1) // TASK
        for task in prange(tasks):
            row, weight = np.empty((corners, PIECE), np.uint32), np.empty((corners, PIECE), np.float32)
            end = min(len(x), (task + 1) * TASK)
            for level in active:
                own = table[offsets[level] : offsets[level] + rows[level]]
                for first in range(task * TASK, end, PIECE):
                    count = min(PIECE, end - first)
                    place(x, first, count, scales[level], multipliers[level], rows[level], hashed[level], row, weight)
                    for i in range(count):
                        for f in range(features):
                            total = np.float32(0)
                            for k in range(corners):
                                total += weight[k, i] * own[row[k, i], f]
                            out[first + i, level * features + f] = total

    @njit(parallel=True)
    def backward(  # type: ignore[no-untyped-def]
        x, gradient, to_table, threads, active, scales, multipliers, rows, offsets, hashed
    ):
        """A level has one thread; threads take levels in turn, since fine ones take longer."""
        for thread in prange(threads):
            row, weight = np.empty((corners, PIECE), np.uint32), np.empty((corners, PIECE), np.float32)
            for number in range(thread, len(active), threads):
                level = active[number]
                own = to_table[offsets[level] : offsets[level] + rows[level]]
                own[:] = 0
                for first in range(0, len(x), PIECE):
                    count = min(PIECE, len(x) - first)
                    place(x, first, count, scales[level], multipliers[level], rows[level], hashed[level], row, weight)
                    for i in range(count):
                        for k in range(corners):
                            for f in range(features):
                                own[row[k, i], f] += weight[k, i] * gradient[first + i, level * features + f]

    return encode, backward


def _arrays(problem: Encoding) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if problem.shape.dtype != torch.float32:
        raise Unavailable("Numba has no half types on the CPU")
    return problem.x.numpy(), problem.table.numpy(), problem.gradient.numpy()


def _kept(problem: Encoding) -> np.ndarray:
    """Where the encoding goes; levels that are skipped stay zero."""
    return large_pages(torch.empty(problem.count, problem.shape.components)).zero_().numpy()


def numba_encode(problem: Encoding, settings: Settings) -> Prepared:
    encode, _ = kernels(problem.shape.dims, problem.shape.features)
    x, table, _ = _arrays(problem)
    out, grid = _kept(problem), geometry(problem)

    def call() -> np.ndarray:
        encode(x, table, out, *grid)
        return out

    return Prepared(call, lambda found: (found.copy(),), note=NOTE)


def _backward(problem: Encoding, settings: Settings) -> Callable[[], np.ndarray]:
    _, backward = kernels(problem.shape.dims, problem.shape.features)
    x, table, gradient = _arrays(problem)
    to_table = large_pages(torch.empty(table.shape)).numpy()
    grid = geometry(problem)

    def call() -> np.ndarray:
        backward(x, gradient, to_table, settings.threads, *grid)
        return to_table

    return call


def numba_backward(problem: Encoding, settings: Settings) -> Prepared:
    return Prepared(_backward(problem, settings), lambda found: (found.copy(),), note=f"{NOTE}, a thread a level")


def numba_train(problem: Encoding, settings: Settings) -> Prepared:
    forward, back = numba_encode(problem, settings).call, _backward(problem, settings)

    def call() -> Any:
        return forward(), back()

    return Prepared(call, lambda found: tuple(part.copy() for part in found), note=f"{NOTE}, a thread a level")
