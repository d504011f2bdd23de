# SPDX-License-Identifier: Apache-2.0
"""The timing scripts, as far as they go without a GPU."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import warphash

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def loaded(name: str, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    spec = importlib.util.spec_from_file_location(f"warphash_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reductions_count_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def rate(size: int, addition: str) -> float:
        asked.append((size, addition))
        return 1e9

    monkeypatch.setattr(warphash, "_C_cuda", SimpleNamespace(row_update_rate=rate), raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    file = tmp_path / "out.json"
    loaded("time_reductions", monkeypatch, ["--log2-rows", "10", "--json", str(file)]).main()
    assert asked == [(8 << 10, "single"), (8 << 10, "pair"), (8 << 10, "quad"), (4 << 10, "halves")]
    (row,) = json.loads(file.read_text())["rows"]
    assert row["rows_a_second"] == {"single": 1e9, "pair": 1e9, "quad": 2e9, "halves": 1e9}


def test_attention_is_timed_beside_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    sizes = ["--device", "cpu", "--lengths", "64", "--heads", "2", "--dim", "8"]
    loaded("time_attention", monkeypatch, [*sizes, "--json", str(file)]).main()
    rows = json.loads(file.read_text())["rows"]
    assert [row["what"] for row in rows] == ["forward", "forward and backward"]
    assert all(seconds > 0 for row in rows for seconds in row["seconds"].values())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on the PATH")
def test_cub_is_compiled(tmp_path: Path) -> None:
    source, program = SCRIPTS / "cub_sort.cu", tmp_path / "cub_sort"
    subprocess.run(["nvcc", "-std=c++20", "-arch=sm_90", str(source), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: cub_sort TABLES ITEMS BITS REPEATS\n")
