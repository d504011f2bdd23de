# SPDX-License-Identifier: Apache-2.0
"""Inspection of patterns by each instruction set against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from warphash import _C
from warphash.spgemm import reference

INDICES = (np.int32, np.int64)


def _inspect(isa: str, crow: np.ndarray, col: np.ndarray, columns: int) -> list[int]:
    return list(_C.kernels.spgemm_inspect(isa, crow, col, columns))


def _expected(crow: np.ndarray, col: np.ndarray, columns: int) -> list[int]:
    return reference.inspect(torch.from_numpy(crow), torch.from_numpy(col), columns).tolist()


@pytest.mark.parametrize("index", INDICES)
def test_small_patterns(isa, index):
    """Every way of going wrong, alone and together."""
    cases = [
        ([0], [], 0),
        ([0], [], 5),
        ([1], [], 5),
        ([0, 0, 0], [], 0),
        ([0, 1], [0], 0),
        ([0, 2, 4], [0, 1, 0, 1], 2),
        ([0, 2, 4], [0, 1, 1, 1], 2),
        ([0, 2, 4], [1, 0, 0, 1], 2),
        ([0, 2, 4], [0, 1, 0, 2], 2),
        ([0, 2, 4], [-1, 1, 0, 2], 2),
        ([0, 2, 4], [1, -1, 0, 2], 2),
        ([0, 3, 2, 4], [0, 1, 0, 1], 2),
        ([0, 2, 3], [0, 1, 0, 1], 2),
        ([0, 2, 5], [0, 1, 0, 1], 2),
        ([2, 2, 4], [0, 1, 0, 1], 2),
        ([0, -1, 4], [0, 1, 0, 1], 2),
        ([0, 0, 4, 4, 4], [0, 1, 3, 7], 8),
        ([0, 0, 4, 4, 4], [0, 1, 3, 3], 8),
    ]
    for crow, col, columns in cases:
        given = (np.array(crow, index), np.array(col, index), columns)
        assert _inspect(isa, *given) == _expected(*given), (crow, col, columns)


@pytest.mark.parametrize("index", INDICES)
def test_faults_anywhere_in_long_patterns(isa, index):
    """One fault at a time, at the ends of vectors, of pieces of work and of rows."""
    rows, each = 500, 100
    crow = (np.arange(rows + 1) * each).astype(index)
    good = np.tile(np.arange(each) * 3, rows).astype(index)
    assert _inspect(isa, crow, good, 3 * each) == [-1, -1, 0]
    generator = np.random.default_rng(0)
    places = {0, 1, 15, 16, 17, 99, 100, 16383, 16384, 16385, rows * each - 1, *generator.integers(0, rows * each, 20)}
    for place in places:
        col = good.copy()
        col[place] = 3 * each
        disordered = int(place % each != each - 1)
        assert _inspect(isa, crow, col, 3 * each) == [-1, place, disordered], place
        col[place] = good[place] - 3 if place % each else -1
        expected = [-1, -1, 1] if place % each else [-1, place, 0]
        assert _inspect(isa, crow, col, 3 * each) == expected, place


@pytest.mark.parametrize("index", INDICES)
def test_long_pointers(isa, index):
    crow = np.zeros(100_001, index)
    assert _inspect(isa, crow, np.zeros(0, index), 3) == [-1, -1, 0]
    crow[70_000:] = 2
    crow[90_000:] = 1
    assert _inspect(isa, crow, np.zeros(1, index), 3) == [90_000, -1, 0]


def test_columns_beyond_both_types(isa):
    """Any int64 may be the number of columns, and columns are read as they are, not narrowed."""
    wide = np.array([0, 2**31 - 1, 2**31, 2**40])
    crow = np.array([0, 4])
    assert _inspect(isa, crow, wide, 2**40 + 1) == [-1, -1, 0]
    assert _inspect(isa, crow, wide, 2**40) == [-1, 3, 0]
    assert _inspect(isa, crow, wide, 2**63 - 1) == [-1, -1, 0]
    assert _inspect(isa, crow, wide, -5) == [-1, 0, 0]
    assert _inspect(isa, crow.astype(np.int32), np.array([0, 1, 2, 2**31 - 1], np.int32), 2**40) == [-1, -1, 0]
    assert _inspect(isa, np.array([0, 1]), np.array([2**63 - 1]), 2**63 - 1) == [-1, 0, 0]
    assert _inspect(isa, np.array([0, 1]), np.array([-(2**63)]), 2**63 - 1) == [-1, 0, 0]


def test_operator_and_threads():
    generator = np.random.default_rng(1)
    col = np.sort(generator.choice(10**6, 200_000, replace=False))
    crow = np.array([0, 50_000, 50_000, 200_000])
    col[150_000] = col[149_999]
    before = torch.get_num_threads()
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        for index in (torch.int32, torch.int64):
            parts = (torch.from_numpy(x).to(index) for x in (crow, col))
            assert torch.ops.warphash.spgemm_inspect(*parts, 10**6).tolist() == [-1, -1, 1]
    torch.set_num_threads(before)
    with pytest.raises(RuntimeError, match="must share their dtype"):
        torch.ops.warphash.spgemm_inspect(torch.zeros(1, dtype=torch.int32), torch.zeros(0, dtype=torch.int64), 3)
    with pytest.raises(RuntimeError, match="must have an entry for each row and one more"):
        torch.ops.warphash.spgemm_inspect(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 3)
