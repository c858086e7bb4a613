"""A browser component that keeps a page's state in the address bar, so that the address can be
shared.

``st.query_params`` adds an entry to the browser's history at every change: after a walk along a
slider, Back would walk it again. This replaces the present entry instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from kdcore.errors import ConfigError, Problem, require

MOST_REMEMBERED = 200  # addresses that a page wrote; the browser may report one a little late

Reader = Callable[[str], Any]
# Parameter of the address -> attribute of the state, and what reads its text or raises ConfigError.
Readers = Mapping[str, tuple[str, Reader]]

_JS = """
export default function ({ data }) {
  const address = new URL(window.location.href);
  if (!address.pathname.replace(/\\/$/, '').endsWith(data.page)) return;  // the visitor has left the page
  const kept = [...address.searchParams].filter(([name]) => name.startsWith('embed'));  // Streamlit's own
  address.search = new URLSearchParams([...kept, ...Object.entries(data.parameters)]).toString();
  if (address.href !== window.location.href) window.history.replaceState(window.history.state, '', address);
}
"""

_component = st.components.v2.component("kd_address", html="<span></span>", js=_JS)


def show_in_address(parameters: Mapping[str, str], *, page: str, key: str) -> None:
    """Make ``parameters`` the query of the address bar.

    ``page`` is the path of the page, such as "/temperature".
    """
    _component(key=key, data={"parameters": dict(parameters), "page": page}, height=1)


@dataclass(kw_only=True)
class AddressState:
    """What a page is set to, as its address says it.

    ``problems`` are what the last address could not mean.
    """

    problems: list[Problem] = field(default_factory=list)
    _seen: list[dict[str, str]] = field(default_factory=list)

    def take_over(self, parameters: Mapping[str, str], readers: Readers) -> bool:
        """Set what an address says that this page has not written itself.

        Returns whether it was such an address.
        """
        given = dict(parameters)
        if not given or given in self._seen:
            return False
        self._seen, self.problems = [given], []
        for name, text in given.items():
            if name in readers:
                attribute, read = readers[name]
                try:
                    setattr(self, attribute, read(text))
                except ConfigError as error:
                    self.problems += error.problems
        return True

    def as_parameters(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return ``given`` as the address's text without what is None, and remember that this page
        wrote it.
        """
        parameters = {name: str(value) for name, value in given.items() if value is not None}
        if parameters not in self._seen:
            self._seen = [*self._seen[-MOST_REMEMBERED:], parameters]
        return parameters


def read_number(name: str, allowed: Callable[[float], bool], rule: str) -> Reader:
    """Return a reader of numbers for which ``allowed`` holds; ``rule`` says so in words."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        require(allowed(value), name, rule, text)
        return value

    return read


def read_index(name: str) -> Reader:
    """Return a reader of whole numbers from 0, of at most nine digits."""

    def read(text: str) -> int:
        require(
            text.isascii() and text.isdigit() and len(text) < 10,
            name,
            "a whole number from 0",
            text,
        )
        return int(text)

    return read


def read_choice(name: str, choices: Mapping[str, Any] | Iterable[str]) -> Reader:
    """Return a reader of one of ``choices``: the value behind the name, or the name itself."""
    values = choices if isinstance(choices, Mapping) else {choice: choice for choice in choices}

    def read(text: str) -> Any:
        require(text in values, name, f"one of {', '.join(values)}", text)
        return values[text]

    return read
