"""What a kind of data is: how raw examples become what a model sees, and how one is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kdcore.tasks.report import SCALING_WORDS, DataOptions, Report, Survey


class Task(ABC):
    """A kind of data: one class in one file, and one line in :mod:`kdcore.tasks.registry`.

    Attributes:
        name: what configs and stored datasets call it.
        title: it in the middle of a sentence: "images", "a table".
        icon: a Material icon.
        pictures: whether examples are pictures: convolutions fit, colours and places can be
            changed, a picture may be dropped for a prediction.
        size_label: what the size of one example is called.
        scaling: how values are scaled unless asked otherwise.
        value_ranges: that a model of one's own may want its inputs in, the one assumed first; what
            a brought teacher is tried with.
        starting_networks: teacher and student to begin with.
        candidates: students that "which student?" measures.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    icon: ClassVar[str]
    pictures: ClassVar[bool] = False
    size_label: ClassVar[str] = "One example"
    preview_help: ClassVar[str] = ""
    scaling: ClassVar[str]
    value_ranges: ClassVar[tuple[str, ...]] = ("as they are",)
    starting_networks: ClassVar[tuple[str, str]]
    candidates: ClassVar[tuple[str, ...]]

    # A user's file

    @abstractmethod
    def takes(self, shape: tuple[int, ...]) -> bool:
        """Return whether examples of ``shape`` in an array without more words are of this kind."""

    @abstractmethod
    def refuse_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise ConfigError where examples of ``shape`` in the array ``name`` cannot be used."""

    def feature_names(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Return what the features of an array are called; nothing where they have no names."""
        return ()

    def as_read(self, rows: NDArray) -> NDArray:
        """Return some examples of an array in the shape that models see."""
        return rows

    def examine(self, survey: Survey, array: NDArray, count: int) -> None:
        """Note what ``count`` examples in ``array`` show; their number format is noted already."""
        return None

    @abstractmethod
    def settle(self, survey: Survey, options: DataOptions, report: Report) -> None:
        """Set the report's shape, number format and scale; ``report.scaling`` is what was asked.

        Raises ConfigError for options that do not belong to this kind of data.
        """

    @abstractmethod
    def fit(self, examples: Sequence[NDArray], report: Report) -> NDArray:
        """Return examples as one array [n, ...] of the report's shape and number format."""

    @abstractmethod
    def preview(
        self, examples: Sequence[NDArray], survey: Survey, report: Report
    ) -> NDArray[np.uint8]:
        """Return pictures [n, height, width, channels] of raw examples."""

    def value_range(self, report: Report) -> tuple[float, float]:
        """Return the lowest and highest value that models see."""
        return (0.0, 1.0)

    # What models see

    def learn(self, inputs: NDArray, how: str) -> tuple[NDArray | None, NDArray | None]:
        """Learn from the training part what is subtracted from inputs and what divides them.

        None and None where nothing is learnt.
        """
        return None, None

    def augmentation_rule(self, augmentation: str, shape: tuple[int, ...], name: str) -> str | None:
        """Return the rule that ``augmentation`` breaks on examples of ``shape``; None if none."""
        return f"none for {self.title}"

    # What people see

    @abstractmethod
    def show(
        self, inputs: NDArray, training: NDArray, scale: float, value_range: tuple[float, float]
    ) -> NDArray[np.uint8]:
        """Return pictures [n, height, width, channels] of inputs as the dataset holds them."""

    def about(self, report: Report) -> list[tuple[str, str]]:
        """Return what a report says of this kind alone: (what, in words)."""
        return []

    def scaling_in_words(self, report: Report) -> str:
        """Return how values are scaled, in words."""
        return SCALING_WORDS[report.scaling]
