# SPDX-License-Identifier: Apache-2.0
"""The room of sparse products: its workloads, what each call must do at the least, who takes part, and the targets.

A product's time is that of its result, which is fresh memory, plus that of adding up all products. Top-k, gradients and
masks have small results: products alone bound them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from bench.harness.limits import memory_limit
from bench.harness.workload import (
    FULL,
    NAMED,
    QUICK,
    Chain,
    Contestant,
    Faster,
    MeanFaster,
    Need,
    NoSlower,
    OfLimit,
    Peak,
    Room,
    Target,
    Workload,
)
from bench.spgemm_inputs import (
    Csr,
    Product,
    Size,
    backward,
    erdos_renyi,
    reuse,
    rmat,
    square,
    stencil,
    triangles,
    wide,
)
from bench.spgemm_other_peers import BACKWARD_PEERS, MASKED_PEERS, REUSE_PEERS, TOPK_PEERS
from bench.spgemm_ours import (
    as_arrays,
    as_matrix,
    backward_call,
    one_thread,
    our_backward,
    ours,
    same_best,
    same_gradients,
    same_matrix,
    same_values,
    solve_matmul,
    solve_reuse,
    solve_topk,
)
from bench.spgemm_peers import PRODUCT_PEERS, SEMIRING_PEERS

Check = Callable[[Any, Any, Any], str | None]

# Sums of a row fit the first-level cache, if need be a range of columns at a time: nobody adds faster than there.
ACCUMULATE = "accumulate:16384"
WHOLE = "result and sums"
TWICE_THE_THREADS = Faster("warphash, one thread", 1.6, threads=2)
# On a GPU: against the fastest of cuSPARSE's algorithms.
ON_A_GPU = (Faster("cuSPARSE", 0.9, device="cuda"), OfLimit(0.2, device="cuda"), Peak(1.25, device="cuda"))
COMPARED = ("R-MAT 14 squared", "random 2^17 x 8 squared", "stencil 64^3 squared", "250 queries by 200K documents")
MAPPED = 32 << 20  # bytes from which the C library asks the system for each array

# Graphs by name: the matrix, its entries, what its square needs.
RMAT_14 = (partial(rmat, 14), 228_315, Size(52_969_444, 20_285_257))
RMAT_16 = (partial(rmat, 16), 955_117, Size(402_077_751, 164_387_601))
RANDOM = (partial(erdos_renyi, 17, 8), 1_048_548, Size(8_388_177, 8_386_369))
STENCIL = (partial(stencil, 64), 6_859_000, Size(181_321_496, 30_959_144))
SMALL = (partial(erdos_renyi, 7, 8), 995, Size(7_720, 6_303))
TINY = (partial(rmat, 8), 2_594, Size(89_642, 28_364))
# Queries by documents.
WIDE = {250: (7_411, Size(113_942_303, 45_470_909)), 1000: (29_686, Size(457_886_102, 182_311_018))}
DOCUMENTS, ENTRIES_OF_DOCUMENTS = 200_000, 24_558_899
BEST = 100
# The triangles of a graph: products of its lower triangle, of which the mask keeps few.
LOWER = {14: (212_997, Size(18_791_953, 159_653))}

SMALL_INPUT = partial(square, graph=TINY[0])


def _workload(
    name: str,
    group: str,
    make: Callable[[torch.device], Product],
    solve: Callable[[Product], Any],
    check: Check,
    contestants: Sequence[Contestant],
    size: Size,
    *,
    read: float,
    written: float,
    targets: Sequence[Target] = (),
    mode: str = QUICK,
    small: Callable[[torch.device], Any] | None = None,
    column: str = "",
    arrays: int = 2,
) -> Workload:
    """column: its place in the picture, for which a few workloads must do. arrays: of the result, of equal size."""
    # The system gives smaller ones from what the process has had before.
    write = memory_limit("touch" if written / arrays >= MAPPED else "write", written)
    parts = [Need({write: written}), Need({ACCUMULATE: float(size.products)})]
    return Workload(
        name=name,
        group=group,
        make=make,
        contestants=contestants,
        needs=[
            Chain(WHOLE, parts),
            Need({memory_limit("read", read): read}),
            Need({memory_limit("write", written): written}),
        ],
        items=float(size.products),
        operations=float(size.products) if column else 0.0,
        traffic=read + written,
        solve=solve,
        check=check,
        targets=targets,
        mode=mode,
        small=small,
        facts={"column": column, "output_bytes": written},
    )


def _at_one_thread(**times: float) -> tuple[Target, ...]:
    return tuple(Faster(name.replace("_", " "), faster, threads=1) for name, faster in times.items())


def _square(
    name: str,
    graph: tuple[Callable[[], Csr], int, Size],
    rows: int,
    targets: Sequence[Target],
    *,
    mode: str = QUICK,
    group: str = "squares of matrices",
    column: str = "",
) -> Workload:
    matrix, entries, size = graph
    measured = group != "small products" and mode != NAMED
    whole = (Peak(1.1), OfLimit(0.5), TWICE_THE_THREADS, *ON_A_GPU) if measured else ()
    return _workload(
        f"{name} squared",
        group,
        partial(square, graph=matrix),
        solve_matmul,
        same_matrix,
        (ours(solve_matmul, as_matrix), *PRODUCT_PEERS, *((one_thread(solve_matmul),) if measured else ())),
        size,
        read=8.0 * entries + 4 * rows,
        written=float(size.written + 4 * rows),
        targets=(*targets, *whole),
        mode=mode,
        small=SMALL_INPUT if measured else None,
        column=column,
    )


def _wide(queries: int, mode: str) -> Workload:
    entries, size = WIDE[queries]
    return _workload(
        f"{queries} queries by {DOCUMENTS // 1000}K documents",
        "queries by documents",
        partial(wide, queries=queries, documents=DOCUMENTS),
        solve_matmul,
        same_matrix,
        (ours(solve_matmul, as_matrix), *PRODUCT_PEERS),
        size,
        read=8.0 * (entries + ENTRIES_OF_DOCUMENTS),
        written=float(size.written),
        targets=(Faster("MKL", 4.0), *_at_one_thread(SciPy=5.0), Peak(1.1), OfLimit(0.5), *ON_A_GPU),
        mode=mode,
        small=SMALL_INPUT,
    )


def _topk(queries: int, mode: str) -> Workload:
    entries, size = WIDE[queries]
    return _workload(
        f"top-{BEST} of {queries} queries by {DOCUMENTS // 1000}K documents",
        "queries by documents",
        partial(wide, queries=queries, documents=DOCUMENTS, k=BEST),
        solve_topk,
        same_best,
        (ours(solve_topk, as_arrays), *TOPK_PEERS, one_thread(solve_topk, as_arrays)),
        size,
        read=8.0 * (entries + ENTRIES_OF_DOCUMENTS),
        written=12.0 * queries * BEST,
        targets=(
            Faster("sparse_dot_topn", 7.0),
            Faster("MKL", 7.0),
            Faster("torch CSR", 15.0),
            OfLimit(0.5),
            TWICE_THE_THREADS,
        ),
        mode=mode,
        small=partial(wide, queries=4, documents=1000, k=BEST),
        column=f"top-{BEST}" if mode == QUICK else "",
    )


def _backward(name: str, graph: tuple[Callable[[], Csr], int, Size], forward: str, mode: str = QUICK) -> Workload:
    matrix, entries, size = graph
    return _workload(
        f"{name} squared, gradients of both",
        "gradients",
        partial(backward, graph=matrix),
        lambda inputs: backward_call(inputs)(),
        same_gradients,
        (our_backward(), *BACKWARD_PEERS),
        size,
        read=8.0 * (entries + size.entries),
        written=8.0 * entries,
        targets=(*_at_one_thread(torch_COO=100.0), NoSlower(forward, 1.0), OfLimit(0.5)) if forward else (),
        mode=mode,
    )


def _reuse(name: str, graph: tuple[Callable[[], Csr], int, Size], mode: str = QUICK) -> Workload:
    matrix, entries, size = graph
    return _workload(
        f"{name} squared, pattern known",
        "numeric reuse",
        partial(reuse, graph=matrix),
        solve_reuse,
        same_values,
        (ours(solve_reuse, as_arrays), *REUSE_PEERS),
        size,
        read=8.0 * entries + 4.0 * size.entries,
        written=4.0 * size.entries,
        arrays=1,
        targets=(Faster("warphash (matmul)", 1.7), OfLimit(0.5)) if mode == QUICK else (),
        mode=mode,
    )


def _others() -> list[Workload]:
    matrix, entries, size = RMAT_14
    lower, closed = LOWER[14]
    return [
        _workload(
            "R-MAT 14 squared, min-plus",
            "semirings and masks",
            partial(square, graph=matrix, semiring="min_plus"),
            solve_matmul,
            same_matrix,
            (ours(solve_matmul, as_matrix), *SEMIRING_PEERS),
            size,
            read=8.0 * entries,
            written=float(size.written),
            targets=(Faster("GraphBLAS", 5.0), OfLimit(0.5)),
        ),
        _workload(
            "triangles of R-MAT 14",
            "semirings and masks",
            partial(triangles, scale=14),
            solve_matmul,
            same_matrix,
            (ours(solve_matmul, as_matrix), *MASKED_PEERS),
            closed,
            read=8.0 * lower,
            written=float(closed.written),
            column="triangles",
        ),
    ]


ROOM = Room(
    name="spgemm",
    item="products",
    operation="products",
    workloads=(
        _square(
            "R-MAT 14",
            RMAT_14,
            1 << 14,
            (
                Faster("MKL", 2.5),
                Faster("torch CSR", 3.5),
                Faster("GraphBLAS", 5.0),
                *_at_one_thread(SciPy=3.5),
                MeanFaster("cuSPARSE", 1.5, COMPARED),
                Faster("cuSPARSE ALG1", 2.0, device="cuda"),
            ),
            column="R-MAT 14",
        ),
        _square("R-MAT 16", RMAT_16, 1 << 16, (Faster("MKL", 2.2), *_at_one_thread(SciPy=2.4)), mode=FULL),
        _square(
            "random 2^17 x 8",
            RANDOM,
            1 << 17,
            (Faster("MKL", 1.1), *_at_one_thread(SciPy=1.3)),
            column="random",
        ),
        _square(
            "stencil 64^3",
            STENCIL,
            1 << 18,
            (Faster("MKL", 1.7), Faster("torch CSR", 2.5), *_at_one_thread(SciPy=1.8)),
            column="stencil",
        ),
        _wide(250, QUICK),
        _wide(1000, FULL),
        _topk(1000, QUICK),
        _backward("R-MAT 14", RMAT_14, "R-MAT 14 squared"),
        _backward("random 2^17 x 8", RANDOM, "random 2^17 x 8 squared", FULL),
        _reuse("R-MAT 14", RMAT_14),
        _reuse("stencil 64^3", STENCIL),
        *_others(),
        _square("random 2^7 x 8", SMALL, 1 << 7, (), group="small products"),
        _square("tiny R-MAT", TINY, 1 << 8, (), mode=NAMED, column="tiny"),
        _backward("tiny R-MAT", TINY, "", NAMED),
        _reuse("tiny R-MAT", TINY, NAMED),
    ),
    ceilings={ACCUMULATE: 1.0},
    levels={"fresh memory": memory_limit("touch", 128 << 20)},
    apart=True,
)
