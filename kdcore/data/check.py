"""Checks every example of a user's data and makes a :class:`Report`; stores nothing."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kdcore.config.catalog import DATASETS, USER_NAME
from kdcore.data.readers.common import MOST_CLASSES, Source, refuse_what_is_not_finite
from kdcore.data.readers.opening import open_source
from kdcore.errors import Words, require
from kdcore.tasks.glyphs import feature_glyphs
from kdcore.words import in_bytes

Colour = Literal["as it is", "grey", "colour"]
Scaling = Literal["auto", "unit", "standard", "none"]
COLOURS = ("as it is", "grey", "colour")
SCALINGS = ("auto", "unit", "standard", "none")
SCALING_WORDS = {
    "unit": "0 to 1",
    "standard": "mean 0, deviation 1 for each feature",
    "none": "as they are",
}
LARGEST_SIDE = 512
LARGEST_UNASKED_SIDE = 64  # larger photos are shrunk unless a size is asked for
MOST_STORED_BYTES = 4 * 2**30
MOST_NAMED = 20
PREVIEWED_A_CLASS = 6
MOST_PREVIEWED = 48
TEST_SHARE, VALIDATION_SHARE = 0.25, 0.15
MOST_TEST, MOST_VALIDATION = 10_000, 5_000
IMBALANCE_WORTH_SAYING = 3.0
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601

Told = Callable[[float, str], None]


@dataclass(frozen=True)
class DataOptions:
    """How data is to be read. Raises ConfigError, as a config does.

    Args:
        label: the column of a table that holds the classes; found by its name if left out.
        keep: columns of a table that are features although they look like row numbers, names or a
            second answer.
        drop: columns of a table to leave out.
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
        require(self.scaling in SCALINGS, "scaling", f"one of {', '.join(SCALINGS)}", self.scaling)


DEFAULTS = DataOptions()


@dataclass
class Report:
    """What was found, and what will be stored. All of it can be written as JSON.

    ``counts`` are examples a class of each part; ``sizes`` how many images have which height and
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

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


@dataclass
class _Survey:
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


@dataclass
class Checked:
    """A source that was checked: the report, pictures of some examples with their labels, and
    what to leave out.
    """

    report: Report
    preview: tuple[NDArray[np.uint8], NDArray[np.int64]]
    leave_out: dict[str, NDArray[np.bool_]]


def check_name(name: str) -> str:
    """Return ``name`` if it may name a user's dataset; raises ConfigError otherwise."""
    rule = "lower-case letters, digits, _ . or -, at most 40, beginning with a letter or digit"
    require(bool(re.fullmatch(USER_NAME, name)), "name", rule, name)
    require(name not in DATASETS, "name", "other than those of the built-in datasets", name)
    return name


def check(path: Path, options: DataOptions = DEFAULTS, tell: Told = lambda *_: None) -> Checked:
    """Check every example of the data at ``path``; nothing is stored.

    ``tell(fraction, words)`` is called on the way and may raise to end the work. Raises ConfigError
    for what cannot be read at all; what can be mended by an option is in the report's ``problems``.
    """
    source = open_source(path, options.label, options.keep, options.drop)
    survey = _survey(source, tell)
    return _judge(source, survey, options, path.name)


# First reading


def _survey(source: Source, tell: Told) -> _Survey:
    survey, seen, total = _Survey(), 0, sum(source.parts.values())
    for part in source.parts:
        survey.labels[part], survey.digests[part], survey.names[part] = [], [], []
        for batch in source.batches(part):
            if len(batch.inputs):
                _examine(survey, source.kind, batch.inputs)
            survey.labels[part].append(batch.labels)
            survey.names[part] += batch.names
            survey.digests[part] += [_digest(example) for example in batch.inputs]
            survey.corrupt += batch.corrupt
            for example, label in zip(batch.inputs, batch.labels, strict=True):
                kept = survey.preview.setdefault(int(label), [])
                if len(kept) < PREVIEWED_A_CLASS:
                    kept.append(np.array(example))
            seen += len(batch.names) + len(batch.corrupt)
            tell(seen / total, f"checking {seen:,} of {total:,} examples")
    return survey


