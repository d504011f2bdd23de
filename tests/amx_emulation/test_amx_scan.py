# SPDX-License-Identifier: Apache-2.0
"""The AMX scan, its tiles modelled in software, against NumPy; and the object that real machines run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from . import emulated
from .emulated import Codes, Rows

HERE = Path(__file__).resolve().parent
KERNEL = emulated.ROOT / "csrc" / "hamming" / "hamming_amx.cpp"
LACKING = emulated.lacking()
needs_avx512 = pytest.mark.skipif(LACKING is not None, reason=f"AMX emulation: {LACKING}")
NO_LIMIT = 0xFFFFFFFF
MISUSES = {
    0: "none is configured",
    1: "none is configured",
    2: "the configuration leaves out",
    3: "shapes of a product do not fit",
    4: "too large",
}


def codes(rng: np.random.Generator, count: int, width: int) -> Codes:
    return rng.integers(0, 256, (count, width), dtype=np.uint8)


def distances(queries: Codes, database: Codes) -> np.ndarray:
    bits = np.array([bin(byte).count("1") for byte in range(256)], np.uint16)
    return np.stack([bits[query ^ database].sum(axis=1, dtype=np.int64) for query in queries])


def expected(queries: Codes, database: Codes, k: int, limit: int = NO_LIMIT, mask: np.ndarray | None = None) -> Rows:
    table = distances(queries, database)
    admitted = np.broadcast_to(True if mask is None else mask, table.shape) & (table < limit)
    rows: Rows = []
    for row, allowed in zip(table, admitted, strict=True):
        order = [int(index) for index in np.argsort(row, kind="stable") if allowed[index]][:k]
        rows.append((row[order].tolist(), order))
    return rows


def check_topk(queries: Codes, database: Codes, k: int) -> None:
    assert emulated.topk(queries, database, k) == expected(queries, database, k)


@needs_avx512
@pytest.mark.parametrize("width", [*range(1, 41), 64, 128, 256])
def test_every_width(width: int) -> None:
    rng = np.random.default_rng(width)
    # More than a tile and a ragged end; wide codes have tiles of one group.
    count = min(emulated.tile_codes(width) + 45, 160)
    check_topk(codes(rng, 33, width), codes(rng, count, width), 10)


@needs_avx512
@pytest.mark.parametrize("width", [8, 16, 20, 32, 72])
def test_counts_around_groups_and_tiles(width: int) -> None:
    rng = np.random.default_rng(width)
    tile = emulated.tile_codes(width)
    assert tile % 32 == 0
    queries, database = codes(rng, 5, width), codes(rng, 2 * tile + 33, width)
    edges = {edge + step for edge in (0, 16, 32, 64, tile, tile + 32, 2 * tile) for step in (-1, 0, 1)} - {-1}
    for count in [*sorted(edges), len(database)]:
        check_topk(queries, database[:count], 3)


@needs_avx512
def test_query_counts() -> None:
    rng = np.random.default_rng(1)
    queries, database = codes(rng, 300, 16), codes(rng, 75, 16)
    truth = expected(queries, database, 4)
    for count in [*range(1, 71), 300]:
        assert emulated.topk(queries[:count], database, 4) == truth[:count]


@needs_avx512
@pytest.mark.parametrize("k", [1, 10, 100, 1000])
@pytest.mark.parametrize("width", [8, 32])
def test_k(k: int, width: int) -> None:
    rng = np.random.default_rng(k)
    check_topk(codes(rng, 70, width), codes(rng, 700, width), k)


@needs_avx512
@pytest.mark.parametrize("width", [1, 8, 32, 40])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_ties_go_by_index(width: int, k: int) -> None:
    rng = np.random.default_rng(width)
    queries = codes(rng, 40, width)
    check_topk(queries, np.repeat(queries[:1], 500, axis=0), k)
    two_distances = np.where(rng.integers(0, 2, (500, 1)) == 1, queries[:1], ~queries[:1])
    check_topk(queries, np.ascontiguousarray(two_distances), k)


@needs_avx512
@pytest.mark.parametrize("width", [8, 32, 48])
def test_falling_distances_reach_the_sink_in_order(width: int) -> None:
    """The worst order: every code passes every limit."""
    rng = np.random.default_rng(width)
    query = codes(rng, 1, width)
    database = codes(rng, 400, width)
    database = np.ascontiguousarray(database[np.argsort(-distances(query, database)[0], kind="stable")])
    check_topk(np.repeat(query, 33, axis=0), database, 10)


@needs_avx512
@pytest.mark.parametrize("width", [3, 8, 32])
def test_fixed_limits(width: int) -> None:
    rng = np.random.default_rng(width)
    queries, database = codes(rng, 35, width), codes(rng, 300, width)
    database[::7] = queries[0]
    database[1::7] = ~queries[0]
    for limit in (0, 1, 4 * width, 8 * width, 8 * width + 1, 1 << 30, 1 << 31, NO_LIMIT - 1, NO_LIMIT):
        assert emulated.below(queries, database, limit) == expected(queries, database, len(database), limit)


@needs_avx512
def test_extreme_bits() -> None:
    for width in (1, 7, 8, 256):
        zeros, ones = np.zeros((33, width), np.uint8), np.full((33, width), 255, np.uint8)
        for queries in (zeros, ones):
            check_topk(queries, np.concatenate([ones, zeros, ones]), 40)


@needs_avx512
@pytest.mark.parametrize("masking", ["none", "shared", "per query"])
@pytest.mark.parametrize(("width", "k"), [(8, 10), (20, 100), (32, 1)])
def test_whole_search(masking: str, width: int, k: int) -> None:
    """Blocks, parts, threads and masks; that tiles are configured for every scan and released after it."""
    rng = np.random.default_rng(k)
    # 600 queries make blocks that AMX takes and a last one besides, 17000 codes make two parts.
    queries, database = (
        codes(rng, 600 if masking == "none" else 70, width),
        codes(rng, 17000 if width == 8 else 1500, width),
    )
    shape = {"none": None, "shared": len(database), "per query": (len(queries), len(database))}[masking]
    mask = None if shape is None else rng.random(shape) < 0.4
    found = emulated.search(queries, database, k, mask)
    assert found == emulated.search(queries, database, k, mask, amx=False)
    sample = slice(0, 70, 3)
    truth = expected(queries[sample], database, k, mask=mask[sample] if mask is not None and mask.ndim == 2 else mask)
    assert found[sample] == truth


@needs_avx512
def test_sampled_search() -> None:
    """A large k over parts long enough for a sample: tiles are configured for that scan too."""
    rng = np.random.default_rng(5)
    queries, database = codes(rng, 64, 8), codes(rng, 140_000, 8)
    assert emulated.search(queries, database, 256) == emulated.search(queries, database, 256, amx=False)


@needs_avx512
@pytest.mark.skipif(emulated.MODE != "plain", reason="the model's abort is told in the plain mode")
@pytest.mark.parametrize(("misuse", "message"), MISUSES.items())
def test_the_model_refuses_what_the_hardware_refuses(misuse: int, message: str) -> None:
    program = f"import ctypes; ctypes.CDLL({str(emulated.build())!r}).amx_misuse({misuse}); print('unharmed')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode != 0
    assert message in done.stderr
    assert "unharmed" not in done.stdout


@needs_avx512
@pytest.mark.slow
@pytest.mark.skipif(emulated.MODE != "plain", reason="starts the sanitized run")
def test_under_address_and_undefined_sanitizers() -> None:
    def runtime(name: str) -> str:
        command = ["g++", f"-print-file-name={name}"]
        return str(Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()).resolve())

    environment = {
        **os.environ,
        "WARPHASH_AMX_EMULATION": "asan",
        "LD_PRELOAD": " ".join(map(runtime, ("libasan.so", "libubsan.so", "libstdc++.so"))),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    # -s: a report ends the process, and what pytest has captured would go down with it.
    command = [sys.executable, "-m", "pytest", "-q", "-s", "--noconftest", "-p", "no:cacheprovider", str(HERE)]
    done = subprocess.run(
        [*command, "-k", "not object"], capture_output=True, text=True, env=environment, cwd=emulated.ROOT
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert re.search(r"\d+ passed", done.stdout)


@pytest.fixture(scope="module")
def kernel_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel as real machines get it."""
    output = tmp_path_factory.mktemp("amx") / "hamming_amx.o"
    emulated.compile_object(KERNEL, ["-O3", *emulated.AVX512_FLAGS, *emulated.AMX_FLAGS], output)
    return output


