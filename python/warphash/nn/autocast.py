# SPDX-License-Identifier: Apache-2.0
"""Autocast at the door of a layer: what its inputs become, and nothing cast behind the layer's back."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A context in which operators keep the dtypes they are given."""
    return contextlib.nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def autocast_is_on(device: torch.device) -> bool:
    """Whether autocast is on for a device's operators."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """As autocast hands them to an operator of half precision: all but float64 in its dtype, where it is on."""
    device = tensors[0].device
    if not autocast_is_on(device):
        return tensors
    dtype = torch.get_autocast_dtype(device.type)
    return tuple(x.to(dtype) if x.is_floating_point() and x.dtype != torch.float64 else x for x in tensors)
