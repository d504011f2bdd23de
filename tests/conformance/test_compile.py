# SPDX-License-Identifier: Apache-2.0
"""torch.compile in one graph, dynamic shapes without a second compilation, export, ahead-of-time packages."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from .op_case import OpCase, Sample, all_cases, same_bits


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _same(case: OpCase, out: tuple[Tensor, ...], sample: Sample) -> bool:
    return all(same_bits(a, b) for a, b in zip(out, sample.call(case.function), strict=True))


def _one_graph(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    # aot_eager runs the whole chain but for the generated code, which no operator of ours takes part in.
    options.setdefault("backend", "aot_eager")
    return torch.compile(function, fullgraph=True, **options)


def _dynamic(sample: Sample) -> Sample:
    def mark(x: Tensor) -> Tensor:
        for dim in range(x.dim()):
            torch._dynamo.maybe_mark_dynamic(x, dim)
        return x

    return sample.mapped(mark)


def test_one_graph_static(case: OpCase) -> None:
    compiled = _one_graph(case.function, dynamic=False)
    sample = case.resized[0]
    assert _same(case, sample.call(compiled), sample)


def test_a_second_shape_compiles_nothing(case: OpCase) -> None:
    compiled = _one_graph(case.function, dynamic=True)
    first, second = case.resized
    assert [x.shape for x in first.tensors()] != [x.shape for x in second.tensors()]
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert _same(case, _dynamic(first).call(compiled), first)
        assert _same(case, second.call(compiled), second)


def test_compiled_gradient(differentiable: OpCase) -> None:
    assert differentiable.gradient is not None
    sample = differentiable.gradient
    inputs = [x for x in sample.tensors() if x.requires_grad]
    grads = []
    for function in (differentiable.function, _one_graph(differentiable.function, dynamic=True)):
        out = sample.call(function)[0]
        grads.append(torch.autograd.grad(out.sin().sum(), inputs))
    torch.testing.assert_close(grads[0], grads[1])


class _Calls(torch.nn.Module):
    """Samples' functions of their tensors alone, as export wants it."""

    def __init__(self, calls: list[tuple[OpCase, Sample]]) -> None:
        super().__init__()
        self.calls = calls

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        rest = iter(tensors)
        out: list[Tensor] = []
        for case, sample in self.calls:
            out.extend(sample.mapped(lambda _: next(rest)).call(case.function))
        return tuple(out)


def _exported(cases: list[OpCase]) -> torch.export.ExportedProgram:
    calls = [(case, case.resized[0]) for case in cases]
    tensors = tuple(x for _, sample in calls for x in sample.tensors())
    shapes = tuple(dict.fromkeys(range(x.dim()), torch.export.Dim.AUTO) for x in tensors)
    return torch.export.export(_Calls(calls), tensors, dynamic_shapes=(shapes,))


def _runs_as_the_functions(program: Callable[..., Any], cases: list[OpCase]) -> None:
    for which in (0, 1):
        samples = [case.resized[which] for case in cases]
        out = program(*(x for sample in samples for x in sample.tensors()))
        expected = [y for case, sample in zip(cases, samples, strict=True) for y in sample.call(case.function)]
        assert all(same_bits(a, b) for a, b in zip(out, expected, strict=True))


def test_export_save_and_load(case: OpCase) -> None:
    program = _exported([case])
    assert case.operator in {node.target for node in program.graph.nodes}
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    _runs_as_the_functions(torch.export.load(file).module(), [case])


def test_inductor(case: OpCase) -> None:
    compiled = _one_graph(case.function, backend="inductor", dynamic=True)
    for sample in case.resized:
        assert _same(case, _dynamic(sample).call(compiled), sample)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")  # torch's own use
def test_ahead_of_time_package(tmp_path: Path) -> None:
    cases = all_cases()
    path = torch._inductor.aoti_compile_and_package(_exported(cases), package_path=str(tmp_path / "calls.pt2"))
    _runs_as_the_functions(torch._inductor.aoti_load_package(path), cases)
