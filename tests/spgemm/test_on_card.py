# SPDX-License-Identifier: Apache-2.0
"""The public functions on a card: the CPU's bits, patterns and gradients."""

from __future__ import annotations

import pytest
import torch
import warphash as wh
from torch import Tensor

from spgemm.matrices import SEMIRINGS, VALUES, parts, random_csr

pytestmark = pytest.mark.cuda


def _moved(x: Tensor) -> Tensor:
    return x.detach().to("cuda")


def _same(card: Tensor, cpu: Tensor) -> bool:
    pairs = zip(parts(card), parts(cpu), strict=True)
    return all(a.device.type == "cuda" and torch.equal(a.cpu(), b) for a, b in pairs)


@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("messy", [False, True])
def test_products_masks_and_plans(dtype: torch.dtype, messy: bool) -> None:
    a, b = random_csr(90, 70, 0.1, 1, dtype, messy=messy), random_csr(70, 110, 0.1, 2, dtype, messy=messy)
    mask = random_csr(90, 110, 0.3, 3, messy=messy)
    for semiring in SEMIRINGS if dtype != torch.bool else SEMIRINGS[:2]:
        for options in ({}, {"mask": mask}, {"mask": mask, "complement": True}, {"drop_zeros": True}):
            moved = {name: _moved(x) if isinstance(x, Tensor) else x for name, x in options.items()}
            wanted = wh.spgemm.matmul(a, b, semiring=semiring, **options)
            assert _same(wh.spgemm.matmul(_moved(a), _moved(b), semiring=semiring, **moved), wanted)
        plan = wh.spgemm.plan(a, b, semiring=semiring)
        on_card = wh.spgemm.plan(_moved(a), _moved(b), semiring=semiring)
        values = plan.matmul(a, b)
        assert torch.equal(on_card.matmul(_moved(a), _moved(b)).cpu(), values)
        assert torch.equal(plan.to("cuda").matmul(a.values().cuda(), b.values().cuda()).cpu(), values)
    if dtype.is_floating_point:
        for got, wanted in zip(wh.spgemm.topk(_moved(a), _moved(b), 9), wh.spgemm.topk(a, b, 9), strict=True):
            assert torch.equal(got.cpu(), wanted)


@pytest.mark.parametrize("semiring", ["plus_times", "min_plus", "max_times"])
def test_gradients(semiring: str) -> None:
    pair = [random_csr(90, 70, 0.1, 1, real=True), random_csr(70, 110, 0.1, 2, real=True)]
    grads = []
    for leaves in (pair, [_moved(x) for x in pair]):
        inputs = [x.detach().clone().requires_grad_() for x in leaves]
        wh.spgemm.matmul(*inputs, semiring=semiring).values().sin().sum().backward()
        grads.append([x.grad.values().cpu() for x in inputs])
    torch.testing.assert_close(*grads)


def test_pieces_and_many() -> None:
    a, b = random_csr(90, 70, 0.1, 1), random_csr(70, 110, 0.1, 2)
    cpu = wh.spgemm.row_chunks(a, b, max_bytes=5000)
    for got, wanted in zip(wh.spgemm.row_chunks(_moved(a), _moved(b), max_bytes=5000), cpu, strict=True):
        assert got[0] == wanted[0]
        assert _same(got[1], wanted[1])
    for got in wh.spgemm.matmul_many([_moved(a)] * 3, [_moved(b)] * 3):
        assert _same(got, wh.spgemm.matmul(a, b))


def test_two_devices() -> None:
    a, b = random_csr(9, 8), random_csr(8, 7)
    with pytest.raises(ValueError, match=r"^b must be on the device of a, cpu, got cuda"):
        wh.spgemm.matmul(a, _moved(b))
    with pytest.raises(ValueError, match=r"^a_values must be on the device of the plan, cpu, got cuda"):
        wh.spgemm.plan(a, b).matmul(a.values().cuda(), b.values())
