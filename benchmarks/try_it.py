"""How fast the Try it page answers: a digit is drawn in a real Chromium, or a phrase typed, and
every answer that comes on screen is timed.

    .venv/bin/python -m benchmarks.try_it --seconds 10
    .venv/bin/python -m benchmarks.try_it --seconds 10 --texts

Trains a small experiment on the digits, or on phrases, in a store of its own.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from playwright.sync_api import Page, sync_playwright

import kdcore
from kdcore.engine.jobs import terminate_group
from kdcore.engine.local import LocalEngine
from kdcore.engine.predictions import keep_warm, predict, ready, trained_models
from kdcore.storage.store import Store
from tests.support.browser import QUIET, Server, find_browser, wait_for_app

OF_TEXTS: dict[str, Any] = {
    "dataset": "languages",
    "training_examples": 2000,
    "labels": 500,
    "teacher": "transformer-2-48",
    "teacher_epochs": 4,
    "student": "transformer-1-32",
    "epochs": 4,
    "seeds": 1,
}
# In the page: when what the models say changes, and when the pen was moved last.
WATCH = """
() => {
  window.kdAnswers = [];
  for (const kind of ['pointermove', 'keydown']) {
    document.addEventListener(kind, () => { window.kdMoved = performance.now(); }, true);
  }
  let before = '';
  new MutationObserver(() => {
    const now = [...document.querySelectorAll('.kd-chart-card')].map((node) => node.textContent).join('|');
    if (now && now !== before) { before = now; window.kdAnswers.push(performance.now()); }
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}
"""


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="How long to draw or type.")
@click.option("--texts", is_flag=True, help="Type phrases in place of drawing digits.")
def main(seconds: float, texts: bool) -> None:
    """Measure answers a second and milliseconds from question to answer; prints one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'store.db'}")
        kdcore.run(kdcore.ExperimentConfig(**(OF_TEXTS if texts else {"seeds": 1})), store=store)
        asked = {} if texts else {"through_the_store": _round_trips(store)}
        try:
            result = {**asked, **_in_the_browser(store, seconds, _type if texts else _draw)}
        finally:
            for worker in store.workers():
                terminate_group(worker.pid)
    print(json.dumps(result))


def _round_trips(store: Store, questions: int = 200) -> dict[str, float]:
    """Ask from Python, without a browser: milliseconds from question to answer of three models."""
    engine = LocalEngine(store)
    runs = [run.id for run in trained_models(store, store.experiments(limit=1)[0][0].id).values()]
    while not ready(keep_warm(store, engine)):
        time.sleep(0.1)
    generator = np.random.default_rng(0)
    took = []
    for _ in range(questions):
        began = time.perf_counter()
        predict(store, engine, runs, generator.random((1, 8, 8, 1), np.float32))
        took.append(1000 * (time.perf_counter() - began))
    return {
        "median_milliseconds": statistics.median(took),
        "p95_milliseconds": float(np.quantile(took, 0.95)),
    }


def _in_the_browser(
    store: Store, seconds: float, ask: Callable[[Page, float], None]
) -> dict[str, float]:
    """Ask without a pause, and count the different answers that come on screen."""
    server = Server("dashboard.py", {"KD_STORE": store.url})
    server.wait_until_healthy()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=list(QUIET))
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.goto(f"{server.url}/try_it")
            wait_for_app(page)
            ask(page, seconds)
            page.wait_for_timeout(500)
            answers, moved = page.evaluate("[window.kdAnswers, window.kdMoved]")
            browser.close()
    finally:
        server.stop()
    gaps = np.diff(answers)
    return {
        "answers_on_screen": len(answers),
        "answers_a_second": 1000 * (len(answers) - 1) / (answers[-1] - answers[0]),
        "median_gap_milliseconds": float(np.median(gaps)),
        "last_answer_after_the_pen_milliseconds": answers[-1] - moved,
    }


def _draw(page: Page, seconds: float) -> None:
    page.locator("canvas").wait_for()
    page.evaluate(WATCH)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    began, angle = time.monotonic(), 0.0
    while time.monotonic() - began < seconds:
        angle += 0.15
        radius = 0.15 + 0.2 * abs(math.sin(angle / 7))
        page.mouse.move(
            box["x"] + box["width"] * (0.5 + radius * math.cos(angle)),
            box["y"] + box["height"] * (0.5 + radius * math.sin(angle)),
        )
        page.wait_for_timeout(15)
    page.mouse.up()


def _type(page: Page, seconds: float) -> None:
    field = page.get_by_role("textbox", name="Type a text")
    field.click()
    field.press_sequentially("norsk ")
    page.locator(".kd-chart-card").first.wait_for(timeout=120_000)
    page.evaluate(WATCH)
    began, letters = time.monotonic(), itertools.cycle("kroner og dansk sprog i sverige ")
    while time.monotonic() - began < seconds:
        page.keyboard.press(next(letters))
        page.wait_for_timeout(40)
        if len(field.input_value()) > 60:
            field.fill("")


if __name__ == "__main__":
    main()
