# SPDX-License-Identifier: Apache-2.0
"""Operators whose kernels are not in yet, by their definitions. Goes when the last one is."""

from __future__ import annotations

from typing import Any

import torch

from . import reference

_A = "Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values"
_P = "Tensor a_crow, Tensor a_col, Tensor b_crow, Tensor b_col"
_SCHEMAS = {
    "inspect": "(Tensor crow, Tensor col, SymInt columns) -> Tensor",
    "matmul": f"({_A}, SymInt columns, int semiring, Tensor? exclude_crow, Tensor? exclude_col)"
    " -> (Tensor crow, Tensor col, Tensor values)",
    "pattern": f"({_P}, SymInt columns, Tensor? exclude_crow, Tensor? exclude_col) -> (Tensor crow, Tensor col)",
    "masked": f"({_A}, SymInt columns, int semiring, Tensor mask_crow, Tensor mask_col)"
    " -> (Tensor crow, Tensor col, Tensor values)",
    "masked_pattern": f"({_P}, SymInt columns, Tensor mask_crow, Tensor mask_col) -> (Tensor crow, Tensor col)",
    "numeric": f"({_A}, Tensor crow, Tensor col, SymInt columns, int semiring, bool covers) -> Tensor",
    "gradients": f"(Tensor gradient, {_A}, Tensor crow, Tensor col, SymInt columns, bool of_a, bool of_b)"
    " -> (Tensor, Tensor)",
    "winners": f"({_A}, Tensor crow, Tensor col, SymInt columns, int semiring) -> (Tensor, Tensor)",
    "topk": f"({_A}, SymInt columns, SymInt k) -> (Tensor values, Tensor indices)",
}
_library = torch.library.Library("warphash", "FRAGMENT")


def _define(name: str, schema: str) -> None:
    _library.define(f"spgemm_{name}{schema}")

    def kernel(*arguments: Any) -> Any:
        if name != "inspect":
            crows = [x for x in arguments if isinstance(x, torch.Tensor)]
            assert all(x.dim() == 1 for x in crows)
        return getattr(reference, name)(*arguments)

    _library.impl(f"spgemm_{name}", kernel, "CPU")


for _name, _schema in _SCHEMAS.items():
    if not hasattr(torch.ops.warphash, f"spgemm_{_name}"):
        _define(_name, _schema)
