"""Phrases of 15 languages: the same everywhere, each in one language, no twins across parts."""

from collections import Counter, defaultdict

import numpy as np

from kdcore.data import languages
from kdcore.data.languages import LANGUAGES, MOST_PHRASES, phrases


def test_there_are_enough_phrases_of_each_language_and_none_is_in_two() -> None:
    found = phrases()
    per_language = Counter(found.labels.tolist())
    assert set(per_language) == set(range(15))
    assert all(700 <= count <= MOST_PHRASES for count in per_language.values())
    folded = [text.casefold() for text in found.texts]
    assert len(set(folded)) == len(folded)
    shares = Counter(found.parts.tolist())
    assert 0.17 < shares["test"] / len(folded) < 0.23
    assert 0.08 < shares["validation"] / len(folded) < 0.12


def test_names_of_one_concept_lie_in_one_part_in_all_languages() -> None:
    found = phrases()
    parts = dict(zip(found.texts, found.parts.tolist(), strict=True))
    parts_of_concept: dict[str, set[str]] = defaultdict(set)
    parts_of_spelling: dict[str, set[str]] = defaultdict(set)
    for code in LANGUAGES:
        own = {
            text
            for text, label in zip(found.texts, found.labels, strict=True)
            if label == list(LANGUAGES).index(code)
        }
        for concept, name in languages._names(code):
            if name in own:
                parts_of_concept[concept].add(parts[name])
                parts_of_spelling[languages._spelling(name)].add(parts[name])
    assert len(parts_of_concept) > 900
    assert all(len(of_one) == 1 for of_one in parts_of_concept.values())
    assert all(len(of_one) == 1 for of_one in parts_of_spelling.values())


def test_they_are_the_same_when_made_again() -> None:
    first = phrases()
    phrases.cache_clear()
    second = phrases()
    assert first.digest == second.digest
    assert first.texts == second.texts
    np.testing.assert_array_equal(first.labels, second.labels)
