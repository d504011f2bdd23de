# SPDX-License-Identifier: Apache-2.0
"""vmap, derivatives and torch.func."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from .op_case import OpCase, Sample, same_bits

BATCH = 3


def _batches(x: Tensor, dim: int) -> Tensor:
    """``x`` and rolled versions of it, stacked at ``dim``."""
    return torch.stack([x.flatten().roll(7 * i).view(x.shape) for i in range(BATCH)], dim)


def _of_tensors(case: OpCase, sample: Sample) -> Callable[..., tuple[Tensor, ...]]:
    """The public function of the sample's tensors alone."""
    return lambda *tensors: sample.replaced(list(tensors)).call(case.function)


def _patterns(tensors: int) -> list[tuple[int | None, ...]]:
    return [dims for dims in itertools.product((None, 0, 1), repeat=tensors) if any(dim is not None for dim in dims)]


def test_vmap_is_the_loop(vmapped: OpCase) -> None:
    for item in vmapped.batches:
        tensors = item.tensors()
        function = _of_tensors(vmapped, item)
        for dims in _patterns(len(tensors)):
            arguments = [x if dim is None else _batches(x, dim) for x, dim in zip(tensors, dims, strict=True)]
            rows = [
                function(*(x if dim is None else x.select(dim, i) for x, dim in zip(arguments, dims, strict=True)))
                for i in range(BATCH)
            ]
            expected = [torch.stack(parts) for parts in zip(*rows, strict=True)]
            out = torch.func.vmap(function, in_dims=dims)(*arguments)
            assert all(same_bits(a, b) for a, b in zip(out, expected, strict=True)), (item.name, dims)


def test_vmap_of_sizes_that_depend_on_data_is_refused(data_dependent: OpCase) -> None:
    for item in data_dependent.batches:
        arguments = [_batches(x, 0) for x in item.tensors()]
        with pytest.raises(RuntimeError, match=r"varying number.*cannot be vmapped.*loop"):
            torch.func.vmap(_of_tensors(data_dependent, item))(*arguments)


def test_vmap_of_vmap(vmapped: OpCase) -> None:
    first, *rest = vmapped.batch.tensors()
    function = _of_tensors(vmapped, vmapped.batch)
    twice = _batches(_batches(first, 0), 0)
    out = torch.func.vmap(torch.func.vmap(lambda x: function(x, *rest)))(twice)
    for i, j in itertools.product(range(BATCH), repeat=2):
        assert all(same_bits(a[i, j], b) for a, b in zip(out, function(twice[i, j], *rest), strict=True))


def test_integer_outputs_carry_no_gradient(case: OpCase, sample: Sample) -> None:
    for out in sample.call(case.function):
        if not out.dtype.is_floating_point or not sample.requires_grad():
            assert not out.requires_grad
        else:
            assert case.differentiable
            assert out.requires_grad


def _floating(constant: OpCase) -> Sample:
    sample = next(s for s in constant.samples if s.requires_grad() and s.tensors()[0].numel())
    return sample.mapped(lambda x: x.detach())


def test_a_loss_around_a_constant_operator_has_its_gradient(constant: OpCase) -> None:
    """Operators without derivative stand beside differentiable code, under torch.func too."""
    sample = _floating(constant)
    function = _of_tensors(constant, sample)
    x, *rest = sample.tensors()
    grad = torch.func.grad(lambda x: (x * x).sum() + function(x, *rest)[0].float().sum())(x)
    assert torch.equal(grad, 2 * x)


# ---- Differentiable operators ---------------------------------------------------------------------------------------
def _problem(case: OpCase) -> tuple[Sample, list[int]]:
    assert case.gradient is not None
    sample = case.gradient
    return sample.mapped(lambda x: x.detach()), [i for i, x in enumerate(sample.tensors()) if x.requires_grad]


def _value(function: Callable[..., Any], sample: Sample, places: list[int]) -> Callable[..., Tensor]:
    """The first output of ``function`` as a function of the differentiable tensors alone."""

    def value(*wanted: Tensor) -> Tensor:
        tensors = sample.tensors()
        for place, x in zip(places, wanted, strict=True):
            tensors[place] = x
        return sample.replaced(tensors).call(function)[0]

    return value


def _close(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_gradients_are_the_dense_formulas(differentiable: OpCase) -> None:
    sample, places = _problem(differentiable)
    inputs = [sample.tensors()[place].requires_grad_() for place in places]
    results = []
    for function in (differentiable.function, differentiable.reference):
        out = _value(function, sample, places)(*inputs)
        weights = torch.linspace(-1, 2, out.numel()).view(out.shape).requires_grad_()
        first = torch.autograd.grad(out, inputs, weights, create_graph=True)
        # Second derivatives: of the gradient's square, in the weights that came from above and in the inputs.
        square = sum((g * g).sum() for g in first)
        second = torch.autograd.grad(square, [weights, *inputs], materialize_grads=True)
        results.append((first, second))
    _close(*results)


def test_func_grad_and_jacrev(differentiable: OpCase) -> None:
    sample, places = _problem(differentiable)
    inputs = tuple(sample.tensors()[place] for place in places)
    numbers = tuple(range(len(inputs)))
    ours = _value(differentiable.function, sample, places)
    dense = _value(differentiable.reference, sample, places)
    _close(torch.func.grad(lambda *x: ours(*x).sin().sum(), numbers)(*inputs),
           torch.func.grad(lambda *x: dense(*x).sin().sum(), numbers)(*inputs))  # fmt: skip
    _close(torch.func.jacrev(ours, numbers)(*inputs), torch.func.jacrev(dense, numbers)(*inputs))
    pulled = torch.func.vjp(ours, *inputs)
    _close(pulled[1](torch.ones_like(pulled[0])), torch.func.grad(lambda *x: dense(*x).sum(), numbers)(*inputs))


def test_vmap_of_grad(differentiable: OpCase) -> None:
    sample, places = _problem(differentiable)
    inputs = [sample.tensors()[place] for place in places]
    value = _value(differentiable.function, sample, places)
    gradient = torch.func.grad(lambda *x: value(*x).sin().sum())
    if differentiable.data_dependent:
        with pytest.raises(RuntimeError, match=r"varying number.*cannot be vmapped"):
            torch.func.vmap(gradient)(*(_batches(x, 0) for x in inputs))
        return
    out = torch.func.vmap(gradient)(*(_batches(x, 0) for x in inputs))
    _close(out, torch.stack([gradient(*(_batches(x, 0)[i] for x in inputs)) for i in range(BATCH)]))


def test_forward_mode_raises_and_never_says_zero(differentiable: OpCase) -> None:
    sample, places = _problem(differentiable)
    inputs = tuple(sample.tensors()[place] for place in places)
    value = _value(differentiable.function, sample, places)
    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(value, inputs, inputs)
    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jacfwd(value)(*inputs)
    with pytest.raises(NotImplementedError, match="jvp"), forward_ad.dual_level():
        value(*(forward_ad.make_dual(x, x) for x in inputs))


def test_forward_mode_of_constants_is_not_floating(constant: OpCase) -> None:
    """As torch's comparisons: an integer output has no tangent that could be mistaken for a derivative."""
    tensors = tuple(_floating(constant).tensors())
    tangents = torch.func.jvp(_of_tensors(constant, _floating(constant)), tensors, tensors)[1]
    assert not any(tangent.dtype.is_floating_point for tangent in tangents)
