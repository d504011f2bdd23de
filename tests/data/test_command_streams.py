# SPDX-License-Identifier: Apache-2.0
"""``python -m warphash dedup`` among closed and broken streams, signals and too little memory."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import warphash as wh

from .calls import COMMAND, KEPT, TEXTS, Captured, dedup, lines_of, refused, row_of


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\n".join(lines_of(TEXTS)) + b"\n")
    return path


WANTED = b"".join(lines_of(TEXTS)[i] + b"\n" for i in KEPT)


def shell(arguments: str, folder: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """The command as Bash runs it."""
    return subprocess.run(
        ["bash", "-c", f"{before} {shlex.join(COMMAND)} {arguments}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def is_one_line(text: str, contained: str) -> bool:
    return text.count("\n") == 1 and text.startswith("python -m warphash dedup: ") and contained in text


def test_a_closed_standard_output(texts: Path) -> None:
    done = shell("texts.jsonl >&-", texts.parent)
    assert done.returncode == 2
    assert is_one_line(done.stderr, "standard output: is closed")
    done = shell("texts.jsonl --out out.jsonl >&- <&-", texts.parent)
    assert (done.returncode, row_of(done.stderr, "kept")) == (0, "6")
    assert (texts.parent / "out.jsonl").read_bytes() == WANTED


def test_a_closed_standard_input(texts: Path) -> None:
    done = shell("- <&-", texts.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_line(done.stderr, "standard input: is closed")


def test_a_standard_output_that_takes_nothing(texts: Path) -> None:
    done = shell("texts.jsonl >/dev/full", texts.parent)
    assert done.returncode == 1
    assert is_one_line(done.stderr, "standard output: No space left on device")


@pytest.mark.parametrize("stderr", ["2>&-", "2> >(exec true)"])
def test_a_closed_or_broken_stderr_changes_no_exit_code(stderr: str, texts: Path) -> None:
    done = shell(f"texts.jsonl --out out.jsonl {stderr}", texts.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (texts.parent / "out.jsonl").read_bytes() == WANTED


def test_a_refusal_without_stderr_is_not_told_elsewhere(
    capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "stderr", None)
    assert dedup("missing.jsonl") == 2
    assert capfd.readouterr() == ("", "")


def test_a_full_stderr(texts: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert dedup(texts) == 0
    assert capfd.readouterr().out == WANTED.decode()


NAMES = ["SIGINT", "SIGTERM", "SIGHUP"]


def signalled(name: str) -> Callable[..., Any]:
    """Instead of deduplicate: the signal arrives meanwhile."""
    real = wh.data.deduplicate

    def meanwhile(*arguments: Any, **options: Any) -> wh.data.Deduplication:
        os.kill(os.getpid(), signal.Signals[name])
        return real(*arguments, **options)

    return meanwhile


@pytest.fixture
def no_signal_ignored() -> Iterator[None]:
    """As a terminal starts a program; nohup has SIGHUP ignored."""
    ignored = [name for name in NAMES if signal.getsignal(signal.Signals[name]) == signal.SIG_IGN]
    for name in ignored:
        signal.signal(signal.Signals[name], signal.SIG_DFL)
    yield
    for name in ignored:
        signal.signal(signal.Signals[name], signal.SIG_IGN)


@pytest.mark.usefixtures("no_signal_ignored")
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_leaves_nothing_behind(
    name: str, texts: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [signal.getsignal(signal.Signals[other]) for other in NAMES]
    monkeypatch.setattr("warphash.data.command.deduplicate", signalled(name))
    assert dedup(texts, "--out", texts.parent / "out") == 128 + signal.Signals[name]
    out, err = capsys.readouterr()
    assert out == ""
    assert is_one_line(err, f"stopped by {name}")
    assert os.listdir(texts.parent) == ["texts.jsonl"]
    assert [signal.getsignal(signal.Signals[other]) for other in NAMES] == before


def test_a_signal_that_is_ignored_stays_so(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warphash.data.command.deduplicate", signalled("SIGHUP"))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert dedup(texts, "--out", texts.parent / "out") == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (texts.parent / "out").read_bytes() == WANTED


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("not enough memory for a result of shape [4, 1048576]"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_too_little_memory(error: Exception, texts: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("warphash.data.command.deduplicate", failing)
    assert refused(capsys, texts, "--out", texts.parent / "out").endswith("dedup: not enough memory\n")
    assert os.listdir(texts.parent) == ["texts.jsonl"]
