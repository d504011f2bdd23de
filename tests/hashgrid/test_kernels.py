# SPDX-License-Identifier: Apache-2.0
"""One result for all instruction sets, numbers of threads, and cuts of the work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from conformance.op_case import same_bits
from conformance.processes import result_of
from torch import Tensor
from warphash.hashgrid import GridSpec

from .bits import results
from .samples import level_weights, points, rows, small, strided

_ops = torch.ops.warphash


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads afterwards is that before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_level_and_number_of_threads_gives_the_same_bits(isa: str) -> None:
    digests = result_of("hashgrid.bits", "digests", WARPHASH_ISA=isa, OMP_WAIT_POLICY="passive")
    scalar = result_of("hashgrid.bits", "digests", WARPHASH_ISA="scalar", OMP_WAIT_POLICY="passive")
    assert digests["isa"] == isa
    assert {name for name in scalar if digests[name] != scalar[name]} <= {"isa"}


def test_more_threads_than_levels_cut_a_level(threads: None) -> None:
    """Ranges of rows: every row is owned once, whatever the number of threads does not divide."""
    for log2 in (0, 1, 2, 5):
        spec = GridSpec(2, levels=1, base_resolution=9, per_level_scale=1, log2_table_size=log2)
        torch.set_num_threads(1)
        alone = results(spec, points(300, 2), rows(spec), None)
        for count in (2, 3, 5, 7, 16):
            torch.set_num_threads(count)
            found = results(spec, points(300, 2), rows(spec), None)
            assert all(same_bits(a, b) for a, b in zip(found, alone, strict=True))


@pytest.mark.parametrize("features", [8, 3])
def test_blocks_of_the_table_pass_add_up(features: int) -> None:
    """4099 points of 2100 components are two blocks; a call of its own for each half has the same sums."""
    spec = GridSpec(1, levels=2100 // features, features=features, base_resolution=2, finest_resolution=99)
    x, table, gradient = points(4099, 1), rows(spec), torch.randn(4099, spec.output_features)
    v = torch.randn(4099, 1)

    def of(part: slice) -> tuple[Tensor, Tensor]:
        given = gradient[part], x[part], table, None, spec.text
        twice = _ops.hashgrid_double_backward(v[part], *given, False, False, True, False, False)
        return _ops.hashgrid_backward(*given, False, True, False, False)[1], twice[2]

    for whole, first, rest in zip(of(slice(None)), of(slice(4096)), of(slice(4096, None)), strict=True):
        assert rest.any()
        torch.testing.assert_close(whole, first + rest, rtol=1e-5, atol=1e-5 * float(whole.abs().max()))


def test_sums_over_points_are_near_float64s() -> None:
    """Weights' gradients are summed in float64 in parts; the table's in order, in float32."""
    spec = small(2, levels=2, log2_table_size=3)
    x, table, gradient = points(20_000, 2), rows(spec), torch.randn(20_000, 4)
    weights = torch.ones(2)
    found = _ops.hashgrid_backward(gradient, x, table, weights, spec.text, False, True, True, False)
    doubles = [tensor.double() for tensor in (gradient, x, table, weights)]
    expected = _ops.hashgrid_backward(*doubles, spec.text, False, True, True, False)
    torch.testing.assert_close(found[1].double(), expected[1], rtol=0, atol=2e-3)
    torch.testing.assert_close(found[2].double(), expected[2], rtol=0, atol=2e-3)


@pytest.mark.parametrize("count", [1, 16, 17, 128, 129, 4097])
def test_a_call_is_its_parts(count: int) -> None:
    """Every point has the bits that it has in a call of its own; so have gradients in x."""
    spec = small(3, interpolation="smoothstep")
    table, weights = rows(spec), level_weights(spec)

    def of(x: Tensor, gradient: Tensor, v: Tensor) -> list[Tensor]:
        flags = (spec.text, True, False, False)
        return [
            _ops.hashgrid_encode(x, table, weights, spec.text),
            _ops.hashgrid_backward(gradient, x, table, weights, *flags, False)[0],
            *_ops.hashgrid_double_backward(v, gradient, x, table, weights, spec.text, True, True, False, False, False)[
                :2
            ],
        ]

    whole = (points(count, 3), torch.randn(count, 8), torch.randn(count, 3))
    together = of(*whole)
    for part in (slice(0, count // 2), slice(count // 2, count), slice(count // 3, count // 3 + 1)):
        alone = of(*(x[part] for x in whole))
        assert all(same_bits(a[part].contiguous(), b) for a, b in zip(together, alone, strict=True))


def test_operands_of_the_derivatives_may_have_any_layout() -> None:
    spec = small(2)
    given = [torch.randn(50, 2), torch.randn(50, 8), points(50, 2), rows(spec), level_weights(spec)]
    flags = (spec.text, True, True, True, True, False)
    expected = _ops.hashgrid_double_backward(*given, *flags)
    turned = [*map(strided, given[:4]), torch.stack([given[4]] * 2, 1)[:, 0]]
    shifted = [torch.cat([x.flatten()[:1], x.flatten()])[1:].view(x.shape) for x in given]
    assert not turned[4].is_contiguous()
    for operands in (turned, shifted):
        found = _ops.hashgrid_double_backward(*operands, *flags)
        assert all(same_bits(a, b) for a, b in zip(found, expected, strict=True))
        first = _ops.hashgrid_backward(*operands[1:], *flags[:4], False)
        assert all(
            same_bits(a, b) for a, b in zip(first, _ops.hashgrid_backward(*given[1:], *flags[:4], False), strict=True)
        )


@pytest.mark.parametrize(
    ("operator", "change", "text"),
    [
        ("hashgrid_encode", {1: lambda x: x[:-1]}, r"table must be \[rows, features\] with \d+ rows"),
        ("hashgrid_encode", {0: lambda x: x.double()}, r"x must be \[points, dims\] in the type of sums"),
        ("hashgrid_encode", {0: lambda x: x[:, :1]}, r"x must be \[points, dims\]"),
        ("hashgrid_encode", {2: lambda x: x[:-1]}, r"level_weights must be \[levels\] in the type of x"),
        ("hashgrid_encode", {3: lambda x: ""}, "grid: unknown kind ''"),
        ("hashgrid_encode", {3: lambda x: x.replace("hash", "cube")}, "grid: unknown kind 'cube'"),
        ("hashgrid_encode", {3: lambda x: x.replace("linear", "cubic")}, "grid: unknown interpolation 'cubic'"),
        ("hashgrid_encode", {3: lambda x: x.replace(" 2;", " 8;")}, "grid: dims out of range"),
        ("hashgrid_encode", {3: lambda x: x.partition(";")[0]}, "grid: no levels"),
        ("hashgrid_encode", {3: lambda x: x + ";1 1 0"}, "grid: a level has too many rows or none"),
        ("hashgrid_encode", {3: lambda x: x + ";1 1 4294967296"}, "grid: a level has too many rows or none"),
        ("hashgrid_encode", {3: lambda x: x + ";9 9 12"}, "grid: rows of a hashed level must be a power of two"),
        ("hashgrid_encode", {3: lambda x: x + ";nan 9 8"}, "grid: a scale is out of range"),
        ("hashgrid_encode", {3: lambda x: x + ";-1 9 8"}, "grid: a scale is out of range"),
        ("hashgrid_encode", {3: lambda x: x + ";3e9 9 8"}, "grid: a scale is out of range"),
        ("hashgrid_encode", {3: lambda x: x + ";1 1 8;1 1 2147483648"}, "grid: too many rows"),
        ("hashgrid_encode", {3: lambda x: x + ";1 one 8"}, "grid: expected a number"),
        ("hashgrid_encode", {3: lambda x: x + "?"}, "grid: expected ';'"),
    ],
)
def test_the_last_line_names_what_is_wrong(operator: str, change: dict, text: str) -> None:
    spec = small(2)
    arguments = [points(5, 2), rows(spec), torch.ones(4), spec.text]
    for place, other in change.items():
        arguments[place] = other(arguments[place])
    with pytest.raises(RuntimeError, match=text):
        getattr(_ops, operator)(*arguments)


@pytest.mark.parametrize(
    ("place", "change", "text"),
    [
        (0, lambda x: x[:-1], "v must have as many points as x"),
        (0, lambda x: x[:, :1], r"v must be \[points, dims\]"),
        (0, lambda x: x.double(), r"v must be \[points, dims\]"),
        (1, lambda x: x[:-1], r"gradient must be \[points, levels \* features\]"),
        (1, lambda x: x[:, :-1], r"gradient must be \[points, levels \* features\]"),
        (1, lambda x: x.half(), "gradient must be .* in the table's type"),
    ],
)
def test_the_last_line_of_the_derivatives(place: int, change: object, text: str) -> None:
    spec = small(2)
    given = [torch.randn(5, 2), torch.randn(5, 8), points(5, 2), rows(spec), torch.ones(4), spec.text]
    given[place] = change(given[place])  # type: ignore[operator]
    with pytest.raises(RuntimeError, match=text):
        _ops.hashgrid_double_backward(*given, True, True, True, True, False)
    if place > 0:
        with pytest.raises(RuntimeError, match=text):
            _ops.hashgrid_backward(*given[1:], True, True, True, False)
