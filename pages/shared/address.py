"""A browser component that keeps a page's state in the address bar, so that the address can be
shared.

``st.query_params`` adds an entry to the browser's history at every change: after a walk along a
slider, Back would walk it again. This replaces the present entry instead, but for another section:
Back steps through the sections of a page that were opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import streamlit as st

from kdcore.errors import ConfigError, Problem, require

MOST_REMEMBERED = 200  # addresses that a page wrote; the browser may report one a little late

Reader = Callable[[str], Any]
# Parameter of the address -> attribute of the state, and what reads its text or raises ConfigError.
Readers = Mapping[str, tuple[str, Reader]]

_JS = """
let wentBack;  // the query that Back has led to, until the page is set to it, and since when

export default function ({ data, setTriggerValue }) {
  const here = () => new URL(window.location.href);
  const onPage = () => here().pathname.replace(/\\/$/, '').endsWith(data.page);  // else the visitor has left
  const back = () => {
    if (!onPage()) return;
    wentBack = { query: here().search, at: Date.now() };
    setTriggerValue('back', Object.fromEntries(here().searchParams));
  };
  window.addEventListener('popstate', back);
  const address = here();
  const kept = [...address.searchParams].filter(([name]) => name.startsWith('embed'));  // Streamlit's own
  address.search = new URLSearchParams([...kept, ...Object.entries(data.parameters)]).toString();
  // What the page was before Back is not written over where Back has led.
  if (wentBack && (wentBack.query === address.search || Date.now() - wentBack.at > 5000)) wentBack = undefined;
  if (onPage() && !wentBack && address.href !== window.location.href) {
    const section = (url) => url.searchParams.get('section');
    const another = here().search !== '' && section(address) !== section(here());
    window.history[another ? 'pushState' : 'replaceState'](window.history.state, '', address);
  }
  return () => window.removeEventListener('popstate', back);
}
"""

_component = st.components.v2.component("kd_address", html="<span></span>", js=_JS)


class WrittenState(Protocol):
    """The state of a page that has an address."""

    def read(self, parameters: Mapping[str, str]) -> None:
        """Apply what an address says."""
        ...

    def write(self) -> dict[str, str]:
        """Return the address's parameters."""
        ...

    def forget(self) -> None:
        """Take the next address for a new one."""
        ...


@dataclass(kw_only=True)
class AddressState:
    """What a page is set to, as its address says it.

    ``problems`` are what the last address could not mean.
    """

    problems: list[Problem] = field(default_factory=list)
    _seen: list[dict[str, str]] = field(default_factory=list)
    _anew: bool = False

    def take_over(self, parameters: Mapping[str, str], readers: Readers) -> bool:
        """Set what an address says that this page has not written itself.

        Returns whether it was such an address.
        """
        given = dict(parameters)
        if not given or given in self._seen:
            return False
        self._seen, self.problems = [given], []
        if self._anew:
            defaults = {field.name: field.default for field in fields(self)}
            for attribute, _ in readers.values():
                setattr(self, attribute, defaults[attribute])
            self._anew = False
        for name, text in given.items():
            if name in readers:
                attribute, read = readers[name]
                try:
                    setattr(self, attribute, read(text))
                except ConfigError as error:
                    self.problems += error.problems
        return True

    def forget(self) -> None:
        """Take the next address for one that this page has not written, and what it does not say
        for the default.
        """
        self._seen, self._anew = [], True

    def as_parameters(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return ``given`` as the address's text without what is None, and remember that this page
        wrote it.
        """
        parameters = {name: str(value) for name, value in given.items() if value is not None}
        if parameters not in self._seen:
            self._seen = [*self._seen[-MOST_REMEMBERED:], parameters]
        return parameters


def show_in_address(state: WrittenState, *, page: str, key: str) -> None:
    """Make what a page is set to the query of the address bar, and take it back from there when the
    visitor goes back.

    ``page`` is the path of the page, such as "/temperature".
    """

    def back() -> None:
        led_to = st.session_state[key].get("back")
        if led_to is not None:
            state.forget()
            state.read(led_to)

    data = {"parameters": state.write(), "page": page}
    _component(key=key, data=data, height=1, on_back_change=back)


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
