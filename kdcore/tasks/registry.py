"""The kinds of data that are known, by name."""

from __future__ import annotations

import re

from kdcore.errors import require
from kdcore.tasks.base import Task
from kdcore.tasks.images import Images
from kdcore.tasks.table import Table

TASKS: dict[str, Task] = {}


def register(task: type[Task]) -> type[Task]:
    """Make a kind of data known to readers, forms, command line and workers; returns it.

    The kind that came last is asked first whether an array is its own. Raises ConfigError for a
    name that is taken by another one, or for one that is no name.
    """
    name = task.name
    require(bool(re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)), "kind of data", "lower case", name)
    known = TASKS.get(name)
    ours = (task.__module__, task.__qualname__)
    same = known is None or (type(known).__module__, type(known).__qualname__) == ours
    require(same, "kind of data", "a name that is not taken", name)
    TASKS[name] = task()
    return task


def find(name: str) -> Task:
    """Return the kind of data called ``name``; raises ConfigError with all names otherwise."""
    require(name in TASKS, "kind of data", f"one of {', '.join(TASKS)}", name)
    return TASKS[name]


def task_of_shape(shape: tuple[int, ...]) -> Task:
    """Return the kind of data that an array of examples of ``shape`` is taken for."""
    return next(task for task in reversed(TASKS.values()) if task.takes(shape))


for kind in (Images, Table):
    register(kind)
