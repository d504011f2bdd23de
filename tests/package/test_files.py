# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from warphash._files import is_temporary, whole_file


def test_an_unfinished_file_is_known_by_its_name(tmp_path: Path) -> None:
    with whole_file(tmp_path / "out") as file:
        (name,) = os.listdir(tmp_path)
        assert is_temporary(name)
        file.write(b"all")
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"all"
    for other in ("out", ".0123456789abcdef.tmp2", ".0123456789abcde.tmp", "0123456789abcdef.tmp", ".tmp"):
        assert not is_temporary(other)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_whatever_ends_the_block_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def interrupted() -> None:
        with whole_file(tmp_path / "out") as file:
            file.write(b"part")
            raise error

    with pytest.raises(error):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_so_does_an_interrupt_just_after_the_file_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def interrupted(*arguments: object) -> int:
        os.close(real(*arguments))
        raise KeyboardInterrupt

    def written() -> None:
        with whole_file(tmp_path / "out"):
            pass

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", interrupted)
        with pytest.raises(KeyboardInterrupt):
            written()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_read_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def closed_to_readers(path: object, *arguments: int) -> int:
        if path == tmp_path:
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", closed_to_readers)
        with whole_file(tmp_path / "out") as file:
            file.write(b"all")
    assert (tmp_path / "out").read_bytes() == b"all"


def test_errors_name_what_the_caller_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"^--out must name a regular file or none, got /dev/null"),
        whole_file("/dev/null", "--out"),
    ):
        pass
    (tmp_path / "file").touch()
    for path, error in ((tmp_path / "no" / "out", FileNotFoundError), (tmp_path / "file" / "out", NotADirectoryError)):
        with pytest.raises(error) as caught, whole_file(path):
            pass
        assert caught.value.filename == str(path)
