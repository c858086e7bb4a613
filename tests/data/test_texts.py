"""Texts that people bring: tables, JSON lines, folders and zips of .txt; what was understood is
said, and what cannot be read is named.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdcore.config.catalog import dataset_card
from kdcore.data import datasets
from kdcore.data.check import check
from kdcore.data.ingest import add
from kdcore.data.readers.opening import open_source
from kdcore.errors import ConfigError
from kdcore.storage.store import Store
from kdcore.tasks.report import DataOptions
from kdcore.tasks.text import texts_of
from kdcore.tasks.vocabulary import PIECES, Pieces

WORDS = ("sun", "rain", "wind", "snow", "river", "stone", "tree", "road", "house", "bird", "fish")
SST2 = Path(os.environ.get("KD_DATA_DIR", "no such folder")) / "sst2.csv"


def sentence(number: int) -> str:
    return " ".join(WORDS[number // 11**place % 11] for place in range(4)) + f", {number}"


def frame(rows: int = 60) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "text": [sentence(number) for number in range(rows)],
            "label": ["good" if number % 2 else "bad" for number in range(rows)],
        }
    )


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_of_texts_is_told_from_one_of_features(tmp_path: Path, suffix: str) -> None:
    report = check(write(frame(), tmp_path / f"reviews{suffix}")).report
    assert report.kind == "text"
    assert report.understood == "2 classes: bad, good; 60 in all"
    assert "Texts are read from the column 'text', classes from the column 'label'." in report.notes
    assert report.problems == []
    assert report.values.startswith("texts of ")


def test_columns_that_number_rows_do_not_make_it_a_table_of_features(tmp_path: Path) -> None:
    table = frame().assign(id=range(60))
    assert check(write(table, tmp_path / "with_id.csv")).report.kind == "text"
    passengers = frame().assign(age=np.linspace(1, 80, 60))
    source = write(passengers, tmp_path / "with_age.csv")
    found = open_source(source)
    assert found.kind == "table"
    assert any("or named as the texts to learn" in note for note in found.notes)
    asked = check(source, DataOptions(text_column="text")).report
    assert asked.kind == "text"
    assert asked.ignored == ["age"]
    with pytest.raises(ConfigError, match="text column must be one of text, label, age"):
        open_source(source, DataOptions(text_column="words"))


def test_a_column_says_which_part_a_row_belongs_to(tmp_path: Path) -> None:
    parts = ["train"] * 40 + ["dev"] * 8 + ["test"] * 12
    source = open_source(write(frame().assign(split=parts), tmp_path / "parts.csv"))
    assert source.parts == {"train": 48, "test": 12}
    no_test = ["train"] * 48 + ["validation"] * 12
    source = open_source(write(frame().assign(split=no_test), tmp_path / "no_test.csv"))
    assert source.parts == {"train": 48, "test": 12}
    assert any("used as test data" in note for note in source.notes)


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_text_in_folders(tmp_path: Path, packed: bool) -> None:
    folder = tmp_path / "reviews"
    for number in range(40):
        label = "good" if number % 2 else "bad"
        part = "train" if number < 28 else "test"
        file = folder / part / label / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        encoding = {0: "utf-8", 1: "utf-16", 2: "cp1252"}[number % 3]
        file.write_bytes(f"Größe {sentence(number)}".encode(encoding))
    (folder / "README.md").write_text("not a text to learn")
    source: Path = folder
    if packed:
        source = tmp_path / "reviews.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in folder.rglob("*.*"):
                archive.write(file, file.relative_to(tmp_path))
    report = check(source).report
    assert (report.kind, report.parts) == ("text", {"train": 28, "test": 12})
    batch = next(open_source(source).batches("train"))
    assert all(text.startswith("Größe") for text in map(bytes.decode, map(bytes, batch.inputs)))


def test_empty_texts_are_named_and_left_out_on_demand(tmp_path: Path) -> None:
    table = frame()
    table.loc[3, "text"], table.loc[7, "text"] = "  ", None
    source = write(table, tmp_path / "gaps.csv")
    report = check(source).report
    assert report.problems[0][2] == "2 that are not: row 4 (no text); row 8 (no text)"
    mended = check(source, DataOptions(skip_corrupt=True)).report
    assert mended.problems == []
    assert mended.stored == {"all": 58}


def test_equal_texts_in_both_parts_and_long_ones_are_counted(tmp_path: Path) -> None:
    table = frame().assign(split=["train"] * 40 + ["test"] * 20)
    table.loc[45, "text"] = table.loc[5, "text"]
    table.loc[9, "text"] = "many words " * 400
    report = check(write(table, tmp_path / "leak.csv"), DataOptions(length=16)).report
    assert report.leaked == 1
    assert any(warning.startswith("1 text") for warning in report.warnings) or any(
        "lose their end" in warning for warning in report.warnings
    )


def test_texts_that_differ_in_capitals_and_blanks_are_one(tmp_path: Path) -> None:
    table = frame().assign(split=["train"] * 40 + ["test"] * 20)
    table.loc[45, "text"] = f"  {table.loc[5, 'text'].upper()} "
    report = check(write(table, tmp_path / "twins.csv")).report
    assert report.leaked == 1, "models see the same tokens"


def test_what_is_not_stored_of_long_texts_is_said(tmp_path: Path) -> None:
    table = frame()
    for at, number in ((3, 700), (4, 700), (9, 100)):
        table.loc[at, "text"] = " ".join(f"word{each}" for each in range(number))
    report = check(write(table, tmp_path / "long.csv"), DataOptions(length=1024)).report
    said = [warning for warning in report.warnings if "bytes" in warning]
    assert said == [
        "2 texts are longer than the 4,000 bytes that are stored of each, and lose what comes "
        "after them."
    ]
    assert report.width == 4000


def test_texts_that_a_parquet_holds_as_bytes_are_texts(tmp_path: Path) -> None:
    table = frame()
    texts = table["text"].to_list()
    table["text"] = [text.encode() for text in texts]
    table.to_parquet(tmp_path / "bytes.parquet")
    source = open_source(tmp_path / "bytes.parquet", DataOptions(text_column="text"))
    (part,) = source.parts
    found = [bytes(each).decode() for batch in source.batches(part) for each in batch.inputs]
    assert sorted(found) == sorted(texts)


@pytest.mark.parametrize(
    ("encoding", "said"), [("cp1252", "Windows-1252"), ("utf-16-le", "UTF-16-LE"), ("utf-8", "")]
)
def test_how_files_of_text_are_read_is_said(tmp_path: Path, encoding: str, said: str) -> None:
    for name in ("café", "thé"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        for number in range(12):
            file = tmp_path / "folder" / name / f"{number}.txt"
            file.write_bytes(f"{name} numéro {number}".encode(encoding))
    (tmp_path / "folder" / "café" / "photo.png").write_bytes(b"no text")
    report = check(tmp_path / "folder").report
    assert report.kind == "text", "one stray image makes no folder of images"
    notes = [note for note in report.notes if "are no UTF-8" in note]
    assert [said in note for note in notes] == [True] * bool(said)


def test_a_first_line_with_a_sentence_is_no_header(tmp_path: Path) -> None:
    rows = "\n".join(f'{1 + at % 2},"{sentence(at)} and some more words"' for at in range(40))
    (tmp_path / "news.csv").write_text(rows)
    report = check(tmp_path / "news.csv", DataOptions(label="column 1")).report
    assert sum(report.parts.values()) == 40, report.notes


@pytest.mark.parametrize("pieces", PIECES)
def test_what_is_stored_comes_back_as_tokens_of_the_training_part(
    store: Store, tmp_path: Path, pieces: Pieces
) -> None:
    table = frame(120)
    odd = "null \x00 byte, <b>HTML</b>, שלום, 😀"
    table.loc[11, "text"] = odd
    source = write(table, tmp_path / "own.jsonl")
    row = add(store, "own", source, DataOptions(pieces=pieces, length=24))
    card = dataset_card(row.key)
    assert (card.kind, card.input_shape) == ("text", (24,))
    dataset = datasets.load_named(row.key)
    assert dataset.vocabulary is not None
    assert dataset.train.texts is None
    shown = texts_of(dataset.test.texts) if dataset.test.texts is not None else []
    written = {
        sentence(number) if number != 11 else odd.replace("\x00", " ") for number in range(120)
    }
    assert set(shown) <= written
    np.testing.assert_array_equal(dataset.vocabulary.encode(shown), dataset.test.inputs)
    other = add(store, "own", source, DataOptions(pieces=pieces, length=32))
    assert other.key != row.key, "another length is other data"
    assert json.loads(json.dumps(other.report))["tokens"]["length"] == 32


@pytest.mark.skipif(not SST2.exists(), reason="KD_DATA_DIR holds no sst2.csv")
def test_sst2_as_it_is() -> None:
    report = check(SST2).report
    assert report.kind == "text"
    assert report.parts == {"train": 7792, "test": 1821}
    assert report.counts["test"] == [912, 909]
    assert report.leaked == 2
