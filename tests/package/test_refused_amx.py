# SPDX-License-Identifier: Apache-2.0
"""Who names AMX for the kernel entries and does not get it is told, instead of being given AVX-512's figures."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pybind11
import pytest

ROOT = Path(__file__).parents[2]
BINDING = ROOT / "csrc/python/module_hamming.cpp"


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The binding, compiled over stand-ins for which the system has refused AMX."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None or not BINDING.is_file():
        pytest.skip("no compiler, or no sources beside the tests")
    library = tmp_path_factory.mktemp("refused") / "refused_amx.so"
    includes = [f"-I{x}" for x in (ROOT / "csrc", pybind11.get_include(), sysconfig.get_paths()["include"])]
    sources = [str(BINDING), str(Path(__file__).with_name("refused_amx.cpp"))]
    subprocess.run(
        [compiler, "-std=c++20", "-O0", "-shared", "-fPIC", "-fvisibility=hidden", *includes, *sources, "-o", library],
        check=True,
    )
    spec = importlib.util.spec_from_file_location("refused_amx", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernels


def test_a_refused_amx_raises(kernels: Any) -> None:
    codes = np.zeros((2, 8), np.uint8)
    for call in (
        lambda: kernels.hamming_topk("amx", codes, codes, 1),
        lambda: kernels.hamming_jaccard_topk("amx", codes, codes, 1),
        lambda: kernels.hamming_asymmetric_topk("amx", np.zeros((2, 64), np.float32), codes, 1),
        lambda: kernels.hamming_cdist("amx", codes, codes),
    ):
        with pytest.raises(RuntimeError, match="isa amx: the operating system refuses the AMX tile state"):
            call()


def test_other_levels_need_no_permission(kernels: Any) -> None:
    codes = np.zeros((2, 8), np.uint8)
    assert kernels.hamming_cdist("avx512", codes, codes).tolist() == [[7, 7], [7, 7]]
