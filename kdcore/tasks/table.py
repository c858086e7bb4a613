"""Tables: rows of numbers, each feature scaled by what the training part shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kdcore.errors import require
from kdcore.tasks.base import Task
from kdcore.tasks.glyphs import feature_glyphs
from kdcore.tasks.report import DataOptions, Report, Survey

MOST_FEATURES = 10_000
FEATURES_NAMED = 8


class Table(Task):
    """Rows of features, [features]."""

    name: ClassVar[str] = "table"
    title: ClassVar[str] = "a table"
    icon: ClassVar[str] = ":material/table:"
    size_label: ClassVar[str] = "Features"
    preview_help: ClassVar[str] = (
        "A bar a feature: up where it is above the mean, down where below."
    )
    scaling: ClassVar[str] = "standard"
    value_ranges: ClassVar[tuple[str, ...]] = (
        "as they are",
        "as in the file",
        "standardised",
        "0 to 1",
    )
    starting_networks: ClassVar[tuple[str, str]] = ("mlp-64", "mlp-8")
    candidates: ClassVar[tuple[str, ...]] = (
        "mlp-128",
        "mlp-64",
        "mlp-32",
        "mlp-16",
        "mlp-8",
        "mlp-4",
    )

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Return whether an example is a row."""
        return len(shape) == 1

    def refuse_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Refuse too many features."""
        require(shape[0] <= MOST_FEATURES, "features", f"at most {MOST_FEATURES:,}", shape[0])

    def feature_names(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Number the features from 1."""
        return tuple(f"feature {number}" for number in range(1, shape[0] + 1))

    def settle(self, survey: Survey, options: DataOptions, report: Report) -> None:
        """Keep the digits that the file has."""
        require(options.size is None, "size", "left out for a table", options.size)
        require(options.colour == "as it is", "colour", "left out for a table", options.colour)
        # Large numbers that differ little, such as times, keep their digits until they are scaled.
        report.shape = [len(report.feature_names)]
        report.dtype = "float64" if "float64" in survey.dtypes else "float32"

    def fit(self, examples: Sequence[NDArray], report: Report) -> NDArray:
        """Return rows as one array [n, features]."""
        return np.stack(list(examples)).astype(report.dtype)

    def preview(
        self, examples: Sequence[NDArray], survey: Survey, report: Report
    ) -> NDArray[np.uint8]:
        """Return rows as bars."""
        rows = np.stack(list(examples)).astype(np.float64)
        known = ~np.isnan(rows)
        rows = np.where(known, rows, 0.0)
        centre = rows.sum(axis=0) / np.maximum(1, known.sum(axis=0))
        rows = np.where(known, rows, centre)  # a missing value has no bar
        return feature_glyphs(rows, centre, rows.std(axis=0))

    def learn(self, inputs: NDArray, how: str) -> tuple[NDArray | None, NDArray | None]:
        """Learn centre and spread of each feature: "standard", "unit" or "none"."""
        if how == "standard":
            centre = inputs.mean(axis=0, dtype=np.float64)
            spread = inputs.std(axis=0, dtype=np.float64)
        elif how == "unit":
            centre = inputs.min(axis=0).astype(np.float64)
            spread = inputs.max(axis=0) - centre
        else:
            centre, spread = np.zeros(inputs.shape[1:]), np.ones(inputs.shape[1:])
        return centre, np.where(spread == 0, 1.0, spread)

    def show(
        self, inputs: NDArray, training: NDArray, scale: float, value_range: tuple[float, float]
    ) -> NDArray[np.uint8]:
        """Return rows as bars about the middle of the training part."""
        return feature_glyphs(inputs, training.mean(axis=0), training.std(axis=0))

    def about(self, report: Report) -> list[tuple[str, str]]:
        """Name the first features."""
        more = ", ..." if len(report.feature_names) > FEATURES_NAMED else ""
        shown = ", ".join(report.feature_names[:FEATURES_NAMED]) + more
        return [("features", f"{len(report.feature_names)}: {shown}")]
