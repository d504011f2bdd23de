# SPDX-License-Identifier: Apache-2.0
"""Arrays of other libraries: NumPy in and out, DLPack objects, what is refused."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
import warphash as wh

ham = wh.hamming


@pytest.fixture
def arrays() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Values of queries and packed codes of a database."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(4, 20)).astype(np.float32), generator.integers(0, 256, (50, 3), dtype=np.uint8)


def calls(values: Any, queries: Any, database: Any, mask: Any) -> list[tuple[Any, ...]]:
    """Every public function."""
    out = [
        ham.pack(values),
        ham.unpack(database, 20),
        ham.cdist(queries, database),
        ham.topk(queries, database, 3, mask=mask),
        ham.jaccard_topk(queries, database, 3, mask=mask),
        ham.range_search(queries, database, 9, mask=mask),
        ham.histogram(queries, database, mask=mask),
        ham.asymmetric_topk(values, database, 3),
    ]
    return [x if isinstance(x, tuple) else (x,) for x in out]


def test_numpy_in_numpy_out(arrays: tuple[Any, Any]) -> None:
    values, database = arrays
    queries = ham.pack(values)
    mask = np.arange(50) % 3 > 0
    numpy_out = calls(values, queries, database, mask)
    torch_out = calls(*map(torch.from_numpy, (values, queries, database, mask)))
    for ours, theirs in zip(numpy_out, torch_out, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert isinstance(a, np.ndarray)
            assert isinstance(b, torch.Tensor)
            assert a.dtype == b.numpy().dtype
            assert np.array_equal(a, b.numpy())


def test_the_first_array_decides_the_kind(arrays: tuple[Any, Any]) -> None:
    values, database = arrays
    queries = ham.pack(values)
    assert isinstance(ham.cdist(queries, torch.from_numpy(database)), np.ndarray)
    assert isinstance(ham.cdist(torch.from_numpy(queries), database), torch.Tensor)
    assert all(
        isinstance(x, torch.Tensor) for x in ham.topk(torch.from_numpy(queries), database, 2, mask=np.ones(50, bool))
    )


def test_memory_is_shared_where_it_may_be(arrays: tuple[Any, Any]) -> None:
    values, database = arrays
    assert wh.interop.as_tensor(values).data_ptr() == values.ctypes.data
    assert wh.interop.as_tensor(database[::2]).stride() == (6, 1)
    x = torch.ones(3)
    assert wh.interop.as_tensor(x) is x
    assert wh.interop.like(values, x).ctypes.data == x.data_ptr()


def test_read_only_arrays_are_unharmed_and_cause_no_warning(arrays: tuple[Any, Any]) -> None:
    values, database = arrays
    queries = ham.pack(values)
    expected = calls(values, queries, database, None)
    before = [x.copy() for x in (values, queries, database)]
    for x in (values, queries, database):
        x.flags.writeable = False
    out = calls(values, queries, database, None)
    assert all(np.array_equal(a, b) for x, y in zip(out, expected, strict=True) for a, b in zip(x, y, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip((values, queries, database), before, strict=True))
    wh.interop.as_tensor(values).zero_()  # a tensor of one's own: the array keeps its values
    assert np.array_equal(values, before[0])


@pytest.mark.parametrize(
    "change", [lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x[::-2, ::-1], lambda x: np.asfortranarray(x)]
)
def test_strides_of_any_sign(arrays: tuple[Any, Any], change: Any) -> None:
    values, database = arrays
    assert np.array_equal(ham.pack(change(values)), ham.pack(change(values).copy()))
    q, d = change(database[:4]), change(database)
    assert np.array_equal(ham.cdist(q, d), ham.cdist(q.copy(), d.copy()))


@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "i4", "u8"])
def test_arrays_of_foreign_byte_order(kind: str) -> None:
    native = np.arange(-6, 6).astype(np.int64).clip(0 if kind == "u8" else -6).astype(kind).reshape(2, 6)
    foreign = native.astype(np.dtype(kind).newbyteorder())
    assert not foreign.dtype.isnative
    assert np.array_equal(ham.pack(foreign, 2.0), ham.pack(native, 2.0))


def test_scalars_and_subclasses_of_numpy() -> None:
    with pytest.raises(ValueError, match="0-dimensional"):
        ham.pack(np.float32(1.0))
    without_mask = np.ma.masked_array(np.ones((2, 8), np.float32))
    assert ham.pack(without_mask).tolist() == [[255], [255]]


@pytest.mark.parametrize("mask", [np.eye(2, 8, dtype=bool), np.zeros((2, 8), bool)], ids=["some", "none"])
def test_masks_of_numpy_are_not_dropped_in_silence(mask: Any) -> None:
    with pytest.raises(TypeError, match=r"^x is a NumPy array with a mask, which would be lost: .*x.filled"):
        ham.pack(np.ma.masked_array(np.ones((2, 8), np.float32), mask))


def test_fields_of_records_are_copied() -> None:
    """Their strides are no whole number of elements; packed records leave them unaligned as well."""
    records = np.zeros(20, dtype=[("label", "u1"), ("value", "<f4"), ("wide", "<f8")])
    records["value"] = np.arange(20) - 9.5
    records["wide"] = 9.5 - np.arange(20)
    for name in ("value", "wide"):
        taken = wh.interop.as_tensor(records[name])
        assert taken.tolist() == records[name].tolist()
        assert np.array_equal(ham.pack(records[name]), ham.pack(records[name].copy()))
    even = np.frombuffer(bytes(1) + np.arange(8, dtype="<f4").tobytes(), "<f4", offset=1)
    even = np.lib.stride_tricks.as_strided(even, writeable=True)
    taken = wh.interop.as_tensor(even)
    assert taken.data_ptr() % 4 == 0
    assert taken.tolist() == list(range(8))


@pytest.mark.parametrize(
    "array",
    [np.array(["a"]), np.array([None]), np.array([(1, 2)], dtype="i4,i4"), np.array(["2020-01-01"], dtype="M8[D]")],
    ids=lambda array: str(array.dtype),
)
def test_dtypes_that_torch_lacks_are_refused_by_name(array: Any) -> None:
    with pytest.raises(TypeError, match=r"^x has dtype .*, which torch does not take"):
        ham.pack(array)


@pytest.mark.parametrize(
    "thing", [[1.0], (1.0,), 1.0, "text", None, {"a": 1}, object()], ids=lambda x: type(x).__name__
)
def test_other_things_are_refused_by_name(thing: Any) -> None:
    with pytest.raises(TypeError, match=f"^x must be a torch tensor, a NumPy array .* got {type(thing).__name__}$"):
        ham.pack(thing)


# ---- The CUDA array interface ---------------------------------------------------------------------------------------
class OnCuda:
    """An array that says it is on a GPU, in no other way."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": (2, 8), "typestr": "<f4", "data": (0, False), "version": 3}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_array_on_a_gpu_that_torch_lacks_is_refused_by_name() -> None:
    with pytest.raises(RuntimeError, match=r"^b is a OnCuda on a CUDA device, and torch .*(without|finds no) CUDA"):
        ham.cdist(torch.zeros(1, 1, dtype=torch.uint8), OnCuda())


