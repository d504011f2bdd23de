# SPDX-License-Identifier: Apache-2.0
"""bench/test_bench_regression.py lies outside of the testpaths: each of its calls once, untimed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_every_call_works():
    pytest.importorskip("pytest_benchmark")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "--benchmark-disable", "bench/test_bench_regression.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") >= 30
