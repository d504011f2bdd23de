# SPDX-License-Identifier: Apache-2.0
"""Timing of several contestants side by side: they take turns, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

# A sample shorter than this says more about the clock than about the call: shorter calls are repeated inside a sample.
SHORTEST_SAMPLE = 2e-4

# Thread pools spin for a while after a call: a contestant's workers would take the cores from the next one. A pause
# lets them fall asleep; a call not much longer than waking its own workers up is then run once before it is timed.
PAUSE = 4e-3
SHORT_CALL = 2e-2


class Clock(Protocol):
    def run(self, call: Callable[[], Any], repeats: int) -> tuple[float, float]:
        """Wall and process CPU seconds of one call, as the mean of `repeats` calls in a row."""


class HostClock:
    """Wall time, and CPU time summed over the process' threads."""

    def run(self, call: Callable[[], Any], repeats: int) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats


class CudaClock:
    """Device time between two events, with the second-level cache emptied before each call."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        cache = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 64 << 20)
        self._flush = torch.empty(2 * cache, dtype=torch.uint8, device=device)

    def run(self, call: Callable[[], Any], repeats: int) -> tuple[float, float]:
        cpu = time.process_time()
        events = []
        for _ in range(repeats):
            self._flush.zero_()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            events.append((start, end))
        torch.cuda.synchronize(self._device)
        wall = sum(start.elapsed_time(end) for start, end in events) / 1000
        return wall / repeats, (time.process_time() - cpu) / repeats


@dataclass(frozen=True)
class Timing:
    """Seconds of one call."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    repeats: int

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    @property
    def cpu_median(self) -> float:
        return statistics.median(self.cpu)

    @property
    def iqr(self) -> float:
        low, high = quartiles(self.wall)
        return high - low


def quartiles(values: tuple[float, ...]) -> tuple[float, float]:
    """First and third quartile, linear between samples; a single sample is both."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def turns(counts: Mapping[str, int], seed: int = 0) -> list[str]:
    """An order in which each name stands counts[name] times, spread evenly, in a new order every round."""
    rounds = max(counts.values(), default=0)
    generator = random.Random(seed)
    order = []
    for index in range(rounds):
        now = [name for name, count in counts.items() if (index + 1) * count // rounds > index * count // rounds]
        generator.shuffle(now)
        order.extend(now)
    return order


def measure(
    calls: Mapping[str, Callable[[], Any]],
    *,
    budget: float,
    clock: Clock,
    fewest: int = 3,
    most: int = 25,
) -> dict[str, Timing]:
    """Medians' material for every call, within about `budget` seconds for all together.

    Calls must be warm. The budget is shared equally; whoever is fast takes `most` samples, whoever is slow fewer, yet
    at least `fewest`, unless those would take more than twice its part: then one.
    """
    if not calls:
        return {}
    part = budget / len(calls)
    repeats, counts, shortest, wall, cpu = {}, {}, {}, {}, {}
    was_collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for name, call in calls.items():
            time.sleep(PAUSE)
            took = clock.run(call, 1)
            shortest[name] = took[0]
            repeats[name] = max(1, round(SHORTEST_SAMPLE / max(took[0], 1e-9)))
            whole = took[0] * (repeats[name] + (took[0] < SHORT_CALL)) + PAUSE
            # A short call's first run found other contestants' data in the caches: it only tells how long to repeat it.
            wall[name], cpu[name] = ([], []) if took[0] < SHORT_CALL else ([took[0]], [took[1]])
            counts[name] = min(most, max(fewest, int(part / whole)))
            if fewest * whole > 2 * part:
                counts[name] = 1
            counts[name] -= len(wall[name])
        for name in turns(counts):
            time.sleep(PAUSE)
            if shortest[name] < SHORT_CALL:
                calls[name]()
            took = clock.run(calls[name], repeats[name])
            wall[name].append(took[0])
            cpu[name].append(took[1])
    finally:
        if was_collecting:
            gc.enable()
    return {name: Timing(tuple(wall[name]), tuple(cpu[name]), repeats[name]) for name in calls}