def test_a_broken_cuda_array_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("no such pointer")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "as_tensor", refuse)
    with pytest.raises(TypeError, match=r"^x cannot be taken through __cuda_array_interface__: no such pointer"):
        wh.interop.as_tensor(OnCuda())


# ---- DLPack ---------------------------------------------------------------------------------------------------------
class Foreign:
    """An array of a library that speaks DLPack alone."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.tensor.__dlpack_device__()


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> type[Foreign]:
    """Arrays of an installed library: its module has from_dlpack."""
    library = types.ModuleType("a_foreign_library")
    library.from_dlpack = lambda x: Foreign(torch.utils.dlpack.from_dlpack(x))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_foreign_library", library)
    monkeypatch.setattr(Foreign, "__module__", "a_foreign_library.arrays")
    return Foreign


def test_dlpack_in_the_same_kind_out(arrays: tuple[Any, Any], foreign: type[Foreign]) -> None:
    values, database = map(torch.from_numpy, arrays)
    queries = ham.pack(values)
    mask = torch.arange(50) % 2 > 0
    out = calls(*map(foreign, (values, queries, database, mask)))
    for ours, theirs in zip(out, calls(values, queries, database, mask), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert isinstance(a, Foreign)
            assert torch.equal(a.tensor, b)


def test_a_library_with_an_array_namespace(arrays: tuple[Any, Any]) -> None:
    class Named(Foreign):
        def __array_namespace__(self) -> Any:
            return types.SimpleNamespace(from_dlpack=lambda x: Named(torch.utils.dlpack.from_dlpack(x)))

    values = torch.from_numpy(arrays[0])
    assert torch.equal(ham.pack(Named(values)).tensor, ham.pack(values))


def test_a_library_without_from_dlpack_is_told(arrays: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "a_bare_library", types.ModuleType("a_bare_library"))
    monkeypatch.setattr(Foreign, "__module__", "a_bare_library")
    with pytest.raises(TypeError, match="Foreign: its library has no from_dlpack"):
        ham.pack(Foreign(torch.from_numpy(arrays[0])))


def test_a_broken_dlpack_is_refused_by_name() -> None:
    class Broken(Foreign):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("cannot be exported")

    with pytest.raises(TypeError, match=r"^b cannot be taken through DLPack: cannot be exported"):
        ham.cdist(torch.zeros(1, 1, dtype=torch.uint8), Broken(torch.zeros(1)))


def test_negative_strides_through_dlpack_are_copied(foreign: type[Foreign]) -> None:
    """The process would end in torch, so the array's own copy is taken."""

    class Reversed(foreign):  # type: ignore[valid-type, misc]
        __module__ = foreign.__module__
        strides = (-4,)

        def copy(self) -> Any:
            return foreign(self.tensor.flip(0))

    out = ham.pack(Reversed(torch.tensor([1.0, -1.0, -1.0])))
    assert out.tensor.tolist() == [4]


