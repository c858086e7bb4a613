"""What a visitor waits for, in a real Chromium: ``python -m benchmarks.browser``.

From the start of the server to a page that can be used; from a press of Train to the first point on
screen, with a warm worker; from a move of the temperature slider to the redrawn chart; and how long
a poll takes when much is stored.
"""

from __future__ import annotations

import statistics as averages
import tempfile
import time
from typing import Any

import click
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.common import present, student_run
from kdcore.analysis.curves import Curves
from kdcore.analysis.results import load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import terminate_group
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from tests.support.browser import QUIET, Server, find_browser, wait_for_app

# Notes the moment at which `ready` first holds, looked at once a frame.
WHEN = """(ready) => new Promise((resolve) => {
  const look = () => new Function('return ' + ready)() ? resolve(Date.now()) : requestAnimationFrame(look);
  look();
})"""
POINTS = "((document.querySelector('[class*=st-key-train_accuracy] .js-plotly-plot') || {}).calcdata || []).flat().length"
# Moves the slider one step and waits for the chart's next drawing; milliseconds.
SLIDE = """([slider, chart, step]) => new Promise((resolve) => {
  const host = [...document.querySelectorAll(slider)].find((each) => each.shadowRoot);
  const input = host.shadowRoot.querySelector('input[type=range]'), plot = document.querySelector(chart);
  const began = performance.now();
  plot.once('plotly_afterplot', () => requestAnimationFrame(() => resolve(performance.now() - began)));
  input.value = Number(input.value) + step;
  input.dispatchEvent(new Event('input', { bubbles: true }));
})"""


def server_start(browser: Browser, repeats: int) -> list[float]:
    """Seconds from starting the server's process to an enabled Train button, each on an empty
    store.
    """
    seconds = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            store = Store(f"sqlite:///{folder}/store.db")
            page = browser.new_page()
            began = time.time()
            server = Server("dashboard.py", {"KD_STORE": store.url})
            server.wait_until_healthy()
            page.goto(server.url)
            page.get_by_role("button", name="Train", exact=True).wait_for()
            page.wait_for_function(
                "!document.querySelector('[class*=st-key-train_start] button').disabled"
            )
            seconds.append(time.time() - began)
            page.close()
            _end(server, store)
    return seconds


def first_point(page: Page, url: str, store: Store, repeats: int) -> list[float]:
    """Seconds from a press of Train to the first point on screen, the worker being warm and the
    teacher new each time.
    """
    seconds = []
    for number in range(repeats + 1):
        page.goto(url)
        wait_for_app(page)
        while not any(worker.state == "idle" for worker in store.workers()):
            time.sleep(0.1)
        page.get_by_text("More settings").click()
        for name in ("Teacher seed", "Seeds"):
            field = page.get_by_role("spinbutton", name=name, exact=True)
            field.fill(str(number if name == "Teacher seed" else 1))
            field.press("Enter")
        page.wait_for_timeout(1000)
        button = page.get_by_role("button", name="Train", exact=True)
        began = page.evaluate("Date.now()")
        button.click()
        seconds.append((page.evaluate(WHEN, f"{POINTS} > 0") - began) / 1000)
        page.get_by_role("button", name="Change and train again").wait_for()
        while store.jobs(JobStatus.QUEUED, JobStatus.RUNNING):
            time.sleep(0.1)
    return seconds[1:]  # the first visit also loads the chart library


def slider(page: Page, url: str, repeats: int) -> list[float]:
    """Seconds from a move of the Temperature page's slider to the redrawn bars."""
    page.goto(f"{url}/temperature")
    wait_for_app(page)
    chart = "[class*=st-key-temperature_distributions] .js-plotly-plot"
    page.wait_for_function(f"!!(document.querySelector('{chart}') || {{}}).calcdata")
    page.wait_for_timeout(1500)
    seconds = []
    for number in range(repeats):
        seconds.append(
            page.evaluate(
                SLIDE, ["[class*=st-key-temperature_] *", chart, 1 if number % 20 < 10 else -1]
            )
            / 1000
        )
        page.wait_for_timeout(250)
    return seconds


def poll(points: int, repeats: int) -> list[float]:
    """Seconds of one poll of a live run that has ``points`` stored and one new, as a page
    takes it.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.db")
        config = ExperimentConfig(seeds=1)
        run = student_run(store, config)
        experiment_id = run.experiment_id
        point = {"run_id": run.id, "split": "train", "seconds": 0.0, "loss": 1.0, "accuracy": 0.5}
        store.append_metrics(
            [{**point, "step": step, "epoch": step / 100} for step in range(points)]
        )
        curves, seconds = Curves(), []
        curves.read_on(store, load_results(store, experiment_id))
        for number in range(repeats):
            store.append_metrics(
                [{**point, "step": points + number, "epoch": (points + number) / 100}]
            )
            began = time.perf_counter()
            curves.read_on(store, load_results(store, experiment_id))
            seconds.append(time.perf_counter() - began)
        return seconds


def _end(server: Server, store: Store) -> None:
    server.stop()
    for worker in store.workers():
        terminate_group(worker.pid)


def _row(what: str, seconds: list[float], quantile: float, aim: str) -> dict[str, Any]:
    name = "median" if quantile == 0.5 else f"{quantile:.0%} quantile"
    return {
        "what": what,
        "seconds": float(np.quantile(seconds, quantile)),
        "of": f"{name} of {len(seconds)}",
        "aim": aim,
    }


@click.command()
@click.option("--repeats", default=7, show_default=True, help="Measurements of what takes seconds.")
@click.option("--moves", default=60, show_default=True, help="Moves of the slider.")
def main(repeats: int, moves: int) -> None:
    """Measure what a visitor waits for."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(QUIET))
        rows.append(
            _row("server start to first page usable", server_start(browser, repeats), 0.5, "4 s")
        )
        store = Store(f"sqlite:///{folder}/store.db")
        server = Server("dashboard.py", {"KD_STORE": store.url})
        server.wait_until_healthy()
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            rows.append(
                _row(
                    "Train pressed to first point",
                    first_point(page, server.url, store, repeats),
                    0.5,
                    "1.5 s",
                )
            )
            rows.append(
                _row("slider to redrawn chart", slider(page, server.url, moves), 0.95, "0.2 s")
            )
        finally:
            browser.close()
            _end(server, store)
    few, many = poll(100, 50), poll(100_000, 50)
    rows += [
        _row("a poll with 100 points stored", few, 0.5, ""),
        _row("a poll with 100,000 points stored", many, 0.5, "1.5 × that with 100"),
    ]
    present(
        "What a visitor waits for", rows, poll_ratio=averages.median(many) / averages.median(few)
    )


if __name__ == "__main__":
    main()
