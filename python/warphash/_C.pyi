# SPDX-License-Identifier: Apache-2.0
"""CPU half of warphash: operators, machine probes, kernel entries."""

from types import ModuleType
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

def build_info() -> dict[str, str]: ...
def cpu_features() -> dict[str, Any]: ...
def prefer_large_pages(address: SupportsIndex, bytes: SupportsIndex) -> None: ...

class _Kernels(ModuleType):
    @staticmethod
    def hamming_topk(
        isa: str, queries: ArrayLike, database: ArrayLike, k: SupportsIndex
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
    @staticmethod
    def hamming_jaccard_topk(
        isa: str, queries: ArrayLike, database: ArrayLike, k: SupportsIndex
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
    @staticmethod
    def hamming_asymmetric_topk(
        isa: str, queries: ArrayLike, database: ArrayLike, k: SupportsIndex
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
    @staticmethod
    def hamming_cdist(isa: str, a: ArrayLike, b: ArrayLike) -> NDArray[np.int32]: ...
    @staticmethod
    def hashgrid_encode(isa: str, x: ArrayLike, table: ArrayLike, grid: str) -> NDArray[np.float32]: ...
    @staticmethod
    def hashgrid_backward(
        isa: str, gradient: ArrayLike, x: ArrayLike, table: ArrayLike, grid: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    @staticmethod
    def lsh_simhash(isa: str, x: ArrayLike, planes: ArrayLike, fast: bool = False) -> NDArray[np.uint8]: ...
    @staticmethod
    def lsh_simhash_codes(
        isa: str, x: ArrayLike, planes: ArrayLike, bits: SupportsIndex, gray: bool
    ) -> NDArray[np.int32]: ...
    @staticmethod
    def lsh_hd3(isa: str, x: ArrayLike, signs: ArrayLike, bits: SupportsIndex) -> NDArray[np.uint8]: ...
    @staticmethod
    def lsh_cross_polytope(isa: str, x: ArrayLike, signs: ArrayLike) -> NDArray[np.int32]: ...
    @staticmethod
    def lsh_pstable(
        isa: str, x: ArrayLike, directions: ArrayLike, offsets: ArrayLike, width: float
    ) -> NDArray[np.int32]: ...
    @staticmethod
    def lsh_minhash(
        isa: str, tokens: ArrayLike, offsets: ArrayLike, a: ArrayLike, b: ArrayLike, scheme: SupportsIndex
    ) -> NDArray[np.int32]: ...
    @staticmethod
    def lsh_one_permutation(
        isa: str, tokens: ArrayLike, offsets: ArrayLike, num_bins: SupportsIndex, a: SupportsIndex, b: SupportsIndex
    ) -> NDArray[np.int32]: ...
    @staticmethod
    def lsh_densify(isa: str, signatures: ArrayLike, seed: SupportsIndex) -> NDArray[np.int32]: ...
    @staticmethod
    def lsh_band_keys(isa: str, signatures: ArrayLike, bands: SupportsIndex) -> NDArray[np.int64]: ...
    @staticmethod
    def lsh_bbit_pack(isa: str, signatures: ArrayLike, bits: SupportsIndex) -> NDArray[np.uint8]: ...
    @staticmethod
    def lsh_bucket_query(
        isa: str, order: ArrayLike, offsets: ArrayLike, codes: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
    @staticmethod
    def lsh_bucket_sum(
        isa: str, values: ArrayLike, codes: ArrayLike, num_buckets: SupportsIndex
    ) -> NDArray[np.generic]: ...
    @staticmethod
    def lsh_bucket_gather_sum(isa: str, table: ArrayLike, codes: ArrayLike) -> NDArray[np.generic]: ...
    @staticmethod
    def lsh_pair_jaccard(isa: str, tokens: ArrayLike, offsets: ArrayLike, pairs: ArrayLike) -> NDArray[np.float64]: ...
    @staticmethod
    def spgemm_inspect(isa: str, crow: ArrayLike, col: ArrayLike, columns: SupportsIndex) -> tuple[int, int, int]: ...
    @staticmethod
    def spgemm_numeric(
        isa: str,
        a_crow: ArrayLike,
        a_col: ArrayLike,
        a_values: ArrayLike,
        b_crow: ArrayLike,
        b_col: ArrayLike,
        b_values: ArrayLike,
        crow: ArrayLike,
        col: ArrayLike,
        columns: SupportsIndex,
        semiring: SupportsIndex,
        covers: bool,
    ) -> NDArray[np.generic]: ...
    @staticmethod
    def spgemm_gradients(
        isa: str,
        gradient: ArrayLike,
        a_crow: ArrayLike,
        a_col: ArrayLike,
        a_values: ArrayLike,
        b_crow: ArrayLike,
        b_col: ArrayLike,
        b_values: ArrayLike,
        crow: ArrayLike,
        col: ArrayLike,
        columns: SupportsIndex,
        of_a: bool,
        of_b: bool,
    ) -> tuple[NDArray[np.generic], NDArray[np.generic]]: ...
    @staticmethod
    def spgemm_winners(
        isa: str,
        a_crow: ArrayLike,
        a_col: ArrayLike,
        a_values: ArrayLike,
        b_crow: ArrayLike,
        b_col: ArrayLike,
        b_values: ArrayLike,
        crow: ArrayLike,
        col: ArrayLike,
        columns: SupportsIndex,
        semiring: SupportsIndex,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
    @staticmethod
    def spgemm_masked(
        isa: str,
        a_crow: ArrayLike,
        a_col: ArrayLike,
        a_values: ArrayLike,
        b_crow: ArrayLike,
        b_col: ArrayLike,
        b_values: ArrayLike,
        columns: SupportsIndex,
        semiring: SupportsIndex,
        mask_crow: ArrayLike,
        mask_col: ArrayLike,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.generic]]: ...
    @staticmethod
    def spgemm_masked_pattern(
        isa: str,
        a_crow: ArrayLike,
        a_col: ArrayLike,
        b_crow: ArrayLike,
        b_col: ArrayLike,
        columns: SupportsIndex,
        mask_crow: ArrayLike,
        mask_col: ArrayLike,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
    @staticmethod
    def spgemm_product(
        isa: str,
        a_crow: ArrayLike,
        a_col: ArrayLike,
        a_values: ArrayLike,
        b_crow: ArrayLike,
        b_col: ArrayLike,
        b_values: ArrayLike,
        columns: SupportsIndex,
        semiring: SupportsIndex = 0,
        exclude_crow: ArrayLike | None = None,
        exclude_col: ArrayLike | None = None,
        at_once: bool = False,
    ) -> tuple[NDArray[np.int64], NDArray[np.signedinteger], NDArray[np.generic]]: ...
    @staticmethod
    def spgemm_pattern(
        isa: str,
        a_crow: ArrayLike,
        a_col: ArrayLike,
        b_crow: ArrayLike,
        b_col: ArrayLike,
        columns: SupportsIndex,
        exclude_crow: ArrayLike | None = None,
        exclude_col: ArrayLike | None = None,
        at_once: bool = False,
    ) -> tuple[NDArray[np.int64], NDArray[np.signedinteger]]: ...
    @staticmethod
    def spgemm_topk(
        isa: str,
        a_crow: ArrayLike,
        a_col: ArrayLike,
        a_values: ArrayLike,
        b_crow: ArrayLike,
        b_col: ArrayLike,
        b_values: ArrayLike,
        columns: SupportsIndex,
        k: SupportsIndex,
    ) -> tuple[NDArray[np.generic], NDArray[np.int64]]: ...

class _Probes(ModuleType):
    @staticmethod
    def core_clock() -> float | None: ...
    @staticmethod
    def read_bandwidth(bytes: SupportsIndex, threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def write_bandwidth(bytes: SupportsIndex, threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def gather_rate(bytes: SupportsIndex, threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def row_gather_rate(bytes: SupportsIndex, threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def row_update_rate(bytes: SupportsIndex, threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def touch_bandwidth(bytes: SupportsIndex, threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def accumulate_rate(bytes: SupportsIndex, threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def popcount_portable(threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def popcount_word(threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def distance_avx2(threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def popcount_avx512(threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def distance_word(threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def distance_avx512(threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def multiply_add(threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def affine_min(threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def int8_avx512(threads: SupportsIndex = 1) -> float | None: ...
    @staticmethod
    def int8_amx(threads: SupportsIndex = 1) -> float | None: ...

kernels: _Kernels
probes: _Probes
