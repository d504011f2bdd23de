# SPDX-License-Identifier: Apache-2.0
"""SDIM: definition, padding, derivatives, increments, states, and its likeness to attention."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
import warphash as wh
from torch import Tensor

DIM, HASHES, BITS = 12, 5, 3


def _values(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _attention(**options) -> wh.nn.SDIMAttention:
    return wh.nn.SDIMAttention(DIM, **({"num_hashes": HASHES, "bits": BITS, "seed": 3} | options))


def _encoder(**options) -> wh.nn.BehaviorSequenceEncoder:
    return wh.nn.BehaviorSequenceEncoder(DIM, **({"num_hashes": HASHES, "bits": BITS, "seed": 3} | options))


def _codes(x: Tensor, planes: Tensor) -> Tensor:
    """[..., dim] to [..., hashes] by the definition."""
    signs = torch.einsum("...d,dmb->...mb", x.double(), planes.double()) >= 0
    return (signs * 2 ** torch.arange(planes.shape[2])).sum(-1)


def _table(sequence: Tensor, mask: Tensor, planes: Tensor, normalize: bool) -> Tensor:
    """One item after the other."""
    codes = _codes(sequence, planes)
    table = sequence.new_zeros(len(sequence), planes.shape[1], 1 << planes.shape[2], sequence.shape[2])
    for b in range(len(sequence)):
        for item in range(sequence.shape[1]):
            if mask[b, item]:
                for j in range(planes.shape[1]):
                    table[b, j, codes[b, item, j]] += sequence[b, item]
    return torch.nn.functional.normalize(table, dim=-1) if normalize else table


# ---- definition ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("normalize", [True, False])
def test_table_and_interest_are_those_of_the_definition(normalize):
    sequence, candidate = _values(3, 20, DIM), _values(3, 7, DIM, seed=1)
    mask = torch.rand(3, 20, generator=torch.Generator().manual_seed(2)) < 0.7
    encoder, attention = _encoder(normalize=normalize), _attention(normalize=normalize)
    table = encoder(sequence, mask)
    expected = _table(sequence, mask, encoder.planes, normalize)
    torch.testing.assert_close(table, expected)
    codes = _codes(candidate, attention.planes)
    interest = torch.stack(
        [torch.stack([expected[b, torch.arange(HASHES), codes[b, c]].mean(0) for c in range(7)]) for b in range(3)]
    )
    torch.testing.assert_close(attention(candidate, table), interest)
    torch.testing.assert_close(attention(candidate, sequence, mask), interest)
    torch.testing.assert_close(attention(candidate[:, 2], sequence=sequence, mask=mask), interest[:, 2])
    torch.testing.assert_close(attention(candidate, table=table), interest)


def test_both_halves_have_the_same_planes():
    assert torch.equal(_encoder().planes, _attention().planes)
    assert torch.equal(_attention().encoder().planes, _attention().planes)
    assert not torch.equal(_encoder(seed=4).planes, _encoder().planes)
    assert _encoder().planes.shape == (DIM, HASHES, BITS)
    expected = wh.lsh.random_planes(DIM, HASHES * BITS, seed=3)
    assert torch.equal(_encoder().planes.flatten(1), expected)


def test_padding_changes_nothing():
    sequence, candidate = _values(2, 10, DIM), _values(2, 4, DIM, seed=1)
    valid = torch.ones(2, 10, dtype=torch.bool)
    padded = torch.cat([sequence, _values(2, 6, DIM, seed=5) * 100], 1)
    mask = torch.cat([valid, torch.zeros(2, 6, dtype=torch.bool)], 1)
    for attention in (_attention(), _attention(normalize=False)):
        assert torch.equal(attention(candidate, padded, mask), attention(candidate, sequence, valid))
        assert torch.equal(attention(candidate, sequence), attention(candidate, sequence, valid))
        assert torch.equal(attention(candidate, sequence, ~valid), torch.zeros(2, 4, DIM))
        assert torch.equal(attention(candidate, sequence[:, :0]), torch.zeros(2, 4, DIM))


def test_heads_are_layers_side_by_side():
    sequence, candidate = _values(2, 15, DIM), _values(2, 4, DIM, seed=1)
    attention = _attention(num_heads=3)
    whole = attention(candidate, sequence)
    for head, part in enumerate(torch.arange(DIM).tensor_split(3)):
        one = wh.nn.SDIMAttention(DIM // 3, num_hashes=HASHES, bits=BITS)
        one.planes = attention.planes[part]
        torch.testing.assert_close(whole[..., part], one(candidate[..., part], sequence[..., part])), head
    encoder = _encoder(num_heads=3)
    torch.testing.assert_close(attention(candidate, encoder(sequence)), whole)


def test_one_item_after_the_other_is_the_whole():
    sequence = _values(2, 9, DIM)
    for encoder in (_encoder(), _encoder(num_heads=2)):
        sums = torch.zeros(2, HASHES, 1 << BITS, DIM)
        for item in sequence.unbind(1):
            assert encoder.update(sums, item) is sums
        torch.testing.assert_close(sums, encoder.sums(sequence))
        torch.testing.assert_close(encoder.normalized(sums), encoder(sequence))


def test_expectation_is_the_collision_law():
    """The mean over many hashes of one item's share: (1 - angle / pi)^bits."""
    hashes, bits = 4000, 3
    attention = wh.nn.SDIMAttention(2, num_hashes=hashes, bits=bits, normalize=False, seed=1)
    for degrees in (10, 45, 90, 150):
        angle = math.radians(degrees)
        candidate = torch.tensor([[math.cos(angle), math.sin(angle)]])
        share = attention(candidate, torch.tensor([[[1.0, 0.0]]]))[0, 0].item()
        expected = (1 - angle / math.pi) ** bits
        assert abs(share - expected) < 4.5 * math.sqrt(expected * (1 - expected) / hashes)


