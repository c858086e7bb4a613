"""What a kind of data is: how raw examples become what a model sees, and how one is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

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
        written: whether examples are texts: shown as words, typed for a prediction.
        size_label: what the size of one example is called.
        scaling: how values are scaled unless asked otherwise.
        value_ranges: that a model of one's own may want its inputs in, the one assumed first; what
            a brought teacher is tried with.
        networks: that learn it, as the beginning of a rule.
        starting_networks: teacher and student to begin with.
        candidates: students that "which student?" measures.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    icon: ClassVar[str]
    pictures: ClassVar[bool] = False
    written: ClassVar[bool] = False
    size_label: ClassVar[str] = "One example"
    preview_help: ClassVar[str] = ""
    scaling: ClassVar[str]
    value_ranges: ClassVar[tuple[str, ...]] = ("as they are",)
    networks: ClassVar[str] = "a model of dense layers, such as mlp-64"
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

    def canonical(self, array: NDArray) -> NDArray:
        """Return an example as models see it: two that are equal in this are one and the same."""
        return array

    @abstractmethod
    def settle(self, survey: Survey, options: DataOptions, report: Report) -> None:
        """Set the report's shape, number format and scale; ``report.scaling`` is what was asked.

        Raises ConfigError for options that do not belong to this kind of data.
        """

    @abstractmethod
    def fit(self, examples: Sequence[NDArray], report: Report) -> NDArray:
        """Return examples as one array [n, ...] of the report's shape and number format."""

    @abstractmethod
    def preview(self, examples: Sequence[NDArray], survey: Survey, report: Report) -> NDArray:
        """Return raw examples as people see them: pictures [n, height, width, channels] or texts
        [n].
        """

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
    ) -> NDArray:
        """Return inputs as people see them: pictures [n, height, width, channels] or texts [n]."""

    def about(self, report: Report) -> list[tuple[str, str]]:
        """Return what a report says of this kind alone: (what, in words)."""
        return []

    def stored_in_words(self, report: Report) -> str:
        """Return how one example is stored: "8×8×1 uint8"."""
        return f"{'×'.join(map(str, report.shape))} {report.dtype}"

    def scaling_in_words(self, report: Report) -> str:
        """Return how values are scaled, in words."""
        return SCALING_WORDS[report.scaling]
