# SPDX-License-Identifier: Apache-2.0
"""The machine's own limits, measured in the same run as the workloads.

A limit has a name: `unit` (such as popcount_avx512, int8_amx, multiply_add), or `read:BYTES`, `write:BYTES`,
`touch:BYTES`, `gather:BYTES`, `row_gather:BYTES`, `row_update:BYTES`, `accumulate:BYTES` for a buffer of that size.
Rates are per second: operations, bytes (touch: of fresh memory, written once), 64-byte lines, rows of 8 bytes that are
read, or added to, at random places, products added to float32 sums at random places.

On a GPU the same names mean the same work, with these differences:

- `read`, `write` are those of device memory, whatever the size: caches are emptied before each call. `touch` is
  `write`, since torch keeps device memory and gives it without clearing.
- `gather`, `row_gather`, `row_update` find what the first- and second-level caches hold of the buffer there, as a
  kernel does that goes level by level. All multiprocessors share the table of `row_update`, and add two floats by one
  instruction (sm_90) or two.
- `accumulate` adds in shared memory, without atomics, as many sums a block; columns and values come from L2.
- `affine_min` is on the CUDA cores. Units of its own: `cuda_popcount` (32-bit words), `cuda_b1` and `cuda_int8`
  (products on tensor cores), `cuda_float32` (multiply-adds of torch's matrix product), `cuda_shared_count` (atomic
  increments of random words in shared memory: what a histogram does).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from bench.harness.workload import Unavailable

# Above this a buffer is in memory on every machine we know, and a larger one would only take time.
LARGEST_BUFFER = 512 << 20
SMALLEST_BUFFER = 16 << 10

Probe = Callable[[str, int], float | None]


def memory_limit(kind: str, size: float) -> str:
    """Name of the limit for a working set of `size` bytes: the nearest power of two."""
    exponent = round(math.log2(max(size, 1.0)))
    return f"{kind}:{min(max(1 << exponent, SMALLEST_BUFFER), LARGEST_BUFFER)}"


def label(name: str) -> str:
    """The name for readers: `read:33554432` becomes `read 32 MiB`."""
    kind, _, size = name.partition(":")
    if not size:
        return kind
    number = int(size)
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= scale:
            return f"{kind} {number / scale:g} {unit}"
    return f"{kind} {number} B"


def cpu_probe(name: str, threads: int) -> float | None:
    from warphash import _C

    kind, _, size = name.partition(":")
    probes = _C.probes
    memory = {"read": probes.read_bandwidth, "write": probes.write_bandwidth, "gather": probes.gather_rate}
    memory |= {"row_gather": probes.row_gather_rate, "row_update": probes.row_update_rate}
    memory |= {"touch": probes.touch_bandwidth, "accumulate": probes.accumulate_rate}
    if kind in memory:
        return memory[kind](int(size), threads)
    if kind == "core_clock":
        return probes.core_clock()
    if kind.startswith("cuda_"):
        return None
    return getattr(probes, kind)(threads)


class CudaProbe:
    """Limits of a GPU: from the CUDA half's own probes, and from torch's products where those may do better."""

    def __init__(self, device: torch.device) -> None:
        from warphash._load import _cuda

        self._device = device
        self._native = _cuda

    def __call__(self, name: str, threads: int) -> float | None:
        with torch.cuda.device(self._device):
            return self.measured(name)

    def measured(self, name: str) -> float | None:
        """On the current device; None for what is no limit of a GPU."""
        kind, _, size = name.partition(":")
        if kind in ("read", "write", "touch"):
            return self._bandwidth(int(size), kind)
        probes = {"gather": "gather_rate", "row_gather": "row_gather_rate", "row_update": "row_update_rate"}
        probes |= {"accumulate": "accumulate_rate"}
        if kind in probes:
            return getattr(self._native, probes[kind])(int(size))
        units = {"cuda_popcount": "popc_rate", "cuda_b1": "mma_b1_rate", "affine_min": "affine_min_rate"}
        units |= {"cuda_shared_count": "shared_count_rate"}
        if kind in units:
            return getattr(self._native, units[kind])()
        if kind == "cuda_int8":
            return max(self._native.mma_s8_rate(), self._product(torch.int8))
        return self._product(torch.float32) if kind == "cuda_float32" else None

    def _time(self, call: Callable[[], object]) -> float:
        from bench.harness.timing import CudaClock

        clock = CudaClock(self._device)
        for _ in range(3):
            call()
        return min(clock.run(call, 1)[0] for _ in range(9))

    def _bandwidth(self, size: int, kind: str) -> float:
        # A large buffer, for the caches to play no part and the clock none.
        size = max(size, LARGEST_BUFFER)
        if kind == "read":
            return self._native.copy_bandwidth(size)
        target = torch.empty(size, dtype=torch.uint8, device=self._device)
        return size / self._time(target.zero_)

    def _product(self, dtype: torch.dtype) -> float:
        size = 4096 if dtype == torch.float32 else 8192  # milliseconds: it is measured often
        a = torch.ones(size, size, dtype=dtype, device=self._device)
        if dtype == torch.int8:
            return size**3 / self._time(lambda: torch._int_mm(a, a.t()))
        return size**3 / self._time(lambda: a @ a)


class Limits:
    """Rates by name, measured when first asked for and by each refresh().

    The largest counts: the machine can do that much, and whatever else runs on it only lowers a measurement.
    """

    def __init__(self, probe: Probe, threads: int, forgiving: bool = False) -> None:
        """forgiving: what cannot be measured is absent, as on a GPU that an earlier error has brought down."""
        self._probe = probe
        self._threads = threads
        self._forgiving = forgiving
        self._rates: dict[str, float | None] = {}

    @classmethod
    def of(cls, device: torch.device, threads: int, forgiving: bool = False) -> Limits:
        try:
            import warphash  # noqa: F401
        except ImportError as error:
            raise Unavailable(f"the package is not built: {error}") from error
        return cls(CudaProbe(device) if device.type == "cuda" else cpu_probe, threads, forgiving)

    def _measured(self, name: str) -> float | None:
        try:
            return self._probe(name, self._threads)
        except RuntimeError:
            if not self._forgiving:
                raise
            return None

    def rate(self, name: str) -> float | None:
        """Units a second, or None where the machine lacks the unit."""
        if name not in self._rates:
            self._rates[name] = self._measured(name)
        return self._rates[name]

    def refresh(self, *, memory: bool = True) -> None:
        """Measures all known limits again; without memory only those of a unit, which takes a moment."""
        for name, before in self._rates.items():
            if ":" in name and not memory:
                continue
            now = self._measured(name) if before is not None else None
            if now is not None and before is not None:
                self._rates[name] = max(before, now)

    def known(self) -> dict[str, float | None]:
        return dict(self._rates)
