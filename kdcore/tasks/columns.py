"""Columns of a table on their way to features: text as categories, missing values filled.

Which categories there are is read from the file. What is learnt from data (what a missing value is
filled with) is learnt from the training part alone, and travels with the model.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdcore.errors import Words, require

if TYPE_CHECKING:
    import pandas as pd

Text = Literal["refuse", "encode", "leave out"]
Missing = Literal["refuse", "median", "most frequent", "own category"]
TEXT_WAYS = ("refuse", "encode", "leave out")
MISSING_WAYS = ("refuse", "median", "most frequent", "own category")
MISSING_WORDS = {
    "median": "numbers take the median of the training part, text its most frequent category",
    "most frequent": "filled with the most frequent value of the training part",
    "own category": "a feature of its own says so, and numbers take the median of the training part",
}
MOST_CATEGORIES = 100


@dataclass(frozen=True)
class Column:
    """A column of a table.

    ``categories`` are those of a column of text, empty for numbers. ``missing`` says whether values
    are missing in the file, ``flagged`` that a feature of its own says where. Its numbers have the
    ``decimal`` sign, and with ``signs`` those for thousands, percent or money.
    """

    name: str
    categories: tuple[str, ...] = ()
    missing: bool = False
    flagged: bool = False
    decimal: str = "."
    signs: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features: its own, or one for each category."""
        own = tuple(f"{self.name} = {category}" for category in self.categories)
        flag = (f"{self.name} is missing",) if self.flagged else ()
        return (*(own or (self.name,)), *flag)


def columns_from_json(given: Sequence[dict[str, Any]]) -> tuple[Column, ...]:
    """Return what ``dataclasses.asdict`` made of columns."""
    return tuple(Column(**{**each, "categories": tuple(each["categories"])}) for each in given)


def columns_of(
    frame: pd.DataFrame, missing: Missing, decimal: str = ".", signs: Collection[str] = ()
) -> tuple[Column, ...]:
    """Return the columns of a frame whose columns are numbers or text, with NaN where one is
    missing; ``signs`` names those whose numbers have signs in the file.

    Raises ConfigError for text of more than a hundred different values.
    """
    from pandas.api.types import is_numeric_dtype

    found = []
    for name in frame:
        column, gaps = frame[name], bool(frame[name].isna().any())
        categories: tuple[str, ...] = ()
        if not is_numeric_dtype(column):
            categories = tuple(sorted(column.dropna().astype(str).unique()))
            rule = f"at most {MOST_CATEGORIES} categories, or be left out (drop)"
            got = Words(f"{len(categories):,} different texts")
            require(len(categories) <= MOST_CATEGORIES, f"column {str(name)!r}", rule, got)
        flagged = gaps and missing == "own category"
        found.append(Column(str(name), categories, gaps, flagged, decimal, str(name) in signs))
    return tuple(found)


def encode(frame: pd.DataFrame, columns: Sequence[Column]) -> NDArray[np.float64]:
    """Return the features [n, features] of rows; NaN where a value is missing that is to be filled.

    A category that is not among those of its column is none of them: all its features are 0.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder

    texts = [column for column in columns if column.categories]
    plain = frame.copy()
    for column in texts:
        plain[column.name] = frame[column.name].astype(object).where(frame[column.name].notna(), "")
        plain[column.name] = plain[column.name].astype(str)
    encoder = ColumnTransformer(
        [
            (
                f"{number}",
                OneHotEncoder(
                    categories=[list(column.categories)],
                    handle_unknown="ignore",
                    sparse_output=False,
                )
                if column.categories
                else "passthrough",
                [column.name],
            )
            for number, column in enumerate(columns)
        ]
    )
    encoded = encoder.fit_transform(plain)
    parts, at = [], 0
    for column in columns:
        width = max(1, len(column.categories))
        part = np.asarray(encoded[:, at : at + width], np.float64)
        at += width
        gaps = frame[column.name].isna().to_numpy()
        if column.categories and not column.flagged:
            part[gaps] = np.nan
        parts.append(part)
        if column.flagged:
            parts.append(gaps[:, np.newaxis].astype(np.float64))
    return np.concatenate(parts, axis=1)


def learn_fill(
    inputs: NDArray, columns: Sequence[Column], missing: Missing
) -> NDArray[np.float64] | None:
    """Return what fills the gaps of each feature [features], learnt from rows of the training part.

    Numbers are filled with their median or most frequent value, text with its most frequent
    category; a number that the training part never has is filled with 0. None where nothing is
    missing.
    """
    if missing == "refuse":
        return None
    from sklearn.impute import SimpleImputer

    strategy = "most_frequent" if missing == "most frequent" else "median"
    rows = np.asarray(inputs, np.float64)
    imputer = SimpleImputer(strategy=strategy, keep_empty_features=True).fit(rows)
    fill = np.asarray(imputer.statistics_, np.float64)
    at = 0
    for column in columns:
        width = len(column.categories)
        if width:
            frequencies = np.nansum(rows[:, at : at + width], axis=0)
            fill[at : at + width] = np.arange(width) == frequencies.argmax()
        at += len(column.features)
    return fill


def filled(inputs: NDArray, fill: NDArray[np.float64]) -> NDArray:
    """Return rows with their gaps filled."""
    return np.where(np.isnan(inputs), fill.astype(inputs.dtype), inputs)
