# SPDX-License-Identifier: Apache-2.0
"""What torch knows of an operator: schema, autograd registration, shapes of fake and meta tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from .internal import InternalCall, internal_calls
from .op_case import OpCase, Sample, all_cases

GOLDEN = Path(__file__).with_name("schemas.txt")


def registered() -> list[str]:
    """The schemas of the namespace, sorted."""
    return sorted(str(schema) for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("warphash::"))


def test_schemas_are_frozen() -> None:
    """A change of a schema breaks saved programs: it needs a new golden file and a line in the changelog."""
    assert registered() == GOLDEN.read_text().splitlines()


def test_every_operator_has_a_case() -> None:
    public, internal = {case.op for case in all_cases()}, {call.op for call in internal_calls()}
    assert {schema.partition("(")[0].removeprefix("warphash::") for schema in registered()} == public | internal
    assert not public & internal


def test_samples_cover_the_ground(case: OpCase) -> None:
    assert len(case.samples) >= 6
    tensors = [x for sample in case.samples for x in sample.tensors()]
    assert any(x.numel() == 0 for x in tensors)
    assert any(not x.is_contiguous() for x in tensors)
    if any(x.dtype.is_floating_point for x in tensors):
        assert any(sample.requires_grad() for sample in case.samples)


def test_opcheck(case: OpCase, sample: Sample) -> None:
    torch.library.opcheck(case.operator, case.operator_arguments(sample))


@pytest.mark.parametrize("internal", internal_calls(), ids=lambda call: f"{call.op}-{call.name}")
def test_opcheck_of_internal_operators(internal: InternalCall) -> None:
    torch.library.opcheck(internal.operator, internal.arguments)


def test_equals_reference(case: OpCase, sample: Sample) -> None:
    case.matches(sample.call(case.function), sample.call(case.reference))


def test_fake_is_as_real(case: OpCase, sample: Sample) -> None:
    real = case.operator(*case.operator_arguments(sample))
    real = real if isinstance(real, tuple) else (real,)
    arguments = case.operator_arguments(sample)
    with FakeTensorMode(shape_env=ShapeEnv()) as mode:
        arguments = tuple(
            mode.from_tensor(x, static_shapes=True) if isinstance(x, torch.Tensor) else x for x in arguments
        )
        fake = case.operator(*arguments)
    fake = fake if isinstance(fake, tuple) else (fake,)
    assert len(fake) == len(real)
    for a, b in zip(fake, real, strict=True):
        assert (a.dtype, a.device, a.dim(), a.requires_grad) == (b.dtype, b.device, b.dim(), b.requires_grad)
        if all(isinstance(size, int) for size in a.shape):
            assert (a.shape, a.stride()) == (b.shape, b.stride())
        else:
            assert case.data_dependent


def test_meta_is_as_real(case: OpCase, sample: Sample) -> None:
    on_meta = sample.mapped(lambda x: x.detach().to("meta"))
    if case.data_dependent:
        with pytest.raises(RuntimeError, match="data-dependent"):
            on_meta.call(case.function)
        return
    real = sample.call(case.function)
    for a, b in zip(on_meta.call(case.function), real, strict=True):
        assert (a.dtype, a.shape, a.stride(), a.device.type) == (b.dtype, b.shape, b.stride(), "meta")


def test_outputs_are_new_memory(case: OpCase, sample: Sample) -> None:
    inputs = {x.untyped_storage().data_ptr() for x in sample.tensors() if x.numel()}
    for out in sample.call(case.function):
        assert out.numel() == 0 or out.untyped_storage().data_ptr() not in inputs
        assert out.is_contiguous()
