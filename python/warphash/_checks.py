# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments that every room shares. Each error names the argument, what was expected and what came."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from . import _load
from .interop import as_tensor

WIDEST_CODE = 1 << 27  # bytes: distances must fit int32


def device_served(name: str, x: torch.Tensor) -> None:
    """Refuses devices without kernels, and CUDA where its half is missing."""
    if x.device.type == "cuda":
        _load.require_cuda()
    elif x.device.type not in ("cpu", "meta"):
        raise ValueError(f"{name} must be on the CPU or on a CUDA device, got {x.device}")


def usable_device(name: str, device: Any) -> torch.device:
    """The device, if tensors can be kept there and kernels run there."""
    if not isinstance(device, torch.device | str):
        raise TypeError(f"{name} must be a torch.device or its name, got {type(device).__name__}")
    try:
        place = torch.device(device)
        if place.type not in ("cpu", "cuda"):
            raise ValueError("no kernels run there")
        device_served(name, torch.empty(0, device=place))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(f"{name} must be the CPU or a CUDA device of this machine, got {device}: {error}") from error
    return place


def dense(name: str, x: torch.Tensor) -> torch.Tensor:
    """``x``, if its elements lie in memory by strides: sparse, nested and other layouts are refused."""
    if x.layout != torch.strided or x.is_nested:
        raise TypeError(f"{name} must be a dense tensor, got layout {'nested' if x.is_nested else x.layout}")
    return x


def with_data(name: str, x: torch.Tensor) -> torch.Tensor:
    """``x``, unless it is a meta tensor: for what answers from data."""
    if x.device.type == "meta":
        raise ValueError(f"{name} must hold data, got a tensor on the meta device")
    return x


def codes(name: str, x: Any) -> torch.Tensor:
    """Packed codes uint8 [rows, bytes] from any kind of array."""
    packed = dense(name, as_tensor(x, name))
    if packed.dtype != torch.uint8:
        raise TypeError(f"{name} must be packed codes of dtype uint8, got {packed.dtype}")
    if packed.dim() != 2:
        raise ValueError(f"{name} must be 2-D [rows, bytes], got shape {tuple(packed.shape)}")
    if packed.shape[1] > WIDEST_CODE:
        raise ValueError(f"{name} must have at most {WIDEST_CODE} bytes a code, got {packed.shape[1]}")
    device_served(name, packed)
    return packed


def same_device(first_name: str, first: torch.Tensor, name: str, x: torch.Tensor) -> None:
    """Refuses tensors of two devices."""
    if first.device != x.device:
        raise ValueError(f"{name} must be on the device of {first_name}, {first.device}, got {x.device}")


def count(name: str, value: Any, lowest: int = 0) -> int:
    """An integer >= lowest; a SymInt passes through."""
    if isinstance(value, bool) or not isinstance(value, int | torch.SymInt):
        index = getattr(value, "__index__", None)
        if isinstance(value, bool | float | str | torch.Tensor) or index is None:
            raise TypeError(f"{name} must be an int, got {type(value).__name__}")
        try:
            value = index()
        except TypeError:  # an array of several
            raise TypeError(f"{name} must be an int, got {type(value).__name__}") from None
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}, got {value}")
    whole: int = value
    return whole


def flag(name: str, value: Any) -> bool:
    """A bool; other things that are true or false are none."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a bool, got {type(value).__name__}")
    return bool(value)


def flags(**given: Any) -> None:
    """Refuses what is no bool, by the names of the arguments."""
    for name, value in given.items():
        flag(name, value)


def number(name: str, value: Any) -> float:
    """A real number as a float, infinities and NaN among them."""
    try:
        if isinstance(value, bool | np.bool_ | str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # also tensors of several elements
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}") from None
    except OverflowError:
        raise ValueError(f"{name} must be within the range of float64") from None


def real(name: str, value: Any) -> float:
    """A finite number as a float."""
    finite = number(name, value)
    if not math.isfinite(finite):
        raise ValueError(f"{name} must be finite, got {value}")
    return finite


def result_count(name: str, value: Any, rows: int) -> int:
    """A count >= 0 of results for each of ``rows`` rows, whose 8-byte indices an address space can hold."""
    wanted = count(name, value)
    # Under torch.compile a bound would become a guard; the largest of counts shows at run time anyway.
    if isinstance(wanted, int) and isinstance(rows, int) and wanted > (most := 2**60 // max(rows, 1)):
        raise ValueError(f"{name} must be at most {most} for {rows} rows, got {wanted}")
    return wanted


def within(what: str, x: torch.Tensor, limit: int, lowest: int = 0) -> None:
    """Refuses integers outside of [lowest, limit): IndexError. ``what``: its beginning, such as "codes must be"."""
    if not x.numel():
        return
    least, largest = (int(end) for end in x.aminmax())
    if least < lowest or largest >= limit:
        raise IndexError(f"{what} in [{lowest}, {limit}), got {least if least < lowest else largest}")


def on_card_within(what: str, x: torch.Tensor, limit: int, validate: bool, lowest: int = 0) -> None:
    """The same on CUDA, where that is wanted and possible: the CPU's kernels check on their way."""
    if x.device.type == "cuda" and data_is_checked(validate):
        within(what, x, limit, lowest)


def data_is_checked(validate: bool) -> bool:
    """Whether checks that read data are wanted and possible: in eager calls alone, outside of torch.func."""
    if not validate or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())
