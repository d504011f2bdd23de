# SPDX-License-Identifier: Apache-2.0
"""Our side of the benches of sparse products: the calls, and the checks of answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.harness.workload import Contestant, Prepared, Settings, Unavailable
from bench.spgemm_inputs import Csr, Product, csr_of

BOTH = ("cpu", "cuda")


# ---- answers ---------------------------------------------------------------------------------------------


def as_matrix(result: Any) -> Csr:
    """A product of torch or SciPy, columns sorted."""
    if hasattr(result, "sort_indices"):
        result.sort_indices()
        return csr_of(result)
    return csr_of(result).sorted()


def as_arrays(result: Any) -> tuple[np.ndarray[Any, Any], ...]:
    parts = result if isinstance(result, tuple | list) else (result,)
    return tuple(part if isinstance(part, np.ndarray) else part.detach().cpu().numpy() for part in parts)


def values_of(result: Any) -> tuple[np.ndarray[Any, Any], ...]:
    """Of sparse matrices, in the order of rows and columns."""
    parts = result if isinstance(result, tuple | list) else (result,)
    return tuple(
        part.coalesce().values().detach().numpy() if part.layout == torch.sparse_coo else csr_of(part).values
        for part in parts
    )


# ---- calls -----------------------------------------------------------------------------------------------


def solve_matmul(inputs: Product) -> Any:
    import warphash

    return warphash.spgemm.matmul(inputs.a, inputs.b, semiring=inputs.semiring, mask=inputs.mask)


def solve_topk(inputs: Product) -> Any:
    import warphash

    return tuple(warphash.spgemm.topk(inputs.a, inputs.b, inputs.k))


def solve_reuse(inputs: Product) -> Any:
    return inputs.plan.matmul(inputs.a.values(), inputs.b.values())


def backward_call(inputs: Product) -> Callable[[], Any]:
    """Both gradients from that of the values, as a loss of them has it; the product is made before."""
    import warphash

    a, b = (operand.detach().requires_grad_() for operand in (inputs.a, inputs.b))
    values, gradient = warphash.spgemm.matmul(a, b).values(), inputs.gradient.values()
    return lambda: torch.autograd.grad(values, (a, b), grad_outputs=gradient, retain_graph=True)


def ours(solve: Callable[[Product], Any], answer: Callable[[Any], Any], name: str = "warphash") -> Contestant:
    def prepare(inputs: Product, settings: Settings) -> Prepared:
        return Prepared(lambda: solve(inputs), answer)

    return Contestant(name, prepare, devices=BOTH)


def our_backward() -> Contestant:
    return Contestant("warphash", lambda inputs, settings: Prepared(backward_call(inputs), values_of), devices=BOTH)


def one_thread(solve: Callable[[Product], Any], answer: Callable[[Any], Any] = as_matrix) -> Contestant:
    """Ours on one thread, where all have several: what the others bring."""

    def prepare(inputs: Product, settings: Settings) -> Prepared:
        if settings.threads == 1:
            raise Unavailable("all have one thread")

        def call() -> Any:
            torch.set_num_threads(1)
            try:
                return solve(inputs)
            finally:
                torch.set_num_threads(settings.threads)

        return Prepared(call, answer)

    return Contestant("warphash, one thread", prepare)


# ---- checks ----------------------------------------------------------------------------------------------


def _close(mine: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> bool:
    """In pieces, since what NumPy keeps for the comparison is several times the arrays."""
    piece = 1 << 22
    return all(
        np.allclose(mine[first : first + piece], theirs[first : first + piece], rtol=2e-4, atol=1e-5)
        for first in range(0, len(mine), piece)
    )


def same_matrix(ours: Any, theirs: Csr, _: Any) -> str | None:
    """The same pattern; values but for the order of sums."""
    mine = as_matrix(ours)
    if mine.shape != theirs.shape:
        return f"shape {theirs.shape}, ours {mine.shape}"
    if not np.array_equal(mine.crow, theirs.crow):
        return f"{len(theirs.col)} entries, ours {len(mine.col)}, or in other rows"
    if not np.array_equal(mine.col, theirs.col):
        return f"{np.mean(mine.col != theirs.col):.2%} of all columns differ"
    return None if _close(mine.values, theirs.values) else "values differ"


def same_values(ours: Any, theirs: Any, _: Any) -> str | None:
    """Arrays of floats but for the order of sums."""
    for number, (mine, yours) in enumerate(zip(as_arrays(ours), as_arrays(theirs), strict=True)):
        if mine.shape != yours.shape:
            return f"array {number}: shape {yours.shape}, ours {mine.shape}"
        if not _close(mine, yours):
            return f"array {number}: values differ"
    return None


def same_gradients(ours: Any, theirs: Any, _: Any) -> str | None:
    return same_values(values_of(ours), theirs, None)


def same_best(ours: Any, theirs: Any, _: Any) -> str | None:
    """Values and columns of the largest entries; of two almost equal ones either may come first."""
    (mine, columns), (yours, other_columns) = as_arrays(ours), as_arrays(theirs)
    if mine.shape != yours.shape:
        return f"shape {yours.shape}, ours {mine.shape}"
    if not np.allclose(mine, yours, rtol=2e-4, atol=1e-5):
        return "values differ"
    moved = np.mean(columns != other_columns) if columns.size else 0.0
    return f"{moved:.2%} of all columns differ" if moved > 0.02 else None
