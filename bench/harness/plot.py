# SPDX-License-Identifier: Apache-2.0
"""The roofline picture: what the machine can do at each intensity, and where everybody is below it."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from bench.harness.limits import label
from bench.harness.workload import Room

INK, PAPER, GRID, ROOF = "#1c2733", "#ffffff", "#e6eaef", "#8894a3"
OURS = "#e4572e"
PEERS = ("#2a6f97", "#6a994e", "#8e6bbf", "#d4a017", "#3aa6a0", "#b56576", "#7d8597", "#a98467", "#4d908e", "#577590")
MARKERS = ("s", "D", "^", "v", "P", "X", "<", ">", "h", "p")
LEVEL_STYLE = {"L2": (0, (1, 1.5)), "L3": (0, (5, 2)), "memory": "solid", "fresh memory": (0, (6, 1.5, 1, 1.5))}


Points = Mapping[str, list[tuple[float, float, dict[str, Any]]]]


def _points(room: Room, data: Mapping[str, Any]) -> dict[str, list[tuple[float, float, dict[str, Any]]]]:
    """By contestant: (operations a byte, operations a second, the workload's facts)."""
    found = defaultdict(list)
    for workload in data["workloads"]:
        if workload["room"] != room.name or not workload["operations"] or not workload["traffic_bytes"]:
            continue
        for row in workload["rows"]:
            if row.get("seconds"):
                intensity = workload["operations"] / workload["traffic_bytes"]
                found[row["contestant"]].append((intensity, workload["operations"] / row["seconds"], workload["facts"]))
    return found


Turns = Mapping[str, Sequence[str]]  # column -> contestants in their order; "" -> all of them


def _dodge(intensity: float, name: str, facts: Mapping[str, Any], turns: Turns) -> float:
    """Points of equal intensity stand side by side, a thin column each contestant, so that none hides another."""
    order = turns.get(str(facts.get("column", "")), turns[""])
    step = 0.15 if len(turns) == 1 else 0.11
    return intensity * 2 ** (step * (order.index(name) - (len(order) - 1) / 2))


def _turns(room: Room, points: Points, names: Sequence[str]) -> Turns:
    turns = {"": names}
    if room.apart:
        for column in {str(facts["column"]) for placed in points.values() for _, _, facts in placed}:
            turns[column] = [name for name in names if any(facts["column"] == column for _, _, facts in points[name])]
    return turns


def _write(axes: Axes, text: str, place: tuple[float, float], **how: Any) -> None:
    """A roof's name, on paper of its own so that no line runs through it."""
    backing = {"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none"}
    axes.annotate(
        text, place, textcoords="offset points", color=ROOF, fontsize=8.5, va="center", bbox=backing, zorder=2, **how
    )


def _roofs(axes: Axes, room: Room, data: Mapping[str, Any], levels: Mapping[str, str], x: np.ndarray) -> None:
    limits = data["limits"]
    ceilings = {name: limits[name] * scale for name, scale in room.ceilings.items() if limits.get(name)}
    slopes = {level: limits[limit] for level, limit in levels.items() if limits.get(limit)}
    top = max(ceilings.values(), default=np.inf)
    fastest = max(slopes.values(), default=np.inf)
    below, aside = 0.0, False
    for name, ceiling in sorted(ceilings.items(), key=lambda item: item[1]):
        axes.plot([max(x[0], ceiling / fastest), x[-1]], [ceiling, ceiling], color=ROOF, lw=1.6, zorder=1)
        # Of two roofs that lie close together one has its name further left.
        aside = ceiling < 1.3 * below and not aside
        place = {"xytext": (-122 if aside else -8, 0), "ha": "right"}
        _write(axes, f"{label(name)}  {ceiling / 1e9:.3g}", (x[-1], ceiling), **place)
        below = ceiling
    for level, rate in slopes.items():
        if x[0] * rate > top:  # above the other roofs everywhere in the picture
            continue
        reached = min(x[-1], top / rate)
        dashes = LEVEL_STYLE.get(level, "solid")
        axes.plot([x[0], reached], [x[0] * rate, reached * rate], color=ROOF, lw=1.6, ls=dashes, zorder=1)
        tilt = {"rotation": _slope(axes), "rotation_mode": "anchor", "ha": "left"}
        _write(axes, f"{level}  {rate / 1e9:.0f} GB/s", (x[0] * 1.1, x[0] * 1.1 * rate), xytext=(0, 0), **tilt)


def _slope(axes: Axes) -> float:
    """Angle on paper of a line of slope one in both logarithms."""
    (x0, y0), (x1, y1) = axes.transData.transform([(1, 1), (2, 2)])
    return float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))