# ---- derivatives ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("heads", [1, 2])
def test_derivatives(normalize, heads):
    attention = _attention(normalize=normalize, num_heads=heads, num_hashes=2, bits=2)
    sequence = _values(2, 4, DIM, dtype=torch.float64).requires_grad_()
    candidate = _values(2, 3, DIM, seed=1, dtype=torch.float64)
    mask = torch.tensor([[True, True, False, True], [True, True, True, True]])

    def interest(x: Tensor) -> Tensor:
        return attention(candidate, x, mask)

    assert torch.autograd.gradcheck(interest, sequence)
    assert torch.autograd.gradgradcheck(interest, sequence)


def test_an_empty_bucket_has_finite_derivatives():
    attention = _attention()
    sequence = torch.zeros(1, 3, DIM, requires_grad=True)
    attention(_values(1, 2, DIM), sequence, torch.tensor([[True, False, False]])).sum().backward()
    assert sequence.grad.isfinite().all()


def test_candidates_get_no_gradient():
    candidate = _values(2, 3, DIM).requires_grad_()
    assert not _attention()(candidate, _values(2, 5, DIM)).requires_grad
    sequence = _values(2, 5, DIM).requires_grad_()
    _attention()(candidate, sequence).sum().backward()
    assert candidate.grad is None
    assert sequence.grad is not None


# ---- torch ---------------------------------------------------------------------------------------------------------
def test_compiles_whole():
    attention = _attention()
    sequence, candidate = _values(2, 20, DIM).requires_grad_(), _values(2, 4, DIM, seed=1)
    mask = torch.rand(2, 20, generator=torch.Generator().manual_seed(2)) < 0.7
    eager = attention(candidate, sequence, mask)
    (gradient,) = torch.autograd.grad(eager.square().sum(), sequence)
    compiled = torch.compile(attention, fullgraph=True)(candidate, sequence, mask)
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(torch.autograd.grad(compiled.square().sum(), sequence)[0], gradient)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types(dtype):
    sequence, candidate = _values(2, 20, DIM).to(dtype), _values(2, 4, DIM, seed=1).to(dtype)
    attention = _attention()
    interest = attention(candidate, sequence)
    assert interest.dtype == dtype
    torch.testing.assert_close(interest.float(), attention(candidate.float(), sequence.float()), rtol=2e-2, atol=2e-2)


