# SPDX-License-Identifier: Apache-2.0
"""Builds kernels for AMX on the software model of the tiles; calls the scan with NumPy arrays."""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "build" / "amx_emulation"
MODE = os.environ.get("WARPHASH_AMX_EMULATION", "plain")  # or asan, in a process that has the sanitizers loaded

AVX512_FLAGS = ["-mavx2", "-mfma", "-mf16c", "-mpopcnt", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
AVX512_FLAGS += ["-mavx512vpopcntdq"]
AMX_FLAGS = ["-mamx-tile", "-mamx-int8", "-mamx-bf16"]
# GCC 12 calls its own _mm512_undefined_epi32() uninitialized.
COMMON_FLAGS = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
COMMON_FLAGS += ["-Wno-uninitialized", "-Wno-maybe-uninitialized", "-I", str(ROOT / "csrc")]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
MODE_FLAGS = {"plain": ["-O2"], "asan": ["-O2", "-g", "-fno-omit-frame-pointer", *SANITIZERS]}
SOURCES = [ROOT / "csrc" / "hamming" / f"hamming_{name}.cpp" for name in ("plan", "search", "scalar", "avx2", "avx512")]
SOURCES += [ROOT / "csrc" / "hamming" / f"hamming_{name}_avx512.cpp" for name in ("rows", "score")]
SOURCES += [ROOT / "csrc" / "hamming" / f"hamming_{name}_avx2.cpp" for name in ("arrange", "rows", "score")]
SOURCES += [ROOT / "csrc" / "common" / "isa.cpp", HERE / "driver_scan.cpp"]


@dataclass(frozen=True)
class Parts:
    """What a library is made of: a driver that includes its kernel, and other sources."""

    sources: tuple[Path, ...]
    folders: tuple[str, ...]  # of csrc, whose headers and kernels it reads


SCAN = Parts(tuple(SOURCES), ("common", "hamming"))

Codes = npt.NDArray[np.uint8]
Rows = list[tuple[list[int], list[int]]]  # of each query: distances, indices


def lacking(*more: str) -> str | None:
    """Why the emulation cannot run here, or None: the kernel's vector part is real, only its tiles are modelled."""
    if shutil.which("g++") is None:
        return "no g++"
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    missing = [flag for flag in ("avx512bw", "avx512dq", "avx512vl", "avx512_vpopcntdq", *more) if flag not in flags]
    return f"this processor lacks {', '.join(missing)}" if missing else None


def compile_object(source: Path, flags: Sequence[str], output: Path) -> None:
    """Compiles one file; warnings are errors."""
    # A preloaded sanitizer is meant for this process, not for the compiler.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = ["g++", *COMMON_FLAGS, *flags, "-c", str(source), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


def _flags(source: Path, mode: str) -> list[str]:
    isa: list[str] = []
    if source.stem.endswith("_avx2"):
        isa = AVX512_FLAGS[:4]
    elif source.stem.endswith("_avx512"):
        isa = AVX512_FLAGS
    elif source.stem.endswith("_avx512bf16"):
        isa = [*AVX512_FLAGS, "-mavx512bf16"]
    elif source.stem.startswith("driver_"):
        isa = [*AVX512_FLAGS, "-DWARPHASH_AMX_MODEL"]
    return [*MODE_FLAGS[mode], *isa]


def build(parts: Parts = SCAN, mode: str = MODE) -> Path:
    """The library of the mode; built again only when a source, a header or a flag has changed."""
    sources = parts.sources
    read = [HERE / "driver.h"]
    for folder in parts.folders:
        read += [path for ending in ("*.h", "*_amx.cpp") for path in sorted((ROOT / "csrc" / folder).glob(ending))]
    digest = hashlib.sha256(repr([COMMON_FLAGS, [_flags(source, mode) for source in sources]]).encode())
    for path in [*sources, *read]:
        digest.update(path.read_bytes())
    place = FOLDER / mode
    place.mkdir(parents=True, exist_ok=True)
    library = place / f"{digest.hexdigest()[:16]}.so"
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.exists():
            return library
        objects = [place / f"{source.stem}.o" for source in sources]
        for source, output in zip(sources, objects, strict=True):
            compile_object(source, _flags(source, mode), output)
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        fresh = library.with_suffix(".new")
        command = ["g++", "-shared", "-Wl,-z,defs", *MODE_FLAGS[mode], "-pthread", "-o", str(fresh), *map(str, objects)]
        # A shared library leaves the sanitizers' names to the process that loads it.
        if mode == "asan":
            command.remove("-Wl,-z,defs")
        subprocess.run(command, check=True, env=environment)
        fresh.replace(library)
    return library


@functools.cache
def library() -> ctypes.CDLL:
    """The library of this process."""
    return ctypes.CDLL(str(build()))


def tile_codes(width: int) -> int:
    """Codes of a tile of the scan, for codes of this many bytes."""
    return int(library().amx_tile_codes(width))


class _Output:
    """Room for `columns` results a query."""

    def __init__(self, queries: int, columns: int) -> None:
        self.keys = np.full((queries, columns), 0xDEADBEEF, np.uint32)
        self.indices = np.full((queries, columns), -7, np.int64)
        self.counts = np.full(queries, -7, np.int64)

    def pointers(self) -> list[ctypes.c_void_p]:
        return [_pointer(array) for array in (self.keys, self.indices, self.counts)]

    def rows(self) -> Rows:
        triples = zip(self.keys, self.indices, self.counts, strict=True)
        return [(keys[:count].tolist(), indices[:count].tolist()) for keys, indices, count in triples]


def _pointer(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def _inputs(queries: Codes, database: Codes) -> list[object]:
    assert queries.shape[1] == database.shape[1]
    sizes = [ctypes.c_int(len(queries)), ctypes.c_int64(len(database)), ctypes.c_int(database.shape[1])]
    return [_pointer(queries), sizes[0], _pointer(database), *sizes[1:]]


def topk(queries: Codes, database: Codes, k: int) -> Rows:
    """The scan of all queries in one block, k best each."""
    output = _Output(len(queries), k)
    library().amx_topk(*_inputs(queries, database), ctypes.c_int64(k), *output.pointers())
    return output.rows()


def below(queries: Codes, database: Codes, limit: int) -> Rows:
    """The scan with a fixed limit: all codes at a distance below it."""
    output = _Output(len(queries), len(database))
    library().amx_range(*_inputs(queries, database), ctypes.c_uint32(limit), *output.pointers())
    return output.rows()


def search(
    queries: Codes, database: Codes, k: int, mask: npt.NDArray[np.bool_] | None = None, *, amx: bool = True
) -> Rows:
    """The whole search on two threads; without `amx` by the AVX-512 kernels. mask: [N] or [Q, N]."""
    output = _Output(len(queries), k)
    masks = [ctypes.c_void_p() if mask is None else _pointer(mask), ctypes.c_int(mask is not None and mask.ndim == 2)]
    library().search_topk(ctypes.c_int(amx), *_inputs(queries, database), ctypes.c_int64(k), *masks, *output.pointers())
    return output.rows()
