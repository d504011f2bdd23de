# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of emulated kernels in one mode; what follows -- goes to pytest.

python tests/cuda_emulation/run.py --mode asan tests/room/test_emulated_kernel.py -- -k name
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment(mode: str) -> Mapping[str, str]:
    """The variables under which a process can load kernels of the mode."""
    variables = {**os.environ, "WARPHASH_EMULATION": mode}
    if mode == "asan":
        # The sanitizer must come first in the process; libstdc++ beside it, or it finds no __cxa_throw to intercept.
        libraries = ("libasan.so", "libstdc++.so")
        variables["LD_PRELOAD"] = " ".join(map(_compiler_library, libraries))
        variables["ASAN_OPTIONS"] = "detect_leaks=0"  # Python leaves much to the end of the process
        variables["UBSAN_OPTIONS"] = "print_stacktrace=1"
    return variables


def _compiler_library(name: str) -> str:
    command = ["g++", f"-print-file-name={name}"]
    return str(Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()).resolve())


def default_paths() -> list[Path]:
    return [HERE, *sorted(HERE.parent.glob("*/test_emulated*.py"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("plain", "asan", "races"), default="plain")
    parser.add_argument("paths", nargs="*", type=Path, help="default: the emulator's own tests and */test_emulated*.py")
    own, options = sys.argv[1:], []
    if "--" in own:
        own, options = own[: own.index("--")], own[own.index("--") + 1 :]
    arguments = parser.parse_args(own)
    # -s: a sanitizer's report ends the process, and what pytest has captured would go down with it.
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *options]
    paths = [path.resolve() for path in arguments.paths] or default_paths()
    return subprocess.run([*command, *map(str, paths)], cwd=ROOT, env=environment(arguments.mode)).returncode


if __name__ == "__main__":
    sys.exit(main())
