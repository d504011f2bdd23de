# SPDX-License-Identifier: Apache-2.0
"""How fast a call could be: the time of each thing that it cannot do without, at the machine's measured limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.harness.limits import Limits
from bench.harness.workload import Chain, Need

MEMORY = ("read", "write", "gather", "row_", "touch", "accumulate")


@dataclass(frozen=True)
class Bound:
    """The limit that binds, or the chain of limits, and the seconds that a call takes at it."""

    limit: str
    seconds: float


def _of_need(need: Need, limits: Limits, units: frozenset[str] | None) -> Bound | None:
    times = []
    for name, amount in need.amounts.items():
        if units is not None and name not in units and not name.startswith(MEMORY):
            continue
        rate = limits.rate(name)
        if rate:
            times.append(Bound(name, amount / rate))
    return min(times, key=lambda bound: bound.seconds, default=None)


def _of_chain(chain: Chain, limits: Limits, units: frozenset[str] | None) -> Bound | None:
    """None where the machine has no unit for one of its needs: a part of the sum would say too little."""
    parts = [_of_need(need, limits, units) for need in chain.needs]
    if not parts or None in parts:
        return None
    return Bound(chain.name, sum(part.seconds for part in parts if part is not None))


def bounds(needs: Iterable[Need | Chain], limits: Limits, units: frozenset[str] | None = None) -> list[Bound]:
    """One bound a need, by its fastest unit on this machine; one bound a chain, the sum of its needs' bounds.

    units: which of them a contestant's instructions can reach.
    """
    found = [
        _of_chain(need, limits, units) if isinstance(need, Chain) else _of_need(need, limits, units) for need in needs
    ]
    return [bound for bound in found if bound is not None]


def names(needs: Iterable[Need | Chain]) -> set[str]:
    """Of all limits that the needs speak of."""
    flat = [part for need in needs for part in (need.needs if isinstance(need, Chain) else (need,))]
    return {name for need in flat for name in (*need.amounts, *need.told)}


def nearest(needs: Iterable[Need | Chain], limits: Limits, units: frozenset[str] | None = None) -> Bound | None:
    """The need that takes longest: whatever is done, a call takes that time. None: the machine has no unit for any."""
    return max(bounds(needs, limits, units), key=lambda bound: bound.seconds, default=None)


def named_share(needs: Sequence[Need | Chain], limit: str, seconds: float, limits: Limits) -> float | None:
    """Share of one limit or chain, whether or not it is the nearest; None where no need or no machine knows it."""
    for chain in needs:
        if isinstance(chain, Chain) and chain.name == limit:
            bound = _of_chain(chain, limits, None)
            return None if bound is None else bound.seconds / seconds
    rate = limits.rate(limit)
    for need in needs:
        if isinstance(need, Chain):
            continue
        amount = need.amounts.get(limit) or need.told.get(limit)
        if rate and amount:
            return amount / rate / seconds
    return None
