# SPDX-License-Identifier: Apache-2.0
"""The JSON record, the table, the picture, and the comparison with an earlier run."""

import copy
import dataclasses
import importlib.util
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from bench.harness import compare, machine, plot, report, runner, texts
from bench.harness.timing import Timing

_spec = importlib.util.spec_from_file_location("bench_fakes", Path(__file__).with_name("fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)

_spec = importlib.util.spec_from_file_location(
    "results_table", Path(__file__).resolve().parents[2] / "scripts" / "results_table.py"
)
results_table = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(results_table)


def _outcome():
    workload = fakes.workload(contestants=fakes.PEERS, facts={"column": "ten"})
    rows = [runner.Row("warphash", check=runner.OK), runner.Row("half", share=0.5, check=runner.SAMPLED, note="half")]
    rows[0].timing = Timing((1e-5, 2e-5, 3e-5), (1e-5, 2e-5, 3e-5), 4)
    rows[1].timing = Timing((2e-5, 4e-5, 6e-5), (1e-5, 2e-5, 3e-5), 1)
    rows.append(runner.Row("missing", reason="not here: no such package"))
    rows.append(runner.Row("wrong", check=runner.WRONG, reason="46, expected 45"))
    rows[3].timing = rows[0].timing
    outcome = runner.Outcome("sums", workload, rows)
    runner.apply_limits([outcome], fakes.fake_limits())
    return outcome


@pytest.fixture
def data():
    described = {"cpu": "a processor", "caches": {}, "features": {"isa": "scalar"}}
    limits = {"adder": 1e6, "wide_adder": 4e6, "read:1048576": 1e9, "none": None}
    return report.record([_outcome()], {}, limits, described, {"torch": "2"}, fakes.settings())


def test_record_survives_json(data):
    again = json.loads(json.dumps(data))
    assert again == data
    assert again["schema"] == report.SCHEMA
    assert {"date", "settings", "machine", "versions", "limits", "workloads"} <= set(again)


def test_record_of_a_row(data):
    ours, half, missing, _ = data["workloads"][0]["rows"]
    assert ours["seconds"] == 2e-5
    assert ours["rate"] == pytest.approx(10 / 2e-5)
    assert ours["of_limit"] == pytest.approx(2.5e-6 / 2e-5)
    assert ours["limit"] == "wide_adder"
    assert ours["repeats"] == 4
    assert half["seconds"] == pytest.approx(8e-5)
    assert half["time_over_ours"] == pytest.approx(4)
    assert half["iqr"] == pytest.approx(4e-5)
    assert missing["status"] == "absent"
    assert missing["seconds"] is None


def test_table_names_everyone_and_every_reason():
    out = Console(file=io.StringIO(), width=160)
    report.tables(fakes.room(), [_outcome()], {}, out)
    text = out.file.getvalue()
    assert "half" in text
    assert "missing: not here: no such package" in text
    assert "wrong is WRONG: 46, expected 45" in text
    assert "80 µs *" in text
    assert "12%" in text


def test_memory_has_a_column_where_it_was_measured():
    outcome = _outcome()
    outcome.workload = dataclasses.replace(outcome.workload, facts={"output_bytes": 1000})
    out = Console(file=io.StringIO(), width=160)
    report.tables(fakes.room(), [outcome], {}, out)
    assert "memory" not in out.file.getvalue()
    outcome.ours.peak = 1234
    report.tables(fakes.room(), [outcome], {}, out)
    assert "memory / result" in out.file.getvalue()
    assert "1.23" in out.file.getvalue()
    data = report.record([outcome], {}, {}, {"cpu": "a processor"}, {}, fakes.settings())
    assert [row.get("peak_bytes") for row in data["workloads"][0]["rows"]] == [1234, None, None, None]
    full = results_table.text([data], full=True)
    assert "| memory over the result | answer |" in full
    assert "| 1.23× | ok |" in full
    assert "| – | sampled |" in full
    assert "| missing | not measured: not here: no such package |  |  |  |  |  |" in full


def test_runs_are_written_one_after_the_other(tmp_path, capsys):
    document, full = tmp_path / "README.md", tmp_path / "benchmarks.md"
    for file in (document, full):
        file.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    files = []
    for name, changes in (("a.json", {"threads": 2}), ("b.json", {"keeps_memory": True})):
        versions = {"torch": "2.13"}
        data = report.record([_outcome()], {}, {}, {"cpu": "a processor"}, versions, fakes.settings(**changes))
        files.append(tmp_path / name)
        files[-1].write_text(json.dumps(data))
    assert results_table.main([*map(str, files), str(document), str(full)]) == 0
    for file in (document, full):
        text = file.read_text()
        assert text.startswith("before\n<!-- results -->\n")
        assert text.endswith("<!-- /results -->\nafter\n")
        assert "old" not in text
        first = text.index("2 threads, `quick` run;\ntorch 2.13.\n")
        second = text.index("one thread, `quick` run, freed memory kept.\n")
        assert first < second
    assert results_table.main([str(document), str(tmp_path / "c.json")]) == 2
    assert "run `make bench` first" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        results_table.main([str(document), str(full)])


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs"), (7e-9, "7 ns"), (1234.0, "1234 s")]
)
def test_times_are_written_with_a_fitting_unit(seconds, text):
    assert texts.seconds_text(seconds) == text


def test_picture_is_drawn(tmp_path, data):
    file = tmp_path / "deeper" / "roofline.png"
    assert plot.roofline(fakes.room(), data, {"memory": "read:1048576"}, file)
    with Image.open(file) as image:
        assert image.width > 1000
        assert len(image.convert("RGB").getcolors(1 << 20)) > 100


def test_columns_apart_have_places_of_their_own(tmp_path, data):
    """A contestant that is alone in its column stands in the middle of it."""
    first = data["workloads"][0]
    alone = {**first, "operations": 1e4, "facts": {"column": "alone"}, "rows": first["rows"][:1]}
    data["workloads"].append(alone)
    room = dataclasses.replace(fakes.room(), apart=True)
    points = plot._points(room, data)
    turns = plot._turns(room, points, list(points))
    assert turns["alone"] == ["warphash"]
    assert turns["ten"] == ["warphash", "half", "wrong"]
    assert plot._dodge(8.0, "warphash", alone["facts"], turns) == 8.0
    assert plot._dodge(8.0, "warphash", first["facts"], turns) < plot._dodge(8.0, "half", first["facts"], turns) == 8.0
    assert plot.roofline(room, data, {"memory": "read:1048576"}, tmp_path / "r.png")


def test_hollow_marks_are_drawn_and_explained(tmp_path, data):
    data["workloads"].append({**data["workloads"][0], "facts": {"hollow": True}})
    files = [tmp_path / name for name in ("filled.png", "hollow.png")]
    assert plot.roofline(fakes.room(), data, {}, files[0])
    assert plot.roofline(dataclasses.replace(fakes.room(), hollow="hollow: twice"), data, {}, files[1])
    images = [np.asarray(Image.open(file).convert("L"), dtype=int) for file in files]
    width = images[0].shape[1]
    differing = np.argwhere(images[0] != images[1])
    assert len(differing) > 0
    assert (differing[:, 1] > 0.775 * width).all()  # in the legend


def test_no_picture_without_points(tmp_path, data):
    data["workloads"][0]["operations"] = 0.0
    assert not plot.roofline(fakes.room(), data, {}, tmp_path / "none.png")


def test_machine_is_described():
    found = machine.describe(torch.device("cpu"), 2)
    assert found["threads"] == 2
    assert found["features"]["isa"] in ("scalar", "avx2", "avx512", "amx")
    assert machine.versions()["torch"] == torch.__version__


def test_work_of_others_is_seen_and_own_work_is_not():
    assert 0.0 <= machine.cores_taken_by_others(0.05) <= os.cpu_count() + 1
    spin = "import time\nend = time.time() + 20\nwhile time.time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", spin]) as other:
        time.sleep(0.3)
        taken = machine.cores_taken_by_others(0.4)
        other.kill()
    assert taken > 0.2


