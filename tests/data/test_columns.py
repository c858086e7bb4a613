"""Columns of text become categories, missing values are filled, and what was learnt comes from the
training part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_wine

from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets, ingest
from kdcore.data.check import check
from kdcore.data.readers.tables import peek
from kdcore.errors import ConfigError
from kdcore.storage.store import Store
from kdcore.tasks.columns import Column, columns_of, encode, filled, learn_fill
from kdcore.tasks.report import DataOptions, Report

WINE = load_wine(as_frame=True).frame.rename(columns={"target": "label"})


def bottles() -> pd.DataFrame:
    """Wine with a column of text, one of yes and no, and gaps in a column of each kind."""
    frame = WINE[["alcohol", "hue", "proline", "label"]].copy()
    colour = np.where(WINE.color_intensity > 6, "deep", np.where(WINE.hue > 1, "pale", "rosy"))
    frame.insert(1, "colour", pd.Series(colour).mask(WINE.index % 10 == 3))
    frame["sweet"] = np.where(WINE.proline > 900, "yes", "no")
    frame.loc[WINE.index % 7 == 2, "alcohol"] = np.nan
    return frame


def written(tmp_path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(tmp_path / "bottles.csv", index=False)
    return tmp_path / "bottles.csv"


def found(tmp_path: Path, frame: pd.DataFrame, **options: object) -> Report:
    return check(written(tmp_path, frame), DataOptions(**options)).report  # type: ignore[arg-type]


def test_nothing_is_guessed_and_the_refusal_names_the_ways_out(tmp_path: Path) -> None:
    frame = bottles()
    with pytest.raises(ConfigError, match=r"unless text is encode .* or leave out, got text in"):
        found(tmp_path, frame)
    with pytest.raises(ConfigError, match=r"unless missing is median, .*; 18 in colour"):
        found(tmp_path, frame, text="encode")
    with pytest.raises(ConfigError, match="text must be one of refuse, encode, leave out"):
        DataOptions(text="drop")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="missing must be one of"):
        DataOptions(missing="mean")  # type: ignore[arg-type]


def test_the_report_says_what_became_of_each_column(tmp_path: Path) -> None:
    report = found(tmp_path, bottles(), text="encode", missing="median")
    assert report.feature_names == [
        "alcohol",
        "colour = deep",
        "colour = pale",
        "colour = rosy",
        "hue",
        "proline",
        "sweet = no",
        "sweet = yes",
    ]
    notes = " ".join(report.notes)
    assert "a feature for each category: colour (3), sweet (2)" in notes
    assert "Missing values in alcohol (26), colour (18): numbers take the median" in notes
    assert not report.problems
    apart = found(tmp_path, bottles(), text="encode", missing="own category")
    assert {"alcohol is missing", "colour is missing"} <= set(apart.feature_names)
    left = found(tmp_path, bottles(), text="leave out", missing="most frequent")
    assert left.feature_names == ["alcohol", "hue", "proline"]
    assert "Columns of text are left out: colour, sweet" in " ".join(left.notes)


def test_question_marks_are_gaps_in_text_and_none_is_a_category(tmp_path: Path) -> None:
    frame = bottles().drop(columns="alcohol")
    frame["colour"] = np.where(
        WINE.index % 10 == 3, "?", np.where(WINE.index % 4 == 1, "None", "x")
    )
    report = found(tmp_path, frame, text="encode", missing="most frequent")
    assert {"colour = None", "colour = x"} <= set(report.feature_names)
    assert not any("?" in name for name in report.feature_names)


def test_more_texts_than_categories_may_be_is_refused(tmp_path: Path) -> None:
    frame = bottles().assign(name=[f"bottle {row // 1.5:g}" for row in range(len(WINE))])
    with pytest.raises(ConfigError, match=r"column 'name' must be at most 100 categories"):
        found(tmp_path, frame, text="encode", missing="median")


def raw_and_loaded(
    store: Store, tmp_path: Path, missing: str
) -> tuple[pd.DataFrame, datasets.Dataset]:
    options = DataOptions(text="encode", missing=missing, scaling="none")  # type: ignore[arg-type]
    frame = bottles().assign(depth=WINE.index + 0.5)
    row = ingest.add(store, "bottles", written(tmp_path, frame), options)
    config = ExperimentConfig(dataset=row.key, labels=20, teacher="mlp-8", student="mlp-4")
    return frame, datasets.load(config)


@pytest.mark.parametrize("missing", ["median", "most frequent", "own category"])
def test_gaps_are_filled_with_what_the_training_part_shows(
    store: Store, tmp_path: Path, missing: str
) -> None:
    frame, dataset = raw_and_loaded(store, tmp_path, missing)
    names = [name for column in dataset.columns for name in column.features]
    assert not np.isnan(dataset.train.inputs).any()
    assert not np.isnan(dataset.test.inputs).any()
    at = names.index("depth")  # another in each row

    def rows_of(split: datasets.Split) -> pd.DataFrame:
        return frame.iloc[[round(float(example[at]) - 0.5) for example in split.inputs]]

    train, test = rows_of(dataset.train), rows_of(dataset.test)
    number = train.alcohol.mode()[0] if missing == "most frequent" else train.alcohol.median()
    got = dataset.test.inputs[:, names.index("alcohol")]
    assert np.allclose(got, test.alcohol.fillna(number), atol=1e-4)
    assert test.alcohol.isna().any()
    usual = train.colour.mode()[0]
    if missing == "own category":
        flags = dataset.test.inputs[:, names.index("colour is missing")]
        assert flags.tolist() == test.colour.isna().astype(float).tolist()
    for category in ("deep", "pale", "rosy"):
        expected = test.colour == category
        if missing != "own category":
            expected |= test.colour.isna() & (usual == category)
        got = dataset.test.inputs[:, names.index(f"colour = {category}")]
        assert got.tolist() == expected.astype(float).tolist()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_encoding_is_pandas_get_dummies_and_filling_leaves_what_is_there(
    data: st.DataObject,
) -> None:
    count = data.draw(st.integers(3, 12))
    text = st.one_of(st.none(), st.sampled_from(["a", "b", "c d"]))
    number = st.one_of(st.none(), st.floats(-1e6, 1e6))
    frame = pd.DataFrame(
        {
            "t": pd.Series(data.draw(st.lists(text, min_size=count, max_size=count)), dtype=object),
            "n": pd.Series(
                data.draw(st.lists(number, min_size=count, max_size=count)), dtype=float
            ),
        }
    )
    if frame.t.isna().all():
        frame.loc[0, "t"] = "a"
    columns = columns_of(frame, "median")
    encoded = encode(frame, columns)
    dummies = pd.get_dummies(frame.t, dtype=float).to_numpy(copy=True)
    dummies[frame.t.isna()] = np.nan
    assert np.array_equal(encoded, np.column_stack([dummies, frame.n]), equal_nan=True)
    fill = learn_fill(encoded, columns, "median")
    assert fill is not None
    done = filled(encoded, fill)
    assert not np.isnan(done).any()
    known = ~np.isnan(encoded)
    assert np.array_equal(done[known], encoded[known])
    assert np.all(done[:, :-1].sum(axis=1) == 1), "each row has one category"


def test_a_category_that_was_never_seen_is_none_of_them() -> None:
    column = Column("t", ("a", "b"))
    row = pd.DataFrame({"t": ["new"]}, dtype=object)
    assert encode(row, [column]).tolist() == [[0.0, 0.0]]


def test_gaps_in_arrays_are_filled_too(store: Store, tmp_path: Path) -> None:
    x = WINE.drop(columns="label").to_numpy(np.float32, copy=True)
    x[::9, 2] = np.nan
    np.savez(tmp_path / "wine.npz", x=x, y=WINE.label.to_numpy())
    with pytest.raises(ConfigError, match="without NaN"):
        check(tmp_path / "wine.npz")
    with pytest.raises(ConfigError, match="missing must be median, most frequent or refuse"):
        check(tmp_path / "wine.npz", DataOptions(missing="own category"))
    row = ingest.add(store, "gaps", tmp_path / "wine.npz", DataOptions(missing="median"))
    config = ExperimentConfig(dataset=row.key, labels=20, teacher="mlp-8", student="mlp-4")
    dataset = datasets.load(config)
    assert not np.isnan(dataset.train.inputs).any()


def test_a_peek_shows_the_first_rows_and_asks_for_the_label(tmp_path: Path) -> None:
    seen = peek(written(tmp_path, bottles()))
    assert seen["columns"] == ["alcohol", "colour", "hue", "proline", "label", "sweet"]
    assert seen["kinds"] == ["numbers", "text", "numbers", "numbers", "numbers", "text"]
    assert seen["label"] == "label"
    assert seen["rows"][2][0] == "", "a gap is shown as one"
    assert peek(written(tmp_path, bottles().rename(columns={"label": "kind"})))["label"] is None
    bottles().to_parquet(tmp_path / "bottles.parquet")
    assert peek(tmp_path / "bottles.parquet")["columns"] == seen["columns"]
