# SPDX-License-Identifier: Apache-2.0
"""The kernel of Numba's contestant on a GPU, for who has Numba; its simulator wants `cuda` among the globals."""

from numba import cuda, uint32

THREADS = 256


@cuda.jit
def distances(queries, codes, out):  # type: ignore[no-untyped-def]
    """A thread a pair: queries int32 [Q, words], codes int32 [N, words], out int16 [Q, N]."""
    code, query = cuda.grid(1), cuda.blockIdx.y
    if code < codes.shape[0]:
        total = 0
        for word in range(codes.shape[1]):
            total += cuda.popc(uint32(queries[query, word] ^ codes[code, word]))
        out[query, code] = total


def grid(queries: int, codes: int) -> tuple[int, int]:
    return (codes + THREADS - 1) // THREADS, queries
