"""A click on the Data page that arrives together with what was typed just before it."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from kdcore.data.ingest import data_payload
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.tasks.report import DataOptions


def choices(url: str, job_id: str) -> None:
    """Draw the choices of one check, with an engine that leaves the jobs where they are."""
    from types import SimpleNamespace

    from kdcore.storage.store import Store
    from pages.data import view

    view.engine = lambda: SimpleNamespace(submit=lambda _job_id: None)  # type: ignore[assignment, return-value]
    store = Store(url)
    view._choices(store, store.job(job_id), None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/store.db")


def test_check_again_takes_what_was_typed_in_the_same_moment(store: Store) -> None:
    upload = {"upload": "abc", "size": 3, "chunks": 1}
    first = store.add_job("data", data_payload(upload, "table.csv", DataOptions()))
    page = AppTest.from_function(choices, args=(store.url, first)).run()
    assert not page.exception
    page.text_input(key=f"data_label_{first}").set_value("kind")
    page.button(key="data_check").click().run()
    assert not page.exception
    (second,) = (job for job in store.jobs(JobStatus.QUEUED) if job.id != first)
    assert second.payload["options"]["label"] == "kind"
    assert page.query_params["job"] in ([second.id], second.id)
