"""What is known by name: methods, plans, kinds of data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from kdcore.errors import require

Kind = TypeVar("Kind")


class Registry(dict[str, type[Kind]]):
    """Classes of one sort by their ``name``, in the order in which they were registered.

    Args:
        noun: what one of them is called in a refusal.
        pattern: what its name must match.
        elsewhere: where an unknown one may come from, as the end of a rule.
    """

    def __init__(self, noun: str, pattern: str, elsewhere: str = "") -> None:
        super().__init__()
        self.noun, self.pattern, self.elsewhere = noun, pattern, elsewhere

    def register(self, kind: type[Kind]) -> type[Kind]:
        """Make a class known to forms, command line, sweeps and workers; returns it.

        Raises ConfigError for a name that is taken by another one, or for one that is no name.
        """
        name, field = str(getattr(kind, "name", "")), f"{self.noun} name"
        require(bool(re.fullmatch(self.pattern, name)), field, "lower case", name)
        known = self.get(name, kind)
        same = (known.__module__, known.__qualname__) == (kind.__module__, kind.__qualname__)
        require(same, field, "one that is not taken", name)
        self[name] = kind
        return kind

    def find(self, name: object) -> type[Kind]:
        """Return the class called ``name``; raises ConfigError with all names otherwise."""
        known = isinstance(name, str) and name in self
        require(known, self.noun, f"one of {', '.join(self)}{self.elsewhere}", name)
        return self[str(name)]


Value = TypeVar("Value")


class Late(Mapping[str, Value]):
    """Values by name, each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Value]]) -> None:
        self._makers, self._made = dict(makers), dict[str, Value]()

    def __getitem__(self, name: str) -> Value:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
