# SPDX-License-Identifier: Apache-2.0
"""HashHead: values and gradients against the formulas, and everything a torch module is expected to survive."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
import warphash as wh

BINARIZERS = ("sign_ste", "tanh", "bihalf", "bn_sign")


def make(binarizer: str, in_features: int = 12, bits: int = 20, **options: object) -> wh.nn.HashHead:
    torch.manual_seed(1)
    return wh.nn.HashHead(in_features, bits, binarizer=binarizer, **options)


def inputs(rows: int = 9, in_features: int = 12, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(rows, in_features, generator=torch.Generator().manual_seed(2)).to(dtype)


@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_eval_gives_signs_and_encode_packs_them(binarizer: str) -> None:
    head = make(binarizer)
    x = inputs()
    head(x)  # lets a batch norm collect statistics
    codes = head.eval()(x)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    packed = head.encode(x)
    assert packed.dtype == torch.uint8
    assert packed.shape == (9, 3)
    assert torch.equal(wh.hamming.unpack(packed, 20), codes > 0)
    assert torch.equal(head.train().encode(x), packed)


@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_encode_changes_no_state(binarizer: str) -> None:
    head = make(binarizer)
    before = copy.deepcopy(head.state_dict())
    assert not head.encode(inputs().requires_grad_()).requires_grad
    assert all(torch.equal(before[key], value) for key, value in head.state_dict().items())


def test_sign_of_zero_is_plus_one_and_of_nan_minus_one() -> None:
    head = wh.nn.HashHead(3, 3, bias=False).eval()
    with torch.no_grad():
        head.linear.weight.copy_(torch.eye(3))
    x = torch.tensor([[0.0, -0.0, -1e-30]])
    assert head(x).tolist() == [[1.0, 1.0, -1.0]]
    assert head.encode(x).tolist() == [[0b011]]
    assert head.train()(x).tolist() == [[1.0, 1.0, -1.0]]
    x = torch.full((1, 3), float("nan"))
    assert head.eval()(x).tolist() == [[-1.0] * 3]
    assert head.encode(x).tolist() == [[0]]


@pytest.mark.parametrize("clipped", [False, True])
def test_sign_ste_gradient(clipped: bool) -> None:
    head = make("sign_ste", clipped=clipped).double()
    x = inputs(dtype=torch.float64) * 2
    u = head.project(x).detach().requires_grad_()
    weights = torch.randn(u.shape, dtype=u.dtype)
    codes = head.binarize(u)
    assert torch.equal(codes.detach(), torch.where(u >= 0, 1.0, -1.0).double())
    (codes * weights).sum().backward()
    assert (u.abs() > 1).any()
    assert (u.abs() < 1).any()
    assert torch.equal(u.grad, torch.where(u.abs() <= 1, weights, 0.0) if clipped else weights)


def test_tanh_is_differentiable_and_beta_sharpens_it() -> None:
    head = make("tanh").double()
    x = inputs(dtype=torch.float64)
    head.set_beta(3.0)
    assert torch.allclose(head(x), torch.tanh(3 * head.linear(x)))
    assert torch.autograd.gradcheck(head, (x.requires_grad_(),))
    other = make("tanh").double()
    other.load_state_dict(head.state_dict())
    assert other.beta == 3.0
    head.set_beta(1e6)
    assert torch.allclose(head(x), head.eval()(x))


@pytest.mark.parametrize("rows", [1, 2, 7, 8])
def test_bihalf_halves_every_bit(rows: int) -> None:
    head = make("bihalf").double()
    u = head.project(inputs(rows, dtype=torch.float64)).detach().requires_grad_()
    codes = head.binarize(u)
    assert ((codes == 1).sum(0) == rows // 2).all()
    assert (codes.abs() == 1).all()
    for bit in range(u.shape[1]):
        plus, minus = u[codes[:, bit] > 0, bit], u[codes[:, bit] < 0, bit]
        assert not len(plus) or plus.min() >= minus.max()
    weights = torch.randn(u.shape, dtype=u.dtype)
    (codes * weights).sum().backward()
    assert torch.allclose(u.grad, weights + 6.0 / u.numel() * (u - codes).detach())


def test_bihalf_splits_ties_by_row() -> None:
    head = make("bihalf")
    codes = head.binarize(torch.zeros(5, 20))
    assert (codes[:2] == 1).all()
    assert (codes[2:] == -1).all()


def test_bn_sign_balances_bits_and_keeps_running_statistics() -> None:
    head = make("bn_sign")
    x = inputs(400) + 3
    assert head(x).mean(0).abs().max() < 0.25  # a plain sign would be far off balance
    assert make("sign_ste")(x).mean(0).abs().max() > 0.5
    for _ in range(60):
        head(x)
    u = head.linear(x)
    expected = (u - u.mean(0)) / (u.var(0) + head.norm.eps).sqrt()
    sure = expected.abs() > 0.05
    assert torch.equal(head.eval()(x)[sure], torch.where(expected >= 0, 1.0, -1.0)[sure])


@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_leading_dimensions_are_one_batch(binarizer: str) -> None:
    head = make(binarizer)
    x = inputs(24)
    folded = x.reshape(2, 3, 4, 12)
    assert torch.equal(head(folded), head(x).reshape(2, 3, 4, 20))
    assert torch.equal(head.encode(folded), head.encode(x).reshape(2, 3, 4, 3))


@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_empty_batch(binarizer: str) -> None:
    head = make(binarizer).eval()
    assert head(inputs(0)).shape == (0, 20)
    assert head.encode(inputs(0)).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_dtypes(binarizer: str, dtype: torch.dtype) -> None:
    head = make(binarizer).to(dtype)
    x = inputs(dtype=dtype)
    codes = head(x)
    assert codes.dtype == dtype
    codes.sum().backward()
    assert head.linear.weight.grad.dtype == dtype
    assert torch.equal(wh.hamming.unpack(head.encode(x), 20), head.eval()(x) > 0)


def test_autocast() -> None:
    head = make("sign_ste")
    with torch.autocast("cpu", torch.bfloat16):
        codes = head(inputs())
        packed = head.encode(inputs())
    assert codes.dtype == torch.bfloat16
    assert torch.equal(wh.hamming.unpack(packed, 20), codes > 0)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # as below
def test_autocast_under_compile() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(make("sign_ste"), fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compiled(inputs()), make("sign_ste")(inputs()))


@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_copies_keep_the_codes(binarizer: str) -> None:
    head = make(binarizer)
    x = inputs()
    head(x)
    expected = head.encode(x)
    stream = io.BytesIO()
    torch.save(head.state_dict(), stream)
    stream.seek(0)
    loaded = wh.nn.HashHead(12, 20, binarizer=binarizer)
    loaded.load_state_dict(torch.load(stream))
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head)), loaded):
        assert torch.equal(other.encode(x), expected)
        assert torch.equal(other(x), head(x))


@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_meta_device(binarizer: str) -> None:
    with torch.device("meta"):
        head = wh.nn.HashHead(12, 20, binarizer=binarizer)
    x = torch.empty(5, 12, device="meta")
    assert head(x).shape == (5, 20)
    assert head(x).is_meta
    codes = head.encode(x)
    assert codes.is_meta
    assert codes.shape == (5, 3)
    assert codes.dtype == torch.uint8


# Dynamo itself instantiates torch.autograd.Function while tracing one.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_compile_in_training(binarizer: str) -> None:
    head = make(binarizer)
    other = copy.deepcopy(head)
    x, weights = inputs(), inputs(9, 20)
    (head(x) * weights).sum().backward()
    torch._dynamo.reset()
    codes = torch.compile(other, fullgraph=True, backend="aot_eager")(x)
    (codes * weights).sum().backward()
    torch.testing.assert_close(codes, make(binarizer)(x))
    torch.testing.assert_close(other.linear.weight.grad, head.linear.weight.grad)


def test_compile_follows_beta_without_recompiling() -> None:
    head = make("tanh")
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    torch._dynamo.reset()
    compiled(inputs())
    with torch._dynamo.config.patch(error_on_recompile=True):
        head.set_beta(5.0)
        torch.testing.assert_close(compiled(inputs()), torch.tanh(5 * head.linear(inputs())))


@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_compile_and_export_encode(binarizer: str) -> None:
    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = make(binarizer)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head.encode(x)

    encoder = Encoder().eval()
    expected = encoder(inputs())
    torch._dynamo.reset()
    assert torch.equal(torch.compile(encoder, fullgraph=True, backend="aot_eager")(inputs()), expected)
    exported = torch.export.export(encoder, (inputs(),), dynamic_shapes={"x": {0: torch.export.Dim("rows", min=2)}})
    assert torch.equal(exported.module()(inputs()), expected)
    assert torch.equal(exported.module()(inputs(30)), encoder(inputs(30)))


def test_per_sample_gradients() -> None:
    head = make("sign_ste")
    parameters = dict(head.named_parameters())
    x = inputs()

    def loss(parameters: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        return (torch.func.functional_call(head, parameters, (row[None],)) * torch.arange(20.0)).sum()

    grads = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    torch.testing.assert_close(grads["linear.weight"], torch.arange(20.0)[None, :, None] * x[:, None, :])


@pytest.mark.parametrize("binarizer", ["sign_ste", "bihalf"])
def test_forward_mode_is_refused(binarizer: str) -> None:
    head, x = make(binarizer), inputs()
    with pytest.raises(NotImplementedError, match="forward mode"):
        torch.func.jvp(head, (x,), (x,))


def test_tanh_knows_forward_mode() -> None:
    head, x = make("tanh").double(), inputs(dtype=torch.float64)
    jacobian = torch.func.jacrev(head)(x)
    torch.testing.assert_close(torch.func.jacfwd(head)(x), jacobian)


def test_batch_statistics_under_transforms() -> None:
    head, x, weights = make("bn_sign"), inputs(), inputs(9, 20)
    parameters = dict(head.named_parameters())

    def loss(parameters: dict[str, torch.Tensor], own_statistics: bool) -> torch.Tensor:
        buffers = {name: buffer.clone() for name, buffer in head.named_buffers()} if own_statistics else {}
        return (torch.func.functional_call(head, {**parameters, **buffers}, (x,)) * weights).sum()

    with pytest.raises(RuntimeError, match="in-place"):
        torch.func.grad(loss)(parameters, False)
    gradients = torch.func.grad(loss)(parameters, True)
    other = make("bn_sign")
    (other(x) * weights).sum().backward()
    torch.testing.assert_close(gradients["linear.weight"], other.linear.weight.grad)
    with pytest.raises(RuntimeError, match="running_mean"):
        torch.func.vmap(head)(torch.stack([x, x]))
    head.norm.eval()
    codes = torch.func.vmap(head)(torch.stack([x, x]))
    assert torch.equal(codes[0], head(x))


def test_numbers_of_numpy() -> None:
    head = wh.nn.HashHead(np.int64(4), np.int32(8), binarizer="tanh", gamma=np.float32(2))
    head.set_beta(np.float64(3))
    assert head.beta == 3
    assert type(head.bits) is int
    assert type(head.gamma) is float


def test_training_lowers_a_loss() -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    target = torch.where(x[:, :4] @ torch.randn(4, 6) >= 0, 1.0, -1.0)
    for binarizer in BINARIZERS:
        head = wh.nn.HashHead(8, 6, binarizer=binarizer)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
        for _ in range(120):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(head(x), target).backward()
            optimizer.step()
        assert (head.eval()(x) == target).double().mean() > 0.85, binarizer


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"bits": 0}, ValueError, "bits"),
        ({"bits": 8.0}, TypeError, "bits"),
        ({"bits": True}, TypeError, "bits"),
        ({"in_features": -1}, ValueError, "in_features"),
        ({"binarizer": "signum"}, ValueError, "binarizer"),
        ({"binarizer": "tanh", "clipped": True}, ValueError, "clipped"),
        ({"gamma": -1.0}, ValueError, "gamma"),
        ({"gamma": "a"}, TypeError, "gamma"),
        ({"gamma": None}, TypeError, "gamma"),
        ({"bits": "8"}, TypeError, "bits"),
        ({"gamma": float("nan")}, ValueError, "gamma"),
    ],
)
def test_bad_construction(arguments: dict[str, object], error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=name):
        wh.nn.HashHead(**{"in_features": 4, "bits": 8, **arguments})


@pytest.mark.parametrize("method", ["__call__", "encode", "project"])
def test_bad_inputs(method: str) -> None:
    call = getattr(make("sign_ste"), method)
    with pytest.raises(TypeError, match="x must be a torch tensor"):
        call([1.0] * 12)
    with pytest.raises(TypeError, match="floating"):
        call(torch.zeros(2, 12, dtype=torch.int64))
    with pytest.raises(TypeError, match="x must be a dense tensor"):
        call(torch.zeros(2, 12).to_sparse())
    with pytest.raises(TypeError, match="float64"):
        call(torch.zeros(2, 12, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"\[2, 13\]"):
        call(torch.zeros(2, 13))
    with pytest.raises(ValueError, match="meta"):
        call(torch.zeros(2, 12, device="meta"))
    with pytest.raises(TypeError, match="bfloat16"):
        getattr(wh.nn.HashHead(12, 20, device="meta"), method)(torch.zeros(2, 12, device="meta", dtype=torch.bfloat16))


def test_bad_beta() -> None:
    with pytest.raises(ValueError, match="tanh"):
        make("sign_ste").set_beta(2.0)
    for beta in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="beta"):
            make("tanh").set_beta(beta)
    for beta in ("a", None, True, torch.ones(2)):
        with pytest.raises(TypeError, match="beta"):
            make("tanh").set_beta(beta)


@pytest.mark.cuda
@pytest.mark.parametrize("binarizer", BINARIZERS)
def test_cuda_equals_cpu(binarizer: str) -> None:
    head = make(binarizer).double()
    x = inputs(64, dtype=torch.float64)
    expected, packed = head(x), head.encode(x)
    head.cuda()
    torch.testing.assert_close(head(x.cuda()).cpu(), expected)
    assert torch.equal(make(binarizer).double().cuda().encode(x.cuda()).cpu(), make(binarizer).double().encode(x))
    assert packed.shape == (64, 3)
