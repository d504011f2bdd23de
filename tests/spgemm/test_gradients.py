# SPDX-License-Identifier: Apache-2.0
"""Derivatives: gradcheck of every form, closed forms of the second order, gradients of any layout, torch.func."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import warphash as wh
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from spgemm.matrices import csr, random_csr, same, with_values

matmul = wh.spgemm.matmul
DIFFERENTIABLE = ("plus_times", "min_plus", "max_times")


def _leaves(*shapes: tuple[int, int], **options: Any) -> list[Tensor]:
    return [random_csr(*shape, 0.4, seed, real=True, **options).requires_grad_() for seed, shape in enumerate(shapes)]


def _of_values(x: Tensor) -> Any:
    """A function from values to the CSR tensor of a pattern, differentiable twice."""
    crow, col, shape = x.crow_indices(), x.col_indices(), tuple(x.shape)
    return lambda values: wh.spgemm.csr.csr_of(crow, col, values, shape)


@pytest.mark.parametrize("semiring", DIFFERENTIABLE)
@pytest.mark.parametrize("masked", [None, False, True])
@pytest.mark.parametrize("messy", [False, True])
def test_gradcheck_of_products(semiring: str, masked: bool | None, messy: bool) -> None:
    a, b = (random_csr(*shape, 0.5, 3, real=True, messy=messy) for shape in ((5, 6), (6, 4)))
    mask = None if masked is None else random_csr(5, 4, 0.5, 5)
    of_a, of_b = _of_values(a), _of_values(b)

    def function(x: Tensor, y: Tensor) -> Tensor:
        c = matmul(of_a(x), of_b(y), semiring=semiring, mask=mask, complement=bool(masked))
        return wh.spgemm.csr.values_of(c)

    inputs = tuple(x.values().clone().requires_grad_() for x in (a, b))
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("semiring", DIFFERENTIABLE)
@pytest.mark.parametrize("masked", [None, False, True])
@pytest.mark.parametrize("messy", [False, True])
def test_gradcheck_of_plans(semiring: str, masked: bool | None, messy: bool) -> None:
    a, b = (random_csr(*shape, 0.5, 3, real=True, messy=messy) for shape in ((5, 6), (6, 4)))
    mask = None if masked is None else random_csr(5, 4, 0.5, 5)
    plan = wh.spgemm.plan(a, b, semiring=semiring, mask=mask, complement=bool(masked))
    inputs = tuple(x.values().clone().requires_grad_() for x in (a, b))
    assert gradcheck(plan.matmul, inputs)
    assert gradgradcheck(plan.matmul, inputs)


def test_gradcheck_of_topk() -> None:
    a, b = (random_csr(*shape, 0.5, 3, real=True) for shape in ((5, 6), (6, 7)))
    of_a, of_b = _of_values(a), _of_values(b)

    def function(x: Tensor, y: Tensor) -> Tensor:
        return wh.spgemm.topk(of_a(x), of_b(y), 3)[0].nan_to_num(neginf=0.0)

    inputs = tuple(x.values().clone().requires_grad_() for x in (a, b))
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)
    # More than there are, and none.
    for k in (9, 0):
        values, indices = wh.spgemm.topk(of_a(inputs[0]), of_b(inputs[1]), k)
        values[indices >= 0].sum().backward()
    one, two = (x.detach().clone().requires_grad_() for x in inputs)
    matmul(of_a(one), of_b(two)).values().sum().backward()
    torch.testing.assert_close([x.grad for x in inputs], [one.grad, two.grad])


def test_gradients_lie_on_the_operands_patterns() -> None:
    a, b = _leaves((9, 8), (8, 7))
    c = matmul(a, b)
    g = with_values(c, torch.randn(c._nnz(), dtype=torch.float64))
    of_a, of_b = torch.autograd.grad(c, (a, b), g)
    for got, x, wanted in (
        (of_a, a, g.to_dense() @ b.detach().to_dense().T),
        (of_b, b, a.detach().to_dense().T @ g.to_dense()),
    ):
        assert got.layout == torch.sparse_csr
        assert torch.equal(got.crow_indices(), x.crow_indices())
        assert torch.equal(got.col_indices(), x.col_indices())
        rows = wh.spgemm.csr.rows_of(x.crow_indices()).long()
        torch.testing.assert_close(got.values(), wanted[rows, x.col_indices().long()])


def _dense_second(a: Tensor, b: Tensor, g: Tensor, u: Tensor, v: Tensor) -> list[Tensor]:
    """Derivatives of <u, dA> + <v, dB> on full matrices: to g, a and b."""
    return [u @ b + a @ v, g @ v.T, u.T @ g]


def test_second_derivatives_of_csr_operands_are_the_closed_forms() -> None:
    a, b = _leaves((9, 8), (8, 7))
    c = matmul(a, b)
    g = with_values(c, torch.randn(c._nnz(), dtype=torch.float64)).requires_grad_()
    firsts = torch.autograd.grad(c, (a, b), g, create_graph=True)
    u, v = (with_values(x, torch.randn(x._nnz(), dtype=torch.float64)) for x in (a, b))
    seconds = torch.autograd.grad(firsts, (g, a, b), (u, v))
    wanted = _dense_second(*(x.detach().to_dense() for x in (a, b, g, u, v)))
    for got, x, full in zip(seconds, (g, a, b), wanted, strict=True):
        rows = wh.spgemm.csr.rows_of(x.crow_indices()).long()
        assert got.layout == torch.sparse_csr
        torch.testing.assert_close(got.values(), full[rows, x.col_indices().long()])


def test_third_derivatives_too() -> None:
    a, b = _leaves((6, 5), (5, 7))
    c = matmul(a, b)
    first = torch.autograd.grad(c.to_dense().sin().sum(), a, create_graph=True)[0]
    assert first.layout == torch.sparse_csr


@pytest.mark.parametrize("semiring", DIFFERENTIABLE)
def test_a_times_itself(semiring: str) -> None:
    a = random_csr(8, 8, 0.4, real=True).requires_grad_()
    other = a.detach().clone().requires_grad_()
    matmul(a, a, semiring=semiring).values().sin().sum().backward()
    x, y = other.detach().clone().requires_grad_(), other.detach().clone().requires_grad_()
    matmul(x, y, semiring=semiring).values().sin().sum().backward()
    torch.testing.assert_close(a.grad.values(), x.grad.values() + y.grad.values())


def test_leaves_accumulate_over_calls() -> None:
    a, b = _leaves((8, 7), (7, 6))
    for _ in range(2):
        matmul(a, b).values().sum().backward()
    x, y = (z.detach().clone().requires_grad_() for z in (a, b))
    matmul(x, y).values().sum().backward()
    torch.testing.assert_close(a.grad.values(), 2 * x.grad.values())
    torch.testing.assert_close(b.grad.to_dense(), 2 * y.grad.to_dense())


def test_one_operand_alone() -> None:
    a, b = _leaves((8, 7), (7, 6))
    (of_a,) = torch.autograd.grad(matmul(a, b.detach()).values().sum(), a)
    (of_b,) = torch.autograd.grad(matmul(a.detach(), b).values().sum(), b)
    both = torch.autograd.grad(matmul(a, b).values().sum(), (a, b))
    assert same(of_a, both[0])
    assert same(of_b, both[1])
    assert not matmul(a.detach(), b.detach()).requires_grad
    with torch.no_grad():
        assert not matmul(a, b).requires_grad


def test_gradients_of_every_layout() -> None:
    a, b = _leaves((8, 7), (7, 6))
    full = torch.randn(8, 6, dtype=torch.float64)
    wanted = None
    c = matmul(a, b)
    rows = wh.spgemm.csr.rows_of(c.crow_indices()).long()
    on = with_values(c, full[rows, c.col_indices().long()])
    other = csr(on.crow_indices(), on.col_indices(), on.values(), (8, 6), torch.int64)
    half = full.to_sparse()
    indices, values = torch.cat([half.indices()] * 2, 1), torch.cat([half.values() / 2] * 2)
    twice = torch.sparse_coo_tensor(indices, values, (8, 6), check_invariants=False)
    every = torch.arange(9) * 6, torch.arange(6).repeat(8)
    wider = csr(*every, full.flatten(), (8, 6))
    for gradient in (on, other, full, full.T.contiguous().T, full.to_sparse(), twice, wider):
        got = torch.autograd.grad(matmul(a, b), (a, b), gradient)
        wanted = wanted or got
        for x, y in zip(got, wanted, strict=True):
            torch.testing.assert_close(x.values(), y.values(), rtol=1e-12, atol=1e-12)
    nothing = csr(torch.zeros(9), torch.zeros(0), torch.zeros(0, dtype=torch.float64), (8, 6))
    for x in torch.autograd.grad(matmul(a, b), (a, b), nothing):
        assert not x.values().any()


def test_gradients_of_dense_uses() -> None:
    a, b = _leaves((8, 7), (7, 6))
    x = torch.randn(6, 3, dtype=torch.float64)
    dense = [z.detach().to_dense().requires_grad_() for z in (a, b)]
    wanted = torch.autograd.grad((dense[0] @ dense[1] @ x).sin().sum(), dense)
    for function in (lambda c: c.to_dense() @ x, lambda c: c @ x, lambda c: c.to_sparse_coo() @ x):
        got = torch.autograd.grad(function(matmul(a, b)).sin().sum(), (a, b))
        for g, z, full in zip(got, (a, b), wanted, strict=True):
            rows = wh.spgemm.csr.rows_of(z.crow_indices()).long()
            torch.testing.assert_close(g.values(), full[rows, z.col_indices().long()])


@pytest.mark.parametrize("use", ["values", "dense", "coo", "matrix"])
def test_gradient_penalties(use: str) -> None:
    """The gradient of a loss of any use of the product, differentiated once more."""
    x = torch.randn(4, 3, dtype=torch.float64)
    uses: dict[str, Any] = {
        "values": wh.spgemm.csr.values_of,
        "dense": lambda c: c.to_dense(),
        "coo": lambda c: c.to_sparse_coo().to_dense(),
        "matrix": lambda c: c @ x,
    }
    a, b = _leaves((6, 5), (5, 4))
    dense = [z.detach().to_dense().requires_grad_() for z in (a, b)]
    stored = [(z.detach() != 0).double() for z in dense]
    first = torch.autograd.grad(uses[use](matmul(a, b)).sin().sum(), (a, b), create_graph=True)
    second = torch.autograd.grad(sum((wh.spgemm.csr.values_of(g) ** 2).sum() for g in first), (a, b))
    full = dense[0] @ dense[1] @ x if use == "matrix" else dense[0] @ dense[1]
    first = torch.autograd.grad(full.sin().sum(), dense, create_graph=True)
    penalty = sum(((g * on) ** 2).sum() for g, on in zip(first, stored, strict=True))
    wanted = torch.autograd.grad(penalty, dense)
    for got, w, on in zip(second, wanted, stored, strict=True):
        torch.testing.assert_close(got.to_dense(), w * on)


def test_dropped_zeros_carry_the_rest_of_the_gradient() -> None:
    a = csr([0, 2], [0, 1], torch.tensor([1.0, 1.0]), (1, 2)).requires_grad_()
    b = csr([0, 2, 4], [0, 1, 0, 1], torch.tensor([1.0, 2.0, -1.0, 3.0]), (2, 2)).requires_grad_()
    matmul(a, b, drop_zeros=True).values().sum().backward()
    assert a.grad.values().tolist() == [2.0, 3.0]
    assert b.grad.values().tolist() == [0.0, 1.0, 0.0, 1.0]


def test_the_first_of_equal_products_takes_the_gradient() -> None:
    a = csr([0, 3], [0, 1, 2], torch.tensor([2.0, 1.0, 1.0]), (1, 3)).requires_grad_()
    b = csr([0, 1, 2, 3], [0, 0, 0], torch.tensor([1.0, 2.0, 2.0]), (3, 1)).requires_grad_()
    for semiring, in_a, in_b in (
        ("min_plus", [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        ("max_times", [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]),
    ):
        got = torch.autograd.grad(matmul(a, b, semiring=semiring).values().sum(), (a, b))
        assert [x.values().tolist() for x in got] == [in_a, in_b]


def test_duplicates_each_get_their_gradient() -> None:
    a = csr([0, 3], [0, 0, 0], torch.tensor([1.0, 3.0, 3.0]), (1, 1)).requires_grad_()
    b = csr([0, 1], [0], torch.tensor([2.0]), (1, 1))
    for semiring, wanted in (
        ("plus_times", [2.0, 2.0, 2.0]),
        ("max_times", [0.0, 2.0, 0.0]),
        ("min_plus", [1.0, 0.0, 0.0]),
    ):
        (got,) = torch.autograd.grad(matmul(a, b, semiring=semiring).values().sum(), a)
        assert got.values().tolist() == wanted


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_have_the_operands_dtype(dtype: torch.dtype) -> None:
    for semiring in DIFFERENTIABLE:
        a, b = _leaves((9, 8), (8, 7), dtype=dtype)
        wide = [x.detach().to(torch.float64).requires_grad_() for x in (a, b)]
        got = torch.autograd.grad(matmul(a, b, semiring=semiring).values().sum(), (a, b))
        wanted = torch.autograd.grad(matmul(*wide, semiring=semiring).values().sum(), wide)
        for x, y in zip(got, wanted, strict=True):
            assert x.dtype == dtype
            if semiring == "plus_times":  # rounding may choose another winner
                torch.testing.assert_close(x.values(), y.values().to(dtype), rtol=2e-2, atol=2e-2)


def test_empty_operands_have_gradients() -> None:
    for semiring in DIFFERENTIABLE:
        for shapes in (((0, 3), (3, 4)), ((3, 0), (0, 4)), ((3, 4), (4, 0))):
            a, b = _leaves(*shapes)
            matmul(a, b, semiring=semiring).values().sum().backward()
            assert a.grad.shape == a.shape
            assert b.grad.shape == b.shape
    a, b = _leaves((4, 3), (3, 5))
    empty = with_values(random_csr(3, 5, 0.0), torch.zeros(0, dtype=torch.float64)).requires_grad_()
    matmul(a, empty).values().sum().backward()
    assert not a.grad.values().any()
    assert empty.grad._nnz() == 0


# ---- torch.func and forward mode ------------------------------------------------------------------------------------
def test_torch_func_of_plans() -> None:
    a, b = (random_csr(*shape, 0.4, 3, real=True) for shape in ((6, 5), (5, 4)))
    plan = wh.spgemm.plan(a, b)
    x, y = a.values().clone(), b.values().clone()
    grad = torch.func.grad(lambda x, y: plan.matmul(x, y).sin().sum(), (0, 1))(x, y)
    leaves = [z.clone().requires_grad_() for z in (x, y)]
    plan.matmul(*leaves).sin().sum().backward()
    torch.testing.assert_close(grad, tuple(z.grad for z in leaves))
    jacobian = torch.func.jacrev(plan.matmul)(x, y)
    eye = torch.eye(len(x), dtype=torch.float64)
    torch.testing.assert_close(jacobian, torch.stack([plan.matmul(row, y) for row in eye], 1))
    hessian = torch.func.jacrev(torch.func.grad(lambda y: (plan.matmul(x, y) ** 2).sum()))(y)
    torch.testing.assert_close(hessian, hessian.T)
    many = torch.randn(3, len(x), dtype=torch.float64)
    assert torch.equal(torch.vmap(plan.matmul, (0, None))(many, y), plan.matmul(many, y))
    per = torch.vmap(torch.func.grad(lambda x: plan.matmul(x, y).sin().sum()))(many)
    rows = [torch.func.grad(lambda x: plan.matmul(x, y).sin().sum())(row) for row in many]
    torch.testing.assert_close(per, torch.stack(rows))


def test_transforms_of_torch_func_hold_no_csr_tensors() -> None:
    a = random_csr(5, 5, 0.4, 3, real=True)
    plan, x = wh.spgemm.plan(a, a), a.values().clone()
    text = r"torch.func's transforms hold no CSR tensors: warphash.spgemm.plan\(...\).matmul takes values alone"
    with pytest.raises(NotImplementedError, match="^a: " + text):
        torch.func.grad(lambda x: (x * wh.spgemm.csr.values_of(wh.spgemm.matmul(a, a))).sum())(x[:1])
    with pytest.raises(NotImplementedError, match="^" + text):
        torch.vmap(plan.csr)(torch.rand(2, plan.nnz, dtype=torch.float64))
    # What is the same for all is no part of a transform.
    product = wh.spgemm.matmul(a, a)
    found = torch.vmap(lambda x: wh.spgemm.matmul(a, a).values() * x)(torch.ones(3, 1))
    assert torch.equal(found, product.values().expand(3, -1))


def test_what_inference_mode_made_serves_afterwards() -> None:
    plain = random_csr(6, 6, 0.4, 3, real=True)
    power = wh.nn.GraphPower(2)
    with torch.inference_mode():
        a, plan, index = wh.spgemm.matmul(plain, plain), wh.spgemm.plan(plain, plain), wh.retrieval.SparseIndex(plain)
        index.add(plain)
        power(plain)
    x = plain.values().clone().requires_grad_()
    grad = torch.autograd.grad(plan.csr(plan.matmul(x, x)).to_dense().sum(), x)[0]
    assert torch.equal(grad, torch.autograd.grad(wh.spgemm.plan(plain, plain).matmul(x, x).sum(), x)[0])
    leaf = plain.clone().requires_grad_()
    power(leaf)[1].to_dense().sum().backward()
    assert leaf.grad is not None
    again = wh.spgemm.matmul(plain, plain)  # torch itself cannot read a, which was made in inference mode
    assert same(wh.spgemm.matmul(a, plain), wh.spgemm.matmul(again, plain))
    assert torch.equal(index.search(a, 3)[1], index.search(again, 3)[1])
    assert len(index.search(plain, 3)[0]) == 6


@pytest.mark.parametrize("semiring", DIFFERENTIABLE)
def test_forward_mode_raises_and_never_says_zero(semiring: str) -> None:
    a, b = (random_csr(*shape, 0.4, 3, real=True) for shape in ((6, 5), (5, 4)))
    plan = wh.spgemm.plan(a, b, semiring=semiring)
    x, y = a.values().clone(), b.values().clone()
    with pytest.raises(NotImplementedError, match=r"^spgemm.s numeric has no jvp, no derivative in forward mode"):
        torch.func.jvp(plan.matmul, (x, y), (x, y))
    with pytest.raises(NotImplementedError, match="jvp"), forward_ad.dual_level():
        plan.matmul(forward_ad.make_dual(x, x), y)


@pytest.mark.parametrize("semiring", DIFFERENTIABLE)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_of_half_types_are_summed_in_float32(semiring: str, dtype: torch.dtype) -> None:
    """One value of a that 3000 entries are made of: a half type cannot count that far by ones."""
    count = 3000
    a = csr([0, 1], [0], torch.ones(1, dtype=dtype), (1, 1)).requires_grad_()
    b = csr([0, count], torch.arange(count), torch.ones(count, dtype=dtype), (1, count))
    matmul(a, b, semiring=semiring).values().sum().backward()
    assert a.grad.values().tolist() == torch.tensor([float(count)], dtype=dtype).tolist()


def test_a_change_in_place_before_the_backward_is_noticed() -> None:
    a, b = random_csr(5, 6, 0.5, 1).requires_grad_(), random_csr(6, 4, 0.5, 2)
    for function in (matmul, lambda x, y: wh.spgemm.topk(x, y, 2)[0], wh.spgemm.plan(a, b).matmul):
        c = function(a, b)
        b.values().mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            (c.values() if c.layout == torch.sparse_csr else c).sum().backward()
