# SPDX-License-Identifier: Apache-2.0
"""Threads inside of an operator and around it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from .op_case import OpCase, all_cases, same_bits


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_number_of_threads_changes_nothing(case: OpCase) -> None:
    torch.set_num_threads(1)
    alone = case.large.call(case.function)
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        out = case.large.call(case.function)
        assert all(same_bits(a, b) for a, b in zip(out, alone, strict=True))


def test_eight_python_threads_at_once() -> None:
    cases = all_cases()
    samples = [(case, sample) for case in cases for sample in [*case.samples, case.batch]]
    expected = [sample.call(case.function) for case, sample in samples]
    start = threading.Barrier(8)

    def work(shift: int) -> int:
        start.wait()
        wrong = 0
        for i in range(len(samples)):
            case, sample = samples[(i + shift) % len(samples)]
            wanted = expected[(i + shift) % len(samples)]
            wrong += not all(same_bits(a, b) for a, b in zip(sample.call(case.function), wanted, strict=True))
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(0, 8 * 11, 11))) == 0


def test_large_calls_of_python_threads_at_once(case: OpCase) -> None:
    expected = case.large.call(case.function)
    with ThreadPoolExecutor(4) as pool:
        for out in pool.map(lambda _: case.large.call(case.function), range(4)):
            assert all(same_bits(a, b) for a, b in zip(out, expected, strict=True))


def test_the_interpreter_runs_on_during_a_call(case: OpCase) -> None:
    """No thread is made to hand over the lock here, so others run during a call only if the call lets go of it."""
    arguments = case.operator_arguments(case.large)
    turns, seen = 0, 0

    def call() -> None:
        nonlocal seen
        # On a busy machine the other thread may not get a core during one short call.
        end = time.monotonic() + 5
        while not seen and time.monotonic() < end:
            before = turns
            case.operator(*arguments)
            seen += turns - before

    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        calls = threading.Thread(target=call)
        calls.start()
        while calls.is_alive():
            turns += 1
            time.sleep(0)
        calls.join()
    finally:
        sys.setswitchinterval(interval)
    assert seen > 0
