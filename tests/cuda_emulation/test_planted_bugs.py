# SPDX-License-Identifier: Apache-2.0
"""Each mistake planted in the demo kernels (#if BUG == n) must be caught in the modes that can see it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from . import checks
from .build import ROOT
from .emulated import MODE, EmulationError, load
from .run import environment

pytestmark = pytest.mark.skipif(MODE != "plain", reason="names its modes itself; once is enough")

# Plain runs see what goes wrong under some schedule: seeds are tried until one does. Without lockstep, a mistake shows
# under nearly each of them; the races mode needs only one.
PLAIN_SEEDS = 20

# file, bug, check, mode, what must be said (an AssertionError's text for wrong results is NumPy's)
WRONG = "AssertionError"
BUGS = [
    ("block_sum", 1, "block_sum", "plain", WRONG),
    ("block_sum", 1, "block_sum", "races", "race on shared"),
    ("block_sum", 2, "block_sum", "asan", "global-buffer-overflow|out of bounds"),
    ("block_sum", 3, "block_sum", "asan", "heap-buffer-overflow"),
    ("block_sum", 4, "block_sum", "plain", r"divergent barrier, block \(0,0,0\) can never go on"),
    ("block_sum", 5, "block_sum", "plain", "__shfl_down_sync at .*block_sum.cu:.*mask does not name"),
    ("scan", 1, "scan", "plain", WRONG),
    ("scan", 1, "scan", "races", "race on shared"),
    ("histogram", 1, "histogram", "plain", WRONG),
    ("histogram", 1, "histogram", "races", "race on shared"),
    ("histogram", 6, "histogram", "races", "race on shared"),
    ("hash_grid", 6, "hash_grid", "races", "race on global"),
    ("hamming_topk", 7, "hamming_topk", "plain", WRONG),
    ("hamming_topk", 7, "hamming_topk", "races", "race on shared"),
    ("mma_tiles", 8, "hamming_tiles", "plain", WRONG),
    ("mma_tiles", 10, "hamming_tiles", "plain", WRONG),
    ("mma_tiles", 10, "hamming_tiles", "races", "race on shared"),
    ("spgemm", 1, "spgemm", "plain", f"{WRONG}|no progress"),
    ("spgemm", 1, "spgemm", "races", "race on shared"),
    ("spgemm", 9, "spgemm", "plain", WRONG),
    ("spgemm", 9, "spgemm", "races", "race on shared"),
    ("clusters", 1, "cluster_scan", "plain", WRONG),
    ("clusters", 1, "cluster_scan", "races", "race on shared"),
    ("clusters", 2, "cluster_scan", "plain", WRONG),
    ("clusters", 2, "cluster_scan", "races", "race on shared"),
    ("copy_out", 1, "copy_out", "plain", "was written to before the wait"),
    ("copy_out", 2, "copy_out", "races", "wrote without fence_shared_for_async"),
    ("copy_out", 3, "copy_out", "plain", f"{WRONG}|was written to before the wait"),
    ("copy_out", 3, "copy_out", "races", "race on shared"),
    ("copy_out", 4, "copy_out", "plain", "ended before it waited for its copies"),
]
QUICK = {("block_sum", 1, "races"), ("block_sum", 2, "asan"), ("block_sum", 4, "plain")}


def plant(name: str, bug: int) -> dict[str, list[str]]:
    return {f"{checks.KERNELS}/{name}.cu": [f"BUG={bug}"]} if bug else {}


def findings(name: str, bug: int, check: str, mode: str) -> str:
    """What the first failing seed says; empty if none fails."""
    for seed in range(PLAIN_SEEDS if mode == "plain" else 1):
        kernels = load(checks.SOURCES, mode, seed=seed, defines=plant(name, bug))
        try:
            checks.CHECKS[check](kernels)
        except (AssertionError, EmulationError) as error:
            return f"{type(error).__name__}: {error}"
    return ""


def findings_of_asan(name: str, bug: int, check: str) -> str:
    """The sanitizer ends the process, so it has one of its own."""
    program = (
        "from cuda_emulation import checks\nfrom cuda_emulation.emulated import load\n"
        f"checks.CHECKS[{check!r}](load(checks.SOURCES, 'asan', defines={plant(name, bug)!r}))"
    )
    command, variables = [sys.executable, "-c", program], {**environment("asan"), "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    ("name", "bug", "check", "mode", "said"),
    [
        pytest.param(*row, id="-".join(map(str, key)), marks=[] if key in QUICK else pytest.mark.slow)
        for row in BUGS
        for key in [(row[0], row[1], row[3])]
    ],
)
def test_a_planted_bug_is_caught(name: str, bug: int, check: str, mode: str, said: str) -> None:
    found = findings_of_asan(name, bug, check) if mode == "asan" else findings(name, bug, check, mode)
    assert re.search(said, found), found or "nothing was found"


def test_every_bug_in_the_files_is_listed() -> None:
    planted = {
        (name, int(bug))
        for name in checks.NAMES
        for bug in re.findall(r"BUG [!=]= (\d+)", (ROOT / checks.KERNELS / f"{name}.cu").read_text())
    }
    assert planted == {row[:2] for row in BUGS}


@pytest.mark.parametrize("mode", ["races", "asan"])
def test_right_kernels_raise_no_alarm(mode: str) -> None:
    if mode == "asan":
        assert findings_of_asan("block_sum", 0, "block_sum") == ""
    else:
        assert findings("block_sum", 0, "block_sum", mode) == ""
