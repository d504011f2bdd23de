# SPDX-License-Identifier: Apache-2.0
"""Hash functions that are fitted without gradients: the baselines every learned code is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import _checks, hamming, interop
from .hashing import sign


class LinearHash(nn.Module):
    """code = sign((x − mean) · projection), made by :func:`random_projection` or :func:`itq`.

    Buffers: mean [dim], projection [dim, bits]. Nothing here is trained.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, mean: Any, projection: Any) -> None:
        super().__init__()
        mean, projection = _floating(mean, "mean"), _floating(projection, "projection")
        _checks.same_device("mean", mean, "projection", projection)
        if projection.dim() != 2 or mean.shape != projection.shape[:1]:
            raise ValueError(
                f"mean must be [dim] and projection [dim, bits], got {list(mean.shape)} and {list(projection.shape)}"
            )
        self.register_buffer("mean", mean)
        self.register_buffer("projection", projection)

    @property
    def bits(self) -> int:
        return self.projection.shape[1]

    def project(self, x: Any) -> Any:
        """The values before the sign: x [..., dim], a tensor or another array → [..., bits] in x's kind."""
        return interop.like(x, self._project(_floating(x)))

    def forward(self, x: Any) -> Any:
        """±1 codes [..., bits] in x's dtype and kind, sign(0) = +1."""
        values = _floating(x)
        return interop.like(x, sign(self._project(values)).to(values.dtype))

    def encode(self, x: Any) -> Any:
        """Packed codes uint8 [..., ceil(bits / 8)] in x's kind."""
        return interop.like(x, hamming.pack(self._project(_floating(x))))

    def _project(self, x: Tensor) -> Tensor:
        if x.dim() == 0 or x.shape[-1] != self.projection.shape[0]:
            raise ValueError(f"x must be [..., {self.projection.shape[0]}], got {list(x.shape)}")
        _checks.same_device("projection", self.projection, "x", x)
        centred = x - self.mean
        return centred @ self.projection.to(centred.dtype)

    def extra_repr(self) -> str:
        return f"dim={self.projection.shape[0]}, bits={self.bits}"


def random_projection(x: Any, bits: int, *, seed: int = 0) -> LinearHash:
    """LSH for cosine similarity (Charikar 2002): Gaussian directions through the mean of x [N, dim].

    torch's own generator is left alone. Cost: one pass over x.
    """
    x, bits = _training_set(x), _checks.count("bits", bits, 1)
    directions = _gaussian(x.shape[1], bits, seed)
    return LinearHash(x.mean(0), directions.to(x))


def itq(x: Any, bits: int, *, iterations: int = 50, seed: int = 0) -> LinearHash:
    """Iterative quantization (Gong and Lazebnik 2011): PCA, then the rotation that loses least to the sign.

    With V = the centred x [N, dim] in its first ``bits`` principal directions, the steps B = sign(V R) and
    R = argmin |B − V R| over rotations (orthogonal Procrustes: R = W Uᵀ from the SVD Bᵀ V = U S Wᵀ) alternate from a
    random rotation. Computed in float64; deterministic for a seed on one machine.

    Cost: O(N · dim²) for the PCA and O(N · bits² + bits³) an iteration; memory 2 · N · bits doubles. A code longer than
    dim has no principal directions to take: ValueError.
    """
    x, bits = _training_set(x), _checks.count("bits", bits, 1)
    iterations = _checks.count("iterations", iterations)
    if bits > x.shape[1]:
        raise ValueError(f"bits must be at most x's dimension {x.shape[1]}, got {bits}")
    mean = x.double().mean(0)
    centred = x.double() - mean
    principal = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :bits]
    reduced = centred @ principal
    rotation = torch.linalg.qr(_gaussian(bits, bits, seed).to(x.device)).Q
    for _ in range(iterations):
        codes = sign(reduced @ rotation)
        left, _, right = torch.linalg.svd(codes.T @ reduced)
        rotation = right.T @ left.T
    return LinearHash(mean.to(x), (principal @ rotation).to(x))


def _gaussian(rows: int, columns: int, seed: int) -> Tensor:
    """Made on the CPU, so that a seed means the same on every device."""
    seed = _checks.count("seed", seed, -(2**63))
    if seed >= 2**64:
        raise ValueError(f"seed must fit 64 bits, got {seed}")
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64, device="cpu")


def _floating(x: Any, name: str = "x") -> Tensor:
    values = _checks.dense(name, interop.as_tensor(x, name))
    if not values.is_floating_point():
        raise TypeError(f"{name} must have a floating dtype, got {values.dtype}")
    return values


def _training_set(x: Any) -> Tensor:
    """What a fit looks at: constants, whatever x requires."""
    values = _checks.with_data("x", _floating(x)).detach()
    if values.dim() != 2 or values.shape[0] == 0:
        raise ValueError(f"x must be [N, dim] with at least one row, got {list(values.shape)}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError("x must be finite, got NaN or infinity")
    return values
