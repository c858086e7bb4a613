"""Checks every example of a user's data and makes a :class:`Report`; stores nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdcore.config.catalog import DATASETS
from kdcore.config.sources import USER_NAME
from kdcore.data.readers.common import (
    MOST_CLASSES,
    NO_LABEL,
    UNLABELLED,
    Source,
    refuse_what_is_not_finite,
)
from kdcore.data.readers.opening import open_source
from kdcore.errors import Words, require
from kdcore.tasks import find
from kdcore.tasks.report import DEFAULTS, DataOptions, Report, Survey
from kdcore.words import in_bytes

MOST_STORED_BYTES = 4 * 2**30
MOST_NAMED = 20
PREVIEWED_A_CLASS = 6
MOST_PREVIEWED = 48
TEST_SHARE, VALIDATION_SHARE = 0.25, 0.15
MOST_TEST, MOST_VALIDATION = 10_000, 5_000
IMBALANCE_WORTH_SAYING = 3.0
Told = Callable[[float, str], None]


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
    source = open_source(path, options)
    survey = _survey(source, tell)
    return _judge(source, survey, options, path.name)


# First reading


def _survey(source: Source, tell: Told) -> Survey:
    survey, seen, total = Survey(), 0, sum(source.parts.values())
    canonical = find(source.kind).canonical
    for part in source.parts:
        survey.labels[part], survey.digests[part], survey.names[part] = [], [], []
        for batch in source.batches(part):
            if len(batch.inputs):
                _examine(survey, source, batch.inputs)
            survey.labels[part].append(batch.labels)
            survey.names[part] += batch.names
            survey.digests[part] += [_digest(canonical(example)) for example in batch.inputs]
            survey.corrupt += batch.corrupt
            if len(batch.names):
                called = set(batch.ids)
                survey.called = called if survey.called is None else survey.called & called
            for example, label in zip(batch.inputs, batch.labels, strict=True):
                kept = survey.preview.setdefault(int(label), [])
                if len(kept) < PREVIEWED_A_CLASS:
                    kept.append(np.array(example))
            seen += len(batch.names) + len(batch.corrupt)
            tell(seen / total, f"checking {seen:,} of {total:,} examples")
    return survey


def _examine(survey: Survey, source: Source, inputs: Sequence[NDArray] | NDArray) -> None:
    for array in [inputs] if isinstance(inputs, np.ndarray) else inputs:
        survey.dtypes[str(array.dtype)] += 1
        known = array
        if array.dtype.kind == "f":
            known = array if source.missing == "refuse" else array[~np.isnan(array)]
            refuse_what_is_not_finite(known, "values")
            survey.whole = survey.whole and bool(np.all(known == np.rint(known)))
        if known.size:  # where values may be missing, all may be
            survey.low = min(survey.low, float(known.min()))
            survey.high = max(survey.high, float(known.max()))
        count = len(array) if isinstance(inputs, np.ndarray) else 1
        find(source.kind).examine(survey, array, count)


def _digest(example: NDArray) -> bytes:
    shape = str(example.shape).encode()
    return hashlib.blake2b(
        np.ascontiguousarray(example).tobytes(), digest_size=16, key=shape[:64]
    ).digest()


# The report


def _judge(source: Source, survey: Survey, options: DataOptions, file_name: str) -> Checked:
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
            part: np.bincount(found, minlength=classes).tolist()
            for part, found in labels.items()
            if part != UNLABELLED
        },
        feature_names=list(source.feature_names),
        columns=[asdict(column) for column in source.columns],
        missing=source.missing,
        corrupt=survey.corrupt[:MOST_NAMED],
        corrupt_count=len(survey.corrupt),
        ignored=source.ignored[:MOST_NAMED],
        ignored_count=len(source.ignored),
        notes=list(source.notes),
    )
    if survey.called:
        report.notes.append(
            f"A file of a teacher's answers may tell examples by {_either(survey.called)}."
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
    _settle(source, survey, options, report)
    left = {part: found[~leave_out[part]] for part, found in labels.items()}
    _divide(left, report)
    _warn(report, options)
    return Checked(report, _preview(survey, report), leave_out)


def _duplicates(
    survey: Survey, labels: dict[str, NDArray], report: Report
) -> dict[str, NDArray[np.bool_]]:
    """Count equal examples into the report; those without a label are of the training part.

    Returns which to leave out so that none is in two parts or twice in one.
    """
    test = dict(zip(survey.digests.get("test", []), survey.names.get("test", []), strict=True))
    leaked: dict[bytes, str] = {}
    first_label: dict[bytes, int] = {}
    leave_out = {}
    trained = set[bytes]()
    for part, digests in survey.digests.items():
        unlabelled = part == UNLABELLED
        seen = trained if unlabelled else set[bytes]()
        if part != "test":
            trained = seen
        out = np.zeros(len(digests), bool)
        for at, digest in enumerate(digests):
            if digest in seen:
                report.repeated += 1
                out[at] = True
            seen.add(digest)
            if part != "test" and digest in test:
                leaked.setdefault(digest, f"{survey.names[part][at]} = {test[digest]}")
                out[at] = True
            if not unlabelled:
                first = first_label.setdefault(digest, int(labels[part][at]))
                report.conflicting += int(first != labels[part][at])
        leave_out[part] = out
    report.leaked = sum(digest in leaked for digest in survey.digests.get("test", []))
    report.examples_of_leaks = list(leaked.values())[:5]
    return leave_out


def _settle(source: Source, survey: Survey, options: DataOptions, report: Report) -> None:
    """Decide on shape, number format and scaling, and say so in the report."""
    task = find(source.kind)
    report.lowest, report.highest = survey.low, survey.high
    report.values = f"{', '.join(survey.dtypes)}, from {survey.low:g} to {survey.high:g}"
    report.scaling = task.scaling if options.scaling == "auto" else options.scaling
    task.settle(survey, options, report)


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
    report.stored_bytes = sum(report.stored.values()) * report.bytes_an_example
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
    if without := len(labels.get(UNLABELLED, ())):
        report.division[UNLABELLED] = without
        report.notes.append(
            f"{without:,} {'example' if without == 1 else 'examples'} without a label: they are for "
            "teachers to answer, never for validation or test."
        )
    if train < classes:
        rule = f"at least {classes} once validation and test data are set apart"
        report.problems.append(("training examples", rule, str(max(train, 0))))


def _either(called: set[str]) -> str:
    """Return what examples are told by in words: "row, passenger_id or name"."""
    *first, last = ["row", *sorted(called)]
    return f"{', '.join(first)} or {last}"


def _alike(class_names: Sequence[str]) -> str:
    """Return the class names that are the same but for capitals and blanks, as they are shown."""
    same: dict[str, list[str]] = {}
    for name in class_names:
        same.setdefault("".join(name.casefold().split()), []).append(name)
    return "; ".join(" and ".join(map(repr, names)) for names in same.values() if len(names) > 1)


def _warn(report: Report, options: DataOptions) -> None:
    counts = next(iter(report.counts.values()))
    most, least = int(np.argmax(counts)), int(np.argmin(counts))
    if counts[least] and counts[most] >= IMBALANCE_WORTH_SAYING * counts[least]:
        report.warnings.append(
            f"Classes are uneven: {report.class_names[most]!r} has {counts[most]:,} examples, "
            f"{report.class_names[least]!r} {counts[least]:,}. Accuracy then says little about the small ones."
        )
    alike = _alike(report.class_names)
    if alike:
        report.warnings.append(
            f"Classes that differ in capitals or blanks alone are classes of their own: {alike}."
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


def _preview(survey: Survey, report: Report) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures of some examples of every class as they will be stored, with their labels;
    last those without one.
    """
    classes = sorted(survey.preview, key=lambda label: (label == NO_LABEL, label))
    turns = [(number, label) for number in range(PREVIEWED_A_CLASS) for label in classes]
    chosen = [
        (label, survey.preview[label][number])
        for number, label in turns
        if number < len(survey.preview[label])
    ]
    chosen = sorted(chosen[:MOST_PREVIEWED], key=lambda pair: classes.index(pair[0]))
    labels = np.array([label for label, _ in chosen], np.int64)
    raw = [example for _, example in chosen]
    return find(report.kind).preview(raw, survey, report), labels
