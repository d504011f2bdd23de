# SPDX-License-Identifier: Apache-2.0
"""What the compiled modules contain: no weak symbols, torch's stable ABI, no path of the builder."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from warphash import _C

ROOT = Path(__file__).parents[2]
MODULES = sorted(Path(str(_C.__file__)).parent.glob("_C*.so"))
ISA_OBJECTS = sorted(
    path
    for suffix in ("avx2", "avx512", "avx512bf16", "amx")
    for path in ROOT.glob(f"build/cp*/CMakeFiles/_C.dir/csrc/**/*_{suffix}.cpp.o")
)


def output(*command: str) -> str:
    """What a tool of binutils says."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_there_are_modules() -> None:
    assert any(path.name.startswith("_C.") for path in MODULES)


@pytest.mark.skipif(not ISA_OBJECTS, reason="no build tree beside the tests")
def test_objects_of_instruction_sets_have_no_weak_symbols() -> None:
    """The linker may take a weak symbol from any object: an AVX-512 copy of a std function would run everywhere."""
    weak = []
    for path in ISA_OBJECTS:
        for line in output("nm", "-C", str(path)).splitlines():
            kind = line[17:18]
            # The one exception is data: where the handler of exceptions is, the same for every copy.
            if kind in ("W", "V", "u") and not line.endswith(" DW.ref.__gxx_personality_v0"):
                weak.append(f"{path.name}: {line[17:]}")
    assert weak == []


@pytest.mark.skipif(not ISA_OBJECTS, reason="no build tree beside the tests")
def test_objects_of_instruction_sets_export_kernels_alone() -> None:
    """Everything else in them is of the file: two files of one level could share a function unseen otherwise."""
    for path in ISA_OBJECTS:
        names = [
            line[19:] for line in output("nm", "-C", "--defined-only", str(path)).splitlines() if line[17] in "TDBR"
        ]
        assert names, path.name
        assert all(name.startswith("warphash::") for name in names), (path.name, names)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name.partition(".")[0])
def test_no_search_path(module: Path) -> None:
    dynamic = output("readelf", "-d", str(module))
    assert "RPATH" not in dynamic
    assert "RUNPATH" not in dynamic


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name.partition(".")[0])
def test_no_path_of_the_builder(module: Path, tmp_path: Path) -> None:
    # nvcc cannot rename the folders in its line tables of device code (-lineinfo), which profilers read.
    host = tmp_path / module.name
    output("objcopy", "--remove-section", ".nv_fatbin", str(module), str(host))
    content = host.read_bytes()
    assert str(ROOT).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name.partition(".")[0])
def test_needs_no_library_but_torch_and_the_systems(module: Path) -> None:
    needed = {
        line.split("[")[1].rstrip("]")
        for line in output("readelf", "-d", str(module)).splitlines()
        if "(NEEDED)" in line
    }
    system = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0"}
    sanitizers = {name for name in needed if name.startswith(("libasan", "libubsan"))}
    assert needed - system - sanitizers == {"libtorch.so", "libtorch_cpu.so"}


@pytest.mark.skipif(importlib.util.find_spec("torch_abi_audit") is None, reason="torch-abi-audit is not installed")
@pytest.mark.skipif(importlib.util.find_spec("pycxxfilt") is None, reason="pycxxfilt is not installed")
def test_torchs_stable_abi() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts/audit.py")], capture_output=True, text=True, check=False)
    for module in MODULES:
        assert f"{module.name}: " in done.stdout
    assert "stable ABI, torch 2.10 and newer" in done.stdout
    assert "outside torch's stable ABI" not in done.stdout
    assert "loads on torch" not in done.stdout
