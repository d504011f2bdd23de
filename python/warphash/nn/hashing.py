# SPDX-License-Identifier: Apache-2.0
"""Layers that end in binary codes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import _checks, hamming
from .autocast import autocast_is_on

BINARIZERS = ("sign_ste", "tanh", "bihalf", "bn_sign")


def sign(u: Tensor) -> Tensor:
    """±1 in the dtype of u; 0 gives +1 and NaN −1, as in packed codes (torch.sign would make 0 a third symbol)."""
    return torch.where(u >= 0, 1.0, -1.0).to(u.dtype)


class SignStraightThrough(torch.autograd.Function):
    """Sign forward; backward hands the gradient on, where ``clipped`` only for |u| <= 1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, clipped: bool) -> Tensor:
        return sign(u)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, bool], output: Tensor) -> None:
        u, ctx.clipped = inputs
        if ctx.clipped:
            ctx.save_for_backward(u)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (grad,) = grad_outputs
        if ctx.clipped:
            (u,) = ctx.saved_tensors
            grad = torch.where(u.abs() <= 1, grad, torch.zeros_like(grad))
        return grad, None


class BiHalf(torch.autograd.Function):
    """Each column's larger half becomes +1 and the rest −1; backward adds a pull of u towards its code."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, gamma: float) -> Tensor:
        # Stable, so that equal values are split by row number and the answer is the same everywhere.
        order = torch.argsort(u, dim=0, descending=True, stable=True)
        half = torch.arange(u.shape[0], device=u.device) < u.shape[0] // 2
        ranked = torch.where(half, 1.0, -1.0).to(u.dtype).unsqueeze(1).expand_as(u)
        return torch.empty_like(u).scatter(0, order, ranked)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        u, ctx.gamma = inputs
        ctx.save_for_backward(u, output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (grad,) = grad_outputs
        u, codes = ctx.saved_tensors
        return grad + ctx.gamma / max(u.numel(), 1) * (u - codes), None


class HashHead(nn.Module):
    """A linear layer whose output becomes a binary code: differentiable while training, ±1 in eval mode.

    With u = Linear(x) [..., bits] the layer gives, in training mode,

    ============ ============================================================== =======================================
    binarizer    training output                                                gradient
    ============ ============================================================== =======================================
    ``sign_ste`` sign(u)                                                        straight through; with ``clipped=True``
                                                                                zero where abs(u) > 1
    ``tanh``     tanh(beta · u), continuation: raise beta with :meth:`set_beta` true
    ``bihalf``   per bit, +1 for the larger floor(batch / 2) values, else −1    straight through, plus
                                                                                gamma · (u − code) / numel(u)
    ``bn_sign``  sign(BatchNorm(u)), which balances the bits                    straight through (``clipped`` as above)
    ============ ============================================================== =======================================

    and in eval mode sign(u) for all of them (of the running-statistics batch norm for ``bn_sign``): a constant, without
    gradient, with sign(0) = +1 and sign(NaN) = −1. Sources: GreedyHash (Su et al. 2018), HashNet (Cao et al. 2017),
    Bi-half Net (Li and van Gemert 2021), OrthoHash (Hoe et al. 2021).

    Args:
        in_features: size of the last dimension of x.
        bits: length of a code; any number >= 1.
        binarizer: see above.
        bias: whether the linear layer has one.
        clipped: clip the straight-through gradient; sign_ste and bn_sign alone.
        gamma: weight of bihalf's pull.

    Shapes: x [..., in_features] of a floating dtype → codes [..., bits] in the linear layer's output dtype; bihalf and
    bn_sign take all leading dimensions together as the batch. Memory: the output and what autograd keeps of u.

    The buffer ``beta`` (tanh) and the batch norm's statistics (bn_sign) are part of the state_dict.
    """

    def __init__(
        self,
        in_features: int,
        bits: int,
        *,
        binarizer: str = "sign_ste",
        bias: bool = True,
        clipped: bool = False,
        gamma: float = 6.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        in_features, bits = _checks.count("in_features", in_features, 1), _checks.count("bits", bits, 1)
        if binarizer not in BINARIZERS:
            raise ValueError(f"binarizer must be one of {', '.join(BINARIZERS)}; got {binarizer!r}")
        if clipped and binarizer not in ("sign_ste", "bn_sign"):
            raise ValueError(f"clipped belongs to the straight-through binarizers, got it with binarizer={binarizer!r}")
        gamma = _checks.real("gamma", gamma)
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        self.in_features = in_features
        self.bits = bits
        self.binarizer = binarizer
        self.clipped = clipped
        self.gamma = gamma
        self.linear = nn.Linear(in_features, bits, bias=bias, device=device, dtype=dtype)
        self.norm = nn.BatchNorm1d(bits, device=device, dtype=dtype) if binarizer == "bn_sign" else None
        self.beta: Tensor | None
        self.register_buffer("beta", torch.ones((), device=device, dtype=dtype) if binarizer == "tanh" else None)

    def set_beta(self, beta: float) -> None:
        """Sets the steepness of tanh(beta · u). HashNet raises it in steps, say sqrt(floor(epoch / 20) + 1)."""
        if self.beta is None:
            raise ValueError(f"set_beta needs binarizer='tanh', this head has {self.binarizer!r}")
        beta = _checks.real("beta", beta)
        if beta <= 0:
            raise ValueError(f"beta must be positive, got {beta}")
        self.beta.fill_(beta)

    def project(self, x: Tensor) -> Tensor:
        """What the binarizer works on, u [..., bits]: for quantization losses, say mean(abs(abs(u) − 1) ** 3)."""
        self._check(x)
        u: Tensor = self.linear(x)
        if self.norm is not None:
            u = self.norm(u.reshape(-1, self.bits)).reshape(u.shape)
        return u

    def binarize(self, u: Tensor) -> Tensor:
        """The second half of forward: codes [..., bits] of ``u = project(x)``."""
        if not self.training:
            return sign(u.detach())
        if self.beta is not None:
            return torch.tanh(self.beta * u)
        if self.binarizer == "bihalf":
            halves: Tensor = BiHalf.apply(u.reshape(-1, self.bits), self.gamma)  # type: ignore[no-untyped-call]
            return halves.reshape(u.shape)
        codes: Tensor = SignStraightThrough.apply(u, self.clipped)  # type: ignore[no-untyped-call]
        return codes

    def forward(self, x: Tensor) -> Tensor:
        return self.binarize(self.project(x))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Packed codes uint8 [..., ceil(bits / 8)] of x [..., in_features], as :mod:`warphash.hamming` takes them.

        Bit j is set where the eval-mode code is +1, whether or not the module is in training mode; batch statistics are
        neither used nor updated.
        """
        self._check(x)
        u = self.linear(x)
        if self.norm is not None:
            norm = self.norm
            flat = functional.batch_norm(
                u.reshape(-1, self.bits),
                norm.running_mean,
                norm.running_var,
                norm.weight,
                norm.bias,
                False,
                0.0,
                norm.eps,
            )
            u = flat.reshape(u.shape)
        codes: Tensor = hamming.pack(u)
        return codes

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, bits={self.bits}, binarizer={self.binarizer!r}"

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a torch tensor, got {type(x).__name__}")
        _checks.dense("x", x)
        if not x.is_floating_point():
            raise TypeError(f"x must have a floating dtype, got {x.dtype}")
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise ValueError(f"x must be [..., {self.in_features}], got {list(x.shape)}")
        weight = self.linear.weight
        if x.device != weight.device:
            raise ValueError(f"x is on {x.device} and the layer's weight on {weight.device}")
        if x.dtype != weight.dtype and not autocast_is_on(x.device):
            raise TypeError(f"x is {x.dtype} and the layer's weight {weight.dtype}; convert one, or use autocast")