def _columns(axes: Axes, points: Points) -> None:
    """Names of the columns of points, along the top."""
    names: dict[str, list[float]] = defaultdict(list)
    for placed in points.values():
        for intensity, _, facts in placed:
            if "column" in facts:
                names[str(facts["column"])].append(intensity)
    for name, places in names.items():
        axes.annotate(
            name, (float(np.exp(np.mean(np.log(places)))), 1.0), xycoords=("data", "axes fraction"), xytext=(0, 6),
            textcoords="offset points", ha="center", color=INK, fontsize=10,
        )  # fmt: skip


def _dots(
    axes: Axes,
    name: str,
    placed: list[tuple[float, float, dict[str, Any]]],
    style: Mapping[str, Any],
    order: int,
    turns: Turns,
) -> None:
    """A contestant's points: filled, or hollow where the workload says so."""
    named = False  # once in the legend, by filled marks where there are any
    for hollow in (False, True):
        those = [point for point in placed if bool(point[2].get("hollow")) is hollow]
        dots = [(_dodge(at, name, facts, turns), rate) for at, rate, facts in those]
        if not dots:
            continue
        paint = {"facecolors": "none", "edgecolors": style["color"], "linewidths": 1.4}
        if not hollow:
            paint = {"color": style["color"], "edgecolors": PAPER, "linewidths": 0.7}
        others = {key: value for key, value in style.items() if key != "color"}
        axes.scatter(*np.array(dots).T, label=name if not named else None, zorder=order, **paint, **others)
        named = True


def roofline(room: Room, data: Mapping[str, Any], levels: Mapping[str, str], file: Path) -> bool:
    """Writes the picture; False where no point belongs in it. levels: name of a memory level -> its limit."""
    points = _points(room, data)
    if not points:
        return False
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 10, "axes.edgecolor": ROOF, "text.color": INK})
    figure, axes = plt.subplots(figsize=(12.5, 7.4), dpi=160, facecolor=PAPER)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    every = [point for placed in points.values() for point in placed]
    rates = [limits for name in room.ceilings if (limits := (data["limits"].get(name) or 0) * room.ceilings[name])]
    x = np.array([min(point[0] for point in every) / 4, max(point[0] for point in every) * 4])
    axes.set_xlim(*x)
    axes.set_ylim(min(point[1] for point in every) / 2.5, max([*rates, *(point[1] for point in every)]) * 2)
    figure.subplots_adjust(left=0.075, right=0.775, top=0.86, bottom=0.095)
    _roofs(axes, room, data, levels, x)
    ours = [name for name in points if name.startswith("warphash")]
    height = {name: np.median([point[1] for point in placed]) for name, placed in points.items()}
    peers = sorted((name for name in points if name not in ours), key=lambda name: -height[name])
    turns = _turns(room, points, [*ours, *peers])
    for index, name in enumerate([*ours, *peers]):
        mine = name in ours
        style: dict[str, Any] = (
            {"color": OURS, "marker": "o", "s": 90, "alpha": 1.0}
            if index == 0 and mine
            else {"color": OURS, "marker": MARKERS[index % len(MARKERS)], "s": 36, "alpha": 0.45}
            if mine
            else {
                "color": PEERS[(index - len(ours)) % len(PEERS)],
                "marker": MARKERS[(index - len(ours)) % len(MARKERS)],
            }
        )
        columns: dict[float, list[float]] = defaultdict(list)
        for intensity, rate, facts in points[name]:
            if not facts.get("hollow"):
                columns[_dodge(intensity, name, facts, turns)].append(rate)
        for place, there in columns.items():
            axes.plot([place] * 2, [min(there), max(there)], color=style["color"], lw=2.4, alpha=0.3, zorder=3)
        _dots(axes, name, points[name], style, 5 if mine else 4, turns)
    _columns(axes, points)
    axes.grid(True, which="major", color=GRID, lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(which="both", colors=INK, length=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value >= 1 else f"1/{round(1 / value)}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1e9:g}")
    axes.set_xlabel(f"{room.operation} for a byte that must be read or written")
    axes.set_ylabel(f"{room.operation} a second, thousand millions")
    machine, settings = data["machine"], data["settings"]
    where = machine.get("gpu", {}).get("name") or machine["cpu"]
    level = machine.get("features", {}).get("isa", "")
    figure.text(0.075, 0.945, f"{room.name}: contestants under the machine's roofs", fontsize=15, weight="bold")
    figure.text(0.075, 0.912, f"{where}, {settings['threads']} threads, {level}, {data['date'][:10]}", color=ROOF)
    if room.hollow:
        axes.scatter([], [], facecolors=PAPER, edgecolors=ROOF, linewidths=1.4, label=textwrap.fill(room.hollow, 24))
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, borderaxespad=0, labelspacing=0.85)
    if ours:
        legend.get_texts()[0].set_fontweight("bold")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, facecolor=PAPER)
    plt.close(figure)
    return True
