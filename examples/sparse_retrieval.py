# SPDX-License-Identifier: Apache-2.0
"""Search among all docstrings of Python's standard library by BM25, as sparse vectors in a SparseIndex.

Every function, class and module of the library that lies on this machine is a document: what its docstring says after
the first line. BM25 gives each document a sparse vector over the words, the index finds the largest inner products with
a question, and the ten best are shown with what each word of the question adds. How good is it? The first lines are
questions whose answer is known: how often their own document is among the k best is drawn beside, for BM25 and for two
simpler weights.

    python examples/sparse_retrieval.py --out sparse_retrieval.png
    python examples/sparse_retrieval.py --question "how to walk over the files of a folder" --out sparse_retrieval.png
    python examples/sparse_retrieval.py --folder ~/notes --out sparse_retrieval.png
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import sysconfig
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import warphash as wh
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

QUESTION = "wait until a child process terminates and read its output"
K1, B = 1.2, 0.75  # BM25's usual parameters: how fast repetitions saturate, how much length counts
CUTS = (1, 2, 3, 5, 10, 20, 50, 100)
SHOWN, LEAST_WORDS = 10, 5
COLOURS = ("#2a6fbb", "#e4572e", "#2e9e6b", "#f2b134", "#7b5ea7", "#3bb3c3", "#c2507f", "#9a6b3f", "#5c7f8a", "#b9bec7")


@dataclass
class Document:
    """name: of the function or file; title: its first line; body: what is searched."""

    name: str
    title: str
    body: list[str]


@dataclass
class Found:
    """What the picture and the tests want to know."""

    documents: list[Document]
    index: wh.retrieval.SparseIndex
    words: list[str]  # of the question, known ones, each once
    best: list[tuple[int, float, list[float]]]  # (document, score, what each word adds) of the hits
    curves: dict[str, list[float]]  # share of titles whose document is among the k best, by weights
    questions: int
    seconds: float  # of searching for all titles


def words_of(text: str) -> list[str]:
    """Lower-cased words of two letters and more; names fall apart at underscores and capitals."""
    return [x.lower() for x in re.findall(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}(?![a-z])", text)]


def document_of(name: str, text: str) -> Document | None:
    """A text's first line and the rest; None where the rest is too short to be found."""
    title, _, rest = text.strip().partition("\n")
    body = words_of(rest)
    return Document(name, title.strip(), body) if len(body) >= LEAST_WORDS else None


def docstrings(file: Path, module: str) -> Iterator[tuple[str, str]]:
    """(name, docstring) of what a file defines, without running it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library's own escapes
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    waiting: list[tuple[str, ast.AST]] = [(module, tree)]
    while waiting:
        name, node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                yield name, text
            waiting += [
                (f"{name}.{x.name}", x)
                for x in node.body
                if isinstance(x, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            ]


def library() -> Iterator[tuple[str, str]]:
    """Docstrings of the standard library, but for its tests and what was installed into its folder."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(root.rglob("*.py")):
        inside = file.relative_to(root)
        if not {"test", "tests", "idlelib", "site-packages", "dist-packages"} & set(inside.parts):
            parts = inside.with_suffix("").parts
            yield from docstrings(file, ".".join(parts[:-1] if parts[-1] == "__init__" else parts))


