# SPDX-License-Identifier: Apache-2.0
"""The command ``python -m warphash dedup``."""

from __future__ import annotations

import argparse
import gzip
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from .._files import whole_file
from . import streams
from .sketches import Sketching
from .sources import STDIN, BadInputError, JsonLines, Tally, TextFiles, is_jsonl
from .texts import Deduplication, Report, deduplicate

_EPILOG = """\
JSONL files (.jsonl, .ndjson, .jsonl.gz, .ndjson.gz, or - for the standard input) give their kept lines unchanged and in
order. Other files and folders give the kept paths, one a line: each file, and each file in a folder and its folders,
is one document, however often it is met; .gz is read unpacked. Links to folders are counted and not followed, and the
output is no document of a folder. Two texts are near-duplicates if the Jaccard similarity of their shingles reaches
the threshold, clusters are the connected components, and the first of each is kept; texts without any unit are kept.
Shingles beyond 4 GiB, and all that is for the standard output until it is whole, go to a temporary file in TMPDIR.
Exit codes: 0; 2 where the call or the input is wrong, or memory does not suffice, and nothing is written; 1 where the
standard output takes no more; 128 and its number (130 for Ctrl-C) where a signal stopped the run."""


def add_to(commands: Any) -> None:
    """Registers the command."""
    out = commands.add_parser(
        "dedup",
        help="removes near-duplicate texts",
        description="Removes near-duplicate texts of JSONL files, text files and folders.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Sketching()
    out.add_argument("paths", nargs="+", metavar="PATH", help="JSONL files, or text files and folders")
    out.add_argument(
        "--threshold", type=float, default=defaults.threshold, help="least Jaccard similarity (default: %(default)s)"
    )
    out.add_argument("--ngram", type=int, default=defaults.ngram, help="units a shingle (default: %(default)s)")
    out.add_argument("--unit", default=defaults.unit, help="word or char (default: %(default)s)")
    out.add_argument("--jsonl-field", default="text", metavar="FIELD", help="of the text (default: %(default)s)")
    out.add_argument(
        "--out",
        metavar="FILE",
        help="written whole or not at all, packed if it ends in .gz (default: the standard output)",
    )
    out.add_argument("--null", action="store_true", help="end paths by a zero byte, not by an end of line")
    out.add_argument(
        "--skip-bad", action="store_true", help="skip, name and count ill-formed lines and files that cannot be read"
    )
    out.add_argument(
        "--num-perm", type=int, default=defaults.num_perm, help="values of a signature (default: %(default)s)"
    )
    out.add_argument("--bands", type=int, help="of a signature (default: from the threshold)")
    out.add_argument("--seed", type=int, default=defaults.seed, help="of the hash functions (default: %(default)s)")
    out.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    closed = streams.open_closed_streams()
    try:
        with streams.stoppable():
            return _run(options, closed)
    except streams.Stopped as stopped:
        return _refuse(str(stopped), 128 + stopped.number)
    except streams.StdoutError as error:
        return _refuse(str(error), 1)
    except BadInputError as error:
        return _refuse(str(error))
    except (ValueError, TypeError) as error:  # of an option: everything else has been taken care of
        return _refuse(" ".join(str(error).split()))
    except BrokenPipeError:
        raise
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{name}{error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        # torch's allocator and the operators have no type of their own for it, only words.
        if isinstance(error, MemoryError) or any(word in str(error) for word in ("memory", "alloc")):
            return _refuse("not enough memory")
        raise


def _refuse(text: str, code: int = 2) -> int:
    streams.tell(text)
    return code


def _run(options: argparse.Namespace, closed: set[str]) -> int:
    sketching = Sketching(options.threshold, options.ngram, options.unit, options.num_perm, options.seed)
    if options.bands is not None and (options.bands < 1 or options.num_perm % options.bands):
        raise ValueError(f"bands must divide num_perm, {options.num_perm}, got {options.bands}")
    if "stdout" in closed and options.out is None:
        raise BadInputError("standard output", "is closed, and there is no --out")
    if "stdin" in closed and STDIN in options.paths:
        raise BadInputError("standard input", "is closed")
    tally = Tally(options.skip_bad, lambda text: streams.tell(f"skipped: {text}"))
    source = _source(options, tally)
    try:
        # Opened before the work: a file that cannot be written shall not cost it.
        with _output(options.out) as output:
            with _progress(source) as advance:
                found = deduplicate(
                    source.texts(advance),
                    threshold=sketching.threshold,
                    ngram=sketching.ngram,
                    unit=sketching.unit,
                    num_perm=sketching.num_perm,
                    bands=options.bands,
                    seed=sketching.seed,
                )
            output.writelines(source.kept(found.keep.tolist()))
    finally:
        source.close()
    _show(found, tally.skipped, source.links if isinstance(source, TextFiles) else None)
    return 0


def _source(options: argparse.Namespace, tally: Tally) -> JsonLines | TextFiles:
    of_lines = {is_jsonl(path) for path in options.paths}
    if len(of_lines) == 2:
        raise BadInputError("PATH", "JSONL files and others cannot be mixed: one gives lines, the other paths")
    if options.paths.count(STDIN) > 1:
        raise BadInputError(STDIN, "the standard input can be read once")
    if not of_lines.pop():
        return TextFiles(options.paths, tally, options.out, b"\0" if options.null else b"\n")
    if options.null:
        raise BadInputError("--null", "JSONL files give lines, no paths")
    return JsonLines(options.paths, options.jsonl_field, tally)


@contextmanager
def _output(path: str | None) -> Iterator[BinaryIO]:
    """Where the answer goes; what is written there can be seen only where the block ends well."""
    if path is None:
        with tempfile.TemporaryFile(prefix="warphash-") as held:
            yield cast(BinaryIO, held)
            held.seek(0)
            streams.send(cast(BinaryIO, held))
        return
    with whole_file(path, "--out") as file:
        if path.lower().endswith(".gz"):
            # Without a name and a time: the same input gives the same bytes.
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                yield cast(BinaryIO, packed)
        else:
            yield file


@contextmanager
def _progress(source: JsonLines | TextFiles) -> Iterator[Any]:
    """A bar on stderr, where somebody looks at it."""
    console = Console(stderr=True)
    if not console.is_terminal:  # a Progress that is disabled writes an empty line nevertheless
        yield lambda _: None
        return
    count = TaskProgressColumn() if isinstance(source, JsonLines) else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading", total=source.size())

        def advance(amount: int) -> None:
            progress.advance(task, amount)
            if progress.tasks[0].finished:
                progress.update(task, description="comparing")

        yield advance


def _show(found: Deduplication, skipped: int, links: int | None) -> None:
    report = found.report
    table = Table(title="near-duplicates", title_justify="left", title_style="bold", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    rows: list[tuple[str, str]] = [
        ("documents", f"{report.documents:,}"),
        ("skipped as bad", f"{skipped:,}"),
        *([] if links is None else [("links to folders, not followed", f"{links:,}")]),
        ("without any unit", f"{report.empty:,}"),
        ("distinct sets of shingles", f"{report.distinct:,}"),
        ("candidate pairs", f"{report.candidate_pairs:,}"),
        ("pairs verified", f"{report.verified_pairs:,}"),
        ("clusters", f"{report.clusters:,}"),
        ("removed", f"{report.removed:,}"),
        ("kept", f"{report.documents - report.removed:,}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    table.add_section()
    for name, value in _histogram(report):
        table.add_row(name, value)
    table.add_section()
    for name, seconds in report.seconds.items():
        table.add_row(f"seconds of {name}", f"{seconds:.3f}")
    console = Console(stderr=True)
    with console.capture() as captured:  # rich would end the process where stderr has no reader
        console.print(table)
    streams.write(captured.get())
    if report.chained_buckets:
        text = f"{report.chained_buckets:,} buckets were too large for all of their pairs; some pairs may be missed"
        streams.tell(text)


def _histogram(report: Report) -> Iterator[tuple[str, str]]:
    """How many buckets have how many members, by powers of two."""
    sizes = report.bucket_sizes
    yield f"buckets of 1 ({report.bands} bands of {report.rows})", f"{int(sizes[1:2].sum()):,}"
    low = 2
    while low < len(sizes):
        high = min(2 * low, len(sizes)) - 1
        count = int(sizes[low : high + 1].sum())
        if count:
            yield f"buckets of {low}" + (f" to {high}" if high > low else ""), f"{count:,}"
        low *= 2
