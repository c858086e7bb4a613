"""Many browser tabs on one live run: ``python -m benchmarks.tabs``.

An endless experiment trains in a worker while first one tab of a real Chromium shows it, then many. Measured are the
lag (from a point's arrival in the store to its drawing on a tab), the worker's training speed, and the server's memory,
in use (what the process holds for itself alone) as a straight line fitted over the time, and again after the tabs are
closed. The browser runs on the same machine at the lowest priority: it stands for other people's computers.
"""

from __future__ import annotations

import bisect
import os
import tempfile
import threading
import time
from typing import Any

import click
import numpy as np
import psutil
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Page, sync_playwright

from benchmarks.common import present
from kdcore.config import ExperimentConfig
from kdcore.jobs import terminate_group
from kdcore.store import Store
from tests.browser import QUIET, Server, find_browser

RUN = ExperimentConfig(student="conv-8-16", teacher="mlp-32", teacher_epochs=1, epochs=10_000, labels=None, seeds=1)
# Notes when a later point than before is on the chart of accuracies.
WATCH = """() => {
  window.kdSeen = [];
  let last = -1;
  setInterval(() => {
    const plot = document.querySelector('[class*=st-key-train_accuracy] .js-plotly-plot');
    const xs = ((plot || {}).calcdata || []).flatMap((points) => points.slice(-1).map((point) => point.x));
    const now = Math.max(-1, ...xs.filter((x) => x < 9999));  // the teacher's line reaches to the end
    if (now > last) { last = now; window.kdSeen.push([now, Date.now() / 1000]); }
  }, 40);
}"""


class Arrivals:
    """Notes from a thread when each epoch position first stands in the store, and how fast training goes."""

    def __init__(self, store: Store, run_ids: list[str]) -> None:
        self.store, self.run_ids = store, run_ids
        self.epochs: list[float] = []
        self.times: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Arrivals:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        after: dict[str, int] = {}
        while not self._ended.wait(0.03):
            new = self.store.metrics(self.run_ids, after=after)
            for run_id, rows in new.groupby("run_id"):
                after[str(run_id)] = int(rows["id"].max())
            if len(new) and float(new["epoch"].max()) > (self.epochs[-1] if self.epochs else -1.0):
                self.epochs.append(float(new["epoch"].max()))
                self.times.append(time.time())

    def lags(self, seen: list[list[float]]) -> list[float]:
        """Return the seconds from a point's arrival in the store to a tab's showing it or a later one."""
        found = []
        for epoch, shown_at in seen:
            place = bisect.bisect_right(self.epochs, epoch + 1e-9) - 1
            if place > 0:
                found.append(max(0.0, shown_at - self.times[place]))
        return found

    def epochs_a_second(self) -> float:
        """Return the training speed over the time watched."""
        return (self.epochs[-1] - self.epochs[0]) / (self.times[-1] - self.times[0])


def watch(context: BrowserContext, address: str, tabs: int, hidden: int, arrivals: Arrivals, server: psutil.Process,
          seconds: float) -> tuple[list[float], list[tuple[float, float]]]:  # fmt: skip
    """Open tabs, ``hidden`` of them in the background, for so many seconds; returns their lags and the server's memory."""
    pages = [context.new_page() for _ in range(tabs)]
    for number, page in enumerate(pages):
        if number >= tabs - hidden:
            page.add_init_script("Object.defineProperty(document, 'hidden', { value: true })")
        page.goto(address)
    for page in pages[: tabs - hidden]:
        page.locator("[class*=st-key-train_accuracy] .js-plotly-plot").wait_for(timeout=120_000)
        page.evaluate(WATCH)
    time.sleep(10)  # all are there, and have their places in the caches
    began, memory = time.time(), []
    while time.time() - began < seconds:
        memory.append((time.time() - began, float(server.memory_full_info().uss)))
        time.sleep(1)
    lags = [lag for page in pages[: tabs - hidden] for lag in arrivals.lags(_seen(page)[1:])]
    for page in pages:
        page.close()
    return lags, memory


def _seen(page: Page) -> list[list[float]]:
    return page.evaluate("() => window.kdSeen")


def megabytes_a_minute(memory: list[tuple[float, float]]) -> float:
    """Return the slope of a straight line through the measurements."""
    times, sizes = np.array(memory).T
    slope: NDArray = np.polyfit(times, sizes, 1)
    return float(slope[0]) * 60 / 1e6


@click.command()
@click.option("--tabs", default=20, show_default=True)
@click.option("--hidden", default=0, show_default=True, help="How many of them are in the background.")
@click.option("--minutes", default=10.0, show_default=True, help="How long all tabs stay open.")
def main(tabs: int, hidden: int, minutes: float) -> None:
    """Measure lag, training speed and the server's memory with one tab and with many."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        store = Store(f"sqlite:///{folder}/store.db")
        server = Server("dashboard.py", {"KD_STORE": store.url})
        server.wait_until_healthy()
        process = psutil.Process(server.pid)
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(QUIET))
        for part in psutil.Process().children(recursive=True):
            if "chrom" in part.name():
                part.nice(19)
        try:
            experiment = store.create(RUN)
            address, context = f"{server.url}/?experiment={experiment}", browser.new_context()
            first = context.new_page()
            first.goto(address)  # its looks start the training
            while not any(link.role == "student" for link, _ in store.runs_of(experiment)):
                time.sleep(0.2)
            first.close()
            pupils = [run.id for link, run in store.runs_of(experiment) if link.role != "teacher"]
            time.sleep(5)
            before = float(process.memory_full_info().uss)
            for count, out_of_sight, seconds in ((1, 0, 60.0), (tabs, hidden, 60 * minutes), (1, 0, 60.0)):
                with Arrivals(store, pupils) as arrivals:
                    lags, memory = watch(context, address, count, out_of_sight, arrivals, process, seconds)
                rows.append({
                    "tabs": count, "of them hidden": out_of_sight, "seconds": seconds,
                    "lag, median (s)": float(np.median(lags)), "lag, 95 % (s)": float(np.quantile(lags, 0.95)),
                    "epochs/s": arrivals.epochs_a_second(), "memory (MB)": memory[-1][1] / 1e6,
                    "memory, MB a minute": megabytes_a_minute(memory),
                })  # fmt: skip
            time.sleep(5)
            after = float(process.memory_full_info().uss)
        finally:
            browser.close()
            server.stop()
            for worker in store.workers():
                terminate_group(worker.pid)
    alone = (rows[0]["epochs/s"] + rows[2]["epochs/s"]) / 2
    present(f"{tabs} tabs on one live run, {os.cpu_count()} cores for server, worker and browser together", rows,
            training_against_one_tab=rows[1]["epochs/s"] / alone, memory_afterwards_against_start=after / before)  # fmt: skip


if __name__ == "__main__":
    main()
