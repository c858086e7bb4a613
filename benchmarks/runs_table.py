"""How the Runs page opens with many experiments stored: ``python -m benchmarks.runs_table``.

The same experiments with few points on their curves and with many: the listing behind the table,
read by a store that is opened anew each time; and in a real Chromium until the table is drawn, the
page opened by a click from another page, for the first time and again, and by its address in a
browser that knows nothing yet, beside a page of Streamlit's that says one word. Opening may not
cost more for what has been measured meanwhile.
"""

from __future__ import annotations

import statistics as averages
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from playwright.sync_api import Browser, Locator, sync_playwright
from sqlalchemy import insert

from benchmarks.common import present
from kdcore.analysis import library
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import terminate_group
from kdcore.storage.disk import store_bytes
from kdcore.storage.schema import Artifact, Experiment, ExperimentRun, Job, JobStatus, Metric, Run
from kdcore.storage.store import Store
from tests.support.browser import QUIET, Server, find_browser

SEEDS = 3
ARTIFACT_BYTES = {"model": 30_000, "logits": 18_000}


def fill(store: Store, experiments: int, points: int) -> None:
    """Store finished experiments of three seeds with ``points`` on each run's curve.

    The numbers are random.
    """
    random, now = np.random.default_rng(0), time.time()
    rows: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (Job, Experiment, Run, ExperimentRun, Artifact, Metric)
    }
    for number in range(experiments):
        experiment_id = f"experiment{number:05d}"
        config = ExperimentConfig(temperature=1 + number % 20, alpha=number % 10 / 10, seeds=SEEDS)
        settings = config.model_dump(mode="json")
        rows[Job].append(
            dict(
                id=experiment_id,
                kind="experiment",
                payload={},
                status=JobStatus.FINISHED.value,
                phase="finished",
                progress=1.0,
                attempts=1,
                created_at=now + number,
            )
        )
        rows[Experiment].append(
            dict(
                id=experiment_id,
                name="",
                note="",
                starred=False,
                fingerprint=config.fingerprint(),
                config=settings,
                dataset_key="data",
                seconds={},
                created_at=now + number,
            )
        )
        places = [
            ("teacher", 0),
            *((role, seed) for role in ("student", "baseline") for seed in range(SEEDS)),
        ]
        for role, seed in places:
            run_id = f"{experiment_id}-{role}-{seed}"
            summary = {
                "dataset": "data",
                "test_accuracy": float(random.uniform(0.8, 1)),
                "test_examples": 449,
            }
            rows[Run].append(
                dict(
                    id=run_id,
                    fingerprint=config.fingerprint(role),
                    role=role,
                    seed=seed,
                    model="conv-8-16",
                    config=settings,
                    parameters=1898,
                    summary=summary,
                    experiment_id=experiment_id,
                    created_at=now,
                    finished_at=now,
                )
            )
            rows[ExperimentRun].append(
                dict(experiment_id=experiment_id, role=role, seed=seed, run_id=run_id, reused=False)
            )
            for kind, size in ARTIFACT_BYTES.items():
                key = f"{kind}/{run_id}"
                rows[Artifact].append(
                    dict(key=key, sha256="", size=size, data=bytes(size), created_at=now)
                )
            rows[Metric] += [
                dict(
                    run_id=run_id,
                    split="train",
                    step=step,
                    epoch=step / 34,
                    seconds=step / 100,
                    loss=1 / (step + 1),
                )
                for step in range(points)
            ]
        if number % 50 == 49 or number == experiments - 1:
            with store.writing() as session:
                for table, values in rows.items():
                    if values:
                        session.execute(insert(table), values)
                    values.clear()


def listing(url: str, repeats: int) -> list[float]:
    """Seconds to read the table's contents, with a store that has just been opened."""
    seconds = []
    for _ in range(repeats + 1):
        store = Store(url)
        began = time.perf_counter()
        table = library.listing(store)
        library.matching(table, text="digits conv")
        seconds.append(time.perf_counter() - began)
        store.close()
    return seconds[1:]  # the first also imports SciPy


ONE_WORD = "import streamlit as st; st.write('hello')"
TABLE = "[data-testid=stDataFrame] canvas"


def pages(browser: Browser, store: Store, repeats: int) -> dict[str, float]:
    """Median seconds until the table is on screen, on a server that is warm, by the ways in which
    it is opened.
    """
    server = Server("dashboard.py", {"KD_STORE": store.url})
    seconds: dict[str, list[float]] = {}

    def clock(name: str, wait_for: Locator, begin: Callable[[], object]) -> None:
        began = time.perf_counter()
        begin()
        wait_for.first.wait_for(timeout=120_000)
        seconds.setdefault(name, []).append(time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "hello.py").write_text(ONE_WORD)
        bare = Server(Path(folder, "hello.py"))
        try:
            for each in (server, bare):
                each.wait_until_healthy()
            for _ in range(repeats + 1):
                tab = browser.new_page(viewport={"width": 1440, "height": 900})
                clock("bare page, s", tab.get_by_text("hello"), lambda: tab.goto(bare.url))  # noqa: B023  called at once
                tab.close()
                tab = browser.new_page(viewport={"width": 1440, "height": 900})
                clock("by address, s", tab.locator(TABLE), lambda: tab.goto(f"{server.url}/runs"))  # noqa: B023
                tab.close()
                tab = browser.new_page(viewport={"width": 1440, "height": 900})
                tab.goto(server.url)
                for name in ("by click, s", "by click again, s"):
                    tab.get_by_role("button", name="Train", exact=True).wait_for()
                    tab.wait_for_timeout(1500)  # as somebody who looks at the page first
                    clock(name, tab.locator(TABLE), tab.get_by_role("link", name="Runs").click)
                    tab.get_by_role("link", name="Train", exact=True).click()
                tab.close()
        finally:
            server.stop()
            bare.stop()
            for worker in store.workers():
                terminate_group(worker.pid)
    return {name: averages.median(times[1:]) for name, times in seconds.items()}


@click.command()
@click.option(
    "--experiments", default=1000, show_default=True, help="Experiments stored, of seven runs each."
)
@click.option(
    "--few", default=10, show_default=True, help="Points on the curve of each run, first."
)
@click.option(
    "--many", default=300, show_default=True, help="Points on the curve of each run, then."
)
@click.option("--repeats", default=9, show_default=True, help="Openings to take the median of.")
def main(experiments: int, few: int, many: int, repeats: int) -> None:
    """Measure how the Runs page opens when few and when many points are stored."""
    rows: list[dict[str, Any]] = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(QUIET))
        for points in (few, many):
            store = Store(f"sqlite:///{Path(folder) / str(points)}.db")
            fill(store, experiments, points)
            rows.append(
                {
                    "experiments": experiments,
                    "points stored": experiments * (1 + 2 * SEEDS) * points,
                    "store, MB": store_bytes(store) / 1e6,
                    "listing, s": averages.median(listing(store.url, repeats)),
                    **pages(browser, store, repeats),
                }
            )
            store.close()
        browser.close()
    ratios = {
        name: rows[1][name] / rows[0][name]
        for name in ("listing, s", "by click, s", "by address, s")
    }
    present("Opening the Runs page", rows, many_to_few=ratios)


if __name__ == "__main__":
    main()
