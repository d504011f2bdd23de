# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]


_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")


@contextmanager
def whole_file(path: PathLike, name: str = "path") -> Iterator[BinaryIO]:
    """A new file in path's folder, to be written; it is synchronised and takes path's name where the block ends well.

    A reader, or a crash at any moment, sees the old file or the new one, never a part; after an error in the block
    nothing has changed. A symbolic link stays, and the file that it names is replaced; a file that was there before
    hands its permissions on. ``name`` is what an error calls the path.
    """
    # Where path leads: a rename onto a symbolic link would replace the link.
    target = Path(os.path.realpath(checked_path(path)))
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")  # short, however long target's name is
    mode = _mode_of(target, name)
    try:
        descriptor = _created(temporary, path)
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _synchronise_folder(target.parent)


def is_temporary(name: str) -> bool:
    """Whether a file's name is of the kind that :func:`whole_file` gives to what is not whole yet."""
    return _TEMPORARY.fullmatch(name) is not None


def checked_path(path: PathLike) -> Path:
    """A path from what open takes, but for file descriptors."""
    try:
        if isinstance(path, int):
            raise TypeError  # open would take it for a file descriptor
        return Path(os.fsdecode(path))
    except TypeError:
        raise TypeError(f"path must be a str, bytes or os.PathLike, got {type(path).__name__}") from None


def _created(temporary: Path, path: PathLike) -> int:
    """A descriptor of a new file; an error names path."""
    try:
        # Not tempfile: its files are readable by the owner alone, whatever the umask says.
        return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, os.fsdecode(path)) from None


def _mode_of(target: Path, name: str) -> int | None:
    """The permissions of the file that is to be replaced, None where there is none."""
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{name} must name a regular file or none, got {target}")
    return stat.S_IMODE(mode)


def _synchronise_folder(folder: Path) -> None:
    """Makes the new name itself survive a power cut, where the folder may be read."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
