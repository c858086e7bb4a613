"""The glossary: two sentences a term, each word explained once, and every mark means a term."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdcore.errors import ConfigError
from kdcore.glossary import (
    TERMS,
    Term,
    find,
    marked_terms,
    matching,
    plain,
    read_terms,
    replace_marks,
)
from pages.shared.session import as_text
from pages.shared.terms import with_terms
from tests.support.browser import REPOSITORY

MARK = re.compile(r"\[\[[^\[\]]+\]\]")


def sentences(text: str) -> int:
    return len(re.findall(r"[.?!](?=\s|$)", text))


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.slug)
def test_a_term_is_said_in_two_sentences_of_plain_text(term: Term) -> None:
    assert sentences(term.says) == 2
    assert term.says[0].isupper()
    assert term.says.endswith(".")
    assert not re.search(r"[`*_$\[\]<>]", term.says)
    assert 60 < len(term.says) < 280
    assert term.equation.count("{") == term.equation.count("}")


def test_no_word_is_explained_twice() -> None:
    assert len(TERMS) >= 45
    words = Counter(word.casefold() for term in TERMS for word in term.words)
    assert [word for word, count in words.items() if count > 1] == []
    assert len({term.slug for term in TERMS}) == len(TERMS)


def test_terms_are_in_alphabetical_order() -> None:
    names = [term.name.casefold() for term in TERMS]
    assert names == sorted(names)


def test_the_form_of_the_file() -> None:
    (term,) = read_terms("# Title\n\n## logit\n\nalso: raw, score\n\n$$z$$\n\nOne\nline. Two.\n")
    assert term == Term("logit", ("raw", "score"), "One line. Two.", "z")
    assert term.title == "Logit"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("softmax", "softmax"),
        ("Logits", "logit"),
        ("losses", "loss"),
        ("α", "alpha"),
        ("soft-target", "soft target"),
        ("percentage points", "points"),
        ("validation", "validation data"),
        ("95 % CI", "interval"),
        ("int8", "quantisation"),
        ("t2-factor", "T² factor"),
    ],
)
def test_a_term_is_found_by_any_of_its_words(word: str, name: str) -> None:
    assert find(word).name == name


def test_an_unknown_word_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError) as refused:
        find("sofmax")
    assert str(refused.value) == (
        "term must be a word of the glossary, got 'sofmax': did you mean softmax?"
    )
    with pytest.raises(ConfigError, match=r"must be a word of the glossary, got 'qqq'$"):
        marked_terms("what is a [[qqq]]?")


def test_names_come_before_what_is_said() -> None:
    found = [term.name for term in matching("temperature")]
    assert found[:2] == ["temperature", "T² factor"]
    assert {"dark knowledge", "calibration"} <= set(found[2:])
    assert matching("") == list(TERMS)
    assert matching("zebra") == []


def test_marks_in_a_text() -> None:
    text = "The [[softmax]] of [[**softer** answers|logit]] [1] is $x[[1]$"
    assert [term.name for term in marked_terms(text)] == ["softmax", "logit"]
    assert plain(text) == "The softmax of **softer** answers [1] is $x[[1]$"
    shown = replace_marks(text, lambda words, term: f"<{words}: {term.name}>")
    assert shown.startswith("The <softmax: softmax> of <**softer** answers: logit> [1]")


def test_a_mark_becomes_a_link_that_says_what_it_means() -> None:
    term = find("points")
    assert '"' in term.says
    quoted = term.says.replace('"', '\\"')
    assert with_terms("10 [[points]].") == f'10 [points](glossary?term=points "Points: {quoted}").'


def test_what_a_visitor_wrote_marks_nothing() -> None:
    hostile = as_text('[[softmax]] [[x|y]] [a](b "c")')
    assert with_terms(hostile) == hostile


def texts() -> Iterator[tuple[Path, str]]:
    """All texts in which terms may be marked."""
    for path in sorted((REPOSITORY / "pages").rglob("*.py")):
        tree = ast.parse(path.read_text())
        documentation = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        }
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and text not in documentation:
                yield path, text
    for path in sorted((REPOSITORY / "docs").rglob("*.md")):
        yield path, path.read_text()


def test_every_mark_means_a_term_and_marks_it_once_a_text() -> None:
    marked = 0
    for path, text in texts():
        if MARK.search(text):
            names = [term.name for term in marked_terms(text)]
            assert len(names) == len(MARK.findall(text)), f"{path}: a mark is not read"
            assert len(set(names)) == len(names), f"{path}: {names}"
            marked += len(names)
    assert marked >= 4
