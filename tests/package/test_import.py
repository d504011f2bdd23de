# SPDX-License-Identifier: Apache-2.0
"""Importing, what the package tells of itself, and a CUDA half that is missing."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import torch
import warphash as wh
from warphash import _checks, _load


def child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )


def test_import_is_quiet_and_adds_little_to_torchs() -> None:
    done = child(
        "import time, torch, numpy\nbegin = time.process_time()\nimport warphash\nprint(time.process_time() - begin)"
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert float(done.stdout) < 1.5


def test_import_takes_no_optional_package() -> None:
    optional = "{'numba', 'cupy', 'faiss', 'matplotlib', 'sklearn', 'scipy', 'rich', 'jax'}"
    done = child(
        f"import torch, sys; old = set(sys.modules); import warphash; print(({optional} & set(sys.modules)) - old)"
    )
    assert done.stdout.strip() == "set()"


def test_import_changes_no_state_of_torch() -> None:
    state = (
        "(torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), "
        "torch.random.initial_seed(), torch.get_rng_state().sum().item(), torch.are_deterministic_algorithms_enabled())"
    )
    done = child(f"import torch; torch.manual_seed(3); before = {state}; import warphash; print(before == {state})")
    assert done.stdout.strip() == "True"


def test_reload_registers_nothing_twice() -> None:
    done = child("import importlib, warphash; importlib.reload(warphash); print(warphash.build_info()['isa'])")
    assert done.returncode == 0, done.stderr


def test_public_names_exist_and_are_documented() -> None:
    for module in (wh, wh.data, wh.hamming, wh.nn, wh.retrieval, wh.interop):
        assert module.__doc__
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                assert value.__doc__, f"{module.__name__}.{name}"


def test_build_info() -> None:
    info = wh.build_info()
    keys = {
        "version",
        "compiler",
        "target_torch",
        "sanitizers",
        "torch",
        "machine_isa",
        "isa",
        "amx_permitted",
        "threads",
    }
    assert keys | {"cuda"} <= set(info)
    assert info["version"] == wh.__version__ == importlib.metadata.version("warphash")
    assert info["torch"] == torch.__version__
    assert info["threads"] == torch.get_num_threads()
    assert info["target_torch"] == "2.10"
    assert info["isa"] in ("scalar", "avx2", "avx512", "amx")
    assert isinstance(info["amx_permitted"], bool)
    if torch.version.cuda is None:
        built = any(Path(str(wh._C.__file__)).parent.glob("_C_cuda*.so"))
        assert info["cuda"].startswith("built, not loaded: torch" if built else "not built (no nvcc was found")
        assert info["cuda"].endswith(f"torch {torch.__version__} is a build without CUDA")


def test_the_callers_copy_of_build_info_is_its_own() -> None:
    wh.build_info()["isa"] = "none"
    assert wh.build_info()["isa"] != "none"


# ---- A CUDA half that is missing ------------------------------------------------------------------------------------
def _reason(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, built: bool, error: ImportError | None = None
) -> tuple[Any, str]:
    """What _load finds on a torch of that CUDA version, where the half is there or not and its import raises."""

    def load(name: str) -> Any:
        assert name == "warphash._C_cuda"
        assert built
        assert cuda is not None
        if error is not None:
            raise error
        return types.ModuleType("_C_cuda")

    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(importlib, "import_module", load)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None) if built else None)
    return _load._load_cuda()


def test_every_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    without = f"torch {torch.__version__} is a build without CUDA"
    not_built = "not built (no nvcc was found, or WARPHASH_CUDA=OFF)"
    assert _reason(monkeypatch, None, True) == (None, f"built, not loaded: {without}")
    assert _reason(monkeypatch, None, False) == (None, f"{not_built}; {without}")
    assert _reason(monkeypatch, "13.0", False) == (None, not_built)
    error = ImportError("libtorch_cuda.so: cannot open shared object file")
    assert _reason(monkeypatch, "13.0", True, error) == (None, f"built, but did not load: {error}")
    half, why = _reason(monkeypatch, "13.0", True)
    assert half is not None
    assert why == ""


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> str:
    """A package without its CUDA half, and the reason that it gives."""
    monkeypatch.setattr(_load, "_cuda", None)
    monkeypatch.setattr(_load, "cuda_missing_because", "a reason for this test")
    return "CUDA tensors cannot be served: the CUDA half of warphash is a reason for this test"


class OnCuda:
    """What the checks read of a CUDA tensor."""

    device = torch.device("cuda", 0)


def test_a_cuda_tensor_is_refused_with_the_reason(no_cuda: str) -> None:
    with pytest.raises(RuntimeError, match=no_cuda):
        _checks.device_served("queries", OnCuda())  # type: ignore[arg-type]


def test_a_public_function_refuses_it_too(no_cuda: str) -> None:
    """A fake tensor says it is on a CUDA device where there is none."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        codes = torch.empty(3, 2, dtype=torch.uint8, device="cuda")
        for call in (
            lambda: wh.hamming.topk(codes, codes, 1),
            lambda: wh.hamming.unpack(codes, 3),
            lambda: wh.hamming.pack(codes),
            lambda: wh.hamming.asymmetric_topk(torch.empty(3, 16, device="cuda"), codes, 1),
        ):
            with pytest.raises(RuntimeError, match=no_cuda):
                call()


def test_other_devices_are_refused_by_name() -> None:
    class OnXpu:
        device = torch.device("xpu", 0)

    with pytest.raises(ValueError, match="queries must be on the CPU or on a CUDA device, got xpu:0"):
        _checks.device_served("queries", OnXpu())  # type: ignore[arg-type]


def test_command_line_tells_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "warphash", "info", "--json"], capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(done.stdout)["isa"] == wh.build_info()["isa"]


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "table"])
def test_a_reader_that_goes_away_is_no_traceback(options: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "warphash", "info", *options],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1
