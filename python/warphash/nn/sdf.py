# SPDX-License-Identifier: Apache-2.0
"""Signed distance functions as networks on a hash grid, and the terms they are trained with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from .. import _checks
from .._dtypes import compute_dtype
from . import sdf_passes
from .autocast import without_autocast
from .encoding import HashGrid

ACTIVATIONS = ("softplus", "relu")
RIDGE = 0.03  # of the fit of the last layer to a sphere: larger is nearer to equal weights


class SDFOutput(NamedTuple):
    """What :meth:`SDFNetwork.evaluate` gives."""

    sdf: Tensor
    """[...]: signed distances, negative inside."""
    gradient: Tensor
    """[..., dims]: their derivatives to x, the normals."""
    features: Tensor
    """[..., features]."""


class SDFNetwork(nn.Module):
    """Signed distance function: points [..., dims] in the unit cube to distances [...], negative inside.

    A hash grid, whose output goes together with the coordinates into an MLP of ``layers`` hidden layers. Before
    training it approximates a sphere: weights as in SAL and IGR, zero for the encoding, and the last layer then fitted
    to the distances by least squares (with hidden=64 the mean error in the cube falls from 0.08 to 0.01).

    Training on normals: :meth:`sdf_and_gradient` gives distances and d(sdf)/dx in one pass, whose gradient is written
    down in closed form; any loss on both then takes one ordinary ``backward()``, without ``create_graph``::

        sdf, normal = network.sdf_and_gradient(x)
        (data_term(sdf) + 0.1 * wh.nn.eikonal_loss(normal)).backward()

    The gradients are those of autograd's double backward. Of this pass autograd keeps the encoding and
    d(sdf)/d(encoding), nothing per hidden unit. It is differentiable once, to x and all parameters. :meth:`sdf` is
    twice differentiable by autograd, for whoever needs something else.

    Args:
        encoding: a :class:`HashGrid`, of any dtype; the MLP is float64 for a float64 table, else float32.
        hidden: width of the hidden layers.
        layers: how many, at least 1.
        features: width of a second output of the MLP, say for a colour network.
        activation: "softplus" (beta = 100), or "relu", which is faster and whose normals jump at kinks.
        radius: of the sphere before training; None for torch's own initial weights.
        centre: of the sphere, one number or one an axis; coordinates are taken relative to it.

    Shapes and dtypes: x [..., dims], float64 for a float64 table, else float32; outputs in the MLP's dtype, normals in
    that of x. Autocast is off inside: distances in half precision have three digits.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind, shape, dtype or device; each text names it.

    Sources: SAL (Atzmon and Lipman 2020), IGR (Gropp et al. 2020), NeuS (Wang et al. 2021), NeuS2 (Wang et al. 2023).
    """

    centre: Tensor

    def __init__(
        self,
        encoding: HashGrid,
        *,
        hidden: int = 64,
        layers: int = 2,
        features: int = 0,
        activation: str = "softplus",
        radius: float | None = 0.25,
        centre: float | Sequence[float] = 0.5,
    ) -> None:
        super().__init__()
        if not isinstance(encoding, HashGrid):
            raise TypeError(f"encoding must be a HashGrid, got {type(encoding).__name__}")
        hidden, layers = _checks.count("hidden", hidden, 1), _checks.count("layers", layers, 1)
        self.features = _checks.count("features", features)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be 'softplus' or 'relu', got {activation!r}")
        self.activation = activation
        self.radius = None if radius is None else _checks.real("radius", radius)
        if self.radius is not None and self.radius <= 0:
            raise ValueError(f"radius must be positive, got {self.radius}")
        dims = encoding.spec.dims
        middle = [_checks.real("centre", c) for c in (centre if isinstance(centre, Sequence) else [centre] * dims)]
        if len(middle) != dims:
            raise ValueError(f"centre must be one number or one for each of {dims} axes, got {len(middle)}")
        self.encoding = encoding
        table = encoding.table
        kind: Any = {"dtype": compute_dtype(table.dtype), "device": table.device}
        self.register_buffer("centre", torch.tensor(middle, **kind))
        widths = [dims + encoding.output_features] + [hidden] * layers
        # Uninitialised: reset_parameters draws in float32 whatever the dtype, so that a seed gives the same network.
        self.hidden = nn.ModuleList(skip_init(nn.Linear, a, b, **kind) for a, b in itertools.pairwise(widths))
        self.head = skip_init(nn.Linear, hidden, 1 + self.features, **kind)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the MLP anew, as a sphere of ``radius`` unless that is None; the encoding stays."""
        layers = self._linear()
        for layer in (*layers, self.head):
            bound = 1 / math.sqrt(layer.in_features)
            for parameter in (layer.weight, layer.bias):
                parameter.copy_(_empty(parameter).uniform_(-bound, bound))
        if self.radius is None:
            return
        dims = self.encoding.spec.dims
        for layer in layers:
            layer.weight.copy_(_empty(layer.weight).normal_(0.0, math.sqrt(2.0 / layer.out_features)))
            layer.bias.zero_()
        layers[0].weight[:, dims:] = 0
        weight, bias = self.head.weight[0], self.head.bias[:1]
        weight.fill_(math.sqrt(math.pi / len(weight)) / sdf_passes.SCALE)
        bias.fill_(-self.radius)
        if weight.is_meta:
            return
        # In expectation over the weights this is the sphere; what these few units miss of it, the last layer corrects.
        cube = torch.rand(2048, dims, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        centre = self.centre.detach().cpu().double()
        a = sdf_passes.SCALE * (cube - centre)
        for index, layer in enumerate(layers):
            matrix = layer.weight.detach().cpu().double()
            a = sdf_passes.activate(a @ (matrix if index else matrix[:, :dims]).T, self.activation == "softplus")
        missing = (cube - centre).norm(dim=1) - self.radius - a @ weight.cpu().double() - bias.cpu().double()
        a = torch.cat([a, torch.ones(len(a), 1, dtype=a.dtype)], 1)
        squares = a.T @ a / len(a)
        ridge = RIDGE * squares.diagonal()[:-1].mean() * torch.eye(len(squares), dtype=a.dtype)
        correction = torch.linalg.solve(squares + ridge, a.T @ missing / len(a)).to(weight)
        weight.add_(correction[:-1])
        bias.add_(correction[-1:])

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Distances [...] of x [..., dims]; with ``features`` a pair of distances and features [..., features]."""
        out = self._out(x)
        return (out[..., 0], out[..., 1:]) if self.features else out[..., 0]

    def sdf(self, x: Tensor) -> Tensor:
        """Distances [...] of x [..., dims], twice differentiable."""
        return self._out(x)[..., 0]

    def gradient(self, x: Tensor) -> Tensor:
        """d(sdf)/dx [..., dims], differentiable once: the normals, of length 1 for a true distance."""
        return self.evaluate(x).gradient

    def sdf_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distances [...] and d(sdf)/dx [..., dims] in one pass, both differentiable once."""
        found = self.evaluate(x)
        return found.sdf, found.gradient

    def evaluate(self, x: Tensor) -> SDFOutput:
        """Distances, normals and features in one pass, all differentiable once."""
        points = self.encoding.points(x)
        flat = points.reshape(-1, points.shape[-1])
        weights = tuple(w for layer in (*self._linear(), self.head) for w in (layer.weight, layer.bias))
        grid = self.encoding
        if grid.level_weights.requires_grad:
            raise ValueError("level_weights must not require a gradient here, which only sdf gives; got requires_grad")
        operands: tuple[Any, ...] = (flat, self.centre, grid.table, grid.level_weights, grid.spec.text)
        operands = (*operands, self.activation == "softplus", *weights)
        with without_autocast(flat.device):
            # A compiler fuses separate operators, and knows nothing of buffers; torch.func wants to see through.
            if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or flat.is_meta:
                out, gradient = sdf_passes.explicit(*operands)
            else:
                out, gradient = sdf_passes.Passes.apply(*operands)  # type: ignore[no-untyped-call]
        out = out.reshape(*points.shape[:-1], 1 + self.features)
        return SDFOutput(out[..., 0], gradient.reshape(points.shape), out[..., 1:])

    def extra_repr(self) -> str:
        return f"features={self.features}, activation={self.activation!r}, radius={self.radius}"

    def _linear(self) -> list[nn.Linear]:
        """The hidden layers, none of which may have been replaced by another kind."""
        layers = []
        for i, layer in enumerate(self.hidden):
            if not isinstance(layer, nn.Linear):
                raise TypeError(f"hidden[{i}] must be a Linear layer, got {type(layer).__name__}")
            layers.append(layer)
        return layers

    def _out(self, x: Tensor) -> Tensor:
        """[..., 1 + features], by operators of torch."""
        points = self.encoding.points(x)
        with without_autocast(points.device):
            dtype = self.head.weight.dtype
            coordinates = sdf_passes.SCALE * (points - self.centre)
            a = torch.cat([coordinates.to(dtype), self.encoding(points).to(dtype)], -1)
            for layer in self.hidden:
                a = sdf_passes.activate(layer(a), self.activation == "softplus")
            out: Tensor = self.head(a)
            return out


def _empty(like: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=torch.float32, device=like.device)


def eikonal_loss(gradient: Tensor) -> Tensor:
    """Mean over points of ``(|gradient| - 1)^2`` of gradients [..., dims]: 0 for a true distance, and for no points."""
    if not isinstance(gradient, Tensor):
        raise TypeError(f"gradient must be a torch tensor, got {type(gradient).__name__}")
    if gradient.dim() == 0:
        raise ValueError("gradient must be [..., dims], got a tensor without dimensions")
    off = torch.linalg.vector_norm(gradient, dim=-1) - 1
    loss: Tensor = off.square().sum() / max(off.numel(), 1)
    return loss


def neus_alpha(
    sdf: Tensor,
    gradient: Tensor,
    direction: Tensor,
    distance: Tensor | float,
    inverse_deviation: Tensor | float,
    *,
    anneal: float = 1.0,
) -> Tensor:
    """Opacity of the intervals of a ray, from distances and normals at their middles, as in NeuS.

    With c = <direction, gradient> the distance falls along the ray by ``slope * distance``, where
    ``slope = -(relu((1 - c) / 2) (1 - anneal) + relu(-c) anneal)``; with p and q the logistic functions of
    ``inverse_deviation`` times the distances at both ends, the opacity is ``(p - q + 1e-5) / (p + 1e-5)`` within 0 and
    1.

    Args:
        sdf: ``[...]``.
        gradient: ``[..., dims]``, d(sdf)/dx.
        direction: ``[..., dims]``, of length 1, of the ray.
        distance: ``[...]`` or a number, lengths of the intervals.
        inverse_deviation: number or tensor, sharpness of the surface; NeuS trains v in exp(10 v), from 0.3.
        anneal: 0 to 1, raised from 0 to 1 at the beginning of training; below 1 surfaces seen from behind count too.

    Returns:
        ``[...]``, differentiable in all tensors.

    Source: NeuS (Wang et al., 2021) and its form in NeuS2 (2023).
    """
    for name, x in (("sdf", sdf), ("gradient", gradient), ("direction", direction)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(x).__name__}")
    if gradient.dim() == 0 or direction.dim() == 0 or gradient.shape[-1] != direction.shape[-1]:
        raise ValueError(
            f"direction must be [..., dims] as gradient, {tuple(gradient.shape)}, got {tuple(direction.shape)}"
        )
    anneal = _checks.real("anneal", anneal)
    if not 0 <= anneal <= 1:
        raise ValueError(f"anneal must be within 0 and 1, got {anneal}")
    cosine = (direction * gradient).sum(-1)
    slope = -(torch.relu(0.5 - 0.5 * cosine) * (1 - anneal) + torch.relu(-cosine) * anneal)
    half = slope * distance * 0.5
    before = torch.sigmoid((sdf - half) * inverse_deviation)
    after = torch.sigmoid((sdf + half) * inverse_deviation)
    return ((before - after + 1e-5) / (before + 1e-5)).clamp(0, 1)
