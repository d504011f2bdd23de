# SPDX-License-Identifier: Apache-2.0
"""The fast SimHash by AMX, its tiles modelled in software, against NumPy; and the object that real machines run."""

from __future__ import annotations

import math
import re
import subprocess
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from . import emulated
from .emulated_simhash import FOLDER, Bits, Floats, Halves, from_bf16, simhash, to_bf16
from .emulated_simhash import product as tile_product

LACKING = emulated.lacking("avx512_bf16")
needs_bf16 = pytest.mark.skipif(LACKING is not None, reason=f"AMX emulation: {LACKING}")
needs_compiler = pytest.mark.skipif(emulated.lacking() == "no g++", reason="no g++")


# ---- One product, as Intel's manual has it -------------------------------------------------------------------------


def float32(value: Fraction) -> Fraction:
    """Rounded to nearest, ties to even, with any exponent; what is below the least normal number then becomes zero."""
    if value == 0:
        return value
    exponent = math.floor(math.log2(abs(value.numerator)) - math.log2(value.denominator))
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (exponent - 23)
    rounded = round(value / unit) * unit
    return rounded if abs(rounded) >= Fraction(2) ** -126 else Fraction(0)


def flushed(value: np.float32) -> Fraction:
    return Fraction(float(value)) if abs(value) >= np.float32(2.0**-126) else Fraction(0)


def documented_product(sums: Floats, left: Halves, right: Halves, rows: int, pairs: int, columns: int) -> Floats:
    a, b, result = from_bf16(left), from_bf16(right), sums.copy()
    for m, n in product(range(rows), range(columns)):
        even = odd = Fraction(0)
        for k in range(pairs):
            even = float32(even + flushed(a[m, 2 * k]) * flushed(b[k, 2 * n]))
            odd = float32(odd + flushed(a[m, 2 * k + 1]) * flushed(b[k, 2 * n + 1]))
        result[m, n] = float(float32(flushed(sums[m, n]) + float32(even + odd)))
    return result


def wild(rng: np.random.Generator, shape: tuple[int, ...], least: int, most: int) -> Floats:
    exponents = rng.integers(least, most + 1, shape).astype(np.float64)
    return (rng.normal(size=shape) * 2.0**exponents).astype(np.float32)


@needs_bf16
@pytest.mark.parametrize(("least", "most"), [(0, 0), (-8, 8), (-66, -60), (-75, -50)])
def test_the_model_multiplies_as_documented(least: int, most: int) -> None:
    """The last two ranges have products and sums below the least normal number."""
    rng = np.random.default_rng(most - least)
    sums = wild(rng, (16, 16), 2 * least, 2 * most)
    left, right = to_bf16(wild(rng, (16, 32), least, most)), to_bf16(wild(rng, (16, 32), least, most))
    for shape in ((16, 16, 16), (5, 16, 16), (16, 7, 3)):
        assert np.array_equal(tile_product(sums, left, right, *shape), documented_product(sums, left, right, *shape))


@needs_bf16
def test_the_model_flushes_denormals() -> None:
    ones, tiny = np.full((16, 32), 0x3F80, np.uint16), np.full((16, 32), 0x007F, np.uint16)
    zeros, denormal = np.zeros((16, 16), np.float32), np.full((16, 16), 2.0**-127, np.float32)
    assert not tile_product(zeros, ones, tiny).any()
    assert not tile_product(zeros, tiny, ones).any()
    assert not tile_product(denormal, np.zeros((16, 32), np.uint16), ones).any()
    # 2^-64 squared is below the least normal number, 32 of them would not be.
    small = to_bf16(np.full((16, 32), 2.0**-64, np.float32))
    assert not tile_product(zeros, small, small).any()
    # The process's own mode is as it was.
    assert np.float32(2.0**-120) * np.float32(2.0**-10) != 0


# ---- The whole call ------------------------------------------------------------------------------------------------


