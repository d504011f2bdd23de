# SPDX-License-Identifier: Apache-2.0
"""Plans: the bits of a fresh product, batches, refusals of other patterns, the compiler, export, pickles."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
import warphash as wh
from torch import Tensor

from spgemm.matrices import SEMIRINGS, VALUES, csr, random_csr, same, with_values


def _pair(**options: Any) -> tuple[Tensor, Tensor]:
    return random_csr(9, 8, 0.4, 1, **options), random_csr(8, 7, 0.4, 2, **options)


def _fresh_values(x: Tensor, seed: int = 0) -> Tensor:
    return torch.randn(x._nnz(), dtype=x.dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("semiring", SEMIRINGS)
@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("messy", [False, True])
@pytest.mark.parametrize("complement", [None, False, True])
def test_a_plan_has_the_bits_of_a_fresh_product(semiring, dtype, messy, complement) -> None:
    if dtype == torch.bool and semiring in SEMIRINGS[2:]:
        return
    a, b = _pair(dtype=dtype, messy=messy)
    mask = None if complement is None else random_csr(9, 7, 0.5, 3, messy=messy)
    options = {"semiring": semiring, "mask": mask, "complement": bool(complement)}
    plan = wh.spgemm.plan(a, b, **options)
    wanted = wh.spgemm.matmul(a, b, **options)
    values = plan.matmul(a.values(), b.values())
    assert same(plan.csr(values), wanted)
    assert torch.equal(plan.matmul(a, b), values)
    assert plan.shape == (9, 7)
    assert plan.nnz == wanted._nnz()
    assert torch.equal(plan.crow, wanted.crow_indices())
    assert torch.equal(plan.col, wanted.col_indices())


def test_other_values_on_the_same_pattern() -> None:
    a, b = _pair()
    plan = wh.spgemm.plan(a, b)
    for seed in range(3):
        x, y = with_values(a, _fresh_values(a, seed)), with_values(b, _fresh_values(b, seed))
        assert same(plan.csr(plan.matmul(x, y)), wh.spgemm.matmul(x, y))
        assert torch.equal(plan.matmul(x.values(), y), plan.matmul(x, y.values()))
    # Another dtype of values, and of indices.
    x, y = with_values(a, a.values().float()), csr(*(b.crow_indices(), b.col_indices()), b.values().float(), (8, 7))
    assert torch.equal(plan.matmul(x, y), wh.spgemm.matmul(x, y).values())


@pytest.mark.parametrize("semiring", SEMIRINGS)
def test_batches_are_the_loop(semiring: str) -> None:
    a, b = _pair(messy=True)
    plan = wh.spgemm.plan(a, b, semiring=semiring)
    x = torch.randn(2, 3, a._nnz(), dtype=torch.float64)
    y = torch.randn(3, b._nnz(), dtype=torch.float64)
    got = plan.matmul(x, y)
    wanted = torch.stack([torch.stack([plan.matmul(x[i, j], y[j]) for j in range(3)]) for i in range(2)])
    assert torch.equal(got, wanted)
    assert torch.equal(plan.matmul(x, b), torch.stack([plan.matmul(rows, b) for rows in x]))
    assert torch.equal(plan.matmul(a, y), torch.stack([plan.matmul(a, row) for row in y]))
    empty = plan.matmul(x[:0], y)
    assert empty.shape == (0, 3, plan.nnz)
    assert empty.dtype == got.dtype


def test_batches_of_matrices_without_entries() -> None:
    plan = wh.spgemm.plan(csr([0, 0, 0], [], torch.zeros(0), (2, 3)), csr([0, 1, 1, 1], [0], torch.ones(1), (3, 2)))
    for first, second, shape in (((3, 0), (1,), (3, 0)), ((0,), (2, 3, 1), (2, 3, 0)), ((0, 0), (1, 1), (0, 0))):
        assert plan.matmul(torch.ones(first), torch.ones(second)).shape == shape


def test_batches_carry_gradients() -> None:
    a, b = _pair(real=True)
    plan = wh.spgemm.plan(a, b)
    x = torch.randn(3, a._nnz(), dtype=torch.float64, requires_grad=True)
    y = b.values().clone().requires_grad_()
    assert torch.autograd.gradcheck(plan.matmul, (x, y))
    assert torch.autograd.gradgradcheck(plan.matmul, (x, y))


def test_gradients_of_csr_operands() -> None:
    a, b = (x.requires_grad_() for x in _pair(real=True))
    plan = wh.spgemm.plan(a, b)
    c = plan.csr(plan.matmul(a, b))
    g = with_values(c, _fresh_values(c))
    for got, wanted in zip(
        torch.autograd.grad(c, (a, b), g), torch.autograd.grad(wh.spgemm.matmul(a, b), (a, b), g), strict=True
    ):
        assert same(got, wanted)


def test_the_text_of_a_plan() -> None:
    a, b = _pair()
    plan = wh.spgemm.plan(a, b, semiring="min_plus")
    text = repr(plan)
    assert text == f"Plan([9, 8] of {a._nnz()} by [8, 7] of {b._nnz()} entries: [9, 7] of {plan.nnz}, min_plus, cpu)"
    assert (plan.semiring, plan.device) == ("min_plus", torch.device("cpu"))


def test_pickles_copies_and_moves() -> None:
    a, b = _pair(messy=True)
    plan = wh.spgemm.plan(a, b, mask=random_csr(9, 7, 0.5, 3))
    wanted = plan.matmul(a, b)
    file = io.BytesIO()
    torch.save(plan, file)
    file.seek(0)
    for other in (
        pickle.loads(pickle.dumps(plan)),
        copy.deepcopy(plan),
        plan.to("cpu"),
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(other.matmul(a, b), wanted)
        assert repr(other) == repr(plan)
    on_meta = plan.to("meta")
    out = on_meta.matmul(a.values().to("meta"), b.values().to("meta"))
    assert (out.shape, out.dtype, out.device.type) == (wanted.shape, wanted.dtype, "meta")
    for wrong, error in (("nowhere", ValueError), ("mps", ValueError), (1.5, TypeError)):
        with pytest.raises(error, match=r"^device must be"):
            plan.to(wrong)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"^device must be the CPU or a CUDA device of this machine, got cuda"):
            plan.to("cuda")


# ---- Memory ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_what_becomes_of_the_operands_does_not_matter(index: torch.dtype) -> None:
    # Memory of NumPy's, too, whose changes torch does not see.
    parts = [(x.crow_indices().numpy().copy(), x.col_indices().numpy().copy()) for x in _pair()]
    values = [x.values() for x in _pair()]
    shapes = [(9, 8), (8, 7)]
    a, b = (
        wh.spgemm.csr.build(torch.from_numpy(crow).to(index), torch.from_numpy(col).to(index), v, shape)
        for (crow, col), v, shape in zip(parts, values, shapes, strict=True)
    )
    plan = wh.spgemm.plan(a, b)
    wanted = plan.matmul(*values)
    for x, (crow, col) in zip((a, b), parts, strict=True):
        crow[:], col[:] = 10**6, 10**9
        x.crow_indices().fill_(10**6)
        x.col_indices().fill_(10**9)
    assert torch.equal(plan.matmul(*values), wanted)
    assert torch.equal(pickle.loads(pickle.dumps(plan)).matmul(*values), wanted)
    with pytest.raises(ValueError, match=r"^a_values must have the pattern that the plan was made of"):
        plan.matmul(a, values[1])


def test_one_copy_of_an_operand_that_stands_twice() -> None:
    a = random_csr(9, 9, 0.4, 1)
    plan = wh.spgemm.plan(a, a)
    held = (plan._a.col, plan._b.col, plan._a.pattern.col, plan._b.pattern.col)
    assert len({x.data_ptr() for x in held}) == 1
    assert held[0].data_ptr() != a.col_indices().data_ptr()


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.crow.zero_(),
        lambda plan: plan.col.add_(1),
        lambda plan: plan.col[:1].fill_(10**6),
    ],
)
def test_a_plan_whose_own_pattern_was_written_to_is_refused(change: Any) -> None:
    a, b = _pair()
    plan = wh.spgemm.plan(a, b)
    values = plan.matmul(a, b)
    untouched = copy.deepcopy(plan)
    change(plan)
    for call in (lambda: plan.matmul(a, b), lambda: plan.csr(values), lambda: plan.to("cpu")):
        with pytest.raises(ValueError, match=r"^the plan's pattern was changed in place"):
            call()
    assert torch.equal(untouched.matmul(a, b), values)


def test_products_of_a_plan_may_be_written_to() -> None:
    a, b = _pair()
    plan = wh.spgemm.plan(a, b)
    values = plan.matmul(a, b)
    written = plan.csr(values.clone())
    written.crow_indices().zero_()
    written.col_indices().fill_(10**6)
    assert same(plan.csr(plan.matmul(a, b)), wh.spgemm.matmul(a, b))


def test_plans_of_inference_mode() -> None:
    a, b = _pair()
    with torch.inference_mode():
        plan = wh.spgemm.plan(a, b)
        assert torch.equal(plan.matmul(a, b), wh.spgemm.matmul(a, b).values())
    assert torch.equal(plan.matmul(a.values(), b.values()), wh.spgemm.matmul(a, b).values())


# ---- Refusals -------------------------------------------------------------------------------------------------------
def test_other_patterns_are_refused() -> None:
    a, b = _pair()
    plan = wh.spgemm.plan(a, b)
    crow, col = a.crow_indices().clone(), a.col_indices().clone()
    row = next(i for i in range(9) if 0 < int(crow[i + 1] - crow[i]) < 8)
    free = [c for c in range(8) if c not in col[crow[row] : crow[row + 1]].tolist()]
    col[crow[row]] = free[0]
    others = (
        csr(crow, col, a.values(), (9, 8), torch.int32),
        random_csr(9, 8, 0.4, 7),
        csr(a.crow_indices(), a.col_indices(), a.values(), (9, 9), torch.int32),
        csr(torch.cat([a.crow_indices(), a.crow_indices()[-1:]]), a.col_indices(), a.values(), (10, 8), torch.int32),
    )
    for other in others:
        with pytest.raises(ValueError, match=r"^a_values must have the pattern that the plan was made of, a of shape"):
            plan.matmul(other, b)
    with pytest.raises(ValueError, match=r"^b_values must have the pattern"):
        plan.matmul(a, random_csr(8, 7, 0.4, 9))


def test_wrong_values_are_refused() -> None:
    a, b = _pair()
    plan = wh.spgemm.plan(a, b)
    x, y = a.values(), b.values()
    for bad, error, text in (
        (x[:-1], ValueError, rf"^a_values must be \[\.\.\., {len(x)}\]"),
        (torch.cat([x, x[:1]]), ValueError, r"^a_values must be \[\.\.\."),
        (x[0], ValueError, r"^a_values must be \[\.\.\."),
        (x.to("meta"), ValueError, "^a_values must be on the device of the plan, cpu, got meta"),
        (x.tolist(), TypeError, "^a_values must be a tensor of values or a CSR tensor, got list"),
        (x.to_sparse(), TypeError, "^a_values must be a dense tensor"),
        (x.float(), TypeError, "^b_values must have values of the dtype of a_values"),
        (x.cfloat(), TypeError, "^a_values must have values of .*got torch.complex64"),
    ):
        with pytest.raises(error, match=text):
            plan.matmul(bad, y)
    with pytest.raises(ValueError, match=r"^b_values must have leading dimensions that fit a_values, got \(3,\)"):
        plan.matmul(x.expand(2, -1), y.expand(3, -1))
    with pytest.raises(ValueError, match=r"^a_values requires a gradient, but semiring or_and has none"):
        wh.spgemm.plan(a, b, semiring="or_and").matmul(x.clone().requires_grad_(), y)
    with pytest.raises(TypeError, match=r"^a_values must have numbers as values for semiring min_plus"):
        wh.spgemm.plan(a, b, semiring="min_plus").matmul(x > 0, y > 0)
    values = plan.matmul(x, y)
    for bad, error, text in (
        (values[:-1], ValueError, r"^values must be \["),
        (values.expand(2, -1), ValueError, r"^values must be \[.*one matrix"),
        (values.tolist(), TypeError, "^values must be a tensor, got list"),
        (values.to("meta"), ValueError, "^values must be on the device of the plan"),
    ):
        with pytest.raises(error, match=text):
            plan.csr(bad)


# ---- The compiler and export ----------------------------------------------------------------------------------------
class _Layer(torch.nn.Module):
    def __init__(self, plan: wh.spgemm.Plan) -> None:
        super().__init__()
        self.plan = plan

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.plan.matmul(x.sin(), y) * 2


@pytest.fixture(params=[False, True], ids=["canonical", "messy"])
def problem(request: pytest.FixtureRequest) -> tuple[wh.spgemm.Plan, Tensor, Tensor]:
    a, b = _pair(real=True, messy=request.param)
    return wh.spgemm.plan(a, b), a.values().clone(), b.values().clone()


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_one_graph(problem: tuple[wh.spgemm.Plan, Tensor, Tensor], backend: str) -> None:
    torch._dynamo.reset()
    plan, x, y = problem
    layer = _Layer(plan)
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(x, y), layer(x, y), rtol=1e-12, atol=1e-12)
    grads = []
    for function in (layer, compiled):
        leaves = [z.clone().requires_grad_() for z in (x, y)]
        function(*leaves).sin().sum().backward()
        grads.append([z.grad for z in leaves])
    torch.testing.assert_close(*grads)
    batch = torch.stack([x, 2 * x])
    torch.testing.assert_close(compiled(batch, y), layer(batch, y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("semiring", SEMIRINGS[1:])
def test_one_graph_of_semirings(semiring: str) -> None:
    torch._dynamo.reset()
    a, b = _pair(real=True)
    plan = wh.spgemm.plan(a, b, semiring=semiring)
    x, y = a.values().clone(), b.values().clone()
    compiled = torch.compile(plan.matmul, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, y), plan.matmul(x, y))
    if semiring == "or_and":
        return
    grads = []
    for function in (plan.matmul, compiled):
        leaves = [z.clone().requires_grad_() for z in (x, y)]
        function(*leaves).sin().sum().backward()
        grads.append([z.grad for z in leaves])
    torch.testing.assert_close(*grads)


def test_derivatives_inside_of_a_graph() -> None:
    torch._dynamo.reset()
    a, b = _pair(real=True)
    plan = wh.spgemm.plan(a, b)
    x, y = a.values().clone(), b.values().clone()

    def penalty(x: Tensor, y: Tensor) -> Tensor:
        return torch.func.grad(lambda x: (plan.matmul(x, y) ** 2).sum())(x)

    compiled = torch.compile(penalty, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, y), penalty(x, y))


def test_two_plans_of_one_graph() -> None:
    """Plans of other sizes go through the same code."""
    torch._dynamo.reset()
    compiled = torch.compile(lambda plan, x, y: plan.matmul(x, y), fullgraph=True, backend="aot_eager", dynamic=True)
    for size in (9, 14):
        a, b = random_csr(size, 8, 0.4, 1), random_csr(8, size + 2, 0.4, 2)
        plan = wh.spgemm.plan(a, b)
        x, y = a.values().clone(), b.values().clone()
        assert torch.equal(compiled(plan, x, y), plan.matmul(x, y))


@pytest.mark.parametrize("strict", [False, True])
def test_export_save_and_load(problem: tuple[wh.spgemm.Plan, Tensor, Tensor], strict: bool) -> None:
    plan, x, y = problem
    layer = _Layer(plan)
    program = torch.export.export(layer, (x, y), strict=strict)
    assert torch.ops.warphash.spgemm_numeric.default in {node.target for node in program.graph.nodes}
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    assert torch.equal(torch.export.load(file).module()(2 * x, y), layer(2 * x, y))


def test_functions_of_csr_tensors_stand_between_graphs() -> None:
    a, features = random_csr(6, 6, 0.4, 1), torch.rand(6, 2, dtype=torch.float64)
    power, known = wh.nn.GraphPower(2), wh.spgemm.plan(a, a)
    for function in (
        lambda x, y: wh.spgemm.matmul(x, x) @ (y + 1),
        lambda x, y: wh.spgemm.topk(x, x, 2)[0] + y,
        lambda x, y: wh.spgemm.matmul_many([x, x], [x, x])[1] @ (y + 1),
        lambda x, y: wh.spgemm.plan(x, x).crow + y.sum(),
        lambda x, y: power(x)[1] @ (y + 1),
        lambda x, y: torch.cat([c @ (y + 1) for _, c in wh.spgemm.row_chunks(x, x, max_bytes=150)]),
        lambda x, y: known.matmul(x, x) * 2 + y.sum(),
        lambda x, y: known.matmul(x.values().clone(), a) + y.sum(),
        lambda x, y: known.csr(known.matmul(x, x)) @ (y + 1),
    ):
        torch._dynamo.reset()
        compiled = torch.compile(function, backend="aot_eager")
        assert torch.equal(compiled(a, features), function(a, features))
    x, y = a.clone().requires_grad_(), a.clone().requires_grad_()
    torch.compile(lambda x: wh.spgemm.matmul(x, x) @ features, backend="aot_eager")(x).sum().backward()
    (wh.spgemm.matmul(y, y) @ features).sum().backward()
    assert torch.equal(x.grad.values(), y.grad.values())
    for function, text in (
        (lambda x, y: wh.spgemm.matmul(x, y), "graphs of torch.compile hold no CSR tensors"),
        (lambda x, y: next(wh.spgemm.row_chunks(x, y, max_bytes=10**6))[0], "graphs of torch.compile hold no CSR"),
        (lambda x, y: known.csr(features[:, 0]), "graphs of torch.compile hold no CSR tensors"),
        (lambda x, y: known.matmul(x, y), "torch.compile does not support sparse Tensors"),
    ):
        with pytest.raises(torch._dynamo.exc.Unsupported, match=text):
            torch.compile(function, fullgraph=True, backend="aot_eager")(a, a)
