# SPDX-License-Identifier: Apache-2.0
"""Memory that a contestant frees: given back to the system, as glibc does with large blocks, or kept for the next call.

What is given back comes again as fresh pages, which the system clears at the first touch; a virtual machine's host may
have to find them first. Where freed memory is kept, as by jemalloc or in a process that has run for a while, what
remains is the work of the contestants themselves.
"""

from __future__ import annotations

import ctypes

from bench.harness.workload import Unavailable

# Of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """From now on, for everybody in this process: blocks of any size come from the heap and stay there."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not (mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _LARGEST_INT)):
        raise Unavailable("--keep-memory: needs glibc's malloc")
