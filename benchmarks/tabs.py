"""Many browser tabs on one live run: ``python -m benchmarks.tabs``.

An endless experiment trains in a worker while one tab of a real Chromium shows it; then many tabs
of one window do, of which one is in view; then one tab with as many visitors on other computers,
and one alone again. Measured are the lag (from a point's arrival in the store to its drawing in the
tab in view), the worker's training speed, and the memory that the server holds for itself alone: as
a straight line fitted over the time, and after the tabs are closed.
"""

from __future__ import annotations

import bisect
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import click
import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.common import present
from benchmarks.window import Window
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import terminate_group
from kdcore.storage.store import Store
from tests.support.browser import REPOSITORY, Server

# It goes on for longer than anybody looks.
RUN = ExperimentConfig(
    student="conv-16-32",
    teacher="mlp-32",
    teacher_epochs=1,
    epochs=10_000,
    labels=None,
    seeds=1,
    batch_size=16,
)
CHART = "document.querySelector('[class*=st-key-train_accuracy] .js-plotly-plot')"
# Notes when a later point than before is on the chart of accuracies.
WATCH = """
  window.kdSeen = [];
  let last = -1;
  setInterval(() => {
    const xs = (CHART?.calcdata ?? []).flatMap((points) => points.slice(-1).map((point) => point.x));
    const now = Math.max(-1, ...xs.filter((x) => x < 9999));  // the teacher's line reaches to the end
    if (now > last) { last = now; window.kdSeen.push([now, Date.now() / 1000]); }
  }, 40);
""".replace("CHART", CHART)


class Arrivals:
    """Notes from a thread when each epoch position first stands in the store, and how fast training
    goes.
    """

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
        """Return the seconds from a point's arrival in the store to a tab's showing it or a later
        one.
        """
        found = []
        for epoch, shown_at in seen:
            place = bisect.bisect_right(self.epochs, epoch + 1e-9) - 1
            if place > 0:
                found.append(max(0.0, shown_at - self.times[place]))
        return found

    def epochs_a_second(self, since: float) -> float:
        """Return the training speed from a time (in seconds since 1970) on."""
        first = bisect.bisect_left(self.times, since)
        return (self.epochs[-1] - self.epochs[first]) / (self.times[-1] - self.times[first])


def watch(
    window: Window,
    server: Server,
    query: str,
    tabs: int,
    visitors: int,
    arrivals: Arrivals,
    seconds: float,
) -> dict[str, Any]:
    """Watch a run with so many tabs of one window and visitors elsewhere for so long.

    Returns what was measured.
    """
    opened = [window.open(f"{server.url}/?{query}") for _ in range(tabs)]
    opened[0].wait_until(f"!!{CHART}", 120)
    opened[0].evaluate(WATCH)
    command = [
        sys.executable,
        "-m",
        "benchmarks.visitors",
        server.url,
        query,
        str(visitors),
        str(seconds + 10),
    ]
    elsewhere = subprocess.Popen(command, cwd=REPOSITORY) if visitors else None
    time.sleep(10)  # all are there, and have their places in the caches
    hidden = sum(tab.evaluate("document.hidden") for tab in opened)
    process, began, memory = psutil.Process(server.pid), time.time(), list[tuple[float, float]]()
    busy = sum(process.cpu_times()[:2])
    while time.time() - began < seconds:
        memory.append((time.time() - began, float(process.memory_full_info().uss)))
        time.sleep(1)
    busy = sum(process.cpu_times()[:2]) - busy
    lags = arrivals.lags([seen for seen in opened[0].evaluate("window.kdSeen") if seen[1] > began])
    window.close_tabs()
    if elsewhere is not None:
        elsewhere.wait(60)
    return {
        "tabs": tabs,
        "of them hidden": hidden,
        "visitors elsewhere": visitors,
        "seconds": seconds,
        "lag, median (s)": float(np.median(lags)),
        "lag, 95 % (s)": float(np.quantile(lags, 0.95)),
        "epochs/s": arrivals.epochs_a_second(began),
        "server (cores)": busy / seconds,
        "memory (MB)": memory[-1][1] / 1e6,
        "memory, MB a minute": megabytes_a_minute(memory),
    }


def megabytes_a_minute(memory: list[tuple[float, float]]) -> float:
    """Return the slope of a straight line through the measurements."""
    times, sizes = np.array(memory).T
    slope: NDArray = np.polyfit(times, sizes, 1)
    return float(slope[0]) * 60 / 1e6


@click.command()
@click.option("--tabs", default=20, show_default=True)
@click.option("--minutes", default=10.0, show_default=True, help="How long all tabs stay open.")
@click.option(
    "--minutes-alone",
    default=2.0,
    show_default=True,
    help="How long one tab alone is, and visitors are.",
)
def main(tabs: int, minutes: float, minutes_alone: float) -> None:
    """Measure lag, training speed and the server's memory with one tab and with many."""
    rows: list[dict[str, Any]] = []
    alone, many = 60 * minutes_alone, 60 * minutes
    phases = [(1, 0, alone), (tabs, 0, many), (1, tabs - 1, alone), (1, 0, alone)]
    with tempfile.TemporaryDirectory() as folder, Window() as window:
        store = Store(f"sqlite:///{folder}/store.db")
        server = Server("dashboard.py", {"KD_STORE": store.url})
        server.wait_until_healthy()
        process = psutil.Process(server.pid)
        try:
            experiment = store.create(RUN)
            query = f"experiment={experiment}"
            window.open(f"{server.url}/?{query}")  # its polls start the training
            while not any(link.role == "student" for link, _ in store.runs_of(experiment)):
                time.sleep(0.2)
            learners = [run.id for link, run in store.runs_of(experiment) if link.role != "teacher"]
            time.sleep(60)  # the run's curves reach their full length
            window.close_tabs()
            time.sleep(5)
            before = float(process.memory_full_info().uss)
            for count, visitors, seconds in phases:
                with Arrivals(store, learners) as arrivals:
                    rows.append(watch(window, server, query, count, visitors, arrivals, seconds))
                time.sleep(
                    65 if count + visitors > 1 else 5
                )  # the server gives memory back once a minute
                rows[-1]["memory afterwards"] = float(process.memory_full_info().uss) / before
                print(rows[-1], file=sys.stderr, flush=True)
        finally:
            server.stop()
            for worker in store.workers():
                terminate_group(worker.pid)
    for row in rows[1:3]:
        row["training against one tab"] = row["epochs/s"] / float(
            np.mean([rows[0]["epochs/s"], rows[3]["epochs/s"]])
        )
    columns = list(rows[1])
    rows = [{name: row.get(name) for name in columns} for row in rows]
    present(
        f"{tabs} tabs on one live run, {os.cpu_count()} cores for server, worker and browser together",
        rows,
    )


if __name__ == "__main__":
    main()
