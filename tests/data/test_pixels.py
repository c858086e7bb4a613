"""No level of a picture is lost without a word, whatever its file's number format."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from kdcore.data import datasets, ingest
from kdcore.data.check import check
from kdcore.data.readers.pixels import in_bytes_for_show, read_pixels
from kdcore.storage.store import Store
from kdcore.tasks.report import DataOptions

DIGITS = load_digits()


def ink(image: NDArray, mode: str = "RGBA", light: bool = False) -> Image.Image:
    colour = np.full((8, 8, 3), 255 if light else 0, np.uint8)
    alpha = np.clip(image * 16, 0, 255).astype(np.uint8)[..., None]
    made = Image.fromarray(np.concatenate([colour, alpha], axis=2))
    return made if mode == "RGBA" else made.convert(mode)


def palette(image: NDArray) -> Image.Image:
    return Image.fromarray((image * 15).astype(np.uint8)).convert("P")


KINDS: dict[str, tuple[Callable[[NDArray], Image.Image], str]] = {
    "black ink on nothing": (ink, "png"),
    "white ink on nothing": (lambda image: ink(image, light=True), "png"),
    "grey with alpha": (lambda image: ink(image, "LA"), "png"),
    "8 bits in 16": (lambda image: Image.fromarray((image * 15).astype(np.uint16)), "png"),
    "12 bits in 16": (lambda image: Image.fromarray((image * 255).astype(np.uint16)), "png"),
    "16 bits": (lambda image: Image.fromarray((image * 4095).astype(np.uint16)), "png"),
    "32-bit integers": (lambda image: Image.fromarray((image * 15).astype(np.int32)), "tif"),
    "floats 0 to 1": (lambda image: Image.fromarray((image / 16.1).astype(np.float32)), "tif"),
    "floats -1 to 1": (lambda image: Image.fromarray((image / 8 - 1).astype(np.float32)), "tif"),
    "palette": (palette, "png"),
    "dark bytes": (lambda image: Image.fromarray((image * 3).astype(np.uint8)), "png"),
    "one bit": (lambda image: Image.fromarray(image > 7), "png"),
}


def folder(root: Path, make: Callable[[NDArray], Image.Image], suffix: str) -> Path:
    for digit in range(3):
        (root / str(digit)).mkdir()
        for number, at in enumerate(np.flatnonzero(DIGITS.target == digit)[:8]):
            make(DIGITS.images[at]).save(root / str(digit) / f"{number}.{suffix}")
    return root


@pytest.mark.parametrize("kind", list(KINDS))
def test_pictures_keep_what_is_in_them(kind: str, tmp_path: Path, store: Store) -> None:
    path = folder(tmp_path, *KINDS[kind])
    report = check(path).report
    assert report.repeated == 0, "no two became the same"
    assert report.problems == []
    row = ingest.add(store, "pictures", path)
    raw = datasets.load_stored(row.key)
    originals = np.stack(
        [
            DIGITS.images[at]
            for digit in range(3)
            for at in np.flatnonzero(DIGITS.target == digit)[:8]
        ]
    )
    if kind == "one bit":
        originals = (originals > 7).astype(float)
    stored = np.asarray(raw.inputs, np.float64)[..., 0] * raw.scale
    for one, original in zip(stored, originals, strict=True):
        assert abs(np.corrcoef(one.ravel(), original.ravel())[0, 1]) > 0.97
    assert np.abs(stored).max() <= 1.0 + 1e-6


def test_dark_bytes_are_divided_by_255_and_12_bits_by_4095(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    dark = check(folder(tmp_path / "a", *KINDS["dark bytes"]))
    assert dark.report.scale == pytest.approx(1 / 255)
    assert "Values are divided by 255." in dark.report.notes
    (tmp_path / "b").mkdir()
    twelve = check(folder(tmp_path / "b", *KINDS["12 bits in 16"]))
    assert twelve.report.scale == pytest.approx(1 / 4095)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_zeros_and_ones_keep_their_greys_when_they_are_resized(
    tmp_path: Path, store: Store, dtype: type
) -> None:
    images = (DIGITS.images[:60] > 7).astype(dtype)
    np.savez(tmp_path / "x.npz", x=images, y=DIGITS.target[:60])
    row = ingest.add(store, "ones", tmp_path / "x.npz", DataOptions(size=(5, 5)))
    raw = datasets.load_stored(row.key)
    values = np.asarray(raw.inputs, np.float64) * raw.scale
    assert values.max() <= 1
    assert len(np.unique(values.round(3))) > 5, "there are greys between black and white"


def test_pictures_of_one_value_are_named(tmp_path: Path) -> None:
    for digit in range(2):
        (tmp_path / str(digit)).mkdir()
        for number in range(8):
            grey = Image.fromarray(np.full((8, 8), 9 * number + digit, np.uint8))
            grey.save(tmp_path / str(digit) / f"{number}.png")
    (problem,) = check(tmp_path).report.problems
    assert problem[0] == "images"
    assert "16 of 16 images have a single value everywhere" in problem[2]


def test_one_picture_is_shown_by_its_own_range() -> None:
    for values, full in ((np.uint16([0, 4095]), 255), (np.float32([0, 0.5]), 128)):
        shown = in_bytes_for_show(values.reshape(1, 2, 1))
        assert shown.dtype == np.uint8
        assert shown.max() == full
    file = io.BytesIO()
    Image.fromarray(np.full((2, 2), 7, np.uint8)).save(file, "PNG")
    assert read_pixels(file.getvalue()).tolist() == [[[7], [7]], [[7], [7]]]
