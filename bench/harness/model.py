# SPDX-License-Identifier: Apache-2.0
"""How fast a call could be: the time of each thing that it cannot do without, at the machine's measured limits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.harness.limits import Limits
from bench.harness.workload import Need

MEMORY = ("read", "write", "gather")


@dataclass(frozen=True)
class Bound:
    """The limit that binds, and the seconds that a call takes at it."""

    limit: str
    seconds: float


def bounds(needs: Iterable[Need], limits: Limits, units: frozenset[str] | None = None) -> list[Bound]:
    """One bound a need: its fastest unit on this machine.

    units: which of them a contestant's instructions can reach.
    """
    found = []
    for need in needs:
        times = []
        for name, amount in need.amounts.items():
            if units is not None and name not in units and not name.startswith(MEMORY):
                continue
            rate = limits.rate(name)
            if rate:
                times.append(Bound(name, amount / rate))
        if times:
            found.append(min(times, key=lambda bound: bound.seconds))
    return found


def nearest(needs: Iterable[Need], limits: Limits, units: frozenset[str] | None = None) -> Bound | None:
    """The need that takes longest: whatever is done, a call takes that time. None: the machine has no unit for any."""
    return max(bounds(needs, limits, units), key=lambda bound: bound.seconds, default=None)


def named_share(needs: Iterable[Need], limit: str, seconds: float, limits: Limits) -> float | None:
    """Share of one limit, whether or not it is the nearest; None where no need or no machine knows it."""
    rate = limits.rate(limit)
    for need in needs:
        amount = need.amounts.get(limit) or need.told.get(limit)
        if rate and amount:
            return amount / rate / seconds
    return None
