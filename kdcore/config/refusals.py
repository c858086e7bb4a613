"""What pydantic refuses, in the one form: a rule, and the value received."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from kdcore.errors import Problem

_RULES = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
    "finite_number": "a finite number",
    "model_type": "a set of named values",
    "rule": "{rule}",
}


def problem_of(detail: Any, known: Iterable[str]) -> Problem:
    """Translate one pydantic error into the one form; ``known`` are the settings that may have been
    meant.
    """
    field = str(detail["loc"][0]) if detail["loc"] else "config"
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        nearest = difflib.get_close_matches(field, list(known), n=1)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        return Problem("setting", f"one of the known settings{hint}", field)
    if kind in _RULES:
        numbers = {
            name: f"{value:g}" if isinstance(value, float) else value
            for name, value in context.items()
        }
        rule = _RULES[kind].format(**numbers)
    elif kind.startswith("int"):
        rule = "a whole number"
    elif kind.startswith("float"):
        rule = "a number"
    elif kind.startswith("string"):
        rule = "text"
    else:
        rule = detail["msg"]
    return Problem(field, rule, detail["input"])
