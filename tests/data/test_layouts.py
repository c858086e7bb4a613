"""Folder layouts that people have: parts are never learnt as classes, and it is said."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdcore.data.check import check
from kdcore.data.readers.layout import part_of, understand
from kdcore.errors import ConfigError

CLASSES = ("cats", "dogs")


def picture(seed: int, kind: str = "png") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG" if kind == "jfif" else "PNG")
    return file.getvalue()


def fill(root: Path, folders: list[str], each: int = 8, kind: str = "png") -> Path:
    for place, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            data = picture(1000 * place + number, kind)
            (root / folder / f"{number}.{kind}").write_bytes(data)
    return root


@pytest.mark.parametrize(
    ("folders", "parts", "said"),
    [
        ([f"{p}/{c}" for p in ("train", "test") for c in CLASSES], (16, 16), ""),
        ([f"{p}/{c}" for p in ("Train", "Test") for c in CLASSES], (16, 16), ""),
        ([f"{p}/{p}/{c}" for p in ("training_set", "test_set") for c in CLASSES], (16, 16), ""),
        ([f"{p}/{p}/{c}" for p in ("seg_train", "seg_test") for c in CLASSES], (16, 16), ""),
        ([f"{p}-images/{c}" for p in ("train", "test") for c in CLASSES], (16, 16), ""),
        ([f"{p}/{c}" for p in ("train", "dev") for c in CLASSES], (16, 16), "used as test data"),
        ([f"{p}/{c}" for p in ("train", "holdout") for c in CLASSES], (16, 16), ""),
        ([f"{p}2017/{c}" for p in ("train", "test") for c in CLASSES], (16, 16), ""),
        ([f"{c}/{p}" for p in ("train", "test") for c in CLASSES], (16, 16), "within the classes"),
        (
            [
                f"{o}{p}/{c}"
                for o in ("", "chest/")
                for p in ("train", "val", "test")
                for c in CLASSES
            ],
            (32, 16),
            "The folder chest lies beside the parts and was left out (48 images)",
        ),
        (
            [*(f"{p}/{c}" for p in ("train", "test") for c in CLASSES), "sample/cats"],
            (16, 16),
            "The folder sample lies beside",
        ),
        ([*(f"train/{c}" for c in CLASSES), "test"], (16, 0), "8 images that are in no folder"),
        ([f"data/{p}/{c}" for p in ("train", "test") for c in CLASSES], (16, 16), ""),
    ],
)
def test_parts_are_told_from_classes(
    tmp_path: Path, folders: list[str], parts: tuple[int, int], said: str
) -> None:
    report = check(fill(tmp_path, folders)).report
    assert report.class_names == ["cats", "dogs"]
    found = (report.parts.get("train", report.parts.get("all", 0)), report.parts.get("test", 0))
    assert found == parts
    assert said in " ".join(report.notes)


def test_a_test_folder_without_classes_is_left_out(tmp_path: Path) -> None:
    report = check(fill(tmp_path, [*(f"train/{c}" for c in CLASSES), "test1"])).report
    assert (tuple(report.class_names), report.parts) == (CLASSES, {"all": 16})
    assert any("test1" in note and "left out" in note for note in report.notes)


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (
            [f"{p}/{c}" for p in ("train", "query", "gallery") for c in CLASSES],
            "train with cats, dogs in it, beside gallery, query",
        ),
        (
            [f"fold{n}/{c}" for n in (1, 2, 3) for c in CLASSES],
            "fold1, fold2, fold3 with cats, dogs in each",
        ),
        ([*(f"images/{c}" for c in CLASSES), "masks"], "images with cats, dogs in it"),
    ],
)
def test_what_could_be_parts_as_well_as_classes_is_asked_about(
    tmp_path: Path, folders: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match="folders must be classes side by side") as refused:
        check(fill(tmp_path, folders))
    assert said in str(refused.value)


def test_folders_within_classes_are_named(tmp_path: Path) -> None:
    report = check(fill(tmp_path, ["bird/owl", "bird/crow", "fish/shark", "fish/tuna"])).report
    assert report.class_names == ["bird", "fish"]
    assert any("(crow, owl, shark, tuna) count as its class" in note for note in report.notes)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    report = check(fill(tmp_path, ["bus", "car", "train"])).report
    assert report.class_names == ["bus", "car", "train"]
    assert report.parts == {"all": 24}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("seg_train", "train"),
        ("test-set", "test"),
        ("TRAINING", "train"),
        ("trainers", None),
        ("contest", None),
        ("train_test", None),
        ("dev", "validation"),
        ("cats", None),
        ("test drive", None),
    ],
)
def test_what_a_folders_name_stands_for(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_an_image_in_no_class_is_named() -> None:
    assert understand(["a/1.png", "b/2.png", "3.png"]).loose == "3.png"
    assert understand(["train/1.png", "train/a/2.png", "test/a/3.png"]).loose == "train/1.png"


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "latin-1"])
def test_zips_of_windows_are_read(tmp_path: Path, encoding: str) -> None:
    names = {"gbk": ("苹果", "香蕉"), "latin-1": ("äpfel", "möhren"), "utf-8": ("äpfel", "苹果")}[
        encoding
    ]
    file = tmp_path / "windows.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(24):
            raw = f"Fotos\\{names[number % 2]}\\Bild ({number}).png".encode(encoding)
            member = _Bare(raw)
            archive.writestr(member, picture(number))
    report = check(file).report
    assert sorted(report.class_names) == sorted(names)


class _Bare(zipfile.ZipInfo):
    """A member whose name is written as bytes, without saying in which encoding."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw.decode("cp437"))
        self.filename = raw.decode("cp437")
        self._raw = raw

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self._raw, self.flag_bits & ~0x800


def test_jfif_is_a_jpeg(tmp_path: Path) -> None:
    report = check(fill(tmp_path, ["a", "b"], kind="jfif")).report
    assert report.parts == {"all": 16}


def test_a_folder_without_classes_is_refused_in_words(tmp_path: Path) -> None:
    fill(tmp_path, ["train"])
    with pytest.raises(ConfigError, match=r"image must be in the folder of its class|classes must"):
        check(tmp_path)


@pytest.mark.parametrize("names", ["name", "stem", "path"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_classes_in_a_list_beside_the_images(tmp_path: Path, names: str, separator: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    lines = [separator.join(("file", "class"))]
    for number in range(20):
        (folder / f"p{number}.png").write_bytes(picture(number))
        called = {"name": f"p{number}.png", "stem": f"p{number}", "path": f"images/p{number}.png"}
        lines.append(f"{called[names]}{separator}{CLASSES[number % 2]}")
    lines.pop()  # one image is not in the list
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    found = check(tmp_path).report
    assert found.class_names == list(CLASSES)
    assert found.counts == {"all": [10, 9]}
    said = " ".join(found.notes)
    assert "Classes are read from labels.csv: column 'class', by the names in 'file'." in said
    assert "Without a class there, and left out: 1 images." in said
    assert found.understood == "2 classes: cats, dogs; 19 in all"
    assert found.ignored == ["images/p19.png"], "the list was used"


def test_a_list_that_does_not_say_which_column_is_the_class_is_asked_about(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    lines = ["file,one,two", *(f"{n}.png,{n % 2},{n % 3}" for n in range(12))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="the name of the column that holds the classes"):
        check(tmp_path)
