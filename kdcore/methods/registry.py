"""The methods that are known, by name."""

from __future__ import annotations

import re

from kdcore.errors import require
from kdcore.methods.base import Method

METHODS: dict[str, type[Method]] = {}


def register(method: type[Method]) -> type[Method]:
    """Make a method known to forms, command line, sweeps and workers; returns it.

    Raises ConfigError for a name that is taken by another one, or for one that is no name.
    """
    name = method.name
    require(bool(re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)), "method name", "lower case", name)
    known = METHODS.get(name)
    same = known is None or (known.__module__, known.__qualname__) == (
        method.__module__,
        method.__qualname__,
    )
    require(same, "method name", "one that is not taken", name)
    METHODS[name] = method
    return method


def find(name: object) -> type[Method]:
    """Return the method called ``name``; raises ConfigError with all names for an unknown one."""
    known = isinstance(name, str) and name in METHODS
    require(known, "method", f"one of {', '.join(METHODS)}", name)
    return METHODS[str(name)]
