# SPDX-License-Identifier: Apache-2.0
"""Cases that once went wrong: foreign bool bytes, expanded masks, thresholds and scores at the ends of their types."""

import numpy as np
import pytest
import torch
import warphash as wh
from warphash.hamming import reference


def codes(rows: int, width: int = 8) -> torch.Tensor:
    return torch.randint(0, 256, (rows, width), dtype=torch.uint8)


@pytest.mark.parametrize("shape", [(100,), (3, 100)])
def test_any_byte_but_zero_is_true_in_a_mask(shape):
    queries, database = codes(3), codes(100)
    allowed = torch.rand(shape) < 0.4
    foreign = (allowed.to(torch.uint8) * torch.randint(1, 256, shape, dtype=torch.uint8)).view(torch.bool)
    for name, arguments in {"topk": (10,), "jaccard_topk": (10,), "range_search": (30,), "histogram": ()}.items():
        ours = getattr(wh.hamming, name)(queries, database, *arguments, mask=foreign)
        theirs = getattr(reference, name)(queries, database, *arguments, allowed)
        for found, expected in zip(*((x,) if name == "histogram" else x for x in (ours, theirs)), strict=True):
            assert torch.equal(found, expected), name


def test_one_row_expanded_is_a_shared_mask():
    queries, database, mask = codes(5), codes(300), torch.rand(300) < 0.3
    expected = wh.hamming.topk(queries, database, 20, mask=mask)
    for same in (mask[None].expand(5, 300), mask.repeat(5, 1)):
        for found, wanted in zip(wh.hamming.topk(queries, database, 20, mask=same), expected, strict=True):
            assert torch.equal(found, wanted)
    single = wh.hamming.topk(queries[:1], database, 20, mask=mask[None])
    assert torch.equal(single[1], expected[1][:1])


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64])
@pytest.mark.parametrize("kind", [int, np.int64, torch.tensor])
def test_integer_thresholds_are_exact_where_float64_is_not(dtype, kind):
    values = torch.tensor([2**53, 2**53 + 1, 2**53 + 2], dtype=torch.int64).to(dtype)
    assert wh.hamming.pack(values, kind(2**53 + 1)).item() == 0b110


def test_integer_thresholds_beyond_the_type():
    values = torch.tensor([2**63 - 1, 0, -(2**63)])
    assert wh.hamming.pack(values, 2**63 + 1).item() == 0
    assert wh.hamming.pack(values, -(2**63) - 1).item() == 0b111
    assert wh.hamming.pack(torch.tensor([0, 2**63 + 1], dtype=torch.uint64), 2**63 + 1).item() == 0b10


@pytest.mark.parametrize("threshold", [b"0.5", np.bool_(True), True, "1"])
def test_thresholds_that_are_no_numbers(threshold):
    with pytest.raises(TypeError, match="threshold"):
        wh.hamming.pack(torch.zeros(8), threshold)


def test_thresholds_beyond_an_8_bit_float():
    values = torch.tensor([-448.0, 0.0, 448.0]).to(torch.float8_e4m3fn)
    assert wh.hamming.pack(values, 1000.0).item() == 0
    assert wh.hamming.pack(values, -1000.0).item() == 0b111


@pytest.mark.parametrize(
    "queries",
    [
        torch.full((1, 24), 1e300, dtype=torch.float64),
        torch.tensor([[3e38, 3e38, 0, 0, -3e38, -3e38, 0, 0]]),
        torch.full((1, 8), float("nan")),
    ],
)
def test_scores_that_float32_cannot_hold_are_refused(queries):
    with pytest.raises(ValueError, match="queries must be finite"):
        wh.hamming.asymmetric_topk(queries, codes(5, queries.shape[1] // 8), 3)


def test_wide_histograms_split_queries_rather_than_counters():
    queries, database = codes(40, 9000), codes(16500, 9000)
    counts = wh.hamming.histogram(queries, database)
    assert torch.equal(
        counts[::13], torch.stack([row.bincount(minlength=72001) for row in wh.hamming.cdist(queries[::13], database)])
    )


def test_vmap_over_an_empty_batch():
    queries, database = torch.zeros(0, 3, 8, dtype=torch.uint8), torch.zeros(0, 5, 8, dtype=torch.uint8)
    distances, indices = torch.vmap(lambda q, d: wh.hamming.topk(q, d, 2))(queries, database)
    assert distances.shape == indices.shape == (0, 3, 2)
    assert torch.vmap(wh.hamming.cdist)(queries, database).shape == (0, 3, 5)


@pytest.mark.memory
def test_a_result_that_memory_cannot_hold_names_its_shape():
    with pytest.raises(MemoryError, match=r"result of shape \[1, 1099511627776\]"):
        wh.hamming.topk(codes(1), codes(5), 2**40)


@pytest.mark.parametrize("k", [1, 300])
def test_score_gradients(k):
    queries, database = torch.randn(7, 20, requires_grad=True), codes(400, 3)
    scores, indices = wh.hamming.asymmetric_topk(queries, database, k)
    weights = torch.randn_like(scores)
    (found,) = torch.autograd.grad((scores * weights).sum(), queries)
    signs = 2.0 * wh.hamming.unpack(database, 20)[indices] - 1.0
    torch.testing.assert_close(found, torch.einsum("qk,qkb->qb", weights, signs))
