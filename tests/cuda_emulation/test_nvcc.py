# SPDX-License-Identifier: Apache-2.0
"""What the emulator runs is CUDA: nvcc compiles the same files."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from .build import ROOT
from .checks import KERNELS, NAMES

nvcc = shutil.which("nvcc")


@pytest.mark.skipif(nvcc is None, reason="nvcc is not on the PATH")
@pytest.mark.parametrize("name", NAMES)
def test_nvcc_compiles(name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    targets = [f"-gencode=arch=compute_{card},code=sm_{card}" for card in (80, 90)]
    command = [str(nvcc), "-std=c++20", *targets, "-Icsrc", "-Werror=all-warnings", "-c", f"{KERNELS}/{name}.cu"]
    done = subprocess.run([*command, "-o", str(tmp_path / "kernel.o")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(nvcc is None, reason="nvcc is not on the PATH")
def test_a_minimum_costs_a_product(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """What affine_min_rate counts is done: the compiler has made no additions of products."""
    ptx = tmp_path / "probes.ptx"
    command = [
        str(nvcc),
        "-std=c++20",
        "-arch=compute_90",
        "-Icsrc",
        "-ptx",
        "csrc/common/probes_cuda.cu",
        "-o",
        str(ptx),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (body,) = re.findall(r"entry \w*least_affine.*?\n}", ptx.read_text(), re.DOTALL)
    minima, products = (len(re.findall(rf"\b{name}", body)) for name in (r"min\.u32", r"mad\.lo\.s32"))
    assert products >= minima >= 16
