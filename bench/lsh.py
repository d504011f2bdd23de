# SPDX-License-Identifier: Apache-2.0
"""The LSH room: its workloads, what each call must do at the least, who takes part, and the targets.

Codes of vectors are bound by multiply-adds and by reading the vectors, MinHash by the integer units, buckets by
memory: what a call reads and what it writes, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from bench.harness.limits import memory_limit
from bench.harness.workload import (
    FULL,
    NAMED,
    QUICK,
    Contestant,
    Faster,
    Need,
    OfLimit,
    Room,
    Target,
    Within,
    Workload,
)
from bench.lsh_bucket_peers import QUERY_PEERS, SUM_PEERS
from bench.lsh_bucket_peers import SORT_PEERS as BUCKET_SORT_PEERS
from bench.lsh_inputs import (
    BANDS,
    LENGTH,
    PERMUTATIONS,
    Codes,
    codes,
    documents,
    sequences,
    signatures,
    texts,
    vectors,
)
from bench.lsh_ours import (
    FAST,
    close,
    equal,
    few_bits_differ,
    few_codes_differ,
    our_query,
    ours,
    sizes_alike,
    solve_bucket_sort,
    solve_bucket_sum,
    solve_components,
    solve_cross_polytope,
    solve_deduplicate,
    solve_hd3,
    solve_minhash,
    solve_one_permutation,
    solve_query,
    solve_simhash,
    solve_sort,
    solve_texts,
)
from bench.lsh_peers import CROSS_POLYTOPE_PEERS, HALF_PEERS, HD3_PEERS, SIMHASH_PEERS, SORT_PEERS
from bench.lsh_sketch_peers import COMPONENT_PEERS, DUPLICATE_PEERS, MINHASH_PEERS, ONE_PERMUTATION_PEERS, TEXT_PEERS

MULTIPLY_ADDS, MINIMA = ("multiply_add", "cuda_float32"), ("affine_min",)
Check = Callable[[Any, Any, Any], str | None]


def _workload(
    name: str,
    group: str,
    make: Callable[[torch.device], Any],
    solve: Callable[[Any], Any],
    check: Check,
    contestants: Sequence[Contestant],
    *,
    items: float,
    read: float,
    written: float,
    needed: dict[str, float] | None = None,
    targets: Sequence[Target] = (),
    mode: str = QUICK,
    drawn: float = 0.0,
    hollow: bool = False,
    mine: Contestant | None = None,
    devices: tuple[str, ...] = ("cpu", "cuda"),
    counts: float = 0.0,
) -> Workload:
    """counts: in a GPU's shared memory."""
    needs = [
        Need({memory_limit("read", read): read}),
        Need({memory_limit("write", written): written}),
        *([Need(needed)] if needed else ()),
        *([Need({"cuda_shared_count": counts})] if counts else ()),
    ]
    return Workload(
        name=name,
        group=group,
        make=make,
        contestants=(mine or ours(solve), *contestants),
        needs=needs,
        items=items,
        operations=drawn,
        traffic=read + written,
        solve=solve,
        check=check,
        targets=targets,
        mode=mode,
        devices=devices,
        facts={"column": group, "hollow": hollow},
    )


# ---- codes of vectors ------------------------------------------------------------------------------------

ROWS, DIM = 1 << 19, 128


def _simhash(
    bits: int,
    mode: str,
    *,
    dtype: torch.dtype = torch.float32,
    rows: int = ROWS,
    dim: int = DIM,
    name: str = "",
    devices: tuple[str, ...] = ("cpu", "cuda"),
) -> Workload:
    single = dtype == torch.float32
    products = float(rows) * dim * bits
    extra = "" if single else f" {str(dtype).removeprefix('torch.')}"
    targets = (Faster("FAISS", 3.5), Faster("torch eager", 3.5), Faster("NumPy", 2.0), OfLimit(0.75))
    fast = (Faster("FAISS", 6.0 if bits == 64 else 10.0, ours="warphash (fast)", isa="amx"),)
    read = products / bits * dtype.itemsize
    # The exact mode's chains of multiply-adds are done by the CUDA cores, which float32 rows keep from memory speed.
    of_memory = OfLimit(0.75, ours="warphash (fast)", device="cuda", limit=memory_limit("read", read))
    gpu = (of_memory, OfLimit(0.75, device="cuda")) if devices == ("cuda",) else ()
    return _workload(
        name or f"simhash {dim} -> {bits}b N={rows // 1024}K{extra}",
        "SimHash",
        partial(vectors, rows=rows, dim=dim, bits=bits, dtype=dtype),
        solve_simhash,
        few_bits_differ if single else partial(few_bits_differ, share=2e-2),
        (FAST(exact=False), *(SIMHASH_PEERS if single else HALF_PEERS)),
        items=rows,
        read=read,
        written=rows * bits / 8,
        needed=dict.fromkeys(MULTIPLY_ADDS, products),
        targets=(*targets, *(fast if bits in (64, 256) else ())) if single and rows == ROWS and dim == DIM else gpu,
        mode=mode,
        drawn=products,
        devices=devices,
    )


