# SPDX-License-Identifier: Apache-2.0
"""The CUDA entries of pairs and components, on CPU tensors over emulated kernels, against the CPU operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import warphash  # noqa: F401  (registers the CPU operators)
from cuda_emulation.emulated import MODE
from cuda_emulation.operators import load_operators

from .test_emulated_buckets_operators import same
from .test_emulated_pairs import KERNELS, KEYS, keys_for

pytestmark = pytest.mark.skipif(MODE != "plain", reason="the kernels are checked in the other modes by their own tests")


@pytest.fixture(scope="module")
def emulated() -> Any:
    return load_operators(KERNELS, "tests/lsh/emulated_pairs_operators.cpp")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_pairs_and_sizes(emulated: Any) -> None:
    all_keys = [torch.from_numpy(keys_for(*shape)) for shape in KEYS]
    empty = [torch.zeros(shape, dtype=torch.int64) for shape in ((0, 3), (4, 0), (0, 0))]
    for keys in (*all_keys, *empty, torch.full((5, 2), -1), all_keys[2][::2], all_keys[3].expand(90, 3)):
        same(emulated, "lsh_bucket_sizes", keys)
        for max_bucket in (-1, 0, 2, 2**62):
            for mode in (0, 1):
                same(emulated, "lsh_candidate_pairs", keys, max_bucket, mode)


def test_components(emulated: Any, generator: torch.Generator) -> None:
    for count, n in ((0, 0), (0, 7), (60, 90), (300, 50)):
        pairs = torch.randint(0, max(n, 1), (count, 2), generator=generator)
        same(emulated, "lsh_connected_components", pairs, n)
        same(emulated, "lsh_connected_components", pairs.t().contiguous().t(), n)


def test_jaccard(emulated: Any, generator: torch.Generator) -> None:
    sets = [torch.randperm(90, generator=generator)[:length].sort().values for length in (0, 1, 0, 40, 90, 33)]
    tokens, offsets = torch.cat(sets), torch.tensor([0, *map(len, sets)]).cumsum(0)
    for count in (0, 50):
        same(emulated, "lsh_pair_jaccard", tokens, offsets, torch.randint(0, 6, (count, 2), generator=generator))
    same(emulated, "lsh_pair_jaccard", tokens[:0], offsets[:1], torch.zeros(0, 2, dtype=torch.int64))


def test_too_many_pairs(emulated: Any) -> None:
    keys = torch.zeros(65_537, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"^keys have 2147516416 pairs, more than 2\^31 - 1"):
        emulated.lsh_candidate_pairs(keys, -1, 0)
    assert emulated.lsh_candidate_pairs(keys, 65_536, 0).shape == (0, 2)


def test_last_line_of_checks(emulated: Any) -> None:
    long = torch.zeros(3, 3, dtype=torch.int64)
    for call in (
        lambda: emulated.lsh_candidate_pairs(long.int(), -1, 0),
        lambda: emulated.lsh_candidate_pairs(long, -1, 2),
        lambda: emulated.lsh_bucket_sizes(long[0]),
        lambda: emulated.lsh_connected_components(long, 3),
        lambda: emulated.lsh_connected_components(long[:, :2], -1),
        lambda: emulated.lsh_pair_jaccard(long[0], long[0, :0], long[:, :2]),
        lambda: emulated.lsh_pair_jaccard(long, long[0], long[:, :2]),
    ):
        with pytest.raises(RuntimeError, match="must"):
            call()
