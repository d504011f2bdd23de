# SPDX-License-Identifier: Apache-2.0
"""The CUDA launcher of the largest entries of a product's rows, run on the CPU, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_emulation.emulated import MODE, EmulatedKernels
from warphash.spgemm import reference

from .test_emulated_numeric import PROBLEMS, Csr, problem, values_for

KERNELS = ["csrc/spgemm/topk/topk.cu"]
SOURCES = [*KERNELS, "tests/spgemm/emulated_topk.cpp"]

ROUNDED = {0: None, 1: torch.float16, 2: torch.bfloat16}


def run(
    kernels: EmulatedKernels, a: Csr, of_a: np.ndarray, b: Csr, of_b: np.ndarray, k: int, rounding: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    values, indices = np.full((a.rows, k), 7, of_a.dtype), np.full((a.rows, k), -7, np.int64)
    sizes = np.array([a.rows, b.rows, b.columns, len(a.col), len(b.col)])
    operands = (a.crow, a.col, of_a, b.crow, b.col, of_b)
    getattr(kernels, f"topk_{of_a.dtype}")(sizes, *operands, k, rounding, values, indices)
    return values, indices


def check(
    kernels: EmulatedKernels, a: Csr, of_a: np.ndarray, b: Csr, of_b: np.ndarray, k: int, rounding: int = 0
) -> None:
    """Halves as operands are widened before a launch: their values are such as they have."""
    half = ROUNDED[rounding]
    operands = [torch.from_numpy(values) for values in (of_a, of_b)]
    if half is not None:
        operands = [values.to(half) for values in operands]
        of_a, of_b = (values.float().numpy() for values in operands)
    values, indices = run(kernels, a, of_a, b, of_b, k, rounding)
    expected = reference.topk(*a.tensors(), operands[0], *b.tensors(), operands[1], b.columns, k)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_array_equal(values, expected[0].to(torch.from_numpy(of_a).dtype))


@pytest.mark.parametrize("name", PROBLEMS)
def test_topk(emulated_kernels: EmulatedKernels, name: str) -> None:
    a, b, _ = problem(name)
    generator = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        of_a, of_b = (values_for(generator, len(operand.col), dtype) for operand in (a, b))
        for k in (0, 1, 5, 24, 60, 130):
            check(emulated_kernels, a, of_a, b, of_b, k)


@pytest.mark.parametrize("rounding", [1, 2])
def test_rounded(emulated_kernels: EmulatedKernels, rounding: int) -> None:
    """Sums that differ before they are rounded are ties after."""
    for name in ("hubs", "small"):
        a, b, _ = problem(name)
        generator = np.random.default_rng(1)
        of_a, of_b = (generator.standard_normal(len(operand.col)).astype(np.float32) for operand in (a, b))
        of_b[:] = np.sign(of_b) * (1 + np.abs(of_b) * 1e-3)
        for k in (3, 40):
            check(emulated_kernels, a, of_a, b, of_b, k, rounding)


def test_few_rows_are_split(emulated_kernels: EmulatedKernels) -> None:
    a, b, _ = problem("wide")
    generator = np.random.default_rng(2)
    first = Csr(a.crow[:3].copy(), a.col[: a.crow[2]].copy(), 2, a.columns)
    for dtype in ("float32", "float64"):
        of_b = generator.integers(-2, 3, len(b.col)).astype(dtype)  # ties, cancellation
        for k in (1, 7, 60, 300):
            check(emulated_kernels, first, np.ones(len(first.col), dtype), b, of_b, k)


@pytest.mark.skipif(MODE == "races", reason="equal columns in a row of b meet in one sum: a race within the arrays")
def test_wrong_data(emulated_kernels: EmulatedKernels) -> None:
    """Nothing outside of the arrays is touched (mode asan), and every launch ends."""
    generator = np.random.default_rng(4)
    for name in ("hubs", "wide"):
        a, b, _ = problem(name)
        wild = np.array([-(2**31), -1, 2**31 - 1, b.columns - 1, b.columns, 0, a.columns - 1, a.columns])
        for turn in range(4):
            for operand in (a, b):
                where = generator.integers(0, len(operand.col), 30)
                operand.col[where] = generator.choice(wild, 30)
                if turn > 1:
                    operand.crow[generator.integers(0, len(operand.crow), 3)] = [-5, 2**62, len(operand.col) + 1]
            of_a, of_b = (np.ones(len(operand.col), np.float32) for operand in (a, b))
            _, indices = run(emulated_kernels, a, of_a, b, of_b, 30)
            assert indices.min() >= -1
            assert indices.max() < b.columns
