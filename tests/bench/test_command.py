# SPDX-License-Identifier: Apache-2.0
"""`python -m bench` as a user calls it: table, JSON, picture, comparison, profile, exit codes."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from bench.harness import cli
from bench.harness.cli import main
from bench.harness.timing import HostClock
from bench.harness.workload import Contestant, Need, OfLimit, Peak, Rate, Within

ROOT = Path(__file__).resolve().parents[2]

_spec = importlib.util.spec_from_file_location("bench_fakes", Path(__file__).with_name("fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)


def bench(*arguments, expect=0):
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    files = folder / "out.json", folder / "out.png"
    options = ("--only", "tiny", "--device", "cpu", "--threads", 1)
    done = bench("hamming", *options, "--json", files[0], "--plot", files[1])
    return done.stdout, *files


def test_table(tiny):
    text = tiny[0]
    for part in (
        "tiny topk",
        "warphash",
        "FAISS",
        "pure Python",
        "Limits of this machine",
        "core_clock",
    ):
        assert part in text
    assert "WRONG" not in text
    assert "failed" not in text


def test_json(tiny):
    data = json.loads(tiny[1].read_text())
    (workload,) = data["workloads"]
    rows = {row["contestant"]: row for row in workload["rows"]}
    assert workload["rows"][0]["contestant"] == "warphash"
    assert rows["warphash"]["check"] == "ok"
    assert rows["pure Python"]["check"] in ("ok", "sampled")
    assert all(row["seconds"] or row["reason"] for row in rows.values())
    assert data["settings"] == {"mode": "quick", "threads": 1, "device": "cpu", "keeps_memory": False}
    assert data["limits"]["core_clock"] > 1e8
    assert str(ROOT) not in tiny[1].read_text()


def test_picture(tiny):
    with Image.open(tiny[2]) as image:
        assert image.format == "PNG"
        assert image.width > 1000


def test_against_itself_and_against_a_faster_past(tiny, tmp_path):
    data = json.loads(tiny[1].read_text())
    for row in data["workloads"][0]["rows"]:
        if row["seconds"]:
            row["seconds"] /= 1000
            row["iqr"] = 0
    past = tmp_path / "past.json"
    past.write_text(json.dumps(data))
    options = ("--only", "tiny", "--device", "cpu", "--threads", 1, "--tolerance", 100)
    assert "now / before" in bench("hamming", *options, "--against", tiny[1]).stdout
    done = bench("hamming", *options, "--against", past, expect=1)
    assert "REGRESSION" in done.stdout


def test_freed_memory_is_kept_where_that_is_asked(tiny, tmp_path):
    options = ("--only", "tiny", "--device", "cpu", "--threads", 1, "--keep-memory")
    done = bench("hamming", *options, "--json", tmp_path / "kept.json", "--against", tiny[1])
    assert "freed memory kept" in done.stdout
    assert "keeps_memory: False then, True now" in done.stdout
    code = """
