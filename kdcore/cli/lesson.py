"""``python -m kdcore lesson``: the lessons of the dashboard, with the same runs and numbers."""

from __future__ import annotations

import json
from typing import Any

import click

from kdcore import lessons
from kdcore.cli.common import follow
from kdcore.engine.choice import make_engine
from kdcore.errors import ConfigError, Problem
from kdcore.glossary import plain
from kdcore.lessons import LESSONS, Lesson, LessonRuns, find_lesson, find_runs
from kdcore.storage import lesson_progress
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store


@click.group(name="lesson")
def lesson_commands() -> None:
    """Lessons: predict, train for real, compare."""


@lesson_commands.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array on stdout.")
@click.pass_obj
def list_command(store_url: str, as_json: bool) -> None:
    """List the lessons, and whether their runs are trained in this store."""
    store = Store(store_url)
    rows: list[dict[str, Any]] = [
        {
            "lesson": name,
            "title": lesson.title,
            "question": lesson.question,
            "trained": find_runs(store, lesson).finished,
        }
        for name, lesson in LESSONS.items()
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for number, row in enumerate(rows, start=1):
        trained = "trained" if row["trained"] else ""
        click.echo(f"{number:>2}  {row['lesson']:<18}{row['title']:<50}{trained}")


@lesson_commands.command(name="run")
@click.argument("name", metavar="LESSON")
@click.option("--change", default="", metavar="TITLE", help="An option of the lesson's change.")
@click.option(
    "--predict", "predicted", metavar="VALUE", help="A number, numbers with commas, or an option."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def run_command(
    store_url: str, name: str, change: str, predicted: str | None, as_json: bool
) -> None:
    """Train what a lesson needs, unless it is trained already, and print what it measures."""
    store, lesson = Store(store_url), find_lesson(name)
    runs = find_runs(store, lesson, change)
    prediction = None if predicted is None else _read(lesson, predicted)
    if not runs.finished:
        _train(store, runs)
        runs = find_runs(store, lesson, change)
    asked = lesson.predict
    found = runs.measured(store, asked)
    verdict = None
    if prediction is not None:
        lesson_progress.note(store, lesson.name, prediction=prediction)
        verdict = lessons.compare_with(found, prediction, asked.reach)
    check = runs.measured(store, lesson.check)
    also = {each.measure: runs.measured(store, each) for each in lesson.also}
    if as_json:
        answer = {
            "lesson": lesson.name,
            "change": change,
            "experiments": [each.experiment.id for each in runs.experiments if each is not None],
            "measured": found.to_json(),
            "also": {title: each.to_json() for title, each in also.items()},
            "check": check.to_json(),
            "verdict": None if verdict is None else verdict.words,
        }
        click.echo(json.dumps(answer))
        return
    click.echo(f"{lesson.question}\n{found.about}:")
    for title, value in zip(found.titles, found.values, strict=True):
        click.echo(f"  {title or lesson.title:<36}{found.in_words(value)}")
    if verdict is not None:
        click.echo(verdict.words)
    click.echo(
        f"{plain(lesson.prose['question'])}\n  {check.in_words(check.value)} ({check.about})"
    )


def _train(store: Store, runs: LessonRuns) -> None:
    engine = make_engine(store, idle_seconds=2.0)
    lessons.start(store, engine, runs.lesson, runs.option)
    for each in find_runs(store, runs.lesson, runs.option).experiments:
        assert each is not None, "start asked for every case"
        if follow(store, engine, each.experiment.id) is not JobStatus.FINISHED:
            raise SystemExit(1)


def _read(lesson: Lesson, text: str) -> Any:
    if lesson.predict.answer == "choice":
        return text
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(Problem("prediction", "made of numbers", text)) from None
    return numbers if lesson.predict.answer == "curve" else numbers[0]