def test_long_histories_in_half_precision():
    sequence = (_values(1, 1 << 14, DIM) + 8).half()
    table = _encoder()(sequence)
    assert table.dtype == torch.float16
    torch.testing.assert_close(table.float(), _encoder()(sequence.float()), atol=1e-3, rtol=1e-3)
    assert _encoder().sums(sequence).dtype == torch.float32


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-70, 2.0**70, 2.0**110])
def test_normalised_whatever_the_scale(scale):
    sequence = _values(2, 40, DIM).requires_grad_()
    upper = _values(2, HASHES, 1 << BITS, DIM, seed=1)
    table, scaled = _encoder()(sequence), _encoder()(sequence * scale)
    assert torch.equal(table, scaled)
    for result in (table, scaled):
        (gradient,) = torch.autograd.grad(result, sequence, upper)
        assert gradient.isfinite().all()


def test_autocast_changes_no_bucket():
    """What autocast has made of the inputs is taken as it is; the layer itself rounds nothing."""
    sequence, candidate, attention = _values(2, 20, DIM), _values(2, 4, DIM, seed=1), _attention()
    linear = torch.nn.Linear(DIM, DIM)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        inside = attention(candidate, sequence)
        assert inside.dtype == torch.float32
        assert attention(linear(candidate), linear(sequence)).dtype == torch.bfloat16
    assert torch.equal(inside, attention(candidate, sequence))


def test_exports_for_any_length():
    attention, candidate = _attention(), _values(2, 4, DIM)
    length = torch.export.Dim("length", min=2, max=4096)
    mask = torch.ones(2, 9, dtype=torch.bool)
    exported = torch.export.export(
        attention, (candidate, _values(2, 9, DIM), mask), dynamic_shapes=(None, {1: length}, {1: length})
    ).module()
    longer, mask = _values(2, 31, DIM, seed=2), torch.arange(31).expand(2, 31) < 20
    torch.testing.assert_close(exported(candidate, longer, mask), attention(candidate, longer, mask))


