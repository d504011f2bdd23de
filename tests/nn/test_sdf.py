# SPDX-License-Identifier: Apache-2.0
"""SDFNetwork: distances and normals against autograd through the definition, its first sphere, and its losses."""

from __future__ import annotations

import copy
import pickle
import statistics
from collections.abc import Callable

import pytest
import torch
import warphash as wh
from torch.nn import functional
from warphash.nn import sdf_passes, workers

ACTIVATIONS = ("softplus", "relu")
SPEC = wh.hashgrid.GridSpec(3, levels=3, log2_table_size=7, base_resolution=3, finest_resolution=13)


def make(
    spec: wh.hashgrid.GridSpec = SPEC, dtype: torch.dtype = torch.float64, *, rough: bool = True, **options: object
) -> wh.nn.SDFNetwork:
    """A network; rough: with all weights and the table away from where they begin."""
    torch.manual_seed(1)
    grid = wh.nn.HashGrid(spec, dtype=dtype, init_range=0.3)
    network = wh.nn.SDFNetwork(grid, **{"hidden": 8, **options})
    if rough:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name != "encoding.table":
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def points(*shape: int, dims: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*(shape or (17,)), dims, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(
        dtype
    )


def by_definition(network: wh.nn.SDFNetwork, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Distances, normals, features by autograd through the reference encoding."""
    grid = network.encoding
    x = x if x.requires_grad else x.detach().requires_grad_()
    encoded = wh.hashgrid.reference.encode(x, grid.table, grid.spec, level_weights=grid.level_weights)
    a = torch.cat([2 * (x - network.centre), encoded], -1)
    for layer in network.hidden:
        z = layer(a)
        a = -functional.logsigmoid(-100 * z) / 100 if network.activation == "softplus" else z.relu()
    out = network.head(a)
    (normal,) = torch.autograd.grad(out[..., 0].sum(), x, create_graph=True)
    return out[..., 0], normal, out[..., 1:]


def full_loss(sdf: torch.Tensor, normal: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    weights = torch.linspace(-1, 2, normal.numel(), dtype=normal.dtype).reshape(normal.shape)
    off = wh.nn.eikonal_loss(normal) + (normal * weights).sin().sum()
    return off + (sdf * weights[..., 0]).square().sum() + (sdf[..., None] * features).sum() + features.square().sum()


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "all": full_loss,
    "normals": lambda sdf, normal, features: full_loss(sdf.detach(), normal, features.detach()),
    "distances": lambda sdf, normal, features: full_loss(sdf, normal.detach(), features.detach()),
    "features": lambda sdf, normal, features: (features * normal.detach()[..., :1]).square().sum(),
}


def gradients(loss: torch.Tensor, network: wh.nn.SDFNetwork, *others: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [*network.parameters(), *others], allow_unused=True, materialize_grads=True))


def check_equal(
    network: wh.nn.SDFNetwork, x: torch.Tensor, loss: Callable[..., torch.Tensor], tolerance: float
) -> None:
    """Outputs, loss and all gradients of the one pass are those of autograd's two."""
    found, expected = network.evaluate(x), by_definition(network, x)
    losses = loss(*found), loss(*expected)
    named = zip(
        [*found, losses[0], *gradients(losses[0], network, x)],
        [*expected, losses[1], *gradients(losses[1], network, x)],
        strict=True,
    )
    for index, (one, other) in enumerate(named):
        assert (one - other).norm() <= tolerance * max(other.norm(), 1e-3), index
    assert losses[1] != 0


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_pass_is_autograds_double_backward(activation: str, layers: int, kind: str) -> None:
    network = make(activation=activation, layers=layers, features=2)
    check_equal(network, points().requires_grad_(), LOSSES[kind], 1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("interpolation", ["linear", "smoothstep", "nearest"])
@pytest.mark.parametrize("dims", [1, 2, 4])
def test_dims_and_interpolations(dims: int, interpolation: str, activation: str) -> None:
    spec = wh.hashgrid.GridSpec(
        dims, levels=2, log2_table_size=5, base_resolution=2, finest_resolution=5, interpolation=interpolation
    )
    check_equal(make(spec, activation=activation), points(dims=dims).requires_grad_(), full_loss, 1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32(activation: str) -> None:
    network = make(dtype=torch.float32, activation=activation, hidden=32)
    check_equal(network, points(200, dtype=torch.float32).requires_grad_(), full_loss, 1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("elements", [1, 40, 100])
def test_chunks(elements: int, activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdf_passes, "CPU_CHUNK", elements)  # 1, 4 or 9 points of 17 at a time
    check_equal(make(activation=activation, features=1), points().requires_grad_(), full_loss, 1e-10)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdf_passes, "CPU_CHUNK", 40)
    network, x = make(features=1), points()
    alone = network.evaluate(x), gradients(full_loss(*network.evaluate(x)), network)
    torch.set_num_threads(threads)  # the fixture restores it
    check_equal(network, points().requires_grad_(), full_loss, 1e-10)
    found = network.evaluate(x), gradients(full_loss(*network.evaluate(x)), network)
    for one, other in zip([*found[0], *found[1]], [*alone[0], *alone[1]], strict=True):
        torch.testing.assert_close(one, other)
    assert torch.get_num_threads() == threads
    with torch.inference_mode():
        torch.testing.assert_close(network.evaluate(x).gradient, alone[0].gradient)


def test_threads_hand_on_errors() -> None:
    def work(number: int) -> None:
        assert not torch.is_grad_enabled()
        if number:
            raise KeyError(number)

    for calls in ([(1,)], [(0,), (1,), (0,)]):
        with pytest.raises(KeyError, match="1"):
            workers.run(work, calls)


def test_levels_that_are_off_and_frozen_parameters() -> None:
    network, x = make(), points()
    network.encoding.set_active_levels([1.0, 0.5, 0.0])
    check_equal(network, points().requires_grad_(), full_loss, 1e-10)
    expected = gradients(full_loss(*network.evaluate(x)), network)
    for frozen in (
        ["encoding.table"],
        ["head.weight", "hidden.0.bias"],
        [n for n, _ in network.named_parameters()][1:],
    ):
        network.zero_grad()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name not in frozen)
        full_loss(*network.evaluate(x)).backward()
        for (name, parameter), gradient in zip(network.named_parameters(), expected, strict=True):
            assert (parameter.grad is None) == (name in frozen)
            assert name in frozen or torch.allclose(parameter.grad, gradient, rtol=1e-10)


class Call(torch.nn.Module):
    """A method of a network as a module's forward, for ``functional_call``."""

    def __init__(self, network: wh.nn.SDFNetwork, method: str) -> None:
        super().__init__()
        self.network, self.method = network, method

    def forward(self, x: torch.Tensor) -> object:
        return getattr(self.network, self.method)(x)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_by_differences(activation: str) -> None:
    spec = wh.hashgrid.GridSpec(2, levels=2, log2_table_size=3, base_resolution=2, finest_resolution=5)
    network = make(spec, activation=activation, layers=1, hidden=3, features=1)
    inputs = points(3, dims=2).requires_grad_(), *(p.detach().requires_grad_() for p in network.parameters())

    def call(method: str, x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        module = Call(network, method)
        named = zip((name for name, _ in module.named_parameters()), values, strict=True)
        return torch.func.functional_call(module, dict(named), (x,))

    assert torch.autograd.gradcheck(lambda *i: call("sdf", *i), inputs)
    assert torch.autograd.gradcheck(lambda *i: call("evaluate", *i), inputs)
    assert torch.autograd.gradgradcheck(lambda *i: call("sdf", *i), inputs)


def test_methods_agree_and_keep_the_batch_shape() -> None:
    network, x = make(features=2), points(4, 3, 2)
    sdf, normal, features = network.evaluate(x)
    assert sdf.shape == (4, 3, 2)
    assert normal.shape == (4, 3, 2, 3)
    assert features.shape == (4, 3, 2, 2)
    torch.testing.assert_close(network.sdf(x), sdf)
    assert torch.equal(network.gradient(x), normal)
    assert all(torch.equal(one, other) for one, other in zip(network.sdf_and_gradient(x), (sdf, normal), strict=True))
    distances, second = network(x)
    torch.testing.assert_close(distances, sdf)
    torch.testing.assert_close(second, features)
    plain = make()
    assert torch.equal(plain(x), plain.sdf(x))
    torch.testing.assert_close(plain.sdf(x[0, 0, 0]), plain.sdf(x)[0, 0, 0])


def test_no_points() -> None:
    network = make(features=1)
    sdf, normal, features = network.evaluate(points(2, 0))
    assert (sdf.shape, normal.shape, features.shape) == ((2, 0), (2, 0, 3), (2, 0, 1))
    loss = wh.nn.eikonal_loss(normal) + sdf.sum() + features.sum()
    assert loss == 0
    loss.backward()
    assert all(not parameter.grad.any() for parameter in network.parameters())


def test_the_same_numbers_every_time() -> None:
    network, x = make(dtype=torch.float32, hidden=32), points(5000, dtype=torch.float32)
    first, second = (gradients(full_loss(*network.evaluate(x)), network) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_nothing_as_wide_as_a_hidden_layer_is_kept() -> None:
    network, x = make(hidden=64), points(1000)
    kept: dict[int, int] = {}

    def note(x: torch.Tensor) -> torch.Tensor:
        kept[x.data_ptr()] = x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        network.evaluate(x)
    own = sum(p.numel() for p in network.parameters())
    assert sum(kept.values()) <= own + 1000 * (3 + 2 * SPEC.output_features) + 10


def test_a_second_derivative_of_the_one_pass_is_refused() -> None:
    network, x = make(), points().requires_grad_()
    for value in (network.gradient(x).square().sum(), network.gradient(x).sum(), network.sdf_and_gradient(x)[0].sum()):
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        with pytest.raises(NotImplementedError, match="differentiable once"):
            slope.sum().backward()
    with pytest.raises(NotImplementedError, match="forward mode"):
        torch.func.jvp(network.gradient, (points(),), (points(),))


def test_under_checkpointing() -> None:
    network, x = make(), points()

    def loss(x: torch.Tensor) -> torch.Tensor:
        sdf, normal = network.sdf_and_gradient(x)
        return sdf.abs().mean() + wh.nn.eikonal_loss(normal)

    kept = gradients(torch.utils.checkpoint.checkpoint(loss, x, use_reentrant=False), network)
    for one, other in zip(kept, gradients(loss(x), network), strict=True):
        assert torch.equal(one, other)


def test_what_the_one_pass_cannot_do_is_refused() -> None:
    network, x = make(), points()
    network.encoding.level_weights.requires_grad_()
    with pytest.raises(ValueError, match=r"^level_weights must not require a gradient"):
        network.evaluate(x)
    network = make()
    network.hidden[0] = torch.nn.Sequential(network.hidden[0])
    with pytest.raises(TypeError, match=r"^hidden\[0\] must be a Linear layer.*Sequential"):
        network.evaluate(x)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_compiled_step(activation: str) -> None:
    network, x = make(activation=activation, features=1), points()

    def step(x: torch.Tensor) -> torch.Tensor:
        sdf, normal = network.sdf_and_gradient(x)
        return sdf.abs().mean() + wh.nn.eikonal_loss(normal)

    expected = gradients(step(x), network)
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for one, other in zip(gradients(compiled(x), network), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    with torch._dynamo.config.patch(error_on_recompile=True):
        network.encoding.set_active_levels(1)
        torch.testing.assert_close(compiled(x), step(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_torch_func(compiled: bool) -> None:
    module, x = Call(make(), "sdf_and_gradient"), points(5)
    parameters = dict(module.named_parameters())

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        sdf, normal = torch.func.functional_call(module, parameters, (x,))
        return sdf.abs().mean() + wh.nn.eikonal_loss(normal)

    call = torch.func.grad(loss)
    if compiled:
        torch._dynamo.reset()
        call = torch.compile(call, fullgraph=True, backend="aot_eager")
    # Detached: the compiler else also asks for the derivative of what func.grad gives, which would be a third one.
    found = call({name: parameter.detach() for name, parameter in parameters.items()}, x)
    loss(parameters, x).backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(found[name], parameter.grad)
    single = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x[:, None])
    for name, parameter in parameters.items():
        torch.testing.assert_close(single[name].mean(0), parameter.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_tables(dtype: torch.dtype) -> None:
    network, x = make(dtype=dtype, features=1), points(dtype=torch.float32)
    wide = copy.deepcopy(network).double()
    found, expected = network.evaluate(x), wide.evaluate(x.double())
    assert [y.dtype for y in found] == [torch.float32] * 3
    torch.testing.assert_close(network.sdf(x), found.sdf)
    slack = 4 * torch.finfo(dtype).eps
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= slack * other.norm()
    full_loss(*found).backward()
    full_loss(*expected).backward()
    for one, other in zip(network.parameters(), wide.parameters(), strict=True):
        assert one.grad.dtype == one.dtype
        assert (one.grad - other.grad).norm() <= 5 * slack * other.grad.norm()
    whole = copy.deepcopy(network).to(dtype)  # the MLP too
    assert whole.gradient(x).dtype == torch.float32
    full_loss(*(y.float() for y in whole.evaluate(x))).backward()
    assert whole.head.weight.grad.dtype == dtype


def test_autocast_is_off_inside() -> None:
    network, x = make(dtype=torch.float32), points(dtype=torch.float32)
    expected = network.evaluate(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network.evaluate(x)
        assert network.sdf(x).dtype == torch.float32
        assert network.sdf(x.bfloat16()).dtype == torch.float32
        loss = full_loss(*found)
        found = [*found, *gradients(loss, network)]  # within autocast, against torch's advice
    expected = [*expected, *gradients(full_loss(*expected), network)]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_copies_and_meta_device() -> None:
    network, x = make(features=1), points()
    network.encoding.set_active_levels(2)
    loaded = make(features=1, centre=0.2, rough=False)
    loaded.load_state_dict(network.state_dict())
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), loaded):
        assert all(torch.equal(a, b) for a, b in zip(other.evaluate(x), network.evaluate(x), strict=True))
    with torch.device("meta"):
        meta = wh.nn.SDFNetwork(wh.nn.HashGrid(SPEC), features=1)
    found = meta.evaluate(points(dtype=torch.float32).to("meta"))
    assert [tuple(y.shape) for y in found] == [(17,), (17, 3), (17, 1)]
    assert all(y.is_meta for y in found)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("dims", "layers", "radius", "centre"), [(2, 1, 0.25, 0.5), (3, 2, 0.2, 0.5), (3, 1, 0.3, [0.4, 0.5, 0.6])]
)
def test_begins_as_a_sphere(dims: int, layers: int, radius: float, centre: object, activation: str) -> None:
    spec = wh.hashgrid.GridSpec(dims, levels=2, log2_table_size=7, base_resolution=3, finest_resolution=13)
    network = make(
        spec, rough=False, hidden=64, layers=layers, radius=radius, centre=centre, activation=activation, features=2
    )
    x = points(4000, dims=dims)
    distance = (x - network.centre).norm(dim=1) - radius
    sdf, normal = network.sdf_and_gradient(x)
    assert (sdf - distance).abs().mean() < 0.015
    assert wh.nn.eikonal_loss(normal) < 0.01
    far = distance.abs() > 0.06
    assert torch.equal(sdf[far] > 0, distance[far] > 0)
    assert network.sdf(network.centre) < -0.7 * radius
    other = make(
        spec,
        torch.float32,
        rough=False,
        hidden=64,
        layers=layers,
        radius=radius,
        centre=centre,
        activation=activation,
        features=2,
    )
    torch.testing.assert_close(other.sdf(x.float()).double(), sdf, rtol=0, atol=1e-5)
    plain = make(spec, rough=False, hidden=64, radius=None).sdf(x)
    assert (plain - distance).abs().mean() > 0.05


def test_eikonal_loss() -> None:
    gradient = torch.tensor([[[3.0, 4.0], [0.0, 1.0]], [[0.0, 0.0], [0.6, 0.8]]], requires_grad=True)
    loss = wh.nn.eikonal_loss(gradient)
    torch.testing.assert_close(loss, torch.tensor((16.0 + 0 + 1 + 0) / 4))
    loss.backward()
    assert gradient.grad.isfinite().all()
    for bad, error in (([1.0], TypeError), (torch.tensor(1.0), ValueError)):
        with pytest.raises(error, match="gradient"):
            wh.nn.eikonal_loss(bad)


def test_neus_alpha_at_a_plane() -> None:
    k, step = 200.0, 0.02
    middles = torch.arange(0.01, 1, step, dtype=torch.float64)
    sdf, normal = 0.5 - middles, torch.tensor([-1.0, 0, 0], dtype=torch.float64).expand(50, 3)
    along = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    alpha = wh.nn.neus_alpha(sdf, normal, along, step, k)
    before, after = torch.sigmoid((sdf + step / 2) * k), torch.sigmoid((sdf - step / 2) * k)
    torch.testing.assert_close(alpha, ((before - after + 1e-5) / (before + 1e-5)).clamp(0, 1))
    through = torch.cumprod(torch.cat([torch.ones(1, dtype=torch.float64), 1 - alpha]), 0)
    depth = (through[:-1] * alpha * middles).sum()
    assert through[-1] < 1e-3
    assert abs(depth - 0.5) < 0.01
    # Seen from behind nothing is opaque, unless the cosine is not annealed yet.
    behind = wh.nn.neus_alpha(-sdf, -normal, along, step, k)
    assert behind[middles > 0.6].max() < 1e-4
    half = wh.nn.neus_alpha(-sdf[:1] - 0.5, torch.zeros(1, 3).double(), along, step, k, anneal=0.0)
    early = torch.tensor([0.01 - 1.0]).double()
    p, q = torch.sigmoid((early + step / 4) * k), torch.sigmoid((early - step / 4) * k)
    torch.testing.assert_close(half, ((p - q + 1e-5) / (p + 1e-5)).clamp(0, 1))


def test_neus_alpha_has_gradients_and_checks() -> None:
    sdf, normal, along = 0.01 * torch.randn(5).double(), torch.randn(5, 3).double(), torch.randn(5, 3).double()
    length, k = torch.rand(5).double() * 0.01, torch.tensor(30.0).double()
    inputs = [x.requires_grad_() for x in (sdf, normal, along, length, k)]
    assert torch.autograd.gradcheck(lambda *i: wh.nn.neus_alpha(*i, anneal=0.3), inputs)
    with pytest.raises(TypeError, match="sdf"):
        wh.nn.neus_alpha([0.1], normal, along, length, k)
    with pytest.raises(ValueError, match="direction"):
        wh.nn.neus_alpha(sdf, normal, along[:, :2], length, k)
    with pytest.raises(ValueError, match="anneal must be within 0 and 1, got 2"):
        wh.nn.neus_alpha(sdf, normal, along, length, k, anneal=2)


def fit_sphere(seed: int, steps: int, progressive: bool) -> tuple[float, float]:
    """Eikonal loss and mean error of a network fitted to points on a sphere, from weights that know nothing of it."""
    torch.manual_seed(seed)
    spec = wh.hashgrid.GridSpec(3, levels=8, log2_table_size=14, base_resolution=8, finest_resolution=256)
    network = wh.nn.SDFNetwork(wh.nn.HashGrid(spec), hidden=32, layers=1, radius=None)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2, betas=(0.9, 0.99), eps=1e-15)
    edge = torch.rand(256, 3)
    edge[:, 0] = edge[:, 0].round()
    for step in range(steps):
        if progressive:
            network.encoding.set_active_levels(
                wh.nn.progressive_levels(step, 8, share=0.25, rate=10 / steps, start=steps // 5)
            )
        surface = 0.5 + 0.25 * functional.normalize(torch.randn(768, 3), dim=1)
        sdf, normal = network.sdf_and_gradient(torch.cat([surface, edge, torch.rand(768, 3)]))
        loss = sdf[:768].abs().mean() + torch.relu(0.05 - sdf[768:1024]).mean() + 0.1 * wh.nn.eikonal_loss(normal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.encoding.set_active_levels(8)
    x = torch.rand(4096, 3)
    with torch.no_grad():
        sdf, normal = network.sdf_and_gradient(x)
    return wh.nn.eikonal_loss(normal).item(), (sdf - (x - 0.5).norm(dim=1) + 0.25).abs().mean().item()


@pytest.mark.slow
def test_coarse_to_fine_fits_a_sphere_better() -> None:
    runs = {mode: [fit_sphere(seed, 120, mode) for seed in range(3)] for mode in (False, True)}
    plain, progressive = ([statistics.median(values) for values in zip(*runs[mode], strict=True)] for mode in runs)
    assert progressive[0] < 0.6 * plain[0], (progressive, plain)
    assert progressive[1] < plain[1], (progressive, plain)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"encoding": torch.nn.Identity()}, TypeError, "encoding must be a HashGrid, got Identity"),
        ({"hidden": 0}, ValueError, "hidden must be at least 1"),
        ({"layers": 0}, ValueError, "layers must be at least 1"),
        ({"layers": 1.0}, TypeError, "layers"),
        ({"features": -1}, ValueError, "features must be at least 0"),
        ({"activation": "gelu"}, ValueError, "activation must be 'softplus' or 'relu', got 'gelu'"),
        ({"radius": 0}, ValueError, "radius must be positive"),
        ({"radius": "a"}, TypeError, "radius"),
        ({"centre": [0.5, 0.5]}, ValueError, "centre must be one number or one for each of 3 axes, got 2"),
        ({"centre": float("inf")}, ValueError, "centre must be finite"),
    ],
)
def test_bad_construction(arguments: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        wh.nn.SDFNetwork(**{"encoding": wh.nn.HashGrid(SPEC), **arguments})


@pytest.mark.parametrize("method", ["__call__", "sdf", "gradient", "sdf_and_gradient", "evaluate"])
def test_bad_points(method: str) -> None:
    call = getattr(make(), method)
    for x, error, text in (
        ([0.5] * 3, TypeError, "x must be a torch tensor, got list"),
        (points().float(), TypeError, "x must be torch.float64"),
        (points(dims=2), ValueError, r"got shape \(17, 2\)"),
        (points().to("meta"), ValueError, "x must be on the device of table"),
    ):
        with pytest.raises(error, match=text):
            call(x)


@pytest.mark.cuda
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_cuda_equals_cpu(activation: str) -> None:
    network, x = make(activation=activation, features=1), points(1000)
    other = copy.deepcopy(network).cuda()
    expected, found = network.evaluate(x), other.evaluate(x.cuda())
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), two)
    full_loss(*expected).backward()
    full_loss(*(y.cpu() for y in found)).backward()
    for one, two in zip(other.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(one.grad.cpu(), two.grad)
