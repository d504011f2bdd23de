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
    masked = np.ma.masked_array(np.ones((2, 8), np.float32))
    assert ham.pack(masked).tolist() == [[255], [255]]


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


def test_gradients_end_at_other_kinds(arrays: tuple[Any, Any]) -> None:
    values, database = arrays
    scores, _ = ham.asymmetric_topk(values, torch.from_numpy(database), 2)
    assert isinstance(scores, np.ndarray)


def test_the_answer_shares_no_memory_with_the_question() -> None:
    codes = np.zeros((2, 3), np.uint8)
    ham.unpack(codes, 24)[:] = True
    assert not codes.any()
