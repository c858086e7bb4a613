"""A teacher's answers as a file: logits, probabilities, the likeliest classes or one class an
example, of a model behind an API say, or of a person.

A file is a table (CSV, Parquet) or arrays (``.npz``). Each answer belongs to an example by its row
in the dataset, from 0; ``part`` says "test" for the examples of a dataset's own test part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdcore.errors import ConfigError, Problem, Words, require
from kdcore.words import first_line

Kind = Literal["logits", "probabilities", "top classes", "labels"]
ROW, PART, LABEL = "row", "part", "label"
SUFFIXES = (".csv", ".parquet", ".npz")
SMALLEST_PROBABILITY = 1e-7
SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Answers:
    """What a file answers for a dataset: logits [examples, classes] of its first part (all of its
    examples, or those for training) and of its test part where it has one of its own. ``words`` say
    what was understood.
    """

    logits: NDArray[np.float32]
    test: NDArray[np.float32] | None
    words: str


def read_answers(
    path: Path, class_names: Sequence[str], examples: int, test_examples: int | None
) -> Answers:
    """Read a file of answers for a dataset of ``examples`` rows, and of ``test_examples`` more in a
    test part of its own (None: it has none).

    Raises ConfigError for answers that are missing, doubled or no answers to these classes.
    """
    table = _table(path)
    probabilities, kind, words = _understood(table, list(class_names))
    parts = _parts(table)
    logits = probabilities if kind == "logits" else _as_logits(probabilities)
    of_test = parts == "test"
    if test_examples is None:
        require(
            not of_test.any(),
            PART,
            "left out: this dataset has no test part of its own",
            Words("test"),
        )
    rows = _rows(table, of_test)
    first = _matched(logits[~of_test], rows[~of_test], examples, "")
    test = None
    if test_examples is not None:
        test = _matched(logits[of_test], rows[of_test], test_examples, " of the test part")
    return Answers(first, test, words)


def _table(path: Path) -> pd.DataFrame:
    """Return the file as a table, arrays of a ``.npz`` as its columns."""
    suffix = path.suffix.lower()
    require(suffix in SUFFIXES, "file", f"one of {', '.join(SUFFIXES)}", path.name)
    try:
        if suffix == ".csv":
            return pd.read_csv(path, encoding="utf-8-sig")
        if suffix == ".parquet":
            return pd.read_parquet(path)
        with np.load(path, allow_pickle=False) as arrays:
            return _columns_of({name: arrays[name] for name in arrays.files})
    except ConfigError:
        raise
    except Exception as error:  # readers of tables have no exception in common
        raise ConfigError(
            Problem("file", "a table or arrays of answers", Words(first_line(error)))
        ) from error


def _columns_of(arrays: dict[str, NDArray]) -> pd.DataFrame:
    """Return the arrays ``logits`` or ``probabilities`` [n, classes], ``labels`` [n], or
    ``top_classes`` and ``top_probabilities`` [n, k], with ``rows`` [n], ``part`` [n] and
    ``class_names``, as the columns of a table.
    """
    columns: dict[str, Any] = {}
    for given, column in (("rows", ROW), (ROW, ROW), (PART, PART), ("labels", LABEL)):
        if given in arrays:
            columns[column] = arrays[given]
    for name in ("logits", "probabilities"):
        if name in arrays:
            values = arrays[name]
            require(values.ndim == 2, name, "of shape [examples, classes]", values.shape)
            names = arrays.get("class_names", np.arange(values.shape[1]))
            prefix = "logit_" if name == "logits" else ""
            columns |= {f"{prefix}{each}": values[:, at] for at, each in enumerate(names)}
    if "top_classes" in arrays:
        require(
            "top_probabilities" in arrays,
            "file",
            "top_probabilities with top_classes",
            Words("none"),
        )
        for at in range(arrays["top_classes"].shape[1]):
            columns[f"class_{at + 1}"] = arrays["top_classes"][:, at]
            columns[f"probability_{at + 1}"] = arrays["top_probabilities"][:, at]
    rule = "arrays logits, probabilities, labels, or top_classes and top_probabilities"
    require(bool(columns), "file", rule, Words(", ".join(arrays) or "no arrays"))
    return pd.DataFrame(columns)


def _understood(table: pd.DataFrame, classes: list[str]) -> tuple[NDArray[np.float64], Kind, str]:
    """Return logits or probabilities [n, classes] in the dataset's order of classes, which of them
    they are, and in words what was understood.
    """
    if "class_1" in table:
        return _top_classes(table, classes), "top classes", _top_words(table, classes)
    names = [str(name) for name in table.columns if name not in (ROW, PART, LABEL)]
    if not names:
        require(
            LABEL in table, "file", "a column label, or one for each class", Words(", ".join(table))
        )
        chosen = _class_numbers(table[LABEL], classes)
        return np.eye(len(classes))[chosen], "labels", "one class an example, taken as certain"
    said = all(name.startswith("logit_") for name in names)
    bare = [name.removeprefix("logit_") for name in names]
    if set(bare) != set(classes) and set(bare) == {str(number) for number in range(len(classes))}:
        bare = [classes[int(number)] for number in bare]  # by number
    rule = f"a column for each class: {', '.join(classes[:10])}"
    require(
        set(bare) == set(classes) and len(bare) == len(classes),
        "file",
        rule,
        Words(", ".join(bare[:10])),
    )
    values = table[[column for column in table.columns if str(column) in names]].to_numpy(
        np.float64
    )
    values = values[:, [bare.index(name) for name in classes]]
    require(bool(np.isfinite(values).all()), "answers", "finite numbers", Words("others"))
    if said or values.min() < 0:
        return values, "logits", "logits"
    sums = values.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if len(wrong):
        rule = "probabilities that sum to 1 (logits have columns logit_CLASS)"
        raise ConfigError(
            Problem("answers", rule, Words(f"{sums[wrong[0]]:.3g} in line {wrong[0] + 1}"))
        )
    return values / sums[:, np.newaxis], "probabilities", "probabilities, turned into logits"


def _top_classes(table: pd.DataFrame, classes: list[str]) -> NDArray[np.float64]:
    """Return probabilities of all classes: what is left is spread evenly over those not named."""
    k = sum(str(name).startswith("class_") for name in table.columns)
    found = np.full((len(table), len(classes)), np.nan)
    lines = np.arange(len(table))
    for at in range(1, k + 1):
        named = table[f"class_{at}"]
        given = named.notna().to_numpy()
        numbers = _class_numbers(named[given], classes)
        doubled = ~np.isnan(found[lines[given], numbers])
        require(not doubled.any(), "answers", "each class once an example", Words("one twice"))
        found[lines[given], numbers] = table[f"probability_{at}"].to_numpy(np.float64)[given]
    left = 1 - np.nansum(found, axis=1)
    valid = bool((np.nan_to_num(found) >= 0).all() and (left > -SUM_TOLERANCE).all())
    require(valid, "answers", "probabilities that sum to at most 1", Words(f"{1 - left.min():.3g}"))
    missing = np.isnan(found)
    share = np.maximum(left, 0) / np.maximum(missing.sum(axis=1), 1)
    found = np.where(missing, share[:, np.newaxis], found)
    return found / found.sum(axis=1, keepdims=True)


def _top_words(table: pd.DataFrame, classes: list[str]) -> str:
    k = sum(str(name).startswith("class_") for name in table.columns)
    rest = "" if k >= len(classes) else "; what is left is spread evenly over the others"
    return f"the {k} likeliest classes{rest}"


def _class_numbers(given: pd.Series, classes: list[str]) -> NDArray[np.int64]:
    """Return classes as numbers, by name or as they are numbered."""
    texts = [str(int(each)) if _is_whole(each) else str(each).strip() for each in given]
    known = {name: number for number, name in enumerate(classes)}
    known |= {str(number): number for number in range(len(classes)) if str(number) not in known}
    unknown = next((text for text in texts if text not in known), None)
    require(unknown is None, "answers", f"classes among {', '.join(classes[:10])}", unknown)
    return np.array([known[text] for text in texts], np.int64)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and float(value).is_integer()


def _parts(table: pd.DataFrame) -> NDArray:
    if PART not in table:
        return np.full(len(table), "train")
    parts = table[PART].astype(str).str.strip().str.lower().to_numpy()
    known = {"train", "training", "all", "test"}
    unknown = next((part for part in parts if part not in known), None)
    require(unknown is None, PART, "train or test", unknown)
    return np.where(parts == "test", "test", "train")


def _rows(table: pd.DataFrame, of_test: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return which example of its part each answer belongs to: as they come, where no row is
    said.
    """
    if ROW in table:
        rows = pd.to_numeric(table[ROW], errors="coerce").to_numpy(np.float64)
        whole = np.isfinite(rows) & (rows == np.floor(rows))
        require(bool(whole.all()), ROW, "whole numbers from 0", Words("others"))
        return rows.astype(np.int64)
    rows = np.empty(len(table), np.int64)
    for chosen in (of_test, ~of_test):
        rows[chosen] = np.arange(chosen.sum())
    return rows


def _matched(
    logits: NDArray, rows: NDArray[np.int64], examples: int, where: str
) -> NDArray[np.float32]:
    """Return the logits in the order of the examples; each must have one answer."""
    outside = rows[(rows < 0) | (rows >= examples)]
    rule = f"from 0 to {examples - 1}{where}"
    require(not len(outside), ROW, rule, int(outside[0]) if len(outside) else 0)
    counted = np.bincount(rows, minlength=examples)
    for says, at in (
        ("missing", np.flatnonzero(counted == 0)),
        ("doubled", np.flatnonzero(counted > 1)),
    ):
        if len(at):
            words = f"{len(at):,} {says}, the first for row {at[0]}{where}"
            raise ConfigError(
                Problem("answers", f"one for each of {examples:,} examples{where}", Words(words))
            )
    found = np.empty((examples, logits.shape[1]), np.float32)
    found[rows] = logits
    return found


def _as_logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
