# SPDX-License-Identifier: Apache-2.0
"""Every CUDA launcher of pairs and components, run on the CPU, against the room's definitions: all bits equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_emulation.emulated import EmulatedKernels
from warphash.lsh.pairs import reference

FOLDER = "csrc/lsh/pairs"
FILES = ("candidate_pairs", "components", "pair_jaccard")
KERNELS = [*(f"{FOLDER}/{name}.cu" for name in FILES), "csrc/common/scan.cu"]
SOURCES = [*KERNELS, "tests/lsh/emulated_pairs.cpp"]

MODES = {"all": 0, "chain": 1}

# items, columns, different keys
KEYS = [(1, 1, 1), (2, 1, 1), (40, 3, 9), (90, 1, 2), (300, 2, 200), (33, 4, 40)]


def keys_for(items: int, columns: int, different: int) -> np.ndarray:
    generator = np.random.default_rng(items)
    keys = generator.integers(2**62, 2**63 - 1, different)[generator.integers(0, different, (items, columns))]
    keys[generator.random((items, columns)) < 0.1] = -1
    return keys


def sorted_columns(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    columns = np.ascontiguousarray(keys.T)
    items = np.argsort(columns, axis=1, kind="stable")
    return np.take_along_axis(columns, items, 1), items


def find_pairs(kernels: EmulatedKernels, keys: np.ndarray, max_bucket: int, mode: str) -> np.ndarray:
    (items, columns), arguments = keys.shape, sorted_columns(keys)
    ends = np.full(keys.size, -7, np.int64)
    kernels.count_pairs(*arguments, columns, items, max_bucket, MODES[mode], ends)
    found = np.full(ends[-1], -7, np.int64)
    kernels.write_pairs(*arguments, columns, items, MODES[mode], ends, len(found), found)
    found.sort()
    numbers = np.full(len(found), -7, np.int64)
    kernels.number_distinct(found, len(found), numbers)
    pairs = np.full((numbers[-1] if len(numbers) else 0, 2), -7, np.int64)
    kernels.write_distinct(found, numbers, len(found), pairs)
    return pairs


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("max_bucket", [-1, 0, 1, 3, 2**62])
def test_candidate_pairs(emulated_kernels: EmulatedKernels, mode: str, max_bucket: int) -> None:
    for shape in KEYS:
        keys = keys_for(*shape)
        most = None if max_bucket < 0 else max_bucket
        expected = reference.candidate_pairs(torch.from_numpy(keys), max_bucket=most, mode=mode)
        np.testing.assert_array_equal(find_pairs(emulated_kernels, keys, max_bucket, mode), expected)


def test_pairs_of_one_bucket(emulated_kernels: EmulatedKernels) -> None:
    keys = np.full((120, 1), 5)  # more pairs than the blocks of a launch take in one turn
    expected = np.stack(np.triu_indices(120, 1), 1)
    np.testing.assert_array_equal(find_pairs(emulated_kernels, keys, -1, "all"), expected)
    np.testing.assert_array_equal(find_pairs(emulated_kernels, keys, 119, "all"), expected[:0])
    np.testing.assert_array_equal(find_pairs(emulated_kernels, keys, 120, "chain"), expected[:119])


def sizes_of(kernels: EmulatedKernels, keys: np.ndarray) -> np.ndarray:
    items, columns = keys.shape
    sizes = np.full(items + 2, -7, np.int64)
    kernels.count_sizes(*sorted_columns(keys), columns, items, sizes)
    return sizes[: sizes[-1] + 1]


def test_bucket_sizes(emulated_kernels: EmulatedKernels) -> None:
    large = np.stack([np.repeat([1, 2], [400, 30]), np.arange(430) // 300], 1)
    for keys in (*(keys_for(*shape) for shape in KEYS), large, np.full((3, 2), -1), np.zeros((0, 2), np.int64)):
        expected = reference.bucket_sizes(torch.from_numpy(keys))
        np.testing.assert_array_equal(sizes_of(emulated_kernels, keys), expected)


def components(kernels: EmulatedKernels, pairs: np.ndarray, items: int) -> np.ndarray:
    labels = np.full(items, -7, np.int64)
    kernels.connected_components(pairs, len(pairs), items, labels)
    return labels


def test_connected_components(emulated_kernels: EmulatedKernels) -> None:
    generator = np.random.default_rng(0)
    line = np.stack([np.arange(600), np.arange(1, 601)], 1)
    graphs = [
        (np.zeros((0, 2), np.int64), 5),
        (np.zeros((0, 2), np.int64), 0),
        (np.array([[0, 0], [3, 1], [1, 3]]), 4),
        (generator.integers(0, 700, (300, 2)), 700),
        (generator.integers(0, 200, (900, 2)), 200),
        (generator.permutation(line), 601),
        (line[::-1, ::-1].copy(), 601),
        (np.stack([np.full(500, 499), np.arange(500)], 1), 501),
    ]
    for pairs, items in graphs:
        expected = reference.connected_components(torch.from_numpy(pairs), items)
        np.testing.assert_array_equal(components(emulated_kernels, pairs, items), expected)


def test_components_of_wrong_pairs(emulated_kernels: EmulatedKernels) -> None:
    pairs = np.array([[0, 1], [2, -1], [3, 5], [2**62, 1], [4, 3], [-(2**63), 2**63 - 1]])
    np.testing.assert_array_equal(components(emulated_kernels, pairs, 5), [0, 0, 2, 3, 3])


def jaccard(
    kernels: EmulatedKernels, tokens: np.ndarray, offsets: np.ndarray, pairs: np.ndarray, sets: int | None = None
) -> np.ndarray:
    similarity = np.full(len(pairs), -7, np.float64)
    count = len(offsets) - 1 if sets is None else sets
    kernels.pair_jaccard(tokens, len(tokens), offsets, count, pairs, len(pairs), similarity)
    return similarity


def test_pair_jaccard(emulated_kernels: EmulatedKernels) -> None:
    generator = np.random.default_rng(0)
    lengths = [0, 0, 1, 1, 5, 31, 32, 33, 64, 90, 200, 200, 700]
    sets = [np.sort(generator.choice(900, length, replace=False)) - 300 for length in lengths]
    sets += [sets[9].copy(), np.array([-(2**63), 2**63 - 1])]
    tokens = np.concatenate(sets).astype(np.int64)
    offsets = np.cumsum([0, *map(len, sets)])
    pairs = np.stack(np.meshgrid(np.arange(len(sets)), np.arange(len(sets))), -1).reshape(-1, 2)
    expected = reference.pair_jaccard(*(torch.from_numpy(x) for x in (tokens, offsets, pairs)))
    np.testing.assert_array_equal(jaccard(emulated_kernels, tokens, offsets, pairs), expected)
    assert len(jaccard(emulated_kernels, tokens, offsets, pairs[:0])) == 0


def test_jaccard_of_wrong_data(emulated_kernels: EmulatedKernels) -> None:
    """Nothing outside of the arrays is touched (mode asan), and every launch ends."""
    generator = np.random.default_rng(0)
    tokens = generator.integers(-5, 5, 60)
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [-1, 0], [0, 5], [2**62, 1], [4, 4]])
    for offsets in (generator.integers(-100, 100, 6), np.array([0, 2**62, -1, 50, 40, 61])):
        similarity = jaccard(emulated_kernels, tokens, offsets, pairs)
        assert (similarity[4:7] == 0).all()
    assert not jaccard(emulated_kernels, tokens[:0], np.zeros(1, np.int64), pairs).any()
