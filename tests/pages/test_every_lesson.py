"""Each lesson in a real Chromium from its question to its last answer, wide and narrow, light and
dark; what it needs is trained once, by its own button.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, ViewportSize, expect

from kdcore.cli.program import main
from kdcore.lessons import LESSONS, Asked, Lesson
from kdcore.storage import lesson_progress
from kdcore.storage.store import Store
from pages.lessons.state import STEPS
from tests.support.browser import Complaints, wait_for_app

IS_DARK = r"""(() => {
    const app = document.querySelector(".stApp");
    const [red, green, blue] = getComputedStyle(app).backgroundColor.match(/\d+/g).map(Number);
    return red + green + blue < 3 * 128;
})()"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{tmp_path_factory.mktemp('every-lesson')}/store.db")


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_from_start_to_end_in_light_and_dark(
    chromium: Browser, complaints: Complaints, url: str, store: Store, name: str, width: int
) -> None:
    context = chromium.new_context(viewport=ViewportSize(width=width, height=900))
    page = context.new_page()
    complaints.listen(page)
    lesson_progress.forget(store, name)
    _walk(page, url, store, LESSONS[name])
    context.close()
    assert complaints.messages == []


def _walk(page: Page, url: str, store: Store, lesson: Lesson) -> None:
    page.goto(f"{url}/lessons?lesson={lesson.name}")
    wait_for_app(page)
    expect(page.get_by_role("heading", name=lesson.title)).to_be_visible()
    _looks_right(page)
    _next(page, "predict")
    _answer(page, lesson.predict, len(lesson.points))
    page.get_by_role("button", name="This is my prediction").click()
    expect(page).to_have_url(re.compile("step=(run|see)"))
    if "step=run" in page.url:
        page.locator(".st-key-lessons_run_False button").click()
        trained = page.get_by_text("Trained. Its numbers are at See.")
        expect(trained).to_be_visible(timeout=900_000)
        _next(page, "see")
    _see(page, store, lesson)
    _next(page, "why")
    _next(page, "break")
    for option in lesson.change.options:
        expect(page.get_by_role("radio", name=option.title, exact=True)).to_be_visible()
    _next(page, "check")
    _answer(page, lesson.check, 1)
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_role("button", name="Answer anew")).to_be_visible()
    answer = lesson_progress.progress_in(store, lesson.name).answer
    assert answer is not None
    _looks_right(page)


def _next(page: Page, step: str) -> None:
    # By its title: the button of the step before stays until this one is drawn, in the same place.
    page.locator(".st-key-lessons_after").get_by_role("button", name=STEPS[step]).click()
    expect(page).to_have_url(re.compile(f"step={step}"))
    wait_for_app(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    _looks_right(page)


def _looks_right(page: Page) -> None:
    """The page is no wider than its window, in the colours that the visitor asks for and in those
    that he changes to.
    """
    assert page.viewport_size is not None
    assert _width(page) <= page.viewport_size["width"]
    was_dark = page.evaluate(IS_DARK)
    page.emulate_media(color_scheme="light" if was_dark else "dark")
    page.wait_for_function(f"{IS_DARK} !== {str(was_dark).lower()}")
    wait_for_app(page)
    assert _width(page) <= page.viewport_size["width"]


def _width(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def _answer(page: Page, asked: Asked, points: int) -> None:
    """Answer as somebody would who does not know."""
    if asked.answer == "choice":
        page.get_by_test_id("stButtonGroup").get_by_text(asked.options[0], exact=True).click()
    elif asked.answer == "curve":
        fields = page.locator(".pad input")
        expect(fields).to_have_count(points)
        for number in range(points):
            fields.nth(number).fill(str(asked.low))
            fields.nth(number).press("Enter")
    else:
        page.get_by_role("slider").first.focus()
        page.keyboard.press("ArrowRight")


def _see(page: Page, store: Store, lesson: Lesson) -> None:
    """The verdict and the numbers on the page are the command line's for the same prediction."""
    given = lesson_progress.progress_in(store, lesson.name).prediction
    assert given is not None
    prediction = ",".join(map(str, given)) if isinstance(given, list) else str(given)
    told = _by_command(store, lesson.name, "--predict", prediction)
    expect(page.get_by_text(str(told["verdict"]))).to_be_visible()
    numbers = told["measured"]["values"]
    described = page.get_by_role("img", name=re.compile(re.escape(told["measured"]["about"])))
    spoken = described.first.get_attribute("aria-label") or ""
    found = [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?", spoken.partition(":")[2])]
    for number in numbers:
        assert any(number == pytest.approx(each, abs=0.06) for each in found), (number, spoken)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def _by_command(store: Store, *arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["--store", store.url, "lesson", "run", *arguments, "--json"])
    assert done.exit_code == 0, done.output[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))