def test_read_only_producers_are_shared_and_not_written(foreign: type[Foreign]) -> None:
    values = np.linspace(-1, 1, 48, dtype=np.float32).reshape(2, 24)
    codes = np.arange(30, dtype=np.uint8).reshape(10, 3)

    class ReadOnly(foreign):  # type: ignore[valid-type, misc]
        __module__ = foreign.__module__

        def __init__(self, array: Any) -> None:
            array.flags.writeable = False
            self.tensor = array

    before = values.copy(), codes.copy()
    taken = wh.interop.as_tensor(ReadOnly(values))
    assert taken.data_ptr() == values.ctypes.data
    out = calls(ReadOnly(values), ReadOnly(codes[:2]), ReadOnly(codes), None)
    for ours, theirs in zip(
        out, calls(*map(torch.from_numpy, (before[0], before[1][:2], before[1])), None), strict=True
    ):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a.tensor, b)
    assert np.array_equal(values, before[0])
    assert np.array_equal(codes, before[1])


def test_gradients_end_at_other_kinds(arrays: tuple[Any, Any]) -> None:
    values, database = arrays
    scores, _ = ham.asymmetric_topk(values, torch.from_numpy(database), 2)
    assert isinstance(scores, np.ndarray)


def test_the_answer_shares_no_memory_with_the_question() -> None:
    codes = np.zeros((2, 3), np.uint8)
    ham.unpack(codes, 24)[:] = True
    assert not codes.any()
