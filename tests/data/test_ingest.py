"""What users bring is checked to the last example, refused in the one form, and stored as it was
announced.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from kdcore.cli.program import main
from kdcore.config.catalog import dataset_card, dataset_key
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets, ingest
from kdcore.data.check import check
from kdcore.data.readers import common as source_common
from kdcore.data.readers import folders as source_images
from kdcore.data.readers.opening import open_source
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError, DatasetError, StopRequested, StoreError
from kdcore.storage import user_data
from kdcore.storage.schema import Artifact, Base
from kdcore.storage.store import Store
from kdcore.tasks.report import DataOptions

REAL_DATA = Path(os.environ.get("KD_DATA_DIR", "no such folder"))
RANDOM = np.random.default_rng(0)


def arrays(
    count: int = 40, classes: int = 4, seed: int = 0, **changes: object
) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 6, 5), dtype=np.uint8)
    labels = np.arange(count) % classes
    test = random.integers(0, 256, (12, 6, 5), dtype=np.uint8)
    return {
        "x_train": images,
        "y_train": labels,
        "x_test": test,
        "y_test": np.arange(12) % classes,
        **changes,
    }  # type: ignore[dict-item]


def npz(folder: Path, **contents: np.ndarray) -> Path:
    path = folder / "data.npz"
    np.savez(path, **contents)
    return path


def picture(colour: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(colour).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "png")
    return file.getvalue()


def pictures(**extra: bytes) -> dict[str, bytes]:
    """Files of an image folder of two classes."""
    of_parts = {"train": 6, "test": 2}
    files = {
        f"top/{part}/{label}/{number}.png": picture(100 * at + 10 * number + len(part))
        for part, count in of_parts.items()
        for at, label in enumerate(("cat", "dog"))
        for number in range(count)
    }
    return {**files, **{name.replace("__", "/"): data for name, data in extra.items()}}


def zipped(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def artifact_keys(store: Store) -> list[str]:
    with store.reading() as session:
        return sorted(
            session.scalars(
                Base.metadata.tables["artifacts"].select().with_only_columns(Artifact.key)
            )
        )


# What goes in comes out


def test_arrays_come_back_as_they_were_split_by_seed(store: Store, tmp_path: Path) -> None:
    given = arrays()
    row = ingest.add(store, "mine", npz(tmp_path, **given))
    config = ExperimentConfig(dataset="mine", labels=None)
    assert config.dataset == row.key == dataset_key("mine")
    data = datasets.load(config)
    assert data.input_shape == (6, 5, 1)
    assert (len(data.train), len(data.validation), len(data.test)) == (34, 6, 12)
    card = dataset_card(row.key)
    assert (card.training_examples, card.validation_examples, card.test_examples) == (34, 6, 12)
    assert data.scale == 1 / 255
    np.testing.assert_array_equal(data.test.inputs[..., 0], given["x_test"])
    together = np.concatenate([data.train.inputs, data.validation.inputs])[..., 0]
    assert {image.tobytes() for image in together} == {
        image.tobytes() for image in given["x_train"]
    }
    label_of = {
        image.tobytes(): label
        for image, label in zip(given["x_train"], given["y_train"], strict=True)
    }
    assert all(
        label_of[i[..., 0].tobytes()] == label
        for i, label in zip(data.train.inputs, data.train.labels, strict=True)
    )


def test_pieces_are_small_and_put_together_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdcore.data.readers.arrays.BATCH_BYTES", 6 * 5 * 7)
    given = arrays()
    row = ingest.add(store, "mine", npz(tmp_path, **given))
    assert row.manifest["parts"]["train"] == {"examples": 40, "pieces": 6}
    raw = datasets.load_stored(row.key)
    np.testing.assert_array_equal(raw.inputs[..., 0], given["x_train"])
    assert not isinstance(raw.inputs, np.ndarray) or isinstance(raw.inputs, np.memmap), (
        "not in memory until it is used"
    )


def test_a_zip_and_a_folder_of_the_same_images_are_the_same_dataset(
    store: Store, tmp_path: Path
) -> None:
    files = {**pictures(), "__MACOSX/junk": b"x", "top/readme.txt": b"hello"}
    for name, data in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    one = ingest.add(store, "zipped", zipped(tmp_path, files))
    other = ingest.add(store, "foldered", tmp_path / "folder")
    assert one.digest == other.digest
    assert one.manifest == other.manifest, "the same pieces serve both"
    assert list(one.card["class_names"]) == ["cat", "dog"]
    assert one.report["ignored"] == ["top/readme.txt"]
    data = datasets.load(ExperimentConfig(dataset="zipped", labels=None))
    first = np.asarray(Image.open(io.BytesIO(files["top/test/cat/0.png"])))
    np.testing.assert_array_equal(data.test.inputs[0], first)


def test_sizes_and_colours_are_shown_and_chosen(store: Store, tmp_path: Path) -> None:
    files = pictures(
        **{
            "top__train__dog__large.png": picture(7, (40, 20)),
            "top__train__cat__grey.png": picture(8, mode="L"),
        }
    )
    path = zipped(tmp_path, files)
    report = check(path).report
    assert report.sizes == {"8 × 8": 17, "40 × 20": 1}
    assert report.colours == {"colour": 17, "grey": 1}
    assert report.shape == [8, 8, 3]
    row = ingest.add(store, "small", path, DataOptions(size=(4, 6), colour="grey", scaling="none"))
    data = datasets.load(ExperimentConfig(dataset="small", labels=None))
    assert data.input_shape == (4, 6, 1)
    assert data.scale == 1.0
    assert row.key != ingest.add(store, "small", path).key
    huge = {name: picture(number, (300, 150)) for number, name in enumerate(pictures())}
    assert check(zipped(tmp_path, huge)).report.shape == [64, 32, 3], (
        "shrunk unless a size is chosen"
    )


def test_a_table_is_scaled_by_its_training_part_alone(store: Store, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "a": RANDOM.normal(50, 9, 90),
            "b": RANDOM.integers(0, 3, 90),
            "kind": ["x", "y", "z"] * 30,
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv")
    one = ingest.add(store, "t", tmp_path / "t.parquet", DataOptions(label="kind"))
    assert ingest.add(store, "t", tmp_path / "t.csv", DataOptions(label="kind")).key == one.key
    data = datasets.load(
        ExperimentConfig(dataset="t", labels=None, teacher="mlp-4", student="mlp-2")
    )
    assert data.class_names == ("x", "y", "z")
    np.testing.assert_allclose(data.train.inputs.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(data.train.inputs.std(axis=0), 1, atol=1e-5)
    assert abs(data.test.inputs.mean(axis=0)).max() > 1e-3
    assert data.centre is not None
    assert data.spread is not None
    back = data.test.inputs * data.spread + data.centre
    assert {tuple(np.round(row, 3)) for row in back} <= {
        tuple(np.round(row, 3)) for row in frame[["a", "b"]].to_numpy()
    }


def test_labels_may_be_text_one_hot_or_numbers_with_gaps() -> None:
    notes: list[str] = []
    number = source_common.number_labels
    labels, names = number({"all": np.array(["b", "a", "b"])}, None, notes)
    assert (labels["all"].tolist(), names) == ([1, 0, 1], ("a", "b"))
    labels, names = number({"all": np.eye(3)[[2, 0, 1]]}, None, notes)
    assert (labels["all"].tolist(), names) == ([2, 0, 1], ("0", "1", "2"))
    labels, names = number({"all": np.array([5.0, 9.0, 5.0])}, None, notes)
    assert (labels["all"].tolist(), names) == ([0, 1, 0], ("5", "9"))
    labels, names = number(
        {"train": np.array([[0], [1]]), "test": np.array([[1], [1]])}, ["no", "yes"], notes
    )
    assert (labels["test"].tolist(), names) == ([1, 1], ("no", "yes"))


# The report


def test_leaks_repeats_and_conflicts_are_counted_named_and_left_out_where_asked(
    store: Store, tmp_path: Path
) -> None:
    given = arrays()
    given["x_train"][5] = given["x_test"][2]
    given["x_train"][6] = given["x_test"][2]
    given["x_train"][30] = given["x_train"][31]
    path = npz(tmp_path, **given)
    report = check(path).report
    assert (report.leaked, report.repeated, report.conflicting) == (1, 2, 3)
    assert report.examples_of_leaks == ["x_train[5] = x_test[2]"]
    assert "too easy" in report.warnings[0]
    row = ingest.add(store, "clean", path, DataOptions(drop_duplicates=True))
    assert row.report["stored"] == {"train": 37, "test": 12}
    kept = datasets.load_stored(row.key)
    train = {image.tobytes() for image in kept.inputs}
    assert len(train) == len(kept.inputs) == 37
    assert kept.test_inputs is not None
    assert not train & {image.tobytes() for image in kept.test_inputs}


def test_corrupt_files_are_named_and_left_out_only_where_asked(
    store: Store, tmp_path: Path
) -> None:
    files = pictures(
        **{"top__train__cat__bad.png": b"no image", "top__train__dog__cut.png": picture(3)[:60]}
    )
    path = zipped(tmp_path, files)
    report = check(path).report
    assert report.corrupt_count == 2
    assert [name.split(" ")[0] for name in report.corrupt] == [
        "top/train/cat/bad.png",
        "top/train/dog/cut.png",
    ]
    with pytest.raises(
        ConfigError,
        match=r"files must be readable, or left out .*, got 2 that are not: top/train/cat/bad",
    ):
        ingest.add(store, "bad", path)
    assert artifact_keys(store) == [], "nothing is left of what was refused"
    row = ingest.add(store, "bad", path, DataOptions(skip_corrupt=True))
    assert row.report["stored"] == {"train": 12, "test": 4}


def test_imbalance_is_said_and_the_preview_shows_every_class(tmp_path: Path) -> None:
    labels = np.array([0] * 30 + [1] * 7 + [2] * 3)
    checked = check(npz(tmp_path, **arrays(y_train=labels, y_test=np.arange(12) % 3)))
    assert checked.report.counts["train"] == [30, 7, 3]
    assert "'0' has 30 examples, '2' 3" in checked.report.warnings[0]
    images, shown = checked.preview
    assert images.shape[1:] == (6, 5, 1)
    assert np.bincount(shown).tolist() == [6, 6, 6]
    assert json.loads(json.dumps(checked.report.to_json()))["kind"] == "images"


# What is refused

FEW = np.zeros((3, 2), np.float32)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (
            {"x_train": arrays()["x_train"]},
            "file must be arrays x_train, y_train, x_test, y_test, or x, y, got x_train",
        ),
        (
            arrays(y_train=np.arange(39)),
            "y_train must be one label for each of the 40 examples of x_train, got (39,)",
        ),
        (
            arrays(x_test=np.zeros((12, 6, 6), np.uint8)),
            "x_test must be of the same shape as the others, (6, 5), got (6, 6)",
        ),
        (
            arrays(y_train=np.full(40, 1), y_test=np.full(12, 1)),
            "classes must be from 2 to 1,000, got 1",
        ),
        (
            arrays(y_test=np.full(12, 9)),
            "test labels must be among the classes of the training part, got",
        ),
        (
            arrays(y_train=np.arange(40) % 4 - 1, class_names=np.array(list("abcd"))),
            "train labels must be class numbers from 0, since there are class_names, got -1",
        ),
        (
            arrays(y_train=RANDOM.random(40)),
            "train labels must be classes, not a quantity (whole numbers or text), got 0.",
        ),
        (
            arrays(class_names=np.array(["a", "b"])),
            "train labels must be from 0 to 1, the numbers of class_names, got 3",
        ),
        (
            arrays(x_train=np.full((40, 6, 5), np.nan), x_test=np.zeros((12, 6, 5))),
            "values must be without NaN or infinity, got 1,200 such values",
        ),
        (
            {"x": np.zeros((0, 4)), "y": np.zeros(0)},
            "x must be an array [examples, ...] that is not empty, got (0, 4)",
        ),
        ({"x": np.zeros((9, 3, 8, 8)), "y": np.zeros(9)}, "x must be of shape [n, height, width]"),
        ({"x": np.array(["a", "b"])[:, None], "y": np.arange(2)}, "x must be of numbers, got <U1"),
        (
            {"x": np.zeros((4, 3)), "y": np.array([0, 0, 0, 1])},
            "training examples must be at least 3 in every class, got 1 of '1'",
        ),
    ],
)
def test_bad_arrays_are_refused_in_the_one_form(
    contents: dict[str, np.ndarray], message: str, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        ingest.add(store, "bad", npz(tmp_path, **contents))
    assert message in str(caught.value)
    assert artifact_keys(store) == []
    assert user_data.versions(store) == []


def test_pickled_arrays_are_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    np.savez(tmp_path / "data.npz", x=np.array([Bomb()], dtype=object), y=np.zeros(1))
    with pytest.raises(ConfigError, match="pickled objects are never opened"):
        check(tmp_path / "data.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "name", ["../outside.png", "/etc/cat/1.png", "train/cat/..\\..\\1.png", "C:/cat/1.png"]
)
def test_paths_that_lead_out_of_a_zip_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"path in the zip must be inside it"):
        check(zipped(tmp_path, {**pictures(), name: picture(1)}))


def test_links_that_lead_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    for name, data in pictures().items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(data)
    (tmp_path / "secret.png").write_bytes(picture(1))
    (tmp_path / "images/top/train/cat/link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(
        ConfigError,
        match=r"inside the folder; links that lead out are not followed, got 'top/train/cat/link",
    ):
        check(tmp_path / "images")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="compressed less than 1,000-fold"):
        check(zipped(tmp_path, {**pictures(), "top/train/cat/bomb.png": bytes(4 * 2**20)}))
    monkeypatch.setattr("kdcore.data.readers.pixels.MOST_PIXELS", 63)
    assert (
        check(
            zipped(tmp_path, {**pictures(), "top/train/cat/ok.png": picture(1, (7, 8))})
        ).report.corrupt_count
        == 16
    )
    monkeypatch.setattr(source_images, "MOST_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"file must be at most 1.0 kB unpacked, got [\d.]+ kB"):
        check(zipped(tmp_path, pictures()))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "t.csv",
            "a,b\n1,2\n",
            "label must be the name of the column that holds the classes, one of a, b, got none",
        ),
        (
            "t.csv",
            "a,label\n1,x\n,y\n",
            "column must be without missing values, unless missing is median, most frequent, own category, got 1 in a",
        ),
        (
            "t.csv",
            "a,label\ninf,x\n2,y\n",
            "column 'a' must be without NaN or infinity, got 1 such values",
        ),
        (
            "t.csv",
            "a,label\nred,x\n2,y\n",
            "column must be numbers, unless text is encode (a feature for each category) or leave out, got text in a",
        ),
        (
            "t.csv",
            "a,label\n1,\n2,\n",
            "label must be filled in for some of the rows, got none of 2 rows",
        ),
        (
            "t.csv",
            "a,label\n",
            "table must be rows of at least one feature and a label, got (0, 2)",
        ),
        ("t.csv", "", "file must be not empty, got 't.csv'"),
        ("t.parquet", "nonsense", "file must be a readable table"),
        ("t.zip", "nonsense", "file must be a readable .zip"),
        ("t.npz", "nonsense", "file must be a readable .npz"),
        (
            "t.exe",
            "nonsense",
            "file must be a .npz, a .zip or folder of images or texts, a .csv, .tsv, .txt or .data table, a .jsonl or a .parquet, got 't.exe'",
        ),
    ],
)
def test_bad_files_are_refused_in_the_one_form(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        check(tmp_path / name)
    assert str(caught.value).startswith(message)


def test_images_must_lie_in_folders_of_their_class(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"in the folder of its class.*, got 'train/1.png'"):
        check(zipped(tmp_path, {"train/1.png": picture(1), "train/cat/2.png": picture(2)}))
    with pytest.raises(ConfigError, match="classes must be from 2"):
        check(zipped(tmp_path, {f"cat/{number}.png": picture(number) for number in range(4)}))
    with pytest.raises(ConfigError, match=r"images must be files ending in .*, got 1 other files"):
        check(zipped(tmp_path, {"readme.txt": b"hello"}))


@pytest.mark.parametrize("name", ["digits", "My data", "a" * 41, "@", "x@0123456789", ""])
def test_names_are_plain(name: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name must be"):
        ingest.add(store, name, npz(tmp_path, **arrays()))


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="size must be height and width from 4 to 512 pixels"):
        DataOptions(size=(2, 9999))
    with pytest.raises(ConfigError, match="scaling must be one of auto, unit, standard, none"):
        DataOptions(scaling="log")  # type: ignore[arg-type]


# Names and versions


def test_a_name_that_is_added_again_means_the_new_content_and_old_configs_keep_theirs(
    store: Store, tmp_path: Path
) -> None:
    first = ingest.add(store, "mine", npz(tmp_path, **arrays()))
    old = ExperimentConfig(dataset="mine", labels=None)
    ingest.add(store, "mine", npz(tmp_path, **arrays(seed=1)))
    new = ExperimentConfig(dataset="mine", labels=None)
    assert old.dataset == first.key != new.dataset
    assert old.fingerprint("teacher") != new.fingerprint("teacher")
    user_data.remove(store, "mine")
    with pytest.raises(ConfigError, match="dataset must be one of digits"):
        ExperimentConfig(dataset="mine", labels=None)
    assert ExperimentConfig.from_json(old.to_json()) == old, (
        "experiments made with it can still be shown"
    )
    with pytest.raises(
        DatasetError, match="has been removed from the store: add the same file again"
    ):
        datasets._load.__wrapped__(old.dataset, 0, None)
    again = ingest.add(store, "mine", npz(tmp_path, **arrays()))
    assert again.key == first.key, "the same content has the same name"
    assert ExperimentConfig(dataset="mine", labels=None).fingerprint() == old.fingerprint()
    datasets._load.__wrapped__(old.dataset, 0, None)


def test_removing_forgets_the_data_unless_another_name_holds_it(
    store: Store, tmp_path: Path
) -> None:
    path = npz(tmp_path, **arrays())
    for name in ("one", "two"):
        ingest.add(store, name, path)
    held = artifact_keys(store)
    user_data.remove(store, "one")
    assert artifact_keys(store) == held
    user_data.remove(store, "two")
    assert artifact_keys(store) == []
    with pytest.raises(StoreError, match="no dataset 'two'"):
        user_data.remove(store, "two")


def test_other_processes_know_a_new_dataset_at_once(store: Store, tmp_path: Path) -> None:
    """Two stores at one address, as in a dashboard and a worker."""
    other = Store(store.url)
    store.close()  # not known through this one
    with pytest.raises(ConfigError):
        ExperimentConfig(dataset="mine", labels=None)
    row = ingest.add(store, "mine", npz(tmp_path, **arrays()))
    assert ExperimentConfig(dataset="mine", labels=None).dataset == row.key
    assert row.key in other.user_datasets()


# Work that ends early, uploads, the command line


def test_a_stop_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    def tell(fraction: float, words: str) -> None:
        if fraction > 0.6:
            raise StopRequested("stop")

    with pytest.raises(StopRequested):
        ingest.add(store, "mine", npz(tmp_path, **arrays()), tell=tell)
    assert artifact_keys(store) == []


def test_an_upload_goes_through_a_job_in_pieces(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_data, "PIECE_BYTES", 1000)
    with npz(tmp_path, **arrays()).open("rb") as file:
        upload = user_data.put_upload(store, "abc", file)
    assert upload["pieces"] > 2
    looked = store.add_job("data", ingest.data_payload(upload, "data.npz", DataOptions()))
    assert run_job(store.url, looked) == "finished"
    report = ingest.get_report(store, looked)
    assert report is not None
    assert report.parts == {"train": 40, "test": 12}
    stored = store.add_job(
        "data", ingest.data_payload(upload, "../../data.npz", DataOptions(), "mine")
    )
    assert run_job(store.url, stored) == "finished"
    assert store.artifact(f"data_report/{stored}/key") == dataset_key("mine").encode()
    assert not [key for key in artifact_keys(store) if key.startswith("upload/")]
    gone = store.add_job("data", ingest.data_payload(upload, "data.npz", DataOptions()))
    assert run_job(store.url, gone) == "failed"
    assert "no longer in the store" in (store.job(gone).error or "")


def test_the_command_line_adds_lists_shows_and_removes(store: Store, tmp_path: Path) -> None:
    path = npz(tmp_path, **arrays())

    def kdcore(*words: str) -> str:
        done = CliRunner().invoke(main, ["--store", store.url, "data", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "nothing stored" in kdcore("add", "mine", str(path), "--check")
    assert user_data.versions(store) == []
    added = json.loads(kdcore("add", "mine", str(path), "--size", "5x6", "--json"))
    assert added["report"]["shape"] == [5, 6, 1]
    assert json.loads(kdcore("list", "--json"))[0]["key"] == added["key"]
    shown = kdcore("show", "mine")
    assert "34 train, 6 validation, 12 test" in shown
    assert added["key"] in kdcore("remove", "mine")
    refused = CliRunner().invoke(
        main, ["--store", store.url, "data", "add", "mine", str(path), "--size", "big"]
    )
    assert (refused.exit_code, refused.stderr.strip()) == (
        2,
        "Error: size must be HxW, such as 32x32, got 'big'",
    )


@pytest.mark.skipif(
    not (REAL_DATA / "cifar10_12k.zip").exists(), reason="KD_DATA_DIR holds no cifar10_12k.zip"
)
def test_real_cifar_goes_in_as_it_is() -> None:
    report = check(REAL_DATA / "cifar10_12k.zip").report
    assert report.parts == {"train": 10_000, "test": 2_000}
    assert report.counts["train"] == [1000] * 10
    assert report.class_names[:3] == ["airplane", "automobile", "bird"]
    assert (report.shape, report.corrupt_count, report.problems) == ([32, 32, 3], 0, [])


IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
NUMBERS = np.arange(60) % 3


@pytest.mark.parametrize(
    ("arrays", "parts", "said"),
    [
        ({"images": IMAGES, "labels": NUMBERS}, {"all": 60}, ""),
        ({"X": IMAGES, "Y": NUMBERS}, {"all": 60}, ""),
        ({"data": IMAGES, "target": NUMBERS}, {"all": 60}, ""),
        ({"x": IMAGES, "y": NUMBERS, "images": IMAGES[:9]}, {"all": 60}, ""),
        ({"x_train": IMAGES, "y_train": NUMBERS}, {"all": 60}, "a test part is drawn"),
        (
            {
                f"{part}_{kind}": values[rows]
                for part, rows in (
                    ("train", slice(0, 40)),
                    ("val", slice(40, 50)),
                    ("test", slice(50, 60)),
                )
                for kind, values in (("images", IMAGES), ("labels", NUMBERS[:, np.newaxis]))
            },
            {"train": 50, "test": 10},
            "The validation arrays join the training part",
        ),
        (
            {
                "X_train": IMAGES[:40],
                "y_train": NUMBERS[:40],
                "X_val": IMAGES[40:],
                "y_val": NUMBERS[40:],
            },
            {"train": 40, "test": 20},
            "the validation arrays are the test data",
        ),
    ],
)
def test_arrays_by_the_names_that_people_give_them(
    tmp_path: Path, arrays: dict[str, NDArray], parts: dict[str, int], said: str
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    report = check(tmp_path / "d.npz").report
    assert report.parts == parts
    assert said in " ".join(report.notes)
    source = open_source(tmp_path / "d.npz")
    read = {part: list(source.batches(part)) for part in source.parts}
    inputs = np.concatenate([batch.inputs for batches in read.values() for batch in batches])
    labels = np.concatenate([batch.labels for batches in read.values() for batch in batches])
    np.testing.assert_array_equal(inputs[..., 0], IMAGES)
    np.testing.assert_array_equal(labels, NUMBERS)


@pytest.mark.parametrize(
    "names",
    [("arr_0", "arr_1"), ("images", "data", "labels"), ("x", "y_train"), ("x_test", "y_test")],
)
def test_arrays_that_are_not_told_apart_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    np.savez(tmp_path / "d.npz", **{name: IMAGES for name in names})
    with pytest.raises(ConfigError, match="file must be arrays x_train, y_train"):
        check(tmp_path / "d.npz")