def _examine(survey: _Survey, kind: str, inputs: Sequence[NDArray] | NDArray) -> None:
    for array in [inputs] if isinstance(inputs, np.ndarray) else inputs:
        survey.dtypes[str(array.dtype)] += 1
        if array.dtype.kind == "f":
            refuse_what_is_not_finite(array, "values")
            survey.whole = survey.whole and bool(np.all(array == np.rint(array)))
        survey.low, survey.high = (
            min(survey.low, float(array.min())),
            max(survey.high, float(array.max())),
        )
        if kind == "images":
            count = len(array) if isinstance(inputs, np.ndarray) else 1
            height, width, channels = array.shape[-3:]
            survey.sizes[height, width] += count
            survey.channels[channels] += count
            flat = array.reshape(count, -1)
            survey.constant += int(np.sum(flat.min(axis=1) == flat.max(axis=1)))


def _digest(example: NDArray) -> bytes:
    shape = str(example.shape).encode()
    return hashlib.blake2b(
        np.ascontiguousarray(example).tobytes(), digest_size=16, key=shape[:64]
    ).digest()


# The report


def _judge(source: Source, survey: _Survey, options: DataOptions, file_name: str) -> Checked:
    labels = {
        part: np.concatenate(found) if found else np.zeros(0, np.int64)
        for part, found in survey.labels.items()
    }
    classes = len(source.class_names)
    require(2 <= classes <= MOST_CLASSES, "classes", f"from 2 to {MOST_CLASSES:,}", classes)
    report = Report(
        source=file_name,
        kind=source.kind,
        parts={part: len(found) for part, found in labels.items()},
        class_names=list(source.class_names),
        counts={
            part: np.bincount(found, minlength=classes).tolist() for part, found in labels.items()
        },
        feature_names=list(source.feature_names),
        corrupt=survey.corrupt[:MOST_NAMED],
        corrupt_count=len(survey.corrupt),
        ignored=source.ignored[:MOST_NAMED],
        ignored_count=len(source.ignored),
        notes=list(source.notes),
    )
    if survey.corrupt and not options.skip_corrupt:
        shown = "; ".join(survey.corrupt[:3]) + ("; ..." if len(survey.corrupt) > 3 else "")
        rule = "readable, or left out (skip corrupt files)"
        report.problems.append(("files", rule, f"{len(survey.corrupt)} that are not: {shown}"))
    if not survey.dtypes:
        require(
            False,
            "images",
            "readable",
            Words(f"{len(survey.corrupt)} corrupt files, such as {survey.corrupt[0]}"),
        )
    leave_out = _duplicates(survey, labels, report)
    if not options.drop_duplicates:
        leave_out = {part: np.zeros(len(found), bool) for part, found in labels.items()}
    _plan(survey, options, report)
    left = {part: found[~leave_out[part]] for part, found in labels.items()}
    _divide(left, report)
    _warn(report, options)
    return Checked(report, _preview(survey, report), leave_out)


def _duplicates(
    survey: _Survey, labels: dict[str, NDArray], report: Report
) -> dict[str, NDArray[np.bool_]]:
    """Count equal examples into the report.

    Returns which to leave out so that none is in two parts or twice in one.
    """
    test = dict(zip(survey.digests.get("test", []), survey.names.get("test", []), strict=True))
    leaked: dict[bytes, str] = {}
    first_label: dict[bytes, int] = {}
    leave_out = {}
    for part, digests in survey.digests.items():
        seen: set[bytes] = set()
        out = np.zeros(len(digests), bool)
        for at, digest in enumerate(digests):
            if digest in seen:
                report.repeated += 1
                out[at] = True
            seen.add(digest)
            if part == "train" and digest in test:
                leaked.setdefault(digest, f"{survey.names[part][at]} = {test[digest]}")
                out[at] = True
            report.conflicting += int(
                first_label.setdefault(digest, int(labels[part][at])) != labels[part][at]
            )
        leave_out[part] = out
    report.leaked = sum(digest in leaked for digest in survey.digests.get("test", []))
    report.examples_of_leaks = list(leaked.values())[:5]
    return leave_out


