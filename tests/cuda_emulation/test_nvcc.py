# SPDX-License-Identifier: Apache-2.0
"""What the emulator runs is CUDA: nvcc compiles the same files."""

from __future__ import annotations

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
