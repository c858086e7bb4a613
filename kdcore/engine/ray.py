"""Workers on a Ray cluster: ``KD_ENGINE=ray``, ``RAY_ADDRESS`` names the cluster.

A worker there is the worker of one machine, ``python -m kdcore.work.worker``, submitted through
Ray's Jobs API and placed by Ray on whichever node has a CPU (and a GPU, where the cluster has any)
to give. Why not tasks or actors of a driver:

- A task dies with its driver. A Ray job belongs to the cluster: it outlives the dashboard, and the
  dashboard, which only speaks HTTP to the head node, outlives the cluster, imports no TensorFlow
  and joins no cluster.
- One process imports TensorFlow once and then runs many jobs of ours; a task a job would pay for it
every time.
- Ray runs a job once and never again by itself (what ``max_retries=0`` is for tasks): it is our own
  resume that goes on, from the last checkpoint.

The code travels with each worker (``py_modules``), so that all nodes run what the dashboard runs;
the nodes need what requirements.txt and requirements-ray.txt name. Everything else, data included,
is behind the store's URL.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import traceback
from typing import Any

from kdcore.config.experiment import digest
from kdcore.engine.workers import SECONDS_OF_GRACE, mark_interrupted
from kdcore.errors import ClaimLost, ConfigError, Problem, StoreError
from kdcore.installation import ROOT
from kdcore.storage.database import SCHEMA_LOCK
from kdcore.storage.schema import JobStatus, Pool, Worker
from kdcore.storage.store import Store, new_id

HOST = "ray"
PREFIX = "kdlab-"
LOOK_LOCK = SCHEMA_LOCK + 1
SECONDS_BETWEEN_POLLS = 1.0
# A poll that takes longer is given up, for example when the network swallowed its request.
SECONDS_OF_A_LOOK = 60.0
# How long nothing is submitted after a worker could not even start.
SECONDS_AFTER_FAILURE = 15.0


class RayEngine:
    """Workers on the Ray cluster at ``address``, the environment's ``RAY_ADDRESS`` by default.

    All talk with the cluster happens in a thread of its own: no call waits for it, and where the
    cluster is out of reach, the jobs wait in the queue and say so. Raises ConfigError where Ray is
    not installed, or where the store is a file, which other machines cannot reach.
    """

    def __init__(
        self, store: Store, *, workers: int | None = None, idle_seconds: float = 120.0
    ) -> None:
        if store.url.startswith("sqlite"):
            rule = "the URL of a PostgreSQL server for KD_ENGINE=ray: workers elsewhere cannot reach a file"
            raise ConfigError(Problem("KD_STORE", rule, store.name))
        try:
            import ray.job_submission  # noqa: F401
        except ImportError:
            rule = "local where Ray is not installed; install it with pip install -r requirements-ray.txt"
            raise ConfigError(Problem("KD_ENGINE", rule, "ray")) from None
        self.store = store
        self.most_workers = workers or 1  # until the cluster has said how large it is
        self._limit = workers
        self.idle_seconds = idle_seconds
        self._client: Any = None
        self._thread: threading.Thread | None = None
        self._polled_at = 0.0
        self._keep_warm = False
        self._failed_at = -SECONDS_AFTER_FAILURE
        self._troubled = False
        self._stopped: set[str] = set()
        self._store_key = digest({"store": store.url})

    def submit(self, job_id: str) -> None:
        """See to it that a queued job gets a worker."""
        self._polled_at = 0.0
        self.tend()

    def warm(self) -> None:
        """Keep one worker ready, so that the next job starts without waiting for the import of
        Keras.
        """
        self._keep_warm = True
        self.tend()

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once if queued, at the next batch if running, by force after a grace
        period.
        """
        self.store.request_stop(job_id)
        self.tend()

    def tend(self) -> None:
        """Take care of dead workers, ignored stops and queued jobs without a worker.

        Returns at once.
        """
        now = time.monotonic()
        since = now - self._polled_at
        if since < SECONDS_BETWEEN_POLLS:
            return
        mark_interrupted(self.store)
        if self._thread and self._thread.is_alive() and since < SECONDS_OF_A_LOOK:
            return
        self._polled_at = now
        self._thread = threading.Thread(target=self._look, name="ray", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nothing to release: the cluster's workers leave by themselves when they have been idle
        for long.
        """

    def _look(self) -> None:
        """Compare what the store knows with what the cluster knows, and act on the difference.

        One process at a time.
        """
        try:
            with self.store.alone(LOOK_LOCK) as alone:
                if not alone:  # a dashboard polls already, or another command
                    return
                if self._client is None:
                    self._client = _connect()
                live = self._live_workers()
                self._kill_overdue(live)
                self._start(live)
                if self._troubled and time.monotonic() - self._failed_at > SECONDS_AFTER_FAILURE:
                    self._say("waiting for a worker", troubled=False)
        except StoreError:
            traceback.print_exc()  # whoever reads the store is told as well
        except (
            Exception
        ) as error:  # of many kinds: the address, the network, the token, the cluster
            traceback.print_exc()
            self._client = None
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self._say(f"waiting for the Ray cluster at {address()}, which cannot be used: {reason}")

    def _say(self, words: str, *, troubled: bool = True) -> None:
        self._troubled = troubled
        try:
            self.store.wait_for(words)
        except StoreError:
            traceback.print_exc()

    def _live_workers(self) -> list[Worker]:
        """Return the workers that the cluster runs or is about to.

        What the others held is interrupted.
        """
        rows = {
            worker.id: worker for worker in self.store.workers() if worker.host.startswith(HOST)
        }
        live = []
        for job in self._client.list_jobs():
            if (job.metadata or {}).get("kdlab_store") != self._store_key:
                continue
            worker_id = job.metadata["kdlab_worker"]
            worker = rows.pop(worker_id, None)
            if not job.status.is_terminal():
                if worker is None or worker.pid == 0:  # it cannot speak for itself yet
                    pool = Pool(job.metadata.get("kdlab_pool", Pool.MACHINE))
                    worker = _starting(worker_id, pool)
                    self.store.put_worker(worker)
                live.append(worker)
            elif worker is not None:
                if worker.state == "starting" and job.status == "FAILED":
                    self._failed_at = time.monotonic()
                    last = (str(job.message).strip().splitlines() or ["no message"])[-1]
                    self._say(
                        f"waiting for another worker: the last one could not start on the Ray cluster: {last}"
                    )
                self._bury(worker.id)
        for worker_id in rows:  # of a cluster that is no more
            self._bury(worker_id)
        return live

    def _bury(self, worker_id: str) -> None:
        for job in self.store.jobs(JobStatus.RUNNING):
            if job.worker_id == worker_id:
                self._interrupt(worker_id, job.id, bool(job.stop_requested_at))
        self.store.remove_worker(worker_id)

    def _interrupt(self, worker_id: str, job_id: str, stopped: bool) -> None:
        status = JobStatus.STOPPED if stopped else JobStatus.INTERRUPTED
        why = "its worker on the Ray cluster ended (killed, out of memory, or its node was lost)"
        words = f"{why}; Resume goes on from the last checkpoint"
        with contextlib.suppress(ClaimLost):  # it had said how it ended itself
            self.store.finish(job_id, status, worker_id=worker_id, error=words)

    def _kill_overdue(self, live: list[Worker]) -> None:
        """Have Ray kill the workers that have ignored a stop for longer than the grace period."""
        ids = {worker.id for worker in live}
        for job in self.store.jobs(JobStatus.RUNNING):
            overdue = (
                job.stop_requested_at is not None
                and time.time() - job.stop_requested_at > SECONDS_OF_GRACE
            )
            if overdue and job.worker_id in ids - self._stopped:
                self._client.stop_job(PREFIX + job.worker_id)
                self._stopped.add(job.worker_id)

    def _start(self, live: list[Worker]) -> None:
        """Submit a worker for each queued job that has none, as many as the cluster has
        room for.
        """
        wanted = self.store.waiting()
        for worker in live:
            if worker.state != "busy":
                pool = Pool(worker.pool)
                wanted[pool] = wanted.get(pool, 0) - 1
        if self._keep_warm and not live:
            wanted[Pool.MACHINE] = max(1, wanted.get(Pool.MACHINE, 0))
        if (
            max(wanted.values(), default=0) <= 0
            or time.monotonic() - self._failed_at < SECONDS_AFTER_FAILURE
        ):
            return
        cpus, gpus = _resources(self._client.get_address())
        self.most_workers = max(1, min(int(gpus or cpus), self._limit or sys.maxsize))
        room = self.most_workers - len(live)
        for pool, number in sorted(wanted.items(), key=lambda item: item[0].threads):
            for _ in range(min(number, room)):
                self._submit_worker(pool, with_gpu=gpus > 0)
                room -= 1

    def _submit_worker(self, pool: Pool, *, with_gpu: bool) -> None:
        worker_id = new_id()
        options = f"--worker-id {worker_id} --pool {pool} --idle-seconds {self.idle_seconds}"
        self._client.submit_job(
            submission_id=PREFIX + worker_id,
            entrypoint=f"exec python -P -m kdcore.work.worker {options} --host {HOST}:$(hostname)",
            entrypoint_num_cpus=1,
            entrypoint_num_gpus=1 if with_gpu else 0,
            runtime_env={
                "py_modules": [str(ROOT / "kdcore")],
                "excludes": ["__pycache__"],
                "env_vars": {"KD_STORE": self.store.url, "KERAS_BACKEND": "tensorflow"},
            },
            metadata={
                "kdlab_store": self._store_key,
                "kdlab_worker": worker_id,
                "kdlab_pool": pool.value,
            },
        )
        self.store.put_worker(_starting(worker_id, pool))


def _starting(worker_id: str, pool: Pool) -> Worker:
    """Return the row of a worker that is on its way."""
    now = time.time()
    return Worker(
        id=worker_id,
        host=HOST,
        pid=0,
        process_started=0.0,
        state="starting",
        pool=pool.value,
        heartbeat_at=now,
        created_at=now,
    )


def address() -> str:
    """Return the address of the cluster as it was given, for people to read."""
    return (
        os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or "this machine"
    )


def _connect() -> Any:
    """Return a client of the cluster's Jobs API."""
    from ray.job_submission import JobSubmissionClient

    given = address()
    if not given.startswith(("http://", "https://")):
        # host:6379 or ray://host:10001 have to be asked where the Jobs API is, over a connection of
        # Ray's core, which may end its process when the cluster goes away: so another process asks.
        ask = "from ray.dashboard.utils import get_address_for_submission_client as ask; print(ask(None))"
        done = subprocess.run(
            [sys.executable, "-c", ask], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise ConnectionError((done.stderr.strip().splitlines() or ["no answer"])[-1])
        os.environ["RAY_API_SERVER_ADDRESS"] = done.stdout.split()[
            -1
        ]  # Ray reads it before RAY_ADDRESS
    return JobSubmissionClient()


def _resources(api_address: str) -> tuple[float, float]:
    """Return how many CPUs and GPUs the cluster's live nodes have together."""
    from ray.util.state import list_nodes

    # Ray counts the dead nodes that the filter leaves out as missing from its answer.
    nodes = list_nodes(
        api_address, filters=[("state", "=", "ALIVE")], raise_on_missing_output=False
    )
    totals = [node.resources_total or {} for node in nodes]
    return sum(total.get("CPU", 0.0) for total in totals), sum(
        total.get("GPU", 0.0) for total in totals
    )
