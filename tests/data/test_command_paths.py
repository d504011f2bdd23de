# SPDX-License-Identifier: Apache-2.0
"""``python -m warphash dedup``: which text files there are in folders, and the paths that are kept."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest
from warphash.__main__ import main

from .calls import COMMAND, Captured, dedup, lines_of, refused, row_of, words


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "texts"
    (root / "b" / "deep").mkdir(parents=True)
    (root / "a.txt").write_text(words(0))
    (root / "b" / "copy.md").write_text("# " + words(0).title())
    (root / "b" / "deep" / "other").write_bytes(b"\xef\xbb\xbf" + words(1).encode())
    (root / "b.txt").write_text(words(2))
    (root / "c.txt.gz").write_bytes(gzip.compress(words(1).encode()))
    (root / "empty").write_text("")
    return root


def paths(output: bytes | str) -> list[str]:
    return [Path(os.fsdecode(line)).name for line in output.splitlines()]


def test_folders_give_kept_paths_sorted(folder: Path, capfdbinary: Captured) -> None:
    assert dedup(folder) == 0
    out = capfdbinary.readouterr().out
    # Names of one folder in order, its folders where their names stand.
    assert out.decode().splitlines() == [str(folder / name) for name in ("a.txt", "b/deep/other", "b.txt", "empty")]
    assert dedup(folder / "b.txt", folder / "b", folder / "a.txt", folder / "b.txt") == 0
    assert paths(capfdbinary.readouterr().out) == ["b.txt", "copy.md", "other"]


def test_an_empty_folder_gives_nothing(tmp_path: Path, capfdbinary: Captured) -> None:
    assert dedup(tmp_path) == 0
    assert capfdbinary.readouterr().out == b""


def test_names_that_are_no_text(folder: Path, capfdbinary: Captured) -> None:
    odd = os.fsencode(folder) + b"/\xff\xfe.txt"
    with open(odd, "w") as file:
        file.write(words(9))
    assert main(["dedup", os.fsdecode(odd)]) == 0
    assert capfdbinary.readouterr().out == odd + b"\n"


def test_files_that_cannot_be_read_are_refused_or_counted(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    (folder / "bad.bin").write_bytes(b"\x89PNG\r\n")
    (folder / "dangling").symlink_to(tmp_path / "missing")
    (folder / "packed.gz").write_bytes(b"not packed")
    os.mkfifo(folder / "pipe")
    assert "bad.bin: is no UTF-8: invalid start byte at byte 0" in refused(capsys, folder, "--out", out)
    assert not out.exists()
    assert dedup(folder, "--out", out, "--skip-bad") == 0
    assert paths(out.read_bytes()) == ["a.txt", "other", "b.txt", "empty"]
    err = capsys.readouterr().err
    assert row_of(err, "skipped as bad") == "4"
    skipped = [line.rpartition(": skipped: ")[2] for line in err.splitlines() if ": skipped: " in line]
    assert [Path(line.partition(": ")[0]).name for line in skipped] == ["bad.bin", "dangling", "packed.gz", "pipe"]
    for name, reason in (
        ("dangling", "No such file"),
        ("packed.gz", "gzip"),
        ("pipe", "no regular"),
    ):
        only = tmp_path / f"only-{name}"
        only.mkdir()
        (folder / name).rename(only / name)
        assert reason in refused(capsys, only)


def test_the_output_file_is_no_document_of_a_folder(folder: Path, capfdbinary: Captured) -> None:
    out = folder / "kept.txt"
    for _ in range(3):
        assert dedup(folder, "--out", out) == 0
        assert paths(out.read_bytes()) == ["a.txt", "other", "b.txt", "empty"]
    # But where it is named.
    assert dedup(folder, out, "--out", out) == 0
    assert paths(out.read_bytes()) == ["a.txt", "other", "b.txt", "empty", "kept.txt"]


def test_the_file_of_the_standard_output_is_no_document_of_a_folder(folder: Path) -> None:
    with open(folder / "kept.txt", "wb") as out, open(folder / "log", "wb") as log:
        subprocess.run([*COMMAND, folder], stdout=out, stderr=log, timeout=120, check=True)
    assert paths((folder / "kept.txt").read_bytes()) == ["a.txt", "other", "b.txt", "empty"]


def test_links_to_folders_are_counted_and_not_followed(folder: Path, capfdbinary: Captured) -> None:
    (folder / "linked").symlink_to(folder / "b")
    (folder / "b" / "round").symlink_to(folder)
    assert dedup(folder) == 0
    out, err = capfdbinary.readouterr()
    assert paths(out) == ["a.txt", "other", "b.txt", "empty"]
    assert row_of(err.decode(), "links to folders, not followed") == "2"
    # One that is named is followed.
    assert dedup(folder / "linked") == 0
    assert capfdbinary.readouterr().out.decode().splitlines() == [
        str(folder / "linked" / name) for name in ("copy.md", "deep/other")
    ]


def test_a_file_that_is_met_again_is_one_document(folder: Path, capfdbinary: Captured) -> None:
    empty = folder / "empty"
    (folder / "z-link").symlink_to(empty)
    again = f"{folder}/b/../empty"
    for arguments in ((empty, empty), (empty, folder), (folder, empty), (again, empty), (folder, folder)):
        assert dedup(*arguments) == 0
        assert paths(capfdbinary.readouterr().out).count("empty") == 1
    lines = folder / "lines.jsonl"
    lines.write_bytes(b"\n".join(lines_of(["", ""])))
    assert dedup(lines, f"{folder}/b/../lines.jsonl") == 0
    assert capfdbinary.readouterr().out == lines.read_bytes()


def test_unfinished_files_of_other_runs_are_no_documents(folder: Path, capfdbinary: Captured) -> None:
    (folder / ".0123456789abcdef.tmp").write_text(words(7))
    (folder / ".0123456789abcdeg.tmp").write_text(words(8))
    assert dedup(folder) == 0
    assert paths(capfdbinary.readouterr().out) == [".0123456789abcdeg.tmp", "a.txt", "other", "b.txt", "empty"]


def test_names_with_an_end_of_line(folder: Path, tmp_path: Path, capfd: Captured) -> None:
    (folder / "a\nb\x1b[1m").write_text(words(5))
    text = refused(capfd, folder)
    assert r"a\nb\x1b[1m: has an end of line in its name: --null takes such" in text
    assert dedup(folder, "--skip-bad") == 0
    out, err = capfd.readouterr()
    assert paths(out) == ["a.txt", "other", "b.txt", "empty"]
    assert row_of(err, "skipped as bad") == "1"
    assert dedup(folder, "--null") == 0
    names = capfd.readouterr().out.split("\0")
    assert names.pop() == ""
    assert [Path(name).name for name in names] == ["a\nb\x1b[1m", "a.txt", "other", "b.txt", "empty"]


def test_an_empty_file_is_no_packed_one(folder: Path, capsys: Captured) -> None:
    (folder / "nothing.gz").write_bytes(b"")
    assert "nothing.gz: is empty, which no packed file is" in refused(capsys, folder)
