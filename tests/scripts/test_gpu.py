# SPDX-License-Identifier: Apache-2.0
"""The runner of `make gpu`, on steps that need no GPU: limits, dependencies, what is fatal, what is written."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("warphash_gpu_script", ROOT / "scripts" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def outcome(results: list) -> dict[str, str]:
    return {result.name: result.status for result in results}


def test_a_failing_step_stops_only_what_needs_it(gpu: ModuleType, tmp_path: Path) -> None:
    todo = [
        gpu.Step("build", python("print('no compiler'); raise SystemExit(3)"), 30),
        gpu.Step("tests", python("pass"), 30, needs="build"),
        gpu.Step("driver", python("pass"), 30),
    ]
    results = gpu.run_all(todo, tmp_path, 60)
    assert outcome(results) == {"build": "failed", "tests": "not run", "driver": "passed"}
    assert results[0].code == 3
    assert results[0].reason == "no compiler"
    assert gpu.fatal(results, todo)


def test_a_refused_sanitizer_is_not_fatal_and_its_finding_is(gpu: ModuleType, tmp_path: Path) -> None:
    refused = gpu.Step("memcheck", python("raise SystemExit(255)"), 30, fatal=False)
    absent = gpu.Step("racecheck", ["/no/such/program"], 30, fatal=False)
    results = gpu.run_all([refused, absent], tmp_path, 60)
    assert outcome(results) == {"memcheck": "refused", "racecheck": "refused"}
    assert not gpu.fatal(results, [refused, absent])
    found = gpu.Step("memcheck", python(f"raise SystemExit({gpu.SANITIZER_FOUND})"), 30, fatal=False)
    results = gpu.run_all([found], tmp_path, 60)
    assert outcome(results) == {"memcheck": "failed"}
    assert gpu.fatal(results, [found])


def test_limits_end_a_step_with_its_children(gpu: ModuleType, tmp_path: Path) -> None:
    mark = tmp_path / "child"
    child = f"import time; time.sleep(3); open({str(mark)!r}, 'w')"
    parent = f"import subprocess, sys; print('begun'); subprocess.run([sys.executable, '-c', {child!r}])"
    begun = time.monotonic()
    results = gpu.run_all([gpu.Step("slow", python(parent), 1)], tmp_path, 60)
    assert outcome(results) == {"slow": "timed out"}
    assert time.monotonic() - begun < 3
    assert "begun" in (tmp_path / results[0].log).read_text()
    time.sleep(3)
    assert not mark.exists()


def test_the_budget_holds_for_all_steps(gpu: ModuleType, tmp_path: Path) -> None:
    todo = [gpu.Step("first", python("pass"), 30)]
    assert outcome(gpu.run_all(todo, tmp_path, 1)) == {"first": "not run"}


def test_a_step_leaves_time_to_those_after_it(gpu: ModuleType, tmp_path: Path) -> None:
    todo = [gpu.Step("timing", python("pass"), 30, leaves=20), gpu.Step("memcheck", python("pass"), 30)]
    results = gpu.run_all(todo, tmp_path, 20)
    assert outcome(results) == {"timing": "not run", "memcheck": "passed"}
    assert results[0].reason == "no time left"
    assert outcome(gpu.run_all(todo, tmp_path, 60)) == {"timing": "passed", "memcheck": "passed"}


def test_what_is_written(gpu: ModuleType, tmp_path: Path) -> None:
    todo = [gpu.Step("machine", python('print(\'noise\'); print(\'{"gpu": "card", "torch": "2.13"}\')'), 30)]
    gpu.write(gpu.run_all(todo, tmp_path, 60), tmp_path)
    data = json.loads((tmp_path / "gpu.json").read_text())
    assert data["machine"]["gpu"] == "card"
    assert [step["status"] for step in data["steps"]] == ["passed"]
    assert "| machine | passed |" in (tmp_path / "gpu.md").read_text()


def test_dry_run_runs_nothing(gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--out", str(tmp_path / "out"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    rooms = ("bench_hamming", "bench_hashgrid", "bench_lsh", "bench_spgemm")
    timings = ("algorithms", "reductions", "sorts", "attention")
    sanitizers = ("memcheck", "racecheck", "initcheck", "synccheck")
    places = [shown.index(f"\n{name} (at most") for name in ("build", "tests", *rooms, *timings, *sanitizers)]
    assert places == sorted(places)
    assert not (tmp_path / "out").exists()


def test_chosen_steps_alone(gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--out", str(tmp_path / "out"), "--dry-run", "--only", "machine", "initcheck"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" (at")[0] for line in lines if " (at most" in line] == ["machine", "initcheck"]
    with pytest.raises(SystemExit):
        gpu.main(["--out", str(tmp_path / "out"), "--only", "nonsense"])
    assert "no step nonsense; there are machine, driver, build" in capsys.readouterr().err


def test_code_is_built_for_the_card_at_hand(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built_for() -> str:
        (build,) = (step for step in gpu.steps(tmp_path) if step.name == "build")
        return build.environment["WARPHASH_CUDA_ARCHITECTURES"]

    monkeypatch.delenv("WARPHASH_CUDA_ARCHITECTURES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert built_for() == ""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 9.0\necho 8.0\n")
    tool.chmod(0o755)
    assert built_for() == "90-real"
    monkeypatch.setenv("WARPHASH_CUDA_ARCHITECTURES", "80-real;90")
    assert built_for() == "80-real;90"
    monkeypatch.delenv("WARPHASH_CUDA_ARCHITECTURES")
    tool.write_text("#!/bin/sh\nexit 6\n")
    assert built_for() == ""


def test_the_benches_options_are_those_of_the_command(gpu: ModuleType, tmp_path: Path) -> None:
    from bench.harness.cli import parser

    benches = [step for step in gpu.steps(tmp_path) if step.name.startswith("bench_")]
    assert len(benches) == 4
    for step in benches:
        options = parser().parse_args(step.command[3:])
        assert step.name == f"bench_{options.rooms[0]}"
        assert (options.device, options.keep_going) == ("cuda", True)
        assert options.within < step.limit


def test_the_steps_name_files_that_exist(gpu: ModuleType, tmp_path: Path) -> None:
    named = [word for step in gpu.steps(tmp_path) for word in step.command if word.endswith(".py")]
    assert named
    assert all((ROOT / word).is_file() for word in named if not Path(word).is_absolute())
