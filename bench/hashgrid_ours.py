# SPDX-License-Identifier: Apache-2.0
"""Our side of the hash-grid benches: the calls, the kernels of one instruction set, and the checks of answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.harness.workload import FULL, NAMED, QUICK, Contestant, Prepared, Settings, Unavailable
from bench.hashgrid_inputs import Encoding

# ---- ours ------------------------------------------------------------------------------------------------


def as_arrays(result: Any) -> tuple[np.ndarray, ...]:
    parts = result if isinstance(result, tuple | list) else (result,)
    return tuple(part if isinstance(part, np.ndarray) else part.detach().float().cpu().numpy() for part in parts)


def ours(solve: Callable[[Encoding], Any]) -> Contestant:
    def prepare(inputs: Encoding, settings: Settings) -> Prepared:
        return Prepared(lambda: solve(inputs), as_arrays)

    return Contestant("warphash", prepare, devices=("cpu", "cuda"))


def level(isa: str, derivatives: bool = False, modes: tuple[str, ...] = (QUICK, FULL, NAMED)) -> Contestant:
    """Our kernels of one instruction set, past torch; not where that is what the operator takes anyhow.

    derivatives: to x and table, else the encoding.
    """

    def prepare(inputs: Encoding, settings: Settings) -> Prepared:
        from warphash import _C

        if isa == _C.cpu_features()["isa"]:
            raise Unavailable("it is what warphash itself uses here")
        x, table, gradient = (part.numpy() for part in (inputs.x, inputs.table, inputs.gradient))
        text = inputs.spec.text

        def call() -> Any:
            try:
                if derivatives:
                    return _C.kernels.hashgrid_backward(isa, gradient, x, table, text)
                return _C.kernels.hashgrid_encode(isa, x, table, text)
            except RuntimeError as error:
                raise Unavailable(str(error)) from error

        return Prepared(call, as_arrays)

    return Contestant(f"warphash ({isa})", prepare, modes=modes)


def solve_encode(inputs: Encoding) -> Any:
    import warphash

    return warphash.hashgrid.encode(inputs.x, inputs.table, inputs.spec, level_weights=inputs.level_weights)


def solve_backward(inputs: Encoding) -> Any:
    """The table's gradient alone."""
    wanted = (False, True, False)
    found = torch.ops.warphash.hashgrid_backward(
        inputs.gradient, inputs.x, inputs.table, inputs.level_weights, inputs.spec.text, *wanted, False
    )
    return found[1]


def solve_both_backward(inputs: Encoding) -> Any:
    """Gradients to points and table, without autograd."""
    wanted = (True, True, False)
    found = torch.ops.warphash.hashgrid_backward(
        inputs.gradient, inputs.x, inputs.table, inputs.level_weights, inputs.spec.text, *wanted, False
    )
    return found[0], found[1]


def solve_train(inputs: Encoding) -> Any:
    """Encoding, then the table's gradient, by autograd."""
    import warphash

    table = inputs.table.detach().requires_grad_()
    encoded = warphash.hashgrid.encode(inputs.x, table, inputs.spec)
    return (encoded, *torch.autograd.grad(encoded, table, inputs.gradient))


def solve_train_with_x(inputs: Encoding) -> Any:
    """Encoding, then the gradients to points and table, by autograd."""
    import warphash

    x, table = inputs.x.detach().requires_grad_(), inputs.table.detach().requires_grad_()
    encoded = warphash.hashgrid.encode(x, table, inputs.spec)
    return (encoded, *torch.autograd.grad(encoded, (x, table), inputs.gradient))


def eikonal_step(encode: Callable[..., torch.Tensor], x: Any, table: Any, head: Any) -> tuple[torch.Tensor, ...]:
    """Gradients of a loss of the points' gradients: to x, the table (or its levels), and the head.

    distance = encode(x, table) @ head; slope = d distance / dx; loss = mean((|slope| - 1)^2). The head is what comes to
    the encoding from above, so that all three inputs of the first derivative get theirs.
    """
    x, head = x.detach().requires_grad_(), head.detach().requires_grad_()
    tables = [part.detach().requires_grad_() for part in (table if isinstance(table, list) else [table])]
    distance = encode(x, tables if isinstance(table, list) else tables[0]) @ head
    (slope,) = torch.autograd.grad(distance.sum(), x, create_graph=True)
    loss = (slope.norm(dim=1) - 1).square().mean()
    return torch.autograd.grad(loss, (x, head, *tables))


def solve_eikonal(inputs: Encoding) -> Any:
    import warphash

    return eikonal_step(
        lambda x, table: warphash.hashgrid.encode(x, table, inputs.spec), inputs.x, inputs.table, inputs.head
    )


def second_derivative(encode: Callable[..., torch.Tensor], inputs: Encoding, tables: list[torch.Tensor]) -> Any:
    """A call that goes back through dL/dx, made before: gradients to points, what came from above, and tables."""
    x = inputs.x.detach().requires_grad_()
    gradient = inputs.gradient.detach().requires_grad_()
    tables = [table.detach().requires_grad_() for table in tables]
    (slope,) = torch.autograd.grad(encode(x, tables), x, gradient, create_graph=True)
    above = inputs.x - 0.5  # what comes back for dL/dx: anything of its size that is not constant
    return lambda: torch.autograd.grad(slope, (x, gradient, *tables), above, retain_graph=True)


def _double_backward(inputs: Encoding) -> Any:
    import warphash

    return second_derivative(
        lambda x, tables: warphash.hashgrid.encode(x, tables[0], inputs.spec), inputs, [inputs.table]
    )


def solve_double_backward(inputs: Encoding) -> Any:
    return _double_backward(inputs)()


def our_double_backward() -> Contestant:
    """The first derivative is made before."""
    return Contestant(
        "warphash", lambda inputs, settings: Prepared(_double_backward(inputs), as_arrays), devices=("cpu", "cuda")
    )


# ---- checks ----------------------------------------------------------------------------------------------


def closeness(tolerance: float, rows: float = 1.0) -> Callable[[Any, Any, Any], str | None]:
    """Peers round a point's position twice, we once.

    The encoding and the table's gradient are continuous in it: each value agrees within the tolerance, relative to
    itself and to the root mean square of all. Derivatives in x jump where the position crosses a face of a cell: `rows`
    is the share of rows that must agree.
    """

    def check(ours: Any, theirs: Any, _: Any) -> str | None:
        mine, yours = as_arrays(ours), as_arrays(theirs)
        if len(mine) != len(yours):
            return f"{len(yours)} arrays, ours {len(mine)}"
        for number, (a, b) in enumerate(zip(mine, yours, strict=True)):
            if a.shape != b.shape:
                return f"array {number}: shape {b.shape}, ours {a.shape}"
            usual = float(np.sqrt(np.square(a, dtype=np.float64).mean())) if a.size else 0.0
            # Not `>`: what is not a number is not close.
            far = ~(np.abs(a - b) <= tolerance * (np.abs(a) + usual))
            share = far.reshape(len(far), -1).any(1).mean() if far.size else 0.0
            if share > 1 - rows:
                return f"array {number}: {share:.2%} of its rows differ"
        return None

    return check
