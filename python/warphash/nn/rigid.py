# SPDX-License-Identifier: Apache-2.0
"""Rigid motion of a shape between frames, and the fit of a shape that moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import _checks
from .sdf import SDFNetwork, eikonal_loss

Sampler = Callable[[int], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Progress = Callable[[int, Tensor], object]


class RigidTransform(nn.Module):
    """A trained rotation and translation of points in space: ``x' = R (x + t - o) + o``.

    Maps points of a frame to where the shape lies in its network: ``network.sdf(transform(x))`` is the moved shape. The
    rotation is made of six numbers, the first two columns before they are made orthonormal, which have no singularity
    near the identity and no constraint for the optimiser. It begins as the identity.

    Args:
        origin: o, the point about which it turns; one number or one an axis.
        dtype, device: of the parameters.

    Parameters: ``columns`` [2, 3] and ``translation`` [3]; ``origin`` [3] is a buffer.

    Source: Zhou et al., On the Continuity of Rotation Representations in Neural Networks, 2019; so in NeuS2 (2023).
    """

    origin: Tensor

    def __init__(
        self,
        *,
        origin: float | Sequence[float] = 0.5,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"dtype must be a floating one, got {dtype}")
        point = [_checks.real("origin", o) for o in (origin if isinstance(origin, Sequence) else [origin] * 3)]
        if len(point) != 3:
            raise ValueError(f"origin must be one number or three, got {len(point)}")
        self.columns = nn.Parameter(torch.empty(2, 3, dtype=dtype, device=device))
        self.translation = nn.Parameter(torch.empty(3, dtype=dtype, device=device))
        self.register_buffer("origin", torch.tensor(point, dtype=self.columns.dtype, device=device))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Makes it the identity."""
        self.columns.copy_(torch.eye(2, 3, dtype=self.columns.dtype, device=self.columns.device))
        self.translation.zero_()

    @property
    def rotation(self) -> Tensor:
        """R [3, 3], orthonormal with determinant 1, differentiable in the parameters."""
        first = functional.normalize(self.columns[0], dim=0)
        second = functional.normalize(self.columns[1] - (first * self.columns[1]).sum() * first, dim=0)
        return torch.stack([first, second, torch.linalg.cross(first, second)], 1)

    @torch.no_grad()
    def set_motion(self, rotation: Tensor, translation: Tensor) -> None:
        """Sets R [3, 3], which must be a rotation, and t [3]."""
        for name, x, shape in (("rotation", rotation, (3, 3)), ("translation", translation, (3,))):
            if not isinstance(x, Tensor):
                raise TypeError(f"{name} must be a torch tensor, got {type(x).__name__}")
            if not x.is_floating_point():
                raise TypeError(f"{name} must have a floating dtype, got {x.dtype}")
            if tuple(x.shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(x.shape)}")
            if not x.is_meta and _checks.data_is_checked(True) and not bool(x.isfinite().all()):
                raise ValueError(f"{name} must be finite, got NaN or infinity")
        if not rotation.is_meta and _checks.data_is_checked(True):
            matrix = rotation.double()
            off = (matrix.T @ matrix - torch.eye(3, dtype=matrix.dtype, device=matrix.device)).abs().max()
            if not (off < 1e-3 and torch.linalg.det(matrix) > 0):
                raise ValueError("rotation must be orthonormal with determinant 1")
        self.columns.copy_(rotation[:, :2].T)
        self.translation.copy_(translation)

    def forward(self, x: Tensor) -> Tensor:
        """R (x + t - o) + o of points [..., 3]."""
        x = self._checked("x", x)
        return (x + (self.translation - self.origin)) @ self.rotation.T + self.origin

    def inverse(self, x: Tensor) -> Tensor:
        """The points [..., 3] that forward takes to ``x``."""
        x = self._checked("x", x)
        return (x - self.origin) @ self.rotation + (self.origin - self.translation)

    def rotate(self, directions: Tensor, *, inverse: bool = False) -> Tensor:
        """R times directions [..., 3], as of rays; with ``inverse`` R^T, which takes normals back to the frame."""
        directions = self._checked("directions", directions)
        return directions @ (self.rotation if inverse else self.rotation.T)

    def _checked(self, name: str, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(x).__name__}")
        if not x.is_floating_point():
            raise TypeError(f"{name} must have a floating dtype, got {x.dtype}")
        if x.dim() == 0 or x.shape[-1] != 3:
            raise ValueError(f"{name} must be [..., 3], got {tuple(x.shape)}")
        _checks.same_device("origin", self.origin, name, x)
        if x.dtype.itemsize > self.columns.dtype.itemsize:
            raise TypeError(f"{name} must be at most {self.columns.dtype}, as the parameters are, got {x.dtype}")
        return x.to(self.columns.dtype)


