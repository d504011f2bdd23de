# SPDX-License-Identifier: Apache-2.0
"""Parameters that NumPy makes, as tensors: kept between calls, and constants of a compiled graph.

A function that makes them is one call of the graph (``torch.compiler.allow_in_graph``), so that NumPy's arithmetic is
not traced but done; what it is given must be plain numbers, hence ``operator.index`` around what the compiler may hold
for a symbol.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes


def kept(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """A tensor for a cache: a real and ordinary one, whatever mode of tracing or inference asks first."""
    with _disable_current_modes(), torch.inference_mode(False):
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)


def constant(values: Tensor) -> Tensor:
    """``values`` as what tracers (the compiler, export, fake tensors) take for a constant of their graph."""
    lifted: Tensor = torch.ops.aten.lift_fresh.default(values)
    return lifted
