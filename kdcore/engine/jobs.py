"""How a job is run, in whichever process: the same function for a local worker and for a cluster.

A kind of job is one function ``(store, job, check) -> None`` and one line in :data:`JOB_KINDS`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from kdcore.config.catalog import load_plugins, resolve
from kdcore.engine.memory import is_out_of_memory
from kdcore.errors import ClaimLost, KDLabError, StopRequested, StoreUnreachable
from kdcore.storage.schema import Job, JobStatus, Pool, Worker
from kdcore.storage.store import Store, new_id
from kdcore.words import first_line

SECONDS_BETWEEN_HEARTBEATS = 1.0
# A worker waits this long for a database server that is being restarted; then its run is left to be
# resumed.
SECONDS_OF_PATIENCE = 300.0

JOB_KINDS: dict[str, str] = {
    "experiment": "kdcore.work.experiment:experiment_job",
    "measure": "kdcore.work.measure:measure_job",
    "export": "kdcore.work.export:export_job",
    "predict": "kdcore.work.predict:predict_job",
    "data": "kdcore.data.ingest:data_job",
    "model": "kdcore.work.own_model:model_job",
    "look": "kdcore.work.own_model:look_job",
    "layer_pairs": "kdcore.work.layer_pairs:layer_pairs_job",
    "robustness": "kdcore.work.robustness:robustness_job",
    "candidates": "kdcore.work.candidates:candidates_job",
    "sweep_cell": "kdcore.work.sweep_cell:cell_job",
    "speed": "kdcore.work.sweep_cell:speed_job",
}


def limit_threads(threads: int) -> None:
    """Make TensorFlow compute on this many threads (0: as many as there are).

    To be called before it is imported.
    """
    if threads:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ[name] = str(threads)


class Interrupted(KDLabError):
    """Raised inside a job whose process was asked to end."""


@dataclass
class _Claim:
    """A job that the worker holds, and what was learnt about it meanwhile."""

    job_id: str
    learnt: type[KDLabError] | None = None


class Pulse:
    """A thread that says for a worker, once a second, that it lives and still holds its job.

    It is also how a stop reaches the job: ``check``, called between batches, raises what the pulse
    has learnt.
    """

    def __init__(self, store: Store, worker: Worker) -> None:
        self.store, self.worker = store, worker
        self.ending = False
        # What a beat learns it writes into the claim that it began with: by the time it has its
        # answer, that job may be finished and the next one begun.
        self._claim: _Claim | None = None
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_left, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self.store.put_worker(self.worker)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        self.store.remove_worker(self.worker.id)

    def state(self, state: str) -> None:
        """Say what the worker does: starting, idle or busy."""
        self.worker.state = state
        self.beat()

    @contextlib.contextmanager
    def holding(self, job: Job) -> Iterator[None]:
        """Keep the job's claim alive for the length of the block."""
        self._claim = _Claim(job.id)
        self.state("busy")
        try:
            yield
        finally:
            self._claim = None

    def check(self) -> None:
        """Raise StopRequested, ClaimLost or Interrupted where the job must end.

        Called between batches.
        """
        if self.ending:
            raise Interrupted("the worker was asked to end")
        learnt = None if self._claim is None else self._claim.learnt
        if learnt is not None:
            raise learnt("stop" if learnt is StopRequested else "the job was taken over")

    def beat(self) -> None:
        """Write one heartbeat."""
        claim = self._claim
        self.worker.heartbeat_at = time.time()
        self.store.put_worker(self.worker)
        if claim is not None:
            try:
                if self.store.heartbeat(claim.job_id, self.worker.id):
                    claim.learnt = StopRequested
            except ClaimLost:
                claim.learnt = ClaimLost

    def _beat_until_left(self) -> None:
        while not self._left.wait(
            SECONDS_BETWEEN_HEARTBEATS / 4 if self._claim else SECONDS_BETWEEN_HEARTBEATS
        ):
            try:
                self.beat()
            except (
                Exception
            ):  # a database out of reach for a moment must not end the pulse; the next beat tells
                traceback.print_exc()


def this_worker(
    worker_id: str | None = None, host: str | None = None, pool: Pool = Pool.MACHINE
) -> Worker:
    """Return a worker row that names this process.

    ``host`` instead of the machine's name, where a cluster tends it.
    """
    process = psutil.Process()
    now = time.time()
    return Worker(
        id=worker_id or new_id(),
        host=host or socket.gethostname(),
        pid=process.pid,
        process_started=process.create_time(),
        state="starting",
        pool=pool.value,
        heartbeat_at=now,
        created_at=now,
    )


def run_claimed(store: Store, job: Job, pulse: Pulse) -> JobStatus:
    """Run a job that the pulse's worker has claimed, and store how it ended.

    Returns that status.
    """
    status, error, trace = JobStatus.FINISHED, None, None
    with pulse.holding(job):
        try:
            load_plugins()
            resolve(JOB_KINDS[job.kind])(store, job, pulse.check)
        except StopRequested:
            status = JobStatus.STOPPED
        except ClaimLost:
            return JobStatus.INTERRUPTED
        except (
            StoreUnreachable
        ):  # for longer than a worker waits: nobody can be told, the next poll will find out
            traceback.print_exc()
            return JobStatus.INTERRUPTED
        except (Interrupted, KeyboardInterrupt):
            # A cluster ends a worker that has ignored a stop so far: the job counts as stopped.
            if store.job(job.id).stop_requested_at is not None:
                status = JobStatus.STOPPED
            else:
                status = JobStatus.INTERRUPTED
                error = "the worker was asked to end; resume goes on from the last checkpoint"
        except Exception as failure:
            status, error, trace = JobStatus.FAILED, _in_words(failure), traceback.format_exc()
            traceback.print_exc()
        with contextlib.suppress(ClaimLost):
            store.finish(job.id, status, worker_id=pulse.worker.id, error=error, traceback=trace)
    return status


def run_job(store_url: str, job_id: str) -> str | None:
    """Claim one queued job and run it in this process; returns its final status, None if it was not
    to be had.

    What a cluster calls; everything it needs besides the job's id is behind the store's URL.
    """
    store = Store(store_url, patience=SECONDS_OF_PATIENCE)
    worker = this_worker()
    with Pulse(store, worker) as pulse:
        job = store.claim(worker.id, job_id)
        return run_claimed(store, job, pulse).value if job else None


def end_gracefully(pulse: Pulse) -> None:
    """Make SIGTERM end the job at its next batch and leave it resumable."""

    def on_signal(_number: int, _frame: object) -> None:
        pulse.ending = True

    signal.signal(signal.SIGTERM, on_signal)


def _in_words(failure: Exception) -> str:
    if isinstance(failure, KDLabError):
        return str(failure)
    if is_out_of_memory(failure):
        return "there was not enough memory: try a smaller batch size, a smaller model or fewer training examples"
    return f"{type(failure).__name__}: {first_line(failure)}. This looks like a fault in KD Lab: please report it with the details."


def terminate_group(pid: int) -> None:
    """Kill a worker and its children at once; workers lead a process group of their own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
