"""Which parts of a text decided an answer: what becomes of it when one of them is left out."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdcore.analysis.logits import softmax
from kdcore.tasks.vocabulary import Vocabulary

# Of long texts whole words are left out, and of still longer ones only the first.
MOST_CHARACTERS, MOST_PARTS = 40, 64


@dataclass(frozen=True)
class Part:
    """A part of a text from ``begin`` to ``end``, in characters."""

    begin: int
    end: int


def parts_of(text: str, vocabulary: Vocabulary) -> list[Part]:
    """Return the parts of a text that are left out in turn: its letters where they are what models
    see and the text is short, else its words.

    None where there is one alone: nothing would be left to ask about.
    """
    letters = vocabulary.by_characters and len(text) <= MOST_CHARACTERS
    pattern = r"\S" if letters else r"\S+"
    found = [Part(match.start(), match.end()) for match in re.finditer(pattern, text)]
    return found[:MOST_PARTS] if len(found) > 1 else []


def without(text: str, part: Part) -> str:
    """Return a text without a part of it."""
    return text[: part.begin] + text[part.end :]


def questions(text: str, parts: list[Part]) -> list[str]:
    """Return what models are asked: the text as it is, then without each part."""
    return [text, *(without(text, part) for part in parts)]


def drops(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return how much the probability of the answer falls without each part, [parts].

    ``logits`` [1 + parts, classes] are the answers to :func:`questions`. Above 0 a part spoke for
    the answer, below 0 against it (occlusion: Zeiler and Fergus 2014, arXiv:1311.2901).
    """
    probabilities = softmax(logits, temperature)
    answer = int(probabilities[0].argmax())
    return np.asarray(probabilities[0, answer] - probabilities[1:, answer], np.float64)
