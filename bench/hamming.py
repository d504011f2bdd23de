# SPDX-License-Identifier: Apache-2.0
"""The Hamming room: its workloads, what each call must do at the least, who takes part, and the targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from bench import hamming_inputs as make
from bench.hamming_gpu_peers import GPU_PEERS
from bench.hamming_inputs import Search
from bench.hamming_other_peers import (
    ASYMMETRIC_PEERS,
    HISTOGRAM_PEERS,
    JACCARD_PEERS,
    PACK_PEERS,
    PAIR_PEERS,
    RANGE_PEERS,
    UNPACK_PEERS,
)
from bench.hamming_ours import (
    ALGORITHMS,
    check_equal,
    check_range,
    check_scores,
    check_topk,
    level,
    ours,
    solve_asymmetric,
    solve_cdist,
    solve_histogram,
    solve_jaccard,
    solve_pack,
    solve_range,
    solve_topk,
    solve_unpack,
)
from bench.hamming_peers import TOPK_PEERS
from bench.harness.limits import memory_limit
from bench.harness.workload import (
    FULL,
    NAMED,
    QUICK,
    Contestant,
    Faster,
    Need,
    NoSlower,
    OfLimit,
    Rate,
    Room,
    Target,
    Workload,
)

MILLION = 1 << 20
WIDTHS = (64, 128, 256, 512, 1024)

# ---- what a call cannot do without -----------------------------------------------------------------------


def _compare_need(pairs: float, bits: int) -> Need:
    words = pairs * bits / 64
    by_words = ("popcount_portable", "distance_avx2", "distance_word", "distance_avx512")
    products = ("int8_amx", "cuda_int8", "cuda_b1")
    amounts = dict.fromkeys(by_words, words) | dict.fromkeys(products, pairs * bits) | {"cuda_popcount": 2 * words}
    return Need(amounts, told={"popcount_avx512": words})


def _read_need(size: float) -> Need:
    return Need({memory_limit("read", size): size})


def _write_need(size: float) -> Need:
    return Need({memory_limit("write", size): size})


def _title(what: str, queries: int, codes: int, bits: int, extra: str) -> str:
    count = f"{codes // MILLION}M" if codes >= MILLION else f"{codes // 1024}K"
    return f"{what} {bits}b Q={queries} N={count}{' ' + extra if extra else ''}"


def _search_workload(
    what: str,
    problem: Callable[[torch.device], Search],
    sizes: tuple[int, int, int],
    peers: Sequence[Contestant],
    solve: Callable[[Search], Any],
    check: Callable[[Any, Any, Any], str | None],
    *,
    extra: str = "",
    mode: str = FULL,
    group: str = "",
    targets: Sequence[Target] = (),
    needs: Sequence[Need] | None = None,
    name: str = "",
    facts: dict[str, Any] | None = None,
    traffic: float | None = None,
    drawn: bool = True,
    devices: tuple[str, ...] = ("cpu", "cuda"),
) -> Workload:
    queries, codes, bits = sizes
    pairs = float(queries) * codes
    size = (queries + codes) * bits / 8
    column = f"Q = {queries}" if traffic is None else what
    return Workload(
        name=name or _title(what, queries, codes, bits, extra),
        group=group or what,
        make=problem,
        contestants=(ours(solve), *peers),
        needs=needs if needs is not None else (_read_need(size), _compare_need(pairs, bits)),
        items=pairs,
        operations=pairs * bits / 64 if drawn else 0.0,
        traffic=size if traffic is None else traffic,
        solve=solve,
        check=check,
        targets=targets,
        mode=mode,
        devices=devices,
        facts={"queries": queries, "codes": codes, "bits": bits, "column": column} | (facts or {}),
    )


# ---- the workloads ---------------------------------------------------------------------------------------


def _topk_targets(queries: int, bits: int, k: int) -> tuple[Target, ...]:
    """Against FAISS with k = 10 at N = 1M; on the GPU as the arithmetic of its units suggests.

    The share of vpopcntq is asked of that instruction alone, although each word also needs an exclusive or and an
    addition: where they share its ports, the limit in the table (distance_avx512) is lower and the target out of reach.
    """
    if k != 10:
        return ()
    if queries >= 1000:
        return (
            Faster("FAISS", 9, isa="amx"),
            Faster("FAISS", 6 if bits == 64 else 4, isa="avx512"),
            Faster("FAISS", 1.8, isa="avx2"),
            Faster("FAISS", 4, ours="warphash (avx512)"),
            Faster("FAISS", 1.8, ours="warphash (avx2)"),
            OfLimit(0.7, isa="avx512", limit="popcount_avx512"),
            OfLimit(0.7, isa="amx", limit="int8_amx"),
            Faster("USearch", 100),
            Faster("FAISS GPU", 10, device="cuda"),
        )
    if queries >= 32:
        return (Faster("FAISS", 4, isa="avx512"), Faster("FAISS", 4, isa="amx"))
    return (
        Faster("FAISS", 1.5),
        OfLimit(0.8),
        Faster("FAISS GPU", 30, device="cuda"),
    )


def _topk_workload(queries: int, bits: int, k: int, mode: str, codes: int = MILLION, name: str = "") -> Workload:
    levels = (level("avx512"), level("avx2"), level("scalar", modes=(FULL, NAMED)))
    targets = list(_topk_targets(queries, bits, k))
    if k == 100:
        targets.append(NoSlower(_title("topk", queries, codes, bits, "k=10"), 1.3))
    return _search_workload(
        "topk",
        partial(make.random_search, queries=queries, codes=codes, bits=bits, k=k),
        (queries, codes, bits),
        (*levels, *ALGORITHMS, *TOPK_PEERS),
        solve_topk,
        check_topk,
        extra=f"k={k}",
        mode=mode,
        group=f"{k} nearest of random codes",
        targets=() if name else targets,
        name=name,
    )


def _topk_workloads() -> list[Workload]:
    quick = {(1, 256), (32, 64), (32, 256), (32, 1024), (1000, 64), (1000, 256)}
    found = [
        _topk_workload(queries, bits, 10, QUICK if (queries, bits) in quick else FULL)
        for bits in WIDTHS
        for queries in (1, 32, 1000)
    ]
    found += [
        _topk_workload(queries, 256, k, QUICK if (queries, k) == (32, 100) else FULL)
        for k in (100, 1000)
        for queries in (32, 1000)
    ]
    for what, problem, about, queries in (
        ("topk, falling distance", make.falling_search, "codes lie by falling distance", 1),
        ("topk, falling distance", make.falling_search, "codes lie by falling distance", 32),
        ("topk, digits", make.digit_search, "scikit-learn's digits, random rotation, signs; repeated with flips", 32),
    ):
        bits = 256
        falling = problem is make.falling_search
        found.append(
            _search_workload(
                what,
                partial(problem, queries=queries, codes=MILLION, bits=bits),
                (queries, MILLION, bits),
                TOPK_PEERS,
                solve_topk,
                check_topk,
                extra="k=10",
                mode=FULL if queries == 1 else QUICK,
                group="10 nearest of codes in falling order, and of real codes",
                targets=(NoSlower(_title("topk", queries, MILLION, bits, "k=10"), 3),) if falling else (),
                facts={"data": about},
            )
        )
    return found


def _cuda_workloads() -> list[Workload]:
    """So large that a GPU's launches and merges play no part: 512 MiB of codes, or some 10^9 pairs."""
    found = []
    for queries, millions, bits, target, against_faiss in (
        (1, 16, 256, OfLimit(0.85, device="cuda"), 30),
        (1000, 4, 64, Rate(4e12), 10),
        (1000, 4, 256, Rate(1.5e12), 10),
        (1000, 4, 1024, Rate(0.4e12), 10),
    ):
        sizes = (queries, millions * MILLION, bits)
        found.append(
            _search_workload(
                "topk",
                partial(make.random_search, queries=queries, codes=millions * MILLION, bits=bits),
                sizes,
                (*ALGORITHMS, *TOPK_PEERS, *GPU_PEERS),
                solve_topk,
                check_topk,
                extra="k=10",
                mode=QUICK,
                group="10 nearest of many random codes",
                targets=(target, Faster("FAISS GPU", against_faiss, device="cuda")),
                devices=("cuda",),
            )
        )
    return found


