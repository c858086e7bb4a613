"""How far a job is, told to the store, and when it is to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from kdcore.storage.store import Store

SECONDS_BETWEEN_REPORTS = 0.5


@dataclass
class Progress:
    """Tells the store how far the job is, and tells the job when to stop (``check`` raises
    StopRequested or ClaimLost).
    """

    store: Store
    job_id: str
    check: Callable[[], None]
    phases: int = 1
    phase: int = 0
    _words: str = ""
    _reported_at: float = 0.0
    _began: float = 0.0
    _first_fraction: float = 0.0

    def begin(self, words: str) -> None:
        """Enter the next phase."""
        self.phase += 1
        self._words, self._reported_at = words, 0.0
        self._first_fraction = 0.0
        self.update(0.0)

    def update(self, fraction: float, detail: str = "") -> None:
        """Report that ``fraction`` of the phase is done, at most twice a second.

        Raises where the job must end.
        """
        self.check()
        now = time.perf_counter()
        if (
            not self._first_fraction
        ):  # from the first step's end: compiling it takes seconds, and says nothing yet
            self._first_fraction, self._began = fraction, now
        if now - self._reported_at < SECONDS_BETWEEN_REPORTS:
            return
        self._reported_at = now
        gone = fraction - self._first_fraction
        seconds_left = (now - self._began) / gone * (1 - fraction) if gone > 0 else None
        # A phase that was waited for is entered twice.
        overall = min((self.phase - 1 + fraction) / self.phases, 1.0)
        self.store.report(self.job_id, self._words + detail, overall, seconds_left)