def _plan(survey: _Survey, options: DataOptions, report: Report) -> None:
    """Decide on shape, number format and scaling, and say so in the report."""
    report.lowest, report.highest = survey.low, survey.high
    report.values = f"{', '.join(survey.dtypes)}, from {survey.low:g} to {survey.high:g}"
    images = report.kind == "images"
    scaling = options.scaling if options.scaling != "auto" else "unit" if images else "standard"
    report.scaling = scaling
    if not images:
        require(options.size is None, "size", "left out for a table", options.size)
        require(options.colour == "as it is", "colour", "left out for a table", options.colour)
        # Large numbers that differ little, such as times, keep their digits until they are scaled.
        report.shape = [len(report.feature_names)]
        report.dtype = "float64" if "float64" in survey.dtypes else "float32"
        return
    require(scaling != "standard", "scaling", "unit or none for images", scaling)
    report.sizes = {
        f"{height} × {width}": count for (height, width), count in survey.sizes.most_common(8)
    }
    report.colours = {
        {1: "grey", 3: "colour"}[channels]: count for channels, count in survey.channels.items()
    }
    (height, width), _ = survey.sizes.most_common(1)[0]
    if options.size is not None:
        height, width = options.size
    elif max(height, width) > LARGEST_UNASKED_SIDE:
        shrink = LARGEST_UNASKED_SIDE / max(height, width)
        height, width = max(1, round(height * shrink)), max(1, round(width * shrink))
        report.notes.append(
            f"Images are shrunk to {height} × {width}: larger ones train slowly. Choose a size to change it."
        )
    channels = {"grey": 1, "colour": 3}.get(options.colour, max(survey.channels))
    report.shape = [height, width, channels]
    in_bytes_already = survey.whole and survey.low >= 0 and survey.high <= 255
    # Between 0 and 1 there are no whole numbers: what is resized needs others.
    resized = set(survey.sizes) != {(height, width)}
    needs_more = resized and survey.high <= 1
    report.dtype = "uint8" if in_bytes_already and not needs_more else "float32"
    largest = _full_range(survey)
    report.scale = 1 / largest if scaling == "unit" and largest > 0 else 1.0
    if scaling == "unit":
        report.notes.append(f"Values are divided by {largest:g}.")
    _refuse_constant(survey, report)


def _full_range(survey: _Survey) -> float:
    """Return what the values of images are divided by so that white is 1.

    Bytes by 255 even if no pixel is quite white; whole numbers of 12 and 16 bits by their largest;
    0 and 1, a scale of 16 levels, and anything else by the largest value that there is.
    """
    largest = max(abs(survey.low), survey.high)
    if not (survey.whole and survey.low >= 0):
        return largest
    bytes_alone = set(survey.dtypes) == {"uint8"}
    if survey.high <= 255:
        return 255.0 if (bytes_alone and survey.high > 1) or survey.high > 128 else largest
    if set(survey.dtypes) <= {"uint16", "int32", "uint8"}:
        return next((float(top) for top in (4095, 65535) if survey.high <= top), largest)
    return largest


def _refuse_constant(survey: _Survey, report: Report) -> None:
    """Name images without any contrast: a problem where they are many, a warning else."""
    total = sum(survey.sizes.values())
    if not survey.constant:
        return
    said = f"{survey.constant:,} of {total:,} images have a single value everywhere"
    if survey.constant * 2 >= total:
        report.problems.append(("images", "pictures with more than one value", said))
    else:
        report.warnings.append(f"{said}: they show nothing.")


def _divide(labels: dict[str, NDArray], report: Report) -> None:
    """Say which examples will train, validate and test, and refuse what is too few."""
    classes, least = len(report.class_names), 3 if "all" in labels else 2
    trained = next(iter(labels.values()))
    counts = np.bincount(trained, minlength=classes)
    if counts.min() < least:
        which = report.class_names[int(counts.argmin())]
        rule = f"at least {least} in every class"
        report.problems.append(("training examples", rule, f"{int(counts.min())} of {which!r}"))
    report.stored = {part: len(found) for part, found in labels.items()}
    report.stored_bytes = (
        sum(report.stored.values()) * int(np.prod(report.shape)) * np.dtype(report.dtype).itemsize
    )
    most = in_bytes(MOST_STORED_BYTES)
    if report.stored_bytes > MOST_STORED_BYTES:
        report.problems.append(
            (
                "data",
                f"at most {most} as stored: choose a smaller size",
                in_bytes(report.stored_bytes),
            )
        )
    count = len(trained)
    test = (
        len(labels["test"])
        if "test" in labels
        else max(classes, min(MOST_TEST, round(TEST_SHARE * count)))
    )
    validation = max(classes, min(MOST_VALIDATION, round(VALIDATION_SHARE * count)))
    train = count - validation - (0 if "test" in labels else test)
    report.division = {"train": train, "validation": validation, "test": test}
    if train < classes:
        rule = f"at least {classes} once validation and test data are set apart"
        report.problems.append(("training examples", rule, str(max(train, 0))))


