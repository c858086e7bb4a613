"""Sizes, lengths of time and errors as a person would say them."""

import time

import pytest

from kdcore.words import ago, duration, first_line, in_bytes, sentences


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (33_099, "33.1 kB"),
        (4_200_000, "4.2 MB"),
        (7 * 10**9, "7.0 GB"),
    ],
)
def test_sizes(count: int, words: str) -> None:
    assert in_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 second"), (40, "40 seconds"), (600, "10 minutes"), (7200, "2 hours")],
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (10, "just now"),
        (130, "2 minutes ago"),
        (3 * 3600 + 5, "3 hours ago"),
        (5 * 86_400, "5 days ago"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert ago(time.time() - seconds) == words


def test_the_first_line_of_an_error_or_its_kind() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


def test_sentences_end_with_a_full_stop_once() -> None:
    assert sentences("It failed", "", "Why?", "Resume.") == "It failed. Why? Resume."