import resource, numpy
from bench.harness.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(200 << 20, numpy.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
fresh = faults()
keep_freed_memory()
faults()
print(fresh, faults())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    fresh, kept = map(int, done.stdout.split())
    assert fresh >= 100
    assert kept < 10


def test_without_glibc_memory_cannot_be_kept(monkeypatch, capsys, nothing_runs):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert main(["hamming", "--only", "tiny", "--device", "cpu", "--keep-memory"]) == 2
    assert "--keep-memory: needs glibc's malloc" in capsys.readouterr().err


def sums(monkeypatch, *workloads):
    """The command on a room of sums."""
    monkeypatch.setattr(cli, "load_rooms", lambda names: [fakes.room(*workloads)])
    monkeypatch.setattr(cli.Limits, "of", lambda *_, **__: fakes.fake_limits())


def test_a_run_ends_in_time_and_says_what_it_left_out(monkeypatch, capsys, tmp_path):
    def slow(device):
        time.sleep(0.3)
        return [1.0] * 10

    sums(monkeypatch, fakes.workload("the first", make=slow), fakes.workload("the second"))
    file = tmp_path / "out.json"
    assert main(["--device", "cpu", "--threads", "1", "--within", "0.1", "--json", str(file)]) == 0
    data = json.loads(file.read_text())
    assert [workload["name"] for workload in data["workloads"]] == ["the first"]
    assert data["lacking"] == {"the second": "no time left"}
    assert "not measured: the second: no time left" in capsys.readouterr().out


def test_a_failing_call_ends_the_run_or_is_told_at_its_end(monkeypatch, capsys, tmp_path):
    def broken(values):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nand more")

    sums(monkeypatch, fakes.workload("broken", solve=broken), fakes.workload("whole"))
    arguments = ["--device", "cpu", "--threads", "1", "--json", str(tmp_path / "out.json")]
    with pytest.raises(RuntimeError, match="illegal"):
        main(arguments)
    assert main([*arguments, "--keep-going"]) == 1
    data = json.loads((tmp_path / "out.json").read_text())
    assert [workload["name"] for workload in data["workloads"]] == ["whole"]
    assert data["lacking"] == {"broken": "RuntimeError: CUDA error: an illegal memory access was encountered"}


def test_a_run_that_is_killed_leaves_what_it_has_measured(monkeypatch, tmp_path):
    def killed(values):
        raise KeyboardInterrupt

    sums(monkeypatch, fakes.workload("first"), fakes.workload("second", solve=killed), fakes.workload("third"))
    file = tmp_path / "out.json"
    with pytest.raises(KeyboardInterrupt):
        main(["--device", "cpu", "--threads", "1", "--json", str(file), "--keep-going"])
    data = json.loads(file.read_text())
    assert [workload["name"] for workload in data["workloads"]] == ["first"]
    assert data["lacking"] == {"second": "no time left", "third": "no time left"}


def test_a_run_on_a_gpu(monkeypatch, capsys, tmp_path):
    """All that stands around the calls, with a device that only says it is one."""
    known = {"cuda_popcount": 1e6, "accumulate:16384": 2e6, "read:536870912": 1e9, "gather:16777216": 1e8}
    properties = SimpleNamespace(name="a card", multi_processor_count=1, total_memory=1, major=9, minor=0)
    device = SimpleNamespace(type="cuda")
    for name, value in {
        "get_device_properties": properties,
        "synchronize": None,
        "reset_peak_memory_stats": None,
        "memory_allocated": 100,
        "max_memory_allocated": 1100,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(cli, "_settings", lambda options: fakes.settings(device=device))
    monkeypatch.setattr(cli, "CudaClock", lambda _: HostClock())
    needs = (Need({"cuda_popcount": 10.0, "distance_avx2": 10.0}), Need({"accumulate:16384": 4.0}))
    targets = (Rate(1.0), Within(1e-12), Peak(1.1, device="cuda"), OfLimit(1e-9, device="cuda"))
    peer = Contestant("a peer", fakes.ours, devices=("cuda",))
    work = fakes.workload(
        contestants=(Contestant("warphash", fakes.ours, devices=("cuda",)), peer),
        needs=needs,
        targets=targets,
        small=list,
        facts={"output_bytes": 1000.0, "column": "x"},
    )
    monkeypatch.setattr(cli, "load_rooms", lambda names: [fakes.room(work)])
    limits = fakes.fake_limits(known)
    monkeypatch.setattr(cli.Limits, "of", lambda *_, **__: limits)
    file = tmp_path / "out.json"
    assert main(["--json", str(file), "--plot", str(tmp_path / "out.png"), "--keep-going"]) == 0
    data = json.loads(file.read_text())
    (found,) = data["workloads"]
    assert [row["contestant"] for row in found["rows"]] == ["warphash", "a peer"]
    assert [row["peak_bytes"] for row in found["rows"]] == [1000, 1000]
    assert [target["met"] for target in found["targets"]] == [True, False, True, True]
    assert found["rows"][0]["limit"] in ("cuda_popcount", "accumulate:16384")
    assert data["limits"]["gather:16777216"] == 1e8
    text = capsys.readouterr().out
    assert "a card" in text
    assert "distance_avx2" not in text


def test_profile(tmp_path):
    done = bench("hamming", "--only", "tiny", "--device", "cpu", "--profile", tmp_path / "traces")
    assert "where the time goes" in done.stdout
    assert "warphash::hamming_topk" in done.stdout
    assert "int.bit_count" in done.stdout
    traces = sorted((tmp_path / "traces").glob("*.json"))
    assert any("pure_Python" in trace.name for trace in traces)
    assert all("traceEvents" in json.loads(trace.read_text()) for trace in traces)


def test_list(capsys):
    assert main(["--list", "--full", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "topk 256b Q=1000 N=1M k=10" in text
    assert "jaccard" in text


def test_a_room_that_cannot_be_imported(monkeypatch, capsys):
    def fail(name):
        raise ImportError("No module named 'warphash'")

    monkeypatch.setattr(cli.importlib, "import_module", fail)
    assert main(["--list"]) == 2
    assert capsys.readouterr().err == "python -m bench: the package is not built: No module named 'warphash'\n"


@pytest.fixture
def nothing_runs(monkeypatch):
    """A wrong call is told before anything is measured."""

    def run(*_):
        raise AssertionError("something was measured")

    monkeypatch.setattr(cli.Limits, "of", run)
    monkeypatch.setattr(cli.profile, "run", run)


@pytest.mark.parametrize(
    ("option", "path", "part"),
    [
        ("--json", "", "is a folder, a file was expected"),
        ("--json", "file/out.json", "cannot be made: "),
        ("--json", "locked/out.json", "locked cannot be written"),
        ("--plot", "", "is a folder, a file was expected"),
        ("--plot", "locked/deeper/out.png", "locked cannot be written"),
        ("--profile", "file", "is no folder"),
        ("--profile", "locked", "cannot be written"),
    ],
)
def test_outputs_that_cannot_be_written(option, path, part, tmp_path, monkeypatch, capsys, nothing_runs):
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    # The superuser may write anywhere, so the answer of the system is replaced.
    monkeypatch.setattr(cli.os, "access", lambda place, mode: Path(place).name != "locked")
    arguments = ["--only", "tiny", "--device", "cpu", option, str(tmp_path / path)]
    assert main(arguments) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"python -m bench: {option}: {tmp_path / path} ")
    assert part in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("nowhere",), "ROOM: expected some of hamming"),
        (("--threads", "0"), "--threads: expected at least 1, got 0"),
        (("--only", "no such workload", "--device", "cpu"), "--only: no workload for cpu matches"),
        (("--only", "tiny", "--against", "missing.json"), "missing.json"),
        (("--quick", "--full"), "not allowed with"),
        (("--threads", "1000000"), "--threads: expected at most"),
        (("--only", "tiny", "--tolerance=-1"), "--tolerance: expected a number of at least 0, got -1"),
        (("--only", "tiny", "--tolerance", "nan"), "--tolerance: expected a number of at least 0, got nan"),
    ],
)
def test_bad_calls(arguments, part, capsys, nothing_runs):
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse's own way
        code = stopped.code
    assert code == 2
    assert part in capsys.readouterr().err
