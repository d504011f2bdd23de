# SPDX-License-Identifier: Apache-2.0
"""One small call of every operator, checked: for foreign torch versions, wheels, and runs under compute-sanitizer.

On the CPU the answers are compared with the plain-torch references (bit for bit but for sums of the hash grid and
gradients of sparse products), on CUDA with the CPU kernels, bit for bit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import warphash as wh
from warphash.hamming import reference as hamming_reference
from warphash.hashgrid import reference as hashgrid_reference
from warphash.lsh.buckets import reference as bucket_reference
from warphash.lsh.pairs import reference as pair_reference
from warphash.lsh.projections import reference as projection_reference
from warphash.lsh.sketches import reference as sketch_reference
from warphash.spgemm import reference as product_reference

_REFERENCES = (
    hamming_reference, hashgrid_reference, projection_reference, sketch_reference, bucket_reference, pair_reference
)  # fmt: skip
Call = tuple[str, Callable[..., Any], tuple[Any, ...]]


def calls() -> Iterator[Call]:
    """(name, function, arguments) with tensors on the CPU; sizes that leave tails in every direction."""
    random = torch.Generator().manual_seed(0)
    for bits in (1, 64, 200, 1024):
        queries, database = (torch.randn(rows, bits, generator=random) for rows in (37, 521))
        q, d = wh.hamming.pack(queries), wh.hamming.pack(database)
        shared = torch.rand(len(d), generator=random) < 0.5
        each = torch.rand(len(q), len(d), generator=random) < 0.5
        yield f"pack {bits}", wh.hamming.pack, (queries,)
        yield f"unpack {bits}", wh.hamming.unpack, (d, bits)
        yield f"cdist {bits}", wh.hamming.cdist, (q, d)
        for rows in (1, 7, 37):
            yield f"topk {bits} Q={rows}", wh.hamming.topk, (q[:rows], d, 10)
        yield f"topk {bits} large k", wh.hamming.topk, (q, d, 600)
        yield f"range_search {bits}", wh.hamming.range_search, (q, d, bits // 2)
        yield f"histogram {bits}", wh.hamming.histogram, (q, d)
        yield f"asymmetric_topk {bits}", wh.hamming.asymmetric_topk, (queries, d, 10)
        yield f"jaccard_topk {bits}", wh.hamming.jaccard_topk, (q, d, 10)
        for mask in (shared, each):
            masked = {"mask": mask}
            yield f"topk {bits} masked", _With(wh.hamming.topk, masked), (q, d, 10)
            yield f"histogram {bits} masked", _With(wh.hamming.histogram, masked), (q, d)
    yield from _grid_calls(random)
    yield from _lsh_calls(random)
    yield from _product_calls(random)


def _grid_calls(random: torch.Generator) -> Iterator[Call]:
    for dims, features, kind, interpolation in (
        (1, 1, "dense", "nearest"), (2, 2, "tiled", "linear"), (3, 2, "hash", "linear"), (4, 8, "hash", "smoothstep"),
    ):  # fmt: skip
        spec = wh.hashgrid.GridSpec(
            dims, levels=3, features=features, log2_table_size=8, base_resolution=3, finest_resolution=9, kind=kind,
            interpolation=interpolation,
        )  # fmt: skip
        x = torch.rand(517, dims, generator=random, dtype=torch.float64) * 1.2 - 0.1
        table = torch.randn(spec.rows, features, generator=random, dtype=torch.float64)
        for dtype in (torch.float64, torch.float32):
            name = f"{dims}-D {kind} {interpolation} {dtype}"
            arguments = (x.to(dtype), table.to(dtype), spec)
            yield f"encode {name}", wh.hashgrid.encode, arguments
            if interpolation != "nearest":  # constant in x
                yield f"gradients {name}", gradients, arguments


def _lsh_calls(random: torch.Generator) -> Iterator[Call]:
    lsh = wh.lsh
    x = torch.randn(37, 70, generator=random)
    planes = lsh.random_planes(70, 13, seed=1)
    yield "simhash", lsh.simhash, (x, planes)
    yield "simhash_codes", _With(lsh.simhash_codes, {"order": "gray"}), (x, planes.unsqueeze(1))
    yield "hd3_simhash", _With(lsh.hd3_simhash, {"seed": 1}), (x, 100)
    yield "cross_polytope", _With(lsh.cross_polytope, {"tables": 3, "seed": 1}), (x,)
    hashes = lsh.random_directions(70, 9, seed=1), lsh.random_offsets(9, 2.0, seed=1), 2.0
    yield "pstable", lsh.pstable, (x, *hashes)
    offsets = torch.randint(0, 40, (37,), generator=random).cumsum(0)
    offsets = torch.cat([offsets.new_zeros(1), offsets])
    for tokens in (torch.int32, torch.int64):
        ids = torch.randint(-(2**31), 2**31, (int(offsets[-1]),), generator=random).to(tokens)
        yield f"minhash {tokens}", _With(lsh.minhash, {"seed": 1}), (ids, offsets, 48)
        yield f"one_permutation_minhash {tokens}", _With(lsh.one_permutation_minhash, {"seed": 1}), (ids, offsets, 48)
    signatures = torch.randint(0, 3, (200, 12), generator=random, dtype=torch.int32)
    keys = lsh.band_keys(signatures, 4)
    yield "band_keys", lsh.band_keys, (signatures, 4)
    yield "bbit_pack", lsh.bbit_pack, (signatures, 2)
    yield "bucket_sizes", lsh.bucket_sizes, (keys,)
    yield "candidate_pairs", _With(lsh.candidate_pairs, {"max_bucket": 20}), (keys,)
    yield "connected_components", lsh.connected_components, (lsh.candidate_pairs(keys, max_bucket=5), 200)
    for buckets in (3, 1 << 12):
        codes = torch.randint(0, buckets, (2, 1100), generator=random)
        yield f"bucket_sort {buckets}", lsh.bucket_sort, (codes, buckets)
        yield f"bucket_sum {buckets}", lsh.bucket_sum, (torch.ones(2, 1100, 3), codes, buckets)
    yield "sort_lsh", lsh.sort_lsh, (torch.randn(2, 300, 70, generator=random), planes)


def _product_calls(random: torch.Generator) -> Iterator[Call]:
    for index, shape in ((torch.int32, (70, 50, 300)), (torch.int64, (33, 300, 41))):
        for dtype in wh.spgemm.csr.VALUES:
            (a_crow, a_col, a), (b_crow, b_col, b), mask = (
                _sparse(rows, columns, dtype, index, random)
                for rows, columns in (shape[:2], shape[1:], (shape[0], shape[2]))
            )
            both, columns = (a_crow, a_col, a, b_crow, b_col, b), shape[2]
            patterns = (a_crow, a_col, b_crow, b_col, columns)
            crow, col = product_reference.pattern(*patterns)
            name = f"{dtype} {index}"
            yield f"spgemm_inspect {name}", _Operator("inspect"), (b_crow, b_col, columns)
            for rest in ((None, None), mask[:2]):
                yield f"spgemm_pattern {name}", _Operator("pattern"), (*patterns, *rest)
            yield f"spgemm_masked_pattern {name}", _Operator("masked_pattern"), (*patterns, *mask[:2])
            for semiring in (0, 1) if dtype == torch.bool else (0, 2, 3):
                called = f"{semiring} {name}"
                yield f"spgemm_matmul {called}", _Operator("matmul"), (*both, columns, semiring, None, None)
                yield f"spgemm_masked {called}", _Operator("masked"), (*both, columns, semiring, *mask[:2])
                yield f"spgemm_numeric {called}", _Operator("numeric"), (*both, crow, col, columns, semiring, True)
                if semiring >= 2:
                    yield f"spgemm_winners {called}", _Operator("winners"), (*both, crow, col, columns, semiring)
            if dtype.is_floating_point:
                yield f"spgemm_topk {name}", _Operator("topk"), (*both, columns, 7)
                gradient = torch.randn(len(col), generator=random).to(dtype)
                every = (gradient, *both, crow, col, columns, True, True)
                yield f"spgemm_gradients {name}", _Operator("gradients"), every


def _sparse(
    rows: int, columns: int, dtype: torch.dtype, index: torch.dtype, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row pointers, columns, values."""
    present = torch.rand(rows, columns, generator=random) < 0.1
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), present.sum(1).cumsum(0)])
    values = torch.randn(int(crow[-1]), generator=random) * 3
    return crow.to(index), present.nonzero()[:, 1].to(index), values > 0 if dtype == torch.bool else values.to(dtype)


