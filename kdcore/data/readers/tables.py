"""Tables of numbers with a column of classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from kdcore.data.readers.common import (
    BATCH_BYTES,
    LABEL_COLUMNS,
    MOST_BYTES_OF_A_TABLE,
    MOST_EXAMPLES,
    MOST_FEATURES,
    Batch,
    number_labels,
    refuse_what_is_not_finite,
)
from kdcore.errors import Words, require
from kdcore.words import first_line, in_bytes


def read_table(path: Path) -> pd.DataFrame:
    """Read a ``.csv`` or ``.parquet``.

    Raises ConfigError for what is neither, or too large for memory.
    """
    most = in_bytes(MOST_BYTES_OF_A_TABLE)
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            about = pyarrow.parquet.read_metadata(path)
            size = max(
                about.num_rows * about.num_columns * 8,
                sum(
                    about.row_group(group).total_byte_size for group in range(about.num_row_groups)
                ),
            )
            require(
                size <= MOST_BYTES_OF_A_TABLE,
                "table",
                f"at most {most} in memory",
                Words(in_bytes(size)),
            )
            return pd.read_parquet(path)
        require(
            path.stat().st_size <= MOST_BYTES_OF_A_TABLE,
            "table",
            f"at most {most}",
            Words(in_bytes(path.stat().st_size)),
        )
        return pd.read_csv(path, low_memory=False)
    except (
        ValueError,
        OSError,
        pd.errors.ParserError,
    ) as error:  # also UnicodeDecodeError, EmptyDataError, ArrowInvalid
        require(False, "file", f"a readable table ({first_line(error)})", path.name)
        raise AssertionError("unreachable") from None


@dataclass
class Table:
    """A table of numbers with one column of classes."""

    frame: pd.DataFrame
    label: str | None = None
    notes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    kind: Literal["images", "table"] = "table"

    def __post_init__(self) -> None:
        frame = self.frame
        frame.columns = frame.columns.map(str)
        columns = list(frame.columns)
        shown = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
        require(
            len(frame) > 0 and len(columns) > 1,
            "table",
            "rows of at least one feature and a label",
            frame.shape,
        )
        require(len(set(columns)) == len(columns), "columns", "each of its own name", Words(shown))
        require(
            len(frame) <= MOST_EXAMPLES,
            "table",
            f"at most {MOST_EXAMPLES:,} rows",
            Words(f"{len(frame):,}"),
        )
        require(
            len(columns) <= MOST_FEATURES,
            "table",
            f"at most {MOST_FEATURES:,} columns",
            Words(f"{len(columns):,}"),
        )
        label = self.label or next(
            (name for name in columns if name.lower() in LABEL_COLUMNS), None
        )
        require(
            label in columns,
            "label",
            f"the name of the column that holds the classes, one of {shown}",
            label,
        )
        assert label is not None
        self.label = label
        if "Unnamed: 0" in columns and label != "Unnamed: 0":
            frame = frame.drop(columns="Unnamed: 0")
            self.notes.append(
                "The first column has no name, only row numbers as pandas writes them: left out."
            )
        require(
            not frame[label].isna().any(),
            "label",
            "filled in everywhere",
            Words(f"{int(frame[label].isna().sum()):,} rows without one"),
        )
        features = frame.drop(columns=label)
        texts = [name for name in features if not pd.api.types.is_numeric_dtype(features[name])]
        require(
            not texts,
            "column",
            "numbers (encode categories as numbers, or leave the column out)",
            Words(", ".join(texts[:5])),
        )
        values = features.to_numpy(np.float64, na_value=np.nan)
        refuse_what_is_not_finite(values, "column", list(features.columns))
        self.feature_names = tuple(features.columns)
        self._values = values.astype(np.float32)
        column = frame[label]
        numeric = pd.api.types.is_numeric_dtype(column)
        raw = column.to_numpy() if numeric else column.astype(str).to_numpy(dtype=str)
        labels, self.class_names = number_labels({"all": raw}, None, self.notes)
        self._labels = labels["all"]
        self.parts = {"all": len(frame)}
        self.notes.append(
            f"Classes are read from the column {label!r}, features from the other {len(self.feature_names)}."
        )
        del self.frame

    def batches(self, part: str) -> Iterator[Batch]:
        """Read the rows from the first."""
        step = max(1, BATCH_BYTES // (4 * len(self.feature_names)))
        for start in range(0, len(self._values), step):
            rows = self._values[start : start + step]
            names = [f"row {start + at + 1}" for at in range(len(rows))]
            yield Batch(rows, self._labels[start : start + step], names, [])
