"""A browser component that keeps a page's state in the address bar, so that the address can be
shared.

``st.query_params`` adds an entry to the browser's history at every change: after a walk along a
slider, Back would walk it again. This replaces the present entry instead, and adds one where
another section of the page was opened.
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
const back = (window.kdLabBack ??= { turns: {}, sections: {}, drawn: {} });
const SOON = 10;  // tenths of a second
const LATE = 60;  // a server that is only busy answers before

function isOn(page) {
  return window.location.pathname.replace(/\\/$/, '').endsWith(page);
}

function openPage() {
  return Object.keys(back.sections).find(isOn);
}

function stopFollowing() {
  clearInterval(back.waiting);
  back.waiting = undefined;
}

function sectionOf(title) {
  return Object.entries(back.sections[openPage()] ?? {}).find((section) => section[1] === title)?.[0];
}

function isThrough() {
  return document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === 'notRunning';
}

// What is told while the page is drawn anew can be lost. Once that is done, the section is opened, as by a click, until it
// stays open and the page was drawn with it.
function follow(name, patience) {
  stopFollowing();
  const page = openPage();
  const title = back.sections[page]?.[name];
  if (title === undefined) return;
  let left = 300;
  let agreed = 0;
  let unheard = 0;
  const press = (tab) => {
    unheard = 0;
    back.following = true;
    tab.click();
  };
  back.waiting = setInterval(() => {
    if (--left < 0 || !isOn(page)) stopFollowing();
    else if (isThrough()) {
      const tabs = [...document.querySelectorAll('[role="tab"]')];
      const tab = tabs.find((each) => each.textContent.trim() === title);
      if (!tab) return;
      const open = tab.getAttribute('aria-selected') === 'true';
      agreed = open && back.drawn[page] === name ? agreed + 1 : 0;
      if (agreed > SOON) stopFollowing();
      if (agreed > 0) return;
      if (!open) press(tab);
      // The click was lost. Another one on an open tab says nothing, so its neighbour is opened first.
      else if (++unheard > patience) press(tabs.find((each) => each !== tab));
    } else agreed = unheard = 0;
  }, 100);
}

// The hand leads: what it opens is followed in place of anything before, and is a step that Back takes back.
function byHand(event) {
  if (!event.isTrusted) return;
  stopFollowing();
  back.following = false;
  back.opening = undefined;
  if (event.type === 'click') followTab(event.target.closest?.('[role="tab"]'), LATE);
}

function followTab(tab, patience) {
  const name = sectionOf(tab?.textContent.trim());
  if (name === undefined || name === back.drawn[openPage()]) return;
  back.opening = name;
  follow(name, patience);
}

// A section may have been opened before there was anybody here to see it.
function look() {
  if (back.waiting === undefined && isThrough()) followTab(document.querySelector('[role="tab"][aria-selected="true"]'), SOON);
}

if (!back.listening) {
  window.addEventListener('popstate', () => {
    back.opening = undefined;
    follow(new URL(window.location.href).searchParams.get('section') ?? '', SOON);
  });
  window.addEventListener('click', byHand, true);
  window.addEventListener('keydown', byHand, true);
}
back.listening = true;

export default function ({ data }) {
  const address = new URL(window.location.href);
  if (!isOn(data.page)) return;  // the visitor has left the page
  const section = data.parameters.section ?? '';
  const turned = data.turns > (back.turns[data.page] ?? data.turns);  // a section was opened since the last time
  const passing = back.following && back.opening !== undefined && section !== back.opening;  // the neighbour of a lost click
  const adds = turned && (!back.following || section === back.opening);
  back.turns[data.page] = data.turns;
  back.sections[data.page] = data.sections;
  back.drawn[data.page] = section;
  clearTimeout(back.looking);
  back.looking = setTimeout(look, 100 * LATE);
  if (passing) return;
  if (turned) {
    back.following = false;
    back.opening = undefined;
  }
  const kept = [...address.searchParams].filter(([name]) => name.startsWith('embed'));  // Streamlit's own
  address.search = new URLSearchParams([...kept, ...Object.entries(data.parameters)]).toString();
  if (address.href === window.location.href) return;
  window.history[adds ? 'pushState' : 'replaceState'](window.history.state, '', address);
}
"""

_component = st.components.v2.component("kd_address", html="<span></span>", js=_JS)


@dataclass(kw_only=True)
class AddressState:
    """What a page is set to, as its address says it.

    ``problems`` are what the last address could not mean; ``turns`` counts the sections that were
    opened, each of which Back goes back to.
    """

    problems: list[Problem] = field(default_factory=list)
    turns: int = 0
    section: str = ""
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

    def open(self, section: str) -> None:
        """Show another section of the page."""
        self.section, self.turns = section, self.turns + 1

    def as_parameters(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return ``given`` as the address's text without what is None, and remember that this page
        wrote it.
        """
        parameters = {name: str(value) for name, value in given.items() if value is not None}
        if parameters not in self._seen:
            self._seen = [*self._seen[-MOST_REMEMBERED:], parameters]
        return parameters


def show_in_address(
    state: AddressState,
    parameters: Mapping[str, str],
    sections: Mapping[str, str],
    *,
    page: str,
    key: str,
) -> None:
    """Make ``parameters`` the query of the address bar.

    ``sections`` are the titles of the page's sections by their names in the address, the first one
    without a name there; ``page`` is its path, such as "/temperature".
    """
    names = {name if number else "": title for number, (name, title) in enumerate(sections.items())}
    about = {
        "parameters": dict(parameters),
        "page": page,
        "turns": state.turns,
        "sections": names,
    }
    _component(key=key, data=about, height=1)


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
