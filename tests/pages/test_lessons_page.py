"""Lessons in a real Chromium: from the question to the last answer, with real training runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from kdcore.lessons import find_lesson, find_runs
from kdcore.storage import lesson_progress
from kdcore.storage.store import Store
from tests.support.browser import REPOSITORY, Complaints, wait_for_app

COMMAND = [sys.executable, "-m", "kdcore"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An empty store: the tests below train in it what their lessons need, once."""
    return Store(f"sqlite:///{tmp_path_factory.mktemp('lessons')}/store.db")


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


def by_command(store: Store, *arguments: str) -> dict[str, object]:
    """What the command line says of a lesson, trained or not."""
    done = subprocess.run(
        [*COMMAND, "--store", store.url, "lesson", "run", *arguments, "--json"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_new_store_shows_lessons_first_and_three_ways_to_begin(page: Page, url: str) -> None:
    page.goto(url)
    wait_for_app(page)
    links = page.get_by_test_id("stTopNavLink")
    expect(links.first).to_contain_text("Lessons")
    for door in ("Learn it", "Try it on digits", "Use my data"):
        expect(page.get_by_role("heading", name=re.compile(door))).to_be_visible()
    page.get_by_role("button", name="Open the lessons").click()
    expect(page.get_by_role("heading", name="Ten lessons in distillation")).to_be_visible()
    expect(page.get_by_role("button", name="Open")).to_have_count(10)


def test_a_lesson_from_its_question_to_its_last_answer(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    page.goto(f"{url}/lessons?lesson=temperature")
    wait_for_app(page)
    expect(page.get_by_role("heading", name="Temperature: from sure")).to_be_visible()
    page.get_by_role("button", name="Predict", exact=True).last.click()
    kept = page.get_by_role("button", name="This is my prediction")
    expect(kept).to_be_disabled()
    _draw(page, [90, 80, 60, 40, 20, 10])
    expect(kept).to_be_enabled()
    kept.click()
    expect(page).to_have_url(re.compile("step=run"))
    expect(page.get_by_text("1 experiment to train")).to_be_visible()
    page.locator(".st-key-lessons_run_False button").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.get_by_text("Trained. Its numbers are at See.")).to_be_visible(timeout=300_000)
    page.get_by_role("button", name="See", exact=True).last.click()
    expect(page.get_by_text("your curve is")).to_be_visible()
    _see_equals_the_command_line(page, store)
    page.get_by_test_id("stButtonGroup").get_by_text("Check", exact=True).click()
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_text(re.compile("you said .*, the runs say"))).to_be_visible()
    page.goto(f"{url}/lessons")
    expect(page.locator(".stMarkdownBadge", has_text="done")).to_have_count(1)
    assert complaints.messages == []


def _draw(page: Page, shares: list[float]) -> None:
    """Draw a curve across the pad with the pointer, at so many percent of its height."""
    circles = page.locator(".pad circle")
    expect(circles).to_have_count(len(shares))
    pad = page.locator(".pad svg").bounding_box()
    boxes = [circles.nth(number).bounding_box() for number in range(len(shares))]
    assert pad is not None
    for number, (box, share) in enumerate(zip(boxes, shares, strict=True)):
        assert box is not None
        x, y = box["x"] + box["width"] / 2, pad["y"] + 14 + (300 - 48) * (1 - share / 100)
        page.mouse.move(x, y)
        if number == 0:
            page.mouse.down()
    page.mouse.up()
    for number, share in enumerate(shares):
        value = circles.nth(number).get_attribute("aria-valuenow")
        assert float(value or "nan") == pytest.approx(share, abs=2)


def _see_equals_the_command_line(page: Page, store: Store) -> None:
    """The verdict on the page is the command line's for the same prediction."""
    prediction = lesson_progress.progress_in(store, "temperature").prediction
    told = by_command(store, "temperature", "--predict", ",".join(map(str, prediction)))
    expect(page.get_by_text(str(told["verdict"]))).to_be_visible()
    measured = told["measured"]
    assert isinstance(measured, dict)
    chart = page.get_by_role("img", name=re.compile("mean of all examples"))
    for title, value in zip(measured["titles"], measured["values"], strict=True):
        expect(chart).to_have_accessible_name(re.compile(re.escape(f"{title} {value:.1f} %")))


def test_a_prediction_by_keyboard_alone_and_a_kind_word_for_a_wrong_one(
    page: Page, url: str, store: Store
) -> None:
    lesson_progress.forget(store, "temperature")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}/lessons?lesson=temperature&step=predict")
    wait_for_app(page)
    circles = page.locator(".pad circle")
    circles.first.focus()
    for _ in range(6):
        page.keyboard.press("PageUp")
        page.keyboard.press("ArrowRight")
    fields = page.locator(".pad input")
    expect(fields.first).to_have_value("60")
    fields.last.fill("100")
    fields.last.press("Enter")
    expect(circles.last).to_have_attribute("aria-valuenow", "100")
    button = page.get_by_role("button", name="This is my prediction")
    expect(button).to_be_enabled()
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("A useful surprise|Close"))).to_be_visible(timeout=180_000)
    assert lesson_progress.progress_in(store, "temperature").prediction[-1] == 100
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_refresh_in_mid_run_goes_on_watching_and_stop_keeps_what_is_trained(
    page: Page, url: str, store: Store
) -> None:
    page.goto(f"{url}/lessons?lesson=one-run&step=run")
    wait_for_app(page)
    run, stop = (
        page.locator(".st-key-lessons_run_False button"),
        page.get_by_role("button", name="Stop", exact=True),
    )
    run.click()
    expect(stop).to_be_visible()
    lesson = find_lesson("one-run")
    while not any(each and each.links for each in find_runs(store, lesson).experiments):
        page.wait_for_timeout(200)
    page.reload()
    wait_for_app(page)
    expect(stop).to_be_visible()
    expect(
        page.get_by_role("img", name=re.compile("accuracy", re.IGNORECASE)).first
    ).to_be_visible()
    stop.click()
    expect(page.get_by_text("Stopped: 0 of 1 are trained. Go on from there.")).to_be_visible(
        timeout=60_000
    )
    (stopped,) = find_runs(store, lesson).experiments
    assert stopped is not None
    trained = len(stopped.links)
    run.click()
    expect(stop).to_be_visible()
    (resumed,) = find_runs(store, lesson).experiments
    assert resumed is not None
    assert resumed.experiment.id == stopped.experiment.id
    assert len(resumed.links) >= trained > 0
    stop.click()
    expect(run).to_be_visible(timeout=60_000)


def test_a_cold_link_to_a_step_and_an_address_that_cannot_be(page: Page, url: str) -> None:
    page.goto(f"{url}/lessons?lesson=unseen-class&step=see")
    wait_for_app(page)
    expect(page.get_by_role("heading", name="A class that it never saw")).to_be_visible()
    expect(page.get_by_text("not trained yet")).to_be_visible()
    expect(page.get_by_role("button", name="Run", exact=True).first).to_be_visible()
    page.goto(f"{url}/lessons?lesson=alchemy")
    expect(page.get_by_text("lesson must be one of")).to_be_visible()
    page.goto(f"{url}/lessons?lesson=alpha&step=<b>")
    expect(page.get_by_text("step must be one of")).to_be_visible()
    expect(page.get_by_role("heading", name="Alpha: labels or teacher")).to_be_visible()
