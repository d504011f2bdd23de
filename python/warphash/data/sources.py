# SPDX-License-Identifier: Apache-2.0
"""Documents of the command line: lines of JSONL files, or text files and those of folders, read as often as needed."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from .._files import is_temporary
from .streams import regular_files_of_streams

STDIN = "-"
_JSONL = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


class BadInputError(Exception):
    """What is wrong with which file, and where: one line."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {' '.join(reason.split())}")


class Tally:
    """What is skipped as bad: counted, and named by a call of ``tell``."""

    def __init__(self, skip_bad: bool, tell: Callable[[str], None]) -> None:
        self.skip_bad = skip_bad
        self.tell = tell
        self.skipped = 0

    def bad(self, place: str, reason: str) -> None:
        """Takes note of what is skipped, or raises."""
        error = BadInputError(place, reason)
        if not self.skip_bad:
            raise error
        self.skipped += 1
        self.tell(str(error))


def is_jsonl(path: str) -> bool:
    """Whether a path's lines are the documents."""
    return path == STDIN or path.lower().endswith(_JSONL)


def _reason(error: OSError | EOFError | zlib.error) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:  # gzip's own errors are among them
        raise BadInputError(path, _reason(error)) from error


def _unpacked(raw: io.BufferedReader, path: str) -> BinaryIO:
    if not path.lower().endswith(".gz"):
        return raw
    if not raw.peek(1):  # gzip takes it for no members at all
        raise gzip.BadGzipFile("is empty, which no packed file is")
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb"))


def _not_waiting(path: str, flags: int) -> int:
    """An opener that does not wait for the writer of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


# ---- JSONL ----------------------------------------------------------------------------------------------------------
def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value of JSON")


class JsonLines:
    """The lines of files, one after the other, that have a text in a field. They are read twice and held never.

    ``-`` is the standard input, which is copied to a temporary file first. A file that is named twice is read as one.
    """

    _decoder = json.JSONDecoder(parse_constant=_refuse_constant)

    def __init__(self, paths: Sequence[str], field: str, tally: Tally) -> None:
        self.field = field
        self.tally = tally
        self._files = ExitStack()
        self._sources: list[tuple[str, io.BufferedReader, os.stat_result]] = []
        self._good: list[bytearray] = []  # of each file a 1 for each line that is a document
        try:
            for path in _distinct(paths):
                with _readable(path):
                    raw = self._copy_of_stdin() if path == STDIN else self._regular(path)
                    self._sources.append((path, raw, os.fstat(raw.fileno())))
        except BaseException:
            self.close()
            raise

    def _copy_of_stdin(self) -> io.BufferedReader:
        copy = cast(io.BufferedReader, self._files.enter_context(tempfile.TemporaryFile(prefix="warphash-")))  # noqa: SIM115
        with open(0, "rb", closefd=False) as stdin:
            shutil.copyfileobj(stdin, copy)
        copy.flush()
        return copy

    def _regular(self, path: str) -> io.BufferedReader:
        file = self._files.enter_context(open(path, "rb", opener=_not_waiting))  # noqa: SIM115
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BadInputError(path, "must be a regular file, since it is read twice; use - for the standard input")
        return file

    def close(self) -> None:
        self._files.close()

    def size(self) -> int:
        """Bytes of all files as they lie there."""
        return sum(status.st_size for _, _, status in self._sources)

    def texts(self, advance: Callable[[int], None]) -> Iterator[str]:
        """Each document's text. ``advance`` is told of the bytes that were read."""
        objects = 0
        for path, raw, _ in self._sources:
            good = bytearray()
            self._good.append(good)
            told = 0
            for number, line in enumerate(self._lines(path, raw), 1):
                if number % 256 == 0:
                    advance(raw.tell() - told)
                    told = raw.tell()
                place = f"{'standard input' if path == STDIN else path}:{number}"
                text, reason, is_object = self._parsed(line, first=number == 1)
                objects += is_object
                good.append(text is not None)
                if text is None:
                    self.tally.bad(place, reason)
                else:
                    yield text
            advance(raw.tell() - told)
        if objects and not any(map(any, self._good)):
            raise BadInputError("--jsonl-field", f"no line has a text in the field {self.field!r}")

    def kept(self, keep: Iterable[int]) -> Iterator[bytes]:
        """The lines of the documents with these ascending numbers, as they are but for a byte order mark."""
        wanted = iter(keep)
        following = next(wanted, -1)
        number, unended = 0, False
        for (path, raw, before), good in zip(self._sources, self._good, strict=True):
            read = 0
            for line, is_document in zip(self._lines(path, raw), good, strict=False):
                read += 1
                if is_document:
                    if number == following:
                        if unended:
                            yield b"\n"
                        # Behind other lines it would be none.
                        yield line.removeprefix(codecs.BOM_UTF8) if read == 1 else line
                        unended = not line.endswith(b"\n")  # a file's last line, which another file's may follow
                        following = next(wanted, -1)
                    number += 1
            after = os.fstat(raw.fileno())
            if read != len(good) or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise BadInputError(path, "has changed while it was read")

    def _lines(self, path: str, raw: io.BufferedReader) -> Iterator[bytes]:
        raw.seek(0)
        with _readable(path):
            # Not from the file itself, which would be closed where its lines are left early.
            yield from iter(_unpacked(raw, path).readline, b"")

    def _parsed(self, line: bytes, first: bool) -> tuple[str | None, str, bool]:
        """(text or None, why not, whether the line is a JSON object)."""
        if line.startswith(codecs.BOM_UTF8):
            if not first:
                return None, "has a byte order mark, which only the first line of a file may have", False
            line = line.removeprefix(codecs.BOM_UTF8)
        try:
            value = self._decoder.decode(line.decode())
        except UnicodeDecodeError as error:
            return None, f"is no UTF-8: {error.reason} at byte {error.start}", False
        except json.JSONDecodeError as error:
            return None, f"is no JSON: {error.msg} at column {error.colno}" if line.strip() else "is empty", False
        except (ValueError, RecursionError) as error:
            return None, f"is no JSON that can be read: {error}", False
        if not isinstance(value, dict):
            return None, f"is no JSON object but {_kind(value)}", False
        if self.field not in value:
            return None, f"has no field {self.field!r}", True
        text = value[self.field]
        if not isinstance(text, str):
            return None, f"has {_kind(text)} in the field {self.field!r}, no text", True
        return text, "", True