def rounded(x: Floats, planes: Floats, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    narrow = x if dtype == "bfloat16" else x.astype(dtype).astype(np.float32)
    return from_bf16(to_bf16(narrow)).astype(np.float64), from_bf16(to_bf16(planes)).astype(np.float64)


def check_exact(x: Floats, planes: Floats, dtype: str = "float32") -> None:
    """For values of which every sum is exact: all bits, those of zero sums too."""
    a, b = rounded(x, planes, dtype)
    assert np.array_equal(simhash(x, planes, dtype), a @ b >= 0)


def check(x: Floats, planes: Floats, dtype: str = "float32") -> Bits:
    """Every bit whose sum is further from zero than its roundings can have moved it.

    A product passes through at most 16 of a chain, one where two chains meet, and one for each product of tiles.
    """
    found = simhash(x, planes, dtype)
    a, b = rounded(x, planes, dtype)
    sums, sizes = a @ b, np.abs(a) @ np.abs(b)
    decided = np.abs(sums) > (17 + -(-x.shape[1] // 32)) * 2.0**-24 * sizes
    assert np.array_equal(found[decided], sums[decided] >= 0)
    assert decided.size - decided.sum() <= 2 + decided.size // 1000
    return found


def integers(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.integers(-3, 4, shape).astype(np.float32)


def normals(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.normal(size=shape).astype(np.float32)


ROW_EDGES, DIM_EDGES, BIT_EDGES = (1, 15, 16, 17, 31, 32, 33, 40), (1, 2, 31, 32, 33, 70), (1, 16, 17, 48, 64, 65, 300)


@needs_bf16
def test_all_counts_of_rows() -> None:
    rng = np.random.default_rng(1)
    for rows, dim, bits in product(range(1, 41), (1, 33, 64), (7, 17, 33, 100)):
        check_exact(integers(rng, rows, dim), integers(rng, dim, bits))


@needs_bf16
def test_all_counts_of_dimensions() -> None:
    rng = np.random.default_rng(2)
    for rows, dim, bits in product((1, 17, 40), range(1, 71), (5, 64, 81)):
        check_exact(integers(rng, rows, dim), integers(rng, dim, bits))


@needs_bf16
def test_all_counts_of_bits() -> None:
    rng = np.random.default_rng(3)
    for rows, dim, bits in product((3, 32, 39), (9, 35), range(1, 301)):
        check_exact(integers(rng, rows, dim), integers(rng, dim, bits))


@needs_bf16
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_edges_of_all_sizes(dtype: str) -> None:
    rng = np.random.default_rng(4)
    for rows, dim, bits in product(ROW_EDGES, DIM_EDGES, BIT_EDGES):
        check_exact(integers(rng, rows, dim), integers(rng, dim, bits), dtype)
        check(normals(rng, rows, dim), normals(rng, dim, bits), dtype)


@needs_bf16
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("dim", [768, 1150, 1152, 1154, 1600, 2336, 3001])
def test_many_dimensions(dim: int, dtype: str) -> None:
    """Sums that rest in memory between chunks of dimensions; blocks of fewer rows."""
    rng = np.random.default_rng(dim)
    for rows, bits in ((3, 70), (101, 64), (29, 33)):
        check_exact(integers(rng, rows, dim), integers(rng, dim, bits), dtype)
        check(normals(rng, rows, dim), normals(rng, dim, bits), dtype)


@needs_bf16
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_many_rows_on_two_threads(dtype: str) -> None:
    rng = np.random.default_rng(5)
    x, planes = normals(rng, 1500, 64), normals(rng, 64, 130)
    check(x, planes, dtype)


@needs_bf16
@pytest.mark.parametrize("dim", [50, 64, 1300])
def test_a_vector_alone_has_the_same_code(dim: int) -> None:
    rng = np.random.default_rng(dim)
    x, planes = normals(rng, 40, dim), normals(rng, dim, 200)
    together = simhash(x, planes)
    for row in range(40):
        assert np.array_equal(simhash(x[row : row + 1], planes)[0], together[row])
    for bits in (1, 16, 40, 100):
        assert np.array_equal(simhash(x, np.ascontiguousarray(planes[:, :bits])), together[:, :bits])


@needs_bf16
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("dim", [1, 7, 33, 64])
def test_nan_gives_zero_and_stays_in_its_row(dim: int, dtype: str) -> None:
    rng = np.random.default_rng(dim)
    for rows, bits in ((1, 3), (18, 40), (40, 100)):
        x, planes = integers(rng, rows, dim), integers(rng, dim, bits)
        clean = simhash(x, planes, dtype)
        spoiled = x.copy()
        bad = rng.integers(rows)
        spoiled[bad, rng.integers(dim)] = np.nan
        found = simhash(spoiled, planes, dtype)
        assert not found[bad].any()
        assert np.array_equal(np.delete(found, bad, 0), np.delete(clean, bad, 0))
        column = rng.integers(bits)
        planes[rng.integers(dim), column] = np.nan
        found = simhash(x, planes, dtype)
        assert not found[:, column].any()
        assert np.array_equal(np.delete(found, column, 1), np.delete(clean, column, 1))


@needs_bf16
@pytest.mark.parametrize("dim", [5, 33, 64])
def test_infinities_meet_no_padding(dim: int) -> None:
    rng = np.random.default_rng(dim)
    x, planes = integers(rng, 37, dim), integers(rng, dim, 50)
    x[::3, dim // 2] = np.inf
    x[1::3, dim - 1] = -np.inf
    planes[0, ::5] = np.inf
    with np.errstate(invalid="ignore"):
        truth = (x[:, :, None] * planes).sum(axis=1) >= 0
    for dtype in ("float16", "bfloat16", "float32"):
        assert np.array_equal(simhash(x, planes, dtype), truth)


@needs_bf16
def test_zeros_of_both_signs_and_no_dimensions_give_one() -> None:
    planes = normals(np.random.default_rng(6), 40, 70)
    for zero in (0.0, -0.0):
        assert simhash(np.full((19, 40), zero, np.float32), planes).all()
    assert simhash(np.zeros((19, 0), np.float32), np.zeros((0, 70), np.float32)).all()


# ---- The object ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel as real machines get it."""
    output = tmp_path_factory.mktemp("amx") / "simhash_fast_amx.o"
    flags = ["-O3", *emulated.AVX512_FLAGS, *emulated.AMX_FLAGS]
    emulated.compile_object(FOLDER / "simhash_fast_amx.cpp", flags, output)
    return output


def listing(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout


@needs_compiler
def test_object_has_no_weak_symbols(kernel_object: Path) -> None:
    symbols = [line.split() for line in listing("nm", "-C", kernel_object).splitlines()]
    kinds = {fields[1] if len(fields[0]) == 16 else fields[0] for fields in symbols}
    assert not kinds & set("WVuwv")
    assert [fields[-1] for fields in symbols if "T" in fields[:2]] == ["warphash::lsh::fast_amx()"]


@needs_compiler
def test_object_has_the_loop_as_written(kernel_object: Path) -> None:
    """Four products for four loads a step, no vector between them."""
    text = listing("objdump", "-d", "--no-show-raw-insn", "-C", kernel_object) + "\n\n"
    bodies = dict(re.findall(r"::(signs|sums)\([^\n]*>:\n(.*?)\n\n", text, re.DOTALL))
    assert sorted(bodies) == ["signs", "sums"]
    step = [
        *("tileloadd tmm4", "tileloadd tmm6", "tdpbf16ps tmm6,tmm4,tmm0", "tileloadd tmm7", "tdpbf16ps tmm7,tmm4,tmm1"),
        *("tileloadd tmm5", "tdpbf16ps tmm6,tmm5,tmm2", "tdpbf16ps tmm7,tmm5,tmm3"),
    ]
    for body in bodies.values():
        # The innermost loops: from a load of rows to the jump back.
        loops = re.findall(r"(tileloadd [^\n]*%tmm4\n.*?)\tj(?!mp)", body, re.DOTALL)
        tiles = [re.findall(r"(tileloadd|tdp\w+) +(?:\([^\n]*\),)?(\S+)", loop) for loop in loops]
        steps = [[f"{name} {operands.replace('%', '')}" for name, operands in loop] for loop in tiles]
        assert len(steps) == 4
        assert step in steps
        assert "zmm" not in loops[steps.index(step)]
        # What is stored has been begun, and the unit is given back.
        for tile in range(4):
            assert re.search(rf"tilezero %tmm{tile}\b", body)
            assert re.search(rf"tilestored %tmm{tile}\b", body)
        assert "tilerelease" in body
