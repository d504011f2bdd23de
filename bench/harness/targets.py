# SPDX-License-Identifier: Apache-2.0
"""Judges the targets of a run. A target missed is printed as missed; one that this machine cannot judge says why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.harness.limits import Limits
from bench.harness.model import named_share
from bench.harness.runner import WRONG, Outcome, Row
from bench.harness.texts import rate_text, seconds_text
from bench.harness.workload import Faster, MeanFaster, NoSlower, OfLimit, Peak, Rate, Settings, Target, Within


@dataclass(frozen=True)
class Verdict:
    """met: None where it could not be judged."""

    text: str
    met: bool | None
    found: str


def _row(outcome: Outcome, prefix: str) -> Row | None:
    """The fastest row with no wrong answer whose contestant begins with the prefix; ours where it is empty."""
    if not prefix:
        return outcome.ours
    named = [row for row in outcome.rows if row.contestant.startswith(prefix)]
    rows = [row for row in named if row.seconds is not None and row.check != WRONG]
    return min(rows, key=lambda row: row.seconds or 0.0, default=None)


NOT_MEASURED = "not measured here"


def _no_slower(target: NoSlower, outcome: Outcome, by_name: Mapping[str, Outcome]) -> Verdict:
    text = f"at most {target.times:.3g}x the time of '{target.than}'"
    other = by_name.get(target.than)
    if other is None or other.ours.seconds is None or outcome.ours.seconds is None:
        return Verdict(text, None, "the other workload was not run")
    ratio = outcome.ours.seconds / other.ours.seconds
    return Verdict(text, ratio <= target.times, f"{ratio:.2f}x")


def _peak(target: Peak, outcome: Outcome) -> Verdict | None:
    text = f"at most {target.times:.3g}x the memory of the result"
    peak, result = outcome.ours.peak, outcome.workload.facts.get("output_bytes")
    if peak is None or not result:
        return None
    return Verdict(text, peak <= target.times * result, f"{peak / result:.2f}x")


def _of_limit(target: OfLimit, outcome: Outcome, mine: Row | None, who: str, limits: Limits) -> Verdict:
    text = f"{who}: at least {target.share:.0%} of {target.limit or 'the nearest limit'}"
    share = None
    if mine is not None and mine.seconds is not None:
        needs = outcome.workload.needs
        share = named_share(needs, target.limit, mine.seconds, limits) if target.limit else mine.of_limit
    if share is None:
        return Verdict(text, None, NOT_MEASURED)
    return Verdict(text, share >= target.share, f"{share:.0%}")


def _faster(target: Faster, outcome: Outcome, mine: Row | None, who: str) -> Verdict:
    text = f"{who}: at least {target.times:g}x {target.than}"
    ratio = _ratio(mine, _row(outcome, target.than))
    return Verdict(text, None, NOT_MEASURED) if ratio is None else Verdict(text, ratio >= target.times, f"{ratio:.2f}x")


def _ratio(mine: Row | None, theirs: Row | None) -> float | None:
    """How many times as fast mine is."""
    if mine is None or theirs is None or mine.seconds is None or theirs.seconds is None:
        return None
    return theirs.seconds / mine.seconds


def _mean_faster(target: MeanFaster, by_name: Mapping[str, Outcome]) -> Verdict:
    text = f"at least {target.times:g}x {target.than}, geometric mean of {len(target.over)} workloads"
    pairs = [(by_name[name].ours, _row(by_name[name], target.than)) for name in target.over if name in by_name]
    ratios = [ratio for pair in pairs if (ratio := _ratio(*pair)) is not None]
    if not ratios:
        return Verdict(text, None, NOT_MEASURED)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    if len(ratios) < len(target.over):
        return Verdict(text, None, f"{mean:.2f}x, but of {len(ratios)} alone")
    return Verdict(text, mean >= target.times, f"{mean:.2f}x")


def _absolute(target: Rate | Within, outcome: Outcome, mine: Row | None, who: str) -> Verdict:
    seconds = None if mine is None else mine.seconds
    if isinstance(target, Within):
        text = f"{who}: at most {seconds_text(target.seconds)}"
        if seconds is None:
            return Verdict(text, None, NOT_MEASURED)
        return Verdict(text, seconds <= target.seconds, seconds_text(seconds))
    text = f"{who}: at least {rate_text(target.least)} a second"
    if not seconds:
        return Verdict(text, None, NOT_MEASURED)
    rate = outcome.workload.items / seconds
    return Verdict(text, rate >= target.least, rate_text(rate))


def _judge(
    target: Target, outcome: Outcome, by_name: Mapping[str, Outcome], isa: str, settings: Settings, limits: Limits
) -> Verdict | None:
    if isinstance(target, NoSlower):
        return _no_slower(target, outcome, by_name)
    if target.device != settings.device.type:
        return None
    if isinstance(target, Peak):
        return _peak(target, outcome)
    if isinstance(target, MeanFaster):
        return _mean_faster(target, by_name)
    if isinstance(target, Faster | OfLimit) and target.isa is not None and target.isa != isa:
        return None
    if isinstance(target, Faster) and target.threads is not None and target.threads != settings.threads:
        return None
    mine = _row(outcome, target.ours)
    if target.ours and mine is None:
        return None
    level = target.isa if isinstance(target, Faster | OfLimit) else None
    who = target.ours or ("warphash" + (f" on {level}" if level else ""))
    if isinstance(target, OfLimit):
        return _of_limit(target, outcome, mine, who, limits)
    if isinstance(target, Faster):
        return _faster(target, outcome, mine, who)
    return _absolute(target, outcome, mine, who)


def judge(outcomes: Sequence[Outcome], isa: str, settings: Settings, limits: Limits) -> dict[str, list[Verdict]]:
    """Verdicts by workload. Targets that speak of another device, level or thread count are left out."""
    by_name = {outcome.workload.name: outcome for outcome in outcomes}
    found = {}
    for outcome in outcomes:
        verdicts = [_judge(target, outcome, by_name, isa, settings, limits) for target in outcome.workload.targets]
        found[outcome.workload.name] = [verdict for verdict in verdicts if verdict is not None]
    return found
