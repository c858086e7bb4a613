"""Where jobs run. An engine starts and ends the processes; what they do and how it went is in the store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import psutil

from kdcore.errors import ClaimLost, require
from kdcore.jobs import terminate_group
from kdcore.schema import JobStatus, Worker
from kdcore.store import Store, new_id

# A pulse beats once a second at least; a worker silent for this long is dead or cut off.
SECONDS_UNTIL_STALE = 15.0
# How long a running job may take to notice Stop before its worker is killed.
SECONDS_OF_GRACE = 10.0
# However many tabs and commands tend an engine, it looks no more often than this.
SECONDS_BETWEEN_LOOKS = 0.5
PACKAGE_ROOT = Path(__file__).resolve().parent.parent


class Engine(Protocol):
    """Starts and ends the work on jobs. All calls return at once.

    ``most_workers`` is how many of a kind there may be at once, as far as the engine knows.
    """

    most_workers: int

    def submit(self, job_id: str) -> None:
        """See to it that a queued job gets a worker."""
        ...

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once if queued, at the next batch if running, by force if that is not heeded."""
        ...

    def warm(self) -> None:
        """Keep one worker ready, so that the next job starts without waiting for the import of Keras."""
        ...

    def tend(self) -> None:
        """Look after what nobody else can; called by whoever looks at the store, cheap enough for every poll."""
        ...

    def close(self) -> None:
        """Let go of what the engine itself holds; running jobs go on."""
        ...


def make_engine(store: Store, *, workers: int | None = None, idle_seconds: float | None = None) -> Engine:
    """Return the engine that ``KD_ENGINE`` names: "local" (default), worker processes on this machine, or "ray".

    ``workers`` is how many there may be, ``idle_seconds`` after how long without work they leave; both are the
    engine's own choice by default. Raises ConfigError for another name, and where the engine cannot serve this store.
    """
    options: dict[str, Any] = {"workers": workers}
    if idle_seconds is not None:
        options["idle_seconds"] = idle_seconds
    name = os.environ.get("KD_ENGINE") or "local"
    if name == "ray":
        from kdcore.ray_engine import RayEngine

        return RayEngine(store, **options)
    require(name == "local", "KD_ENGINE", "local or ray", name)
    return LocalEngine(store, **options)