class _Operator:
    """An operator of sparse products by name, and its definition."""

    def __init__(self, name: str) -> None:
        self.name, self.__name__ = name, name

    def __call__(self, *arguments: Any) -> Any:
        return getattr(torch.ops.warphash, f"spgemm_{self.name}")(*arguments)

    def reference(self, *arguments: Any) -> Any:
        """What the definition says."""
        return getattr(product_reference, self.name)(*arguments)


def gradients(x: torch.Tensor, table: torch.Tensor, spec: Any) -> tuple[torch.Tensor, ...]:
    """dL/dx, and its square's derivatives to x and the gradient; not the table's, which CUDA sums in no order."""
    return _gradients(wh.hashgrid.encode, x, table, spec)


def _gradients(encode: Callable[..., Any], x: torch.Tensor, table: torch.Tensor, spec: Any) -> tuple[torch.Tensor, ...]:
    x = x.detach().requires_grad_()
    y = encode(x, table, spec)
    upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).view_as(y).requires_grad_()
    (first,) = torch.autograd.grad(y, x, upstream, create_graph=True)
    second = torch.autograd.grad(first.square().sum(), (x, upstream), allow_unused=True, materialize_grads=True)
    return (first.detach(), *second)


class _With:
    """A function with keyword arguments; tensors among them move to the device as the others do."""

    def __init__(self, function: Callable[..., Any], keywords: dict[str, Any]) -> None:
        self.function, self.keywords, self.__name__ = function, keywords, function.__name__

    def __call__(self, *arguments: Any) -> Any:
        device = arguments[0].device
        return self.function(*arguments, **{key: _moved(value, device) for key, value in self.keywords.items()})


