"""One word for one thing, in code, comments and sentences alike; CONTRIBUTING.md has the list."""

import re
from pathlib import Path

import pytest

from tests.support.browser import REPOSITORY

FILES = [
    path
    for folder in ("kdcore", "pages", "benchmarks", "docs", "tests")
    for path in (REPOSITORY / folder).rglob("*")
    if path.suffix in {".py", ".md", ".html"} and path != Path(__file__)
] + [REPOSITORY / "dashboard.py", *REPOSITORY.glob("*.md")]

# Each word, what is said in its place, and the files in which it is still to go or means something
# else. Their number may only shrink.
WORDS = {
    r"pupils?": ("student and baseline", {"kdcore/work/experiment.py"}),
    r"lessons?\b(?! for people)": (
        "the teacher's answers",
        {"kdcore/work/experiment.py", "CONTRIBUTING.md"},
    ),
    r"looks? a second|between_looks|(?:next|last) look(?!-)": ("to poll is to ask again", set()),
    r"br(ing|ought) along|brought by (its|the) user": ("your own data, your own models", set()),
    r"whereof|thereof|whosoever|hitherto|unto": ("a current word", set()),
}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_means_something_else_here_is_not_used(word: str) -> None:
    instead, left = WORDS[word]
    pattern = re.compile(rf"(?<![a-z])(?:{word})(?![a-z])", re.IGNORECASE)
    assert len(FILES) > 200
    found = {
        str(path.relative_to(REPOSITORY)) for path in FILES if pattern.search(path.read_text())
    }
    assert found - left == set(), f"say instead: {instead}"
