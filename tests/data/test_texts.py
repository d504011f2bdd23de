# SPDX-License-Identifier: Apache-2.0
"""deduplicate against sets in plain Python: pairs, clusters, what is kept, bounds, input of all kinds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import warphash as wh
from hypothesis import given, settings
from hypothesis import strategies as st
from warphash.data import sketches
from warphash.data.sketches import Sketching
from warphash.lsh.text.reference import text_shingles

Pairs = dict[tuple[int, int], float]


def similarities(texts: list[str], **options: object) -> Pairs:
    """The Jaccard similarity of every pair that has something in common."""
    sets = [text_shingles(text, **options) for text in texts]
    found = {}
    for j, other in enumerate(sets):
        for i in range(j):
            if common := len(sets[i] & other):
                found[i, j] = common / len(sets[i] | other)
    return found


def components(pairs: list[list[int]], count: int) -> list[int]:
    labels = list(range(count))
    for i, j in sorted(pairs):
        low, high = sorted((labels[i], labels[j]))
        labels = [low if label == high else label for label in labels]
    return labels


def holds_together(found: wh.data.Deduplication, count: int) -> None:
    """What is true of every result."""
    labels = components(found.pairs.tolist(), count)
    assert found.labels.tolist() == labels
    assert found.keep.tolist() == sorted(set(labels))
    assert all(x.dtype == torch.int64 for x in (found.keep, found.labels, found.pairs))
    report = found.report
    assert report.documents == count
    assert report.removed == count - len(found.keep)
    assert report.clusters == sum(labels.count(label) > 1 for label in set(labels))
    assert found.pairs.tolist() == sorted(map(list, set(map(tuple, found.pairs.tolist()))))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.9, 1.0])
def test_pairs_are_those_of_the_true_jaccard(texts: list[str], threshold: float) -> None:
    found = wh.data.deduplicate(texts, threshold=threshold)
    similar = {pair: s for pair, s in similarities(texts).items() if s >= threshold}
    got = set(map(tuple, found.pairs.tolist()))
    assert got <= set(similar)
    assert {pair for pair, s in similar.items() if s == 1} <= got
    assert len(got) > 0.98 * len(similar)
    assert found.report.verified_pairs == len(got)
    assert found.report.all_pairs
    holds_together(found, len(texts))


@pytest.mark.parametrize("ngram", [1, 3, 8])
def test_characters(texts: list[str], ngram: int) -> None:
    some = texts[-60:]
    found = wh.data.deduplicate(some, threshold=0.7, ngram=ngram, unit="char", num_perm=256)
    similar = {pair for pair, s in similarities(some, ngram=ngram, unit="char").items() if s >= 0.7}
    got = set(map(tuple, found.pairs.tolist()))
    assert got <= similar
    assert len(got) > 0.97 * len(similar)
    holds_together(found, len(some))


def test_recall_is_what_bands_promise() -> None:
    """Of pairs just at the threshold."""
    for threshold, num_perm in ((0.5, 128), (0.8, 128), (0.8, 64), (0.95, 128), (0.7, 200)):
        sketching = Sketching(threshold=threshold, num_perm=num_perm)
        bands, rows = sketching.bands_for_recall()
        assert bands == num_perm // rows
        assert 1 - (1 - threshold**rows) ** bands >= 0.99
        more = num_perm // (rows + 1)
        assert 1 - (1 - threshold ** (rows + 1)) ** more < 0.99
    assert Sketching().bands_for_recall() == (21, 6)
    assert Sketching(threshold=0.01).bands_for_recall() == (128, 1)
    assert Sketching(threshold=1).bands_for_recall() == (1, 128)


def test_measured_recall() -> None:
    """400 pairs of sets with a similarity of 0.8 and a little more."""
    texts = []
    for pair in range(400):
        words = [f"p{pair}w{i}" for i in range(100)]
        texts += [" ".join(words), " ".join(words[10:] + [f"p{pair}x{i}" for i in range(12)])]
    found = wh.data.deduplicate(texts, threshold=0.8, ngram=1)
    assert all(s == 90 / 112 for s in similarities(texts[:20], ngram=1).values())
    assert len(found.pairs) >= 392


def test_bands_of_the_callers(texts: list[str]) -> None:
    wide, narrow = (wh.data.deduplicate(texts, threshold=0.3, bands=bands) for bands in (64, 4))
    assert (wide.report.bands, wide.report.rows) == (64, 2)
    assert len(narrow.pairs) < len(wide.pairs)
    assert set(map(tuple, narrow.pairs.tolist())) <= set(map(tuple, wide.pairs.tolist()))


def test_small_cases() -> None:
    for texts, keep, pairs in (
        ([], [], []),
        ([""], [0], []),
        (["", " ", "", "?"], [0, 1, 2, 3], []),
        (["a"], [0], []),
        (["a", "b"], [0, 1], []),
        (["b", "a", "A", "a!", "b"], [0, 1], [[0, 4], [1, 2], [1, 3], [2, 3]]),
    ):
        found = wh.data.deduplicate(texts)
        assert found.keep.tolist() == keep
        assert found.pairs.tolist() == pairs
        assert found.pairs.shape == (len(pairs), 2)
        holds_together(found, len(texts))


WORDS = st.lists(st.sampled_from(["a", "b", "c", "é", "D", "_"]), max_size=8).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(st.lists(WORDS, max_size=25), st.sampled_from([0.2, 0.5, 0.8, 1.0]), st.randoms())
def test_order_changes_numbers_alone(texts: list[str], threshold: float, random: object) -> None:
    found = wh.data.deduplicate(texts, threshold=threshold, ngram=2)
    holds_together(found, len(texts))
    similar = similarities(texts, ngram=2)
    got = set(map(tuple, found.pairs.tolist()))
    assert got <= {pair for pair, s in similar.items() if s >= threshold}
    assert {pair for pair, s in similar.items() if s == 1} <= got
    order = list(range(len(texts)))
    random.shuffle(order)
    other = wh.data.deduplicate([texts[i] for i in order], threshold=threshold, ngram=2)
    assert {tuple(sorted((order[i], order[j]))) for i, j in other.pairs.tolist()} == got


def test_another_seed_finds_other_candidates_and_the_same_truth(texts: list[str]) -> None:
    first, again, other = (wh.data.deduplicate(texts, threshold=0.3, seed=seed, bands=8) for seed in (0, 0, 1))
    assert torch.equal(first.pairs, again.pairs)
    assert not torch.equal(first.pairs, other.pairs)
    similar = {pair for pair, s in similarities(texts).items() if s >= 0.3}
    assert set(map(tuple, other.pairs.tolist())) <= similar


# ---- Many of a kind -------------------------------------------------------------------------------------------------
def test_very_many_copies_of_one_text() -> None:
    found = wh.data.deduplicate(("the same text again and again" if i % 3 else f"other {i}") for i in range(60_000))
    assert found.report.verified_pairs == math.comb(40_000, 2)
    assert not found.report.all_pairs
    assert len(found.pairs) == 39_999
    assert set(found.pairs[:, 0].tolist()) == {1}
    assert found.report.clusters == 1
    assert len(found.keep) == 20_001


def test_pairs_between_groups_of_copies() -> None:
    words = [f"w{i}" for i in range(60)]
    near = " ".join(words[:-1])
    texts = [" ".join(words), "other", near, near, " ".join(words), near, "", ""]
    found = wh.data.deduplicate(texts)
    alike = [0, 2, 3, 4, 5]
    assert found.pairs.tolist() == [[i, j] for i in alike for j in alike if i < j]
    assert found.report.distinct == 3
    assert found.report.empty == 2
    chained = wh.data.deduplicate(texts, max_pairs=9)
    assert chained.pairs.tolist() == [[0, 2], [0, 4], [2, 3], [2, 5]]
    assert chained.report.verified_pairs == 10
    assert not chained.report.all_pairs
    assert torch.equal(chained.labels, found.labels)


def test_large_buckets_give_chains() -> None:
    """A form with one word filled in: all are near-duplicates of all."""
    form = " ".join(f"word{i}" for i in range(150))
    texts = [f"{form} {i}" for i in range(400)]
    whole, bounded = (wh.data.deduplicate(texts, max_pairs=most) for most in (2**24, 20_000))
    assert len(whole.pairs) == math.comb(400, 2)
    assert whole.report.chained_buckets == 0
    assert bounded.report.chained_buckets > 0
    assert bounded.report.candidate_pairs < 20_000
    assert bounded.keep.tolist() == whole.keep.tolist() == [0]
    holds_together(bounded, 400)


def test_sets_of_equal_signatures_are_not_taken_for_identical() -> None:
    """Long texts of which one word differs agree in all values of a short signature."""
    words = [f"w{i}" for i in range(3000)]
    texts = [" ".join([*words[:place], "x", *words[place:]]) for place in range(0, 3000, 300)]
    found = wh.data.deduplicate(texts, threshold=1.0, num_perm=4)
    assert found.report.distinct == len(texts)
    assert len(found.keep) == len(texts)


def test_bucket_sizes_are_reported(texts: list[str]) -> None:
    report = wh.data.deduplicate(texts).report
    sizes = torch.arange(len(report.bucket_sizes))
    assert int((sizes * report.bucket_sizes).sum()) == report.bands * report.distinct
    assert set(report.seconds) == {
        "reading", "shingles", "signatures", "candidates", "verification", "components"
    }  # fmt: skip


# ---- Streams --------------------------------------------------------------------------------------------------------
def test_an_iterator_is_read_once_and_what_it_raises_passes(texts: list[str]) -> None:
    found = wh.data.deduplicate(iter(texts))
    assert torch.equal(found.pairs, wh.data.deduplicate(texts).pairs)

    def failing() -> Iterator[str]:
        yield "a"
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        wh.data.deduplicate(failing())


def test_batches_change_nothing(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = wh.data.deduplicate(texts)
    monkeypatch.setattr("warphash.data.sketches._BATCH_TEXTS", 7)
    found = wh.data.deduplicate(texts)
    assert torch.equal(found.pairs, expected.pairs)
    assert torch.equal(found.labels, expected.labels)
    with pytest.raises(TypeError, match="got int at place 40"):
        wh.data.deduplicate([*texts[:40], 5])


def test_shingles_in_a_file(texts: list[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = wh.data.deduplicate(texts)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("warphash.data.sketches._BATCH_TEXTS", 50)
    for limit in (0, 10_000, 2**40):
        found = wh.data.deduplicate(texts, memory_limit=limit)
        assert found.report.spilled == (limit < 2**40)
        assert torch.equal(found.pairs, expected.pairs)
    assert wh.data.deduplicate(["", ""], memory_limit=0).keep.tolist() == [0, 1]
    assert not any(tmp_path.iterdir())


def test_another_default_device_decides_nothing(texts: list[str]) -> None:
    expected = wh.data.deduplicate(texts)
    with torch.device("meta"):
        found = wh.data.deduplicate(texts)
    assert torch.equal(found.pairs, expected.pairs)


@pytest.mark.parametrize(
    ("texts_", "options", "error", "text"),
    [
        ("one text", {}, TypeError, "^texts must be a list"),
        (None, {}, TypeError, "^texts must be a list.*got NoneType"),
        (["a", b"b"], {}, TypeError, "^texts must be strings, got bytes at place 1"),
        (["a"], {"threshold": 0}, ValueError, "^threshold must be above 0 and at most 1, got 0"),
        (["a"], {"threshold": 1.1}, ValueError, "^threshold must be above 0 and at most 1, got 1.1"),
        (["a"], {"threshold": math.nan}, ValueError, "^threshold must be finite"),
        (["a"], {"threshold": "high"}, TypeError, "^threshold must be a real number, got str"),
        (["a"], {"ngram": 0}, ValueError, "^ngram must be at least 1"),
        (["a"], {"unit": "byte"}, ValueError, "^unit must be one of word, char"),
        (["a"], {"num_perm": 0}, ValueError, "^num_perm must be at least 1"),
        (["a"], {"num_perm": 2**21}, ValueError, "^num_perm must be at most"),
        (["a"], {"bands": 7}, ValueError, "^bands must divide num_perm, 128, got 7"),
        (["a"], {"bands": 0}, ValueError, "^bands must be at least 1"),
        (["a"], {"seed": -1}, ValueError, "^seed must be at least 0"),
        (["a"], {"seed": 1.0}, TypeError, "^seed must be an int"),
        (["a"], {"max_pairs": -1}, ValueError, "^max_pairs must be at least 0"),
        (["a"], {"memory_limit": None}, TypeError, "^memory_limit must be an int"),
    ],
)
def test_bad_input(texts_: object, options: dict[str, object], error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        wh.data.deduplicate(texts_, **options)


@pytest.mark.parametrize(("num_perm", "most"), [(128, 2**15), (2**17, 2**5), (2**20, 4)])
def test_batches_hold_fewer_texts_the_longer_signatures_are(num_perm: int, most: int) -> None:
    found = sketches.sketched(["one", "two"] * most, sketches.Sketching(num_perm=num_perm), sketches.Stages())
    batch = next(found)
    assert batch.signatures.shape == (most, num_perm)
    assert batch.signatures.numel() <= 2**22
