# SPDX-License-Identifier: Apache-2.0
"""Other processes: instruction sets by environment, forbidden pages around inputs, wrong operands, spawn, fork."""

from __future__ import annotations

import functools
import signal

import pytest
import torch
import warphash as wh
from warphash import _C

from .internal import internal_calls
from .op_case import all_cases, same_bits
from .processes import result_of, run

LEVELS = ("scalar", "avx2", "avx512", "amx")
MACHINE = LEVELS.index(_C.cpu_features()["machine_isa"])
child = functools.partial(result_of, "conformance.child")


@pytest.mark.parametrize("level", LEVELS[: MACHINE + 1])
def test_every_level_gives_the_same_bits_between_forbidden_pages(level: str) -> None:
    digests, scalar = child("digests", WARPHASH_ISA=level), child("digests", WARPHASH_ISA="scalar")
    assert digests["isa"] == level
    assert set(digests) == {"isa", *(x.op for x in (*all_cases(), *internal_calls()))}
    assert {**digests, "isa": "scalar"} == scalar


def test_forbidden_pages_kill() -> None:
    """The check can fail: one byte too far ends the process, and so does a write."""
    read = (
        "import ctypes; from conformance.guarded import guarded; import torch; x = guarded(torch.zeros(5), at_end={});"
    )
    for at_end, act in [
        (True, "ctypes.string_at(x.data_ptr() + 20, 1)"),
        (False, "ctypes.string_at(x.data_ptr() - 1, 1)"),
        (True, "x.add_(1)"),
    ]:
        assert run(["-c", read.format(at_end) + act]).returncode == -signal.SIGSEGV
    assert run(["-c", read.format(True) + "ctypes.string_at(x.data_ptr(), 20)"]).returncode == 0


@pytest.mark.parametrize("level", LEVELS[MACHINE + 1 :])
def test_a_level_the_machine_lacks_stops_the_import(level: str) -> None:
    done = run(["-c", "import warphash"], WARPHASH_ISA=level)
    assert done.returncode == 1
    assert f"WARPHASH_ISA={level}: this machine has at most {LEVELS[MACHINE]}" in done.stderr


@pytest.mark.parametrize("name", ["sse9", "AVX2"])
def test_an_unknown_level_stops_the_import(name: str) -> None:
    done = run(["-c", "import warphash"], WARPHASH_ISA=name)
    assert done.returncode == 1
    assert f"WARPHASH_ISA must be scalar, avx2, avx512 or amx, got '{name}'" in done.stderr


def test_an_empty_level_is_the_machines() -> None:
    code = "import warphash; print(warphash.build_info()['isa'])"
    assert run(["-c", code], WARPHASH_ISA="").stdout.split() == [LEVELS[MACHINE]]


def test_wrong_operands_past_the_public_functions_never_crash() -> None:
    refused = child("last_line")
    assert set(refused) == {case.op for case in all_cases()}
    assert all(count > 0 for count in refused.values())


@pytest.mark.parametrize("level", LEVELS[: MACHINE + 1])
def test_wrong_operands_of_internal_operators_never_crash(level: str) -> None:
    refused = child("internal_last_line", WARPHASH_ISA=level)
    assert set(refused) == {call.op for call in internal_calls()}
    assert all(count > 10 for count in refused.values())


def test_fork_after_one_thread() -> None:
    """Nothing waits for threads that the child does not have."""
    assert child("after_fork") == {"same": True}


def test_fork_after_more_threads_is_as_the_docs_say() -> None:
    """docs/hamming.md: the child hangs where the parent has run on several threads, in torch's own operators too."""
    hangs = child("after_fork_of_threads")
    assert hangs["torch"] == hangs["warphash"]


class Packed(torch.utils.data.Dataset[torch.Tensor]):
    """Codes made by a loader's workers."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        return wh.hamming.pack(torch.linspace(-1, 1, 40) * (-1) ** index)


def test_loader_with_spawned_workers() -> None:
    data = Packed()
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    out = torch.cat(list(loader))
    assert same_bits(out, torch.stack([data[i] for i in range(len(data))]))