# ---- against an earlier run ------------------------------------------------------------------------------


def _changed(data, contestant, factor):
    now = copy.deepcopy(data)
    for row in now["workloads"][0]["rows"]:
        if row["contestant"] == contestant:
            row["seconds"] *= factor
    return now


def _quiet(data):
    for row in data["workloads"][0]["rows"]:
        if row["seconds"]:
            row["iqr"] = 0.0
    return data


@pytest.mark.parametrize(
    ("contestant", "factor", "regression"),
    [("warphash", 1.5, True), ("warphash", 1.1, False), ("warphash", 0.5, False)],
)
def test_only_slower_than_the_tolerance_is_a_regression(data, contestant, factor, regression):
    found = compare.changes(_quiet(data), _changed(data, contestant, factor), tolerance=0.15)
    assert [change.regression for change in found if change.contestant == contestant] == [regression]
    assert next(change.ratio for change in found if change.contestant == contestant) == pytest.approx(factor)


def test_a_peer_never_regresses(data):
    found = compare.changes(_quiet(data), _changed(data, "half", 5.0), tolerance=0.15)
    assert not any(change.regression for change in found)


def test_noise_is_no_regression(data):
    assert not any(change.regression for change in compare.changes(data, _changed(data, "warphash", 1.4), 0.15))


def test_rows_of_one_run_alone_are_left_out(data):
    other = copy.deepcopy(data)
    other["workloads"][0]["name"] = "another"
    assert compare.changes(data, other, 0.15) == []


def test_differences_between_runs_are_told(data):
    other = copy.deepcopy(data)
    other["settings"]["threads"] = 64
    assert compare.differences(data, other) == ["threads: 1 then, 64 now"]
    assert compare.differences(data, data) == []
    del other["settings"]["keeps_memory"], other["settings"]["threads"]
    assert compare.differences(other, data) == ["threads: None then, 1 now"]


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"schema": 99, "workloads": []}', '{"schema": 1}'])
def test_a_foreign_file_is_refused(tmp_path, text):
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(compare.Unreadable, match=r"other\.json"):
        compare.read(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(compare.Unreadable, match="none"):
        compare.read(tmp_path / "none.json")
