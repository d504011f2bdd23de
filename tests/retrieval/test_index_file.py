# SPDX-License-Identifier: Apache-2.0
"""Index files: round trips, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import torch
import warphash as wh
from warphash.retrieval import storage


@pytest.fixture
def index() -> wh.retrieval.HammingIndex:
    made = wh.retrieval.HammingIndex(20, method="multi_index")
    made.add(wh.hamming.pack(torch.randn(300, 20, generator=torch.Generator().manual_seed(0))))
    return made


@pytest.fixture
def path(tmp_path: Path, index: wh.retrieval.HammingIndex) -> Path:
    index.save(tmp_path / "codes.index")
    return tmp_path / "codes.index"


def test_round_trip(path: Path, index: wh.retrieval.HammingIndex) -> None:
    loaded = wh.retrieval.HammingIndex.load(path)
    assert (loaded.bits, loaded.method, len(loaded)) == (20, "multi_index", 300)
    assert torch.equal(loaded.codes, index.codes)
    loaded.add(index.codes)
    assert len(loaded) == 600
    assert torch.equal(wh.retrieval.HammingIndex.load(str(path)).codes, index.codes)


def test_empty_index_round_trip(tmp_path: Path) -> None:
    wh.retrieval.HammingIndex(7).save(tmp_path / "empty")
    loaded = wh.retrieval.HammingIndex.load(tmp_path / "empty")
    assert (loaded.bits, loaded.method, len(loaded)) == (7, "flat", 0)


def test_same_codes_same_file(path: Path, index: wh.retrieval.HammingIndex) -> None:
    before = path.read_bytes()
    index.save(path)
    assert path.read_bytes() == before
    assert index.codes.numpy().tobytes() in before  # raw, not pickled
    assert [entry.name for entry in path.parent.iterdir()] == ["codes.index"]


def test_permissions_follow_the_umask(path: Path) -> None:
    other = path.with_name("other")
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


def refused(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        wh.retrieval.HammingIndex.load(path)
    assert str(path) in str(caught.value)


def test_every_truncation_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in [*range(len(content) - 40, len(content)), *range(1, 200), 500]:
        refused(path, content[:length], "truncated")
    refused(path, b"", "not a warphash index file")


def test_every_flipped_byte_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for place in [*range(300), *range(300, len(content), 37), len(content) - 1]:
        refused(path, content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :], "codes.index: ")


def test_foreign_files_are_refused(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    refused(path, content + b"\0", "longer")
    refused(path, b"PK\x03\x04" + bytes(1000), "not a warphash index file")
    refused(path, content.replace(b"\r\n", b"\n", 1), "not a warphash index file")
    storage.save_arrays(path, "sparse", {}, {})
    with pytest.raises(ValueError, match="holds a sparse index, expected hamming"):
        wh.retrieval.HammingIndex.load(path)
    with pytest.raises(FileNotFoundError):
        wh.retrieval.HammingIndex.load(tmp_path / "none")


def test_newer_version_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:12] = struct.pack("<I", storage.VERSION + 1)
    refused(path, bytes(content), f"format version {storage.VERSION + 1}")


def with_header(content: bytes, header: bytes) -> bytes:
    return content[:12] + struct.pack("<I", len(header)) + header


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"kind": "hamming", "fields": {}, "arrays": [{"name": "codes", "dtype": "uint8", "shape": [Infinity]}]}',
        b'{"kind": "hamming", "fields": {}, "arrays": [{"name": "codes", "dtype": "uint8", "shape": "123"}]}',
        b'{"kind": "hamming", "fields": {}, "arrays": [{"name": "codes", "dtype": "uint8", "shape": [2.5]}]}',
        b'{"kind": "hamming", "fields": {}, "arrays": [{"name": "codes", "dtype": "uint8", "shape": [0, %d]}]}' % 2**70,
        b'{"kind": "hamming", "fields": {}, "arrays": [{"name": "a", "dtype": "int64", "shape": [0, %d]}]}' % 2**62,
        b'{"kind": "hamming", "fields": {}, "arrays": [{"name": ["a"], "dtype": "uint8", "shape": [1]}]}',
        b'{"kind": "hamming", "fields": {}, "arrays": [{"name": "codes", "dtype": ["uint8"], "shape": [1]}]}',
        b'{"kind": "hamming", "fields": 3, "arrays": []}',
        b'{"kind": "hamming", "fields": {}, "arrays": 3}',
        b"\xff\xfe",
        b'{"kind": "hamming"}',
        json.dumps(
            {"kind": "hamming", "fields": {}, "arrays": [{"name": "codes", "dtype": "object", "shape": [1]}]}
        ).encode(),
        json.dumps(
            {"kind": "hamming", "fields": {}, "arrays": [{"name": "codes", "dtype": "uint8", "shape": [-1]}]}
        ).encode(),
    ],
)
def test_damaged_header_is_refused(path: Path, header: bytes) -> None:
    refused(path, with_header(path.read_bytes(), header), "damaged header")


def test_a_huge_claim_allocates_nothing(path: Path) -> None:
    entry = {"name": "codes", "dtype": "uint8", "shape": [2**50, 2**10]}
    header = json.dumps({"kind": "hamming", "fields": {}, "arrays": [entry]}).encode()
    refused(path, with_header(path.read_bytes(), header), "truncated")
    refused(path, path.read_bytes()[:12] + struct.pack("<I", 2**32 - 1), "damaged header")


@pytest.mark.parametrize("fields", [{}, {"bits": 20}, {"bits": "20", "method": "flat"}, {"bits": 50, "method": "flat"}])
def test_whole_file_with_wrong_fields_is_refused(path: Path, fields: dict[str, object]) -> None:
    storage.save_arrays(path, "hamming", fields, {"codes": torch.zeros(4, 3, dtype=torch.uint8)})
    refused(path, path.read_bytes(), "damaged")


def test_padding_bits_in_a_file_are_refused(path: Path) -> None:
    codes = torch.full((4, 3), 255, dtype=torch.uint8)
    storage.save_arrays(path, "hamming", {"bits": 20, "method": "flat"}, {"codes": codes})
    refused(path, path.read_bytes(), "padding")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(
    path: Path, index: wh.retrieval.HammingIndex, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    index.add(index.codes)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        index.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["codes.index"]


def test_a_save_to_nowhere(index: wh.retrieval.HammingIndex, tmp_path: Path) -> None:
    asked = tmp_path / "missing" / "codes.index"
    with pytest.raises(FileNotFoundError) as caught:
        index.save(asked)
    assert caught.value.filename == str(asked)
    with pytest.raises(IsADirectoryError):
        index.save(tmp_path)
    with pytest.raises(ValueError, match="path must name a regular file"):
        index.save("/dev/null")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_and_its_file_is_replaced(
    path: Path, index: wh.retrieval.HammingIndex, tmp_path: Path, dangling: bool
) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link"
    link.symlink_to(path)
    if dangling:
        path.unlink()
    index.add(index.codes)
    index.save(link)
    assert link.is_symlink()
    assert len(wh.retrieval.HammingIndex.load(path)) == 600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_replaced_file_keeps_its_mode(path: Path, index: wh.retrieval.HammingIndex, mode: int) -> None:
    path.chmod(mode)
    index.save(path)
    assert path.stat().st_mode & 0o7777 == mode


def test_long_names_and_kinds_of_paths(index: wh.retrieval.HammingIndex, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)
    for kind in (path, str(path), bytes(path)):
        index.save(kind)
        assert len(wh.retrieval.HammingIndex.load(kind)) == 300
        path.unlink()
    for wrong in (5, None, 2.0):
        for call in (index.save, wh.retrieval.HammingIndex.load):
            with pytest.raises(TypeError, match="path must be"):
                call(wrong)
    with pytest.raises(ValueError, match="device"):
        wh.retrieval.HammingIndex.load(path, device="nope")


def test_arrays_of_all_kinds(tmp_path: Path) -> None:
    arrays = {
        "a": torch.arange(5),
        "b": torch.randn(2, 0, 3),
        "c": torch.randn(3, 4).T.bfloat16(),
        "d": torch.tensor(2.5, dtype=torch.float64),
    }
    storage.save_arrays(tmp_path / "x", "test", {"seed": 3, "name": "ü"}, arrays)
    fields, loaded = storage.load_arrays(tmp_path / "x", "test")
    assert fields == {"seed": 3, "name": "ü"}
    assert list(loaded) == list(arrays)
    assert all(torch.equal(loaded[name], array) and loaded[name].dtype == array.dtype for name, array in arrays.items())
