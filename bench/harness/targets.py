# SPDX-License-Identifier: Apache-2.0
"""Judges the targets of a run. A target missed is printed as missed; one that this machine cannot judge says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.harness.limits import Limits
from bench.harness.model import named_share
from bench.harness.runner import Outcome, Row
from bench.harness.workload import Faster, NoSlower, OfLimit, Peak, Settings, Target


@dataclass(frozen=True)
class Verdict:
    """met: None where it could not be judged."""

    text: str
    met: bool | None
    found: str


def _row(outcome: Outcome, prefix: str) -> Row | None:
    """The fastest row whose contestant begins with the prefix; ours where it is empty."""
    if not prefix:
        return outcome.ours
    rows = [row for row in outcome.rows if row.contestant.startswith(prefix) and row.seconds is not None]
    return min(rows, key=lambda row: row.seconds or 0.0, default=None)


def _judge(
    target: Target, outcome: Outcome, by_name: Mapping[str, Outcome], isa: str, settings: Settings, limits: Limits
) -> Verdict | None:
    if isinstance(target, NoSlower):
        text = f"at most {target.times:.3g}x the time of '{target.than}'"
        other = by_name.get(target.than)
        if other is None or other.ours.seconds is None or outcome.ours.seconds is None:
            return Verdict(text, None, "the other workload was not run")
        ratio = outcome.ours.seconds / other.ours.seconds
        return Verdict(text, ratio <= target.times, f"{ratio:.2f}x")
    if isinstance(target, Peak):
        text = f"at most {target.times:.3g}x the memory of the result"
        peak, result = outcome.ours.peak, outcome.workload.facts.get("output_bytes")
        if peak is None or not result:
            return None
        return Verdict(text, peak <= target.times * result, f"{peak / result:.2f}x")
    if target.device != settings.device.type or (target.isa is not None and target.isa != isa):
        return None
    if isinstance(target, Faster) and target.threads is not None and target.threads != settings.threads:
        return None
    mine = _row(outcome, target.ours)
    if target.ours and mine is None:
        return None
    who = target.ours or ("warphash" + (f" on {target.isa}" if target.isa else ""))
    if isinstance(target, OfLimit):
        text = f"{who}: at least {target.share:.0%} of {target.limit or 'the nearest limit'}"
        share = None
        if mine is not None and mine.seconds is not None:
            needs = outcome.workload.needs
            share = named_share(needs, target.limit, mine.seconds, limits) if target.limit else mine.of_limit
        if share is None:
            return Verdict(text, None, "not measured here")
        return Verdict(text, share >= target.share, f"{share:.0%}")
    text = f"{who}: at least {target.times:g}x {target.than}"
    theirs = _row(outcome, target.than)
    if mine is None or theirs is None or mine.seconds is None or theirs.seconds is None:
        return Verdict(text, None, "not measured here")
    ratio = theirs.seconds / mine.seconds
    return Verdict(text, ratio >= target.times, f"{ratio:.2f}x")


def judge(outcomes: Sequence[Outcome], isa: str, settings: Settings, limits: Limits) -> dict[str, list[Verdict]]:
    """Verdicts by workload. Targets that speak of another device, level or thread count are left out."""
    by_name = {outcome.workload.name: outcome for outcome in outcomes}
    found = {}
    for outcome in outcomes:
        verdicts = [_judge(target, outcome, by_name, isa, settings, limits) for target in outcome.workload.targets]
        found[outcome.workload.name] = [verdict for verdict in verdicts if verdict is not None]
    return found
