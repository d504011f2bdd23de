# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates among the licence texts that lie on this machine, and how well bands of MinHash find them.

Every Python package and every Debian package brings its licence, mostly one of a few texts with another name and year
in it. The files are gathered, deduplicated, and the largest clusters are listed. Since there are only some hundreds,
the true similarity of all pairs can be had too: it is drawn in the order of clusters, and beside it which share of the
pairs of each similarity met in a band, with the curve that theory promises.

    python examples/near_duplicates.py --out near_duplicates.png
    python examples/near_duplicates.py --folder ~/notes --out near_duplicates.png
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import warphash as wh
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

NAMES = ("license", "licence", "copying", "notice", "copyright")
KINDS = {  # what a text says, and what it therefore is; the first that fits counts
    "Apache License": "Apache",
    "Mozilla Public License": "MPL",
    "GNU LESSER GENERAL": "LGPL",
    "GNU GENERAL PUBLIC": "GPL",
    "PYTHON SOFTWARE FOUNDATION": "Python",
    "Permission is hereby granted, free of charge": "MIT",
    "Neither the name": "BSD, 3 clauses",
    "Redistributions of source code": "BSD, 2 clauses",
    "Permission to use, copy, modify": "ISC",
    "Format: https://www.debian.org/doc/packaging-manuals": "Debian, several",
}
MOST_DRAWN, SEED, BINS = 400, 0, 20
COLOURS = {"curve": "#2a6fbb", "measured": "#e4572e", "pairs": "#c9ced6"}


@dataclass
class Found:
    """What the picture and the tests want to know."""

    paths: list[Path]
    kinds: list[str]
    result: wh.data.Deduplication
    similarity: Tensor  # float64 [N, N], the true Jaccard of all texts
    measured: list[tuple[float, float, int]]  # (mean similarity, share that met in a band, pairs) of each bin


def licences() -> Iterator[Path]:
    """Files by their name, of Python's folders and of Debian's."""
    schemes = [sysconfig.get_paths(), sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_prefix})]
    folders = {Path(scheme[key]) for scheme in schemes for key in ("stdlib", "purelib", "platlib")}
    inside = [folder for folder in folders if not any(other in folder.parents for other in folders)]
    for folder in (*sorted(inside), Path("/usr/share/doc"), Path("/usr/share/common-licenses")):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            in_licences = path.parent.name in ("licenses", "common-licenses")
            if path.suffix in ("", ".txt", ".md", ".rst") and (in_licences or path.stem.lower().startswith(NAMES)):
                yield path


def read(paths: list[Path], most: int) -> tuple[list[Path], list[str]]:
    """Files that hold text, no file twice."""
    kept, texts, seen = [], [], set()
    for path in paths:
        try:
            real = path.resolve()
            if not path.is_file() or real in seen:
                continue
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        seen.add(real)
        if text.strip():
            kept.append(path)
            texts.append(text)
        if len(kept) == most:
            break
    return kept, texts


def kind_of(text: str) -> str:
    """A name for what a text is about."""
    for phrase, name in KINDS.items():
        if phrase.lower() in " ".join(text.lower().split()):
            return name
    return next(line.strip() for line in text.splitlines() if line.strip())[:24]


def all_similarities(tokens: Tensor, offsets: Tensor) -> Tensor:
    """The true Jaccard of every pair, which only few texts allow."""
    count = len(offsets) - 1
    pairs = torch.combinations(torch.arange(count))
    similarity = torch.eye(count, dtype=torch.float64)
    similarity[pairs[:, 0], pairs[:, 1]] = wh.lsh.pair_jaccard(tokens, offsets, pairs)
    return torch.maximum(similarity, similarity.T)


def share_that_meets(tokens: Tensor, offsets: Tensor, similarity: Tensor, bands: int, rows: int) -> Tensor:
    """float64 [N, N]: the share of 20 seeds with which two texts are candidates."""
    met = torch.zeros_like(similarity)
    for seed in range(20):
        signatures = wh.lsh.minhash(tokens, offsets, bands * rows, seed=seed)
        i, j = wh.lsh.candidate_pairs(wh.lsh.band_keys(signatures, bands)).unbind(1)
        met[i, j] += 1 / 20
    return met


def by_similarity(similarity: Tensor, met: Tensor) -> list[tuple[float, float, int]]:
    """(mean similarity, share that met, pairs) in bins; pairs of nothing in common or the same set are left out."""
    i, j = torch.triu_indices(len(met), len(met), 1)
    s, m = similarity[i, j], met[i, j]
    bins = (s * BINS).long().clamp(max=BINS - 1)
    found = []
    for number in range(BINS):
        inside = (bins == number) & (s > 0) & (s < 1)
        if count := int(inside.sum()):
            found.append((float(s[inside].mean()), float(m[inside].mean()), count))
    return found


def compare(paths: list[Path], texts: list[str], threshold: float, progress: Progress) -> Found:
    steps = progress.add_task("comparing", total=3)
    result = wh.data.deduplicate(texts, threshold=threshold, seed=SEED)
    progress.advance(steps)
    tokens, offsets = wh.lsh.shingles(texts)
    similarity = all_similarities(tokens, offsets)
    progress.advance(steps)
    met = share_that_meets(tokens, offsets, similarity, result.report.bands, result.report.rows)
    progress.advance(steps)
    return Found(paths, [kind_of(text) for text in texts], result, similarity, by_similarity(similarity, met))


