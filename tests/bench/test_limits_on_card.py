# SPDX-License-Identifier: Apache-2.0
"""On a CUDA device: every limit that a workload's needs name is measured, and is one that a GPU could have."""

import importlib

import pytest
import torch

from bench.harness.limits import Limits
from bench.harness.model import bounds

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def limits():
    return Limits.of(torch.device("cuda", torch.cuda.current_device()), threads=1)


def test_every_need_has_a_limit(limits):
    for room in ("hamming", "hashgrid", "lsh", "spgemm"):
        for workload in importlib.import_module(f"bench.{room}").ROOM.workloads:
            if "cuda" in workload.devices:
                assert len(bounds(workload.needs, limits)) == len(workload.needs), workload.name


def test_near_tables_are_faster(limits):
    for kind in ("row_gather", "row_update", "gather"):
        assert limits.rate(f"{kind}:{1 << 20}") > limits.rate(f"{kind}:{512 << 20}") > 1e8


def test_units_are_those_of_a_gpu(limits):
    """Multiply-adds, popcounts and the like a clock and multiprocessor: at most these, at least a hundredth of them."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    clocks = properties.multi_processor_count * 2.2e9
    for name, a_clock in (
        ("affine_min", 64),
        ("cuda_popcount", 16),
        ("cuda_shared_count", 32),
        ("accumulate:16384", 32),
    ):
        assert a_clock * clocks / 100 < limits.rate(name) < a_clock * clocks, name


def test_additions_of_every_kind(limits):
    from warphash import _C_cuda

    rates = {name: _C_cuda.row_update_rate(4 << 20, name) for name in ("single", "pair", "quad", "halves")}
    assert all(rate > 1e8 for rate in rates.values()), rates
