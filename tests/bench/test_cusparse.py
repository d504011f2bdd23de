# SPDX-License-Identifier: Apache-2.0
"""The calls of cuSPARSE, in their order and with the types of its documentation, on a stand-in in host memory."""

import ctypes
import subprocess
from pathlib import Path

import pytest
import torch

from bench import spgemm_cusparse, spgemm_inputs, spgemm_ours
from bench.harness.workload import Unavailable

CPU = torch.device("cpu")
STREAM = 0x123456789ABCDEF0


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    source, built = Path(__file__).with_name("fake_cusparse.cpp"), tmp_path_factory.mktemp("cusparse") / "fake.so"
    command = ["g++", "-std=c++20", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(built)]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError:
        pytest.skip("no g++")
    return ctypes.CDLL(str(built))


@pytest.mark.parametrize("algorithm", spgemm_cusparse.ALGORITHMS)
@pytest.mark.parametrize("square", [True, False])
def test_products_are_ours(library, algorithm, square):
    problem = (
        spgemm_inputs.square(CPU, graph=lambda: spgemm_inputs.rmat(7))
        if square
        else spgemm_inputs.wide(CPU, queries=20, documents=400)
    )
    before = ctypes.c_int.in_dll(library, "streams_set").value
    cusparse = spgemm_cusparse.Cusparse(library)
    call = spgemm_cusparse.product_call(cusparse, problem, algorithm, STREAM)
    ours = spgemm_ours.solve_matmul(problem)
    for _ in range(2):
        assert spgemm_ours.same_matrix(ours, spgemm_ours.as_matrix(call()), problem) is None
    assert ctypes.c_int.in_dll(library, "streams_set").value == before + 2


def test_a_status_is_an_error(library):
    cusparse = spgemm_cusparse.Cusparse(library)
    with pytest.raises(RuntimeError, match="cusparseSetStream: status 3"):
        cusparse("cusparseSetStream", None, 0)


def test_a_missing_library_is_told(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(Unavailable, match="libcusparse"):
        spgemm_cusparse.load.__wrapped__()
