"""Take the documentation's pictures from the real app: ``make screenshots``.

Trains the default experiment first.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from kdcore import lessons, sweeps
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.engine.local import LocalEngine
from kdcore.lessons import find_lesson, find_runs
from kdcore.storage import lesson_progress
from kdcore.storage.store import Store
from tests.support.browser import QUIET, Server, find_browser, wait_for_app

FOLDER = Path(__file__).parent


def main() -> None:
    """Write docs/*.png."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        store = Store(f"sqlite:///{scratch}/store.db")
        server = Server("dashboard.py", {"KD_STORE": store.url})
        server.wait_until_healthy()
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(QUIET))
        page = browser.new_page(viewport={"width": 1440, "height": 1000}, device_scale_factor=1)
        page.goto(server.url)
        wait_for_app(page)
        page.wait_for_timeout(1000)
        page.screenshot(path=FOLDER / "set-up.png")
        experiment = trained(page, store, server.url)
        page.mouse.move(0, 0)  # no chart shows its tools
        page.wait_for_timeout(1500)
        page.screenshot(path=FOLDER / "train.png")
        compared(page, server.url, experiment)
        page.screenshot(path=FOLDER / "compare.png")
        page.set_viewport_size({"width": 1440, "height": 1240})
        page.goto(f"{server.url}/alpha?experiment={experiment}")
        wait_for_app(page)
        page.get_by_text("others define it the other way round").wait_for()
        page.wait_for_timeout(2000)
        page.screenshot(path=FOLDER / "alpha.png")
        swept(page, store, server.url)
        page.screenshot(path=FOLDER / "sweep.png")
        taught(page, store, server.url)
        page.screenshot(path=FOLDER / "lesson.png")
        dark = browser.new_page(
            viewport={"width": 390, "height": 844}, color_scheme="dark", device_scale_factor=2
        )
        dark.goto(f"{server.url}/?experiment={experiment}")
        wait_for_app(dark)
        dark.wait_for_timeout(1500)
        dark.screenshot(path=FOLDER / "phone.png")
        browser.close()
        server.stop()


def taught(page: Page, store: Store, url: str) -> None:
    """Predict the curve of the second lesson, whose run is trained by now or soon is, and see."""
    lesson = find_lesson("temperature")
    lesson_progress.note(store, lesson.name, prediction=[99.0, 95.0, 85.0, 60.0, 35.0, 20.0])
    engine = LocalEngine(store)
    lessons.start(store, engine, lesson)
    while not find_runs(store, lesson).finished:
        engine.tend()
        page.wait_for_timeout(500)
    page.goto(f"{url}/lessons?lesson={lesson.name}&step=see")
    wait_for_app(page)
    page.get_by_text("your curve is").wait_for()
    page.wait_for_timeout(1500)


def trained(page: Page, store: Store, url: str) -> str:
    """Press Train as a visitor would, and wait for the result; returns the experiment's id."""
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_text("Distillation gained").wait_for(timeout=300_000)
    LocalEngine(store).tend()
    assert page.url.startswith(f"{url}/?experiment=")
    experiment = page.url.split("=")[1]
    assert store.experiment(experiment).fingerprint == ExperimentConfig().fingerprint()
    return experiment


def compared(page: Page, url: str, experiment: str) -> None:
    """Open the Compare page on an experiment, have its models timed, and look at where they
    differ.
    """
    page.set_viewport_size({"width": 1440, "height": 1640})
    page.goto(f"{url}/compare?models={experiment}&section=differ&show=only-first")
    page.get_by_role("button", name="Measure speed").click()
    page.get_by_text("Times measured on").wait_for(timeout=120_000)
    page.mouse.move(0, 0)
    page.wait_for_timeout(2000)


def swept(page: Page, store: Store, url: str) -> None:
    """Watch a sweep of five alphas and five temperatures to its end."""
    axes = (
        Axis("alpha", (0.1, 0.3, 0.5, 0.7, 0.9)),
        Axis("temperature", (1.0, 2.0, 4.0, 8.0, 16.0)),
    )
    sweep_id = sweeps.create(store, SweepConfig(ExperimentConfig(seeds=2), axes))
    page.set_viewport_size({"width": 1440, "height": 1000})
    page.goto(f"{url}/sweep?sweep={sweep_id}")
    page.get_by_text("Best of 25 cells").wait_for(timeout=600_000)
    page.wait_for_timeout(2000)


if __name__ == "__main__":
    main()
