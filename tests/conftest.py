# SPDX-License-Identifier: Apache-2.0
"""Seeds, what is skipped and why, and fixtures that several rooms share."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import warphash as wh

# The levels of instruction sets, each of which includes those before it.
ISA_LEVELS = ("scalar", "avx2", "avx512", "amx")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--big`` asks for the tests that need many gigabytes."""
    parser.addoption("--big", action="store_true", help="run tests marked big (or set WARPHASH_TEST_BIG=1)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what this machine cannot run, with the reason."""
    reasons = {}
    if not torch.cuda.is_available():
        reasons["cuda"] = "needs a CUDA device"
    elif isinstance(wh.build_info()["cuda"], str):
        reasons["cuda"] = wh.build_info()["cuda"]
    if not config.getoption("--big") and os.environ.get("WARPHASH_TEST_BIG", "0") in ("", "0"):
        reasons["big"] = "needs many gigabytes: --big or WARPHASH_TEST_BIG=1"
    if wh.build_info()["sanitizers"]:
        reasons["memory"] = "sanitizers keep freed memory, need much themselves and end the process at a refusal"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test draws the same random numbers, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture(params=ISA_LEVELS[: ISA_LEVELS.index(wh.build_info()["machine_isa"]) + 1])
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set that this machine has."""
    level: str = request.param
    return level


@pytest.fixture
def resident() -> Callable[[], int]:
    """How many bytes of this process lie in memory."""
    return lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
