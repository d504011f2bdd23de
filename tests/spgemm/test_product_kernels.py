# SPDX-License-Identifier: Apache-2.0
"""The product's kernels against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import warphash  # noqa: F401


def _tensors(matrix: sp.csr_array) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.from_numpy(matrix.indptr.astype(np.int32)),
        torch.from_numpy(matrix.indices.astype(np.int32)),
        torch.from_numpy(matrix.data),
    )


@pytest.mark.parametrize("shape", [(0, 5, 7), (5, 0, 7), (5, 7, 0), (1, 1, 1), (40, 50, 60), (3, 900, 400_000)])
def test_against_scipy(shape):
    rows, inner, columns = shape
    generator = np.random.default_rng(0)
    a, b = (
        sp.random_array(size, density=0.1, format="csr", dtype=np.float32, rng=generator)
        for size in ((rows, inner), (inner, columns))
    )
    a.sort_indices(), b.sort_indices()
    expected = a @ b
    expected.sort_indices()
    crow, col, values = torch.ops.warphash.spgemm_matmul(*_tensors(a), *_tensors(b), columns, 0, None, None)
    assert np.array_equal(crow, expected.indptr)
    assert np.array_equal(col, expected.indices)
    assert np.array_equal(values, expected.data)
