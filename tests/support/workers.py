"""The worker processes of a test's store."""

from __future__ import annotations

from kdcore.engine.jobs import terminate_group
from kdcore.storage.store import Store


def end_workers(store: Store) -> None:
    """Kill a store's workers, which would wait ten minutes for more work."""
    for worker in store.workers():
        terminate_group(worker.pid)
