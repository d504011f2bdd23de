# SPDX-License-Identifier: Apache-2.0
"""The fast SimHash on the software model of the tiles, called with NumPy arrays."""

from __future__ import annotations

import ctypes
import functools

import numpy as np
import numpy.typing as npt

from . import emulated

FOLDER = emulated.ROOT / "csrc" / "lsh" / "projections"
SIMHASH = emulated.Parts(
    (
        emulated.ROOT / "csrc" / "common" / "isa.cpp",
        FOLDER / "simhash_fast_avx512bf16.cpp",
        emulated.HERE / "driver_simhash.cpp",
    ),
    ("common", "lsh/projections"),
)
TYPES = {"float16": 0, "bfloat16": 1, "float32": 2}  # as in VectorType

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.uint16]  # bits of bfloat16
Bits = npt.NDArray[np.uint8]


@functools.cache
def library() -> ctypes.CDLL:
    """The library of this process."""
    return ctypes.CDLL(str(emulated.build(SIMHASH)))


def _pointer(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def to_bf16(values: Floats) -> Halves:
    """Rounded to nearest, ties to even; NaN stays one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), bits >> 16 | 0x40, rounded).astype(np.uint16)


def from_bf16(halves: Halves) -> Floats:
    """Exactly."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def simhash(x: Floats, planes: Floats, dtype: str = "float32") -> Bits:
    """Bits [rows, columns of planes] as 0 and 1; x is converted to the type first, spare bits are checked."""
    rows, dim = x.shape
    bits = planes.shape[1]
    given = to_bf16(x) if dtype == "bfloat16" else x.astype(dtype)
    codes = np.full((rows, (bits + 7) // 8), 0xA5, np.uint8)
    sizes = [ctypes.c_int64(size) for size in (rows, dim, bits)]
    library().amx_simhash(
        ctypes.c_int(TYPES[dtype]), _pointer(given), *sizes[:2], _pointer(planes), sizes[2], _pointer(codes)
    )
    unpacked = np.unpackbits(codes, axis=1, bitorder="little")
    assert not unpacked[:, bits:].any()
    return unpacked[:, :bits]


def product(sums: Floats, left: Halves, right: Halves, rows: int = 16, pairs: int = 16, columns: int = 16) -> Floats:
    """One tdpbf16ps on tiles of 16 lines: sums [16, 16], left [16, 32], right [16, 32]."""
    result = sums.copy()
    shape = [ctypes.c_int(size) for size in (rows, pairs, columns)]
    library().amx_dot_bf16(_pointer(result), _pointer(left), _pointer(right), *shape)
    return result
