# SPDX-License-Identifier: Apache-2.0
"""CUDA half of warphash: operators, device probes, a top-k by named algorithm."""

from typing import SupportsIndex

def build_info() -> dict[str, str]: ...
def copy_bandwidth(bytes: SupportsIndex = ...) -> float: ...
def popc_rate() -> float: ...
def mma_b1_rate() -> float: ...
def mma_s8_rate() -> float: ...
def hamming_topk(
    metric: str,
    algorithm: str,
    queries: SupportsIndex,
    query_count: SupportsIndex,
    database: SupportsIndex,
    database_count: SupportsIndex,
    bytes: SupportsIndex,
    k: SupportsIndex,
    values: SupportsIndex,
    indices: SupportsIndex,
    stream: SupportsIndex = 0,
) -> None: ...