def _other_workloads() -> list[Workload]:
    found = []
    for bits, mode in ((256, QUICK), (64, FULL)):
        sizes = (32, MILLION, bits)
        radius = bits // 8
        found.append(
            _search_workload(
                "range",
                partial(make.range_search, queries=32, codes=MILLION, bits=bits, radius=radius),
                sizes,
                RANGE_PEERS,
                solve_range,
                check_range,
                extra=f"radius={radius}",
                mode=mode,
                group="range search in clusters",
            )
        )
        found.append(
            _search_workload(
                "histogram",
                partial(make.random_search, queries=32, codes=MILLION, bits=bits),
                sizes,
                HISTOGRAM_PEERS,
                solve_histogram,
                check_equal,
                mode=mode,
                needs=(
                    _read_need((32 + MILLION) * bits / 8),
                    _compare_need(32.0 * MILLION, bits),
                    Need({"cuda_shared_count": 32.0 * MILLION}),
                ),
            )
        )
        rows, columns = 512, 16 * 1024
        matrix = rows * columns
        found.append(
            _search_workload(
                "cdist",
                partial(make.random_search, queries=rows, codes=columns, bits=bits),
                (rows, columns, bits),
                PAIR_PEERS,
                solve_cdist,
                check_equal,
                mode=mode,
                needs=(_write_need(4 * matrix), _compare_need(matrix, bits)),
                traffic=4.0 * matrix,
                targets=(Faster("NumKong", 5),) if bits == 64 else (),
            )
        )
        found.append(
            _search_workload(
                "asymmetric",
                partial(make.asymmetric_search, queries=32, codes=MILLION // 4, bits=bits),
                (32, MILLION // 4, bits),
                ASYMMETRIC_PEERS,
                solve_asymmetric,
                check_scores,
                extra="k=10",
                mode=mode,
                drawn=False,
                # Four bits of a query have sixteen possible sums: one addition for four bits is the least.
                needs=(
                    _read_need(MILLION // 4 * bits / 8),
                    Need(dict.fromkeys(("multiply_add", "cuda_float32"), 32 * MILLION / 4 * bits / 4)),
                ),
            )
        )
        found.append(
            _search_workload(
                "jaccard",
                partial(make.random_search, queries=32, codes=MILLION, bits=bits),
                sizes,
                JACCARD_PEERS,
                solve_jaccard,
                check_scores,
                extra="k=10",
                mode=mode,
            )
        )
    return found


def _rows_workload(what: str, bits: int, mode: str) -> Workload:
    """Packing or unpacking: nothing but reading and writing."""
    rows = MILLION // 4
    codes, values = rows * bits / 8, float(rows * bits)
    packing = what == "pack"
    traffic = codes + values * (4 if packing else 1)

    def problem(device: torch.device) -> torch.Tensor:
        if packing:
            return torch.randn(rows, bits, generator=torch.Generator().manual_seed(5)).to(device)
        return make.random_database(rows, bits).to(device)

    solve = solve_pack if packing else solve_unpack
    return Workload(
        name=f"{what} {bits}b N={rows // 1024}K",
        group="pack and unpack",
        make=problem,
        contestants=(ours(solve), *(PACK_PEERS if packing else UNPACK_PEERS)),
        needs=(_read_need(4 * values), _write_need(codes)) if packing else (_read_need(codes), _write_need(values)),
        items=float(rows),
        operations=0.0,
        traffic=traffic,
        solve=solve,
        check=check_equal,
        mode=mode,
        facts={"codes": rows, "bits": bits},
    )


ROOM = Room(
    name="hamming",
    item="codes",
    operation="64-bit words compared",
    workloads=(
        *_cuda_workloads(),
        *_topk_workloads(),
        *_other_workloads(),
        *(_rows_workload(what, bits, mode) for what in ("pack", "unpack") for bits, mode in ((256, QUICK), (64, FULL))),
        _topk_workload(4, 128, 5, NAMED, codes=4096, name="tiny topk"),
    ),
    ceilings={
        "distance_avx2": 1.0,
        "distance_word": 1.0,
        "distance_avx512": 1.0,
        "int8_amx": 1 / 64,
        "cuda_popcount": 1 / 2,
        "cuda_int8": 1 / 64,
        "cuda_b1": 1 / 64,
    },
)
