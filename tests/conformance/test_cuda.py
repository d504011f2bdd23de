# SPDX-License-Identifier: Apache-2.0
"""The CUDA entries: the CPU's bits, torch's rules of devices and streams, graphs, memory."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from .op_case import OpCase, Sample, raw_bytes, same_bits

pytestmark = pytest.mark.cuda
DEVICE = "cuda"


def moved(x: Any) -> Any:
    """A tensor on the card that asks for a gradient if ``x`` does."""
    return x.detach().to(DEVICE).requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x


def equal(card: tuple[Tensor, ...], cpu: tuple[Tensor, ...]) -> bool:
    """All outputs on the card, with the bits of the CPU's."""
    return all(a.device.type == DEVICE and same_bits(a.cpu(), b) for a, b in zip(card, cpu, strict=True))


def rolled(sample: Sample) -> Sample:
    """A call of the same sizes with other data."""
    return sample.mapped(lambda x: x.detach().flatten().roll(5).view(x.shape))


def test_every_sample_has_the_cpus_bits(case: OpCase, sample: Sample) -> None:
    assert equal(sample.mapped(moved).call(case.function), sample.call(case.function))


def test_tails_have_the_cpus_bits(case: OpCase) -> None:
    for sample in itertools.islice(case.sweep(), 0, None, 11):
        assert equal(sample.mapped(moved).call(case.function), sample.call(case.function)), sample.name


def test_large_calls_have_the_cpus_bits(case: OpCase) -> None:
    assert equal(case.large.mapped(moved).call(case.function), case.large.call(case.function))


def test_opcheck_on_the_card(case: OpCase, sample: Sample) -> None:
    torch.library.opcheck(case.operator, tuple(moved(x) for x in case.operator_arguments(sample)))


def test_misaligned_and_strided_inputs(case: OpCase, sample: Sample) -> None:
    expected = sample.call(case.function)

    def offset(x: Tensor) -> Tensor:
        return torch.empty(x.numel() + 1, dtype=x.dtype, device=DEVICE)[1:].view(x.shape).copy_(x.detach())

    def spread(x: Tensor) -> Tensor:
        larger = torch.zeros([2 * size + 1 for size in x.shape], dtype=x.dtype, device=DEVICE)
        return larger[tuple(slice(1, None, 2) for _ in x.shape)].copy_(x.detach())

    for change in (offset, spread):
        on_card = sample.mapped(change)
        before = [raw_bytes(x).clone() for x in on_card.tensors()]
        assert equal(on_card.call(case.function), expected)
        assert all(torch.equal(raw_bytes(x), old) for x, old in zip(on_card.tensors(), before, strict=True))


def test_gradients_on_the_card(differentiable: OpCase) -> None:
    assert differentiable.gradient is not None
    grads = []
    for sample in (differentiable.gradient, differentiable.gradient.mapped(moved)):
        inputs = [x for x in sample.tensors() if x.requires_grad]
        out = sample.call(differentiable.function)[0]
        grads.append([g.cpu() for g in torch.autograd.grad(out.sin().sum(), inputs)])
    torch.testing.assert_close(grads[0], grads[1])


def test_one_graph_of_the_compiler(case: OpCase) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(case.function, fullgraph=True, dynamic=True, backend="aot_eager")
    for sample in case.resized:
        assert equal(sample.mapped(moved).call(compiled), sample.call(case.function))


def test_two_devices_in_one_call(case: OpCase) -> None:
    first, *rest = case.batch.tensors()
    for i in range(len(rest)):
        mixed = [first, *rest]
        mixed[i + 1] = moved(mixed[i + 1])
        with pytest.raises(ValueError, match="must be on the device of"):
            case.batch.replaced(mixed).call(case.function)


# ---- Streams, graphs, memory ----------------------------------------------------------------------------------------
def test_another_stream_without_waiting(vmapped: OpCase) -> None:
    """Inputs are made on a busy stream and used there at once; the host never waits."""
    expected = vmapped.large.call(vmapped.function)
    source = vmapped.large.mapped(moved)
    vmapped.operator(*vmapped.operator_arguments(source))  # what is set up once may wait
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        arguments = vmapped.operator_arguments(source.mapped(lambda x: x.clone()))
        torch.cuda.set_sync_debug_mode("error")
        try:
            out = vmapped.operator(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert not stream.query()
    stream.synchronize()
    assert equal(out if isinstance(out, tuple) else (out,), expected)


def test_capture_and_replay(vmapped: OpCase) -> None:
    """A captured call works on whatever lies in its inputs' memory at the time of the replay."""
    static = vmapped.large.mapped(lambda x: moved(x).detach())
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        static.call(vmapped.function)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = static.call(vmapped.function)
    for wanted in (rolled(vmapped.large), vmapped.large):
        for held, new in zip(static.tensors(), wanted.tensors(), strict=True):
            held.copy_(new.detach())
        graph.replay()
        torch.cuda.synchronize()
        assert equal(out, wanted.call(vmapped.function))


def test_no_memory_is_kept(case: OpCase) -> None:
    on_card = case.large.mapped(moved)
    on_card.call(case.function)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    on_card.call(case.function)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before


def test_twice_the_same_bits(case: OpCase) -> None:
    on_card = case.large.mapped(moved)
    first = tuple(x.cpu() for x in on_card.call(case.function))
    torch.use_deterministic_algorithms(True)
    try:
        assert equal(on_card.call(case.function), first)
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_device_of_the_inputs_counts(case: OpCase) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    with torch.cuda.device(0):
        out = case.batch.mapped(lambda x: x.to("cuda:1")).call(case.function)
    assert all(x.device == torch.device("cuda", 1) for x in out)
    assert equal(out, case.batch.call(case.function))
