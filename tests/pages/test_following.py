"""Parts that follow, in a real browser: their pace, hidden tabs, drawings that go wrong."""

from __future__ import annotations

import ast
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

import pages
from pages.shared import following
from tests.support.browser import Server

HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def drawings(page: Page) -> int:
    return int((page.get_by_text("drawing ").inner_text()).split()[1].rstrip(","))


def after(page: Page, number: int) -> None:
    """Wait for a later drawing than ``number``."""
    page.wait_for_function(
        "number => { const said = /drawing (\\d+)/.exec(document.body.innerText); return said && +said[1] > number; }",
        arg=number,
    )


def test_a_part_is_drawn_again_at_its_own_pace_while_somebody_looks(chromium: Browser) -> None:
    server = Server("tests/support/apps/following.py")
    server.wait_until_healthy()
    page = chromium.new_page()
    page.goto(server.url)
    expect(page.get_by_text("once")).to_be_visible()
    # What ends while it is drawn as going on is drawn once more.
    expect(page.get_by_text("it has ended")).to_be_visible()
    after(page, 5)  # the fifth drawing raised an error, and the next came nevertheless

    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    expect(
        page.get_by_text("value 1")
    ).to_be_visible()  # a visitor's own change is drawn like any other
    after(page, 10)

    page.wait_for_timeout(300)
    before = drawings(page)
    page.wait_for_timeout(3000)
    assert 1 <= drawings(page) - before <= 2  # slower now, as the part asked for

    page.evaluate(HIDE, True)
    page.wait_for_timeout(300)
    before = drawings(page)
    page.wait_for_timeout(4000)
    assert drawings(page) <= before + 1  # one may have been on its way
    shown = drawings(page)
    page.evaluate(HIDE, False)
    after(page, shown)
    page.close()
    log = server.stop()
    assert "the fifth drawing went wrong" in log


OVERTAKEN = """async (code) => {
  const address = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
  const { default: draw } = await import(address);
  const wait = () => new Promise((resolve) => setTimeout(resolve, 300));
  const part = document.body.appendChild(document.createElement('div'));
  const asked = [];
  const drawn = (drawn_at) => draw({
    data: { shown: 50, hidden: 50, asked_again: 10000, title: '', drawn_at },
    parentElement: part,
    setTriggerValue: () => asked.push(drawn_at),
  });
  const ends = [drawn(1), drawn(2)];
  ends[0]?.();  // the first was overtaken while it was loaded
  await wait();
  ends.push(drawn(3));
  drawn(2);  // and this one comes late
  await wait();
  ends.push(drawn(4));
  part.remove();
  ends.forEach((end) => end?.());
  await wait();
  return asked;
}"""


def test_a_drawing_that_the_next_one_overtakes_does_not_end_the_following(page: Page) -> None:
    assert page.evaluate(OVERTAKEN, following._JS) == [2, 3]


def test_no_page_ticks_by_the_clock() -> None:
    # A part with st.fragment(run_every=None) never begins to follow what a click in it started.
    found = [
        f"{path}:{node.value.lineno}"
        for path in Path(pages.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "run_every"
    ]
    assert found == []