def _rotation(what: str, tables: int, mode: str, *, rows: int = ROWS, dim: int = DIM) -> Workload:
    """Three rounds of butterflies: an addition each where SimHash has a multiply-add."""
    butterflies = 3 * math.log2(dim)
    hd3 = what == "hd3"
    return _workload(
        f"{what} {dim} " + (f"-> {tables}b" if hd3 else f"x {tables} tables") + f" N={rows // 1024}K",
        "rotations",
        partial(vectors, rows=rows, dim=dim, bits=tables),
        solve_hd3 if hd3 else solve_cross_polytope,
        few_bits_differ if hd3 else few_codes_differ,
        HD3_PEERS if hd3 else CROSS_POLYTOPE_PEERS,
        items=rows,
        read=4.0 * rows * dim,
        written=rows * (tables / 8 if hd3 else 4 * tables),
        needed=dict.fromkeys(MULTIPLY_ADDS, rows * dim * butterflies * (1 if hd3 else tables)),
        targets=(Faster("FAISS", 6.0), OfLimit(0.55))
        if hd3
        else (Faster("FALCONN", 6.0), Faster("torch eager, dense", 10.0), OfLimit(0.85)),
        mode=mode,
    )


def _sort(
    mode: str,
    *,
    heads: int,
    rows: int,
    targets: Sequence[Target] = (),
    dtype: torch.dtype = torch.float32,
    devices: tuple[str, ...] = ("cpu", "cuda"),
) -> Workload:
    bits, dim = 7, 64
    total = float(heads) * rows
    extra = "" if dtype == torch.float32 else f" {str(dtype).removeprefix('torch.')}"
    return _workload(
        f"sort_lsh {heads} x {rows // 1024}K x {dim}, {bits} planes{extra}",
        "sorting by code",
        partial(vectors, heads=heads, rows=rows, dim=dim, bits=bits, dtype=dtype),
        solve_sort,
        sizes_alike,
        SORT_PEERS,
        items=total,
        read=total * dim * dtype.itemsize,
        written=total * 16,
        needed=dict.fromkeys(MULTIPLY_ADDS, total * dim * bits),
        counts=total,
        targets=targets,
        mode=mode,
        devices=devices,
    )


# ---- sketches --------------------------------------------------------------------------------------------


def _minhash(count: int, mode: str, name: str = "") -> Workload:
    steps = float(count) * LENGTH * PERMUTATIONS
    return _workload(
        name or f"minhash {PERMUTATIONS} N={count // 1000}K",
        "MinHash",
        partial(documents, count=count, num_perm=PERMUTATIONS),
        solve_minhash,
        equal,
        MINHASH_PEERS,
        items=count,
        read=4.0 * count * LENGTH,
        written=4.0 * count * PERMUTATIONS,
        needed=dict.fromkeys(MINIMA, steps),
        targets=(
            Faster("datasketch", 75),
            Faster("rensa", 2.0),
            Faster("Numba", 1.8),
            OfLimit(0.8, limit=MINIMA[0]),
            Within(0.27e-3),
            OfLimit(0.7, limit=MINIMA[0], device="cuda"),
        )
        if not name
        else (),
        mode=mode,
        drawn=steps,
        hollow=True,
    )


