# SPDX-License-Identifier: Apache-2.0
"""The command ``python -m warphash dedup``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from .._files import whole_file
from .sketches import Sketching
from .sources import BadInputError, JsonLines, Tally, TextFiles, is_jsonl
from .texts import Deduplication, Report, deduplicate

_EPILOG = """\
JSONL files (.jsonl, .ndjson, .jsonl.gz, .ndjson.gz, or - for the standard input) give their kept lines unchanged and in
order. Other files and folders give the kept paths, one a line: each file, and each file in a folder and its folders,
is one document; .gz is read unpacked. Two texts are near-duplicates if the Jaccard similarity of their shingles reaches
the threshold, clusters are the connected components, and the first of each is kept; texts without any unit are kept.
Shingles beyond 4 GiB go to a temporary file in TMPDIR. Exit code 2: the call or the input is
wrong, and nothing is written."""


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
    out.add_argument("--out", metavar="FILE", help="written whole or not at all (default: the standard output)")
    out.add_argument(
        "--skip-bad", action="store_true", help="skip and count ill-formed lines and files that cannot be read"
    )
    out.add_argument(
        "--num-perm", type=int, default=defaults.num_perm, help="values of a signature (default: %(default)s)"
    )
    out.add_argument("--bands", type=int, help="of a signature (default: from the threshold)")
    out.add_argument("--seed", type=int, default=defaults.seed, help="of the hash functions (default: %(default)s)")
    out.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    try:
        return _run(options)
    except BadInputError as error:
        return _refuse(str(error))
    except (ValueError, TypeError) as error:  # of an option: everything else has been taken care of
        return _refuse(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{name}{error.strerror or error}")


def _refuse(text: str) -> int:
    print(f"python -m warphash dedup: {' '.join(text.split())}", file=sys.stderr)
    return 2


def _run(options: argparse.Namespace) -> int:
    sketching = Sketching(options.threshold, options.ngram, options.unit, options.num_perm, options.seed)
    if options.bands is not None and (options.bands < 1 or options.num_perm % options.bands):
        raise ValueError(f"bands must divide num_perm, {options.num_perm}, got {options.bands}")
    of_lines = {is_jsonl(path) for path in options.paths}
    if len(of_lines) == 2:
        raise BadInputError("PATH", "JSONL files and others cannot be mixed: one gives lines, the other paths")
    if options.paths.count("-") > 1:
        raise BadInputError("-", "the standard input can be read once")
    tally = Tally(options.skip_bad)
    source = JsonLines(options.paths, options.jsonl_field, tally) if of_lines.pop() else TextFiles(options.paths, tally)
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
            output.flush()
    finally:
        source.close()
    _show(found, tally.skipped)
    return 0


@contextmanager
def _output(path: str | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
    else:
        with whole_file(path) as file:
            yield file


@contextmanager
def _progress(source: JsonLines | TextFiles) -> Iterator[Any]:
    """A bar on stderr, where somebody looks at it."""
    console = Console(stderr=True)
    count = TaskProgressColumn() if isinstance(source, JsonLines) else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=source.size())

        def advance(amount: int) -> None:
            progress.advance(task, amount)
            if progress.tasks[0].finished:
                progress.update(task, description="comparing")

        yield advance


def _show(found: Deduplication, skipped: int) -> None:
    report = found.report
    table = Table(title="near-duplicates", title_justify="left", title_style="bold", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    rows: list[tuple[str, str]] = [
        ("documents", f"{report.documents:,}"),
        ("skipped as bad", f"{skipped:,}"),
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
    Console(stderr=True).print(table)
    if report.chained_buckets:
        text = f"{report.chained_buckets:,} buckets were too large for all of their pairs; some pairs may be missed"
        print(text, file=sys.stderr)


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
