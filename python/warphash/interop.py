# SPDX-License-Identifier: Apache-2.0
"""Arrays of other libraries in, the same kind out.

NumPy arrays, CuPy arrays and everything else that speaks DLPack or ``__cuda_array_interface__`` is taken without a copy
where that is safe, and answers come back in the caller's kind. Nothing of warphash writes its inputs. A read-only NumPy
array is copied, so that the tensor may be written; what comes through DLPack is shared even where its owner calls it
read-only, because torch's tensors know no such state.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

__all__ = ["as_tensor", "like"]


def as_tensor(x: Any, name: str = "x") -> torch.Tensor:
    """``x`` as a torch tensor, sharing its memory where possible.

    Args:
        x: a torch tensor (returned as it is), a NumPy array, or an object with ``__dlpack__`` or
            ``__cuda_array_interface__`` (CuPy, Numba, JAX, ...).
        name: what an error calls it.

    Raises:
        TypeError: ``x`` is none of these, a NumPy array of a dtype that torch lacks or with a mask, or an array that
            its library or torch does not hand over.
        RuntimeError: ``x`` has only ``__cuda_array_interface__``, and this torch has no CUDA device.
    """
    if isinstance(x, torch.Tensor):
        return x
    if isinstance(x, np.ndarray | np.generic):
        if isinstance(x, np.ma.MaskedArray) and x.mask is not np.ma.nomask:
            raise TypeError(f"{name} is a NumPy array with a mask, which would be lost: pass x.filled(value) or x.data")
        return _from_numpy(np.asarray(x), name)
    if hasattr(x, "__dlpack__"):
        if any(stride < 0 for stride in getattr(x, "strides", None) or ()):
            x = x.copy()  # torch ends the process on negative strides
        try:
            return torch.utils.dlpack.from_dlpack(x)
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            raise TypeError(f"{name} cannot be taken through DLPack: {error}") from error
    if hasattr(x, "__cuda_array_interface__"):
        return _from_cuda_array(x, name)
    raise TypeError(
        f"{name} must be a torch tensor, a NumPy array or an object with __dlpack__ or __cuda_array_interface__, "
        f"got {type(x).__name__}"
    )


def _from_numpy(array: np.ndarray[Any, Any], name: str) -> torch.Tensor:
    # torch.from_numpy warns of read-only arrays and refuses foreign byte order, and strides that are negative or, as in
    # a field of records, no whole number of elements. It takes unaligned elements, which kernels must not be given.
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    size = max(1, array.itemsize)
    if not (array.flags.writeable and array.flags.aligned) or any(s < 0 or s % size for s in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} has dtype {array.dtype}, which torch does not take") from error


def _from_cuda_array(x: Any, name: str) -> torch.Tensor:
    if not torch.cuda.is_available():
        lacking = "is a build without CUDA" if torch.version.cuda is None else "finds no CUDA device"
        raise RuntimeError(f"{name} is a {type(x).__name__} on a CUDA device, and torch {torch.__version__} {lacking}")
    try:
        return torch.as_tensor(x, device="cuda")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} cannot be taken through __cuda_array_interface__: {error}") from error


def like(x: Any, tensor: torch.Tensor) -> Any:
    """``tensor`` as the kind of array that ``x`` is; memory is shared.

    Args:
        x: the caller's array, of any kind that :func:`as_tensor` takes.
        tensor: the answer.
    """
    if isinstance(x, torch.Tensor):
        return tensor
    tensor = tensor.detach()
    if isinstance(x, np.ndarray | np.generic):
        return tensor.numpy()
    return _from_dlpack_of(x)(tensor)


def _from_dlpack_of(x: Any) -> Callable[[torch.Tensor], Any]:
    """``from_dlpack`` of the library that made ``x``: the array API puts it into the library's namespace."""
    if hasattr(x, "__array_namespace__"):
        namespace = x.__array_namespace__()
        if hasattr(namespace, "from_dlpack"):
            return namespace.from_dlpack  # type: ignore[no-any-return]
    module = importlib.import_module(type(x).__module__.partition(".")[0])
    for home in (module, getattr(module, "dlpack", None)):
        if home is not None and hasattr(home, "from_dlpack"):
            return home.from_dlpack  # type: ignore[no-any-return]
    raise TypeError(f"{type(x).__name__}: its library has no from_dlpack to take the answer")
