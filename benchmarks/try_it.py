"""How fast the Try it page answers: a digit is drawn in a real Chromium, and every answer that
comes on screen is timed.

    .venv/bin/python -m benchmarks.try_it --seconds 10

Trains a small experiment on the digits in a store of its own, unless KD_STORE names one with a
finished experiment.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from playwright.sync_api import sync_playwright

import kdcore
from kdcore.engine.jobs import terminate_group
from kdcore.engine.local import LocalEngine
from kdcore.engine.predictions import keep_warm, predict, ready, trained_models
from kdcore.storage.store import Store
from tests.support.browser import QUIET, Server, find_browser, wait_for_app

# In the page: when what the models say changes, and when the pen was moved last.
WATCH = """
() => {
  window.kdAnswers = [];
  document.addEventListener('pointermove', () => { window.kdMoved = performance.now(); }, true);
  let before = '';
  new MutationObserver(() => {
    const now = [...document.querySelectorAll('[data-testid=stMetric]')].map((node) => node.textContent).join('|');
    if (now && now !== before) { before = now; window.kdAnswers.push(performance.now()); }
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}
"""


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="How long to draw.")
def main(seconds: float) -> None:
    """Measure answers a second and milliseconds from question to answer; prints one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get("KD_STORE") or f"sqlite:///{Path(folder) / 'store.db'}"
        store = Store(url)
        if not store.experiments(limit=1):
            kdcore.run(kdcore.ExperimentConfig(seeds=1), store=store)
        try:
            result = {"through_the_store": _round_trips(store), **_in_the_browser(store, seconds)}
        finally:
            for worker in store.workers():
                terminate_group(worker.pid)
    click.echo(json.dumps(result, indent=2))


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


def _in_the_browser(store: Store, seconds: float) -> dict[str, float]:
    """Draw without a pause, and count the different answers that come on screen."""
    server = Server("dashboard.py", {"KD_STORE": store.url})
    server.wait_until_healthy()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=list(QUIET))
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.goto(f"{server.url}/try_it")
            wait_for_app(page)
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


if __name__ == "__main__":
    main()
