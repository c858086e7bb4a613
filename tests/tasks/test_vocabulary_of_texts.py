"""Texts as tokens: what a vocabulary makes of any text, and that it is the same everywhere."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdcore.data.languages import phrases
from kdcore.errors import ConfigError
from kdcore.tasks.text import as_bytes, beginnings, padded, texts_of
from kdcore.tasks.vocabulary import (
    PADDING_ID,
    PIECES,
    SPECIAL,
    UNKNOWN_ID,
    Pieces,
    Tokens,
    Vocabulary,
    learn_vocabulary,
)

TEXTS = phrases().texts[:2000]
LENGTH = 24
VOCABULARIES: dict[str, Vocabulary] = {
    pieces: learn_vocabulary(TEXTS, Tokens(pieces, 300, LENGTH)) for pieces in PIECES
}


@pytest.mark.parametrize("pieces", PIECES)
@given(text=st.text(max_size=80))
@settings(deadline=None, max_examples=60)
def test_any_text_becomes_a_beginning_tokens_an_end_and_padding(pieces: str, text: str) -> None:
    vocabulary = VOCABULARIES[pieces]
    (tokens,) = vocabulary.encode([text])
    assert tokens.shape == (LENGTH,)
    used = int(np.count_nonzero(tokens))
    assert tokens[0] == SPECIAL.index("[CLS]")
    assert tokens[used - 1] == SPECIAL.index("[SEP]")
    assert not tokens[used:].any(), "padding, and nothing else, comes after the end"
    assert tokens.max() < vocabulary.size


def test_many_texts_become_the_tokens_of_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdcore.tasks.vocabulary.TEXTS_AT_ONCE", 3)
    vocabulary, texts = VOCABULARIES["bpe"], [*TEXTS[:7], ""]
    alone = [vocabulary.encode([text])[0] for text in texts]
    np.testing.assert_array_equal(vocabulary.encode(iter(texts)), alone)
    assert vocabulary.encode([]).shape == (0, LENGTH)


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("sign", SPECIAL)
def test_a_sign_that_is_written_in_a_text_controls_nothing(pieces: str, sign: str) -> None:
    vocabulary = VOCABULARIES[pieces]
    (tokens,) = vocabulary.encode([f"{sign} yen {sign}"])
    used = int(np.count_nonzero(tokens))
    assert not tokens[used:].any(), "no padding stands before other tokens"
    inside = tokens[1 : used - 1]
    assert not set(inside.tolist()) & {0, *(SPECIAL.index(each) for each in ("[CLS]", "[MASK]"))}
    (spelt,) = vocabulary.encode([sign.lower()])
    assert np.count_nonzero(spelt) > 3, "it is read as what it is written with"


@pytest.mark.parametrize("pieces", PIECES)
def test_half_a_character_is_read_as_unknown(pieces: str) -> None:
    vocabulary, text = VOCABULARIES[pieces], "yen \udcff rupee"
    assert vocabulary.encode([text]).shape == (1, LENGTH)
    spans = vocabulary.spans(text)
    assert max(end for _, end in spans) == len(text), "places are those in the text as it is"


def test_characters_are_one_token_each_in_lower_case() -> None:
    vocabulary = VOCABULARIES["characters"]
    (tokens,) = vocabulary.encode(["København\x00\n 2"])
    written = [vocabulary.token(int(number)) for number in tokens if number]
    assert written[:11] == ["[CLS]", "k", "ø", "b", "e", "n", "h", "a", "v", "n", " "]
    known = vocabulary.encode(["københavn"])[0]
    np.testing.assert_array_equal(vocabulary.encode(["KØBENHAVN"])[0], known)
    unknown = vocabulary.encode(["😀"])[0]
    assert unknown[1] == UNKNOWN_ID
    assert unknown[3] == PADDING_ID


def test_pieces_of_words_are_fewer_than_characters() -> None:
    used = {
        pieces: np.count_nonzero(vocabulary.encode(TEXTS), axis=1).mean()
        for pieces, vocabulary in VOCABULARIES.items()
    }
    assert used["bpe"] < 0.75 * used["characters"]
    assert used["wordpiece"] < 0.75 * used["characters"]


def plain_word_pieces(word: str, known: set[str]) -> list[str]:
    """The longest piece that fits, then the longest of the rest (Wu 2016), without the library."""
    found: list[str] = []
    while word:
        mark = "##" if found else ""
        size = next((n for n in range(len(word), 0, -1) if mark + word[:n] in known), 0)
        if not size:
            return [SPECIAL[UNKNOWN_ID]]
        found.append(mark + word[:size])
        word = word[size:]
    return found


def test_word_pieces_are_the_longest_that_fit() -> None:
    vocabulary = learn_vocabulary(TEXTS, Tokens("wordpiece", 400, 512))
    known = {vocabulary.token(number) for number in range(vocabulary.size)}
    texts = [text for text in TEXTS if re.fullmatch(r"[a-zA-Z ]+", text)][:200]
    for text, tokens in zip(texts, vocabulary.encode(texts), strict=True):
        written = [vocabulary.token(int(number)) for number in tokens if number][1:-1]
        words = text.lower().split()
        assert written == [piece for word in words for piece in plain_word_pieces(word, known)]
        assert vocabulary.decode(tokens) == " ".join(words)
    assert any(len(piece) > 3 for piece in known if piece.startswith("##")), (
        "longer ones are learnt"
    )


@pytest.mark.parametrize("pieces", PIECES)
def test_there_are_no_more_tokens_than_asked_for(pieces: Pieces) -> None:
    # As many different characters as a text in Chinese has, and no word twice.
    texts = [f"{chr(0x4E00 + number)}{chr(0xAC00 + number)}x" for number in range(3000)]
    learnt = learn_vocabulary(texts, Tokens(pieces, 300, LENGTH))
    assert learnt.size <= 300
    assert np.count_nonzero(learnt.encode(["x"]) == UNKNOWN_ID) == 0, "the most frequent one stays"


@pytest.mark.parametrize("pieces", PIECES)
def test_it_is_the_same_in_another_process(pieces: Pieces) -> None:
    script = (
        "from kdcore.data.languages import phrases\n"
        "from kdcore.tasks.vocabulary import Tokens, learn_vocabulary\n"
        f"print(learn_vocabulary(phrases().texts[:2000], Tokens({pieces!r}, 300, {LENGTH})).definition)"
    )
    other = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert other.stdout.strip() == VOCABULARIES[pieces].definition


def test_where_tokens_stand_in_the_text() -> None:
    text = "Ünder\tden Linden"
    spans = VOCABULARIES["characters"].spans(text)
    assert [text[begin:end] for begin, end in spans if end][:5] == list("Ünder")
    assert spans[0] == (0, 0), "the beginning stands for no part of it"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"length": 4}, "length must be from 8 to 1,024 tokens, got 4"),
        ({"size": 10}, "vocabulary must be from 100 to 50,000 tokens, got 10"),
        ({"pieces": "words"}, "pieces must be one of characters, bpe, wordpiece, got 'words'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        Tokens(**values)  # type: ignore[arg-type]


@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_texts_come_back_from_their_bytes(texts: list[str]) -> None:
    stored = padded([as_bytes(text) for text in texts])
    for text, again in zip(texts, texts_of(stored), strict=True):
        expected = text.replace("\x00", " ").encode("utf-8", "replace").decode()
        assert again == expected


def test_a_long_text_is_cut_between_characters_and_shown_short() -> None:
    row = padded([as_bytes("x" + "ü" * 5000)])
    assert row.shape == (1, 4000)
    assert texts_of(row)[0] == "x" + "ü" * 1999, "and not within the last ü"
    (shown,) = beginnings(["a\nb " * 500])
    assert len(shown) == 280
    assert shown.startswith("a b a b")
    assert shown.endswith("…")
