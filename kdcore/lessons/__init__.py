"""Lessons: one idea each, predicted first and then measured by real training runs."""

from kdcore.lessons.lesson import Asked, Case, Change, Expected, Lesson, Option, Shown, read_lesson
from kdcore.lessons.measured import (
    Measured,
    Verdict,
    as_prediction,
    compare_with,
    expectation_in_words,
)
from kdcore.lessons.measures import MEASURES
from kdcore.lessons.registry import LESSONS, find_lesson, number_of
from kdcore.lessons.runs import LessonRuns, find_runs, seconds_to_train, start, stop

__all__ = [
    "LESSONS",
    "MEASURES",
    "Asked",
    "Case",
    "Change",
    "Expected",
    "Lesson",
    "LessonRuns",
    "Measured",
    "Option",
    "Shown",
    "Verdict",
    "as_prediction",
    "compare_with",
    "expectation_in_words",
    "find_lesson",
    "find_runs",
    "number_of",
    "read_lesson",
    "seconds_to_train",
    "start",
    "stop",
]
