# SPDX-License-Identifier: Apache-2.0
"""Python children that find the tests' modules."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]


def run(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python child with arguments and with more in its environment."""
    env = {**os.environ, "PYTHONPATH": str(TESTS), **environment}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=300, check=False
    )


@functools.cache
def result_of(module: str, task: str, **environment: str) -> Any:
    """What ``python -m MODULE TASK`` prints, as JSON; its last words on stderr where it fails."""
    done = run(["-m", module, task], **environment)
    if done.returncode:
        killed = f"killed by {signal.Signals(-done.returncode).name}" if done.returncode < 0 else "failed"
        pytest.fail(f"{task} {environment} {killed} at: {done.stderr[-2000:]}", pytrace=False)
    return json.loads(done.stdout)
