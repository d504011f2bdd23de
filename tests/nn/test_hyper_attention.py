# SPDX-License-Identifier: Apache-2.0
"""HyperAttention: exact where it must be, unbiased elsewhere, its error, causality, derivatives, states, bad input."""

from __future__ import annotations

import io
import math

import pytest
import torch
import warphash as wh
from torch import Tensor
from torch.nn import functional

DIM = 16


def _rows(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _qkv(*shape: int, keys: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    *leading, queries, dim = shape
    own = keys or queries
    return (
        _rows(*leading, queries, dim, seed=1, dtype=dtype),
        _rows(*leading, own, dim, seed=2, dtype=dtype),
        _rows(*leading, own, dim, seed=3, dtype=dtype),
    )


def _exact(q: Tensor, k: Tensor, v: Tensor, causal: bool = False, scale: float | None = None) -> tuple[Tensor, Tensor]:
    logits = q.double() @ k.double().mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        logits = logits.masked_fill(torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
    return logits.softmax(-1) @ v.double(), logits.logsumexp(-1)


_TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.bfloat16: 3e-2, torch.float16: 4e-3}


# ---- exact ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", list(_TOLERANCE))
@pytest.mark.parametrize(("queries", "keys", "values"), [(50, 50, DIM), (33, 70, DIM), (1, 128, 9), (20, 1, DIM)])
def test_one_block_is_exact(dtype, queries, keys, values):
    q, k, _ = _qkv(2, 3, queries, DIM, keys=keys, dtype=dtype)
    v = _rows(2, 3, keys, values, seed=4, dtype=dtype)
    out, lse = wh.nn.HyperAttention(DIM, block_size=128)(q, k, v, return_lse=True)
    expected = _exact(q, k, v)
    assert (out.dtype, lse.dtype) == (dtype, torch.float64 if dtype == torch.float64 else torch.float32)
    assert (out.double() - expected[0]).abs().max() < _TOLERANCE[dtype]
    assert (lse.double() - expected[1]).abs().max() < max(_TOLERANCE[dtype], 1e-5 if dtype != torch.float64 else 0)


@pytest.mark.parametrize("length", [1, 2, 64, 100])
def test_a_short_causal_call_is_exact(length):
    q, k, v = _qkv(2, 3, length, DIM, dtype=torch.float64)
    layer = wh.nn.HyperAttention(DIM, block_size=8, min_seq_len=100)
    out, lse = layer(q, k, v, causal=True, return_lse=True, scale=0.7)
    expected = _exact(q, k, v, True, 0.7)
    torch.testing.assert_close(out, expected[0])
    torch.testing.assert_close(lse, expected[1])


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_of_an_exact_call_whose_log_sum_exp_nobody_uses(causal):
    layer = wh.nn.HyperAttention(DIM, block_size=64)
    inputs = [x.requires_grad_() for x in _qkv(2, 2, 60, DIM)]
    upper = _rows(2, 2, 60, DIM, seed=9)
    found = torch.autograd.grad(layer(*inputs, causal=causal), inputs, upper)
    wanted = torch.autograd.grad(functional.scaled_dot_product_attention(*inputs, is_causal=causal), inputs, upper)
    for got, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("length", [65, 130, 257])
@pytest.mark.parametrize("strict", [False, True])
def test_halving_with_exact_squares_is_exact(length, strict):
    """Squares of at most one block: only the pieces and their merging are left to go wrong."""
    q, k, v = _qkv(1, 2, length, DIM, dtype=torch.float64)
    layer = wh.nn.HyperAttention(DIM, block_size=512, min_seq_len=16, strict_causal=strict)
    out, lse = layer(q, k, v, causal=True, return_lse=True)
    expected = _exact(q, k, v, True)
    torch.testing.assert_close(out, expected[0])
    torch.testing.assert_close(lse, expected[1])


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(60, 60), (37, 61), (5, 100), (100, 33)])
def test_every_key_sampled_once_is_exact(strict, queries, keys):
    q, k, v = _qkv(3, queries, DIM, keys=keys, dtype=torch.float64)
    every = torch.arange(keys).expand(3, keys)
    planes = wh.lsh.random_planes(DIM, 5, seed=0)
    out, lse = wh.nn.hyper_attention(q, k, v, planes, every, block_size=16, strict=strict)
    expected = _exact(q, k, v)
    torch.testing.assert_close(out, expected[0])
    torch.testing.assert_close(lse, expected[1])


