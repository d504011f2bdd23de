# SPDX-License-Identifier: Apache-2.0
"""warphash: fast, exact, differentiable hash kernels for PyTorch, the same numbers on every machine."""

# _load comes first: it registers the operators.
from . import _load, data, hamming, hashgrid, interop, losses, lsh, nn, retrieval, spgemm
from ._load import build_info

__version__ = _load.version()
__all__ = [
    "__version__",
    "build_info",
    "data",
    "hamming",
    "hashgrid",
    "interop",
    "losses",
    "lsh",
    "nn",
    "retrieval",
    "spgemm",
]
