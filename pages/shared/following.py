"""Parts of a page that follow what goes on in the store, no faster than server and browser can.

``st.fragment(run_every=...)`` ticks by the clock: also in a tab that nobody sees, and also while
the last tick is still being drawn. Here the browser asks for the next poll only when it has got the
last, rarely while its tab is hidden, and at once when that is shown again; and how long it waits
may change from look to look.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec

import streamlit as st

Arguments = ParamSpec("Arguments")

SECONDS_WHEN_HIDDEN = 30.0
# A poll that brought no answer (the server was restarted, or had no time) is asked for again.
SECONDS_UNTIL_ASKED_AGAIN = 10.0

_JS = """
const followers = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  const follower = followers.get(parentElement) ?? {};
  if (follower.drawn_at > data.drawn_at) return;
  follower.drawn_at = data.drawn_at;
  followers.set(parentElement, follower);
  const ask = () => {
    clearTimeout(follower.timer);
    follower.asked = true;
    follower.timer = setTimeout(ask, data.asked_again);
    setTriggerValue('asked', performance.now());
  };
  const wait = () => {
    clearTimeout(follower.timer);
    follower.timer = setTimeout(ask, document.hidden ? data.hidden : data.shown);
  };
  const wake = () => { if (!document.hidden && !follower.asked) ask(); };
  document.removeEventListener('visibilitychange', follower.wake);
  document.addEventListener('visibilitychange', wake);
  follower.wake = wake;
  follower.asked = false;
  if (data.title) document.title = data.title;
  wait();
  // Streamlit also says so of a drawing that the next one overtook while it was loaded: what follows
  // then is the next one's, and goes on.
  return () => setTimeout(() => {
    if (parentElement.isConnected) return;
    clearTimeout(follower.timer);
    document.removeEventListener('visibilitychange', follower.wake);
  });
}
"""

_component = st.components.v2.component("kd_follower", html="<span></span>", js=_JS)


def follow(
    part: Callable[Arguments, None],
    seconds: Callable[[], float | None] | float | None,
    *,
    key: str,
    title: Callable[[], str] | None = None,
) -> Callable[Arguments, None]:
    """Return ``part`` as a fragment of the page that is drawn again so many seconds after it was
    drawn, and so on.

    Args:
        part: draws something.
        seconds: how long to wait, or what tells it before and after each drawing; None draws once.
            Where a click inside the part starts something, give what tells it: a number was chosen
            before the click, and would not begin to follow. What ends while it is drawn is drawn
            once more: the drawing shows it as it was before.
        key: unique in the app.
        title: what the browser's tab says from then on, told after each drawing.
    """

    def drawn(*arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        before = _told(seconds)
        try:
            part(*arguments, **named)
        finally:  # whatever happened to this drawing, the next may succeed
            after = _told(seconds)
            pause = before if after is None else after
            if pause is not None:
                _ask_again(pause, key, title() if title is not None else "")

    return st.fragment(drawn)


def _told(seconds: Callable[[], float | None] | float | None) -> float | None:
    return seconds() if callable(seconds) else seconds


def _ask_again(seconds: float, key: str, title: str) -> None:
    pauses = {
        "shown": seconds,
        "hidden": max(seconds, SECONDS_WHEN_HIDDEN),
        "asked_again": SECONDS_UNTIL_ASKED_AGAIN,
    }
    # Another moment each time, so that the browser hears of every drawing.
    data = {"drawn_at": time.time(), "title": title} | {
        name: round(1000 * pause) for name, pause in pauses.items()
    }
    _component(key=key, data=data, height=1, on_asked_change=lambda: None)
