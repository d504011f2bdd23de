# SPDX-License-Identifier: Apache-2.0
"""Runs one workload: prepares the contestants, checks their answers against ours, times them in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.harness.limits import Limits
from bench.harness.model import Bound, nearest
from bench.harness.timing import Clock, Timing, measure
from bench.harness.workload import Contestant, Prepared, Settings, Unavailable, Workload

OK, SAMPLED, NOT_COMPARED, WRONG = "ok", "sampled", "—", "WRONG"


@dataclass
class Row:
    """One contestant in one workload. reason: why there is no time, or what is wrong with its answer.

    peak: bytes that a call takes at most beside its inputs; None where that was not measured.
    """

    contestant: str
    timing: Timing | None = None
    share: float = 1.0
    check: str = NOT_COMPARED
    note: str = ""
    reason: str = ""
    bound: Bound | None = None
    peak: int | None = None

    @property
    def seconds(self) -> float | None:
        """Median wall seconds of the whole workload; scaled where the contestant was given less work."""
        return None if self.timing is None else self.timing.median / self.share

    @property
    def cpu_seconds(self) -> float | None:
        return None if self.timing is None else self.timing.cpu_median / self.share

    @property
    def of_limit(self) -> float | None:
        if self.bound is None or self.seconds is None:
            return None
        return self.bound.seconds / self.seconds


@dataclass
class Outcome:
    room: str
    workload: Workload
    rows: list[Row] = field(default_factory=list)

    @property
    def ours(self) -> Row:
        return self.rows[0]


def first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _check(workload: Workload, inputs: Any, prepared: Prepared, result: Any, ours: Any) -> tuple[str, str]:
    """(verdict, what is wrong)."""
    if prepared.answer is None:
        return NOT_COMPARED, ""
    theirs = prepared.answer(result)
    if prepared.inputs is None:
        wrong = workload.check(ours, theirs, inputs)
        verdict = OK
    else:
        wrong = workload.check(workload.solve(prepared.inputs), theirs, prepared.inputs)
        verdict = SAMPLED
    return (WRONG, wrong) if wrong else (verdict, "")


def _start(contestant: Contestant, inputs: Any, settings: Settings) -> tuple[Prepared, Any]:
    """The contestant and its first result: the call that also warms it up."""
    prepared = contestant.prepare(inputs, settings)
    return prepared, prepared.call()


def run(workload: Workload, settings: Settings, clock: Clock, room: str = "") -> Outcome:
    """Raises what our own contestant raises; a peer that fails is a row with the reason."""
    inputs = workload.make(settings.device)
    ours_answer = workload.solve(inputs)
    outcome = Outcome(room, workload)
    ready: dict[str, Prepared] = {}
    for index, contestant in enumerate(workload.contestants):
        if settings.device.type not in contestant.devices or settings.mode not in contestant.modes:
            continue
        row = Row(contestant.name)
        try:
            prepared, result = _start(contestant, inputs, settings)
            row.check, row.reason = _check(workload, inputs, prepared, result, ours_answer)
        except (ImportError, Unavailable) as error:
            row.reason = "not here: " + (str(error) if isinstance(error, Unavailable) else first_line(error))
        except Exception as error:
            if index == 0:
                raise
            row.reason = "failed: " + first_line(error)
        else:
            row.share, row.note = prepared.share, prepared.note
            ready[contestant.name] = prepared
        outcome.rows.append(row)
    timings = measure(
        {name: prepared.call for name, prepared in ready.items()}, budget=settings.seconds_per_workload, clock=clock
    )
    for row in outcome.rows:
        row.timing = timings.get(row.contestant)
    return outcome


def apply_limits(outcomes: Sequence[Outcome], limits: Limits) -> None:
    """Writes each row's nearest limit. Done after the last workload, when the limits have been measured twice."""
    for outcome in outcomes:
        units = {contestant.name: contestant.units for contestant in outcome.workload.contestants}
        for row in outcome.rows:
            row.bound = nearest(outcome.workload.needs, limits, units[row.contestant])
