"""Drawings are prepared as the authors of the two digit datasets prepared theirs."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_digits

from kdcore.errors import ConfigError
from kdcore.tasks.drawing import dark_on_light, fit, like_digits, like_mnist

REAL_DATA = Path(os.environ.get("KD_DATA_DIR", "no such folder"))


def stroke(side: int = 112) -> np.ndarray:
    """A slanted seven, away from the middle."""
    ink = np.zeros((side, side), np.float32)
    ink[20:26, 50:90] = 1
    for row in range(26, 80):
        ink[row, 84 - row // 3 : 92 - row // 3] = 1
    return ink


def test_like_mnist_fits_a_box_of_twenty_and_centres_the_mass() -> None:
    made = like_mnist(stroke())
    assert made.shape == (28, 28)
    rows, columns = (np.flatnonzero(made.any(axis=axis)) for axis in (1, 0))
    assert np.ptp(rows) + 1 == 20, "the longer side"
    assert np.ptp(columns) + 1 == round(20 * 40 / 60), "the aspect ratio is kept"
    assert np.abs(np.array(ndimage.center_of_mass(made)) - 14).max() <= 0.5
    assert len(np.unique(made.round(2))) > 10, "grey levels from anti-aliasing"


def test_where_and_how_large_a_drawing_is_does_not_matter() -> None:
    moved = np.roll(stroke(), (20, -30), axis=(0, 1))
    larger = np.kron(stroke(), np.ones((2, 2), np.float32))
    for prepare in (like_mnist, like_digits):
        np.testing.assert_allclose(prepare(moved), prepare(stroke()), atol=1e-6)
        np.testing.assert_allclose(prepare(larger), prepare(stroke()), atol=0.26)


@pytest.mark.skipif(not (REAL_DATA / "mnist.npz").exists(), reason="KD_DATA_DIR holds no mnist.npz")
def test_mnist_s_own_digits_come_back_as_they_were() -> None:
    """Enlarged and moved, then prepared again: the same picture, but for a blur, and half a pixel's
    rounding.
    """
    with np.load(REAL_DATA / "mnist.npz") as arrays:
        digits = arrays["x_test"][:50].astype(np.float32) / 255
    close = []
    for digit in digits:
        large = np.asarray(
            Image.fromarray(digit).resize((112, 112), Image.Resampling.BICUBIC)
        ).clip(0, 1)
        again = like_mnist(np.pad(large, ((30, 7), (3, 40))))
        steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        alike = [
            np.corrcoef(np.roll(again, step, axis=(0, 1)).ravel(), digit.ravel())[0, 1]
            for step in steps
        ]
        assert max(alike) > 0.9
        close.append(alike[4] > 0.9)
    assert np.mean(close) > 0.8


def test_like_digits_counts_blocks_as_the_dataset_does() -> None:
    made = like_digits(stroke())
    counts = made * 16
    assert made.shape == (8, 8)
    np.testing.assert_array_equal(counts, counts.round())
    assert made.min() >= 0
    assert made.max() == 1
    digits = load_digits().images
    ink = digits.sum(axis=(1, 2))
    assert np.quantile(ink, 0.01) <= counts.sum() <= np.quantile(ink, 0.99), (
        "strokes of the usual weight"
    )
    assert counts[0].any(), "as each of the 1,797 digits, it reaches from top"
    assert counts[7].any(), "to bottom"
    width = np.ptp(np.flatnonzero(made.any(axis=0))) + 1
    assert 5 <= width <= 7


def test_slant_is_taken_out_for_the_small_digits() -> None:
    upright = np.zeros((100, 100), np.float32)
    upright[20:80, 45:55] = 1
    slanted = np.zeros((100, 100), np.float32)
    for row in range(20, 80):
        slanted[row, 65 - row // 2 + 10 : 75 - row // 2 + 10] = 1
    np.testing.assert_allclose(like_digits(slanted), like_digits(upright), atol=0.3)


def test_a_photograph_of_ink_becomes_a_drawing_either_way_round() -> None:
    generator = np.random.default_rng(0)
    paper = 200 + generator.normal(0, 4, (112, 112))
    photo = np.where(stroke() > 0, 60, paper).astype(np.uint8)[..., np.newaxis].repeat(3, axis=2)
    for picture in (photo, 255 - photo):
        ink = dark_on_light(picture)
        np.testing.assert_array_equal(ink > 0.5, stroke() > 0.5)
        np.testing.assert_allclose(like_mnist(ink), like_mnist(stroke()), atol=0.2)


def test_pictures_are_cropped_to_the_middle_and_resized() -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 14:66] = (255, 0, 0)
    fitted = fit(picture, (20, 20, 3))
    assert fitted.shape == (20, 20, 3)
    assert (fitted == (255, 0, 0)).all()
    assert fit(picture, (20, 20, 1)).shape == (20, 20, 1)
    assert fit(picture[..., :1], (8, 8, 3)).shape == (8, 8, 3)


@pytest.mark.parametrize("prepare", [like_mnist, like_digits])
def test_an_empty_drawing_is_refused_in_the_one_form(prepare) -> None:
    with pytest.raises(ConfigError, match="drawing must be one with some ink, got an empty one"):
        prepare(np.zeros((112, 112), np.float32))


@pytest.mark.parametrize("prepare", [like_mnist, like_digits])
def test_a_dot_and_a_line_are_drawings_too(prepare) -> None:
    dot, line = np.zeros((2, 112, 112), np.float32)
    dot[50, 50] = 1
    line[50, 10:100] = 1
    for ink in (dot, line):
        made = prepare(ink)
        assert np.isfinite(made).all()
        assert made.max() > 0.5
