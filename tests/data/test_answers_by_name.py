"""Answers that belong to examples by the names of their files or by ids."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import softmax

from kdcore.data import datasets, ingest
from kdcore.data.readers.answers import Answers, Ids, read_answers
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError
from kdcore.storage import user_data, user_models
from kdcore.storage.arrays import unpack_many
from kdcore.storage.schema import UserDataset
from kdcore.storage.store import Store, new_id
from kdcore.tasks.report import DataOptions

CLASSES = ("cat", "dog")
RANDOM = np.random.default_rng(0)
P = softmax(RANDOM.normal(0, 2, (6, 2)), axis=1)
FILES: Ids = {
    "file": [f"train/{name}" for name in ("cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png")]
}
TEST_FILES: Ids = {"file": ["test/cat/1.png", "test/dog/9.png"]}


def read(folder: Path, ids: tuple[Ids, Ids], test: int | None = None, **columns: object) -> Answers:
    lines = next(iter(columns.values()))
    table = pd.DataFrame(P[: len(lines)], columns=list(CLASSES)).assign(**columns)  # type: ignore[arg-type]
    table.to_csv(folder / "answers.csv", index=False)
    count = len(next(iter(ids[0].values()), lines))
    return read_answers(folder / "answers.csv", CLASSES, count, test, ids)


def same(found: np.ndarray | None, expected: np.ndarray) -> None:
    assert found is not None
    np.testing.assert_allclose(softmax(found, axis=1), expected, atol=1e-5)


@pytest.mark.parametrize("column", ["file", "path", "File Name"])
def test_files_are_matched_by_as_much_of_their_path_as_is_said(tmp_path: Path, column: str) -> None:
    for named in (
        ["train/dog/1.png", "train/cat/3.png", "train/cat/1.png", "train/cat/2.png"],
        ["dog/1.png", "3.png", "cat/1.png", "2.png"],
        ["/data/train/dog/1.png", "./train/cat/3.png", "train\\cat\\1.png", "2.png"],
    ):
        same(read(tmp_path, (FILES, {}), **{column: named}).logits, P[[2, 3, 1, 0]])


def test_a_part_is_told_by_the_path(tmp_path: Path) -> None:
    named = [*TEST_FILES["file"], *FILES["file"]]
    found = read(tmp_path, (FILES, TEST_FILES), 2, file=named)
    same(found.test, P[:2])
    same(found.logits, P[2:])
    with pytest.raises(ConfigError, match="part must be said for names that are in both"):
        read(tmp_path, (FILES, TEST_FILES), 2, file=["cat/1.png", *named[1:]])
    part = ["test", "test", *["train"] * 4]
    same(
        read(tmp_path, (FILES, TEST_FILES), 2, file=["cat/1.png", *named[1:]], part=part).test,
        P[:2],
    )


def test_ids_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    ids = {"passenger": ["7", "8", "12", "x9"]}
    for column in ("passenger", "id"):
        found = read(tmp_path, (ids, {}), **{column: ["x9", "0012", "8.0", 7]})
        same(found.logits, P[[3, 2, 1, 0]])
    more = read(tmp_path, (ids, {}), id=["x9", 12, 8, 7, 99, 100])
    same(more.logits, P[[3, 2, 1, 0]])
    assert "2 answers for examples that the dataset does not have left out" in more.words


BAD = {
    "missing": (["train/cat/1.png"], "3 missing, the first for train/cat/2.png, train/cat/3.png, "),
    "doubled": ([*FILES["file"], "cat/2.png"], "1 doubled, the first for train/cat/2.png"),
    "meant twice": ([*FILES["file"][1:], "1.png"], "1 missing, the first for train/cat/1.png"),
    "empty": ([*FILES["file"][1:], None], "file must be filled in everywhere, got 1 empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_missing_or_doubled_is_named(tmp_path: Path, name: str) -> None:
    named, words = BAD[name]
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, (FILES, {}), file=named)


def test_names_that_are_not_known_are_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file names or ids of this dataset are stored"):
        read(tmp_path, ({}, {}), file=["1.png", "2.png"])
    with pytest.raises(ConfigError, match=r"column must be one of file, what tells.*got 'id'"):
        read(tmp_path, (FILES, {}), id=[1, 2, 3, 4])
    with pytest.raises(ConfigError, match="one of them, got row, file"):
        read(tmp_path, (FILES, {}), row=[0, 1, 2, 3], file=FILES["file"])


# What a dataset keeps


def zipped(folder: Path, broken: str = "") -> Path:
    with zipfile.ZipFile(folder / "pets.zip", "w") as archive:
        for label in CLASSES:
            for number in range(30):
                file = io.BytesIO()
                pixels = RANDOM.integers(0, 256, (8, 8), np.uint8)
                Image.fromarray(pixels).save(file, "png")
                name = f"pets/{label}/{number}.png"
                archive.writestr(name, b"no" if name == broken else file.getvalue())
    return folder / "pets.zip"


def flowers(folder: Path, first: int = 100) -> Path:
    size = RANDOM.normal(0, 1, 60).round(3)
    table = pd.DataFrame({"code": range(first, first + 60), "a": size, "b": size[::-1]})
    table["note"] = [f"plant {number}" for number in range(60)]
    table.assign(label=["cat", "dog"] * 30).to_csv(folder / "flowers.csv", index=False)
    return folder / "flowers.csv"


def stored(store: Store, key: str) -> UserDataset:
    row = user_data.find(store, key)
    assert row is not None
    return row


def test_names_of_files_are_kept_without_those_that_could_not_be_read(
    store: Store, tmp_path: Path
) -> None:
    path = zipped(tmp_path, broken="pets/cat/3.png")
    row = ingest.add(store, "pets", path, DataOptions(skip_corrupt=True))
    names, test = datasets.load_ids(row.key)
    assert len(names["file"]) == 59 == len(datasets.load_stored(row.key).labels)
    assert "pets/cat/3.png" not in names["file"]
    assert test == {}
    inputs = datasets.load_stored(row.key).inputs
    with zipfile.ZipFile(path) as archive:
        for at in (0, 30, 58):
            own = np.asarray(Image.open(io.BytesIO(archive.read(names["file"][at]))))
            np.testing.assert_array_equal(inputs[at].squeeze(), own)


def test_ids_of_a_table_are_what_is_no_feature_and_change_no_digest(
    store: Store, tmp_path: Path
) -> None:
    path = flowers(tmp_path)
    row = ingest.add(store, "flowers", path, DataOptions(drop=("note",)))
    ids, _ = datasets.load_ids(row.key)
    assert set(ids) == {"code", "note"}
    assert ids["code"][:2] == ["100", "101"]
    # Other ids: the same data, which is told by the new ones from now on.
    table = pd.read_csv(path)
    table.assign(code=table["code"] + 900).to_csv(path, index=False)
    again = ingest.add(store, "flowers", path, DataOptions(drop=("note",)))
    assert again.key == row.key
    assert datasets.load_ids(row.key)[0]["code"][:2] == ["1000", "1001"]
    # Data of before ids were kept is not told by any, until the same is added again.
    manifest = dict(stored(store, row.key).manifest)
    manifest["parts"] = {"all": {**manifest["parts"]["all"], "ids": 0}}
    with store.writing() as session:
        session.get_one(UserDataset, row.key).manifest = manifest
    assert datasets.load_ids(row.key) == ({}, {})
    ingest.add(store, "flowers", path, DataOptions(drop=("note",)))
    assert datasets.load_ids(row.key)[0]["code"][:2] == ["1000", "1001"]
    assert datasets.load_ids("digits") == ({}, {})


def test_a_teacher_answers_by_id(store: Store, tmp_path: Path) -> None:
    row = ingest.add(store, "flowers", flowers(tmp_path))
    answers = softmax(RANDOM.normal(0, 1, (60, 2)), axis=1)
    order = RANDOM.permutation(60)
    table = pd.DataFrame(answers[order], columns=list(CLASSES)).assign(code=100 + order)

    def add(given: pd.DataFrame) -> str:
        given.to_csv(tmp_path / "answers.csv", index=False)
        with (tmp_path / "answers.csv").open("rb") as file:
            upload = user_data.put_upload(store, new_id(), file)
        payload = {"upload": upload, "file_name": "answers.csv", "name": "sage", "inputs": "auto"}
        job = store.add_job("model", payload | {"dataset": "flowers"})
        run_job(store.url, job)
        return store.job(job).error or ""

    assert add(table) == ""
    model = user_models.find(store, "sage")
    assert model is not None
    pieces = user_data.read_pieces(store, model.manifest["prefix"], model.manifest["pieces"])
    np.testing.assert_allclose(
        softmax(unpack_many(b"".join(pieces))["logits"], axis=1), answers, atol=1e-5
    )
    assert "2 missing, the first for 1" in add(table.iloc[2:])
    assert row.key.startswith("flowers@")
