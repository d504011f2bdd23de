# SPDX-License-Identifier: Apache-2.0
"""Value and gradient of an MLP on a hash grid, with the gradient as an ordinary output: one backward serves any loss.

Notation, for L hidden layers with activation ``act``, a point's input ``a[0] = (SCALE (x - centre), encode(x))`` and::

    a[k] = act(a[k-1] W[k]^T + b[k]),  s[k] = act' there        k = 1 .. L
    out  = a[L] W[L+1]^T + b[L+1]                               the first of out is the distance
    e[L] = W[L+1][0],  d[k] = e[k] s[k],  e[k-1] = d[k] W[k]

``e[0]`` is d(distance)/d(a[0]); the gradient is SCALE times its first part plus the encoding's backward of the rest.
All of this is differentiated by hand below, where lists start at the first hidden layer: a[0] stands for a[1] above.

What bounds it: as separate operators over all points every elementwise pass goes through memory, in tensors that are
paged in anew. So points are taken in chunks whose activations stay in cache, in buffers made once, each thread with
chunks of its own, and the backward pass computes the activations again. Kept between the passes are the encoding and
d(distance)/d(encoding), nothing as wide as the hidden layers.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..hashgrid.registration import HashgridBackward, encoded
from . import workers
from .autocast import without_autocast

BETA = 100.0  # of softplus
# Beyond BETA z = 40 softplus is z to the last bit of float64; torch's own 20 leaves a step of 2e-9 in the derivative.
THRESHOLD = 40.0
SCALE = 2.0  # the cube enters the network as [-1, 1]
CPU_CHUNK = 1 << 17  # elements of a buffer
CUDA_CHUNK = 1 << 26

_ops = torch.ops.warphash


def activate(z: Tensor, smooth: bool) -> Tensor:
    """Softplus, or relu."""
    return functional.softplus(z, BETA, THRESHOLD) if smooth else torch.relu(z)


def explicit(
    x: Tensor, centre: Tensor, table: Tensor, level_weights: Tensor, grid: str, smooth: bool, *weights: Tensor
) -> tuple[Tensor, Tensor]:
    """``out`` and gradient by operators of torch, the same as :class:`Passes`: for torch.compile and torch.func."""
    matrices, biases = weights[0::2], weights[1::2]
    dtype = matrices[0].dtype
    a = torch.cat([(SCALE * (x - centre)).to(dtype), encoded(x, table, level_weights, grid).to(dtype)], -1)
    slopes = []
    for matrix, bias in zip(matrices[:-1], biases[:-1], strict=True):
        z = functional.linear(a, matrix, bias)
        slopes.append(torch.sigmoid(BETA * z) if smooth else (z > 0).to(dtype))
        a = activate(z, smooth)
    out = functional.linear(a, matrices[-1], biases[-1])
    e = matrices[-1][0]
    for matrix, slope in zip(reversed(matrices[:-1]), reversed(slopes), strict=True):
        e = (e * slope) @ matrix
    dims = x.shape[1]
    return out, _through_encoding(e[:, dims:].to(table.dtype), x, table, level_weights, grid) + SCALE * e[:, :dims]


# One call of the compiler's graph, as ``encoded``: else a torch.func.grad inside of the graph would be cut off here.
@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def _through_encoding(gradient: Tensor, x: Tensor, table: Tensor, level_weights: Tensor, grid: str) -> Tensor:
    deterministic = torch.are_deterministic_algorithms_enabled()
    of_x: Tensor = HashgridBackward.apply(  # type: ignore[no-untyped-call]
        gradient, x, table, level_weights, grid, True, False, False, deterministic
    )[0]
    return of_x


class _Chunks:
    """The MLP over chunks of points, with the buffers of one chunk.

    The first layer is taken apart: products with the coordinates' few columns are several times faster in the
    transposed layout ([dims, N]), and the encoding's columns then read and write whole tensors, without a copy.
    """

    def __init__(self, x: Tensor, centre: Tensor, encoded: Tensor, weights: tuple[Tensor, ...], smooth: bool) -> None:
        self.encoded, self.smooth = encoded, smooth
        self.matrices, self.biases = weights[0::2], weights[1::2]
        self.layers, self.hidden = len(self.matrices) - 1, self.matrices[0].shape[0]
        points, dims = x.shape
        self.of_coordinates = self.matrices[0][:, :dims].t().contiguous()  # [dims, hidden]
        self.of_encoding = self.matrices[0][:, dims:].contiguous()
        self.coordinates = transposed((x - centre) * SCALE, self.of_encoding.dtype)
        elements = CPU_CHUNK if x.device.type == "cpu" else CUDA_CHUNK
        # Chunks of one size: matrix products are slow on a small rest.
        count = max(1, -(-points * max(self.hidden, encoded.shape[1]) // elements))
        self.size = max(1, -(-points // count))
        self.spans = [slice(begin, min(begin + self.size, points)) for begin in range(0, points, self.size)]
        self.made: dict[tuple[str, int], Tensor] = {}

    def parts(self) -> list[_Chunks]:
        """The same for each thread: with chunks and buffers of its own."""
        count = max(1, min(workers.available(self.encoded.device), len(self.spans)))
        found = [copy.copy(self) for _ in range(count)]
        for i, part in enumerate(found):
            part.spans = self.spans[len(self.spans) * i // count : len(self.spans) * (i + 1) // count]
            part.made = {}
        return found

    def buffer(self, name: str, index: int, rows: int, width: int) -> Tensor:
        """A buffer [rows, width] of uninitialised numbers, the same for the same name and index."""
        key = name, index
        if key not in self.made:
            self.made[key] = self.of_encoding.new_empty(self.size, width)
        return self.made[key][:rows]

    def hiddens(self, name: str, rows: int) -> list[Tensor]:
        """A buffer for each hidden layer."""
        return [self.buffer(name, k, rows, self.hidden) for k in range(self.layers)]

    def chunk_of(self, whole: Tensor, span: slice) -> Tensor:
        """Rows of a tensor as wide as the encoding, in the dtype of the MLP."""
        part = whole[span]
        if part.dtype == self.of_encoding.dtype:
            return part
        return self.buffer("converted", 0, len(part), part.shape[1]).copy_(part)

    def to_encoding(self, d: Tensor, whole: Tensor, span: slice) -> None:
        """Writes ``d`` [rows, hidden] times the encoding's columns into rows of ``whole``."""
        if whole.dtype == d.dtype:
            torch.mm(d, self.of_encoding, out=whole[span])
        else:
            whole[span] = torch.mm(d, self.of_encoding, out=self.buffer("converted", 0, len(d), whole.shape[1]))

    def to_coordinates(self, d: Tensor, whole: Tensor, span: slice) -> None:
        """Writes ``d`` [rows, hidden] times the coordinates' columns into columns of ``whole`` [dims, N]."""
        torch.mm(self.of_coordinates, d.t(), out=whole[:, span])

    def evaluate(self, span: slice) -> tuple[list[Tensor], list[Tensor]]:
        """Activations a[1] .. a[L] and slopes s[1] .. s[L] of a chunk."""
        rows = span.stop - span.start
        a, s = self.hiddens("a", rows), self.hiddens("s", rows)
        for k in range(self.layers):
            z, slope = a[k], s[k]
            if k:
                torch.addmm(self.biases[k], a[k - 1], self.matrices[k].t(), out=z)
            else:
                torch.addmm(self.biases[0], self.chunk_of(self.encoded, span), self.of_encoding.t(), out=z)
                z.addmm_(self.coordinates[:, span].t(), self.of_coordinates)
            if self.smooth:
                torch.mul(z, BETA, out=slope)
                slope.sigmoid_()
                # softplus = relu(z) - log(max(slope, 1 - slope)) / BETA, in half the time of exp and log1p
                rest = self.buffer("rest", 0, rows, self.hidden)
                torch.sub(slope, 0.5, out=rest)
                rest.abs_().add_(0.5).log_()
                z.relu_().add_(rest, alpha=-1 / BETA)
            else:
                z.relu_()
                torch.gt(z, 0, out=slope)
        return a, s


