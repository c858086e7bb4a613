"""The lessons in their order. A new one is a file in ``content`` and a line here."""

from __future__ import annotations

import functools

from kdcore.errors import require
from kdcore.lessons.lesson import Lesson, read_file
from kdcore.registry import Late

LESSONS: Late[Lesson] = Late(
    {
        name: functools.partial(read_file, name)
        for name in (
            "wrong-answers",
            "temperature",
            "alpha",
            "label-budget",
            "t-squared",
            "one-run",
            "unseen-class",
            "beats-its-teacher",
            "patches",
            "half-the-layers",
        )
    }
)


def find_lesson(name: str) -> Lesson:
    """Return the lesson called ``name``; raises ConfigError with all names otherwise."""
    require(name in LESSONS, "lesson", f"one of {', '.join(LESSONS)}", name)
    return LESSONS[name]


def number_of(name: str) -> int:
    """Return a lesson's place among all, from 1."""
    return list(LESSONS).index(name) + 1