# ---- the estimate --------------------------------------------------------------------------------------------------
def test_the_log_sum_exp_is_unbiased():
    q, k, v = _qkv(1, 200, DIM)
    planes, exact = wh.lsh.random_planes(DIM, 5, seed=0), _exact(q, k, v)[1]
    generator = torch.Generator().manual_seed(7)
    draws = [torch.randint(200, (1, 40), generator=generator) for _ in range(64)]
    mass = torch.stack([wh.nn.hyper_attention(q, k, v, planes, d, block_size=32)[1].double() - exact for d in draws])
    mean = mass.exp().mean((1, 2))  # one number a draw: queries share its positions
    assert abs(mean.mean() - 1) < 3 * mean.std() / 8


def _inputs(kind: str, length: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (_rows(length, dim, seed=seed) for seed in (1, 2, 3))
    # Values with a mean: around zero all that is left of a diffuse answer is the sampling's own error, 1 / sqrt(M).
    v = v + 0.5
    if kind == "half":
        return q / 2, k / 2, v
    if kind == "clusters":
        centres = 3 * _rows(32, dim, seed=4)
        which = torch.randint(32, (2, length), generator=torch.Generator().manual_seed(5))
        return (q + centres[which[0]]) / 2, (k + centres[which[1]]) / 2, v
    if kind == "pairs":
        k = 1.5 * k
        partner = torch.randperm(length, generator=torch.Generator().manual_seed(6))
        return k[partner] + 0.1 * q, k, v
    return q, k, v


def _errors(kind: str, length: int = 2048, dim: int = 64) -> tuple[float, float, float]:
    """(operator norm of the error over that of A times V's; Frobenius error by hashes and by random blocks)."""
    q, k, v = _inputs(kind, length, dim)
    weights = (q.double() @ k.double().mT * dim**-0.5).softmax(-1)
    exact = weights @ v.double()
    layer = wh.nn.HyperAttention(dim)
    out = layer(q[None, None], k[None, None], v[None, None])[0, 0].double()
    # Without planes all codes are equal: blocks in the order of a random permutation.
    shuffled = torch.randperm(length, generator=torch.Generator().manual_seed(8))
    blind = wh.nn.HyperAttention(dim, num_projections=0)
    other = blind(q[None, None], k[None, None, shuffled], v[None, None, shuffled])[0, 0].double()
    norm = torch.linalg.matrix_norm
    eps = norm(out - exact, 2) / (norm(weights, 2) * norm(v.double(), 2))
    return eps.item(), (norm(out - exact) / norm(exact)).item(), (norm(other - exact) / norm(exact)).item()


@pytest.mark.parametrize("kind", ["half", "normal", "clusters", "pairs"])
def test_errors_on_four_kinds_of_input(kind):
    eps, by_hash, by_chance = _errors(kind)
    assert eps <= 0.15
    assert by_hash <= by_chance * 1.05
    if kind == "pairs":
        assert by_hash <= 0.6 * by_chance


def test_the_same_call_gives_the_same_answer():
    q, k, v = _qkv(1, 2, 300, DIM)
    layer = wh.nn.HyperAttention(DIM, block_size=32, sample_size=16, min_seq_len=50)
    for causal in (False, True):
        assert torch.equal(layer(q, k, v, causal=causal), layer(q, k, v, causal=causal))
        again = wh.nn.HyperAttention(DIM, block_size=32, sample_size=16, min_seq_len=50)
        assert torch.equal(layer(q, k, v, causal=causal), again(q, k, v, causal=causal))
        other = wh.nn.HyperAttention(DIM, block_size=32, sample_size=16, min_seq_len=50, seed=1)
        assert not torch.equal(layer(q, k, v, causal=causal), other(q, k, v, causal=causal))
    fresh = wh.nn.HyperAttention(DIM, block_size=32, sample_size=16, seed=None)
    assert not torch.equal(fresh(q, k, v), fresh(q, k, v))
    fresh.eval()
    assert torch.equal(fresh(q, k, v), fresh(q, k, v))
    assert torch.equal(fresh(q, k, v), wh.nn.HyperAttention(DIM, block_size=32, sample_size=16)(q, k, v))


# ---- causality -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strict", [False, True])
def test_nothing_leaks_from_the_future(strict):
    q, k, v = _qkv(1, 1, 512, DIM)
    layer = wh.nn.HyperAttention(DIM, block_size=32, sample_size=16, min_seq_len=64, strict_causal=strict)
    before = layer(q, k, v, causal=True)
    for place in (100, 300, 450):
        for name in ("k", "v", *(("q",) if strict else ())):
            changed = {"q": q, "k": k, "v": v}
            changed[name] = changed[name].clone()
            changed[name][0, 0, place] += 3 * _rows(DIM, seed=place)
            after = layer(changed["q"], changed["k"], changed["v"], causal=True)
            assert torch.equal(after[:, :, :place], before[:, :, :place])
            assert not torch.equal(after[:, :, place:], before[:, :, place:])
            if name == "q":  # and a query matters to itself alone
                assert torch.equal(after[:, :, place + 1 :], before[:, :, place + 1 :])


# ---- derivatives ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("width", [6, 4])
def test_derivatives(strict, width):
    q, k, _ = (x.requires_grad_() for x in _qkv(2, 13, 6, keys=19, dtype=torch.float64))
    v = _rows(2, 19, width, seed=9, dtype=torch.float64).requires_grad_()
    planes = wh.lsh.random_planes(6, 3, seed=0)
    positions = torch.randint(19, (2, 5), generator=torch.Generator().manual_seed(1))

    def both(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return wh.nn.hyper_attention(q, k, v, planes, positions, block_size=5, strict=strict)

    assert torch.autograd.gradcheck(both, (q, k, v))
    assert torch.autograd.gradgradcheck(both, (q, k, v))


@pytest.mark.parametrize("strict", [False, True])
def test_causal_derivatives(strict):
    layer = wh.nn.HyperAttention(4, block_size=3, sample_size=2, min_seq_len=4, strict_causal=strict)
    inputs = tuple(x.requires_grad_() for x in _qkv(1, 2, 11, 4, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda *x: layer(*x, causal=True, return_lse=True), inputs)


def test_parts_of_tiles_change_nothing(monkeypatch):
    """Gradients of keys are summed over parts: with one tile a part as with all at once."""
    from warphash.nn import attention_blocks

    inputs = tuple(x.requires_grad_() for x in _qkv(1, 2, 300, DIM, dtype=torch.float64))
    layer = wh.nn.HyperAttention(DIM, block_size=32, sample_size=16)
    found = []
    for size in (1, 1 << 30):
        monkeypatch.setattr(attention_blocks, "PART_BYTES", size)
        out = layer(*inputs)
        found.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


# ---- torch ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("causal", [False, True])
def test_autocast_decides_once_at_the_door(causal):
    layer = wh.nn.HyperAttention(DIM, block_size=16, sample_size=8, min_seq_len=32)
    q, k, v = (x.requires_grad_() for x in _qkv(1, 2, 100, DIM))
    with torch.autocast("cpu", torch.bfloat16):
        out, lse = layer(q, k, v.bfloat16(), causal=causal, return_lse=True)
    half = [x.detach().bfloat16().requires_grad_() for x in (q, k, v)]
    want, want_lse = layer(*half, causal=causal, return_lse=True)
    assert (out.dtype, lse.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(out, want)
    assert torch.equal(lse, want_lse)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(out.square().sum() + lse.sum(), (q, k))
    wanted = torch.autograd.grad(want.square().sum() + want_lse.sum(), half[:2])
    for got, expected in zip(found, wanted, strict=True):
        assert torch.equal(got.bfloat16(), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_torch_func(causal):
    layer = wh.nn.HyperAttention(DIM, block_size=16, sample_size=8, min_seq_len=32)
    q, k, v = _qkv(3, 2, 100, DIM, dtype=torch.float64)

    def loss(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, lse = layer(q[None], k[None], v[None], causal=causal, return_lse=True)
        return out.square().sum() + lse.sin().sum()

    answers = torch.vmap(loss)(q, k, v)
    gradients = torch.vmap(torch.func.grad(loss, argnums=(0, 1, 2)))(q, k, v)
    for i in range(3):
        one = [x[i].clone().requires_grad_() for x in (q, k, v)]
        wanted = loss(*one)
        assert torch.equal(answers[i], wanted)
        for got, expected in zip(gradients, torch.autograd.grad(wanted, one), strict=True):
            torch.testing.assert_close(got[i], expected)


@pytest.mark.parametrize("causal", [False, True])
def test_compiles_whole(causal):
    inputs = tuple(x.requires_grad_() for x in _qkv(1, 2, 200, DIM))
    layer = wh.nn.HyperAttention(DIM, block_size=32, sample_size=16, min_seq_len=64)
    eager = layer(*inputs, causal=causal)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")(*inputs, causal=causal)
    torch.testing.assert_close(compiled, eager)
    for a, b in zip(torch.autograd.grad(compiled.sum(), inputs), torch.autograd.grad(eager.sum(), inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_states_carry_seed_and_scheme():
    saved = wh.nn.HyperAttention(DIM).state_dict()
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    wh.nn.HyperAttention(DIM).load_state_dict(torch.load(file, weights_only=True))
    with pytest.raises(ValueError, match=r"^state_dict was made with .*'seed': 0"):
        wh.nn.HyperAttention(DIM, seed=1).load_state_dict(saved)
    layer = wh.nn.HyperAttention(DIM)
    assert layer.half().planes.dtype == torch.float32
    assert torch.equal(layer.planes, saved["planes"])


# ---- bad input -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_projections": 17}, ValueError, r"^num_projections must be at most 16, got 17"),
        ({"num_projections": -1}, ValueError, r"^num_projections must be at least 0"),
        ({"block_size": 0}, ValueError, r"^block_size must be at least 1"),
        ({"sample_size": 1.5}, TypeError, r"^sample_size must be an int, got float"),
        ({"min_seq_len": 0}, ValueError, r"^min_seq_len must be at least 1"),
        ({"strict_causal": 1}, TypeError, r"^strict_causal must be a bool, got int"),
        ({"seed": -3}, ValueError, r"^seed must be at least 0"),
    ],
)
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        wh.nn.HyperAttention(DIM, **options)


_Q, _K, _V = _qkv(1, 2, 9, DIM)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((_Q[0], _K, _V), {}, ValueError, r"^q must be \[b, h, nq, d\]"),
        ((_Q, _K[0], _V), {}, ValueError, r"^k must be \[b, h, nk, d\]"),
        ((_Q, _K, _V.numpy()), {}, TypeError, r"^v must be a torch tensor, got ndarray"),
        ((_Q.int(), _K, _V), {}, TypeError, r"^q must be float16"),
        ((_Q, _K.double(), _V), {}, TypeError, r"^k must have the dtype of q"),
        ((_Q, _K[:, :1], _V), {}, ValueError, r"^k must have the leading dimensions of q"),
        ((_Q[..., :3], _K, _V), {}, ValueError, r"^q must have d = 16"),
        ((_Q, _K, _V[:, :, 1:]), {}, ValueError, r"^v must have the nk = 9 rows of k"),
        ((_Q, _K[:, :, :0], _V[:, :, :0]), {}, ValueError, r"^k must have at least one row"),
        ((_Q[:, :, :5], _K, _V), {"causal": True}, ValueError, r"^k must have the nq = 5 rows of q in a causal call"),
        ((_Q, _K, _V), {"scale": "1"}, TypeError, r"^scale must be a real number"),
        ((_Q, _K, _V), {"scale": math.inf}, ValueError, r"^scale must be finite"),
        ((_Q, _K, _V), {"causal": "yes"}, TypeError, r"^causal must be a bool, got str"),
        ((_Q, _K, _V), {"return_lse": 1}, TypeError, r"^return_lse must be a bool, got int"),
        ((_Q.to_sparse(), _K, _V), {}, TypeError, r"^q must be a dense tensor"),
    ],
)
def test_bad_calls(arguments, options, error, text):
    with pytest.raises(error, match=text):
        wh.nn.HyperAttention(DIM)(*arguments, **options)


def test_bad_positions():
    planes = wh.lsh.random_planes(DIM, 3, seed=0)
    with pytest.raises(TypeError, match=r"^positions must be an int64 tensor, got torch.int32"):
        wh.nn.hyper_attention(_Q, _K, _V, planes, torch.zeros(1, 2, 4, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"^positions must be \[..., M\] beside q"):
        wh.nn.hyper_attention(_Q, _K, _V, planes, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(IndexError, match=r"^positions must be in \[0, 9\), got 9"):
        wh.nn.hyper_attention(_Q, _K, _V, planes, torch.full((1, 2, 4), 9), block_size=4)


def test_no_queries():
    layer = wh.nn.HyperAttention(DIM, block_size=4)
    out, lse = layer(_Q[:, :, :0], _K, _V, return_lse=True)
    assert (out.shape, lse.shape) == ((1, 2, 0, DIM), (1, 2, 0))
    assert layer(_Q[:0], _K[:0], _V[:0]).shape == (0, 2, 9, DIM)
    assert layer(_Q[:, :, :0], _K[:, :, :0], _V[:, :, :0], causal=True).shape == (1, 2, 0, DIM)


@pytest.mark.parametrize("causal", [False, True])
def test_values_of_no_width(causal):
    layer = wh.nn.HyperAttention(DIM, block_size=16, sample_size=8, min_seq_len=32)
    q, k, v = _qkv(1, 2, 100, DIM)
    inputs = [q.requires_grad_(), k, v[..., :0].requires_grad_()]
    out, lse = layer(*inputs, causal=causal, return_lse=True)
    assert out.shape == (1, 2, 100, 0)
    torch.testing.assert_close(lse, layer(q, k, v, causal=causal, return_lse=True)[1])
    assert torch.autograd.grad(lse.sum() + out.sum(), q)[0].isfinite().all()
