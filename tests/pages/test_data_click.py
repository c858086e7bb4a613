"""A click on the Data page that arrives together with what was typed just before it."""

from __future__ import annotations

import json
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
    page = AppTest.from_function(choices, args=(store.url, first), default_timeout=60).run()
    assert not page.exception
    page.text_input(key=f"data_label_{first}").set_value("kind")
    page.button(key="data_check").click().run()
    assert not page.exception
    (second,) = (job for job in store.jobs(JobStatus.QUEUED) if job.id != first)
    assert second.payload["options"]["label"] == "kind"
    assert page.query_params["job"] in ([second.id], second.id)


def test_a_label_that_was_picked_is_taken_and_one_told_by_its_name_is_not_said(
    store: Store,
) -> None:
    first = store.add_job("data", data_payload({"upload": "abc"}, "table.csv", DataOptions()))
    seen = {"columns": ["a", "class"], "kinds": ["text", "text"], "rows": [], "label": "class"}
    store.put_artifact(f"data_report/{first}/peek", json.dumps(seen).encode())
    page = AppTest.from_function(choices, args=(store.url, first), default_timeout=60).run()
    assert page.selectbox(key=f"data_label_{first}").value == "class"
    page.selectbox(key=f"data_text_{first}").set_value("encode")
    page.button(key="data_check").click().run()
    (second,) = (job for job in store.jobs(JobStatus.QUEUED) if job.id != first)
    assert second.payload["options"]["label"] is None
    assert second.payload["options"]["text"] == "encode"
    page.selectbox(key=f"data_label_{first}").set_value("a")
    page.button(key="data_check").click().run()
    assert not page.exception
    chosen = [job.payload["options"]["label"] for job in store.jobs(JobStatus.QUEUED)]
    assert chosen == [None, None, "a"]
