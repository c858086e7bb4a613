"""How fast trained models answer on this machine: measured in a worker, side by side, and kept with
the run.

All models of a job take turns in short rounds, so that what else the machine does meets all of them
alike; what is kept is the median.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kdcore.analysis.comparison import latency_key
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import StoreError
from kdcore.storage.schema import Job, JobStatus
from kdcore.storage.store import Store
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.loop import Network

BATCH_SIZE = 64
WARM_UP = 5
ROUNDS = 20
# Calls in one round, so that a fast model is not drowned by the clock, nor a slow one measured for
# minutes.
MOST_CALLS_A_ROUND = 20
SECONDS_A_ROUND = 0.05


def measure_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Carry out a job of kind "measure"; its payload names the ``run_ids``."""
    measure(store, job.payload["run_ids"], job_id=job.id, check=check)


def measure(
    store: Store,
    run_ids: Sequence[str],
    *,
    job_id: str | None = None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, Any]]:
    """Measure how long finished runs' models take for one example and for a batch of 64; returns
    and stores it.

    The inputs are test examples, given as they are stored and scaled inside, as in evaluation. An
    entry has "single_milliseconds" and "batch_milliseconds" (medians over ``repeats`` calls), their
    quartiles, "batch_size", "machine" (in words), "other_jobs" (how many ran meanwhile), "versions"
    and "measured_at" (Unix seconds). Raises StoreError for a run without a model, and whatever
    ``check`` raises between rounds.
    """
    timers = {}
    for run_id in dict.fromkeys(run_ids):
        check()
        timers[run_id] = _Timer(store, run_id)
    for round_number in range(ROUNDS):
        for timer in timers.values():
            check()
            timer.round()
        if job_id is not None:
            store.report(job_id, f"measuring {len(timers)} models", (round_number + 1) / ROUNDS)
    others = sum(job.id != job_id for job in store.jobs(JobStatus.RUNNING))
    about = {
        "batch_size": BATCH_SIZE,
        "machine": this_machine(),
        "other_jobs": others,
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "measured_at": time.time(),
    }
    found = {run_id: {**timer.result(), **about} for run_id, timer in timers.items()}
    store.put_artifacts(
        {latency_key(run_id): json.dumps(each).encode() for run_id, each in found.items()}
    )
    return found


class _Timer:
    """One model, ready to be timed."""

    def __init__(self, store: Store, run_id: str) -> None:
        run = store.run(run_id)
        data = store.artifact(f"model/{run_id}")
        if data is None:
            raise StoreError(f"run {run_id} has no model to measure: it is not trained to the end")
        dataset = datasets.load(ExperimentConfig(**run.config))
        network = Network(model_from_bytes(data), dataset.scale)
        inputs = np.resize(dataset.test.inputs, (BATCH_SIZE, *dataset.input_shape))
        self._ask = {"single": inputs[:1], "batch": inputs}
        self._network = network
        self._seconds: dict[str, list[float]] = {"single": [], "batch": []}
        self._calls = {name: self._calls_a_round(name) for name in self._ask}

    def _calls_a_round(self, name: str) -> int:
        for _ in range(WARM_UP):
            seconds = self._time(name)
        return int(np.clip(SECONDS_A_ROUND / max(seconds, 1e-6), 1, MOST_CALLS_A_ROUND))

    def _time(self, name: str) -> float:
        began = time.perf_counter()
        self._network.logits(self._ask[name])
        return time.perf_counter() - began

    def round(self) -> None:
        """Time some calls with one example and with a batch."""
        for name, calls in self._calls.items():
            self._seconds[name] += [self._time(name) for _ in range(calls)]

    def result(self) -> dict[str, Any]:
        """Return medians and quartiles in milliseconds."""
        found: dict[str, Any] = {"repeats": len(self._seconds["single"])}
        for name, seconds in self._seconds.items():
            low, middle, high = (
                float(value) for value in 1e3 * np.quantile(seconds, [0.25, 0.5, 0.75])
            )
            found |= {f"{name}_milliseconds": middle, f"{name}_quartiles": [low, high]}
        return found


def this_machine() -> str:
    """Return what the models ran on, in words: host, processor or accelerator, and how many
    threads.
    """
    accelerators = [
        device.name.split(":", 1)[-1] for device in tf.config.list_logical_devices("GPU")
    ]
    threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1
    on = ", ".join(accelerators) if accelerators else f"{_processor()}, {threads} threads"
    return f"{socket.gethostname()} ({on})"


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