def _distinct(paths: Iterable[str]) -> Iterator[str]:
    """The first path of each file."""
    seen: set[str] = set()
    for path in paths:
        real = path if path == STDIN else os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            yield path


def _kind(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        bool: "a truth value",
        int: "a number",
        float: "a number",
        str: "a text",
    }
    return names.get(type(value), "null")


# ---- Text files -----------------------------------------------------------------------------------------------------
class TextFiles:
    """Files, each of which is a document; all files of folders and of the folders in them, sorted.

    A file that is met again, by a link or as another path, is no other document. Of what is found in folders left out
    are the file ``out`` and those of stdout and stderr, files that :func:`warphash._files.whole_file` has not finished,
    and links to folders, which may lead back: ``links`` counts these.

    Args:
        paths: of files and folders.
        tally: of what cannot be read.
        out: the path that will be written.
        end: of each path.
    """

    def __init__(self, paths: Sequence[str], tally: Tally, out: str | None = None, end: bytes = b"\n") -> None:
        self.tally = tally
        self.links = 0
        self._end = end
        self._good: list[str] = []
        self._named = set(paths)
        self._own = None if out is None else os.path.realpath(out)
        self._streams = regular_files_of_streams()
        self._paths = [path for path in _distinct(self._all(paths)) if self._fits_a_line(path)]

    def _all(self, paths: Sequence[str]) -> Iterator[str]:
        for path in paths:
            with _readable(path):
                # A path that does not exist is a mistake of the call, which nothing skips.
                is_folder = stat.S_ISDIR(os.stat(path).st_mode)
            if is_folder:
                yield from self._inside(path)
            else:
                yield path

    def _inside(self, folder: str) -> list[str]:
        def failed(error: OSError) -> None:
            self.tally.bad(error.filename or folder, _reason(error))

        found = []
        for parent, folders, files in os.walk(folder, onerror=failed):
            self.links += sum(os.path.islink(os.path.join(parent, name)) for name in folders)
            paths = (os.path.join(parent, name) for name in files if not is_temporary(name))
            found += [path for path in paths if not self._is_output(path)]
        return sorted(found, key=lambda path: Path(path).parts)

    def _is_output(self, path: str) -> bool:
        if self._own is not None and os.path.realpath(path) == self._own:
            return True
        if not self._streams:
            return False
        try:
            status = os.stat(path)
        except OSError:
            return False  # which reading it will tell
        return (status.st_dev, status.st_ino) in self._streams

    def _fits_a_line(self, path: str) -> bool:
        if self._end == b"\n" and "\n" in path:
            self.tally.bad(path, "has an end of line in its name: --null takes such")
            return False
        return True

    def close(self) -> None:
        """Nothing stays open."""

    def size(self) -> int:
        """Number of files."""
        return len(self._paths)

    def texts(self, advance: Callable[[int], None]) -> Iterator[str]:
        """Each document's text. ``advance`` is told of each file."""
        for path in self._paths:
            text = self._text(path)
            advance(1)
            if text is not None:
                self._good.append(path)
                yield text

    def kept(self, keep: Iterable[int]) -> Iterator[bytes]:
        """The paths of the documents with these numbers, each with its end."""
        for number in keep:
            yield os.fsencode(self._good[number]) + self._end

    def _text(self, path: str) -> str | None:
        try:
            # A pipe in a folder may never end, and a device may do anything when it is opened.
            named = path in self._named
            if not named and not stat.S_ISREG(os.stat(path).st_mode):
                self.tally.bad(path, "is no regular file")
                return None
            with open(path, "rb", opener=None if named else _not_waiting) as raw:
                return _unpacked(raw, path).read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.tally.bad(path, f"is no UTF-8: {error.reason} at byte {error.start}")
        except (OSError, EOFError, zlib.error) as error:
            self.tally.bad(path, _reason(error))
        return None
