# SPDX-License-Identifier: Apache-2.0
"""Registers the CUDA entries of a room's operators once more: over emulated kernels, for CPU tensors."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from . import build

TARGET = "TORCH_TARGET_VERSION=0x020a000000000000"


def load_operators(kernels: Sequence[str], operators: str) -> Any:
    """torch.ops of the library that ``operators``, a room's emulated_operators.cpp, registers: warphash_emulated."""
    # The same folder as of the kernels' own tests, which are compiled alike.
    folder, torch_folder = build.DEFAULT_FOLDER / "plain", Path(torch.__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, build._locked(folder):
        patch.setenv("CPLUS_INCLUDE_PATH", str(torch_folder / "include"))
        objects = [build._compile(build.ROOT / source, "plain", [], folder) for source in kernels]
        objects.append(build._compile(build.ROOT / operators, "plain", [TARGET], folder))
        names = [str(name) for name, _ in objects]
        library = folder / f"operators.{build._hash(*(content for _, content in objects))[:16]}.so"
        libraries = [str(torch_folder / "lib" / name) for name in ("libtorch.so", "libtorch_cpu.so")]
        script = f"-Wl,-T,{build.EMULATOR / 'shared_section.ld'}"
        subprocess.run(["g++", "-shared", "-o", str(library), *names, *libraries, script], check=True)
    torch.ops.load_library(library)
    return torch.ops.warphash_emulated
