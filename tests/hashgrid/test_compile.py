# SPDX-License-Identifier: Apache-2.0
"""Training steps under torch.compile, of first and of second order, exported programs, and torch.func within graphs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from conformance.op_case import same_bits
from torch import Tensor
from warphash.hashgrid import encode, reference, total_variation

from .samples import level_weights, points, rows, small

SPEC = small(3, interpolation="smoothstep", finest_resolution=6)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Callable[..., Any], backend: str = "aot_eager", **options: Any) -> Callable[..., Any]:
    """In one graph or not at all."""
    return torch.compile(function, fullgraph=True, backend=backend, **options)


class Field(torch.nn.Module):
    """A table and a small network on its features."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(rows(SPEC))
        self.weights = torch.nn.Parameter(level_weights(SPEC))
        self.mix = torch.nn.Parameter(torch.randn(8, 1, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        encoded: Tensor = encode(x, self.table, SPEC, level_weights=self.weights)
        return (encoded @ self.mix).tanh()[..., 0]


def gradients(loss: Tensor, field: Field, *more: Tensor) -> tuple[Tensor, ...]:
    """Of all parameters."""
    return torch.autograd.grad(loss, (*field.parameters(), *more))


def close(found: Any, expected: Any) -> None:
    """To float32's rounding."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# ---- First order ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_a_training_step(backend: str) -> None:
    field, x, target = Field(), points(50, 3).requires_grad_(), torch.randn(50)

    def loss(x: Tensor) -> Tensor:
        return ((field(x) - target) ** 2).mean() + 0.1 * total_variation(x, field.table, SPEC)

    found = gradients(compiled(loss, backend)(x), field, x)
    close(found, gradients(loss(x), field, x))


def test_the_number_of_points_may_change() -> None:
    field = Field()
    function = compiled(lambda x: field(x), dynamic=True)
    first = points(40, 3)
    torch._dynamo.maybe_mark_dynamic(first, 0)
    function(first).sum().backward()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for count in (7, 1000, 41):
            field.zero_grad()
            x = points(count, 3)
            encoded = function(x)
            close(encoded, field(x))
            encoded.sum().backward()


def test_another_spec_is_another_graph() -> None:
    """A spec is a constant of the graph, compared by value."""
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    function = torch.compile(lambda x, table, spec: encode(x, table, spec), backend=counter, fullgraph=True)
    spec, same, other = small(), small(), small(interpolation="smoothstep")
    x, table = points(9, 3), rows(spec)
    for given in (spec, same, spec, other):
        assert same_bits(function(x, table, given), encode(x, table, given))
    assert counter.frame_count == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_within_a_graph(dtype: torch.dtype) -> None:
    x, table = points(20, 3), rows(SPEC).requires_grad_()
    mix = torch.randn(8, 4)

    def product(x: Tensor, table: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=dtype):
            return encode(x, table, SPEC) @ mix

    found = compiled(product)(x, table)
    assert found.dtype == dtype
    assert torch.equal(found, product(x, table))
    (gradient,) = torch.autograd.grad(found.float().sum(), table)
    (expected,) = torch.autograd.grad(product(x, table).float().sum(), table)
    torch.testing.assert_close(gradient, expected, rtol=2e-2, atol=2e-2)


def test_deterministic_algorithms_are_a_guard() -> None:
    x, table = points(20, 3), rows(SPEC).requires_grad_()
    function = compiled(lambda x, table: encode(x, table, SPEC))
    results = []
    for mode in (False, True, False):
        torch.use_deterministic_algorithms(mode)
        try:
            results.append(torch.autograd.grad(function(x, table).sum(), table)[0])
        finally:
            torch.use_deterministic_algorithms(False)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("strict", [False, True])
def test_export_with_any_number_of_points(strict: bool) -> None:
    field = Field()
    count = torch.export.Dim("count")
    program = torch.export.export(field, (points(5, 3),), dynamic_shapes=((({0: count}),)), strict=strict)
    assert torch.ops.warphash.hashgrid_encode.default in {node.target for node in program.graph.nodes}
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    module = torch.export.load(file).module()
    for size in (1, 5, 300):
        assert same_bits(module(points(size, 3)), field(points(size, 3)))


# ---- Second order ---------------------------------------------------------------------------------------------------
def with_normals(field: Field, x: Tensor) -> Tensor:
    """A loss of values and of the length of their gradients, which autograd takes."""
    values = field(x)
    (normal,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    return values.abs().mean() + ((normal.norm(dim=1) - 1) ** 2).mean()


def with_normals_by_func(field: Field, x: Tensor) -> Tensor:
    """The same by torch.func."""
    normal = torch.func.grad(lambda x: field(x).sum())(x)
    return field(x).abs().mean() + ((normal.norm(dim=1) - 1) ** 2).mean()


def with_normals_point_by_point(field: Field, x: Tensor) -> Tensor:
    """The same by vmap of torch.func.grad."""
    normal = torch.vmap(torch.func.grad(field))(x)
    return field(x).abs().mean() + ((normal.norm(dim=1) - 1) ** 2).mean()


@pytest.mark.parametrize(
    ("loss", "backend", "dynamic"),
    [
        (with_normals, "aot_eager", False),
        (with_normals, "aot_eager", True),
        (with_normals_by_func, "aot_eager", True),
        (with_normals_by_func, "inductor", False),
        (with_normals_point_by_point, "aot_eager", False),
    ],
)
def test_an_eikonal_loss_within_a_graph(loss: Callable[..., Tensor], backend: str, dynamic: bool) -> None:
    """The compiler traces torch.autograd.grad if told to, and torch.func always; nothing of the loss may be cut off."""
    field, x = Field(), points(30, 3).requires_grad_()
    expected = gradients(with_normals(field, x), field, x)
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        found = compiled(lambda x: loss(field, x), backend, dynamic=dynamic)(x)
    close(gradients(found, field, x), expected)


def test_a_gradient_within_a_graph_is_refused_unless_torch_traces_it() -> None:
    field, x = Field(), points(30, 3).requires_grad_()
    with (
        torch._dynamo.config.patch(trace_autograd_ops=False),
        pytest.raises(torch._dynamo.exc.Unsupported, match="trace_autograd_ops"),
    ):
        compiled(lambda x: with_normals(field, x))(x)


def test_a_second_derivative_from_outside_of_a_graph_is_refused() -> None:
    """By torch, for any function that AOTAutograd has made: an error, not a wrong number."""
    field, x = Field(), points(30, 3).requires_grad_()
    (normal,) = torch.autograd.grad(compiled(field)(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        normal.sum().backward()


def test_second_derivatives_around_graphs_that_dynamo_alone_has_made() -> None:
    """The backend "eager" leaves autograd to the eager mode, where both orders are."""
    field, x = Field(), points(30, 3).requires_grad_()
    function = compiled(field, "eager")
    (normal,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    found = gradients(normal.square().sum(), field)
    (normal,) = torch.autograd.grad(field(x).sum(), x, create_graph=True)
    close(found, gradients(normal.square().sum(), field))


def test_a_variation_of_second_order_within_a_graph() -> None:
    x, table = points(30, 3), rows(SPEC).requires_grad_()

    def loss(table: Tensor) -> Tensor:
        step = torch.func.grad(lambda table: total_variation(x, table, SPEC))(table)
        return total_variation(x, table - 0.1 * step, SPEC)

    found = torch.autograd.grad(compiled(loss)(table), table)
    close(found, torch.autograd.grad(loss(table), table))


# ---- torch.func -----------------------------------------------------------------------------------------------------
def test_vmap_over_tables_as_an_ensemble() -> None:
    tables = torch.stack([rows(SPEC, seed=seed) for seed in range(3)])
    x = points(20, 3)
    encoded = torch.vmap(lambda table: encode(x, table, SPEC))(tables)
    assert all(same_bits(encoded[i], encode(x, tables[i], SPEC)) for i in range(3))
    jacobians = torch.vmap(torch.func.grad(lambda table, x: encode(x, table, SPEC).sin().sum()), (0, None))(tables, x)
    for table, found in zip(tables, jacobians, strict=True):
        close(found, torch.func.grad(lambda table: encode(x, table, SPEC).sin().sum())(table))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_vmap_of_gradients_in_every_argument(place: int) -> None:
    given = [points(10, 3), rows(SPEC), level_weights(SPEC)]
    batches = [torch.stack([x, x.roll(1, 0), x.flip(0)]) for x in given]

    def value(*tensors: Tensor) -> Tensor:
        return encode(tensors[0], tensors[1], SPEC, level_weights=tensors[2]).sin().sum()

    def defined(*tensors: Tensor) -> Tensor:
        return reference.encode(tensors[0], tensors[1], SPEC, level_weights=tensors[2]).sin().sum()

    found = torch.vmap(torch.func.grad(value, place))(*batches)
    for i in range(3):
        one = [batch[i].clone().requires_grad_() for batch in batches]
        close(found[i], torch.autograd.grad(defined(*one), one[place])[0])


def test_vmap_over_nothing() -> None:
    x, table = points(5, 3), rows(SPEC)
    assert torch.vmap(lambda x: encode(x, table, SPEC))(torch.zeros(0, 5, 3)).shape == (0, 5, 8)
    assert torch.vmap(lambda table: encode(x, table, SPEC))(torch.zeros(0, SPEC.rows, 2)).shape == (0, 5, 8)


def test_a_functional_call_with_other_parameters() -> None:
    field, x = Field(), points(10, 3)
    other = {name: parameter.detach() * 0.5 for name, parameter in field.named_parameters()}
    found = torch.func.grad(lambda p: torch.func.functional_call(field, p, (x,)).sum())(other)
    again = Field()
    again.load_state_dict(other)
    close(tuple(found.values()), gradients(again(x).sum(), again))
