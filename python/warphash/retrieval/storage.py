# SPDX-License-Identifier: Apache-2.0
"""The file format of indexes: a checked header and raw arrays, written whole or not at all, never pickled.

Layout, little-endian: magic (8 bytes) · format version (uint32) · header length (uint32) · header, JSON in UTF-8 with
``kind``, ``fields`` and the arrays' ``name``, ``dtype`` and ``shape`` · the arrays' bytes in that order · SHA-256 of
all before it (32 bytes).
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO, NoReturn

import torch
from torch import Tensor

from .._files import PathLike, checked_path, whole_file

# The first byte is no ASCII, and a transfer in text mode breaks the line ends.
MAGIC = b"\x8bwhidx\r\n"
VERSION = 1
_PREFIX = struct.Struct("<8sII")
_DIGEST_BYTES = 32
_CHUNK_BYTES = 1 << 24
_LONGEST_HEADER = 1 << 20
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64)
}

__all__ = ["PathLike", "load_arrays", "save_arrays"]


def save_arrays(path: PathLike, kind: str, fields: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> None:
    """Writes ``fields`` (JSON values) and ``arrays`` to path as one file of the given kind.

    Whole or not at all, as :func:`warphash._files.whole_file` does it. Memory: none, but for a copy of an array
    that is on a GPU or not contiguous.
    """
    if sys.byteorder != "little":
        raise OSError("index files are little-endian, and this machine is not")
    entries = [
        {"name": name, "dtype": str(array.dtype).removeprefix("torch."), "shape": list(array.shape)}
        for name, array in arrays.items()
    ]
    header = json.dumps({"kind": kind, "fields": dict(fields), "arrays": entries}).encode()
    with whole_file(path) as file:
        digest = hashlib.sha256()
        for part in (_PREFIX.pack(MAGIC, VERSION, len(header)), header):
            digest.update(part)
            file.write(part)
        for array in arrays.values():
            data = _bytes_of(array.detach().cpu().contiguous())
            for begin in range(0, len(data), _CHUNK_BYTES):
                digest.update(data[begin : begin + _CHUNK_BYTES])
                file.write(data[begin : begin + _CHUNK_BYTES])
        file.write(digest.digest())


def load_arrays(path: PathLike, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The fields and arrays (on the CPU) of a file that :func:`save_arrays` wrote with the same kind.

    A file that is truncated, damaged, of another kind or newer format, or no index file at all: ValueError with the
    path and the reason. Nothing is allocated before the file's size fits what its header says.
    """
    with open(checked_path(path), "rb") as file:
        return _Reader(path, file).read(kind)


class _Reader:
    def __init__(self, path: PathLike, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self.digest = hashlib.sha256()

    def read(self, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        start = self.file.read(_PREFIX.size)
        if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
            self._refuse("not a warphash index file")
        if len(start) < _PREFIX.size:
            self._refuse("truncated")
        _, version, header_length = _PREFIX.unpack(start)
        if version > VERSION:
            self._refuse(f"format version {version}, this warphash reads up to {VERSION}")
        if version < 1 or header_length > _LONGEST_HEADER:
            self._refuse("damaged header")
        text = self.file.read(header_length)
        if len(text) < header_length:
            self._refuse("truncated")
        self.digest.update(start + text)
        entries, fields = self._parse(text, kind)
        expected = _PREFIX.size + header_length + sum(_size_of(*entry[1:]) for entry in entries) + _DIGEST_BYTES
        if self.size != expected:
            reason = "truncated" if self.size < expected else "longer than its header says"
            self._refuse(f"{reason}: {self.size} bytes instead of {expected}")
        arrays = {name: self._read_array(dtype, shape) for name, dtype, shape in entries}
        if self.file.read(_DIGEST_BYTES) != self.digest.digest():
            self._refuse("checksum does not match: the file is damaged")
        return fields, arrays

    def _parse(self, text: bytes, kind: str) -> tuple[list[tuple[str, torch.dtype, list[int]]], dict[str, Any]]:
        try:
            header = json.loads(text)
            found, fields = header["kind"], header["fields"]
            entries = [(entry["name"], _DTYPES[entry["dtype"]], entry["shape"]) for entry in header["arrays"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._refuse("damaged header")
        if not isinstance(fields, dict) or not all(
            isinstance(name, str) and _is_shape(*rest) for name, *rest in entries
        ):
            self._refuse("damaged header")
        if found != kind:
            self._refuse(f"holds a {found} index, expected {kind}")
        return entries, fields

    def _read_array(self, dtype: torch.dtype, shape: list[int]) -> Tensor:
        array = torch.empty(shape, dtype=dtype, device="cpu")
        data = _bytes_of(array)
        for begin in range(0, len(data), _CHUNK_BYTES):
            chunk = data[begin : begin + _CHUNK_BYTES]
            if self.file.readinto(chunk) != len(chunk):  # type: ignore[attr-defined]
                self._refuse("truncated")
            self.digest.update(chunk)
        return array

    def _refuse(self, reason: str) -> NoReturn:
        raise ValueError(f"{os.fsdecode(self.path)}: {reason}")


def _is_shape(dtype: torch.dtype, shape: object) -> bool:
    """Whether torch can make a tensor of the shape: also the strides of an empty one must fit 64 bits."""
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        return False
    return _size_of(dtype, [max(size, 1) for size in shape]) < 2**63


def _size_of(dtype: torch.dtype, shape: list[int]) -> int:
    size = dtype.itemsize
    for extent in shape:
        size *= extent
    return size


def _bytes_of(array: Tensor) -> memoryview:
    # A memoryview of a zero-size array cannot be cast, and there is nothing to see in it.
    return memoryview(array.reshape(-1).view(torch.uint8).numpy().data) if array.numel() else memoryview(b"")
