"""What visitors predict and answer in lessons, kept in the store."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select

from kdcore.storage.connection import Connection
from kdcore.storage.schema import LessonProgress


def progress_in(store: Connection, lesson: str, visitor: str = "") -> LessonProgress:
    """Return how far a visitor is in a lesson; an empty row for one who has not begun."""
    with store.reading() as session:
        found = session.get(LessonProgress, (visitor, lesson))
    return found or LessonProgress(
        visitor=visitor, lesson=lesson, prediction=None, change="", answer=None, updated_at=0.0
    )


def note(store: Connection, lesson: str, visitor: str = "", **values: Any) -> None:
    """Keep a visitor's ``prediction``, ``change`` or ``answer`` in a lesson."""
    with store.writing() as session:
        row = session.get(LessonProgress, (visitor, lesson))
        if row is None:
            row = LessonProgress(visitor=visitor, lesson=lesson, change="", updated_at=0.0)
            session.add(row)
        for name, value in values.items():
            setattr(row, name, value)
        row.updated_at = time.time()


def forget(store: Connection, lesson: str, visitor: str = "") -> None:
    """Let a visitor begin a lesson anew; its training runs stay."""
    with store.writing() as session:
        row = session.get(LessonProgress, (visitor, lesson))
        if row is not None:
            session.delete(row)


def begun(store: Connection, visitor: str = "") -> dict[str, LessonProgress]:
    """Return the lessons that a visitor has begun, by name."""
    with store.reading() as session:
        rows = session.scalars(select(LessonProgress).where(LessonProgress.visitor == visitor))
        return {row.lesson: row for row in rows}


def predictions_of(store: Connection, lesson: str) -> dict[str, Any]:
    """Return what all visitors have predicted in a lesson, by visitor."""
    with store.reading() as session:
        rows = session.scalars(select(LessonProgress).where(LessonProgress.lesson == lesson))
        return {row.visitor: row.prediction for row in rows if row.prediction is not None}
