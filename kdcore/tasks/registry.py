"""The kinds of data that are known, by name."""

from __future__ import annotations

from kdcore.registry import Registry
from kdcore.tasks.base import Task
from kdcore.tasks.images import Images
from kdcore.tasks.table import Table
from kdcore.tasks.text import Text

TASKS: Registry[Task] = Registry(
    "kind of data", r"[a-z][a-z0-9_]{0,39}", ", or of a module that KD_PLUGINS names"
)
register = TASKS.register
for kind in (Images, Table, Text):
    register(kind)


def find(name: str) -> Task:
    """Return the kind of data called ``name``; raises ConfigError with all names otherwise."""
    return TASKS.find(name)()


def task_of_shape(shape: tuple[int, ...]) -> Task:
    """Return the kind of data that an array of examples of ``shape`` is taken for.

    The kind that was registered last is asked first.
    """
    return next(task for task in (kind() for kind in reversed(TASKS.values())) if task.takes(shape))
