# SPDX-License-Identifier: Apache-2.0
"""What a room writes down: workloads, their contestants, what each call must do at the least, and the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import torch

QUICK, FULL, NAMED = "quick", "full", "named"


class Unavailable(Exception):
    """A contestant cannot take part here; the text says why."""


@dataclass(frozen=True)
class Settings:
    """How a run is made.

    seconds_per_call: what one call of a slow peer may take before it is given less work. keeps_memory: what is freed
    stays in the process.
    """

    device: torch.device
    threads: int
    mode: str = QUICK
    seconds_per_workload: float = 4.0
    seconds_per_call: float = 0.3
    keeps_memory: bool = False


@dataclass(frozen=True)
class Prepared:
    """A contestant ready to run.

    inputs is what it really got, where that is less than the workload's (share: its part of the work). answer turns
    what call returned into the form that the workload's check compares; None: it computes something else.
    """

    call: Callable[[], Any]
    answer: Callable[[Any], Any] | None = None
    inputs: Any = None
    share: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Contestant:
    """prepare may raise ImportError or Unavailable: the table then names the contestant and the reason.

    units: the limits that its instructions can reach (None: all of the machine).
    """

    name: str
    prepare: Callable[[Any, Settings], Prepared]
    devices: tuple[str, ...] = ("cpu",)
    units: frozenset[str] | None = None
    baseline: bool = False
    modes: tuple[str, ...] = (QUICK, FULL, NAMED)


@dataclass(frozen=True)
class Need:
    """Something that no call can do without, by any one of several units: limit name -> amount.

    told: amounts of further limits, which are no roof of a whole call but which targets speak of.
    """

    amounts: Mapping[str, float]
    told: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """Needs of which one begins where another ends, so that their times add up; name: of all together, in the table.

    Such as a table that is read level after level: each level has a size of its own, and each size a rate.
    """

    name: str
    needs: Sequence[Need]


@dataclass(frozen=True)
class Faster:
    """Target: at least `times` as fast as a contestant whose name starts with `than`, on a machine of this level."""

    than: str
    times: float
    ours: str = ""
    isa: str | None = None
    threads: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class OfLimit:
    """Target: at least this share of the nearest limit, or of the one that is named."""

    share: float
    ours: str = ""
    isa: str | None = None
    device: str = "cpu"
    limit: str = ""


@dataclass(frozen=True)
class NoSlower:
    """Target: at most `times` the time of our own row in another workload."""

    than: str
    times: float


@dataclass(frozen=True)
class Peak:
    """Target: ours takes at most `times` the bytes of its result at once, the result with them; inputs do not count."""

    times: float
    device: str = "cpu"


@dataclass(frozen=True)
class Rate:
    """Target: at least so many items a second."""

    least: float
    ours: str = ""
    device: str = "cuda"


@dataclass(frozen=True)
class Within:
    """Target: a call takes at most so many seconds."""

    seconds: float
    ours: str = ""
    device: str = "cuda"


@dataclass(frozen=True)
class MeanFaster:
    """Target: at least `times` as fast as `than`, as the geometric mean of the workloads named."""

    than: str
    times: float
    over: tuple[str, ...]
    device: str = "cuda"


Target = Faster | OfLimit | NoSlower | Peak | Rate | Within | MeanFaster


@dataclass(frozen=True)
class Workload:
    """One thing to compute. The first contestant is ours; check(ours, theirs, inputs) returns what is wrong, or None.

    items: what the rate counts; operations and traffic: the point in the roofline picture, in the room's operation and
    in bytes. mode: quick (always run), full (with --full), named (only when --only names it). small: makes inputs of
    the same kind that load every library; where it is given, contestants' memory can be measured (the fact output_bytes
    tells what of it is the result).
    """

    name: str
    group: str
    make: Callable[[torch.device], Any]
    contestants: Sequence[Contestant]
    needs: Sequence[Need | Chain]
    items: float
    operations: float
    traffic: float
    solve: Callable[[Any], Any]
    check: Callable[[Any, Any, Any], str | None]
    targets: Sequence[Target] = ()
    mode: str = FULL
    devices: tuple[str, ...] = ("cpu", "cuda")
    facts: Mapping[str, Any] = field(default_factory=dict)
    small: Callable[[torch.device], Any] | None = None


@dataclass(frozen=True)
class Room:
    """item: what rates count; operation: what the roofline picture counts.

    ceilings: limit name -> operations that one unit of the limit does. hollow: what the hollow marks in the picture
    are, those of workloads with the fact "hollow". levels: slopes of the picture besides those of the caches and of
    memory, name -> limit. apart: columns of the picture have places of their own, contestants stand side by side
    within each alone.
    """

    name: str
    item: str
    operation: str
    workloads: Sequence[Workload]
    ceilings: Mapping[str, float]
    hollow: str = ""
    levels: Mapping[str, str] = field(default_factory=dict)
    apart: bool = False


def chosen(rooms: Sequence[Room], mode: str, only: str | None, device: str) -> list[tuple[Room, Workload]]:
    """The workloads to run: those of the mode, narrowed by the pattern `only` (a part of the name, * and ? allowed).

    A pattern that matches nothing in quick mode is looked up among all; a `named` workload needs a pattern that its
    name begins with.
    """
    here = [(room, workload) for room in rooms for workload in room.workloads if device in workload.devices]
    quick = [pair for pair in here if pair[1].mode == QUICK]
    in_mode = quick if mode == QUICK else [pair for pair in here if pair[1].mode != NAMED]
    if only is None:
        return in_mode
    named = [pair for pair in here if pair[1].mode == NAMED and fnmatch(pair[1].name, only + "*")]
    if named:
        return named
    for pairs in (in_mode, here):
        found = [pair for pair in pairs if pair[1].mode != NAMED and fnmatch(pair[1].name, f"*{only}*")]
        if found:
            return found
    return []
