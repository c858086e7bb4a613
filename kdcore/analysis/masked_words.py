"""The masked-word game: one token of a text is hidden, and each language model guesses it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdcore.analysis.logits import softmax
from kdcore.tasks.vocabulary import Vocabulary, middle_masked

HIDDEN = "▢"
GUESSES_SHOWN = 5


@dataclass(frozen=True)
class Riddle:
    """A text with a hidden token: what stands ``before`` and ``after`` it, the ``answer`` as it is
    written there, and the ``token``, which may be written otherwise.
    """

    before: str
    answer: str
    after: str
    token: str


def riddle(text: str, vocabulary: Vocabulary) -> Riddle:
    """Return a text with the token hidden that language models were asked about."""
    tokens = vocabulary.encode([text])
    _, (place,) = middle_masked(tokens, vocabulary.numbers.mask)
    begin, end = vocabulary.spans(text)[int(place)]
    token = vocabulary.token(int(tokens[0, place]))
    return Riddle(text[:begin], text[begin:end], text[end:], token)


def guesses(logits: NDArray[np.float32], vocabulary: Vocabulary) -> list[tuple[str, float]]:
    """Return the likeliest tokens with their probabilities, the surest first; ``logits``
    [vocabulary] are of one hidden token.
    """
    probabilities = softmax(logits, 1.0)
    best = np.argsort(-probabilities, kind="stable")[:GUESSES_SHOWN]
    return [(vocabulary.token(int(number)), float(probabilities[number])) for number in best]
