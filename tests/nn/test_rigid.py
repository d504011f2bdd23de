# SPDX-License-Identifier: Apache-2.0
"""RigidTransform: a rotation whatever its numbers, its gradients, and the recovery of a known motion."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
import warphash as wh

SPEC = wh.hashgrid.GridSpec(3, levels=5, log2_table_size=11, base_resolution=4, finest_resolution=32)


def turn(degrees: float, axis: tuple[float, float, float] = (1.0, 2.0, 3.0)) -> torch.Tensor:
    x, y, z = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0).tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(math.radians(degrees) * cross)


def moved(dtype: torch.dtype = torch.float64, **options: object) -> wh.nn.RigidTransform:
    transform = wh.nn.RigidTransform(dtype=dtype, **options)
    transform.set_motion(turn(50).to(dtype), torch.tensor([0.1, -0.2, 0.3], dtype=dtype))
    return transform


def points(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def test_begins_as_the_identity() -> None:
    transform, x = wh.nn.RigidTransform(), points(4, 5, dtype=torch.float32)
    assert torch.equal(transform.rotation, torch.eye(3))
    torch.testing.assert_close(transform(x), x)
    assert torch.equal(transform.rotate(x), x)
    assert {name: tuple(p.shape) for name, p in transform.named_parameters()} == {
        "columns": (2, 3),
        "translation": (3,),
    }


def test_formula_and_its_inverse() -> None:
    transform, x = moved(origin=[0.1, 0.5, 0.7]), points(4, 5)
    shift, origin = torch.tensor([0.1, -0.2, 0.3]).double(), torch.tensor([0.1, 0.5, 0.7]).double()
    expected = torch.einsum("ij,...j->...i", turn(50), x + shift - origin) + origin
    torch.testing.assert_close(transform.rotation, turn(50))
    torch.testing.assert_close(transform(x), expected)
    torch.testing.assert_close(transform.inverse(transform(x)), x)
    torch.testing.assert_close(transform.rotate(x), torch.einsum("ij,...j->...i", turn(50), x))
    torch.testing.assert_close(transform.rotate(transform.rotate(x), inverse=True), x)
    assert transform(x[:, :0]).shape == (4, 0, 3)


def test_any_numbers_give_a_rotation() -> None:
    transform = wh.nn.RigidTransform(dtype=torch.float64)
    for _ in range(20):
        with torch.no_grad():
            transform.columns.copy_(torch.randn(2, 3) * 5)
        rotation = transform.rotation
        torch.testing.assert_close(rotation.T @ rotation, torch.eye(3, dtype=torch.float64))
        torch.testing.assert_close(torch.linalg.det(rotation), torch.ones((), dtype=torch.float64))
        torch.testing.assert_close(rotation[:, 0], transform.columns[0] / transform.columns[0].norm())


@pytest.mark.parametrize("method", ["forward", "inverse", "rotate"])
def test_gradients(method: str) -> None:
    transform, x = moved(), points(3).requires_grad_()
    with torch.no_grad():
        transform.columns.add_(0.1 * torch.randn(2, 3))

    def call(x: torch.Tensor, columns: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        module = copy.copy(transform)
        module._parameters = {"columns": columns, "translation": translation}
        return getattr(module, method)(x)

    inputs = x, transform.columns, transform.translation
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_normals_of_a_moved_shape() -> None:
    torch.manual_seed(0)
    network = wh.nn.SDFNetwork(wh.nn.HashGrid(SPEC, dtype=torch.float64, init_range=0.1), hidden=8)
    torch.nn.init.normal_(network.hidden[0].weight)
    transform, x = moved(), points(20).requires_grad_()
    (expected,) = torch.autograd.grad(network.sdf(transform(x)).sum(), x)
    torch.testing.assert_close(transform.rotate(network.gradient(transform(x)), inverse=True), expected)


def test_copies_dtypes_meta_and_compile() -> None:
    transform, x = moved(), points(5)
    loaded = wh.nn.RigidTransform(origin=0.1, dtype=torch.float64)
    loaded.load_state_dict(transform.state_dict())
    for other in (loaded, copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert torch.equal(other(x), transform(x))
    assert copy.deepcopy(transform).float()(x.float()).dtype == torch.float32
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(transform, fullgraph=True, backend="aot_eager")(x), transform(x))
    assert wh.nn.RigidTransform(device="meta")(x.float().to("meta")).shape == (5, 3)


def block(x: torch.Tensor) -> torch.Tensor:
    """Signed distance to a block of three different sides, which no rotation of 20 degrees takes to itself."""
    beyond = (x - 0.5).abs() - torch.tensor([0.2, 0.12, 0.06])
    return beyond.clamp(min=0).norm(dim=-1) + beyond.max(-1).values.clamp(max=0)


@pytest.fixture(scope="module")
def network() -> wh.nn.SDFNetwork:
    """Fitted to the block."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the fixture that does so for each test comes later than one of the module
    fitted = wh.nn.SDFNetwork(wh.nn.HashGrid(SPEC), hidden=32, layers=1)
    still = wh.nn.RigidTransform()

    def sample(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.rand(768, 3)
        return x, block(x)

    losses = wh.nn.fit_frame(fitted, still, sample, transform_steps=0, steps=120, lr=1e-2, transform_lr=0)
    assert losses.shape == (120,)
    wh.nn.fit_frame(fitted, still, sample, transform_steps=0, steps=60, lr=1e-3, transform_lr=0)
    assert losses[-1] < 0.2 * losses[0]
    torch.set_num_threads(threads)
    return fitted


def test_recovers_a_known_motion(network: wh.nn.SDFNetwork) -> None:
    network = copy.deepcopy(network)
    network.encoding.set_active_levels(2)
    truth = wh.nn.RigidTransform()
    truth.set_motion(turn(20).float(), 0.1 * torch.nn.functional.normalize(torch.tensor([1.0, -1.0, 0.8]), dim=0))
    transform = wh.nn.RigidTransform()
    before = copy.deepcopy(network.state_dict())
    seen: list[int] = []

    def sample(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        assert network.encoding.level_weights.sum() == 5
        x = 0.15 + 0.7 * torch.rand(512, 3)
        return x, block(truth(x)).detach()

    def note(step: int, loss: torch.Tensor) -> None:
        assert not loss.requires_grad
        seen.append(step)

    losses = wh.nn.fit_frame(network, transform, sample, transform_steps=120, steps=0, transform_lr=2e-2, progress=note)
    cosine = ((transform.rotation.T @ truth.rotation).trace() - 1) / 2
    assert math.degrees(math.acos(min(cosine.item(), 1))) < 1
    assert (transform.translation - truth.translation).norm() < 0.005
    assert losses[-1] < 0.1 * losses[0]
    assert seen == list(range(120))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())  # levels too
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_second_part_trains_everything_with_the_levels_as_they_were(network: wh.nn.SDFNetwork) -> None:
    network, transform = copy.deepcopy(network), wh.nn.RigidTransform()
    network.encoding.set_active_levels(2)
    network.hidden[0].bias.requires_grad_(False)
    before = {**copy.deepcopy(network.state_dict()), **copy.deepcopy(transform.state_dict())}
    on: list[float] = []

    def sample(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        on.append(network.encoding.level_weights.sum().item())
        x = torch.rand(64, 3)
        return x, block(x) + 0.1

    losses = wh.nn.fit_frame(network, transform, sample, transform_steps=2, steps=3)
    assert losses.shape == (5,)
    assert on == [5, 5, 2, 2, 2]
    same = ("hidden.0.bias", "encoding.level_weights", "centre", "origin")
    for name, value in {**network.state_dict(), **transform.state_dict()}.items():
        assert torch.equal(value, before[name]) == (name in same), name


def test_an_error_in_the_first_part_leaves_the_network_trainable(network: wh.nn.SDFNetwork) -> None:
    network = copy.deepcopy(network)
    network.encoding.set_active_levels(2)

    def sample(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        raise KeyError("no data")

    with pytest.raises(KeyError, match="no data"):
        wh.nn.fit_frame(network, wh.nn.RigidTransform(), sample)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network.encoding.level_weights.sum() == 2


def test_no_steps_and_a_loss_of_ones_own(network: wh.nn.SDFNetwork) -> None:
    transform = wh.nn.RigidTransform()

    def sample(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((2, 3), 0.4), torch.tensor([1.0, 2.0])

    assert wh.nn.fit_frame(network, transform, sample, transform_steps=0, steps=0).shape == (0,)
    losses = wh.nn.fit_frame(
        network,
        transform,
        sample,
        transform_steps=1,
        steps=0,
        loss=lambda sdf, normal, target: 0 * sdf.sum() + target[1],
    )
    assert losses.tolist() == [2.0]


def test_bad_arguments(network: wh.nn.SDFNetwork) -> None:
    transform = wh.nn.RigidTransform()
    with pytest.raises(ValueError, match="origin must be one number or three, got 2"):
        wh.nn.RigidTransform(origin=[0.5, 0.5])
    with pytest.raises(TypeError, match=r"origin"):
        wh.nn.RigidTransform(origin="a")
    for method in (transform, transform.inverse, transform.rotate):
        with pytest.raises(TypeError, match="must be a torch tensor, got list"):
            method([0.5] * 3)
        with pytest.raises(TypeError, match=r"must have a floating dtype, got torch.int64"):
            method(torch.zeros(2, 3, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"must be \[..., 3\], got \(3, 2\)"):
            method(torch.zeros(3, 2))
        with pytest.raises(ValueError, match="meta"):
            method(torch.zeros(2, 3, device="meta"))
    for rotation in (2 * torch.eye(3), -torch.eye(3)):
        with pytest.raises(ValueError, match="rotation must be orthonormal"):
            transform.set_motion(rotation, torch.zeros(3))
    nan = torch.tensor(float("nan"))
    with pytest.raises(ValueError, match="rotation must be finite"):
        transform.set_motion(nan.expand(3, 3), torch.zeros(3))
    with pytest.raises(ValueError, match="translation must be finite"):
        transform.set_motion(torch.eye(3), nan.expand(3))
    with pytest.raises(TypeError, match=r"x must be at most torch.float32"):
        transform(torch.zeros(2, 3, dtype=torch.float64))
    assert transform(torch.zeros(2, 3, dtype=torch.float16)).dtype == torch.float32
    with pytest.raises(TypeError, match="dtype must be a floating one"):
        wh.nn.RigidTransform(dtype=torch.int32)
    with pytest.raises(ValueError, match=r"translation must have shape \(3,\), got \(2,\)"):
        transform.set_motion(torch.eye(3), torch.zeros(2))
    with pytest.raises(TypeError, match="translation must be a torch tensor"):
        transform.set_motion(torch.eye(3), [0.0] * 3)
    with pytest.raises(TypeError, match="network must be an SDFNetwork, got Identity"):
        wh.nn.fit_frame(torch.nn.Identity(), transform, lambda step: None)
    with pytest.raises(TypeError, match="transform must be a RigidTransform"):
        wh.nn.fit_frame(network, torch.nn.Identity(), lambda step: None)
    with pytest.raises(TypeError, match="sample must be callable, got int"):
        wh.nn.fit_frame(network, transform, 5)
    with pytest.raises(TypeError, match=r"sample must return"):
        wh.nn.fit_frame(network, transform, lambda step: None)
    for name in ("steps", "transform_steps"):
        with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
            wh.nn.fit_frame(network, transform, lambda step: None, **{name: -1})
    for name in ("lr", "transform_lr"):
        with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
            wh.nn.fit_frame(network, transform, lambda step: None, **{name: -1})
    network.encoding.level_parameters()
    with pytest.raises(ValueError, match=r"network must not have handed out level_parameters"):
        wh.nn.fit_frame(network, transform, lambda step: None)
