"""Examples without a label, from every kind of source: how many there are, and where they went."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from kdcore.cli.program import main
from kdcore.config.cards import DatasetCard
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig, starting_config
from kdcore.data import datasets
from kdcore.data.check import check
from kdcore.data.datasets import labelled_rows
from kdcore.data.ingest import add
from kdcore.data.readers.layout import is_unlabelled
from kdcore.errors import ConfigError
from kdcore.storage.store import Store
from kdcore.tasks.report import DataOptions
from kdcore.tasks.vocabulary import PADDING_ID

CLASSES = ("cat", "dog")
WORDS = ("sun", "rain", "wind", "snow", "river", "stone", "tree", "road", "house", "bird", "fish")


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def sentence(number: int) -> str:
    return " ".join(WORDS[number // 11**place % 11] for place in range(4)) + f", {number}"


def files_of(folders: dict[str, int], kind: str = "png") -> dict[str, bytes]:
    """So many different files in each folder."""
    return {
        f"{folder}/{number}.{kind}": (
            picture(1000 * place + number)
            if kind == "png"
            else sentence(1000 * place + number).encode()
        )
        for place, (folder, count) in enumerate(folders.items())
        for number in range(count)
    }


def written(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 5), np.uint8)


def npz(folder: Path, **changes: np.ndarray) -> Path:
    given = {
        "x_train": images(40, 1),
        "y_train": np.arange(40) % 4,
        "x_test": images(12, 2),
        "y_test": np.arange(12) % 4,
        **changes,
    }
    path = folder / "data.npz"
    np.savez(path, **{name: array for name, array in given.items() if array is not None})
    return path


BESIDE_CLASSES = {"cat": 20, "dog": 20}
BESIDE_PARTS = {"train/cat": 20, "train/dog": 20, "test/cat": 6, "test/dog": 6}


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        ({**BESIDE_CLASSES, "unlabelled": 9}, {"all": 40, "unlabelled": 9}),
        ({**BESIDE_CLASSES, "unlabeled_images/more": 9}, {"all": 40, "unlabelled": 9}),
        (
            {**{f"pets/{c}": n for c, n in BESIDE_CLASSES.items()}, "unsup": 5},
            {"all": 40, "unlabelled": 5},
        ),
        ({**BESIDE_PARTS, "unlabelled": 9}, {"train": 40, "test": 12, "unlabelled": 9}),
        ({**BESIDE_PARTS, "train/unsup": 9}, {"train": 40, "test": 12, "unlabelled": 9}),
        (
            {f"aclImdb/{folder}": n for folder, n in {**BESIDE_PARTS, "train/unsup": 7}.items()},
            {"train": 40, "test": 12, "unlabelled": 7},
        ),
        (
            {"cat/train": 20, "dog/train": 20, "cat/test": 6, "dog/test": 6, "unlabelled": 3},
            {"train": 40, "test": 12, "unlabelled": 3},
        ),
    ],
)
@pytest.mark.parametrize("kind", ["png", "txt"])
def test_folders_and_zips(
    tmp_path: Path, folders: dict[str, int], parts: dict[str, int], kind: str
) -> None:
    files = files_of(folders, kind)
    for path in (written(tmp_path / "files", files), zipped(tmp_path / "files.zip", files)):
        report = check(path).report
        assert (report.parts, report.class_names) == (parts, list(CLASSES))
        assert report.kind == ("images" if kind == "png" else "text")
        assert report.division["unlabelled"] == report.unlabelled == parts["unlabelled"]
        assert sum(map(sum, report.counts.values())) == sum(parts.values()) - parts["unlabelled"]
        assert (
            f"{parts['unlabelled']} examples without a label: they are for teachers to answer, "
            "never for validation or test."
        ) in report.notes
        assert report.understood.endswith(f", {parts['unlabelled']} without a label")


def test_a_test_folder_without_classes_only_where_one_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, files_of({"train/cat": 20, "train/dog": 20, "test": 9}))
    report = check(path).report
    assert (report.parts, report.unlabelled) == ({"all": 40}, 0)
    assert any("left out (unlabelled test takes them in" in note for note in report.notes)
    asked = check(path, DataOptions(unlabelled="test")).report
    assert (asked.parts, asked.unlabelled) == ({"all": 40, "unlabelled": 9}, 9)


def test_a_class_may_be_called_unlabelled_where_one_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, files_of({**BESIDE_CLASSES, "unlabelled": 9}))
    report = check(path, DataOptions(unlabelled="no")).report
    assert report.class_names == ["cat", "dog", "unlabelled"]
    assert report.parts == {"all": 49}
    with pytest.raises(ConfigError, match="unlabelled must be one of named, test, no, got 'all'"):
        DataOptions(unlabelled="all")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("unlabelled", True),
        ("Unlabeled_images", True),
        ("unlabeled2017", True),
        ("unsup", True),
        ("labelled", False),
        ("unsupervised learning", False),
        ("cat", False),
    ],
)
def test_what_a_folder_is_called(folder: str, said: bool) -> None:
    assert is_unlabelled(folder) == said


def test_images_that_a_list_names_without_a_class(tmp_path: Path) -> None:
    files = files_of({"images": 40, "unlabelled": 5})
    rows = [
        f"{number}.png,{'' if number % 10 == 0 else CLASSES[number % 2]}" for number in range(40)
    ]
    files["labels.csv"] = "\n".join(["file,label", *rows]).encode()
    report = check(written(tmp_path, files)).report
    assert report.parts == {"all": 36, "unlabelled": 9}
    assert "4 images have an empty class in labels.csv." in report.notes
    assert "The folder unlabelled has 5 files without a class." in report.notes


def test_images_that_a_list_marks_with_minus_one(tmp_path: Path) -> None:
    files = files_of({"images": 40})
    rows = [f"{number}.png,{number % 3 - 1}" for number in range(40)]
    files["labels.csv"] = "\n".join(["file,label", *rows, "gone.png,-1"]).encode()
    path = written(tmp_path, files)
    report = check(path).report
    assert (report.parts, report.class_names) == ({"all": 26, "unlabelled": 14}, ["0", "1"])
    assert any(note.startswith("14 images have the label -1") for note in report.notes)
    assert check(path, DataOptions(unlabelled="no")).report.parts == {"all": 40}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("text", [False, True])
def test_rows_with_an_empty_label(store: Store, tmp_path: Path, suffix: str, text: bool) -> None:
    count = 60
    labels = [None if n % 3 == 2 else "good" if n % 3 else "bad" for n in range(count)]
    values = np.random.default_rng(0).normal(size=(count, 2)).round(4)
    features = (
        {"text": [sentence(n) for n in range(count)]}
        if text
        else {"a": values[:, 0], "b": values[:, 1]}
    )
    frame = pd.DataFrame({**features, "label": labels})
    path = tmp_path / f"rows.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    row = add(store, "rows", path)
    assert row.report["parts"] == {"all": 40, "unlabelled": 20}
    assert "20 rows have an empty label." in row.report["notes"]
    assert "20 examples without a label" in " ".join(row.report["notes"])
    dataset = datasets.load_named(row.key)
    known = len(dataset.train) - 20
    assert known == row.card["training_examples"]
    assert dataset.train.labels[known:].tolist() == [-1] * 20
    assert min(split.labels.min() for split in (dataset.validation, dataset.test)) >= 0
    assert dataset.train.labels[:known].min() >= 0
    if not text:  # they are the very rows, behind those with a label
        assert dataset.spread is not None
        found = dataset.train.inputs[known:] * dataset.spread + dataset.centre
        np.testing.assert_allclose(found, values[2::3], atol=1e-4)


def test_a_table_that_has_no_label_at_all_is_refused(tmp_path: Path) -> None:
    for name, frame in (
        ("features", pd.DataFrame({"a": [0.5, 1.5, 2.5], "label": [None] * 3})),
        ("texts", pd.DataFrame({"text": [sentence(n) for n in range(3)], "label": [""] * 3})),
    ):
        path = tmp_path / f"{name}.csv"
        frame.to_csv(path, index=False)
        with pytest.raises(ConfigError) as refused:
            check(path, DataOptions(text_column="text" if name == "texts" else None))
        said = "label must be filled in for some of the rows, got none of 3 rows"
        assert said in str(refused.value)
    path = tmp_path / "some.csv"
    pd.DataFrame({"a": [0.5, 1.5, 2.5], "label": ["x", "y", None]}).to_csv(path, index=False)
    with pytest.raises(ConfigError, match="label must be filled in everywhere, got 1 rows"):
        check(path, DataOptions(unlabelled="no"))


def test_minus_one_in_a_table_where_the_classes_are_counted(tmp_path: Path) -> None:
    def table(labels: list[int]) -> Path:
        values = np.random.default_rng(0).normal(size=len(labels))
        path = tmp_path / "rows.csv"
        pd.DataFrame({"a": values, "label": labels}).to_csv(path, index=False)
        return path

    report = check(table([-1, 0, 1] * 20)).report
    assert (report.parts, report.class_names) == ({"all": 40, "unlabelled": 20}, ["0", "1"])
    said = "20 rows have the label -1, which is read as none (if it is a class: unlabelled no)."
    assert said in report.notes
    three = check(table([-1, 0, 1] * 20), DataOptions(unlabelled="no")).report
    assert (three.parts, three.class_names) == ({"all": 60}, ["-1", "0", "1"])
    two = check(table([-1, 1] * 20)).report  # a perceptron's classes
    assert (two.parts, two.class_names) == ({"all": 40}, ["-1", "1"])


def test_rows_for_a_test_without_a_label(tmp_path: Path) -> None:
    def table(test_labels: list[str]) -> Path:
        frame = pd.DataFrame(
            {
                "text": [sentence(n) for n in range(60)],
                "split": ["train"] * 40 + ["test"] * 20,
                "label": ["good", "bad"] * 18 + [""] * 4 + test_labels,
            }
        )
        path = tmp_path / "texts.csv"
        frame.to_csv(path, index=False)
        return path

    some = check(table(["good", "bad"] * 6 + [""] * 8)).report
    assert some.parts == {"train": 36, "test": 12, "unlabelled": 4}
    assert any(note.startswith("8 rows for test have no label: left out") for note in some.notes)
    asked = check(table(["good", "bad"] * 6 + [""] * 8), DataOptions(unlabelled="test")).report
    assert asked.parts == {"train": 36, "test": 12, "unlabelled": 12}
    none = check(table([""] * 20), DataOptions(unlabelled="test")).report
    assert none.parts == {"all": 36, "unlabelled": 24}


@pytest.mark.parametrize("name", ["x_unlabelled", "x_unlabeled", "unlabelled_images"])
def test_an_array_of_inputs_alone(store: Store, tmp_path: Path, name: str) -> None:
    unlabelled = images(25, 3)
    row = add(store, "arrays", npz(tmp_path, **{name: unlabelled}))
    assert row.report["parts"] == {"train": 40, "test": 12, "unlabelled": 25}
    assert row.report["ignored"] == []
    card = dataset_card(row.key)
    assert (card.training_examples, card.unlabelled_examples) == (34, 25)
    dataset = datasets.load_named(row.key)
    assert len(dataset.train) == 59
    assert (dataset.train.labels == -1).tolist() == [False] * 34 + [True] * 25
    np.testing.assert_array_equal(dataset.train.inputs[34:, ..., 0], unlabelled)
    np.testing.assert_array_equal(dataset.train.rows[34:], 40 + np.arange(25))
    assert check(
        npz(tmp_path, **{name: unlabelled}), DataOptions(unlabelled="no")
    ).report.parts == {
        "train": 40,
        "test": 12,
    }


def test_minus_one_in_an_array_of_labels(store: Store, tmp_path: Path) -> None:
    labels = np.arange(40) % 4
    labels[::4] = -1  # no class 0 is left: they are the classes 1 to 3
    assert check(npz(tmp_path, y_train=labels, y_test=np.arange(12) % 3 + 1)).report.parts == {
        "train": 40,
        "test": 12,
    }
    labels = np.where(np.arange(40) % 5 == 4, -1, np.arange(40) % 4)
    row = add(store, "arrays", npz(tmp_path, y_train=labels, x_unlabelled=images(3, 5)))
    assert row.report["parts"] == {"train": 32, "test": 12, "unlabelled": 11}
    dataset = datasets.load_named(row.key)
    wanted = np.concatenate([images(40, 1)[labels < 0], images(3, 5)])
    np.testing.assert_array_equal(dataset.train.inputs[-11:, ..., 0], wanted)
    seen = [*dataset.train.inputs[:-11], *dataset.validation.inputs]
    known = {image.tobytes() for image in images(40, 1)[labels >= 0]}
    assert {image.tobytes() for image in seen} == known


def test_minus_one_in_the_test_labels(tmp_path: Path) -> None:
    some = np.where(np.arange(12) < 4, -1, np.arange(12) % 4)
    path = npz(tmp_path, y_test=some)
    report = check(path).report
    assert report.parts == {"train": 40, "test": 8}
    assert any(note.startswith("4 test examples have the label -1") for note in report.notes)
    asked = DataOptions(unlabelled="test")
    assert check(path, asked).report.parts == {"train": 40, "test": 8, "unlabelled": 4}
    path = npz(tmp_path, y_test=np.full(12, -1))
    with pytest.raises(ConfigError, match="test labels must be classes for some of the examples"):
        check(path)
    assert check(path, asked).report.parts == {"all": 40, "unlabelled": 12}
    path = npz(tmp_path, y_test=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="file must be arrays"):
        check(path)
    assert check(path, asked).report.parts == {"all": 40, "unlabelled": 12}


def test_examples_of_the_test_among_the_unlabelled_are_leaks(store: Store, tmp_path: Path) -> None:
    mixed = np.concatenate([images(12, 2)[:3], images(40, 1)[:2], images(10, 3)])
    path = npz(tmp_path, x_unlabelled=mixed)
    report = check(path).report
    assert (report.leaked, report.repeated, report.conflicting) == (3, 2, 0)
    assert report.examples_of_leaks[0] == "x_unlabelled[0] = x_test[0]"
    assert any("3 test examples are in the training part too" in each for each in report.warnings)
    row = add(store, "clean", path, DataOptions(drop_duplicates=True))
    assert row.card["unlabelled_examples"] == 10
    np.testing.assert_array_equal(
        datasets.load_named(row.key).train.inputs[-10:, ..., 0], images(10, 3)
    )
    only_copies = npz(tmp_path, x_unlabelled=images(12, 2))
    row = add(store, "none", only_copies, DataOptions(drop_duplicates=True))
    assert row.card["unlabelled_examples"] == 0
    assert len(datasets.load_named(row.key).train) == row.card["training_examples"]


def test_fewer_training_examples_take_the_same_share(store: Store, tmp_path: Path) -> None:
    key = add(store, "arrays", npz(tmp_path, x_unlabelled=images(68, 3))).key
    dataset = datasets.load_named(key, training_examples=17)
    assert (dataset.train.labels >= 0).sum() == 17
    assert (dataset.train.labels < 0).sum() == 34
    again = datasets.load_named(key, split_seed=1, training_examples=17)
    assert not np.array_equal(dataset.train.inputs[17:], again.train.inputs[17:])


def test_a_budget_of_labels_is_drawn_from_those_that_there_are(
    store: Store, tmp_path: Path
) -> None:
    key = add(store, "arrays", npz(tmp_path, x_unlabelled=images(68, 3))).key
    dataset = datasets.load_named(key)
    for seed in range(5):
        rows = labelled_rows(dataset, 8, seed)
        assert sorted(dataset.train.labels[rows]) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert len(rows) == len(set(rows))
    for everything in (None, 34, 99):
        np.testing.assert_array_equal(labelled_rows(dataset, everything, 0), np.arange(34))
    assert starting_config(key).labels is None
    config = ExperimentConfig(dataset=key, teacher="mlp-8", student="mlp-4")
    assert (config.labels, config.labelled, config.unlabelled) == (None, 34, 68)
    half = config.replace(training_examples=17)
    assert (half.labelled, half.unlabelled) == (17, 34)
    with pytest.raises(ConfigError) as refused:
        config.replace(labels=35)
    assert "labels must be from 4 (one a class) to 34, the labelled training examples" in str(
        refused.value
    )
    every = config.replace(plan="noisy-student", labels=None)
    assert every.labels is None
    with pytest.raises(ConfigError, match="labels must be fewer than all: nothing is left"):
        ExperimentConfig(plan="noisy-student", labels=None)


def test_a_vocabulary_is_learnt_from_unlabelled_texts_too(store: Store, tmp_path: Path) -> None:
    folders = {**BESIDE_CLASSES, "unlabelled": 6}
    files = files_of(folders, "txt")
    for name in files:
        if name.startswith("unlabelled"):
            files[name] = b"zebra zebra zebra quagga " + files[name]
    key = add(store, "texts", zipped(tmp_path / "texts.zip", files)).key
    dataset = datasets.load_named(key)
    assert dataset.vocabulary is not None
    pieces = {dataset.vocabulary.token(number) for number in range(dataset.vocabulary.size)}
    assert any("zebra" in piece for piece in pieces)
    assert (dataset.train.inputs[-6:] != PADDING_ID).sum(axis=1).min() > 6


def test_a_card_of_an_earlier_version_has_no_unlabelled_examples() -> None:
    card = DatasetCard("old", "", (2,), ("a", "b"), 10, 2, 2)
    assert (card.unlabelled_examples, card.unlabelled_among(None)) == (0, 0)


def test_the_command_line_says_it(tmp_path: Path) -> None:
    path = written(tmp_path / "files", files_of({"train/cat": 20, "train/dog": 20, "test": 9}))
    runner, environment = CliRunner(), {"KD_STORE": f"sqlite:///{tmp_path}/store.db"}
    command = ["data", "add", "pets", str(path), "--unlabelled", "test"]
    done = runner.invoke(main, command, env=environment)
    assert done.exit_code == 0, done.output
    assert "40 in all, 9 without a label" in done.output
    assert "9 unlabelled" in done.output
    listed = runner.invoke(main, ["data", "list"], env=environment)
    assert "and 9 without a label" in listed.output
    shown = runner.invoke(main, ["data", "show", "pets", "--json"], env=environment)
    assert json.loads(shown.output)["unlabelled_examples"] == 9


def test_ids_of_examples_without_a_label_stand_behind_the_others(
    tmp_path: Path, store: Store
) -> None:
    """A table's ids are in the order of its rows: labelled ones, then those without a label."""
    frame = pd.DataFrame(
        {
            "patient": [f"p{number}" for number in range(60)],
            "x": np.random.default_rng(0).normal(size=60),
            "kind": [None if number % 3 == 2 else CLASSES[number % 3] for number in range(60)],
        }
    )
    file = tmp_path / "rows.csv"
    frame.to_csv(file, index=False)
    card = add(store, "rows", file, DataOptions(label="kind", drop=("patient",)))
    ids, test = datasets.load_ids(card.key)
    labelled = [f"p{number}" for number in range(60) if number % 3 != 2]
    assert ids == {"patient": [*labelled, *(f"p{number}" for number in range(2, 60, 3))]}
    assert test == {}
    raw = datasets.load_stored(card.key)
    behind = np.flatnonzero(datasets.load_named(card.key).train.labels < 0)
    rows = datasets.load_named(card.key).train.rows[behind]
    assert {ids["patient"][row] for row in rows} == set(ids["patient"][len(raw.labels) :])
