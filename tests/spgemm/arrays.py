# SPDX-License-Identifier: Apache-2.0
"""Operands of the kernels as tensors, and calls of the kernels of one instruction set with them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from warphash import _C

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.bool)
RINGS = [(dtype, ring) for dtype in TYPES for ring in ((0, 1) if dtype == torch.bool else (0, 2, 3))]


class Pattern(NamedTuple):
    """Row pointers int64, columns int32."""

    crow: Tensor
    col: Tensor


class Case(NamedTuple):
    """Patterns of a, b, and of the result; the number of columns."""

    a: Pattern
    b: Pattern
    pattern: Pattern
    columns: int


def pattern_of(present: np.ndarray) -> Pattern:
    """Where a matrix is true."""
    crow = np.concatenate([[0], present.sum(1).cumsum()]).astype(np.int64)
    return Pattern(torch.from_numpy(crow), torch.from_numpy(present.nonzero()[1].astype(np.int32)))


def _random(rows: int, columns: int, density: float, generator: np.random.Generator) -> np.ndarray:
    return generator.random((rows, columns)) < density


def case(rows: int, inner: int, columns: int, density: float = 0.3, seed: int = 0, covers: bool = False) -> Case:
    """Random patterns; covers: the result's is the product's, else drawn by itself."""
    generator = np.random.default_rng([rows, inner, columns, seed])
    a, b = _random(rows, inner, density, generator), _random(inner, columns, density, generator)
    wanted = a.astype(int) @ b.astype(int) > 0 if covers else _random(rows, columns, 0.5, generator)
    return Case(pattern_of(a), pattern_of(b), pattern_of(wanted), columns)


def hubs(covers: bool) -> Case:
    """A full row and a full column in each operand, all else thin or empty; rows of b far longer than the pattern's."""
    generator = np.random.default_rng(1)
    a, b = _random(40, 60, 0.02, generator), _random(60, 900, 0.01, generator)
    a[7], b[9] = True, True
    a[:, 9], b[:, 33] = True, True
    wanted = a.astype(int) @ b.astype(int) > 0 if covers else _random(40, 900, 0.005, generator)
    return Case(pattern_of(a), pattern_of(b), pattern_of(wanted), 900)


CASES = {
    "plain": case(30, 40, 50),
    "covered": case(30, 40, 50, covers=True),
    "thin": case(50, 60, 400, 0.02, covers=True),
    "full": case(9, 20, 70, 1.0),
    "no rows": case(0, 4, 5),
    "no inner": case(4, 0, 5),
    "no columns": case(4, 5, 0),
    "one": case(1, 1, 1, 1.0),
    "empty": case(4, 5, 6, 0.0),
    "hubs": hubs(False),
    "covered hubs": hubs(True),
}


def small(count: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Whole numbers whose sums are exact in each dtype, zeros among them."""
    drawn = torch.randint(-2, 3, (count,), generator=torch.Generator().manual_seed(seed))
    return drawn > 0 if dtype == torch.bool else drawn.to(dtype)


def normal(count: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Numbers whose sums round."""
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def arrays(*given: Any) -> list[Any]:
    """Tensors, and tuples of them, as NumPy arrays; bfloat16 by its bits."""
    out: list[Any] = []
    for x in given:
        if isinstance(x, tuple):
            out += arrays(*x)
        elif isinstance(x, Tensor):
            out.append((x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy())
        else:
            out.append(x)
    return out


def tensor(x: np.ndarray, like: Tensor) -> Tensor:
    """Back from NumPy."""
    found = torch.from_numpy(x)
    return found.view(torch.bfloat16) if like.dtype == torch.bfloat16 else found


def numeric(isa: str, of: Case, a: Tensor, b: Tensor, ring: int = 0, covers: bool = False) -> Tensor:
    """Values on the case's pattern."""
    call = arrays(of.a, a, of.b, b, of.pattern, of.columns, ring, covers)
    return tensor(_C.kernels.spgemm_numeric(isa, *call), a)


def gradients(isa: str, of: Case, g: Tensor, a: Tensor, b: Tensor, of_a: bool, of_b: bool) -> tuple[Tensor, Tensor]:
    """Gradients of both operands."""
    call = arrays(g, of.a, a, of.b, b, of.pattern, of.columns, of_a, of_b)
    a_gradient, b_gradient = _C.kernels.spgemm_gradients(isa, *call)
    return tensor(a_gradient, a), tensor(b_gradient, a)


def winners(isa: str, of: Case, a: Tensor, b: Tensor, ring: int) -> tuple[Tensor, Tensor]:
    """Positions of winning products."""
    call = arrays(of.a, a, of.b, b, of.pattern, of.columns, ring)
    from_a, from_b = _C.kernels.spgemm_winners(isa, *call)
    return torch.from_numpy(from_a), torch.from_numpy(from_b)


def masked(isa: str, of: Case, a: Tensor, b: Tensor, ring: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The product where the case's pattern has entries too."""
    crow, col, values = _C.kernels.spgemm_masked(isa, *arrays(of.a, a, of.b, b, of.columns, ring, of.pattern))
    return torch.from_numpy(crow), torch.from_numpy(col), tensor(values, a)


def masked_pattern(isa: str, of: Case) -> tuple[Tensor, Tensor]:
    """Its pattern alone."""
    crow, col = _C.kernels.spgemm_masked_pattern(isa, *arrays(of.a, of.b, of.columns, of.pattern))
    return torch.from_numpy(crow), torch.from_numpy(col)


def bits(*tensors: Tensor) -> list[bytes]:
    """What must be equal bit for bit."""
    return [x.contiguous().view(torch.uint8).numpy().tobytes() if x.numel() else b"" for x in tensors]
