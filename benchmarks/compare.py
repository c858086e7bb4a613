"""What choosing among a thousand runs costs: ``python -m benchmarks.compare``.

The Compare page's table of stores that have the same runs and settings, but few or many
measurements a run: opening it must not cost more where more was measured. With ``--browser`` also
until the table stands in a real Chromium.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
from playwright.sync_api import Browser, sync_playwright

from benchmarks.common import present
from kdcore.analysis.contenders import run_table
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import terminate_group
from kdcore.storage.schema import JobStatus, Run
from kdcore.storage.store import Store, new_id
from tests.support.browser import QUIET, Server, find_browser

SEEDS = 3
RUNS_AN_EXPERIMENT = 1 + 2 * SEEDS


def fill(store: Store, runs: int, points: int) -> int:
    """Put finished experiments of a teacher and three seeds into the store until it has ``runs``
    runs; returns how many.

    Settings and summaries are as an experiment leaves them; each run has ``points`` measurements.
    """
    count = 0
    while count < runs:
        number = count // RUNS_AN_EXPERIMENT
        config = ExperimentConfig(
            temperature=1 + number % 20, labels=50 + 10 * (number % 30), teacher_seed=number
        )
        experiment_id = store.create(config, name=f"Experiment {number}")
        roles = [
            ("teacher", 0),
            *((role, seed) for seed in range(SEEDS) for role in ("student", "baseline")),
        ]
        for role, seed in roles:
            own = config.replace(seed=seed, seeds=1)
            run = Run(
                id=new_id(),
                fingerprint=own.fingerprint(role),
                role=role,
                seed=seed,
                experiment_id=experiment_id,
                model=own.teacher if role == "teacher" else own.student,
                config=own.model_dump(mode="json"),
                parameters=79_626 if role == "teacher" else 1_898,
                created_at=time.time(),
                finished_at=time.time(),
                summary={
                    "dataset": "0" * 32,
                    "test_accuracy": 0.9 + seed / 100,
                    "test_correct": 404,
                    "test_examples": 449,
                    "test_loss": 0.3,
                    "test_calibration_error": 0.04,
                    "multiply_accumulates": 6400,
                    "seconds": 4.0,
                },
            )
            store.claim_run(run, experiment_id, share=False)
            point = {
                "run_id": run.id,
                "split": "train",
                "seconds": 0.0,
                "loss": 1.0,
                "accuracy": 0.5,
            }
            store.append_metrics(
                [{**point, "step": step, "epoch": step / 34} for step in range(points)]
            )
            count += 1
        store.claim("benchmark", experiment_id)
        store.finish(experiment_id, JobStatus.FINISHED)
    return count


def timed(call: Callable[[], Any], repeats: int) -> list[float]:
    """Return the seconds of each of ``repeats`` calls, after a first one that does not count."""
    call()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds


def until_the_table_stands(browser: Browser, url: str) -> Callable[[], None]:
    """Return a call that opens the page anew, with nothing chosen, and waits for the
    table's rows.
    """

    def open_page() -> None:
        page = browser.new_page()
        page.goto(f"{url}/compare?models=none")
        page.wait_for_selector(".st-key-compare_table canvas [role=row]", state="attached")
        page.close()

    return open_page


def measure(runs: int, points: int, repeats: int, browser: Browser | None) -> dict[str, Any]:
    """Return one row of the result."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.db")
        count = fill(store, runs, points)
        row: dict[str, Any] = {
            "runs": count,
            "points a run": points,
            "points in all": count * points,
        }
        row["table, by experiment (s)"] = float(np.median(timed(lambda: run_table(store), repeats)))
        row["table, by seed (s)"] = float(
            np.median(timed(lambda: run_table(store, by_seed=True), repeats))
        )
        if browser is not None:
            server = Server("dashboard.py", {"KD_STORE": store.url})
            server.wait_until_healthy()
            row["page in Chromium (s)"] = float(
                np.median(timed(until_the_table_stands(browser, server.url), max(3, repeats // 4)))
            )
            server.stop()
            for worker in store.workers():
                terminate_group(worker.pid)
        store.close()
        return row


@click.command()
@click.option("--runs", default=1000, show_default=True, help="Runs in the store.")
@click.option(
    "--points",
    multiple=True,
    default=(2, 2000),
    show_default=True,
    help="Measurements a run, one store each.",
)
@click.option("--repeats", default=20, show_default=True, help="Calls of which the median counts.")
@click.option("--browser", "with_browser", is_flag=True, help="Also open the page in Chromium.")
def main(runs: int, points: tuple[int, ...], repeats: int, with_browser: bool) -> None:
    """Measure what the table to choose from costs."""
    if not with_browser:
        rows = [measure(runs, each, repeats, None) for each in points]
    else:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=list(QUIET))
            rows = [measure(runs, each, repeats, browser) for each in points]
            browser.close()
    present("Choosing among many runs", rows, repeats=repeats)


if __name__ == "__main__":
    main()
