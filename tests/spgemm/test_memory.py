# SPDX-License-Identifier: Apache-2.0
"""Peaks of memory, each in a process of its own: the product at its own size, parts and top-k far below it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.memory

# Rows of 40 entries by rows of 120: 8.4 M entries, 67 MB.
CODE = """
import torch, warphash as wh
torch.set_num_threads(1)
rows, inner, columns = 3000, 500, 4000
generator = torch.Generator().manual_seed(0)

def sparse(rows, columns, each):
    col = torch.rand(rows, columns, generator=generator).topk(each, 1).indices.sort(1).values
    crow = torch.arange(rows + 1, dtype=torch.int32) * each
    return wh.spgemm.csr.build(crow, col.flatten().int(), torch.rand(rows * each, generator=generator), (rows, columns))

a, b = sparse(rows, inner, 40), sparse(inner, columns, 120)
for small in (wh.spgemm.matmul, lambda x, y: wh.spgemm.topk(x, y, 3)):
    small(sparse(5, 6, 2), sparse(6, 7, 2))

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

def reset():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

reset()
before = peak()
{call}
print(peak() - before, size)
"""

CALLS = {
    "product": "c = wh.spgemm.matmul(a, b); size = 8 * c._nnz()",
    "dropped": "b.values()[::1000] = 0; c = wh.spgemm.matmul(a, b, drop_zeros=True); size = 8 * c._nnz()",
    "gradient": "x = a.clone().requires_grad_(); c = wh.spgemm.matmul(x, b); reset(); before = peak(); "
    "size = 8 * c._nnz(); c.values().backward(torch.ones(()).expand(c._nnz()))",
    "topk": "wh.spgemm.topk(a, b, 10); size = 3000 * 10 * 12",
    "pieces": "size = 2**24\nfor _ in wh.spgemm.row_chunks(a, b, max_bytes=size): pass",
}


def _peak(call: str) -> tuple[int, int]:
    code = CODE.replace("{call}", CALLS[call])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "Permission" in done.stderr or "Errno" in done.stderr:
        pytest.skip("the peak of memory cannot be reset here")
    assert done.returncode == 0, done.stderr
    found, size = done.stdout.split()
    return int(found), int(size)


def test_the_product_takes_little_more_than_its_size() -> None:
    found, size = _peak("product")
    assert size > 2**25
    assert found < 1.1 * size + 2**22


def test_without_zeros_it_takes_a_copy_and_the_places_of_what_is_kept() -> None:
    found, size = _peak("dropped")
    assert found < 3.2 * size + 2**23


def test_topk_never_holds_the_product() -> None:
    found, size = _peak("topk")
    assert found < size + 2**23


def test_pieces_stay_below_their_cap() -> None:
    found, cap = _peak("pieces")
    # One piece may be alive while the next is made.
    assert found < 2 * cap + 2**23


def test_gradients_need_no_second_product() -> None:
    """The gradient in and what torch's values() makes of it, no product beside them."""
    found, size = _peak("gradient")
    assert found < 1.1 * size + 2**23
