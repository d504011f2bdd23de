# SPDX-License-Identifier: Apache-2.0
"""Every CUDA launcher of values on a known pattern, gradients and winners, run on the CPU, against the definitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from cuda_emulation.emulated import MODE, EmulatedKernels
from warphash.spgemm import reference

FOLDER = "csrc/spgemm/numeric"
KERNELS = [f"{FOLDER}/{name}.cu" for name in ("numeric", "winners", "gradient_a", "gradient_b")]
KERNELS += ["csrc/spgemm/narrowed.cu"]
SOURCES = [*KERNELS, "tests/spgemm/emulated_numeric.cpp"]

PLUS_TIMES, OR_AND, MIN_PLUS, MAX_TIMES = range(4)


@dataclass
class Csr:
    crow: np.ndarray
    col: np.ndarray
    rows: int
    columns: int

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.crow), torch.from_numpy(self.col).long()


def csr_of(dense: np.ndarray) -> Csr:
    """The pattern of what is not 0."""
    crow = np.concatenate([[0], np.cumsum((dense != 0).sum(1))]).astype(np.int64)
    return Csr(crow, np.nonzero(dense)[1].astype(np.int32), *dense.shape)


def sparse(generator: np.random.Generator, rows: int, columns: int, share: float) -> np.ndarray:
    return generator.random((rows, columns)) < share


def problem(name: str) -> tuple[Csr, Csr, Csr]:
    """a, b and a pattern of their product."""
    generator = np.random.default_rng(3)
    if name == "hubs":  # a hub row and column in both; rows of several dense pieces
        a, b = sparse(generator, 9, 40, 0.1), sparse(generator, 40, 300, 0.1)
        a[2], a[:, 3], b[3], b[:, 7] = True, True, True, True
    elif name == "wide":  # columns far apart: pieces are searched
        a, b = sparse(generator, 6, 12, 0.4), np.zeros((12, 60_000), bool)
        b[generator.integers(0, 12, 180), generator.integers(0, 60_000, 180)] = True
        b[4, generator.integers(0, 60_000, 90)] = True
        a[1] = True
    elif name == "long":  # more entries of A in a row than a block takes at a time
        a, b = sparse(generator, 3, 300, 0.02), sparse(generator, 300, 20, 0.05)
        a[1] = True
    elif name == "many":  # entries of A, so that products are estimated
        a, b = sparse(generator, 90, 30, 0.5), sparse(generator, 30, 20, 0.2)
    elif name == "small":
        a, b = sparse(generator, 17, 8, 0.3), sparse(generator, 8, 11, 0.3)
    else:  # no rows, no columns, nothing between
        rows, inner, columns = map(int, name.split("x"))
        a, b = np.ones((rows, inner), bool), np.ones((inner, columns), bool)
    product = (a.astype(np.float32) @ b.astype(np.float32)) > 0
    return csr_of(a), csr_of(b), csr_of(product)


def other_pattern(pattern: Csr) -> Csr:
    """Some entries of a product, some that are none, and some rows that begin with columns of -1."""
    generator = np.random.default_rng(5)
    dense = np.zeros((pattern.rows, pattern.columns), bool)
    dense[np.repeat(np.arange(pattern.rows), np.diff(pattern.crow)), pattern.col] = True
    dense &= generator.random(dense.shape) < 0.6
    dense |= generator.random(dense.shape) < min(0.1, 200 / max(dense.size, 1))
    found = csr_of(dense)
    pieces = np.split(found.col, found.crow[1:-1]) if pattern.rows else []
    pieces = [np.concatenate([np.full(row % 3 * 2, -1, np.int32), piece]) for row, piece in enumerate(pieces)]
    crow = np.cumsum([0, *map(len, pieces)]).astype(np.int64)
    return Csr(crow, np.concatenate([*pieces, found.col[:0]]), pattern.rows, pattern.columns)


PROBLEMS = ["hubs", "wide", "long", "many", "small", "0x3x4", "3x0x4", "3x4x0", "1x1x1"]


def values_for(generator: np.random.Generator, count: int, dtype: str) -> np.ndarray:
    if dtype == "uint8":
        return generator.integers(0, 2, count).astype(np.uint8)
    if dtype.startswith("int"):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, count, dtype=dtype)
    values = generator.integers(-9, 9, count) * generator.choice([0.1, 1, 1e3], count)
    values[generator.random(count) < 0.03] = generator.choice([np.inf, -np.inf, np.nan])
    return values.astype(dtype)


def as_tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.view(bool) if values.dtype == np.uint8 else values)


def sizes_of(a: Csr, b: Csr, pattern: Csr) -> np.ndarray:
    return np.array([a.rows, b.rows, b.columns, len(a.col), len(b.col), len(pattern.col)])


SEMIRINGS = [(dtype, ring) for dtype in ("float32", "float64", "int32", "int64") for ring in (0, 2, 3)]


@pytest.mark.parametrize("name", PROBLEMS)
def test_numeric(emulated_kernels: EmulatedKernels, name: str) -> None:
    a, b, product = problem(name)
    generator = np.random.default_rng(0)
    for dtype, semiring in (*SEMIRINGS, ("uint8", PLUS_TIMES), ("uint8", OR_AND)):
        of_a, of_b = (values_for(generator, len(operand.col), dtype) for operand in (a, b))
        for pattern, covers in ((product, True), (product, False), (other_pattern(product), False)):
            values = np.full(len(pattern.col), 7, dtype)
            launcher = getattr(emulated_kernels, f"numeric_{dtype}")
            arguments = (a.crow, a.col, of_a, b.crow, b.col, of_b, pattern.crow, pattern.col)
            launcher(sizes_of(a, b, pattern), *arguments, semiring, covers, values)
            operands = (*a.tensors(), as_tensor(of_a), *b.tensors(), as_tensor(of_b), *pattern.tensors())
            expected = reference.numeric(*operands, b.columns, semiring)
            np.testing.assert_array_equal(values, expected.numpy().view(dtype))


@pytest.mark.parametrize("name", PROBLEMS)
def test_winners(emulated_kernels: EmulatedKernels, name: str) -> None:
    a, b, product = problem(name)
    generator = np.random.default_rng(1)
    for dtype, semiring in SEMIRINGS:
        if semiring == PLUS_TIMES:
            continue
        of_a, of_b = (values_for(generator, len(operand.col), dtype) for operand in (a, b))
        of_a[::2], of_b[::3] = 1, 1  # ties
        for pattern in (product, other_pattern(product)):
            found = np.full((2, len(pattern.col)), -7, np.int64)
            launcher = getattr(emulated_kernels, f"winners_{dtype}")
            arguments = (a.crow, a.col, of_a, b.crow, b.col, of_b, pattern.crow, pattern.col)
            launcher(sizes_of(a, b, pattern), *arguments, semiring, *found)
            operands = (*a.tensors(), torch.from_numpy(of_a), *b.tensors(), torch.from_numpy(of_b))
            expected = reference.winners(*operands, *pattern.tensors(), b.columns, semiring)
            np.testing.assert_array_equal(found, torch.stack(expected))


def block_starts(a: Csr, b: Csr, pattern: Csr) -> list[int]:
    """The first rows of the blocks in which gradients of b are summed, where there are products enough."""
    sampled = a.col[np.arange(len(a.col)) % 1024 < 64] if len(a.col) >= 1024 else a.col
    products = int(np.diff(b.crow)[sampled].sum()) * len(a.col) // max(len(sampled), 1)
    room = 2 * (len(a.col) + len(b.col) + len(pattern.col))
    count = min(max(min(products // 4, room) // len(b.col), 1), 16) if len(b.col) else 1
    work = a.crow + pattern.crow + np.arange(a.rows + 1)
    return [0, *(int(np.searchsorted(work, work[-1] // count * block)) for block in range(1, count))]


def expected_gradients(
    gradient: np.ndarray, a: Csr, of_a: np.ndarray, b: Csr, of_b: np.ndarray, pattern: Csr, starts: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums in the kernels' order: of a in 16 lanes, of b row after row within blocks of rows."""
    to_a, to_b, own = np.zeros_like(of_a), np.zeros_like(of_b), np.zeros_like(of_b)
    row = np.zeros(b.columns + 1, gradient.dtype)  # the last one stands for -1
    for i in range(a.rows):
        if i in starts:
            to_b, own = to_b + own, np.zeros_like(own)
        entries = slice(pattern.crow[i], pattern.crow[i + 1])
        row[pattern.col[entries]] = gradient[entries]
        row[-1] = 0
        for entry in range(a.crow[i], a.crow[i + 1]):
            part = slice(b.crow[a.col[entry]], b.crow[a.col[entry] + 1])
            g = row[b.col[part]]
            own[part] += of_a[entry] * g
            products = np.concatenate([g * of_b[part], np.zeros(-len(g) % 16, g.dtype)]).reshape(-1, 16)
            lanes = np.zeros(16, g.dtype)
            for step in products:
                lanes += step
            while len(lanes) > 1:
                lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
            to_a[entry] = lanes[0]
        row[:] = 0
    return to_a, to_b + own


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients(emulated_kernels: EmulatedKernels, name: str, dtype: str) -> None:
    a, b, product = problem(name)
    generator = np.random.default_rng(2)
    keys, order = torch.sort(torch.from_numpy(a.col), stable=True)
    for pattern in (product, other_pattern(product)):
        of_a, of_b, gradient = (
            generator.standard_normal(len(operand.col)).astype(dtype) for operand in (a, b, pattern)
        )
        starts = block_starts(a, b, pattern)
        assert name != "many" or len(starts) > 4
        expected_a, expected_b = expected_gradients(gradient, a, of_a, b, of_b, pattern, starts)
        to_a, to_b, sizes = np.full_like(of_a, 7), np.full_like(of_b, 7), sizes_of(a, b, pattern)
        on = (b.crow, b.col, of_b, pattern.crow, pattern.col)
        getattr(emulated_kernels, f"gradient_of_a_{dtype}")(sizes, gradient, a.crow, a.col, *on, to_a)
        np.testing.assert_array_equal(to_a, expected_a)
        on = (a.crow, a.col, of_a, keys, order, b.crow, b.col, pattern.crow, pattern.col)
        getattr(emulated_kernels, f"gradient_of_b_{dtype}")(sizes, gradient, *on, 0, to_b)
        np.testing.assert_array_equal(to_b, expected_b)
        _, undivided = expected_gradients(gradient, a, of_a, b, of_b, pattern, [0])
        getattr(emulated_kernels, f"gradient_of_b_{dtype}")(sizes, gradient, *on, 2**62, to_b)
        np.testing.assert_array_equal(to_b, undivided)


