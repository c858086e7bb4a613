"""Which parts of a text decided: the parts, the questions, and how far the answer falls."""

from __future__ import annotations

import numpy as np
import pytest

from kdcore.analysis.occlusion import MOST_PARTS, drops, parts_of, questions
from kdcore.engine.predictions import from_text
from kdcore.tasks.vocabulary import Tokens, learn_vocabulary

TEXTS = ["the sun and the rain", "a stone in the river"] * 20
LETTERS = learn_vocabulary(TEXTS, Tokens("characters"))
WORDS = learn_vocabulary(TEXTS, Tokens("bpe", 100))


@pytest.mark.parametrize(
    ("text", "vocabulary", "expected"),
    [
        ("ab c", LETTERS, ["a", "b", "c"]),
        ("ab c", WORDS, ["ab", "c"]),
        ("long " * 20, LETTERS, ["long"] * 20),
        ("word " * 500, WORDS, ["word"] * MOST_PARTS),
        ("  ", LETTERS, []),
        ("great", WORDS, []),
        ("g", LETTERS, []),
    ],
)
def test_letters_are_left_out_where_models_see_letters_and_words_elsewhere(
    text: str, vocabulary: object, expected: list[str]
) -> None:
    parts = parts_of(text, vocabulary)  # type: ignore[arg-type]
    assert [text[part.begin : part.end] for part in parts] == expected
    asked = questions(text, parts)
    assert asked[0] == text
    for part, without in zip(parts, asked[1:], strict=True):
        assert without == text[: part.begin] + text[part.end :]
    if text.strip():
        assert len(from_text(vocabulary, asked)) == len(asked), "each can be asked"  # type: ignore[arg-type]


def test_the_drop_is_that_of_the_answer_to_the_whole_text() -> None:
    logits = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [3.0, 0.0, 0.0]], np.float32)

    def chance(row: np.ndarray) -> float:
        powers = np.exp(row.astype(np.float64))
        return float(powers[0] / powers.sum())

    expected = [chance(logits[0]) - chance(logits[1]), chance(logits[0]) - chance(logits[2])]
    np.testing.assert_allclose(drops(logits), expected, rtol=1e-6)
    assert drops(logits)[0] > 0 > drops(logits)[1]
