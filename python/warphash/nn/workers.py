# SPDX-License-Identifier: Apache-2.0
"""Threads that each run a sequence of operators on a part of the work.

Operators that split small tensors among threads wait for all of them after each one; a busy machine makes every such
wait long. Here a thread runs all operators of its part alone, and the parts meet once, at the end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_lock = threading.Lock()
_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # of which process, with how many threads


def available(device: torch.device) -> int:
    """How many parts can run at once on a device: on the CPU as many as torch has threads."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def run(work: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> None:
    """``work(*call)`` for all of the calls at once, without recording gradients; the first error is raised."""
    inference = torch.is_inference_mode_enabled()

    def part(call: tuple[Any, ...]) -> None:
        # Settings of each thread; in this order, since inference_mode(False) turns gradients on.
        with torch.inference_mode(inference), torch.no_grad():
            work(*call)

    if len(calls) == 1:
        part(calls[0])
        return
    pool = _threads(len(calls))
    for done in [pool.submit(part, call) for call in calls]:
        done.result()


def _threads(wanted: int) -> ThreadPoolExecutor:
    """At least so many threads, in which operators of torch run alone; made at the first call of a process."""
    global _pool
    with _lock:
        if _pool is None or _pool[0] != os.getpid() or _pool[1] < wanted:
            pool = ThreadPoolExecutor(wanted, "warphash")
            started = threading.Barrier(wanted)

            def start() -> None:
                torch.set_num_threads(1)  # for the calling thread, and the default of threads that come later
                started.wait()

            threads = torch.get_num_threads()
            try:
                for done in [pool.submit(start) for _ in range(wanted)]:
                    done.result()
            finally:
                torch.set_num_threads(threads)  # the default as before
            _pool = os.getpid(), wanted, pool
        return _pool[2]
