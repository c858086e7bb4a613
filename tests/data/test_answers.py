"""A teacher's answers as a file: what is understood, and what is refused in words."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from kdcore.data.readers.answers import Answers, read_answers
from kdcore.errors import ConfigError

CLASSES = ("cat", "dog", "fox")
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 2, (6, 3))
P = softmax(LOGITS, axis=1)


def read(table: pd.DataFrame, folder: Path, suffix: str = ".csv", **more: int | None) -> Answers:
    path = folder / f"answers{suffix}"
    if suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return read_answers(path, CLASSES, more.get("examples") or 6, more.get("test"))


def read_arrays(folder: Path, **arrays: NDArray) -> Answers:
    np.savez(folder / "answers.npz", **arrays)
    return read_answers(folder / "answers.npz", CLASSES, 6, None)


def frame(values: NDArray, prefix: str = "") -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"{prefix}{name}" for name in CLASSES])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_logits_and_probabilities_say_the_same(tmp_path: Path, suffix: str) -> None:
    for table in (frame(LOGITS), frame(np.abs(LOGITS), "logit_"), frame(P)):
        found = read(table, tmp_path, suffix)
        expected = np.abs(LOGITS) if "logit_cat" in table else LOGITS
        np.testing.assert_allclose(
            log_softmax(found.logits, axis=1), log_softmax(expected, axis=1), atol=1e-5
        )
        assert found.test is None


def test_classes_in_another_order_are_put_right_by_their_names(tmp_path: Path) -> None:
    found = read(frame(P)[["fox", "cat", "dog"]], tmp_path)
    np.testing.assert_allclose(softmax(found.logits, axis=1), P, atol=1e-5)


def test_rows_in_another_order_are_put_right_by_their_numbers(tmp_path: Path) -> None:
    order = RANDOM.permutation(6)
    found = read(frame(P[order]).assign(row=order), tmp_path)
    np.testing.assert_allclose(softmax(found.logits, axis=1), P, atol=1e-5)


def test_a_test_part_has_rows_of_its_own(tmp_path: Path) -> None:
    table = frame(P).assign(row=[0, 1, 2, 3, 1, 0], part=["train"] * 4 + ["test"] * 2)
    found = read(table, tmp_path, examples=4, test=2)
    assert found.test is not None
    np.testing.assert_allclose(softmax(found.logits, axis=1), P[:4], atol=1e-5)
    np.testing.assert_allclose(softmax(found.test, axis=1), P[[5, 4]], atol=1e-5)


def test_one_class_an_example_is_taken_as_certain(tmp_path: Path) -> None:
    for labels in (["cat", "dog", "fox", "cat", "cat", "fox"], [0, 1, 2, 0, 0, 2]):
        found = read(pd.DataFrame({"label": labels}), tmp_path)
        assert found.logits.argmax(axis=1).tolist() == [0, 1, 2, 0, 0, 2]
        assert softmax(found.logits, axis=1).max(axis=1).min() > 0.999
        assert "taken as certain" in found.words


@given(st.integers(0, 2**31 - 1), st.integers(1, 3))
def test_what_the_likeliest_classes_leave_is_spread_evenly(seed: int, k: int) -> None:
    import tempfile

    generator = np.random.default_rng(seed)
    p = softmax(generator.normal(0, 2, (6, 3)), axis=1)
    order = np.argsort(-p, axis=1)[:, :k]
    table = pd.DataFrame()
    for at in range(k):
        table[f"class_{at + 1}"] = [CLASSES[number] for number in order[:, at]]
        table[f"probability_{at + 1}"] = np.take_along_axis(p, order[:, at : at + 1], 1)[:, 0]
    expected = np.zeros_like(p)
    np.put_along_axis(expected, order, np.take_along_axis(p, order, 1), 1)
    left = 1 - expected.sum(axis=1, keepdims=True)
    expected += (expected == 0) * left / max(1, 3 - k)
    with tempfile.TemporaryDirectory() as folder:
        found = read(table, Path(folder))
    np.testing.assert_allclose(softmax(found.logits, axis=1), expected, atol=1e-5)


def test_arrays_do_too(tmp_path: Path) -> None:
    for arrays in (
        {"logits": LOGITS},
        {"probabilities": P},
        {"probabilities": P[:, ::-1], "class_names": np.array(CLASSES[::-1])},
        {"probabilities": P[::-1], "rows": np.arange(6)[::-1]},
    ):
        found = read_arrays(tmp_path, **arrays)
        np.testing.assert_allclose(softmax(found.logits, axis=1), P, atol=1e-5)
    top = np.argsort(-P, axis=1)[:, :2]
    found = read_arrays(tmp_path, top_classes=top, top_probabilities=np.take_along_axis(P, top, 1))
    np.testing.assert_allclose(softmax(found.logits, axis=1), P, atol=1e-5)
    found = read_arrays(tmp_path, labels=P.argmax(axis=1))
    assert found.logits.argmax(axis=1).tolist() == P.argmax(axis=1).tolist()


BAD = {
    "missing": (frame(P[:5]), "1 missing, the first for row 5"),
    "doubled": (frame(P).assign(row=[0, 1, 2, 3, 4, 4]), "missing|doubled"),
    "outside": (frame(P).assign(row=range(1, 7)), "row must be from 0 to 5, got 6"),
    "part of a row": (frame(P).assign(row=[0, 1, 2, 3, 4, 4.5]), "row must be whole numbers"),
    "not 1": (frame(P * [[1], [1], [1.5], [1], [1], [1]]), "sum to 1.*got 1.5 in line 3"),
    "other classes": (
        pd.DataFrame(P, columns=["cat", "dog", "wolf"]),
        "a column for each class: cat, dog, fox, got cat, dog, wolf",
    ),
    "one class short": (frame(P)[["cat", "dog"]], "a column for each class"),
    "an unknown label": (pd.DataFrame({"label": ["cat"] * 5 + ["cow"]}), "got 'cow'"),
    "not a number": (frame(np.where(P.max() == P, np.nan, P)), "finite numbers"),
    "a test part": (frame(P).assign(part="test"), "no test part of its own"),
    "an unknown part": (frame(P).assign(part="dev"), "train or test, got 'dev'"),
    "a class twice": (
        pd.DataFrame(
            {
                "class_1": ["cat"] * 6,
                "probability_1": [0.5] * 6,
                "class_2": ["cat"] * 6,
                "probability_2": [0.2] * 6,
            }
        ),
        "each class once",
    ),
    "more than all": (
        pd.DataFrame({"class_1": ["cat"] * 6, "probability_1": [1.5] * 6}),
        "at most 1, got 1.5",
    ),
    "nothing": (pd.DataFrame({"row": range(6)}), "a column label, or one for each class"),
}


@pytest.mark.parametrize("name", BAD)
def test_answers_that_are_none_are_refused_in_words(tmp_path: Path, name: str) -> None:
    table, words = BAD[name]
    with pytest.raises(ConfigError, match=words):
        read(table, tmp_path)


def test_files_of_another_kind_are_refused_and_nothing_is_unpickled(tmp_path: Path) -> None:
    (tmp_path / "answers.pkl").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"one of \.csv, \.parquet, \.npz"):
        read_answers(tmp_path / "answers.pkl", CLASSES, 6, None)
    file = io.BytesIO()
    np.savez(file, logits=np.array([{"a": 1}], object))
    (tmp_path / "answers.npz").write_bytes(file.getvalue())
    with pytest.raises(ConfigError, match="file must be a table or arrays of answers"):
        read_answers(tmp_path / "answers.npz", CLASSES, 6, None)
