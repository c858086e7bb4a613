"""What every engine can do: start and end the work on jobs. Each engine decides where they run."""

from __future__ import annotations

from typing import Protocol


class Engine(Protocol):
    """Starts and ends the work on jobs. All calls return at once.

    ``most_workers`` is how many of a kind there may be at once, as far as the engine knows.
    """

    most_workers: int

    def submit(self, job_id: str) -> None:
        """See to it that a queued job gets a worker."""
        ...

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once if queued, at the next batch if running, by force if that is not
        heeded.
        """
        ...

    def warm(self) -> None:
        """Keep one worker ready, so that the next job starts without waiting for the import of
        Keras.
        """
        ...

    def tend(self) -> None:
        """Take care of what nobody else can.

        Cheap enough to be called at every poll of the store.
        """
        ...

    def close(self) -> None:
        """Release what the engine itself holds; running jobs go on."""
        ...