def _warn(report: Report, options: DataOptions) -> None:
    counts = next(iter(report.counts.values()))
    most, least = int(np.argmax(counts)), int(np.argmin(counts))
    if counts[least] and counts[most] >= IMBALANCE_WORTH_SAYING * counts[least]:
        report.warnings.append(
            f"Classes are uneven: {report.class_names[most]!r} has {counts[most]:,} examples, "
            f"{report.class_names[least]!r} {counts[least]:,}. Accuracy then says little about the small ones."
        )
    mended = " They are left out of the training part." if options.drop_duplicates else ""
    if report.leaked:
        report.warnings.append(
            f"{report.leaked:,} test {'example is' if report.leaked == 1 else 'examples are'} in the training part too, which makes the test too easy "
            f"(such as {report.examples_of_leaks[0]}).{mended}"
        )
    if report.repeated:
        across = (
            ""
            if "test" in report.counts or mended
            else " Some copies will be on both sides of the division."
        )
        left = " Only the first is kept." if mended else ""
        report.warnings.append(
            f"{report.repeated:,} {'example is an exact copy' if report.repeated == 1 else 'examples are exact copies'} of another one.{across}{left}"
        )
    if report.conflicting:
        report.warnings.append(f"{report.conflicting:,} copies carry another label than the first.")
    if report.corrupt and options.skip_corrupt:
        report.warnings.append(f"{report.corrupt_count:,} files cannot be read and are left out.")


def _preview(survey: _Survey, report: Report) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures of some examples of every class as they will be stored, with their labels."""
    classes = sorted(survey.preview)
    turns = [(number, label) for number in range(PREVIEWED_A_CLASS) for label in classes]
    chosen = [
        (label, survey.preview[label][number])
        for number, label in turns
        if number < len(survey.preview[label])
    ]
    chosen = sorted(chosen[:MOST_PREVIEWED], key=lambda pair: pair[0])
    labels = np.array([label for label, _ in chosen], np.int64)
    if report.kind == "table":
        rows = np.stack([row for _, row in chosen]).astype(np.float64)
        return feature_glyphs(rows, rows.mean(axis=0), rows.std(axis=0)), labels
    stored = fit_images([image for _, image in chosen], report)
    full = (
        255
        if report.dtype == "uint8" and report.scale in (1.0, 1 / 255)
        else max(survey.high, 1e-12)
    )
    return np.clip(np.rint(stored * (255 / full)), 0, 255).astype(np.uint8), labels


def fit_images(images: Sequence[NDArray], report: Report) -> NDArray:
    """Return images of any size as one array [n, height, width, channels] of the report's shape and
    number format.
    """
    height, width, channels = report.shape
    out = np.empty((len(images), height, width, channels), report.dtype)
    for at, image in enumerate(images):
        if image.shape[2] == 3 and channels == 1:
            image = (image @ GREY)[..., np.newaxis]
            if report.dtype == "uint8":
                image = np.rint(image).astype(np.uint8)
        elif image.shape[2] == 1 and channels == 3:
            image = np.repeat(image, 3, axis=2)
        if image.shape[:2] != (height, width):
            image = _resize(image, height, width, np.dtype(report.dtype))
        out[at] = np.rint(image) if report.dtype == "uint8" and image.dtype != np.uint8 else image
    return out


def _resize(image: NDArray, height: int, width: int, stored: np.dtype) -> NDArray:
    """Resize by bilinear interpolation with antialiasing, channel by channel: it works for bytes
    and floats alike.
    """
    kind = np.uint8 if image.dtype == stored == np.uint8 else np.float32
    pictures = [
        Image.fromarray(np.ascontiguousarray(image[..., at], kind)) for at in range(image.shape[2])
    ]
    channels = [
        np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
        for picture in pictures
    ]
    return np.stack(channels, axis=2)
