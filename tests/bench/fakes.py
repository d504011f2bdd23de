# SPDX-License-Identifier: Apache-2.0
"""A room of nothing but arithmetic: sums of lists, with contestants that are good, wrong, missing or broken."""

import time

import torch

from bench.harness.limits import Limits
from bench.harness.workload import Contestant, Need, Prepared, Room, Settings, Unavailable, Workload

RATES = {"adder": 1e6, "wide_adder": 4e6, "read:1048576": 1e9, "read:16384": 8e9}


def fake_limits(rates=None):
    known = RATES if rates is None else rates
    return Limits(lambda name, threads: known.get(name), threads=1)


def settings(**changes):
    values = {"device": torch.device("cpu"), "threads": 1, "seconds_per_workload": 0.1, "seconds_per_call": 0.05}
    return Settings(**(values | changes))


def solve(values):
    return sum(values)


def ours(values, _):
    return Prepared(lambda: solve(values), lambda found: found)


def missing(values, _):
    import a_package_that_is_not_there  # noqa: F401


def refused(values, _):
    raise Unavailable("no such unit here")


def broken(values, _):
    raise ZeroDivisionError("divided by nothing\nand more")


def wrong(values, _):
    return Prepared(lambda: solve(values) + 1, lambda found: found)


def half(values, _):
    part = values[: len(values) // 2]
    return Prepared(
        lambda: (time.sleep(0.01), solve(part))[1], lambda found: found, inputs=part, share=0.5, note="half"
    )


def unlike(values, _):
    return Prepared(lambda: max(values))


def check(mine, theirs, _):
    return None if mine == theirs else f"{theirs}, expected {mine}"


def workload(name="sum of ten", contestants=(), **changes):
    values = {
        "name": name,
        "group": "sums",
        "make": lambda device: list(range(10)),
        "contestants": (Contestant("warphash", ours), *contestants),
        "needs": (Need({"adder": 10.0, "wide_adder": 10.0}), Need({"read:1048576": 80.0})),
        "items": 10.0,
        "operations": 10.0,
        "traffic": 80.0,
        "solve": solve,
        "check": check,
        "mode": "quick",
    }
    return Workload(**(values | changes))


PEERS = tuple(Contestant(prepare.__name__, prepare) for prepare in (half, missing, refused, broken, wrong, unlike))


def room(*workloads):
    return Room("sums", "numbers", "additions", workloads, {"adder": 1.0, "wide_adder": 1.0})