def _moved(x: Any, device: torch.device) -> Any:
    return x.to(device) if isinstance(x, torch.Tensor) else x


def _parts(result: Any) -> tuple[torch.Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def expected(function: Callable[..., Any], arguments: tuple[Any, ...], device: torch.device) -> Any:
    """From the reference of the same name on the CPU, from the CPU kernel on CUDA."""
    if device.type == "cuda":
        return function(*arguments)
    if function is gradients:
        return _gradients(hashgrid_reference.encode, *arguments)
    if isinstance(function, _Operator):
        return function.reference(*arguments)
    name = function.__name__
    oracle = next(getattr(reference, name) for reference in _REFERENCES if hasattr(reference, name))
    return oracle(*arguments, **function.keywords) if isinstance(function, _With) else oracle(*arguments)


def _alike(a: torch.Tensor, b: torch.Tensor, exactly: bool) -> bool:
    """The same bits, or what two orders of floating-point sums may leave between them."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    tolerance = {torch.float64: 1e-10, torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(a.dtype, 2e-4)
    return torch.equal(a, b) if exactly else torch.allclose(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    device = torch.device(options.parse_args().device)
    wrong = count = 0
    for name, function, arguments in calls():
        moved = tuple(_moved(value, device) for value in arguments)
        got = [part.cpu() for part in _parts(function(*moved))]
        want = [part.cpu() for part in _parts(expected(function, arguments, device))]
        roughly = function in (wh.hashgrid.encode, gradients) or function.__name__ == "gradients"
        exactly = device.type == "cuda" or not roughly
        same = len(got) == len(want) and all(_alike(a, b, exactly) for a, b in zip(got, want, strict=True))
        count += 1
        if not same:
            wrong += 1
            print(f"{name} on {device.type}: not equal to the expected answer", file=sys.stderr)
    print(
        f"warphash {wh.__version__}, torch {torch.__version__}, {device.type}: {count - wrong} passed, {wrong} failed"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
