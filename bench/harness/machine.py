# SPDX-License-Identifier: Apache-2.0
"""What a result must say about the machine and the programs it was measured with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

PROGRAMS = (
    "warphash",
    "torch",
    "numpy",
    "numba",
    "faiss-cpu",
    "faiss-gpu",
    "usearch",
    "numkong",
    "scikit-learn",
    "scipy",
    "mkl",
    "sparse_dot_mkl",
    "suitesparse-graphblas",
    "sparse_dot_topn",
    "cupy-cuda13x",
)


def versions() -> dict[str, str]:
    """Of the programs that are installed."""
    found = {"python": platform.python_version()}
    for program in PROGRAMS:
        try:
            found[program] = importlib.metadata.version(program)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpuinfo(field: str) -> list[str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return []
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return [value.strip() for name, _, value in lines if name.strip() == field]


def _cache_sizes() -> dict[str, int]:
    """Bytes of each cache that the first core sees, by level: l1d, l2, l3."""
    sizes = {}
    for entry in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, level, size = ((entry / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K"):
            sizes[f"l{level}" + ("d" if level == "1" else "")] = int(size[:-1]) << 10
    return sizes


def cpu_model() -> str:
    """As the processor names itself, with family and model where the name says little (virtual machines)."""
    name = next(iter(_cpuinfo("model name")), platform.processor() or platform.machine())
    family, model = (next(iter(_cpuinfo(field)), "?") for field in ("cpu family", "model"))
    return f"{name} (family {family}, model {model})"


def _busy_jiffies() -> int:
    """What all cores together have worked since the start of the machine."""
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4]  # but idle and waiting for disks


def cores_taken_by_others(seconds: float = 0.4) -> float:
    """How many cores other programs keep busy, measured while this one sleeps."""
    if not Path("/proc/stat").exists():
        return 0.0
    before = _busy_jiffies()
    own = time.process_time()
    time.sleep(seconds)
    taken = (_busy_jiffies() - before) / os.sysconf("SC_CLK_TCK") - (time.process_time() - own)
    return max(0.0, taken / seconds)


def describe(device: torch.device, threads: int) -> dict[str, Any]:
    """Machine, clocks, caches, threads, level of instructions, and the GPU in use."""
    clocks = [float(value) for value in _cpuinfo("cpu MHz")]
    found: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "caches": _cache_sizes(),
        "reported_mhz": {"lowest": min(clocks), "highest": max(clocks)} if clocks else None,
        "cores_taken_by_others": cores_taken_by_others(),
        "device": device.type,
    }
    try:
        from warphash import _C

        found["features"] = _C.cpu_features()
        found["build"] = _C.build_info()
    except ImportError as error:
        found["features"] = {"missing": str(error)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["gpu"] = {
            "name": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return found
