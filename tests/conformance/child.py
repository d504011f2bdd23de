# SPDX-License-Identifier: Apache-2.0
"""What a child process runs: ``python -m conformance.child TASK``. It prints JSON; stderr says which call came last."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import warphash as wh

from .guarded import guarded
from .internal import internal_calls
from .op_case import OpCase, Sample, all_cases, raw_bytes, same_bits


def digests() -> dict[str, str]:
    """A hash of all results of an operator over samples, sweep and the large call, on guarded read-only memory; of an
    internal operator over its calls.

    The instruction set in force stands beside them, under "isa".
    """
    out = {"isa": wh.build_info()["isa"]}
    for case in all_cases():
        digest = hashlib.sha256()
        for sample in itertools.chain(case.samples, case.sweep(), [case.large]):
            _say(case, sample)
            at_end = sample.mapped(guarded)
            results = at_end.call(case.function)
            if sample is not case.large:
                after_guard = sample.mapped(lambda x: guarded(x, at_end=False)).call(case.function)
                assert all(same_bits(a, b) for a, b in zip(results, after_guard, strict=True))
            _add(digest, results)
        out[case.op] = digest.hexdigest()
    of_internal: dict[str, Any] = {}
    for call in internal_calls():
        print(f"{call.op}: {call.name}", file=sys.stderr, flush=True)
        at_end = call.operator(*(_guarded_where_dense(x) for x in call.arguments))
        after_guard = call.operator(*(_guarded_where_dense(x, at_end=False) for x in call.arguments))
        at_end, after_guard = (x if isinstance(x, tuple) else (x,) for x in (at_end, after_guard))
        assert all(same_bits(a, b) for a, b in zip(at_end, after_guard, strict=True))
        _add(of_internal.setdefault(call.op, hashlib.sha256()), at_end)
    return out | {op: digest.hexdigest() for op, digest in of_internal.items()}


def _add(digest: Any, results: tuple[torch.Tensor, ...]) -> None:
    for result in results:
        digest.update(f"{result.dtype}{tuple(result.shape)}".encode())
        digest.update(raw_bytes(result).numpy().tobytes())


def last_line() -> dict[str, int]:
    """Wrong operands given past the public functions: an error or a result, never a crash. Counts of the errors.

    Numbers are left as they are: a huge count may be legal, and would only need more memory than there is.
    """
    refused = {}
    for case in all_cases():
        errors = 0
        for sample in case.samples:
            arguments = case.operator_arguments(sample)
            for place, argument in enumerate(arguments):
                changes: list[Any] = _CHANGES if isinstance(argument, torch.Tensor) else _changes_of(argument)
                for change in changes if changes is not _NUMBERS else []:
                    _say(case, sample)
                    try:
                        case.operator(*arguments[:place], change(argument), *arguments[place + 1 :])
                    except (RuntimeError, NotImplementedError, IndexError, ValueError):
                        errors += 1
        refused[case.op] = errors
    return refused


def internal_last_line() -> dict[str, int]:
    """The same for internal operators, on guarded memory, with wrong contents, counts, flags and texts too."""
    refused = dict.fromkeys((call.op for call in internal_calls()), 0)
    for call in internal_calls():
        for place, argument in enumerate(call.arguments):
            for number, change in enumerate(_changes_of(argument)):
                print(f"{call.op}: {call.name}, argument {place}, change {number}", file=sys.stderr, flush=True)
                try:
                    arguments = list(call.arguments)
                    arguments[place] = change(argument)
                    call.operator(*(_guarded_where_dense(x) for x in arguments))
                except (RuntimeError, NotImplementedError, IndexError, ValueError):
                    refused[call.op] += 1
    return refused


def _changes_of(argument: Any) -> list[Callable[[Any], Any]]:
    if isinstance(argument, torch.Tensor):
        return _CHANGES + (_REAL_CONTENTS if argument.dtype.is_floating_point else _CONTENTS)
    if isinstance(argument, bool):
        return _FLAGS
    if isinstance(argument, str):
        return _TEXTS
    return _INSTEAD_OF_NONE if argument is None else _NUMBERS


def _guarded_where_dense(x: Any, *, at_end: bool = True) -> Any:
    return guarded(x, at_end=at_end) if isinstance(x, torch.Tensor) and x.layout == torch.strided else x


_CHANGES: list[Callable[[torch.Tensor], torch.Tensor]] = [
    lambda x: x.detach().to(torch.int64),
    lambda x: x.detach().to(torch.float64),
    lambda x: x.detach().bool(),
    lambda x: x.detach()[None],
    lambda x: x.detach()[0],
    lambda x: x.detach().flatten()[0],
    lambda x: x.detach()[..., :-1],
    lambda x: x.detach()[:-1],
    lambda x: torch.cat([x.detach(), x.detach()]),
    lambda x: x.detach().to_sparse(),
]

# Contents that no table has; shapes and dtypes are right.
_CONTENTS: list[Callable[[torch.Tensor], torch.Tensor]] = [
    torch.zeros_like,
    lambda x: torch.full_like(x, torch.iinfo(x.dtype).max),
    lambda x: torch.full_like(x, torch.iinfo(x.dtype).min),
    lambda x: x.flip(-1),
    lambda x: x.roll(1, 0),
    # Ends as they were and wrong numbers between.
    lambda x: x.index_fill(-1, torch.arange(1, max(1, x.shape[-1] - 1)), torch.iinfo(x.dtype).max),
    lambda x: x.index_fill(-1, torch.arange(1, max(1, x.shape[-1] - 1)), torch.iinfo(x.dtype).min),
]
_REAL_CONTENTS: list[Callable[[torch.Tensor], torch.Tensor]] = [
    torch.zeros_like,
    *(lambda x, value=value: torch.full_like(x, value) for value in (float("nan"), float("inf"), -float("inf"))),
    lambda x: torch.full_like(x, torch.finfo(x.dtype).max),
    lambda x: torch.full_like(x, -torch.finfo(x.dtype).tiny),
    lambda x: x * 2.0**31,
    lambda x: x * -(2.0**33),
]
_NUMBERS: list[Callable[[float], float]] = [
    lambda x: type(x)(-1),
    lambda x: type(x)(0),
    lambda x: x + 1,
    lambda x: type(x)(2**62),
    lambda x: type(x)(-(2**62)),
    lambda x: float("nan") if isinstance(x, float) else 2**31,
]
_FLAGS: list[Callable[[bool], Any]] = [lambda x: not x, lambda x: None, lambda x: 2, lambda x: "True"]
_INSTEAD_OF_NONE: list[Callable[[None], Any]] = [
    lambda _: torch.zeros(0),
    lambda _: torch.zeros(3, dtype=torch.int64),
    lambda _: torch.tensor(1.0),
    lambda _: 1.0,
]


def _with_number(text: str, place: int, number: str) -> str:
    """The text with another number (from the end) of those in it."""
    found = list(re.finditer(r"[0-9.e+-]*[0-9]", text))
    at = found[-1 - place % len(found)]
    return text[: at.start()] + number + text[at.end() :]


# Texts cut, doubled, with parts swapped, with signs that do not belong, and with numbers out of range.
_TEXTS: list[Callable[[str], str]] = [
    lambda x: "",
    lambda x: x[:-1],
    lambda x: x[: len(x) // 2],
    lambda x: x + x,
    lambda x: x + ";",
    lambda x: x + " ",
    lambda x: x[::-1],
    lambda x: x.replace(" ", "\0"),
    lambda x: x.replace(" ", "  "),
    lambda x: x.replace(";", ";;"),
    lambda x: x.upper(),
    lambda x: x.partition(";")[0],
    lambda x: "\N{SNOWMAN}" + x,
    *(
        lambda x, place=place, number=number: _with_number(x, place, number)
        for place in range(3)
        for number in ("-1", "0", "3", "1e300", "nan", "inf", "0x8", "2147483648", "4294967296", "99999999999999999999")
    ),
    *(lambda x, dims=dims: re.sub(r" \d+;", f" {dims};", x, count=1) for dims in (-1, 0, 1, 7, 8, 2**31, 2**40)),
]


def after_fork() -> dict[str, bool]:
    """Runs in the child of a fork what its parent has run with one thread."""
    torch.set_num_threads(1)
    expected = [case.large.call(case.function) for case in all_cases()]
    pid = os.fork()
    if pid == 0:
        same = all(
            same_bits(a, b)
            for case, outs in zip(all_cases(), expected, strict=True)
            for a, b in zip(case.large.call(case.function), outs, strict=True)
        )
        os._exit(0 if same else 1)
    return {"same": os.waitpid(pid, 0)[1] == 0}


def after_fork_of_threads() -> dict[str, bool]:
    """Whether the child of a fork hangs after two threads, in an operator of torch and in one of warphash."""
    torch.set_num_threads(2)
    x = torch.ones(1 << 20)
    case = next(case for case in all_cases() if case.op == "hamming_topk")
    calls: dict[str, Callable[[], object]] = {"torch": x.exp, "warphash": lambda: case.large.call(case.function)}
    for call in calls.values():
        call()
    pids = {}
    for name, call in calls.items():
        pids[name] = os.fork()
        if pids[name] == 0:
            call()
            os._exit(0)
    out = {}
    end = time.monotonic() + 5
    for name, pid in pids.items():
        while not (ended := os.waitpid(pid, os.WNOHANG)[0]) and time.monotonic() < end:
            time.sleep(0.02)
        out[name] = not ended
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return out


def _say(case: OpCase, sample: Sample) -> None:
    """The last line on stderr names the call that killed the process."""
    print(f"{case.op}: {sample.name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    tasks = {
        "digests": digests,
        "last_line": last_line,
        "internal_last_line": internal_last_line,
        "after_fork": after_fork,
        "after_fork_of_threads": after_fork_of_threads,
    }
    print(json.dumps(tasks[sys.argv[1]]()))
