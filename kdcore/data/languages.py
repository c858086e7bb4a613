"""The embedded dataset of texts: in which of 15 languages is this phrase?

Names of places, languages, scripts, currencies, time zones and units, as the Unicode Common Locale
Data Repository (CLDR) has them; the package Babel brings them. Nothing is downloaded. Another
Babel may hold other names: the digest of the content is part of the dataset's key.
"""

from __future__ import annotations

import functools
import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import babel
import numpy as np
from numpy.typing import NDArray

from kdcore.config.cards import DatasetCard
from kdcore.data.raw import RawData
from kdcore.tasks.text import as_bytes, padded
from kdcore.tasks.vocabulary import Tokens

# Of 100 phrases one is longer and loses its end.
TOKENS = Tokens("characters", length=40)
LANGUAGES = {
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "hu": "Hungarian",
    "it": "Italian",
    "nb": "Norwegian",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "sv": "Swedish",
    "tr": "Turkish",
}
MOST_PHRASES = 900
# Shares of the concepts; what belongs to one concept is in one part, in all languages.
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1


@dataclass(frozen=True)
class Phrases:
    """Phrases with their language and the part that each belongs to."""

    texts: tuple[str, ...]
    labels: NDArray[np.int32]  # [phrases]
    parts: NDArray[np.str_]  # [phrases], "train", "validation" or "test"
    digest: str  # of all that


@functools.cache
def phrases() -> Phrases:
    """Return all phrases, the same ones from one version of Babel on every machine.

    A phrase that occurs in two of the languages, however it is capitalised, is in neither. Each
    language has at most ``MOST_PHRASES``. The names of one concept, and concepts that share a name
    apart from accents and punctuation, lie in one part, so that no test phrase is the twin of one
    that was trained on.
    """
    names = {code: dict(_names(code)) for code in LANGUAGES}
    spoken: dict[str, set[str]] = defaultdict(set)
    for code, of_concept in names.items():
        for name in of_concept.values():
            spoken[name.casefold()].add(code)
    groups = _groups(names)
    texts, labels, parts = [], [], []
    for label, of_concept in enumerate(names.values()):
        seen: set[str] = set()
        # By a digest, so that a language with more names than fit has some of every kind.
        for concept in sorted(of_concept, key=_digest):
            name = of_concept[concept]
            folded = name.casefold()
            if len(spoken[folded]) > 1 or folded in seen or len(seen) == MOST_PHRASES:
                continue
            seen.add(folded)
            texts.append(name)
            labels.append(label)
            parts.append(_part(groups[concept]))
    content = json.dumps([texts, labels, parts], ensure_ascii=False)
    return Phrases(
        tuple(texts),
        np.array(labels, np.int32),
        np.array(parts),
        hashlib.sha256(content.encode()).hexdigest(),
    )


def _names(code: str) -> Iterator[tuple[str, str]]:
    """Yield what one language calls each concept: (concept, name)."""
    locale = babel.Locale.parse(code)
    for kind in ("territories", "languages", "scripts", "currencies"):
        for key, name in getattr(locale, kind).items():
            yield from _named(f"{kind}/{key}", name)
    for key, zone in locale.time_zones.items():
        yield from _named(f"cities/{key}", zone.get("city"))
    for key, zone in locale.meta_zones.items():
        for form, name in zone.get("long", {}).items():
            yield from _named(f"time zones/{key}/{form}", name)
    for key, forms in locale.unit_display_names.items():
        yield from _named(f"units/{key}", forms.get("long"))


def _named(concept: str, name: object) -> Iterator[tuple[str, str]]:
    """Yield the name if it is one: letters, and no code such as EUR or +03."""
    text = " ".join(str(name or "").split())
    if sum(sign.isalpha() for sign in text) >= 3 and not text.isupper():
        yield concept, text


def _groups(names: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return for each concept the first of those that share a name with it, directly or not."""
    first: dict[str, str] = {}

    def root(concept: str) -> str:
        while first.setdefault(concept, concept) != concept:
            concept = first[concept]
        return concept

    by_spelling: dict[str, str] = {}
    for of_concept in names.values():
        for concept, name in of_concept.items():
            other = by_spelling.setdefault(_spelling(name), concept)
            one, two = sorted((root(concept), root(other)))
            first[two] = one
    return {concept: root(concept) for concept in first}


def _spelling(name: str) -> str:
    """Return a name's letters without accents, so that twins are found."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(sign for sign in letters if sign.isalnum())


def _part(group: str) -> str:
    # Not the digest that chooses the phrases: the first of those would all be test phrases.
    place = int(_digest(f"part of {group}")[:8], 16) / 16**8
    if place < TEST_SHARE:
        return "test"
    return "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def card() -> DatasetCard:
    """Return what is known of it before it is loaded; its key names the content."""
    found = phrases()
    count = {part: int((found.parts == part).sum()) for part in ("train", "validation", "test")}
    return DatasetCard(
        title="Languages (embedded)",
        builder="kdcore.data.languages:load",
        input_shape=(TOKENS.length,),
        class_names=tuple(LANGUAGES.values()),
        training_examples=count["train"],
        validation_examples=count["validation"],
        test_examples=count["test"],
        key=f"languages@{found.digest[:10]}",
        kind="text",
    )


def load() -> RawData:
    """Return the phrases with their parts."""
    found = phrases()
    inputs = padded([as_bytes(text) for text in found.texts])
    return RawData(inputs, found.labels, 1.0, parts=found.parts, tokens=TOKENS)