def _sketch_workloads(count: int = 100_000) -> list[Workload]:
    duplicates = count // 9
    tokens, values = 4.0 * count * LENGTH, 4.0 * count * PERMUTATIONS
    return [
        _minhash(count, QUICK),
        _workload(
            f"one-permutation minhash {PERMUTATIONS} N={count // 1000}K",
            "MinHash",
            partial(documents, count=count, num_perm=PERMUTATIONS),
            solve_one_permutation,
            equal,
            ONE_PERMUTATION_PEERS,
            items=count,
            read=tokens,
            written=values,
            targets=(Faster("rensa", 5.0),),
        ),
        _workload(
            f"bands, pairs, components N={count // 1000}K",
            "near-duplicates",
            partial(signatures, count=count, bands=BANDS, duplicates=duplicates),
            solve_components,
            equal,
            COMPONENT_PEERS,
            items=count,
            read=values,
            written=8.0 * count,
            targets=(Faster("rensa", 5.0), Faster("NumPy and SciPy", 7.0)),
        ),
        _workload(
            f"near-duplicates from tokens N={count // 1000}K",
            "near-duplicates",
            partial(documents, count=count, num_perm=PERMUTATIONS, duplicates=duplicates),
            solve_deduplicate,
            equal,
            DUPLICATE_PEERS,
            items=count,
            read=tokens,
            written=8.0 * count,
            needed=dict.fromkeys(MINIMA, tokens / 4 * PERMUTATIONS),
            targets=(Faster("rensa", 5.0), Faster("datasketch", 90.0)),
        ),
        _workload(
            f"deduplicate texts N={count // 5000}K",
            "near-duplicates",
            partial(texts, count=count // 5),
            solve_texts,
            equal,
            TEXT_PEERS,
            items=count / 5,
            read=count / 5 * LENGTH * 6.5,
            written=8.0 * count / 5,
            needed=dict.fromkeys(MINIMA, count / 5 * LENGTH * PERMUTATIONS),
            targets=(Faster("datasketch", 20.0),),
            devices=("cpu",),
        ),
    ]


# ---- buckets ---------------------------------------------------------------------------------------------


def _bucket_sort(
    bits: int, dtype: torch.dtype, times: tuple[float, float], mode: str = QUICK, targets: Sequence[Target] = ()
) -> Workload:
    tables, items = 8, 1 << 20
    count = float(tables * items)
    return _workload(
        f"bucket_sort {tables} x 1M, {bits}-bit codes",
        "bucket tables",
        partial(codes, tables=tables, items=items, num_buckets=1 << bits, dtype=dtype),
        solve_bucket_sort,
        equal,
        BUCKET_SORT_PEERS,
        items=count,
        read=count * dtype.itemsize,
        written=count * 16 + tables * 8.0 * (1 << bits),
        counts=count * math.ceil(bits / 12),  # by up to twelve bits a pass
        targets=(Faster("torch eager", times[0]), Faster("NumPy", times[1]), Faster("Numba", 1.0), *targets),
        mode=mode,
    )


def _query_bytes(tables: int, queries: int, found: float) -> float:
    return queries * tables * (found * 8 + 16)


def _bucket_workloads() -> list[Workload]:
    tables, items, queries = 8, 1 << 20, 10_000
    each = items / (1 << 16)
    users, length, dim, hashes, buckets = 4, 1 << 14, 64, 48, 8
    visited = float(users) * length * hashes * dim

    def lookups(device: torch.device) -> Codes:
        return codes(device, tables=tables, items=items, num_buckets=1 << 16, dtype=torch.int32, queries=queries)

    return [
        _bucket_sort(8, torch.uint8, (13.0, 5.0)),
        _bucket_sort(16, torch.int32, (12.0, 4.0), targets=(Within(90e-6),)),
        _bucket_sort(22, torch.int32, (3.8, 8.0)),
        _workload(
            f"bucket_query {queries // 1000}K x {tables} tables of 1M",
            "bucket tables",
            lookups,
            solve_query,
            equal,
            QUERY_PEERS,
            items=queries,
            read=_query_bytes(tables, queries, each),
            written=8.0 * queries * tables * each,
            # Of each run the line of its offsets, and those of its items, which begin anywhere in a line.
            needed={
                memory_limit("gather", 8.0 * tables * (items + (1 << 16))): queries * tables * (2 + (each - 1) / 8)
            },
            targets=(Faster("torch eager", 3.8), Faster("NumPy", 13.0)),
            mine=our_query(),
        ),
        _workload(
            f"bucket_sum {users} x {length // 1024}K x {dim}, {hashes} tables",
            "bucket tables",
            partial(sequences, users=users, items=length, dim=dim, tables=hashes, num_buckets=buckets),
            solve_bucket_sum,
            close,
            SUM_PEERS,
            items=float(users * length * hashes),
            read=4.0 * users * length * (dim + hashes),
            written=4.0 * users * hashes * buckets * dim,
            needed=dict.fromkeys(MULTIPLY_ADDS, visited),
        ),
    ]


def _cuda_workloads() -> list[Workload]:
    """As many rows as a GPU wants, and heads as attention has them there."""
    gpu = ("cuda",)
    rows = 1 << 20
    return [
        *(_simhash(bits, QUICK, rows=rows, devices=gpu) for bits in (64, 128, 256)),
        *(_simhash(bits, QUICK, rows=rows, dtype=torch.bfloat16, devices=gpu) for bits in (64, 256)),
        _sort(QUICK, heads=32, rows=1 << 15, dtype=torch.bfloat16, devices=gpu, targets=(Within(60e-6),)),
    ]


ROOM = Room(
    name="lsh",
    item="rows",
    operation="multiply-adds, or minima",
    workloads=(
        *_cuda_workloads(),
        *(_simhash(bits, QUICK) for bits in (64, 128, 256)),
        _simhash(256, FULL, dtype=torch.bfloat16),
        _simhash(64, FULL, rows=1 << 16, dim=768),
        _rotation("hd3", 128, QUICK),
        _rotation("cross_polytope", 1, QUICK),
        _rotation("cross_polytope", 9, QUICK),
        _rotation("cross_polytope", 1, FULL, rows=1 << 16, dim=1024),
        _sort(QUICK, heads=32, rows=1 << 15, targets=(Faster("torch eager", 2.5), OfLimit(0.5))),
        _sort(FULL, heads=1, rows=1 << 15),
        *_sketch_workloads(),
        *_bucket_workloads(),
        _simhash(64, NAMED, rows=1 << 10, dim=64, name="tiny simhash"),
        _minhash(100, NAMED, name="tiny minhash"),
    ),
    ceilings={MULTIPLY_ADDS[0]: 1.0, MINIMA[0]: 1.0},
    hollow="hollow: MinHash, tokens times permutations",
)
