"""Worker processes on this machine.

An engine starts and ends the processes; what they do and how it went is in the store.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from kdcore.engine.workers import is_alive, kill_overdue, mark_interrupted
from kdcore.errors import TransitionError
from kdcore.installation import ROOT, data_folder
from kdcore.storage.schema import JobStatus, Pool, Worker
from kdcore.storage.store import Store, new_id

# However many tabs and commands tend an engine, it polls no more often than this.
SECONDS_BETWEEN_POLLS = 0.5
# Workers that end while they import what they need are not started more often than this.
MOST_FAILED_STARTS = 3
# Importing takes seconds, on a busy machine tens of them. One that takes longer may hang: its place
# is kept, but no job waits for it.
SECONDS_TO_START = 120.0


class _Started(NamedTuple):
    """A worker process that this engine started."""

    process: subprocess.Popen[bytes]
    worker_id: str
    log: Path
    pool: Pool


class LocalEngine:
    """Worker processes on this machine; they outlive the process that started them.

    ``workers`` is how many there may be of each kind: those that use the whole machine, for a
    teacher or an experiment that somebody watches, and those that compute on one thread, for the
    cells of a sweep. Side by side, one thread a process is what the cores are used best with:
    ``benchmarks/threads.py`` measures it.
    """

    def __init__(
        self, store: Store, *, workers: int | None = None, idle_seconds: float = 600.0
    ) -> None:
        self.store = store
        self.most_workers = workers or max(1, os.cpu_count() or 1)
        self.idle_seconds = idle_seconds
        self._started: list[_Started] = []
        self._failed_starts = 0
        self._failed_pools: set[str] = set()
        self._one_has_started = False
        self._polled_at = float("-inf")

    def submit(self, job_id: str) -> None:
        """See to it that a queued job gets a worker."""
        self._polled_at = float("-inf")
        self._failed_starts = 0
        self._failed_pools.clear()
        self.tend()

    def warm(self) -> None:
        """Keep one worker ready, so that the next job starts without waiting for the import of
        Keras.
        """
        if any(worker.pool == Pool.MACHINE for worker in self._live_workers()):
            return
        if self._failed_starts < MOST_FAILED_STARTS and self._starts_left():
            self._start_worker(Pool.MACHINE)

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once if queued, at the next batch if running, by force after a grace
        period (see ``tend``).
        """
        self.store.request_stop(job_id)

    def tend(self) -> None:
        """Take care of what nobody else can: dead workers, ignored stops, queued jobs without a
        worker.

        Cheap enough to be called at every poll of the store, because not every call polls.
        """
        if time.monotonic() - self._polled_at < SECONDS_BETWEEN_POLLS:
            return
        self._polled_at = time.monotonic()
        self._collect_ended()
        kill_overdue(self.store)
        mark_interrupted(self.store)
        if self._failed_starts >= MOST_FAILED_STARTS:
            return
        live = self._live_workers()
        for pool, jobs in self.store.waiting().items():
            alike = [worker for worker in live if worker.pool == pool]
            idle = sum(_will_take_a_job(worker) for worker in alike)
            wanted = min(jobs - idle, self.most_workers - len(alike))
            for _ in range(min(wanted, self._starts_left())):
                self._start_worker(pool)

    def close(self) -> None:
        """Nothing to release: workers leave by themselves when they have been idle for long."""

    def _starts_left(self) -> int:
        """Return how many workers may be started: few, until one has shown that it can."""
        if self._one_has_started:
            return self.most_workers
        return max(0, MOST_FAILED_STARTS - self._failed_starts - len(self._started))

    def _collect_ended(self) -> None:
        """Collect exit codes, and give up after some workers in a row that could not even start."""
        states = {worker.id: worker.state for worker in self.store.workers()}
        ended = []
        for started in self._started:
            started.process.poll()  # a killed child is a zombie until then
            if states.get(started.worker_id) in ("idle", "busy"):
                self._failed_starts, self._one_has_started = 0, True
                self._failed_pools.clear()
            if started.process.returncode is not None:
                ended.append(started)
        self._started = [started for started in self._started if started not in ended]
        for started in ended:
            code = started.process.returncode
            if code > 0 and states.get(started.worker_id, "starting") == "starting":
                self._failed_starts += 1
                self._failed_pools.add(started.pool)
                self._one_has_started = False
                if self._failed_starts == MOST_FAILED_STARTS:
                    self._give_up(started.log)

    def _give_up(self, log: Path) -> None:
        """End the jobs that wait for workers of the kinds that could not start, and say their last
        words. Jobs for another kind may have workers elsewhere.
        """
        words = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        error = (
            f"no worker could start, tried {MOST_FAILED_STARTS} times; its last words were: "
            f"{words[-1] if words else 'none'}. All of them are in {log.name}, in the folder "
            f"{log.parent.name} of KD Lab's data. Resume tries again"
        )
        waiting = (
            job for job in self.store.jobs(JobStatus.QUEUED) if job.pool in self._failed_pools
        )
        for job in waiting:
            with contextlib.suppress(TransitionError):  # somebody else was faster
                self.store.finish(job.id, JobStatus.STOPPED, error=error)

    def _live_workers(self) -> list[Worker]:
        return [worker for worker in self.store.workers() if is_alive(worker)]

    def _start_worker(self, pool: Pool) -> None:
        worker_id = new_id()
        log = data_folder() / "logs" / f"worker-{worker_id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "kdcore.work.worker", "--worker-id", worker_id]
        python_path = os.pathsep.join([str(ROOT), *_python_path()])
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--idle-seconds", str(self.idle_seconds), "--pool", pool.value],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": python_path,
                    # The URL may hold a password, which a list of processes must not show.
                    "KD_STORE": self.store.url,
                    # Workers train with TensorFlow, whatever else a user's Keras runs on.
                    "KERAS_BACKEND": "tensorflow",
                },
            )
        self._started.append(_Started(process, worker_id, log, pool))
        # Registered here already: until the process registers itself, nobody must start another in
        # its place.
        now = time.time()
        self.store.put_worker(
            Worker(
                id=worker_id,
                host=socket.gethostname(),
                pid=process.pid,
                process_started=psutil.Process(process.pid).create_time(),
                state="starting",
                pool=pool.value,
                heartbeat_at=now,
                created_at=now,
            )
        )


def _will_take_a_job(worker: Worker) -> bool:
    if worker.state == "starting":
        return time.time() - worker.created_at < SECONDS_TO_START
    return worker.state != "busy"


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
