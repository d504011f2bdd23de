# SPDX-License-Identifier: Apache-2.0
"""The example of two hops: gradients of pixel scales through the product, what training gains, the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from .program import Program

EXAMPLE = Program("two_hop_gnn", picture_bytes=30_000)

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


@pytest.mark.usefixtures("one_thread")
def test_few_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "hops.png"
    found = EXAMPLE.load().main(["--labelled", "5", "--epochs", "30", "--seeds", "1", "--out", str(picture)])
    assert EXAMPLE.drew(picture)
    (own,), (one,), (two,) = (found.accuracy[method, 5] for method in ("own pixels", "one hop", "two hops"))
    assert two > one > own
    (learned,) = found.accuracy["two hops, learned", 5]
    assert learned > one
    # Edges to the same digit come to weigh more, without the labels of their ends.
    same, other = found.after[found.same].mean(), found.after[~found.same].mean()
    assert same / other > found.before[found.same].mean() / found.before[~found.same].mean()
    assert f"{100 * two:.1f}" in capsys.readouterr().out


@pytest.mark.usefixtures("one_thread")
def test_gradients_come_through_the_product() -> None:
    """Against a dense product of the same graph."""
    example = EXAMPLE.load()
    digits = example.Digits(4)
    torch.manual_seed(0)
    network = example.HopNetwork(digits, 2, learned=True)
    target = torch.randn(len(digits.labels), 10)
    (network() * target).mean().backward()

    scales = network.log_scales.detach().clone().requires_grad_()
    values = torch.exp(-digits.differences @ scales.exp())
    edges = torch.zeros(len(target), len(target)).index_put((digits.rows, digits.columns), values)
    two = (edges @ edges) * (digits.near.to_dense() == 0)
    logits = network.layers[0](digits.images)
    for matrix, layer in ((edges, network.layers[1]), (two, network.layers[2])):
        logits = logits + matrix @ layer(digits.images) / matrix.sum(1, keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(network(), logits, rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad((logits * target).mean(), scales)
    torch.testing.assert_close(network.log_scales.grad, gradient, rtol=1e-3, atol=1e-7)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("arguments", [["--labelled", "0"], ["--epochs", "0"], ["--seeds", "0"], ["--neighbours", "1"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        EXAMPLE.load().main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_whole_run(tmp_path: Path) -> None:
    picture = tmp_path / "hops.png"
    stdout = EXAMPLE.run("--labelled", "5", "--seeds", "3", "--out", str(picture))
    assert EXAMPLE.drew(picture)
    row = r"{} +[│|] +([\d.]+) ±"
    one, two = (float(re.search(row.format(name), stdout)[1]) for name in ("one hop", "two hops, learned"))
    assert two > one + 2
