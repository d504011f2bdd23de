# SPDX-License-Identifier: Apache-2.0
"""cuSPARSE's SpGEMM by each of its algorithms, on torch's arrays, straight from the library that torch brings along.

Bindings for Python choose an algorithm themselves; ALG2 and ALG3, which take less memory, cannot be had from them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_int64, c_size_t, c_void_p
from functools import lru_cache, partial
from typing import Any

import torch

from bench.harness.workload import Contestant, Prepared, Settings, Unavailable
from bench.spgemm_inputs import Product
from bench.spgemm_ours import as_matrix

NOT_TRANSPOSED, INT32, FROM_ZERO, FLOAT32 = 0, 2, 0, 0
ALGORITHMS = {"ALG1": 3, "ALG2": 4, "ALG3": 5}
CHUNK = 0.2  # of the products at once, by ALG3: as in NVIDIA's example

# Parameters after the handle, the operations, alpha, a, b, beta, c, type, algorithm and descriptor that all have.
_OPERANDS = [c_void_p, c_int, c_int, *[c_void_p] * 5, c_int, c_int, c_void_p]
_PARAMETERS: dict[str, list[Any]] = {
    "cusparseCreate": [c_void_p],
    "cusparseDestroy": [c_void_p],
    "cusparseSetStream": [c_void_p, c_void_p],
    "cusparseCreateCsr": [c_void_p, *[c_int64] * 3, *[c_void_p] * 3, *[c_int] * 4],
    "cusparseDestroySpMat": [c_void_p],
    "cusparseSpMatGetSize": [*[c_void_p] * 4],
    "cusparseCsrSetPointers": [*[c_void_p] * 4],
    "cusparseSpGEMM_createDescr": [c_void_p],
    "cusparseSpGEMM_destroyDescr": [c_void_p],
    "cusparseSpGEMM_workEstimation": [*_OPERANDS, c_void_p, c_void_p],
    "cusparseSpGEMM_estimateMemory": [*_OPERANDS, c_float, c_void_p, c_void_p, c_void_p],
    "cusparseSpGEMM_compute": [*_OPERANDS, c_void_p, c_void_p],
    "cusparseSpGEMM_copy": _OPERANDS,
}


@lru_cache
def load() -> Any:
    """The library by the name under which torch has loaded it."""
    for name in ("libcusparse.so.12", "libcusparse.so.13", "libcusparse.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise Unavailable("there is no libcusparse")


class Cusparse:
    """Calls by name; a status that is no success is an error."""

    def __init__(self, library: Any) -> None:
        self._library = library
        for name, parameters in _PARAMETERS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = parameters, c_int
        self.handle = c_void_p()
        self("cusparseCreate", byref(self.handle))

    def __call__(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name}: status {status}")

    def csr(self, rows: int, columns: int, entries: int, parts: tuple[Any, Any, Any]) -> c_void_p:
        matrix = c_void_p()
        kinds = (INT32, INT32, FROM_ZERO, FLOAT32)
        self("cusparseCreateCsr", byref(matrix), rows, columns, entries, *parts, *kinds)
        return matrix


def _bytes(size: c_size_t, device: torch.device) -> tuple[torch.Tensor, c_void_p]:
    """The tensor must live as long as the pointer is used; never null, by which a size would be asked for again."""
    buffer = torch.empty(max(size.value, 1), dtype=torch.uint8, device=device)
    return buffer, c_void_p(buffer.data_ptr())


Arrays = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def multiply(
    cusparse: Cusparse, a: Arrays, b: Arrays, shape: tuple[int, int, int], algorithm: str, stream: int
) -> Arrays:
    """Of a [rows, inner] times b [inner, columns]: crow, col and values, int32, int32 and float32 as theirs."""
    rows, inner, columns = shape
    device, pointers = a[0].device, partial(map, torch.Tensor.data_ptr)
    cusparse("cusparseSetStream", cusparse.handle, stream)
    left = cusparse.csr(rows, inner, len(a[1]), tuple(pointers(a)))
    right = cusparse.csr(inner, columns, len(b[1]), tuple(pointers(b)))
    crow = torch.empty(rows + 1, dtype=torch.int32, device=device)
    product = cusparse.csr(rows, columns, 0, (crow.data_ptr(), None, None))
    description = c_void_p()
    cusparse("cusparseSpGEMM_createDescr", byref(description))
    alpha, beta = c_float(1.0), c_float(0.0)
    kinds = (FLOAT32, ALGORITHMS[algorithm], description)
    operands = (
        cusparse.handle,
        NOT_TRANSPOSED,
        NOT_TRANSPOSED,
        byref(alpha),
        left,
        right,
        byref(beta),
        product,
        *kinds,
    )
    work, least, most = (c_size_t(0) for _ in range(3))
    try:
        cusparse("cusparseSpGEMM_workEstimation", *operands, byref(work), None)
        estimation, place = _bytes(work, device)
        cusparse("cusparseSpGEMM_workEstimation", *operands, byref(work), place)
        if algorithm == "ALG1":
            cusparse("cusparseSpGEMM_compute", *operands, byref(most), None)
        else:
            cusparse("cusparseSpGEMM_estimateMemory", *operands, CHUNK, byref(least), None, None)
            estimated, place = _bytes(least, device)
            cusparse("cusparseSpGEMM_estimateMemory", *operands, CHUNK, byref(least), place, byref(most))
            del estimated
        computation, place = _bytes(most, device)
        cusparse("cusparseSpGEMM_compute", *operands, byref(most), place)
        sizes = [c_int64() for _ in range(3)]
        cusparse("cusparseSpMatGetSize", product, *map(byref, sizes))
        col = torch.empty(sizes[2].value, dtype=torch.int32, device=device)
        values = torch.empty(sizes[2].value, dtype=torch.float32, device=device)
        cusparse("cusparseCsrSetPointers", product, *pointers((crow, col, values)))
        cusparse("cusparseSpGEMM_copy", *operands)
        del estimation, computation
    finally:
        cusparse("cusparseSpGEMM_destroyDescr", description)
        for matrix in (left, right, product):
            cusparse("cusparseDestroySpMat", matrix)
    return crow, col, values


def _arrays(matrix: torch.Tensor) -> Arrays:
    return matrix.crow_indices().int(), matrix.col_indices().int(), matrix.values().float()


def product_call(cusparse: Cusparse, problem: Product, algorithm: str, stream: int) -> Callable[[], torch.Tensor]:
    a, b = _arrays(problem.a), _arrays(problem.b)
    shape = (problem.a.shape[0], problem.a.shape[1], problem.b.shape[1])

    def call() -> torch.Tensor:
        parts = multiply(cusparse, a, b, shape, algorithm, stream)
        return torch.sparse_csr_tensor(*parts, size=(shape[0], shape[2]), check_invariants=False)

    return call


@lru_cache
def _connected() -> Cusparse:
    return Cusparse(load())


def cusparse_product(problem: Product, settings: Settings, algorithm: str) -> Prepared:
    stream = torch.cuda.current_stream(settings.device).cuda_stream
    note = f"SpGEMM, chunks of {CHUNK:.0%}" if algorithm == "ALG3" else "SpGEMM"
    return Prepared(product_call(_connected(), problem, algorithm, stream), as_matrix, note=note)


CUSPARSE_PEERS = tuple(
    Contestant(f"cuSPARSE {algorithm}", partial(cusparse_product, algorithm=algorithm), devices=("cuda",))
    for algorithm in ALGORITHMS
)