class LocalEngine:
    """Worker processes on this machine; they outlive the process that started them.

    ``workers`` is how many there may be of each kind: those that use the whole machine, for a teacher or an experiment
    that somebody watches, and those that compute on one thread, for the cells of a sweep. Side by side, one thread a
    process is what the cores are used best with: ``benchmarks/threads.py`` measures it.
    """

    def __init__(self, store: Store, *, workers: int | None = None, idle_seconds: float = 600.0) -> None:
        self.store = store
        self.most_workers = workers or max(1, os.cpu_count() or 1)
        self.idle_seconds = idle_seconds
        self._started: list[subprocess.Popen[bytes]] = []
        self._looked_at = float("-inf")

    def submit(self, job_id: str) -> None:
        """See to it that a queued job gets a worker."""
        self._looked_at = float("-inf")
        self.tend()

    def warm(self) -> None:
        """Keep one worker ready, so that the next job starts without waiting for the import of Keras."""
        if not any(threads_of(worker) == 0 for worker in self._live_workers()):
            self._start_worker(0)

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once if queued, at the next batch if running, by force after a grace period (see ``tend``)."""
        self.store.request_stop(job_id)

    def tend(self) -> None:
        """Look after what nobody else can: dead workers, stops not heeded, queued jobs without a worker.

        Called by whoever looks at the store; cheap enough for every poll, because not every call looks.
        """
        if time.monotonic() - self._looked_at < SECONDS_BETWEEN_LOOKS:
            return
        self._looked_at = time.monotonic()
        for process in self._started:
            process.poll()  # collect exit codes: a killed child is a zombie until then
        self._started = [process for process in self._started if process.returncode is None]
        kill_overdue(self.store)
        mark_interrupted(self.store)
        live = self._live_workers()
        for threads, jobs in self.store.waiting().items():
            alike = [worker for worker in live if threads_of(worker) == threads]
            idle = sum(worker.state != "busy" for worker in alike)
            for _ in range(min(jobs - idle, self.most_workers - len(alike))):
                self._start_worker(threads)

    def close(self) -> None:
        """Nothing to let go of: workers leave by themselves when they have been idle for long."""

    def _live_workers(self) -> list[Worker]:
        return [worker for worker in self.store.workers() if is_alive(worker)]

    def _start_worker(self, threads: int) -> None:
        worker_id = f"{new_id()}-{threads}" if threads else new_id()
        log = PACKAGE_ROOT / ".kdlab" / "logs" / f"worker-{worker_id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "kdcore.worker", "--worker-id", worker_id]
        python_path = os.pathsep.join([str(PACKAGE_ROOT), *_python_path()])
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--idle-seconds", str(self.idle_seconds), "--threads", str(threads)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # The URL may hold a password, which a list of processes must not show.
                env={**os.environ, "PYTHONPATH": python_path, "KD_STORE": self.store.url},
            )
        self._started.append(process)
        # Registered here already: until the process registers itself, nobody must start another in its place.
        now = time.time()
        self.store.put_worker(
            Worker(
                id=worker_id,
                host=socket.gethostname(),
                pid=process.pid,
                process_started=psutil.Process(process.pid).create_time(),
                state="starting",
                heartbeat_at=now,
                created_at=now,
            )
        )


def threads_of(worker: Worker) -> int:
    """Return on how many threads a worker computes, 0 for as many as there are; its id ends in the number."""
    return int(worker.id.partition("-")[2] or 0)


def is_alive(worker: Worker, reachable_since: float = 0.0) -> bool:
    """Return whether a worker's process exists (on this machine), or its heartbeat is fresh (on another).

    Nobody can write a heartbeat while the store is down: silence counts from ``reachable_since`` at the earliest.
    """
    if worker.host != socket.gethostname():
        return time.time() - max(worker.heartbeat_at, reachable_since) < SECONDS_UNTIL_STALE
    try:
        process = psutil.Process(worker.pid)
        same = abs(process.create_time() - worker.process_started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def mark_interrupted(store: Store) -> list[str]:
    """Find running jobs whose worker is gone and make them resumable; returns their ids.

    On this machine a worker is gone when its process is: one that is merely silent, because the disk is full, the
    database locked or the clock was set, goes on later, or is ended by Stop. On another machine silence has to do.
    """
    workers = {worker.id: worker for worker in store.workers()}
    found = []
    reachable_since = store.reachable_since()
    # Asked once: a worker that dies meanwhile keeps its row, by which the next look finds its job at once.
    alive = {worker.id for worker in workers.values() if is_alive(worker, reachable_since)}
    for job in store.jobs(JobStatus.RUNNING):
        worker = workers.get(job.worker_id or "")
        silent = time.time() - max(job.heartbeat_at or 0.0, reachable_since) > SECONDS_UNTIL_STALE
        here = worker is not None and worker.host == socket.gethostname()
        if worker is not None and worker.id in alive and (here or not silent):
            continue
        if worker is None and not silent:  # it may just have left properly; its last heartbeat is fresh
            continue
        status = JobStatus.STOPPED if job.stop_requested_at else JobStatus.INTERRUPTED
        why = (
            "its worker process fell silent"
            if silent
            else "its worker process ended without a word (killed, or out of memory)"
        )
        try:
            store.finish(
                job.id, status, worker_id=job.worker_id, error=f"{why}; Resume goes on from the last checkpoint"
            )
            found.append(job.id)
        except ClaimLost:
            continue
    for worker in workers.values():
        if worker.id not in alive:
            store.remove_worker(worker.id)
    return found


def kill_overdue(store: Store) -> None:
    """Kill workers of this machine that have ignored a stop for longer than the grace period."""
    workers = {worker.id: worker for worker in store.workers()}
    for job in store.jobs(JobStatus.RUNNING):
        worker = workers.get(job.worker_id or "")
        overdue = job.stop_requested_at is not None and time.time() - job.stop_requested_at > SECONDS_OF_GRACE
        if overdue and worker is not None and worker.host == socket.gethostname() and is_alive(worker):
            terminate_group(worker.pid)


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
