# SPDX-License-Identifier: Apache-2.0
"""Hash functions that are fitted without gradients: the baselines every learned code is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .. import hamming


class LinearHash(nn.Module):
    """code = sign((x − mean) · projection), made by :func:`random_projection` or :func:`itq`.

    Buffers: mean [dim], projection [dim, bits]. Nothing here is trained.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, mean: Tensor, projection: Tensor) -> None:
        super().__init__()
        if projection.dim() != 2 or mean.shape != projection.shape[:1]:
            raise ValueError(
                f"mean must be [dim] and projection [dim, bits], got {list(mean.shape)} and {list(projection.shape)}"
            )
        self.register_buffer("mean", mean)
        self.register_buffer("projection", projection)

    @property
    def bits(self) -> int:
        return self.projection.shape[1]

    def project(self, x: Tensor) -> Tensor:
        """The values before the sign: x [..., dim] → [..., bits]."""
        if x.dim() == 0 or x.shape[-1] != self.projection.shape[0]:
            raise ValueError(f"x must be [..., {self.projection.shape[0]}], got {list(x.shape)}")
        return (x - self.mean) @ self.projection

    def forward(self, x: Tensor) -> Tensor:
        """±1 codes [..., bits] in x's dtype, sign(0) = +1."""
        return torch.where(self.project(x) >= 0, 1.0, -1.0).to(x.dtype)

    def encode(self, x: Tensor) -> Tensor:
        """Packed codes uint8 [..., ceil(bits / 8)]."""
        codes: Tensor = hamming.pack(self.project(x))
        return codes

    def extra_repr(self) -> str:
        return f"dim={self.projection.shape[0]}, bits={self.bits}"


def random_projection(x: Tensor, bits: int, *, seed: int = 0) -> LinearHash:
    """LSH for cosine similarity (Charikar 2002): Gaussian directions through the mean of x [N, dim].

    torch's own generator is left alone. Cost: one pass over x.
    """
    _check_training_set(x, bits)
    directions = _gaussian(x.shape[1], bits, seed)
    return LinearHash(x.mean(0), directions.to(x))


def itq(x: Tensor, bits: int, *, iterations: int = 50, seed: int = 0) -> LinearHash:
    """Iterative quantization (Gong and Lazebnik 2011): PCA, then the rotation that loses least to the sign.

    With V = the centred x [N, dim] in its first ``bits`` principal directions, the steps B = sign(V R) and
    R = argmin |B − V R| over rotations (orthogonal Procrustes: R = W Uᵀ from the SVD Bᵀ V = U S Wᵀ) alternate from a
    random rotation. Computed in float64; deterministic for a seed on one machine.

    Cost: O(N · dim²) for the PCA and O(N · bits² + bits³) an iteration; memory 2 · N · bits doubles. A code longer than
    dim has no principal directions to take: ValueError.
    """
    _check_training_set(x, bits)
    if bits > x.shape[1]:
        raise ValueError(f"bits must be at most x's dimension {x.shape[1]}, got {bits}")
    if iterations < 0:
        raise ValueError(f"iterations must not be negative, got {iterations}")
    mean = x.double().mean(0)
    centred = x.double() - mean
    principal = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :bits]
    reduced = centred @ principal
    rotation = torch.linalg.qr(_gaussian(bits, bits, seed).to(x.device)).Q
    for _ in range(iterations):
        codes = torch.where(reduced @ rotation >= 0, 1.0, -1.0).double()
        left, _, right = torch.linalg.svd(codes.T @ reduced)
        rotation = right.T @ left.T
    return LinearHash(mean.to(x), (principal @ rotation).to(x))


def _gaussian(rows: int, columns: int, seed: int) -> Tensor:
    """Made on the CPU, so that a seed means the same on every device."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64, device="cpu")


def _check_training_set(x: Tensor, bits: int) -> None:
    if not x.is_floating_point():
        raise TypeError(f"x must have a floating dtype, got {x.dtype}")
    if x.dim() != 2 or x.shape[0] == 0:
        raise ValueError(f"x must be [N, dim] with at least one row, got {list(x.shape)}")
    if bits < 1:
        raise ValueError(f"bits must be at least 1, got {bits}")
