"""How data is to be read, and what is found in it: plain values that can be written as JSON."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdcore.errors import require
from kdcore.tasks.columns import MISSING_WAYS, TEXT_WAYS, Missing, Text
from kdcore.tasks.vocabulary import Pieces, Tokens

Colour = Literal["as it is", "grey", "colour"]
Scaling = Literal["auto", "unit", "standard", "none"]
Unlabelled = Literal["named", "test", "no"]
COLOURS = ("as it is", "grey", "colour")
SCALINGS = ("auto", "unit", "standard", "none")
UNLABELLED_WAYS = ("named", "test", "no")
SCALING_WORDS = {
    "unit": "0 to 1",
    "standard": "mean 0, deviation 1 for each feature",
    "none": "as they are",
}
LARGEST_SIDE = 512
CLASSES_NAMED = 10


@dataclass(frozen=True)
class DataOptions:
    """How data is to be read. Raises ConfigError, as a config does.

    Args:
        label: the column of a table that holds the classes; found by its name if left out.
        keep: columns of a table that are features although they look like row numbers, names or a
            second answer.
        drop: columns of a table to leave out.
        text: what becomes of columns of text: "encode": a feature for each category; "leave out";
            "refuse": asked about.
        missing: what becomes of missing values of a table: "median": numbers take the median, text
            its most frequent category; "most frequent": both take the most frequent value; "own
            category": a feature says where one is missing, and numbers take the median; "refuse":
            asked about. What fills them is learnt from the training part.
        text_column: the column of a table that holds texts to learn; found by what is in it if left
            out.
        pieces: what texts are cut into: "bpe" or "wordpiece", parts of words that the training
            part shows, or "characters".
        vocabulary: the most different pieces.
        length: tokens of a text; longer ones lose their end.
        unlabelled: what has no label: "named": folders and arrays that are called so, rows whose
            label is empty, and -1 where the classes are 0 to k-1; "test": a test part without
            labels, too; "no": nothing, -1 is a class and an empty label is refused.
        size: height and width of images; None: the most frequent, at most 64 a side.
        colour: "grey" or "colour" turns images into one or three channels; "as it is": colour where
            any image has it.
        scaling: "unit": 0 to 1; "standard": mean 0, deviation 1 for each feature of a table;
            "none"; "auto": unit for images, standard for tables. What scaling learns from data, it
            learns from the training part.
        skip_corrupt: leave out files that cannot be read, instead of refusing.
        drop_duplicates: leave out training examples that are in the test part too, and all but the
            first of equal ones.
    """

    label: str | None = None
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    text: Text = "refuse"
    missing: Missing = "refuse"
    text_column: str | None = None
    pieces: Pieces = "bpe"
    vocabulary: int = 4000
    length: int = 64
    unlabelled: Unlabelled = "named"
    size: tuple[int, int] | None = None
    colour: Colour = "as it is"
    scaling: Scaling = "auto"
    skip_corrupt: bool = False
    drop_duplicates: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", tuple(self.keep))
        object.__setattr__(self, "drop", tuple(self.drop))
        if self.size is not None:
            object.__setattr__(self, "size", tuple(self.size))
            fits = len(self.size) == 2 and all(
                isinstance(side, int) and 4 <= side <= LARGEST_SIDE for side in self.size
            )
            require(fits, "size", f"height and width from 4 to {LARGEST_SIDE} pixels", self.size)
        require(self.colour in COLOURS, "colour", f"one of {', '.join(COLOURS)}", self.colour)
        require(self.text in TEXT_WAYS, "text", f"one of {', '.join(TEXT_WAYS)}", self.text)
        ways = f"one of {', '.join(MISSING_WAYS)}"
        require(self.missing in MISSING_WAYS, "missing", ways, self.missing)
        known = f"one of {', '.join(UNLABELLED_WAYS)}"
        require(self.unlabelled in UNLABELLED_WAYS, "unlabelled", known, self.unlabelled)
        require(self.scaling in SCALINGS, "scaling", f"one of {', '.join(SCALINGS)}", self.scaling)
        Tokens(self.pieces, self.vocabulary, self.length)  # refuses what it cannot be


DEFAULTS = DataOptions()


@dataclass
class Report:
    """What was found, and what will be stored. All of it can be written as JSON.

    ``tokens`` says how texts become tokens, as :class:`~kdcore.tasks.vocabulary.Tokens` has it, and
    ``width`` the bytes of the longest; ``lengths`` how many texts have how many tokens, as
    :class:`Lengths` has it; ``parts`` are how many examples were found for "train" and "test", or
    in "all", and "unlabelled" ones, which join the training part; ``counts`` are examples a class
    of each part with labels; ``sizes`` how many images have which height and
    width; ``leaked``, ``repeated`` and ``conflicting`` count test examples that are in the training
    part, further copies within a part, and copies with another label; ``problems`` (field, rule,
    received) must be mended before the data can be stored.
    """

    source: str
    kind: str
    parts: dict[str, int]
    class_names: list[str]
    counts: dict[str, list[int]]
    feature_names: list[str] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    missing: Missing = "refuse"
    tokens: dict[str, Any] | None = None
    width: int = 0
    lengths: dict[str, Any] | None = None
    values: str = ""
    lowest: float = 0.0
    highest: float = 0.0
    sizes: dict[str, int] = field(default_factory=dict)
    colours: dict[str, int] = field(default_factory=dict)
    leaked: int = 0
    repeated: int = 0
    conflicting: int = 0
    examples_of_leaks: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    corrupt_count: int = 0
    ignored: list[str] = field(default_factory=list)
    ignored_count: int = 0
    shape: list[int] = field(default_factory=list)
    dtype: str = ""
    scaling: str = ""
    scale: float = 1.0
    stored: dict[str, int] = field(default_factory=dict)
    stored_bytes: int = 0
    division: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def bytes_an_example(self) -> int:
        """How much one example takes as it is stored."""
        return self.width or math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def unlabelled(self) -> int:
        """How many examples without a label will be stored."""
        return self.division.get("unlabelled", 0)

    @property
    def understood(self) -> str:
        """What was understood, in words: "2 classes: cats, dogs; 28 for training, 12 for test"."""
        names = ", ".join(self.class_names[:CLASSES_NAMED])
        more = ", ..." if len(self.class_names) > CLASSES_NAMED else ""
        words = {
            "train": "for training",
            "test": "for test",
            "all": "in all",
            "unlabelled": "without a label",
        }
        parts = ", ".join(
            f"{count:,} {words.get(part, part)}" for part, count in self.parts.items()
        )
        return f"{len(self.class_names)} classes: {names}{more}; {parts}"

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Lengths:
    """How long texts are, in tokens with their beginning and end.

    Args:
        counts: of texts, for each of the equal steps of length between ``edges``.
        edges: whole numbers, one more than counts; each step begins with its lower edge. One edge
            is that of the texts that are cut, where there are any.
        limit: tokens that models see.
        cut: texts that are longer, and lose their end.
        least: tokens of the shortest.
        median: tokens of the middle one.
        most: tokens of the longest.
    """

    counts: tuple[int, ...]
    edges: tuple[int, ...]
    limit: int
    cut: int
    least: int
    median: int
    most: int

    @property
    def texts(self) -> int:
        """How many texts were measured."""
        return sum(self.counts)

    @property
    def words(self) -> str:
        """The numbers in one line: "5 to 120 tokens, half of them at most 33; 12 are cut at 64"."""
        cut = f"{self.cut:,} of {self.texts:,} are" if self.cut else "none is"
        return f"{self.least:,} to {self.most:,} tokens, half of them at most {self.median:,}; {cut} cut at {self.limit:,}"


@dataclass
class Survey:
    """What a first reading of a source gathers."""

    low: float = np.inf
    high: float = -np.inf
    whole: bool = True
    dtypes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    labels: dict[str, list[NDArray]] = field(default_factory=dict)
    digests: dict[str, list[bytes]] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    corrupt: list[str] = field(default_factory=list)
    constant: int = 0  # images of a single value
    preview: dict[int, list[NDArray]] = field(default_factory=dict)
    called: set[str] | None = None  # what all batches tell their examples by, beside the row
    texts: list[bytes] = field(default_factory=list)  # some of them, to see how long they are
