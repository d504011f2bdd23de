# SPDX-License-Identifier: Apache-2.0
"""An example as its tests use it: loaded as a module, run as a program, its picture looked at."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Program:
    """name: without its suffix; picture_bytes: more than these are in any picture worth its name."""

    name: str
    picture_bytes: int

    @property
    def path(self) -> Path:
        """The file."""
        return FOLDER / f"{self.name}.py"

    def load(self) -> ModuleType:
        """The module, executed anew."""
        spec = importlib.util.spec_from_file_location(self.name, self.path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where dataclasses look for it
        sys.path.insert(0, str(FOLDER))  # where a program finds what it shares with others
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(FOLDER))
        return module

    def drew(self, path: Path) -> bool:
        """Whether a whole PNG of some size is there."""
        whole = path.read_bytes()
        return whole.startswith(b"\x89PNG\r\n\x1a\n") and whole[-8:-4] == b"IEND" and len(whole) > self.picture_bytes

    def run(self, *arguments: str, timeout: float = 600, one_thread: bool = True) -> str:
        """What the program writes to stdout; it must end well."""
        done = subprocess.run(
            [sys.executable, str(self.path), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
            env=os.environ | ({"OMP_NUM_THREADS": "1"} if one_thread else {}),
        )
        return done.stdout
