# SPDX-License-Identifier: Apache-2.0
"""What surrounds the command: standard streams, which may be closed or break, and signals."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, TextIO

PREFIX = "python -m warphash dedup: "
_SAME_STOP = 1.0  # seconds


class StdoutError(Exception):
    """The standard output takes nothing."""


class Stopped(BaseException):
    """A signal asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def one_line(text: str) -> str:
    """The text with escapes for what would end a line or steer a terminal, as names of files may."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def tell(text: str) -> None:
    """A line on stderr, with the command's name."""
    write(f"{PREFIX}{one_line(text)}\n")


def write(text: str) -> None:
    """Writes to stderr. That it is closed, full or without a reader changes nothing else."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        silence(sys.stderr)


def send(file: BinaryIO) -> None:
    """Copies a file to the standard output."""
    try:
        shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(sys.stdout)
        raise StdoutError(f"standard output: {error.strerror or error}") from error


def silence(stream: TextIO) -> None:
    """Leads a stream nowhere: Python flushes at its end what is still held, which must not fail again."""
    with suppress(OSError, ValueError):  # of a stream without a descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def open_closed_streams() -> set[str]:
    """Which of stdin and stdout are closed. Descriptors 0 to 2 lead nowhere then: a file must not take their places."""
    closed = {name for name in ("stdin", "stdout") if getattr(sys, name) is None}
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if "stdout" in closed:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    return closed


def regular_files_of_streams() -> set[tuple[int, int]]:
    """Device and inode of the files that stdout and stderr go to."""
    found = set()
    for descriptor in (1, 2):
        with suppress(OSError):
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                found.add((status.st_dev, status.st_ino))
    return found


@contextmanager
def stoppable() -> Iterator[None]:
    """Signals to end raise Stopped in the block, so that it cleans up. Those that are ignored or handled stay so."""
    before: dict[int, Any] = {}
    last = -_SAME_STOP

    def stop(number: int, _: object) -> None:
        nonlocal last
        # A terminal that closes sends several; the second must not disturb the cleaning up.
        if (now := time.monotonic()) - last >= _SAME_STOP:
            last = now
            raise Stopped(number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(signal.SIGINT) from None
    finally:
        for taken, handler in before.items():
            signal.signal(taken, handler)
