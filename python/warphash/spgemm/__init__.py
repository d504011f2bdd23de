# SPDX-License-Identifier: Apache-2.0
"""Products of sparse matrices in CSR: with gradients, masks, semirings, and the largest entries of each row."""

from . import csr, functional, plans, reference, registration
from .functional import matmul, matmul_many, row_chunks, topk
from .plans import Plan, plan

__all__ = [
    "Plan",
    "csr",
    "functional",
    "matmul",
    "matmul_many",
    "plan",
    "plans",
    "reference",
    "registration",
    "row_chunks",
    "topk",
]