def clusters(found: Found) -> list[tuple[int, list[int]]]:
    """(label, members) of clusters, the largest first."""
    members: dict[int, list[int]] = {}
    for number, label in enumerate(found.result.labels.tolist()):
        members.setdefault(label, []).append(number)
    return sorted(((k, v) for k, v in members.items() if len(v) > 1), key=lambda item: (-len(item[1]), item[0]))


def draw(path: Path, found: Found, threshold: float) -> None:
    """All similarities in the order of clusters, and the share of pairs that bands find."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    report = found.result.report
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(13.5, 6.2), facecolor="white", gridspec_kw={"width_ratios": [1.12, 1]}
    )
    shown = clusters(found)
    order: list[int] = []
    borders: list[tuple[int, int, str]] = []
    for _, members in shown:
        if len(order) + len(members) > MOST_DRAWN:
            break
        borders.append((len(order), len(order) + len(members), found.kinds[members[0]]))
        order += members
    picked = torch.tensor(order, dtype=torch.int64)
    image = left.imshow(
        found.similarity[picked][:, picked].numpy(), cmap="magma_r", vmin=0, vmax=1, interpolation="nearest"
    )
    for begin, end, name in borders:
        if end - begin < len(order) / 40:
            break
        left.text(
            end + len(order) * 0.012, (begin + end) / 2, f"{name} · {end - begin}", va="center", fontsize=8.5,
            color="#333333", bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
        )  # fmt: skip
        left.plot([end, end], [begin, end], color="#333333", linewidth=1.4, clip_on=False)
    left.set_title(f"True similarity of the {len(order)} texts of the largest clusters", fontsize=11, loc="left")
    left.set(xticks=[], yticks=[])
    for spine in left.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=left, location="left", fraction=0.035, pad=0.02)
    bar.set_label("Jaccard of five-word shingles", fontsize=9)

    s = torch.linspace(0, 1, 300, dtype=torch.float64)
    curve = 1 - (1 - s**report.rows) ** report.bands
    counts = right.twinx()
    widths = 0.9 / BINS
    counts.bar(
        [(int(x * BINS) + 0.5) / BINS for x, _, _ in found.measured], [n for _, _, n in found.measured], width=widths,
        color=COLOURS["pairs"], label="pairs of texts",
    )  # fmt: skip
    counts.set_yscale("log")
    counts.set_ylabel("pairs of texts", color="#8a919c")
    counts.tick_params(colors="#8a919c")
    right.plot(s, curve, color=COLOURS["curve"], linewidth=2, label=f"1 − (1 − s^{report.rows})^{report.bands}")
    right.plot(
        [x for x, _, _ in found.measured], [share for _, share, _ in found.measured], color=COLOURS["measured"],
        marker="o", markersize=5, linestyle="none", label="measured, 20 seeds",
    )  # fmt: skip
    right.axvline(threshold, color="#333333", linewidth=1, linestyle="dotted")
    right.text(threshold - 0.01, 0.5, "threshold", rotation=90, ha="right", va="center", fontsize=9, color="#333333")
    right.set(xlabel="similarity s", ylabel="share of pairs that meet in a band", xlim=(0, 1), ylim=(-0.02, 1.03))
    right.set_title("What the bands find", fontsize=11, loc="left")
    right.legend(frameon=False, fontsize=9, loc="upper left")
    right.set_zorder(counts.get_zorder() + 1)
    right.patch.set_visible(False)
    for axes in (right, counts):
        axes.spines["top"].set_visible(False)
    removed = f"{report.removed} of {report.documents} texts are near-duplicates of another one"
    figure.suptitle(removed, x=0.02, ha="left", weight="bold")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def show(found: Found) -> None:
    table = Table(title="Largest clusters")
    for name, justify in (("texts", "right"), ("least alike", "right"), ("kind", "left"), ("kept", "left")):
        table.add_column(name, justify=justify, overflow="fold")
    for label, members in clusters(found)[:12]:
        inside = torch.tensor(members)
        least = found.similarity[inside][:, inside].min()
        kept = found.paths[label]
        table.add_row(str(len(members)), f"{least:.2f}", found.kinds[label], str(Path(*kept.parts[-2:])))
    Console().print(table)
    report = found.result.report
    print(
        f"{report.documents} texts, {report.distinct} distinct sets, {report.candidate_pairs} candidate pairs, "
        f"{report.verified_pairs} pairs of texts, {report.clusters} clusters, {report.removed} removed, "
        f"{sum(report.seconds.values()):.2f} s"
    )


def main(arguments: list[str] | None = None) -> Found:
    """Returns what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="all text files of this folder instead of licences")
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--most", type=int, default=2000, help="texts to compare, at most")
    parser.add_argument("--out", type=Path, default=Path("near_duplicates.png"), help="the picture")
    options = parser.parse_args(arguments)
    if not 0 < options.threshold <= 1:
        parser.error("--threshold must be above 0 and at most 1")
    if options.most < 2:
        parser.error("--most must be at least 2")
    if options.folder is not None and not options.folder.is_dir():
        parser.error(f"--folder must be a folder, got {options.folder}")
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        reading = progress.add_task("reading", total=None)
        candidates = list(licences()) if options.folder is None else sorted(options.folder.rglob("*"))
        paths, texts = read(candidates, options.most)
        progress.remove_task(reading)
        if len(paths) < 2:
            parser.error("there are fewer than two texts; --folder names a folder of them")
        found = compare(paths, texts, options.threshold, progress)
    draw(options.out, found, options.threshold)
    show(found)
    print(f"picture: {options.out}", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
