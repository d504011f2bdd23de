# SPDX-License-Identifier: Apache-2.0
"""What the scripts that time kernels on a CUDA device share."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Of a call on the current stream, by events, after one that warms up."""
    call()
    seconds = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(seconds)
