"""Something that the Train page asks a worker about the settings in its form: whether it is under
way, and how it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Job, JobStatus
from kdcore.storage.store import Store
from pages.shared.forms import TRAIN_PREFIX, ConfigForm
from pages.shared.session import engine

SECONDS_BETWEEN_POLLS = 0.5


def whole_config(config: ExperimentConfig) -> dict[str, Any]:
    """Return the payload of a job that is about all settings."""
    return {"config": config.model_dump(mode="json")}


@dataclass(frozen=True)
class Question:
    """A kind of job, and its ``payload`` for the settings that it is about."""

    kind: str
    payload: Callable[[ExperimentConfig], dict[str, Any]] = whole_config

    @property
    def _key(self) -> str:
        return f"train_{self.kind}_job"

    def job(self, store: Store, config: ExperimentConfig) -> Job | None:
        """Return this visitor's latest job where it is about these settings, None else."""
        job_id = st.session_state.get(self._key)
        job = None if job_id is None else store.job(job_id)
        return job if job is not None and job.payload == self.payload(config) else None

    def has_come_to_something(self, store: Store, config: ExperimentConfig) -> bool:
        """Return whether this visitor has asked about these settings, and the job is under way or
        has an answer or an error.
        """
        job = self.job(store, config)
        if job is None:
            return False
        status = JobStatus(job.status)
        return status.live or status is JobStatus.FINISHED or bool(job.error)

    def pause(self, store: Store, config: ExperimentConfig) -> float | None:
        """Return the seconds between two polls, None where there is nothing to wait for."""
        job = self.job(store, config)
        live = job is not None and JobStatus(job.status).live
        return SECONDS_BETWEEN_POLLS if live else None

    def ask(self, store: Store) -> None:
        """Queue a job about what the form holds now, which may be newer than what was drawn; to be
        called from a callback.
        """
        config = ConfigForm(TRAIN_PREFIX, ExperimentConfig()).config
        if config is not None:
            self.ask_about(store, config)

    def ask_about(self, store: Store, config: ExperimentConfig) -> None:
        """Queue a job about these settings."""
        job_id = store.add_job(self.kind, self.payload(config))
        st.session_state[self._key] = job_id
        engine().submit(job_id)
