"""Kinds of data: how raw examples become what a model sees, and how an example is shown."""

from __future__ import annotations

from kdcore.tasks.base import Task
from kdcore.tasks.registry import TASKS, find, register, task_of_shape

__all__ = ["TASKS", "Task", "find", "register", "task_of_shape"]
