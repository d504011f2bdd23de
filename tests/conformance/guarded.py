# SPDX-License-Identifier: Apache-2.0
"""Tensors that end right before, or begin right after, a page that nobody may touch, and cannot be written.

A kernel that reads one byte too far, or writes an input, is killed; so calls on them belong into a child process.
"""

from __future__ import annotations

import ctypes
import mmap

import torch
from torch import Tensor

_PAGE = mmap.PAGESIZE
_NOTHING, _READ = 0, 1
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _protect(address: int, size: int, rights: int) -> None:
    if _libc.mprotect(address, size, rights) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


def guarded(x: Tensor, *, at_end: bool = True) -> Tensor:
    """A contiguous read-only copy of ``x`` with a forbidden page behind its last byte (or before its first)."""
    size = x.numel() * x.element_size()
    if size == 0:
        return x.clone()
    pages = -(-size // _PAGE) * _PAGE
    memory = mmap.mmap(-1, pages + 2 * _PAGE)
    offset = _PAGE + (pages - size if at_end else 0)
    out = torch.frombuffer(memory, dtype=x.dtype, count=x.numel(), offset=offset).view(x.shape).copy_(x.detach())
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _protect(start, _PAGE, _NOTHING)
    _protect(start + _PAGE, pages, _READ)
    _protect(start + _PAGE + pages, _PAGE, _NOTHING)
    return out
