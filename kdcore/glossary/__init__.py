"""What the words mean that KD Lab uses: each explained once, in two sentences, in ``terms.md``.

In a text, ``[[softmax]]`` marks a term, and ``[[softened answers|soft target]]`` says in other
words which one is meant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

from kdcore.errors import require, with_mend

_MARK = re.compile(r"\[\[([^\[\]|]+)(?:\|([^\[\]|]+))?\]\]")


@dataclass(frozen=True)
class Term:
    """A term, other words for it, and what it is in two sentences.

    ``equation`` is LaTeX, empty where there is none.
    """

    name: str
    also: tuple[str, ...]
    says: str
    equation: str = ""

    @property
    def title(self) -> str:
        """Its name as it begins a line."""
        return self.name[0].upper() + self.name[1:]

    @property
    def slug(self) -> str:
        """Its name in an address: "soft-target"."""
        plain = self.name.replace("²", "2").replace("'", "").lower()
        return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")

    @property
    def words(self) -> tuple[str, ...]:
        """All that it is called."""
        return self.name, *self.also

    def to_json(self) -> dict[str, str | list[str]]:
        """Return its fields for JSON."""
        return {
            "name": self.name,
            "also": list(self.also),
            "says": self.says,
            "equation": self.equation,
        }


def read_terms(text: str) -> Iterator[Term]:
    """Read terms from Markdown in the form of ``terms.md``."""
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name, *paragraphs = (part.strip() for part in section.split("\n\n") if part.strip())
        also: tuple[str, ...] = ()
        equation, prose = "", []
        for paragraph in paragraphs:
            if paragraph.startswith("also: "):
                also = tuple(word.strip() for word in paragraph.removeprefix("also: ").split(","))
            elif paragraph.startswith("$$"):
                equation = paragraph.strip("$")
            else:
                prose.append(" ".join(paragraph.split()))
        yield Term(name, also, " ".join(prose), equation)


def _by_name(term: Term) -> str:
    return term.name.casefold()


TERMS: tuple[Term, ...] = tuple(
    sorted(read_terms(files(__name__).joinpath("terms.md").read_text("utf-8")), key=_by_name)
)
_BY_WORD: Mapping[str, Term] = {
    word.casefold(): term for term in TERMS for word in (*term.words, term.slug)
}


def find(word: str) -> Term:
    """Return the term that a word means, in one or several, in any case.

    Raises ConfigError for a word that is not explained.
    """
    asked = word.strip().casefold()
    spellings = (asked, asked.removesuffix("s"), asked.removesuffix("es"))
    found = next((_BY_WORD[each] for each in spellings if each in _BY_WORD), None)
    close = difflib.get_close_matches(asked, _BY_WORD, n=1)
    mend = f"did you mean {close[0]}?" if close else None
    require(found is not None, "term", "a word of the glossary", with_mend(word, mend))
    assert found is not None, "refused otherwise"
    return found


def matching(text: str) -> list[Term]:
    """Return the terms that have every word of a text in their names or what is said of them; those
    that have them in a name come first.
    """
    wanted = text.casefold().split()

    def has(term: Term, among: str) -> bool:
        return all(word in among.casefold() for word in wanted)

    named = [term for term in TERMS if has(term, " ".join(term.words))]
    told = [term for term in TERMS if has(term, " ".join((*term.words, term.says)))]
    return [*named, *(term for term in told if term not in named)]


def replace_marks(text: str, show: Callable[[str, Term], str]) -> str:
    """Return a text with ``show(words, term)`` in place of each marked term.

    Raises ConfigError for a term that is not explained.
    """
    return _MARK.sub(lambda mark: show(mark[1], find(mark[2] or mark[1])), text)


def marked_terms(text: str) -> list[Term]:
    """Return the terms that are marked in a text, in its order.

    Raises ConfigError for one that is not explained.
    """
    return [find(mark[2] or mark[1]) for mark in _MARK.finditer(text)]


def plain(text: str) -> str:
    """Return a text as it reads without marks."""
    return replace_marks(text, lambda words, _term: words)