def sdf_loss(sdf: Tensor, normal: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of distances, and a hundredth of the eikonal loss."""
    return (sdf - target).abs().mean() + 0.01 * eikonal_loss(normal)


def fit_frame(
    network: SDFNetwork,
    transform: RigidTransform,
    sample: Sampler,
    *,
    transform_steps: int = 300,
    steps: int = 1000,
    transform_lr: float = 5e-3,
    lr: float = 1e-3,
    loss: Loss = sdf_loss,
    progress: Progress | None = None,
) -> Tensor:
    """Fits a shape that moved to its next frame: where it is first, then what has changed.

    For ``transform_steps`` only rotation and translation are trained, with all levels of the grid on and a learning
    rate that falls to a hundredth; then, for ``steps``, everything, with the levels as they were. Network and transform
    carry over: call it once a frame, in order.

    Args:
        network: of three dims.
        transform: from the frame to the network. For the first frame give the identity and ``transform_lr=0``: network
            and motion would else share the work, and the shape drift from its place.
        sample: step → (points [N, 3] of the frame, targets [N] or whatever ``loss`` takes).
        transform_steps: of the first part, may be 0.
        steps: of the second part, may be 0.
        transform_lr: of rotation and translation; in the second part a hundredth of it. It bounds how far a frame can
            turn in its steps: 24 degrees took 2e-2 and 100 steps.
        lr: of the network.
        loss: (distances [N], normals [N, 3] in the frame, targets) → scalar.
        progress: called as ``progress(step, loss)`` after each step, with a detached tensor.

    Returns:
        The losses [transform_steps + steps].

    Source: NeuS2 (Wang et al., 2023).
    """
    if not isinstance(network, SDFNetwork):
        raise TypeError(f"network must be an SDFNetwork, got {type(network).__name__}")
    if network.encoding.spec.dims != 3:
        raise ValueError(f"network must have 3 dims, got {network.encoding.spec.dims}")
    if network.encoding.has_level_parameters:
        raise ValueError("network must not have handed out level_parameters(), which would take its table's gradient")
    for name, call in (("sample", sample), ("loss", loss), ("progress", progress)):
        if not callable(call) and not (call is None and name == "progress"):
            raise TypeError(f"{name} must be callable, got {type(call).__name__}")
    if not isinstance(transform, RigidTransform):
        raise TypeError(f"transform must be a RigidTransform, got {type(transform).__name__}")
    first, second = _checks.count("transform_steps", transform_steps), _checks.count("steps", steps)
    for name, rate in (("transform_lr", transform_lr), ("lr", lr)):
        if _checks.real(name, rate) < 0:
            raise ValueError(f"{name} must be at least 0, got {rate}")
    losses = []

    def take(step: int, optimizer: torch.optim.Optimizer) -> None:
        drawn = sample(step)
        if not isinstance(drawn, tuple | list) or len(drawn) != 2:
            raise TypeError(f"sample must return (points, targets), got {type(drawn).__name__}")
        points, target = drawn
        sdf, normal = network.sdf_and_gradient(transform(points))
        value = loss(sdf, transform.rotate(normal, inverse=True), target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.detach())
        if progress is not None:
            progress(step, losses[-1])

    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    levels = network.encoding.level_weights.clone()
    optimizer = torch.optim.Adam(transform.parameters(), lr=transform_lr)
    network.encoding.set_active_levels(network.encoding.spec.levels)
    try:
        for parameter in trained:
            parameter.requires_grad_(False)  # saves their gradients' time
        for step in range(first):
            optimizer.param_groups[0]["lr"] = transform_lr * 0.01 ** (step / max(first - 1, 1))
            take(step, optimizer)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        network.encoding.set_active_levels(levels)
    groups = [
        {"params": list(transform.parameters()), "lr": transform_lr * 0.01},
        {"params": trained, "lr": lr, "betas": (0.9, 0.99), "eps": 1e-15},
    ]
    optimizer = torch.optim.Adam(groups)
    for step in range(first, first + second):
        take(step, optimizer)
    return torch.stack(losses) if losses else network.centre.new_empty(0)
