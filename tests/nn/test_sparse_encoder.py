# SPDX-License-Identifier: Apache-2.0
"""SparseEncoderHead: values and gradients against the formulas, block by block or not; what a module must survive."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash.nn import sparse

# Two rows of the batch have padding, one has no token at all.
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1]])


def make(agg: str = "max", dtype: torch.dtype = torch.float32, **options: object) -> wh.nn.SparseEncoderHead:
    torch.manual_seed(1)
    return wh.nn.SparseEncoderHead(6, 40, agg=agg, dtype=dtype, **options)


def states(dtype: torch.dtype = torch.float32, batch: int = 4) -> Tensor:
    return torch.randn(batch, 5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def definition(head: wh.nn.SparseEncoderHead, hidden: Tensor, mask: Tensor) -> Tensor:
    """The formula token by token, as SPLADE's own code has it."""
    logits = torch.nn.functional.linear(hidden, head.linear.weight, head.linear.bias)
    each = torch.log1p(torch.relu(logits)) * mask.unsqueeze(-1)
    return each.max(1).values if head.agg == "max" else each.sum(1)


@pytest.fixture(params=[1 << 24, 1, 100], ids=["whole", "term by term", "a few terms"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the vocabulary is cut."""
    monkeypatch.setattr(sparse, "BLOCK_ELEMENTS", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("agg", ["max", "sum"])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients(agg: str, bias: bool) -> None:
    head = make(agg, torch.float64, bias=bias)
    hidden, weights = states(torch.float64).requires_grad_(), torch.rand(4, 40, dtype=torch.float64)
    parameters = [hidden, *head.parameters()]
    out, expected = head(hidden, MASK), definition(head, hidden, MASK)
    torch.testing.assert_close(out, expected)
    found = torch.autograd.grad((out * weights).sum(), parameters)
    wanted = torch.autograd.grad((expected * weights).sum(), parameters)
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want)
    assert (out[2] == 0).all()
    torch.testing.assert_close(head(hidden), definition(head, hidden, torch.ones(4, 5)))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("agg", ["max", "sum"])
def test_first_and_second_derivatives(agg: str) -> None:
    head = make(agg, torch.float64)
    hidden = states(torch.float64).requires_grad_()

    def call(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(head, {"linear.weight": weight, "linear.bias": bias}, (hidden, MASK))

    arguments = (hidden, *(p.detach().requires_grad_() for p in head.parameters()))
    assert torch.autograd.gradcheck(call, arguments)
    assert torch.autograd.gradgradcheck(call, arguments)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float32])
def test_mask_of_any_dtype(dtype: torch.dtype) -> None:
    assert torch.equal(make()(states(), MASK.to(dtype)), make()(states(), MASK))


def test_padding_changes_nothing() -> None:
    hidden = states()
    other = torch.where(MASK.bool().unsqueeze(-1), hidden, torch.full_like(hidden, 1e6))
    assert torch.equal(make()(hidden, MASK), make()(other, MASK))


@pytest.mark.parametrize("agg", ["max", "sum"])
def test_nan_of_padding_goes_nowhere(agg: str) -> None:
    head, hidden = make(agg=agg), states()
    mask = MASK.bool().clone()
    mask[0] = False
    padded = torch.where(mask.unsqueeze(-1), hidden, torch.nan).requires_grad_()
    weights = head(padded, mask)
    grads = torch.autograd.grad(weights.sum(), (padded, *head.parameters()))
    assert weights.isfinite().all()
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("top_k", [1, 3, 39, 40, 100])
def test_pruning(top_k: int) -> None:
    head, pruned = make(dtype=torch.float64), make(dtype=torch.float64, top_k=top_k)
    hidden = states(torch.float64).requires_grad_()
    every, kept = head(hidden, MASK), pruned(hidden, MASK)
    assert ((kept != 0).sum(1) <= top_k).all()
    least = every.topk(min(top_k, 40), 1).values[:, -1:]
    torch.testing.assert_close(kept, torch.where(every >= least, every, 0.0))
    (grad,) = torch.autograd.grad(kept.sum(), hidden)
    (expected,) = torch.autograd.grad(torch.where(every >= least, every, 0.0).sum(), hidden)
    torch.testing.assert_close(grad, expected)


def test_equal_weights_are_kept_by_index() -> None:
    weights = torch.tensor([[1.0, 2, 1, 1, 2, 1], [0, 0, 0, 0, 0, 0], [5, 5, 5, 5, 5, 5]])
    kept = sparse.keep_largest(weights, 3)
    assert kept.tolist() == [[1, 2, 0, 0, 2, 0], [0] * 6, [5, 5, 5, 0, 0, 0]]
    assert sparse.keep_largest(weights, 0).tolist() == [[0] * 6] * 3


def test_pruning_hides_no_nan() -> None:
    weights = torch.tensor([[1.0, torch.nan, 3, torch.inf], [torch.nan, 2, torch.nan, 1]])
    kept = sparse.keep_largest(weights, 2)
    torch.testing.assert_close(
        kept, torch.tensor([[0, torch.nan, 0, torch.inf], [torch.nan, 0, torch.nan, 0]]), equal_nan=True
    )
    assert sparse.keep_largest(weights, 1).isnan().sum(1).tolist() == [1, 1]


@pytest.mark.parametrize("agg", ["max", "sum"])
def test_encode_is_the_rows_that_an_index_takes(agg: str) -> None:
    head = make(agg, top_k=7)
    rows = head.encode(states().requires_grad_(), MASK)
    assert rows.layout == torch.sparse_csr
    assert not rows.requires_grad
    assert torch.equal(rows.to_dense(), head(states(), MASK))
    assert (rows.values() > 0).all()
    index = wh.retrieval.SparseIndex(rows)
    scores, indices = index.search(rows, 1)
    products = head(states(), MASK) @ head(states(), MASK).T
    assert indices[:2, 0].tolist() == products[:2].argmax(1).tolist()
    torch.testing.assert_close(scores[:2, 0], products[:2].max(1).values)
    assert indices[2, 0] == -1


@pytest.mark.parametrize("agg", ["max", "sum"])
def test_empty(agg: str) -> None:
    head = make(agg)
    for shape in ((0, 5, 6), (3, 0, 6), (0, 0, 6)):
        hidden = torch.zeros(shape, requires_grad=True)
        weights = head(hidden)
        assert weights.shape == (shape[0], 40)
        assert not weights.any()
        weights.sum().backward()
        assert hidden.grad.shape == shape
        assert head.encode(hidden)._nnz() == 0
    assert not head.linear.weight.grad.any()


@pytest.mark.parametrize("agg", ["max", "sum"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves(agg: str, dtype: torch.dtype) -> None:
    head, wide = make(agg, dtype), make(agg)
    wide.load_state_dict({name: value.float() for name, value in head.state_dict().items()})
    out = head(states(dtype), MASK)
    assert out.dtype == dtype
    tolerance = 0.03 if dtype == torch.bfloat16 else 0.005
    torch.testing.assert_close(out.float(), wide(states(dtype).float(), MASK), rtol=tolerance, atol=tolerance)
    out.float().sum().backward()
    wide(states(dtype).float(), MASK).sum().backward()
    for got, want in zip(head.parameters(), wide.parameters(), strict=True):
        assert got.grad.dtype == dtype
        # Rounding may let another of two tokens win.
        close = torch.isclose(got.grad.float(), want.grad, rtol=4 * tolerance, atol=4 * tolerance)
        assert close.float().mean() > (0.95 if agg == "max" else 0.999)


@pytest.mark.parametrize("agg", ["max", "sum"])
def test_autocast(agg: str) -> None:
    head = make(agg)
    with torch.autocast("cpu", torch.bfloat16):
        out = head(states(), MASK)
        rows = head.encode(states(), MASK)
    assert out.dtype == rows.dtype == torch.bfloat16
    assert torch.equal(rows.to_dense(), out)
    torch.testing.assert_close(out.float(), head(states(), MASK), rtol=0.05, atol=0.05)
    out.float().sum().backward()
    assert head.linear.weight.grad.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        head(states(torch.float64).float(), MASK)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("agg", ["max", "sum"])
@pytest.mark.parametrize("top_k", [None, 5])
def test_compile(agg: str, top_k: int | None) -> None:
    head = make(agg, top_k=top_k)
    other = copy.deepcopy(head)
    hidden, weights = states(), torch.rand(4, 40)
    expected = head(hidden, MASK)
    (expected * weights).sum().backward()
    torch._dynamo.reset()
    out = torch.compile(other, fullgraph=True, backend="aot_eager")(hidden, MASK)
    (out * weights).sum().backward()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(other.linear.weight.grad, head.linear.weight.grad)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_autocast_under_compile() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(make(), fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compiled(states(), MASK), make()(states(), MASK))


def test_per_sample_gradients() -> None:
    head = make(dtype=torch.float64)
    parameters = dict(head.named_parameters())
    hidden = states(torch.float64)

    def loss(parameters: dict[str, Tensor], row: Tensor, mask: Tensor) -> Tensor:
        return torch.func.functional_call(head, parameters, (row[None], mask[None])).sum()

    grads = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, hidden, MASK)
    (expected,) = torch.autograd.grad(definition(head, hidden, MASK)[0].sum(), [head.linear.weight])
    torch.testing.assert_close(grads["linear.weight"][0], expected)


def test_copies() -> None:
    head = make(top_k=3)
    stream = io.BytesIO()
    torch.save(head.state_dict(), stream)
    stream.seek(0)
    loaded = wh.nn.SparseEncoderHead(6, 40, top_k=3)
    loaded.load_state_dict(torch.load(stream))
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head)), loaded):
        assert torch.equal(other(states(), MASK), head(states(), MASK))
    assert "hidden_size=6, vocab_size=40, agg='max', top_k=3" in repr(head)


def test_tied_weights() -> None:
    embedding = torch.nn.Embedding(40, 6)
    head = make()
    head.linear.weight = embedding.weight
    head(embedding(torch.arange(5)[None])).sum().backward()
    assert embedding.weight.grad.abs().sum() > 0


def test_meta() -> None:
    head = wh.nn.SparseEncoderHead(6, 40, device="meta")
    assert head(torch.empty(2, 5, 6, device="meta")).shape == (2, 40)


def test_learns_to_be_sparse() -> None:
    """The regulariser takes weights away and leaves what tells rows apart."""
    torch.manual_seed(0)
    head = wh.nn.SparseEncoderHead(16, 200)
    hidden = torch.randn(30, 4, 16)
    before = (head(hidden) > 0).float().mean()
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    for _ in range(150):
        weights = head(hidden)
        loss = torch.nn.functional.cross_entropy(weights @ weights.T, torch.arange(30)) + 0.05 * wh.losses.flops(
            weights
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = head(hidden)
    assert (weights > 0).float().mean() < before / 3
    assert ((weights @ weights.T).argmax(1) == torch.arange(30)).all()


def test_refusals() -> None:
    new, head, hidden = wh.nn.SparseEncoderHead, make(), states()
    with pytest.raises(ValueError, match="hidden_size must be at least 1"):
        new(0, 5)
    with pytest.raises(TypeError, match="vocab_size must be an int"):
        new(3, 5.0)
    with pytest.raises(ValueError, match="agg must be one of max, sum; got 'mean'"):
        new(3, 5, agg="mean")
    with pytest.raises(ValueError, match="agg must be one of max, sum; got array"):
        new(3, 5, agg=np.array(["max", "sum"]))
    for dtype in ("float32", torch.int32, torch.complex64):
        with pytest.raises(TypeError, match=rf"dtype must be a floating torch.dtype, got {dtype}"):
            new(3, 5, dtype=dtype)
    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(head, (hidden,), (hidden,))
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"graphs of torch.compile hold no CSR tensors"):
        torch.compile(lambda x: head.encode(x), fullgraph=True, backend="aot_eager")(hidden)
    with pytest.raises(TypeError, match="bias must be a bool, got str"):
        new(3, 5, bias="no")
    with pytest.raises(ValueError, match="top_k must be at least 1, got 0"):
        new(3, 5, top_k=0)
    for bad, error, text in (
        ([1.0], TypeError, "hidden must be a torch tensor, got list"),
        (hidden.long(), TypeError, "hidden must have a floating dtype"),
        (hidden[0], ValueError, r"hidden must be \[B, L, 6\], got \[5, 6\]"),
        (hidden[..., :5], ValueError, r"hidden must be \[B, L, 6\]"),
        (hidden.double(), TypeError, r"hidden is torch\.float64 and the layer's weight torch\.float32"),
        (hidden.to("meta"), ValueError, "hidden is on meta"),
        (hidden.to_sparse(), TypeError, "hidden must be a dense tensor"),
    ):
        with pytest.raises(error, match=text):
            head(bad)
    for bad, error, text in (
        (MASK.tolist(), TypeError, "attention_mask must be a torch tensor, got list"),
        (MASK[:3], ValueError, r"attention_mask must be \[4, 5\] as hidden, got \[3, 5\]"),
        (MASK.to("meta"), ValueError, "attention_mask is on meta"),
    ):
        with pytest.raises(error, match=text):
            head(hidden, bad)