def listing(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(LACKING == "no g++", reason="no g++")
def test_object_has_no_weak_symbols(kernel_object: Path) -> None:
    """A weak symbol compiled with AMX flags could be the copy that another machine gets."""
    symbols = [line.split() for line in listing("nm", "-C", kernel_object).splitlines()]
    kinds = {fields[1] if len(fields[0]) == 16 else fields[0] for fields in symbols}
    assert not kinds & set("WVuwv")
    assert [fields[-1] for fields in symbols if "T" in fields[:2]] == ["warphash::hamming::kernels_amx()"]


@pytest.mark.skipif(LACKING == "no g++", reason="no g++")
def test_object_of_the_wrappers_is_that_of_the_intrinsics(tmp_path: Path) -> None:
    """The model cannot see a wrong order of operands in the assembly."""
    source, output = tmp_path / "wrappers.cpp", tmp_path / "wrappers.o"
    source.write_text(
        """
        #include <immintrin.h>
        #include "common/amx_tiles.h"
        using namespace warphash::amx;
        extern "C" __attribute__((visibility("default"))) void wrappers(TileConfiguration* shapes, void* memory) {
          configure_tiles(*shapes);
          load_tile<3>(memory); zero_tile<1>(); dot_tiles<1, 3, 5>(); store_tile<1>(memory); release_tiles();
          load_rows<6>(memory, 192); dot_bf16_tiles<2, 4, 6>(); store_rows<2>(memory, 192);
        }
        extern "C" __attribute__((visibility("default"))) void intrinsics(TileConfiguration* shapes, void* memory) {
          _tile_loadconfig(shapes);
          _tile_loadd(3, memory, 64); _tile_zero(1); _tile_dpbssd(1, 3, 5); _tile_stored(1, memory, 64);
          _tile_release();
          _tile_loadd(6, memory, 192); _tile_dpbf16ps(2, 4, 6); _tile_stored(2, memory, 192);
        }
        """
    )
    emulated.compile_object(source, ["-O2", *emulated.AMX_FLAGS], output)
    text = listing("objdump", "-d", "--no-show-raw-insn", output) + "\n\n"
    bodies = [re.search(rf"<{name}>:\n(.*?)\n\n", text, re.DOTALL) for name in ("wrappers", "intrinsics")]
    ours, theirs = (re.findall(r"(?:\w*tile|tdp)\w*.*", body.group(1)) for body in bodies if body is not None)
    assert len(ours) == 9
    assert ours == theirs


@pytest.mark.skipif(LACKING == "no g++", reason="no g++")
def test_object_keeps_the_pipeline(kernel_object: Path) -> None:
    """What a compiler could spoil.

    Each tile of sums is stored, zeroed and begun anew in that order, minima of another set stand between, and no vector
    is spilled.
    """
    text = listing("objdump", "-d", "--no-show-raw-insn", "-C", kernel_object)
    parts = re.findall(r"scan_words<(\d)>[^\n]*>:\n(.*?)\n\n", text + "\n\n", re.DOTALL)
    scans = {width: body for width, body in parts if "tdpbssd" in body}
    assert sorted(scans) == ["0", "1", "2", "4"]
    for body in scans.values():
        steady = re.search(
            r"tilestored %tmm0.*?tdpbssd %tmm6,%tmm4,%tmm0(.*?)tilestored %tmm1(.*?)tdpbssd %tmm7,%tmm4,%tmm1"
            r"(.*?)tilestored %tmm2(.*?)tdpbssd %tmm6,%tmm5,%tmm2(.*?)tilestored %tmm3(.*?)"
            r"tdpbssd %tmm7,%tmm5,%tmm3(.{600})",
            body,
            re.DOTALL,
        )
        assert steady is not None
        for minima in steady.group(1, 3, 5):
            assert minima.count("vpminsd") == 15
            assert "tile" not in minima
        for turn, reuse in enumerate(steady.group(2, 4, 6), start=1):
            assert re.findall(r"tile\w+ +%tmm\d", reuse) == [f"tilezero %tmm{turn}"]
        assert not re.search(r"vmov\w+ +%zmm\d+,.*\(%r[sb]p", steady.group(0))
