# SPDX-License-Identifier: Apache-2.0
"""The command line: ``python -m warphash COMMAND``.

Exit codes: 0; 2 where the call (argparse's own) or its input is wrong; 1 where the reader has gone away.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import build_info
from .data import command as dedup
from .data import streams


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_text(inner)}" for key, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value) or "none"


def _info(options: argparse.Namespace) -> int:
    found = build_info()
    if options.json:
        print(json.dumps(found, indent=1, default=str))
        return 0
    table = Table(title="warphash", title_justify="left", title_style="bold", show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for key, value in found.items():
        table.add_row(key.replace("_", " "), Text(_text(value)))
    Console().print(table)
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser; each command sets ``run``, a function of the parsed options that returns the exit code."""
    out = argparse.ArgumentParser(prog="python -m warphash", description="Hash kernels for PyTorch.")
    commands = out.add_subparsers(title="commands", metavar="COMMAND", required=True)
    info = commands.add_parser("info", help="what was built and what this machine offers")
    info.add_argument("--json", action="store_true", help="as JSON on stdout")
    info.set_defaults(run=_info)
    dedup.add_to(commands)
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        result: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        streams.silence(sys.stdout)
        return 1
    return result


if __name__ == "__main__":
    sys.exit(main())
