"""Jobs that measure models on screen, whoever started them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from kdcore.analysis.contenders import Contender
from kdcore.storage.schema import Job, JobStatus
from kdcore.storage.store import Store
from pages.shared.session import engine

KINDS = ("measure", "robustness")


def measuring(store: Store, contenders: Sequence[Contender], *kinds: str) -> Job | None:
    """Return the job of one of these kinds that measures some of these right now."""
    run_ids = {run.id for each in contenders for run in each.runs}
    jobs = store.jobs(JobStatus.RUNNING, JobStatus.QUEUED)
    return next(
        (job for job in jobs if job.kind in kinds and run_ids & set(job.payload["run_ids"])),
        None,
    )


def show_progress(job: Job) -> None:
    """Draw how far it is, with a way to stop it."""
    st.button(
        "Stop",
        icon=":material/stop:",
        key=f"compare_stop_{job.kind}",
        on_click=engine().cancel,
        args=(job.id,),
    )
    st.progress(min(job.progress, 1.0), f"{job.phase[:1].upper()}{job.phase[1:]}", width=320)
