# SPDX-License-Identifier: Apache-2.0
"""``python -m warphash dedup``: what is kept of JSONL files; what is refused, and how."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import warphash as wh

from .calls import COMMAND, KEPT, TEXTS, Captured, dedup, lines_of, refused, row_of, words


# ---- JSONL ----------------------------------------------------------------------------------------------------------
def test_lines_are_kept_unchanged_and_in_order(tmp_path: Path, capfdbinary: Captured) -> None:
    lines = [b"  " + line.replace(b": ", b" :\t") + b" \r" for line in lines_of(TEXTS)]
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert dedup(path) == 0
    out, err = capfdbinary.readouterr()
    assert out == b"".join(lines[i] + b"\n" for i in KEPT)
    for text in ("documents", "pairs verified", "clusters", "buckets of 2", "seconds of shingles", "skipped as bad"):
        assert text in err.decode()
    expected = wh.data.deduplicate(TEXTS)
    assert expected.keep.tolist() == KEPT


def test_several_files_packed_and_plain_with_and_without_a_last_end(tmp_path: Path, capfdbinary: Captured) -> None:
    lines = lines_of(TEXTS, "body")
    first, second, third = tmp_path / "a.jsonl.gz", tmp_path / "b.ndjson", tmp_path / "c.JSONL"
    first.write_bytes(gzip.compress(b"\n".join(lines[:2])))
    second.write_bytes(b"\n".join(lines[2:5]))
    third.write_bytes(b"\n".join(lines[5:]))
    assert dedup(first, second, third, "--jsonl-field", "body") == 0
    assert capfdbinary.readouterr().out == b"\n".join(lines[i] for i in KEPT)


def test_output_file(tmp_path: Path, capfdbinary: Captured) -> None:
    lines = lines_of(TEXTS)
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    wanted = b"".join(lines[i] + b"\n" for i in KEPT)
    out = tmp_path / "out.jsonl"
    assert dedup(path, "--out", out) == 0
    assert capfdbinary.readouterr().out == b""
    assert out.read_bytes() == wanted
    # Onto itself, and through a link.
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    path.chmod(0o600)
    assert dedup(link, "--out", link) == 0
    assert link.is_symlink()
    assert path.read_bytes() == wanted
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_options_reach_the_function(tmp_path: Path, capfdbinary: Captured) -> None:
    texts = ["abcdefgh", "abcdefgx", "ABCDEFGH ", "zzz"]
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\n".join(lines_of(texts)))
    options = {"threshold": 0.5, "ngram": 2, "unit": "char", "num_perm": 64, "bands": 32, "seed": 7}
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert dedup(path, *flags) == 0
    out = capfdbinary.readouterr().out
    assert [json.loads(line)["id"] for line in out.splitlines()] == wh.data.deduplicate(texts, **options).keep.tolist()
    assert dedup(path) == 0
    assert len(capfdbinary.readouterr().out.splitlines()) == 3


BAD_LINES = [
    (b"{not json}", "is no JSON: "),
    (b"", "is empty"),
    (b"[1, 2]", "is no JSON object but a list"),
    (b'"text"', "is no JSON object but a text"),
    (b"null", "is no JSON object but null"),
    (b'{"body": "a"}', "has no field 'text'"),
    (b'{"text": null}', "has null in the field 'text', no text"),
    (b'{"text": 5}', "has a number in the field 'text', no text"),
    (b'{"text": ["a"]}', "has a list in the field 'text', no text"),
    (b'{"text": "\xff"}', "is no UTF-8: invalid start byte at byte 10"),
    (b'{"text": "a"', "is no JSON: "),
    (b'{"text": "a"} {"text": "b"}', "is no JSON: Extra data"),
    (b"[" * 100_000, "is no JSON that can be read"),
    (b'{"text": ' + b"1" * 5000 + b"}", "is no JSON that can be read"),
    (b'{"text": "a", "x": NaN}', "is no JSON that can be read: NaN is no value of JSON"),
    (b'{"text": "a", "x": [-Infinity]}', "is no JSON that can be read: -Infinity is no value of JSON"),
    (b'\xef\xbb\xbf{"text": "a"}', "has a byte order mark, which only the first line of a file may have"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES)
def test_ill_formed_lines(bad: bytes, reason: str, tmp_path: Path, capsys: Captured) -> None:
    lines = lines_of(TEXTS)
    path, out = tmp_path / "texts.jsonl", tmp_path / "out"
    path.write_bytes(b"\n".join([*lines[:3], bad, *lines[3:]]) + b"\n")
    text = refused(capsys, path, "--out", out)
    assert f"texts.jsonl:4: {reason}" in text
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["texts.jsonl"]
    assert dedup(path, "--out", out, "--skip-bad") == 0
    assert out.read_bytes() == b"".join(lines[i] + b"\n" for i in KEPT)
    err = capsys.readouterr().err
    assert row_of(err, "skipped as bad") == "1"
    skipped = err.splitlines()[0]
    assert skipped.startswith("python -m warphash dedup: skipped: ")
    assert f"texts.jsonl:4: {reason}" in skipped


def test_odd_lines_that_are_well_formed(tmp_path: Path, capfdbinary: Captured) -> None:
    lines = [b'{"text": "\\ud800"}', b'{"text": "b", "text": "c", "x": 1e999}', b' {"text":""}']
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert dedup(path) == 0
    assert capfdbinary.readouterr().out == b"\n".join(lines)
    path.write_bytes(b"")
    assert dedup(path) == 0
    assert capfdbinary.readouterr().out == b""


def test_byte_order_marks_are_dropped_so_that_the_output_can_be_read(tmp_path: Path, capfdbinary: Captured) -> None:
    lines = lines_of([words(i) for i in range(4)])
    first, second, third = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz", tmp_path / "c.jsonl"
    first.write_bytes(codecs.BOM_UTF8 + lines[0] + b"\n" + lines[1])
    second.write_bytes(gzip.compress(codecs.BOM_UTF8 + lines[2] + b"\n"))
    third.write_bytes(codecs.BOM_UTF8 + lines[3])
    assert dedup(first, second, third) == 0
    out = capfdbinary.readouterr().out
    assert out == b"\n".join(lines)
    first.write_bytes(out)
    assert dedup(first) == 0
    assert capfdbinary.readouterr().out == out
    first.write_bytes(codecs.BOM_UTF8 + b"\n")
    assert dedup(first) == 2
    assert b"a.jsonl:1: is empty" in capfdbinary.readouterr().err


def test_a_packed_output_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(TEXTS)
    path, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl.GZ"
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert dedup(path, "--out", out) == 0
    first = out.read_bytes()
    assert gzip.decompress(first) == b"".join(lines[i] + b"\n" for i in KEPT)
    # Neither the time nor the name are in it.
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert dedup(path, "--out", tmp_path / "other.gz") == 0
    assert (tmp_path / "other.gz").read_bytes() == first
    assert dedup(out, "--out", out) == 0
    assert out.read_bytes() == first


def test_a_field_that_no_line_has(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\n".join(lines_of(TEXTS)))
    assert "texts.jsonl:1: has no field 'body'" in refused(capsys, path, "--jsonl-field", "body")
    assert dedup(path, "--jsonl-field", "body", "--skip-bad") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].endswith("--jsonl-field: no line has a text in the field 'body'")
    assert err.count(": skipped: ") == len(err.splitlines()) - 1 == len(TEXTS)


def test_packed_files_that_are_damaged(tmp_path: Path, capsys: Captured) -> None:
    path, out = tmp_path / "texts.jsonl.gz", tmp_path / "out"
    whole = gzip.compress(b"\n".join(lines_of(TEXTS * 50)))
    for content in (b"", whole[:-20], b"no gzip", whole[:60] + bytes(20) + whole[80:]):
        path.write_bytes(content)
        assert "texts.jsonl.gz: " in refused(capsys, path, "--out", out)
        assert not out.exists()


def test_a_file_that_changes_meanwhile(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\n".join(lines_of(TEXTS)))
    real = wh.data.deduplicate

    def meddling(*arguments: object, **options: object) -> wh.data.Deduplication:
        found = real(*arguments, **options)
        path.write_bytes(path.read_bytes() + b"\n{}\n")
        return found

    monkeypatch.setattr("warphash.data.command.deduplicate", meddling)
    assert "texts.jsonl: has changed while it was read" in refused(capsys, path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Neither is anything on the standard output.
    path.write_bytes(b"\n".join(lines_of(TEXTS)))
    assert "texts.jsonl: has changed while it was read" in refused(capsys, path)


def test_standard_input(capfdbinary: Captured) -> None:
    lines = lines_of(TEXTS)
    done = subprocess.run(
        [*COMMAND, "-"],
        input=b"\n".join(lines) + b"\n",
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == b"".join(lines[i] + b"\n" for i in KEPT)
    assert b"documents" in done.stderr


# ---- Wrong calls ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.jsonl"], "missing.jsonl: No such file or directory"),
        (["missing"], "missing: No such file or directory"),
        (["missing", "--skip-bad"], "missing: No such file or directory"),
        (["good.jsonl", "folder"], "PATH: JSONL files and others cannot be mixed"),
        (["-", "-"], "-: the standard input can be read once"),
        (["folder.jsonl"], "folder.jsonl: "),
        (["good.jsonl", "--threshold", "0"], "threshold must be above 0 and at most 1"),
        (["good.jsonl", "--threshold", "nan"], "threshold must be finite"),
        (["good.jsonl", "--ngram", "0"], "ngram must be at least 1"),
        (["good.jsonl", "--unit", "line"], "unit must be one of word, char"),
        (["good.jsonl", "--bands", "7"], "bands must divide num_perm"),
        (["good.jsonl", "--num-perm", "0"], "num_perm must be at least 1"),
        (["good.jsonl", "--seed", "-1"], "seed must be at least 0"),
        (["good.jsonl", "--out", "no/such/folder"], "no/such/folder: No such file or directory"),
        (["good.jsonl", "--out", "folder"], "Is a directory"),
        (["good.jsonl", "--out", "/dev/null"], "--out must name a regular file or none, got /dev/null"),
        (["good.jsonl", "--null"], "--null: JSONL files give lines, no paths"),
        (["pipe.jsonl"], "pipe.jsonl: must be a regular file"),
    ],
)
def test_wrong_calls(
    arguments: list[str], text: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.jsonl").write_bytes(b"\n".join(lines_of(TEXTS)))
    Path("folder").mkdir()
    Path("folder.jsonl").mkdir()
    os.mkfifo("pipe.jsonl")
    assert text in refused(capsys, *arguments)
    assert sorted(os.listdir()) == ["folder", "folder.jsonl", "good.jsonl", "pipe.jsonl"]
    assert os.listdir("folder") == []


@pytest.mark.parametrize("arguments", [[], ["x", "--threshold", "high"], ["x", "--seed", "1.5"]])
def test_calls_that_argparse_refuses(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        dedup(*arguments)
    assert caught.value.code == 2
    assert "usage: python -m warphash dedup" in capsys.readouterr().err


def test_help_says_what_is_written(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        dedup("--help")
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "kept lines unchanged" in out
    assert "--skip-bad" in out


def test_lines_of_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\n".join(lines_of([words(i, 20) for i in range(500)])))
    monkeypatch.setattr("warphash.data.sketches._BATCH_TEXTS", 10)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
    assert dedup(path) == 0
    assert written.getvalue().count(b"\n") == 499
