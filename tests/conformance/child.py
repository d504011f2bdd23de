# SPDX-License-Identifier: Apache-2.0
"""What a child process runs: ``python -m conformance.child TASK``. It prints JSON; stderr says which call came last."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Callable

import torch
import warphash as wh

from .guarded import guarded
from .op_case import OpCase, Sample, all_cases, raw_bytes, same_bits


def digests() -> dict[str, str]:
    """A hash of all results of an operator over samples, sweep and the large call, on guarded read-only memory.

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
            for result in results:
                digest.update(f"{result.dtype}{tuple(result.shape)}".encode())
                digest.update(raw_bytes(result).numpy().tobytes())
        out[case.op] = digest.hexdigest()
    return out


def last_line() -> dict[str, int]:
    """Wrong operands given past the public functions: an error or a result, never a crash. Counts of the errors."""
    refused = {}
    for case in all_cases():
        errors = 0
        for sample in case.samples:
            arguments = case.operator_arguments(sample)
            places = [i for i, x in enumerate(arguments) if isinstance(x, torch.Tensor)]
            for place, change in itertools.product(places, _CHANGES):
                _say(case, sample)
                try:
                    wrong = change(arguments[place])
                    case.operator(*arguments[:place], wrong, *arguments[place + 1 :])
                except (RuntimeError, NotImplementedError, IndexError):
                    errors += 1
        refused[case.op] = errors
    return refused


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


def _say(case: OpCase, sample: Sample) -> None:
    """The last line on stderr names the call that killed the process."""
    print(f"{case.op}: {sample.name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    tasks = {"digests": digests, "last_line": last_line, "after_fork": after_fork}
    print(json.dumps(tasks[sys.argv[1]]()))