def transposed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """[dims, N], contiguous."""
    return x.t().to(dtype, memory_format=torch.contiguous_format, copy=True)


class _Found:
    """Sums of the weights' gradients; the first matrix in two parts, as in :class:`_Chunks`."""

    def __init__(self, chunks: _Chunks) -> None:
        self.matrices = [torch.zeros_like(w) for w in (chunks.of_encoding, *chunks.matrices[1:])]
        self.biases = [torch.zeros_like(w) for w in chunks.biases]
        self.of_coordinates = torch.zeros_like(chunks.of_coordinates)

    def first(self, left: Tensor, encoding: Tensor, coordinates: Tensor) -> None:
        """Adds ``left`` [rows, hidden] times a right side of the width of a[0], given in its parts."""
        self.matrices[0].addmm_(left.t(), encoding)
        self.of_coordinates.addmm_(coordinates, left)

    def all(self) -> list[Tensor]:
        """In the order of the weights."""
        whole = [torch.cat([self.of_coordinates.t(), self.matrices[0]], 1), *self.matrices[1:]]
        return [w for pair in zip(whole, self.biases, strict=True) for w in pair]


def _sums(lists: list[list[Tensor]]) -> list[Tensor]:
    """Of the first tensors, of the second, and so on, always in the same order."""
    return [functools.reduce(torch.add, tensors) for tensors in zip(*lists, strict=True)]