@pytest.mark.skipif(MODE == "races", reason="equal columns in a row of b meet in one sum: a race within the arrays")
def test_wrong_data(emulated_kernels: EmulatedKernels) -> None:
    """Nothing outside of the arrays is touched (mode asan), and every launch ends."""
    generator = np.random.default_rng(4)
    a, b, pattern = problem("hubs")
    wild = np.array([-(2**31), -1, 2**31 - 1, 299, 300, 0, 39, 40])
    for turn in range(4):
        for operand in (a, b, pattern):
            where = generator.integers(0, len(operand.col), 30)
            operand.col[where] = generator.choice(wild, 30)
            if turn > 1:
                operand.crow[generator.integers(0, len(operand.crow), 3)] = [-5, 2**62, len(operand.col) + 1]
        of_a, of_b, gradient = (np.ones(len(operand.col), np.float32) for operand in (a, b, pattern))
        sizes, positions = sizes_of(a, b, pattern), np.zeros((2, len(pattern.col)), np.int64)
        operands = (a.crow, a.col, of_a, b.crow, b.col, of_b, pattern.crow, pattern.col)
        for covers in (False, True):
            emulated_kernels.numeric_float32(sizes, *operands, 0, covers, gradient)
        emulated_kernels.winners_float32(sizes, *operands, MIN_PLUS, *positions)
        assert positions[0].max() < len(a.col)
        assert positions[1].max() <= len(b.col)
        emulated_kernels.gradient_of_a_float32(sizes, gradient, a.crow, a.col, *operands[3:], of_a)
        keys, order = torch.sort(torch.from_numpy(a.col), stable=True)
        on = (a.crow, a.col, of_a, keys, order, b.crow, b.col, pattern.crow, pattern.col)
        emulated_kernels.gradient_of_b_float32(sizes, gradient, *on, 0, of_b)


@pytest.mark.parametrize("entries", [0, 1, 255, 2000])
def test_wide_columns(emulated_kernels: EmulatedKernels, entries: int) -> None:
    edges = np.array([0, 1, 2**31 - 1, 2**31, 2**32, 2**32 + 1, -1, -(2**31), -(2**32), 1 - 2**32, 2**62, -(2**63)])
    columns = np.resize(edges, entries).astype(np.int64)
    out = np.full(entries, -7, np.int32)
    emulated_kernels.narrow(columns, entries, out)
    assert (out == np.where((columns >= 0) & (columns < 2**31), columns, -1)).all()