def test_transforms():
    attention = _attention()
    candidate, sequence = _values(3, 2, 4, DIM), _values(3, 2, 9, DIM, seed=1)
    looped = torch.stack([attention(c, s) for c, s in zip(candidate, sequence, strict=True)])
    torch.testing.assert_close(torch.func.vmap(attention)(candidate, sequence), looped)
    leaf = sequence[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(attention(candidate[0], leaf).square().sum(), leaf)
    found = torch.func.grad(lambda s: attention(candidate[0], s).square().sum())(sequence[0])
    torch.testing.assert_close(found, expected)


def test_planes_stay_in_float32():
    attention = _attention()
    before = attention.planes.clone()
    for cast in (attention.half, attention.double, lambda: attention.to(torch.bfloat16)):
        cast()
        assert torch.equal(attention.planes, before)
    assert "planes" in dict(attention.named_buffers())


def test_states_carry_what_the_planes_were_made_from():
    saved = _attention().state_dict()
    assert torch.equal(saved["planes"], _attention().planes)
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    _attention().load_state_dict(torch.load(file, weights_only=True))
    for options in ({"seed": 4}, {"normalize": False}, {"num_heads": 2}):
        other = _attention(**options)
        before = copy.deepcopy(other.planes)
        with pytest.raises(ValueError, match=rf"^state_dict .*{next(iter(options))} = "):
            other.load_state_dict(saved)
        assert torch.equal(other.planes, before)
    foreign = saved | {"_extra_state": saved["_extra_state"] | {"scheme": "simhash/9"}}
    with pytest.raises(ValueError, match=r"^state_dict .*scheme = 'simhash/9', here 'simhash/1'"):
        _attention().load_state_dict(foreign)


# ---- bad input -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_hashes": 0}, ValueError, r"^num_hashes must be at least 1, got 0"),
        ({"bits": 0}, ValueError, r"^bits must be at least 1, got 0"),
        ({"bits": 17}, ValueError, r"^bits must be at most 16, got 17"),
        ({"bits": 2.0}, TypeError, r"^bits must be an int, got float"),
        ({"normalize": "l2"}, TypeError, r"^normalize must be a bool, got str"),
        ({"seed": -1}, ValueError, r"^seed must be at least 0"),
        ({"num_heads": 5}, ValueError, r"^num_heads must divide dim = 12, got 5"),
    ],
)
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        _attention(**options)
    with pytest.raises(error, match=text):
        _encoder(**options)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((_values(2, 3), _values(2, 5, DIM)), ValueError, r"^candidate must be \[B, dim\] or"),
        ((_values(DIM), _values(2, 5, DIM)), ValueError, r"^candidate must be \[B, dim\] or"),
        ((_values(2, DIM).int(), _values(2, 5, DIM)), TypeError, r"^candidate must be floating point"),
        ((_values(2, DIM).numpy(), _values(2, 5, DIM)), TypeError, r"^candidate must be a torch tensor"),
        ((_values(2, DIM), [[1.0]]), TypeError, r"^sequence must be a torch tensor, got list"),
        ((_values(2, DIM), _values(3, 5, DIM)), ValueError, r"^sequence must have B = 2 rows"),
        ((_values(2, DIM), _values(2, DIM)), ValueError, r"^sequence must be \[B, L, dim\]"),
        ((_values(2, DIM), _values(2, 5, 4)), ValueError, r"^sequence must be \[B, L, dim\] with dim = 12"),
        ((_values(2, DIM), _values(2, 5, DIM), torch.ones(2, 5)), TypeError, r"^mask must be a bool tensor"),
        ((_values(2, DIM), _values(2, 5, DIM), torch.ones(2, 4) > 0), ValueError, r"^mask must be \[B, L\] = \(2, 5\)"),
        ((_values(2, DIM), _values(2, HASHES, 4, DIM)), ValueError, r"^table must be \[B, num_hashes, 2\^bits, dim\]"),
        ((_values(2, DIM),), ValueError, r"^sequence or table must be given"),
        ((_values(2, DIM), _values(2, HASHES, 8, DIM), torch.ones(2, 5) > 0), ValueError, r"^mask must be left out"),
    ],
)
def test_bad_calls(arguments, error, text):
    with pytest.raises(error, match=text):
        _attention()(*arguments)


def test_bad_updates():
    encoder, sums = _encoder(), torch.zeros(2, HASHES, 1 << BITS, DIM)
    with pytest.raises(ValueError, match=r"^sums must be"):
        encoder.update(sums[:, 1:], _values(2, DIM))
    with pytest.raises(ValueError, match=r"^item must be \[B, dim\]"):
        encoder.update(sums, _values(2, 1, DIM))
    for call in (lambda x: encoder.update(x, _values(2, DIM)), encoder.normalized):
        with pytest.raises(TypeError, match=r"^sums must be a torch tensor, got NoneType"):
            call(None)
        with pytest.raises(TypeError, match=r"^sums must be floating point, got torch.int64"):
            call(sums.long())
        with pytest.raises(ValueError, match=r"^sums must be \[B, num_hashes"):
            call(sums[:, :, 1:])
    with pytest.raises(TypeError, match=r"^sequence must be a dense tensor"):
        encoder(_values(2, DIM).to_sparse())
