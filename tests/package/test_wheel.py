# SPDX-License-Identifier: Apache-2.0
"""What a wheel holds."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="no sources beside the tests")
def test_contents(tmp_path: Path) -> None:
    """The package's own files, the CPU half, notices; no sources in C++, no tests, nothing of the builder."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    folder = f"--config-settings=build-dir={tmp_path / 'build'}"
    without_cuda = "--config-settings=cmake.define.WARPHASH_CUDA=OFF"
    subprocess.run([*command, folder, without_cuda], check=True, capture_output=True, timeout=900)
    (wheel,) = tmp_path.glob("*.whl")
    assert re.fullmatch(r"warphash-[\d.]+-cp3\d+-cp3\d+-linux_\w+\.whl", wheel.name)
    names = set(zipfile.ZipFile(wheel).namelist())
    compiled = {name for name in names if name.endswith(".so")}
    assert [name.partition(".")[0] for name in compiled] == ["warphash/_C"]
    notices = {name for name in names if ".dist-info/" in name}
    assert {name.partition(".dist-info/")[2] for name in notices} == {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE"}
    source = ROOT / "python"
    own = {
        path.relative_to(source).as_posix()
        for path in source.glob("warphash/**/*")
        if path.suffix in (".py", ".pyi", ".typed") and "__pycache__" not in path.parts
    }
    assert {"warphash/py.typed", "warphash/_C.pyi", "warphash/__init__.py"} <= own | {"warphash/py.typed"}
    assert names - compiled - notices == own | {"warphash/py.typed"}
