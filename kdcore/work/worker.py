"""A worker process, ``python -m kdcore.work.worker``: imports Keras once, then runs one queued job
after another.
"""

from __future__ import annotations

import os
import time

# Before TensorFlow is imported: no banner, and memory on a GPU as needed, so that two workers can
# share one.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# Whatever the user's own Keras runs on.
os.environ["KERAS_BACKEND"] = "tensorflow"

import click

from kdcore.engine.jobs import (
    JOB_KINDS,
    SECONDS_OF_PATIENCE,
    Pulse,
    end_gracefully,
    limit_threads,
    run_claimed,
    this_worker,
)
from kdcore.storage.schema import Pool
from kdcore.storage.store import Store, default_url

SECONDS_BETWEEN_POLLS = 0.1
SECONDS_UNTIL_PLACE_IS_LEFT = 2.0


def _pin_keras() -> None:
    """Set what training depends on, whatever the user's keras.json says."""
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")


@click.command()
@click.option("--store", "store_url", default=default_url, help="URL of the store.")
@click.option("--worker-id", default=None, help="Id to register under; a fresh one if left out.")
@click.option(
    "--host",
    default=None,
    help="Where it runs, for a worker that a cluster tends; this machine if left out.",
)
@click.option("--idle-seconds", default=600.0, help="Leave after this long without work.")
@click.option(
    "--pool",
    "pool_name",
    type=click.Choice([pool.value for pool in Pool]),
    default=Pool.MACHINE.value,
    help="Take only jobs that want this kind of worker.",
)
def main(
    store_url: str, worker_id: str | None, host: str | None, idle_seconds: float, pool_name: str
) -> None:
    """Run queued jobs until there have been none for a while."""
    pool = Pool(pool_name)
    limit_threads(pool.threads)
    store = Store(store_url, patience=SECONDS_OF_PATIENCE)
    with Pulse(store, this_worker(worker_id, host, pool)) as pulse:
        end_gracefully(pulse)
        import kdcore.work.experiment  # noqa: F401  the slow import, once, before the first job

        _pin_keras()
        idle_since, limit = time.monotonic(), idle_seconds
        pulse.state("idle")
        while not pulse.ending and time.monotonic() - idle_since < limit:
            waiting = store.waiting(JOB_KINDS)
            # Asking costs less than claiming, which writes.
            claimed = pool in waiting and store.claim(pulse.worker.id, pool=pool, kinds=JOB_KINDS)
            if not claimed:
                time.sleep(SECONDS_BETWEEN_POLLS)
                # Of a cluster's few places another kind of worker may need this one.
                in_the_way = host is not None and bool(waiting.keys() - {pool})
                limit = (
                    min(idle_seconds, SECONDS_UNTIL_PLACE_IS_LEFT) if in_the_way else idle_seconds
                )
                # It waits for what others are doing now: a teacher, say.
                if pool in waiting and not in_the_way:
                    idle_since = time.monotonic()
                continue
            run_claimed(store, claimed, pulse)
            pulse.state("idle")
            idle_since = time.monotonic()


if __name__ == "__main__":
    main()
