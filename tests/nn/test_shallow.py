# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import warphash as wh


def data(rows: int = 500, dim: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(rows, dim, generator=generator) @ torch.randn(dim, dim, generator=generator) + 5


def quantization_loss(hasher: wh.nn.LinearHash, x: torch.Tensor) -> float:
    u = hasher.double().project(x.double())
    return float((u - torch.where(u >= 0, 1.0, -1.0)).square().sum())


@pytest.mark.parametrize("fit", [wh.nn.random_projection, wh.nn.itq])
def test_codes_and_packed_codes_agree(fit: object) -> None:
    x = data()
    hasher = fit(x, 10, seed=4)
    codes = hasher(x)
    assert codes.shape == (500, 10)
    assert (codes.abs() == 1).all()
    assert torch.equal(wh.hamming.unpack(hasher.encode(x), 10), codes > 0)
    assert torch.equal(fit(x, 10, seed=4).projection, hasher.projection)
    assert not torch.equal(fit(x, 10, seed=5).projection, hasher.projection)


def test_itq_is_pca_times_a_rotation_that_lowers_the_loss() -> None:
    x = data().double()
    start, fitted = (wh.nn.itq(x, 6, iterations=n) for n in (0, 50))
    identity = torch.eye(6, dtype=torch.float64)
    for hasher in (start, fitted):
        torch.testing.assert_close(hasher.projection.T @ hasher.projection, identity)
    _, _, right = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    torch.testing.assert_close(fitted.projection, right[:6].T @ (right[:6] @ fitted.projection))
    losses = [quantization_loss(wh.nn.itq(x, 6, iterations=n), x) for n in (0, 1, 5, 50)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


def test_random_projection_estimates_angles() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 16, generator=generator, dtype=torch.float64)
    x = torch.cat([x, -x])  # zero mean, so that directions through the mean go through the origin
    hasher = wh.nn.random_projection(x, 4096)
    fraction = wh.hamming.cdist(hasher.encode(x), hasher.encode(x)) / 4096
    unit = torch.nn.functional.normalize(x, dim=1)
    angle = torch.arccos((unit @ unit.T).clamp(-1, 1)) / torch.pi
    assert (fraction - angle).abs().max() < 0.05


def test_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    wh.nn.random_projection(data(), 8)
    wh.nn.itq(data(), 8)
    assert torch.equal(torch.get_rng_state(), state)


def test_default_device_does_not_matter() -> None:
    x = data()
    for fit in (wh.nn.itq, wh.nn.random_projection):
        with torch.device("meta"):
            hasher = fit(x, 8)
        assert torch.equal(hasher.projection, fit(x, 8).projection)


@pytest.mark.parametrize("fit", [wh.nn.random_projection, wh.nn.itq])
def test_arrays_are_answered_in_kind(fit: object) -> None:
    x = data()
    expected = fit(x, np.int64(6))
    hasher = fit(x.numpy(), 6)
    assert torch.equal(hasher.projection, expected.projection)
    for method in ("encode", "forward", "project"):
        actual = getattr(hasher, method)(x.numpy())
        assert isinstance(actual, np.ndarray)
        assert torch.equal(torch.from_numpy(actual), getattr(expected, method)(x))
    assert hasher(x.double()).dtype == torch.float64
    assert hasher.encode(x.double().numpy()).shape == (500, 1)


@pytest.mark.parametrize("fit", [wh.nn.random_projection, wh.nn.itq])
def test_fits_are_constants(fit: object) -> None:
    hasher = fit(data().requires_grad_(), 6)
    assert not hasher.projection.requires_grad
    assert not hasher.mean.requires_grad
    copy.deepcopy(hasher)


@pytest.mark.parametrize("fit", [wh.nn.random_projection, wh.nn.itq])
@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"bits": "4"}, TypeError, "bits"),
        ({"bits": 4.0}, TypeError, "bits"),
        ({"seed": None}, TypeError, "seed"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"x": [[1.0]]}, TypeError, "x must"),
        ({"x": data().to_sparse()}, TypeError, "x must be a dense"),
        ({"x": data().to("meta")}, ValueError, "x must hold data"),
        ({"x": data() * float("nan")}, ValueError, "x must be finite"),
        ({"x": data() / 0}, ValueError, "x must be finite"),
    ],
)
def test_bad_fits(fit: object, arguments: dict[str, object], error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=name):
        fit(**{"x": data(), "bits": 4, **arguments})


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="bits must be at most"):
        wh.nn.itq(data(), 13)
    with pytest.raises(ValueError, match="iterations"):
        wh.nn.itq(data(), 3, iterations=-1)
    for fit in (wh.nn.itq, wh.nn.random_projection):
        with pytest.raises(TypeError, match="floating"):
            fit(torch.zeros(3, 4, dtype=torch.int64), 2)
        with pytest.raises(ValueError, match="at least one row"):
            fit(torch.zeros(0, 4), 2)
        with pytest.raises(ValueError, match="bits"):
            fit(data(), 0)
    with pytest.raises(ValueError, match=r"\[\.\.\., 12\]"):
        wh.nn.itq(data(), 3).encode(torch.zeros(2, 5))
    for method in ("encode", "forward", "project"):
        call = getattr(wh.nn.itq(data(), 3), method)
        with pytest.raises(TypeError, match="x must"):
            call([1.0] * 12)
        with pytest.raises(TypeError, match="x must have a floating dtype"):
            call(np.zeros((2, 12), dtype=np.int64))
        with pytest.raises(ValueError, match="x must be on the device"):
            call(torch.zeros(2, 12, device="meta"))
    with pytest.raises(TypeError, match="mean must"):
        wh.nn.LinearHash(None, torch.zeros(3, 2))
    with pytest.raises(TypeError, match="projection must"):
        wh.nn.LinearHash(np.zeros(3), np.zeros((3, 2), dtype=int))
    with pytest.raises(ValueError, match="projection must be on the device"):
        wh.nn.LinearHash(torch.zeros(3), torch.zeros(3, 2, device="meta"))
    with pytest.raises(TypeError, match="iterations"):
        wh.nn.itq(data(), 3, iterations=2.0)
