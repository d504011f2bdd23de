# SPDX-License-Identifier: Apache-2.0
"""Calls emulated launchers with NumPy arrays and torch CPU tensors, and gives tests the fixture for it."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import build as _build

# One of each scheduling policy: low threads first, high threads first, uniform, one warp far ahead.
SEEDS = range(int(os.environ.get("WARPHASH_EMULATION_SEEDS", "4")))
MODE = os.environ.get("WARPHASH_EMULATION", "plain")

INTEGERS = {"i1": ctypes.c_int8, "i2": ctypes.c_int16, "i4": ctypes.c_int32, "i8": ctypes.c_int64}
UNSIGNED = {"u1": ctypes.c_uint8, "u2": ctypes.c_uint16, "u4": ctypes.c_uint32, "u8": ctypes.c_uint64}
NUMBERS: dict[str, Any] = {**INTEGERS, **UNSIGNED, "f4": ctypes.c_float, "f8": ctypes.c_double, "b1": ctypes.c_bool}


class EmulationError(RuntimeError):
    """A launcher returned an error; ``code`` is its cudaError_t."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class EmulatedKernels:
    """A library of emulated kernels: ``kernels.name(arguments)`` calls what EMULATED_LAUNCHER named so.

    Arrays and tensors stand for pointers and must be contiguous, of the declared type, and writable unless const; None
    is the null pointer. The stream is left out of the arguments. An array that is too short is found in mode asan only.
    """

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.cuda_emulation_configure.argtypes = [ctypes.c_uint64, ctypes.c_uint]
        self._library.cuda_emulation_signature.restype = ctypes.c_char_p
        self._library.cuda_emulation_message.restype = ctypes.c_char_p

    def seed(self, seed: int, resident_blocks: int = 0) -> None:
        """Picks the schedule of the launches that follow, and how many blocks are alive at once (0: by the seed)."""
        self._library.cuda_emulation_configure(seed, resident_blocks)

    def __getattr__(self, name: str) -> Callable[..., None]:
        signature = self._library.cuda_emulation_signature(name.encode())
        if signature is None:
            raise AttributeError(f"no EMULATED_LAUNCHER({name}, ...) among the sources")
        return functools.partial(self._call, name, signature.decode().split(","))

    def _call(self, name: str, types: Sequence[str], *arguments: Any) -> None:
        expected = sum(kind != "stream" for kind in types)
        if len(arguments) != expected:
            raise TypeError(f"{name} takes {expected} arguments ({', '.join(types)}), got {len(arguments)}")
        rest = iter(arguments)
        values = [ctypes.c_void_p() if kind == "stream" else _convert(name, kind, next(rest)) for kind in types]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        code = self._library.cuda_emulation_call(name.encode(), pointers)
        if code != 0:
            message = self._library.cuda_emulation_message().decode()
            raise EmulationError(message or f"{name} returned cudaError_t {code}", code)


def _convert(name: str, kind: str, value: Any) -> Any:
    """The ctypes object that holds a value of the declared type."""
    if kind in NUMBERS:
        converted = NUMBERS[kind](value)
        if kind[0] in "iu" and converted.value != value:
            raise OverflowError(f"{name}: {value} does not fit into {kind}")
        return converted
    if kind.startswith("v"):  # a struct by value: its bytes
        data = bytes(value)
        if len(data) != int(kind[1:]):
            raise TypeError(f"{name}: a struct of {kind[1:]} bytes is wanted, got {len(data)}")
        return ctypes.create_string_buffer(data, len(data))
    if value is None:
        return ctypes.c_void_p()
    target = kind.removeprefix("*").removeprefix("const ")
    if isinstance(value, np.ndarray):
        given, contiguous, writable = value.dtype.str[1:], value.flags.c_contiguous, value.flags.writeable
        address = value.ctypes.data
    else:
        given, contiguous, writable = _torch_type(value), value.is_contiguous(), True
        address = value.data_ptr()
    if target not in ("any", given) and not target.startswith(("v", "*")):
        raise TypeError(f"{name}: a pointer to {target} is wanted, got an array of {given}")
    if not contiguous:
        raise TypeError(f"{name}: arrays must be contiguous")
    if not writable and not kind.startswith("*const "):
        raise TypeError(f"{name}: the array is read-only, but the pointer is not const")
    return ctypes.c_void_p(address)


def _torch_type(tensor: Any) -> str:
    name = str(tensor.dtype).removeprefix("torch.")
    if name == "bool":
        return "b1"
    kind, bits = re.fullmatch(r"(bfloat|float|uint|int)(\d+)", name).groups()  # type: ignore[union-attr]
    return {"bfloat": "bf", "float": "f", "uint": "u", "int": "i"}[kind] + str(int(bits) // 8)


@functools.cache
def _load(sources: tuple[str, ...], mode: str, defines: tuple[tuple[str, tuple[str, ...]], ...]) -> EmulatedKernels:
    if mode == "asan" and "libasan" not in os.environ.get("LD_PRELOAD", ""):
        raise RuntimeError("AddressSanitizer must be there from the start: use cuda_emulation/run.py --mode asan")
    return EmulatedKernels(_build.build(sources, mode, defines=dict(defines)))


def load(
    sources: Sequence[str | Path],
    mode: str = MODE,
    *,
    seed: int = 0,
    resident_blocks: int = 0,
    defines: Mapping[str, Sequence[str]] | None = None,
) -> EmulatedKernels:
    """Builds the sources if need be, loads them once per process, and sets the seed."""
    macros = tuple((name, tuple(values)) for name, values in (defines or {}).items())
    kernels = _load(tuple(map(str, sources)), mode, macros)
    kernels.seed(seed, resident_blocks)
    return kernels


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def emulated_kernels(request: pytest.FixtureRequest) -> EmulatedKernels:
    """The kernels of the test module's SOURCES, in the mode of WARPHASH_EMULATION, once under each seed."""
    return load(request.module.SOURCES, seed=request.param)
