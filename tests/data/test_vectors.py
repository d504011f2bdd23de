# SPDX-License-Identifier: Apache-2.0
"""deduplicate_vectors and images against loops over all pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import warphash as wh
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

Array = npt.NDArray[Any]


def close_pairs(codes: Tensor, radius: int, groups: list[int]) -> list[list[int]]:
    distances = wh.hamming.cdist(codes, codes)
    count = range(len(codes))
    return [[i, j] for i in count for j in count if i < j and distances[i, j] <= radius and groups[i] == groups[j]]


def greedy_loop(codes: Tensor, radius: int, groups: list[int]) -> list[int]:
    """Label of each code: the first kept one within the radius, one by one."""
    labels = [-1] * len(codes)
    distances = wh.hamming.cdist(codes, codes)
    for i in range(len(codes)):
        if labels[i] < 0:
            for j in range(i, len(codes)):
                if labels[j] < 0 and groups[i] == groups[j] and distances[i, j] <= radius:
                    labels[j] = i
    return labels


def clustered(count: int, bits: int, seed: int, flips: int = 3) -> Tensor:
    """Codes in clusters, some of them equal."""
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2, (max(count // 8, 1), bits))
    found = centres[generator.integers(0, len(centres), count)]
    for code in found:
        code[generator.integers(0, bits, generator.integers(0, flips + 1))] ^= 1
    return wh.hamming.pack(torch.from_numpy(found).float(), 0.5)


@pytest.mark.parametrize("radius", [0, 1, 3, 6, 64, 10**6])
@pytest.mark.parametrize("grouped", [False, True])
def test_components_and_greedy_are_the_loops(radius: int, grouped: bool) -> None:
    codes = clustered(150, 60, radius)
    groups = np.random.default_rng(1).integers(-2, 3, 150).tolist() if grouped else [0] * 150
    options = {"radius": radius, "groups": groups if grouped else None}
    found = wh.data.deduplicate_vectors(codes, **options)
    assert found.pairs.tolist() == close_pairs(codes, radius, groups)
    assert found.all_pairs
    assert torch.equal(found.labels, wh.lsh.connected_components(found.pairs, 150))
    assert found.keep.tolist() == sorted(set(found.labels.tolist()))
    chosen = wh.data.deduplicate_vectors(codes, select="greedy", **options)
    labels = greedy_loop(codes, radius, groups)
    assert chosen.labels.tolist() == labels
    assert chosen.keep.tolist() == sorted(set(labels))
    assert chosen.pairs.tolist() == sorted([label, i] for i, label in enumerate(labels) if label != i)
    assert torch.equal(chosen.labels, wh.lsh.connected_components(chosen.pairs, 150))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 40), st.integers(1, 3), st.integers(0, 5), st.integers(0, 1000), st.randoms())
def test_clusters_do_not_depend_on_order(count: int, width: int, radius: int, seed: int, random: Any) -> None:
    codes = clustered(count, 8 * width, seed)
    found = wh.data.deduplicate_vectors(codes, radius=radius)
    order = list(range(count))
    random.shuffle(order)
    other = wh.data.deduplicate_vectors(codes[order], radius=radius)
    assert {tuple(sorted((order[i], order[j]))) for i, j in other.pairs.tolist()} == set(
        map(tuple, found.pairs.tolist())
    )
    assert len(other.keep) == len(found.keep)


@pytest.mark.parametrize("most", [0, 1, 50, 2**24])
def test_beyond_max_pairs_as_many_pairs_as_join_the_clusters(most: int) -> None:
    codes = clustered(300, 64, 2)
    whole = wh.data.deduplicate_vectors(codes, radius=4)
    found = wh.data.deduplicate_vectors(codes, radius=4, max_pairs=most)
    assert torch.equal(found.labels, whole.labels)
    assert torch.equal(found.keep, whole.keep)
    listed = set(map(tuple, found.pairs.tolist()))
    assert listed <= set(map(tuple, whole.pairs.tolist()))
    assert found.all_pairs == (most > len(whole.pairs))
    if not found.all_pairs:
        assert len(listed) == 300 - len(found.keep)


def test_very_many_equal_codes() -> None:
    found = wh.data.deduplicate_vectors(torch.zeros(100_000, 8, dtype=torch.uint8), radius=6)
    assert found.keep.tolist() == [0]
    assert len(found.pairs) == 99_999


def test_edges() -> None:
    none = wh.data.deduplicate_vectors(torch.empty(0, 8, dtype=torch.uint8), radius=3)
    assert (len(none.keep), none.pairs.shape, len(none.labels)) == (0, (0, 2), 0)
    for select in ("components", "greedy"):
        without = wh.data.deduplicate_vectors(torch.empty(5, 0, dtype=torch.uint8), radius=3, select=select)
        assert without.labels.tolist() == [0] * 5
    codes = clustered(20, 16, 0).numpy()
    found = wh.data.deduplicate_vectors(codes, radius=2, groups=np.arange(20))
    assert isinstance(found.labels, np.ndarray)
    assert found.keep.tolist() == list(range(20))


@pytest.mark.cuda
@pytest.mark.parametrize("select", ["components", "greedy"])
def test_the_card_finds_the_same(select: str) -> None:
    codes = clustered(400, 64, 5)
    images = torch.randint(0, 256, (20, 3, 30, 41), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(wh.data.dhash(images.cuda()).cpu(), wh.data.dhash(images))
    groups = torch.arange(400) % 3
    here, there = (
        wh.data.deduplicate_vectors(x, radius=4, groups=groups, select=select) for x in (codes, codes.cuda())
    )
    for name in ("keep", "labels", "pairs"):
        assert getattr(there, name).is_cuda
        assert torch.equal(getattr(there, name).cpu(), getattr(here, name))


@pytest.mark.parametrize(
    ("codes", "options", "error", "text"),
    [
        (torch.zeros(3, 2), {"radius": 1}, TypeError, "^codes must be packed codes"),
        (torch.zeros(3, dtype=torch.uint8), {"radius": 1}, ValueError, "^codes must be 2-D"),
        (torch.zeros(3, 2, dtype=torch.uint8), {"radius": -1}, ValueError, "^radius must be at least 0"),
        (torch.zeros(3, 2, dtype=torch.uint8), {"radius": 1.0}, TypeError, "^radius must be an int"),
        (torch.zeros(3, 2, dtype=torch.uint8), {"radius": 1, "select": "x"}, ValueError, "^select must be one of"),
        (torch.zeros(3, 2, dtype=torch.uint8), {"radius": 1, "groups": [1, 2]}, ValueError, "^groups must have one"),
        (
            torch.zeros(2, 2, dtype=torch.uint8),
            {"radius": 1, "groups": [[0], [0, 1]]},
            ValueError,
            "^groups must have one",
        ),
        (torch.zeros(3, 2, dtype=torch.uint8), {"radius": 1, "groups": [0.5] * 3}, TypeError, "^groups must be int"),
        (torch.zeros(3, 2, dtype=torch.uint8), {"radius": 1, "groups": ["a"] * 3}, TypeError, "^groups has dtype"),
        (torch.zeros(3, 2, dtype=torch.uint8), {"radius": 1, "groups": 7}, TypeError, "^groups must be a torch"),
        (torch.zeros(3, 2, dtype=torch.uint8), {"radius": 1, "max_pairs": -1}, ValueError, "^max_pairs must be"),
    ],
)
def test_bad_input(codes: Tensor, options: dict[str, Any], error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        wh.data.deduplicate_vectors(codes, **options)


# ---- Images ---------------------------------------------------------------------------------------------------------
def means(image: Array, rows: int, columns: int) -> Array:
    """Of equal areas, by repeating each pixel until areas hold whole ones."""
    height, width = image.shape
    large = np.kron(image, np.ones((rows, columns), dtype=image.dtype))
    return large.reshape(rows, height, columns, width).sum((1, 3))


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (8, 9), (16, 18), (30, 41), (5, 100)])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_dhash_of_grey_images(shape: tuple[int, int], size: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *shape), dtype=np.uint8)
    codes = wh.data.dhash(images, size)
    assert isinstance(codes, np.ndarray)
    assert codes.shape == (5, (size * size + 7) // 8)
    for image, code in zip(images, codes, strict=True):
        sums = means(image.astype(np.int64), size, size + 1)
        bits = (sums[:, 1:] > sums[:, :-1]).reshape(-1)
        assert np.array_equal(np.packbits(bits, bitorder="little"), code)
    assert torch.equal(wh.data.dhash(torch.from_numpy(images).double(), size), torch.from_numpy(codes))


def test_dhash_of_colours() -> None:
    images = torch.randint(0, 256, (4, 3, 20, 25), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grey = (images.double() * torch.tensor([299.0, 587.0, 114.0])[:, None, None].double()).sum(1)
    codes = wh.data.dhash(images)
    assert torch.equal(codes, wh.data.dhash(grey))
    alpha = torch.cat([images, torch.full_like(images[:, :1], 7)], 1)
    assert torch.equal(codes, wh.data.dhash(alpha))
    assert torch.equal(wh.data.dhash(images[:, :1]), wh.data.dhash(images[:, 0]))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert torch.equal(wh.data.dhash((images // 64).to(dtype)), wh.data.dhash(images // 64))
    assert wh.data.dhash(images[:0]).shape == (0, 8)
    assert not wh.data.dhash(torch.full((1, 9, 9), float("nan"))).any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("channels", [0, 3])
def test_a_pixel_that_is_not_finite_spoils_the_bits_of_its_own_cells(bad: float, channels: int) -> None:
    shape = (2, channels, 20, 31) if channels else (2, 20, 31)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    whole = wh.hamming.unpack(wh.data.dhash(images), 64).reshape(2, 8, 8) > 0
    images[0, ..., 9, 17] = bad
    found = wh.hamming.unpack(wh.data.dhash(images), 64).reshape(2, 8, 8) > 0
    assert torch.equal(found[1], whole[1])
    # Row 9 of 20 lies in cell 3 of 8 (7.5 to 10), column 17 of 31 in cells 4 (13.8 to 17.2) and 5 of 9.
    own = torch.zeros(8, 8, dtype=torch.bool)
    own[3, 3:6] = True
    assert not found[0][own].any()
    assert torch.equal(found[0][~own], whole[0][~own])


def test_dhash_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(7, 12, 13, generator=torch.Generator().manual_seed(0))
    expected = wh.data.dhash(images)
    monkeypatch.setattr("warphash.data.images._PIXELS", 400)
    assert torch.equal(wh.data.dhash(images), expected)


def volumes() -> tuple[Array, Array]:
    """Slices of generated volumes: the Shepp-Logan phantom, a blob that moves, noise."""
    phantom = pytest.importorskip("skimage.data").shepp_logan_phantom()[::4, ::4]
    generator = np.random.default_rng(0)
    y, x = np.mgrid[: phantom.shape[0], : phantom.shape[1]]
    slices, numbers = [], []
    for volume in range(6):
        start = generator.uniform(20, 60, 2)
        for depth in range(40):
            blob = np.exp(-((x - start[0] - 1.2 * depth) ** 2 + (y - start[1]) ** 2) / 128)
            slices.append(phantom * (0.6 + 0.4 * np.sin(depth / 12)) + blob + generator.normal(0, 0.03, phantom.shape))
            numbers.append(volume)
    return np.stack(slices).astype(np.float32), np.array(numbers)


def test_reduction_of_volumes() -> None:
    """What the reduction of "Less is More" promises, on generated volumes."""
    slices, numbers = volumes()
    codes = torch.from_numpy(wh.data.dhash(slices))
    distances = wh.hamming.cdist(codes, codes)
    kept = []
    for radius in (0, 3, 6, 12):
        found = wh.data.deduplicate_images(slices, radius=radius, groups=numbers, select="greedy")
        assert found.labels.tolist() == greedy_loop(codes, radius, numbers.tolist())
        keep = torch.from_numpy(found.keep)
        apart = distances[keep][:, keep]
        same = torch.from_numpy(numbers[found.keep][:, None] == numbers[found.keep])
        assert bool((apart[same & ~torch.eye(len(keep), dtype=torch.bool)] > radius).all())
        rows = torch.arange(len(codes))
        assert bool((distances[rows, torch.from_numpy(found.labels)] <= radius).all())
        assert (numbers[found.labels] == numbers).all()
        kept.append(len(keep))
    assert len(codes) >= kept[0] > kept[1] > kept[2] > kept[3] >= 6


def test_images_of_many_sizes_and_from_files(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    first = generator.integers(0, 256, (36, 32, 3), dtype=np.uint8)
    other = generator.integers(0, 256, (36, 32, 3), dtype=np.uint8)
    paths = []
    for name, pixels, scale in (("a", first, 1), ("b", other, 1), ("c", first, 3)):
        image.fromarray(np.kron(pixels, np.ones((scale, scale, 1), np.uint8))).save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    found = wh.data.deduplicate_images([*paths, str(paths[0]), torch.from_numpy(other).permute(2, 0, 1)])
    assert found.labels.tolist() == [0, 1, 0, 0, 1]
    assert wh.data.deduplicate_images(iter([])).keep.tolist() == []
    with pytest.raises(FileNotFoundError):
        wh.data.deduplicate_images([tmp_path / "missing.png"])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(OSError, match="identify"):
        wh.data.deduplicate_images([tmp_path / "text.png"])


@pytest.mark.parametrize(
    ("dtype", "name"),
    [("<u2", "a.png"), ("<u2", "a.tiff"), (">u2", "a.tiff"), ("<i4", "a.tiff"), ("<f4", "a.tiff")],
)
def test_files_of_more_than_eight_bits(dtype: str, name: str, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    pixels = [generator.integers(300, 2**15, (40, 50)).astype(dtype) for _ in range(3)]
    files = []
    for number, some in enumerate(pixels):
        (tmp_path / str(number)).mkdir()
        files.append(tmp_path / str(number) / name)
        image.fromarray(some).save(files[-1])
    with image.open(files[0]) as opened:
        assert opened.mode.startswith(("I", "F"))
    arrays = [some.astype(np.float64) for some in pixels]
    assert len(wh.data.deduplicate_images(files, radius=0).keep) == 3
    assert wh.data.deduplicate_images([*files, *arrays], radius=0).labels.tolist() == [0, 1, 2] * 2


@pytest.mark.parametrize(
    ("images", "options", "error", "text"),
    [
        (torch.zeros(3, 4, dtype=torch.uint8), {}, ValueError, r"^images must be \[N, H, W\]"),
        (torch.zeros(3, 2, 4, 4), {}, ValueError, r"^images must be \[N, H, W\].*got shape \(3, 2, 4, 4\)"),
        (torch.zeros(3, 0, 4), {}, ValueError, "^images must have pixels"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), {}, TypeError, "^images must be uint8 or floating"),
        (torch.zeros(3, 4, 4), {"size": 0}, ValueError, "^size must be at least 1"),
        (torch.zeros(3, 4, 4), {"size": 65}, ValueError, "^size must be at most 64"),
        ("image.png", {}, TypeError, "^images must be an array or an iterable of images, got str"),
        (5, {}, TypeError, "^images must be an array or an iterable of images, got int"),
        ([torch.zeros(5)], {}, ValueError, r"^images must hold \[H, W\] or \[C, H, W\]"),
        ([7], {}, TypeError, "^images must be a torch tensor"),
        ([], {"size": 100}, ValueError, "^size must be at most 64, got 100"),
        ([], {"size": 0}, ValueError, "^size must be at least 1"),
    ],
)
def test_bad_images(images: Any, options: dict[str, Any], error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        wh.data.deduplicate_images(images, **options)
