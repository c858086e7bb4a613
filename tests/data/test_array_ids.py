"""Ids and file names beside the arrays of a .npz, and labels that are empty there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdcore.data import datasets, ingest
from kdcore.data.check import check
from kdcore.data.readers.answers import read_answers
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError
from kdcore.storage import user_data
from kdcore.storage.schema import UserDataset
from kdcore.storage.store import Store, new_id
from kdcore.tasks.report import DataOptions, Report


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 5), np.uint8)


def npz(folder: Path, **changes: np.ndarray) -> Path:
    arrays = {
        "x_train": images(40, 1),
        "y_train": np.arange(40) % 4,
        "x_test": images(12, 2),
        "y_test": np.arange(12) % 4,
    }
    np.savez(folder / "arrays.npz", **{**arrays, **changes})
    return folder / "arrays.npz"


def add(store: Store, path: Path) -> UserDataset:
    with path.open("rb") as file:
        upload = user_data.put_upload(store, new_id(), file)
    job_id = store.add_job("data", ingest.data_payload(upload, path.name, DataOptions(), "arrays"))
    run_job(store.url, job_id)
    assert store.job(job_id).error is None
    row = user_data.find(store, "arrays")
    assert row is not None
    return row


def report(path: Path) -> Report:
    return check(path).report


def test_ids_are_kept_with_their_examples_and_match_answers(store: Store, tmp_path: Path) -> None:
    labels = np.where(np.arange(40) % 5 == 4, -1, np.arange(40) % 4)
    trained, tested, others = 100 + np.arange(40), 900 + np.arange(12), 500 + np.arange(3)
    row = add(
        store,
        npz(
            tmp_path,
            y_train=labels,
            ids_train=trained,
            id_test=tested,
            x_unlabelled=images(3, 5),
            ids_unlabelled=others,
        ),
    )
    assert row.report["ignored"] == []
    assert "A file of a teacher's answers may tell examples by row or id." in row.report["notes"]
    first, test = datasets.load_ids(row.key)
    known = labels >= 0
    assert first == {"id": [str(n) for n in (*trained[known], *trained[~known], *others)]}
    assert test == {"id": [str(n) for n in tested]}
    # Answers in any order, told by id, are those of the rows.
    answers = np.random.default_rng(0).dirichlet(np.ones(4), 55).astype(np.float32)
    names = np.array([*first["id"], *test["id"]])
    order = np.random.default_rng(1).permutation(55)
    np.savez(tmp_path / "answers.npz", probabilities=answers[order], id=names[order])
    found = read_answers(tmp_path / "answers.npz", list("0123"), 43, 12, (first, test))
    assert found.test is not None
    np.testing.assert_allclose(np.exp(found.logits), answers[:43], atol=1e-5)
    np.testing.assert_allclose(np.exp(found.test), answers[43:], atol=1e-5)


def test_names_of_files_are_kept_as_text(store: Store, tmp_path: Path) -> None:
    row = add(
        store,
        npz(
            tmp_path,
            filenames_train=np.array([f"a/{n:03}.png" for n in range(40)]),
            filenames_test=np.array([f"b/{n:03}.png" for n in range(12)], "S"),
        ),
    )
    first, test = datasets.load_ids(row.key)
    assert first["file"][7] == "a/007.png"
    assert test["file"][-1] == "b/011.png"


def test_ids_that_do_not_name_every_example_are_not_read_and_that_is_said(tmp_path: Path) -> None:
    twice = np.arange(40) // 2
    notes = report(npz(tmp_path, ids_train=twice)).notes
    assert "The array ids_train is not read: 20 ids stand there twice." in notes
    assert not any("may tell examples by" in note for note in notes)
    notes = report(npz(tmp_path, ids_train=np.arange(40), x_unlabelled=images(3, 5))).notes
    assert "The array ids_train is not read: other examples have no such ids." in notes
    with pytest.raises(ConfigError, match=r"ids_train must be one id for each of the 40 examples"):
        report(npz(tmp_path, ids_train=np.arange(39)))
    with pytest.raises(ConfigError, match="ids_train must be whole numbers or text, got float64"):
        report(npz(tmp_path, ids_train=np.arange(40.0)))


@pytest.mark.parametrize("empty", [np.nan, "", " "])
def test_labels_that_are_empty_are_none(store: Store, tmp_path: Path, empty: object) -> None:
    number = isinstance(empty, float)
    given = [n % 4 if number else f"class {n % 4}" for n in range(40)]
    labels = np.array([empty if n % 5 == 4 else label for n, label in enumerate(given)])
    tested = np.array(given[:12])
    row = add(store, npz(tmp_path, y_train=labels, y_test=tested))
    assert row.report["parts"] == {"train": 32, "test": 12, "unlabelled": 8}
    assert "8 train labels are empty or NaN." in row.report["notes"]
    dataset = datasets.load_named(row.key)
    np.testing.assert_array_equal(dataset.train.inputs[-8:, ..., 0], images(40, 1)[4::5])
    path = npz(tmp_path, y_train=labels, y_test=tested)
    with pytest.raises(ConfigError, match="train labels must be"):
        check(path, DataOptions(unlabelled="no"))
    path = npz(tmp_path, y_train=np.array([empty] * 40), y_test=tested)
    with pytest.raises(ConfigError, match="classes for some of the examples, got none for any"):
        check(path)


def test_tables_say_what_tells_their_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "passenger_id": [f"p{n}" for n in range(40)],
            "a": np.random.default_rng(0).normal(size=40),
            "label": ["x", "y"] * 20,
        }
    )
    frame.to_csv(tmp_path / "rows.csv", index=False)
    notes = check(tmp_path / "rows.csv", DataOptions(drop=("passenger_id",))).report.notes
    assert "A file of a teacher's answers may tell examples by row or passenger_id." in notes