class Passes(torch.autograd.Function):
    """``out`` [N, 1 + features] and the gradient [N, dims] of its first column; differentiable once."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        centre: Tensor,
        table: Tensor,
        level_weights: Tensor,
        grid: str,
        smooth: bool,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Both outputs; keeps what the backward pass needs of the encoding."""
        encoded = _ops.hashgrid_encode(x, table, level_weights, grid)
        slope = torch.empty_like(encoded)  # d(distance)/d(encoding)
        chunks = _Chunks(x, centre, encoded, weights, smooth)
        out = weights[-1].new_empty(len(x), len(weights[-1]))
        direct = torch.empty_like(chunks.coordinates)
        workers.run(_mlp_forward, [(part, out, direct, slope) for part in chunks.parts()])
        deterministic = torch.are_deterministic_algorithms_enabled()
        gradient = _ops.hashgrid_backward(slope, x, table, level_weights, grid, True, False, False, deterministic)[0]
        gradient.add_(direct.t(), alpha=SCALE)
        ctx.save_for_backward(x, centre, table, level_weights, encoded, slope, *weights)
        ctx.grid, ctx.smooth, ctx.deterministic = grid, smooth, deterministic
        ctx.set_materialize_grads(False)
        return out, gradient

    @staticmethod
    def backward(ctx: Any, to_out: Tensor | None, to_gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        """From the gradients of both outputs to those of x, table and weights."""
        needed = (ctx.needs_input_grad[0], ctx.needs_input_grad[2], any(ctx.needs_input_grad[6:]))
        saved = ctx.saved_tensors  # once: checkpointing unpacks a tensor a single time
        with without_autocast(saved[0].device):
            to_x, to_table, *to_weights = PassesBackward.apply(  # type: ignore[no-untyped-call]
                to_out, to_gradient, ctx.grid, ctx.smooth, ctx.deterministic, needed, *saved
            )
        return to_x, None, to_table, None, None, None, *to_weights


class PassesBackward(torch.autograd.Function):
    """The derivative of :class:`Passes`, which ends the chain: a third derivative of the encoding would be needed."""

    @staticmethod
    def forward(
        ctx: Any,
        to_out: Tensor | None,
        to_gradient: Tensor | None,
        grid: str,
        smooth: bool,
        deterministic: bool,
        needed: tuple[bool, bool, bool],
        *saved: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """The gradients of x, table and each of the MLP's weights; None where not needed."""
        x, centre, table, level_weights, encoded, slope, *weights = saved
        of_x, of_table, of_weights = needed
        chunks = _Chunks(x, centre, encoded, tuple(weights), smooth)
        parts = chunks.parts()
        found = [_Found(chunks) for _ in parts] if of_weights else []
        to_x = to_table = None
        if to_gradient is None:
            turned = torch.empty_like(encoded)
        else:
            turned, to_x, to_table, _ = _ops.hashgrid_double_backward(
                to_gradient, slope, x, table, level_weights, grid, True, of_x, of_table, False, deterministic
            )
        # The derivative of relu is constant: with it a loss on the gradient alone does not reach the values.
        reached = to_out is not None or smooth
        direct = torch.empty_like(chunks.coordinates) if of_x and reached else None
        to_direct = None if to_gradient is None else transposed(to_gradient * SCALE, weights[0].dtype)
        arguments = to_out, to_direct, turned, direct, reached
        calls = [(part, found[i] if found else None, *arguments) for i, part in enumerate(parts)]
        workers.run(_mlp_backward, calls)
        if reached and (of_x or of_table):
            more_x, more_table, _ = _ops.hashgrid_backward(
                turned, x, table, level_weights, grid, of_x, of_table, False, deterministic
            )
            if direct is not None:
                more_x.add_(direct.t(), alpha=SCALE)
            to_x = more_x if to_x is None else to_x.add_(more_x)
            to_table = more_table if to_table is None else to_table.add_(more_table)
        return (
            to_x if of_x else None,
            to_table.to(table.dtype) if of_table and to_table is not None else None,
            *(_sums([own.all() for own in found]) if found else [None] * len(weights)),
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> None:
        """Refuses."""
        raise NotImplementedError("the gradients of sdf_and_gradient and evaluate are differentiable once; use sdf")


def _mlp_forward(chunks: _Chunks, out: Tensor, direct: Tensor, slope: Tensor) -> None:
    """The MLP's part of the forward pass: fills ``out`` and d(distance)/d(a[0]), as [dims, N] and [N, encoding]."""
    matrices = chunks.matrices
    for span in chunks.spans:
        a, s = chunks.evaluate(span)
        torch.addmm(chunks.biases[-1], a[-1], matrices[-1].t(), out=out[span])
        d = s[-1].mul_(matrices[-1][0])
        for k in range(chunks.layers - 1, 0, -1):
            d = torch.mm(d, matrices[k], out=a[k - 1]).mul_(s[k - 1])
        chunks.to_coordinates(d, direct, span)
        chunks.to_encoding(d, slope, span)


def _mlp_backward(
    chunks: _Chunks,
    found: _Found | None,
    to_out: Tensor | None,
    to_direct: Tensor | None,
    turned: Tensor,
    direct: Tensor | None,
    reached: bool,
) -> None:
    """The MLP's part of the backward pass.

    ``turned`` holds the gradient of e[0] where it belongs to the encoding, and is overwritten by that of a[0];
    ``to_direct`` [dims, N] holds that of e[0] where it belongs to the coordinates, ``direct`` takes that of a[0]. The
    weights' gradients are added to ``found``.
    """
    matrices, layers = chunks.matrices, chunks.layers
    for span in chunks.spans:
        rows = span.stop - span.start
        a, s = chunks.evaluate(span)
        back = chunks.hiddens("back", rows)
        bent: list[Tensor] = []  # what reaches z through the slope s
        if to_direct is not None:
            d = chunks.hiddens("d", rows)
            torch.mul(s[-1], matrices[-1][0], out=d[-1])
            for k in range(layers - 1, 0, -1):
                torch.mm(d[k], matrices[k], out=d[k - 1]).mul_(s[k - 1])
            # From the gradient of e[0] upwards: back becomes the gradient of d, then that of e.
            from_encoding, from_coordinates = chunks.chunk_of(turned, span), to_direct[:, span]
            torch.mm(from_encoding, chunks.of_encoding.t(), out=back[0])
            back[0].addmm_(from_coordinates.t(), chunks.of_coordinates)
            if found is not None:
                found.first(d[0], from_encoding, from_coordinates)
            for k in range(layers):
                if k:
                    if found is not None:
                        found.matrices[k].addmm_(d[k].t(), back[k - 1])
                    torch.mm(back[k - 1], matrices[k].t(), out=back[k])
                if chunks.smooth:  # the gradient of d times e s', where e s' = BETA (1 - s) d
                    bent.append(d[k].mul_(back[k]).addcmul_(d[k], s[k], value=-1).mul_(BETA))
                back[k].mul_(s[k])
            if found is not None:
                found.matrices[-1][0].add_(back[-1].sum(0))
        if not reached:
            continue
        # From the gradient of out downwards: back becomes the gradient of a, then that of z.
        if to_out is None:
            back[-1].zero_()
        else:
            torch.mm(to_out[span], matrices[-1], out=back[-1])
            if found is not None:
                found.matrices[-1].addmm_(to_out[span].t(), a[-1])
                found.biases[-1].add_(to_out[span].sum(0))
        for k in range(layers - 1, -1, -1):
            back[k].mul_(s[k])
            if bent:
                back[k].add_(bent[k])
            if found is not None:
                found.biases[k].add_(back[k].sum(0))
                if k:
                    found.matrices[k].addmm_(back[k].t(), a[k - 1])
                else:
                    found.first(back[0], chunks.chunk_of(chunks.encoded, span), chunks.coordinates[:, span])
            if k:
                torch.mm(back[k], matrices[k], out=back[k - 1])
        chunks.to_encoding(back[0], turned, span)
        if direct is not None:
            chunks.to_coordinates(back[0], direct, span)