def text_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Files of a folder that hold text."""
    for file in sorted(folder.rglob("*")):
        try:
            if file.is_file():
                yield str(file.relative_to(folder)), file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue


def gather(texts: Iterator[tuple[str, str]], most: int) -> list[Document]:
    """Documents, none of them twice."""
    seen: set[tuple[str, ...]] = set()
    documents = []
    for name, text in texts:
        document = document_of(name, text)
        if document is not None and tuple(document.body) not in seen:
            seen.add(tuple(document.body))
            documents.append(document)
        if len(documents) == most:
            break
    return documents


class Weights:
    """Numbers of the words, and how texts become sparse vectors over them."""

    def __init__(self, documents: list[Document]) -> None:
        self.counts = [Counter(document.body) for document in documents]
        met = Counter(word for count in self.counts for word in count)
        self.numbers = {word: number for number, word in enumerate(sorted(met))}
        total, lengths = len(documents), [len(document.body) for document in documents]
        self.lengths, self.mean = lengths, sum(lengths) / max(total, 1)
        frequency = torch.tensor([met[word] for word in sorted(met)], dtype=torch.float64)
        self.rarity = torch.log(1 + (total - frequency + 0.5) / (frequency + 0.5)).tolist()

    def documents(self, kind: str) -> Tensor:
        """CSR [documents, words]; kind: "BM25", "tf-idf" or "words in common"."""
        ids, weights = [], []
        for count, length in zip(self.counts, self.lengths, strict=True):
            numbers = [self.numbers[word] for word in count]
            damping = K1 * (1 - B + B * length / self.mean)
            each = list(zip(count.values(), numbers, strict=True))
            scale = sum((n * self.rarity[i]) ** 2 for n, i in each) ** 0.5
            of_kind = {
                "BM25": [self.rarity[i] * n * (K1 + 1) / (n + damping) for n, i in each],
                "tf-idf": [self.rarity[i] ** 2 * n / scale for n, i in each],
                "words in common": [1.0] * len(each),
            }
            ids.append(numbers)
            weights.append(of_kind[kind])
        return wh.retrieval.sparse_rows(ids, weights, len(self.numbers))

    def questions(self, texts: list[str]) -> Tensor:
        """CSR [texts, words]: how often each known word occurs."""
        ids = [[self.numbers[word] for word in words_of(text) if word in self.numbers] for text in texts]
        return wh.retrieval.sparse_rows(ids, None, len(self.numbers))


def share_found(index: wh.retrieval.SparseIndex, questions: Tensor, answers: Tensor) -> list[float]:
    """The share of questions whose answer is among the k best, for each k of CUTS."""
    _, indices = index.search(questions, CUTS[-1])
    hit = indices == answers.unsqueeze(1)
    return [float(hit[:, :k].any(1).double().mean()) for k in CUTS]


def search(documents: list[Document], question: str, progress: Progress) -> Found:
    steps = progress.add_task("searching", total=4)
    weights = Weights(documents)
    index = wh.retrieval.SparseIndex(weights.documents("BM25"))
    progress.advance(steps)
    asked = weights.questions([question])
    scores, indices = index.search(asked, SHOWN)
    count = int((indices[0] >= 0).sum())
    matrix = index.documents
    words = [word for word in dict.fromkeys(words_of(question)) if word in weights.numbers]
    best = []
    for place in range(count):
        number = int(indices[0, place])
        row = row_of(matrix, number)
        times = Counter(words_of(question))
        best.append(
            (number, float(scores[0, place]), [times[word] * float(row[weights.numbers[word]]) for word in words])
        )
    progress.advance(steps)
    with_title = [number for number, document in enumerate(documents) if words_of(document.title)]
    titles = weights.questions([documents[number].title for number in with_title])
    answers = torch.tensor(with_title, dtype=torch.int64)
    began = time.perf_counter()
    curves = {"BM25": share_found(index, titles, answers)} if with_title else {}
    seconds = time.perf_counter() - began
    progress.advance(steps)
    for kind in ("tf-idf", "words in common") if with_title else ():
        curves[kind] = share_found(wh.retrieval.SparseIndex(weights.documents(kind)), titles, answers)
    progress.advance(steps)
    return Found(documents, index, words, best, curves, len(with_title), seconds)


def row_of(matrix: Tensor, number: int) -> Tensor:
    """One row of a CSR matrix, dense."""
    begin, end = matrix.crow_indices()[number : number + 2].tolist()
    row = torch.zeros(matrix.shape[1], dtype=matrix.dtype)
    row[matrix.col_indices()[begin:end].long()] = matrix.values()[begin:end]
    return row


def draw(path: Path, found: Found, question: str) -> None:
    """What each word adds to the ten best, and how often titles find their document."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(13.5, 6.6), facecolor="white", gridspec_kw={"width_ratios": [1.6, 1]}
    )
    added = torch.tensor([parts for _, _, parts in found.best]).reshape(len(found.best), len(found.words))
    order = added.sum(0).argsort(descending=True, stable=True).tolist()
    most = len(COLOURS) if len(order) <= len(COLOURS) else len(COLOURS) - 1
    bars = [(found.words[i], added[:, i], COLOURS[n]) for n, i in enumerate(order[:most])]
    if order[most:]:
        bars.append(("others", added[:, order[most:]].sum(1), COLOURS[-1]))
    places = list(range(len(found.best)))
    begin = torch.zeros(len(found.best))
    for word, widths, colour in bars:
        left.barh(places, widths.tolist(), left=begin.tolist(), color=colour, label=word, height=0.46)
        begin = begin + widths
    for place, (number, score, _) in enumerate(found.best):
        document = found.documents[number]
        room = max(0, 100 - len(document.name))
        title = document.title if len(document.title) <= room else document.title[: max(0, room - 1)] + "…"
        name = left.annotate(
            document.name, (0, place - 0.27), (3, 1), textcoords="offset points", fontsize=8.5, color="#222222",
            va="bottom", parse_math=False,
        )  # fmt: skip
        left.annotate(
            title,
            (1, 0),
            (8, 0),
            xycoords=name,
            textcoords="offset points",
            fontsize=8,
            color="#7b828e",
            va="bottom",
            parse_math=False,
        )
        left.text(score, place, f"  {score:.1f}", va="center", fontsize=9, color="#333333")
    left.set_yticks([])
    left.set_ylim(len(found.best) - 0.5, -0.75)
    left.set(xlabel="score (BM25)", xlim=(0, max([score for _, score, _ in found.best], default=1) * 1.08))
    left.set_title(f"“{question}”", fontsize=11, loc="left", pad=12, parse_math=False)
    left.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(-0.01, -0.09), ncols=10, handlelength=1,
                columnspacing=1.2)  # fmt: skip
    for (kind, shares), colour in zip(found.curves.items(), COLOURS, strict=False):
        label = f"{kind}: first {shares[0]:.2f}, among ten {shares[CUTS.index(10)]:.2f}"
        right.plot(CUTS, shares, color=colour, marker="o", markersize=4, linewidth=2, label=label)
    right.set_xscale("log")
    right.set_xticks(CUTS, [str(k) for k in CUTS])
    right.minorticks_off()
    right.set(xlabel="k", ylabel="share of first lines", ylim=(0, 1))
    right.set_title("First lines that find their own text among the k best", fontsize=11, loc="left", pad=12)
    right.grid(alpha=0.25)
    if found.curves:
        right.legend(frameon=False, fontsize=9, loc="upper left")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    title = f"{len(found.documents)} documents, {found.index.vocabulary} words, {found.index.entries} weights"
    figure.suptitle(title, x=0.02, ha="left", weight="bold")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def show(found: Found, question: str) -> None:
    table = Table(title=f"“{question}”", title_justify="left")
    for name, justify in (("score", "right"), ("document", "left"), ("its first line", "left"), ("by", "left")):
        table.add_column(name, justify=justify, overflow="fold")
    for number, score, parts in found.best:
        document = found.documents[number]
        by = sorted(zip(parts, found.words, strict=True), reverse=True)
        words = " ".join(f"{word} {part:.1f}" for part, word in by[:4] if part > 0)
        table.add_row(f"{score:.2f}", document.name, document.title, words)
    Console().print(table)
    print(
        f"{len(found.documents)} documents, {found.index.vocabulary} words, {found.index.entries} weights; "
        f"{found.questions} titles searched in {1e3 * found.seconds:.1f} ms"
    )
    for kind, shares in found.curves.items():
        print(f"{kind}: own document first {shares[0]:.3f}, among ten {shares[CUTS.index(10)]:.3f}")


def main(arguments: list[str] | None = None) -> Found:
    """Returns what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--question", default=QUESTION, help="what to look for")
    parser.add_argument("--folder", type=Path, help="the text files of this folder instead of docstrings")
    parser.add_argument("--most", type=int, default=100_000, help="documents, at most")
    parser.add_argument("--out", type=Path, default=Path("sparse_retrieval.png"), help="the picture")
    options = parser.parse_args(arguments)
    if options.most < 1:
        parser.error("--most must be at least 1")
    if not words_of(options.question):
        parser.error("--question must have words")
    if options.folder is not None and not options.folder.is_dir():
        parser.error(f"--folder must be a folder, got {options.folder}")
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        reading = progress.add_task("reading", total=None)
        documents = gather(library() if options.folder is None else text_files(options.folder), options.most)
        progress.remove_task(reading)
        if not documents:
            parser.error("there is no document of more than one line; --folder names a folder of text files")
        found = search(documents, options.question, progress)
    draw(options.out, found, options.question)
    show(found, options.question)
    print(f"picture: {options.out}", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
