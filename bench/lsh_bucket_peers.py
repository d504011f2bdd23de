# SPDX-License-Identifier: Apache-2.0
"""Contestants for bucket tables: Numba's counting sort, NumPy's and torch's stable sorts, ragged queries, sums."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from bench.harness.workload import FULL, NAMED, Contestant, Prepared, Settings
from bench.lsh_inputs import Codes, Sequences
from bench.lsh_ours import as_arrays, table_of

BOTH = ("cpu", "cuda")


# ---- sorting ---------------------------------------------------------------------------------------------


def torch_bucket_sort(problem: Codes, settings: Settings) -> Prepared:
    codes, buckets = problem.codes, problem.num_buckets
    places = torch.arange(codes.shape[1], device=codes.device)
    edges = torch.arange(buckets, device=codes.device).to(codes.dtype)

    def call() -> Any:
        found, order = codes.sort(dim=-1, stable=True)
        inverse = torch.empty_like(order).scatter_(-1, order, places.expand_as(order))
        if buckets <= codes.shape[1]:
            begins = torch.searchsorted(found, edges.expand(len(codes), -1).contiguous())
            return order, inverse, torch.nn.functional.pad(begins, (0, 1), value=codes.shape[1])
        counts = torch.stack([torch.bincount(row, minlength=buckets) for row in codes])
        return order, inverse, torch.nn.functional.pad(counts.cumsum(-1), (1, 0))

    return Prepared(call, as_arrays, note="stable sort, scatter, searchsorted or bincount")


def numpy_bucket_sort(problem: Codes, settings: Settings) -> Prepared:
    # NumPy sorts 16-bit integers by digits, wider ones by comparison.
    narrow = problem.codes.numpy()
    codes = narrow.astype(np.uint16) if problem.num_buckets <= 1 << 16 else narrow
    places = np.arange(codes.shape[1])

    def call() -> Any:
        order = np.argsort(codes, axis=1, kind="stable")
        inverse = np.empty_like(order)
        offsets = np.zeros((len(codes), problem.num_buckets + 1), np.int64)
        for row, sorted_, to, counts in zip(codes, order, inverse, offsets, strict=True):
            to[sorted_] = places
            np.cumsum(np.bincount(row, minlength=problem.num_buckets), out=counts[1:])
        return order, inverse, offsets

    return Prepared(call, as_arrays, note="argsort by digits, bincount")


@lru_cache
def _numba_sort() -> Callable[..., None]:
    from numba import njit, prange

    @njit(parallel=True)
    def sort(codes, order, inverse, offsets):  # type: ignore[no-untyped-def]
        tables, items = codes.shape
        buckets = offsets.shape[1] - 1
        for table in prange(tables):
            row, start = codes[table], offsets[table]
            start[:] = 0
            for i in range(items):
                start[row[i] + 1] += 1
            for bucket in range(buckets):
                start[bucket + 1] += start[bucket]
            cursor = start[:buckets].copy()
            for i in range(items):
                place = cursor[row[i]]
                cursor[row[i]] = place + 1
                order[table, place] = i
                inverse[table, i] = place

    return sort


def numba_bucket_sort(problem: Codes, settings: Settings) -> Prepared:
    kernel = _numba_sort()
    codes = problem.codes.numpy()

    def call() -> Any:
        order, inverse = (np.empty(codes.shape, np.int64) for _ in range(2))
        offsets = np.empty((len(codes), problem.num_buckets + 1), np.int64)
        kernel(codes, order, inverse, offsets)
        return order, inverse, offsets

    return Prepared(call, as_arrays, note="one-pass counting sort, a table a thread")


SORT_PEERS = (
    Contestant("Numba", numba_bucket_sort),
    Contestant("NumPy", numpy_bucket_sort, baseline=True),
    Contestant("torch eager", torch_bucket_sort, devices=BOTH, baseline=True),
)


# ---- queries ---------------------------------------------------------------------------------------------


def torch_query(problem: Codes, settings: Settings) -> Prepared:
    """Ragged ranges by repeat_interleave, then the distinct (query, item)."""
    table = table_of(problem)
    order, offsets = table.order, table.offsets
    tables, items = order.shape
    device = order.device
    queries = problem.queries.long()
    row = torch.arange(tables, device=device)[:, None]
    number = torch.arange(queries.shape[1], device=device).expand(tables, -1).reshape(-1)
    first_of_table = (row * items).expand(-1, queries.shape[1]).reshape(-1)

    def call() -> Any:
        begin, end = (offsets.gather(1, queries + shift).reshape(-1) for shift in (0, 1))
        sizes = end - begin
        query = torch.repeat_interleave(number, sizes)
        first = torch.repeat_interleave(begin + first_of_table - (sizes.cumsum(0) - sizes), sizes)
        found = order.view(-1)[first + torch.arange(len(query), device=device)]
        distinct = torch.unique(query * items + found)
        counts = torch.bincount(distinct // items, minlength=queries.shape[1])
        return torch.nn.functional.pad(counts.cumsum(0), (1, 0)), distinct % items

    return Prepared(call, as_arrays, note="repeat_interleave, gather, unique")


def numpy_query(problem: Codes, settings: Settings) -> Prepared:
    table = table_of(problem)
    order, offsets, queries = table.order.numpy(), table.offsets.numpy(), problem.queries.numpy()
    tables = range(len(order))

    def call() -> Any:
        rows = [
            np.unique(np.concatenate([order[t, offsets[t, code[t]] : offsets[t, code[t] + 1]] for t in tables]))
            for code in queries.T
        ]
        return np.cumsum([0, *map(len, rows)]), np.concatenate(rows)

    return Prepared(call, as_arrays, note="slices and unique, one query after the other")


QUERY_PEERS = (
    Contestant("NumPy", numpy_query, baseline=True),
    Contestant("torch eager", torch_query, devices=BOTH, baseline=True),
)


# ---- sums ------------------------------------------------------------------------------------------------


def torch_bucket_sum(problem: Sequences, settings: Settings, compiled: bool = False) -> Prepared:
    users, tables = problem.codes.shape[:2]
    dim, buckets = problem.values.shape[2], problem.num_buckets
    device = problem.values.device
    first = (torch.arange(users * tables, device=device) * buckets).view(users, tables, 1)

    def recipe(values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        out = values.new_zeros(users * tables * buckets, dim)
        rows = (codes + first).transpose(1, 2).reshape(users, -1)
        for user in range(users):
            # One history at a time: all of them repeated for every table would be gigabytes.
            out.index_add_(0, rows[user], values[user].repeat_interleave(tables, 0))
        return out.view(users, tables, buckets, dim)

    call: Callable[..., Any] = torch.compile(recipe, dynamic=False) if compiled else recipe
    return Prepared(lambda: call(problem.values, problem.codes), as_arrays, note="index_add_, one history at a time")


def one_hot_bucket_sum(problem: Sequences, settings: Settings) -> Prepared:
    """A product with one-hot codes: the form that published layers have."""

    def call() -> torch.Tensor:
        return torch.stack(
            [
                torch.nn.functional.one_hot(codes.long(), problem.num_buckets).to(values.dtype).transpose(1, 2) @ values
                for values, codes in zip(problem.values, problem.codes, strict=True)
            ]
        )

    return Prepared(call, as_arrays, note="one-hot codes, then a product")


SUM_PEERS = (
    Contestant("torch eager", torch_bucket_sum, devices=BOTH, baseline=True),
    Contestant("torch eager, one-hot", one_hot_bucket_sum, devices=BOTH, baseline=True),
    Contestant("torch.compile", partial(torch_bucket_sum, compiled=True), devices=BOTH, modes=(FULL, NAMED)),
)
