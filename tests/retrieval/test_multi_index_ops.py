# SPDX-License-Identifier: Apache-2.0
"""The multi-index operators by themselves: what torch knows of them, and the last line of checks."""

from __future__ import annotations

import pytest
import torch
import warphash as wh

ops = torch.ops.warphash


@pytest.fixture
def codes() -> torch.Tensor:
    return wh.hamming.pack(torch.randn(200, 21, generator=torch.Generator().manual_seed(0)))


def test_opcheck(codes: torch.Tensor) -> None:
    offsets, ids = ops.hamming_multi_index_build(codes, 21, 3)
    torch.library.opcheck(ops.hamming_multi_index_build.default, (codes, 21, 3))
    for queries in (codes[:5], codes[:0]):
        for budget in (0.0, 1e9):
            torch.library.opcheck(ops.hamming_multi_index_topk.default, (queries, codes, offsets, ids, 21, 4, budget))
            torch.library.opcheck(ops.hamming_multi_index_range.default, (queries, codes, offsets, ids, 21, 3, budget))


@pytest.mark.parametrize("substrings", [1, 2, 3, 20, 21])
def test_tables_list_every_code_once_in_order(codes: torch.Tensor, substrings: int) -> None:
    offsets, ids = ops.hamming_multi_index_build(codes, 21, substrings)
    bits = wh.hamming.unpack(codes, 21)
    first = 0
    for s in range(substrings):
        width = 21 // substrings + (s < 21 % substrings)
        values = (bits[:, first : first + width] * 2 ** torch.arange(width)).sum(1)
        assert torch.equal(ids[s].long(), torch.sort(values, stable=True).indices)
        counts = torch.bincount(values, minlength=offsets.shape[1] - 1)
        assert torch.equal(offsets[s].diff().long(), counts)
        assert offsets[s, 0] == 0
        first += width
    assert first == 21


def test_a_search_without_budget_gives_up(codes: torch.Tensor) -> None:
    offsets, ids = ops.hamming_multi_index_build(codes, 21, 3)
    assert not ops.hamming_multi_index_topk(codes[:5], codes, offsets, ids, 21, 4, 0.0)[2].any()
    row_offsets, distances, indices, finished = ops.hamming_multi_index_range(
        codes[:5], codes, offsets, ids, 21, 3, 0.0
    )
    assert not finished.any()
    assert not row_offsets.any()
    assert len(distances) == len(indices) == 0


def test_wrong_operands_are_refused(codes: torch.Tensor) -> None:
    offsets, ids = ops.hamming_multi_index_build(codes, 21, 3)
    build, topk, within = ops.hamming_multi_index_build, ops.hamming_multi_index_topk, ops.hamming_multi_index_range
    for substrings in (0, 22, -1):
        with pytest.raises(RuntimeError, match="substrings"):
            build(codes, 21, substrings)
    with pytest.raises(RuntimeError, match="substrings"):
        build(torch.zeros(4, 8, dtype=torch.uint8), 64, 2)  # 32 bits wide
    with pytest.raises(RuntimeError, match="codes must be"):
        build(codes, 25, 3)
    with pytest.raises(RuntimeError, match="contiguous"):
        build(codes.T.contiguous().T, 21, 3)
    for wrong in ((codes, offsets[:2], ids), (codes, offsets[:, :-1].contiguous(), ids), (codes[:9], offsets, ids)):
        with pytest.raises(RuntimeError, match="belong together"):
            topk(codes[:5], *wrong, 21, 4, 1e9)
    with pytest.raises(RuntimeError, match="queries"):
        topk(codes[:5, :2].contiguous(), codes, offsets, ids, 21, 4, 1e9)
    for k in (-1, 201):
        with pytest.raises(RuntimeError, match="k must be"):
            topk(codes[:5], codes, offsets, ids, 21, k, 1e9)
    with pytest.raises(RuntimeError, match="radius"):
        within(codes[:5], codes, offsets, ids, 21, -1, 1e9)


@pytest.mark.parametrize("wrong", ["high", "zero", "falling", "negative", "ids_high", "ids_negative", "equal_ids"])
def test_broken_tables_never_crash(codes: torch.Tensor, wrong: str) -> None:
    offsets, ids = ops.hamming_multi_index_build(codes, 21, 3)
    middle = offsets[:, 1:-1]
    if wrong in ("high", "zero"):
        offsets.fill_(2**30 if wrong == "high" else 0)
    elif wrong == "falling":
        middle.copy_(middle.flip(1))
    elif wrong == "negative":
        middle.fill_(-(2**31))
    else:
        ids.fill_({"ids_high": 2**31 - 1, "ids_negative": -1, "equal_ids": 3}[wrong])
    queries = ~codes[:5] & 31  # far from all codes: every bucket is probed
    for k in (200,) if wrong == "equal_ids" else (1, 150, 200):
        with pytest.raises(RuntimeError, match="offsets and ids must be tables"):
            ops.hamming_multi_index_topk(queries, codes, offsets, ids, 21, k, 1e9)
    if wrong != "equal_ids":
        with pytest.raises(RuntimeError, match="offsets and ids must be tables"):
            ops.hamming_multi_index_range(queries, codes, offsets, ids, 21, 21, 1e9)
