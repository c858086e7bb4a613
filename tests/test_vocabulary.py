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
    r"pupils?": ("student and baseline", set()),
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


def defined_names(file: Path) -> str:
    """What a module says, its package's modules included."""
    files = file.parent.glob("*.py") if file.name == "__init__.py" else [file]
    return "\n".join(path.read_text() for path in files)


def leads_somewhere(name: str) -> bool:
    """Whether a dotted name is a module, or a name that its module has."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        base = REPOSITORY.joinpath(*parts[:count])
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.exists():
                rest = parts[count:]
                return not rest or re.search(rf"\b{rest[0]}\b", defined_names(file)) is not None
    return False


def test_names_that_docstrings_and_comments_refer_to_exist() -> None:
    lost, count = [], 0
    for path in FILES:
        if path.suffix != ".py":
            continue
        for name in re.findall(r"`~?((?:kdcore|pages)(?:\.\w+)+)`", path.read_text()):
            count += 1
            if not leads_somewhere(name):
                lost.append(f"{path.relative_to(REPOSITORY)}: {name}")
    assert count > 30
    assert lost == []
