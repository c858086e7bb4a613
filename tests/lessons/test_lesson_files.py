"""The ten lessons as files: what they ask for exists, and a bad file is refused in words."""

from __future__ import annotations

import re

import pytest

from kdcore.charts.lessons import PICTURES
from kdcore.errors import ConfigError
from kdcore.glossary import plain
from kdcore.lessons import LESSONS, MEASURES, find_lesson, number_of, read_lesson
from kdcore.lessons.lesson import SECTIONS
from kdcore.lessons.measures import unit_of

HEAD = """+++
title = "A title"
question = "A question?"
picture = "generations"

[predict]
measure = "gains"

[expected]
words = "something"
rule = "above zero"

[change]
title = "Other"
options = [{ title = "warm", settings = { temperature = 3 } }]

[check]
measure = "gains"
+++
"""
BODY = "".join(f"## {section}\nWords.\n\n" for section in SECTIONS)


def test_there_are_ten_and_each_has_its_number() -> None:
    assert len(LESSONS) == 10
    assert [number_of(name) for name in LESSONS] == list(range(1, 11))


@pytest.mark.parametrize("name", LESSONS)
def test_everything_that_a_lesson_names_exists(name: str) -> None:
    lesson = find_lesson(name)
    shown = (lesson.predict, lesson.check, lesson.shown_when_changed, *lesson.also)
    assert {each.measure for each in shown} <= MEASURES.keys()
    assert lesson.picture in PICTURES or re.fullmatch(r"patches|examples_of_\d", lesson.picture)
    assert all(lesson.prose[section] for section in SECTIONS)
    assert all(plain(lesson.prose[section]) for section in SECTIONS), "its words are explained"
    of_each_case = {"accuracy", "gains"} - (
        {"accuracy"} if "case" in lesson.check.arguments else set()
    )
    assert len(lesson.cases) == 1 or lesson.check.measure not in of_each_case, "one answer"
    for asked in (lesson.predict, lesson.check):
        assert asked.low < asked.high
        assert (asked.answer == "choice") == bool(asked.options)
    if lesson.predict.answer == "curve":
        assert len(lesson.points) > 2
    assert unit_of(lesson.predict.measure) == unit_of(lesson.predict.measure).strip()


@pytest.mark.parametrize("name", LESSONS)
def test_each_change_changes_every_experiment_and_nothing_that_was_not_said(name: str) -> None:
    lesson = find_lesson(name)
    before = lesson.configs()
    assert len(before) == len(lesson.cases)
    assert len({config.fingerprint() for config in before}) == len(before)
    for option in lesson.change.options:
        for one, other in zip(before, lesson.configs(option.title), strict=True):
            assert one.fingerprint() != other.fingerprint()
            said = set(option.settings)
            assert {key for key in said if one.get(key) != other.get(key)} == said


def test_only_the_case_tells_the_experiments_of_a_lesson_apart() -> None:
    lesson = find_lesson("alpha")
    assert [config.alpha for config in lesson.configs()] == [0, 0.25, 0.5, 0.75, 1]
    assert {config.replace(alpha=0.5) for config in lesson.configs()} == {lesson.configs()[2]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BODY, "lesson must be TOML between two lines of"),
        (HEAD, "sections must be picture, predict"),
        (HEAD + BODY.replace("## see", "## sea"), "sections must be"),
        (HEAD.replace('title = "A title"', "title = "), "sections must be"),
        (HEAD.replace('title = "A title"\n', "") + BODY, "title must be"),
        (HEAD.replace("above zero", "beautiful") + BODY, "expected.rule must be"),
        (HEAD + BODY.replace("## why\nWords.", "## why\n" + "word " * 121), "why must be at most"),
    ],
)
def test_a_bad_file_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_lesson("bad", text)


def test_a_good_file_is_read_and_its_options_are_known_by_title() -> None:
    lesson = read_lesson("good", HEAD + BODY)
    assert lesson.configs("warm")[0].temperature == 3
    with pytest.raises(ConfigError, match="change must be one of warm, got 'cold'"):
        lesson.configs("cold")
    with pytest.raises(ConfigError, match="lesson must be one of"):
        find_lesson("good")
