"""A teacher's answers as a file: logits, probabilities, the likeliest classes or one class an
example, of a model behind an API say, or of a person.

A file is a table (CSV, Parquet) or arrays (``.npz``). Each answer belongs to an example by its row
in the dataset, from 0, by the name of its file, or by its id; ``part`` says "test" for the examples
of a dataset's own test part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdcore.data.readers import array_ids
from kdcore.data.readers.common import FILE, ID, as_id
from kdcore.errors import ConfigError, Problem, Words, require
from kdcore.words import first_line

Kind = Literal["logits", "probabilities", "top classes", "labels"]
# What examples are called, in the order of their rows, by the column that says so.
Ids = Mapping[str, Sequence[str]]
ROW, PART, LABEL = "row", "part", "label"
FILE_COLUMNS = (FILE, "filename", "file name", "file_name", "path")
NAMED = 3  # missing or doubled ones that a refusal names
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
    path: Path,
    class_names: Sequence[str],
    examples: int,
    test_examples: int | None,
    ids: tuple[Ids, Ids] = ({}, {}),
) -> Answers:
    """Read a file of answers for a dataset of ``examples`` rows, and of ``test_examples`` more in a
    test part of its own (None: it has none).

    ``ids`` are what the examples of these two parts are called, by column or under "file". Answers
    for examples that the dataset does not have are left out.

    Raises ConfigError for answers that are missing, doubled or no answers to these classes.
    """
    table = _table(path)
    told_by = _told_by(table, class_names, ids)
    given = None if told_by is None else table.pop(told_by.column)
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
    if told_by is None or given is None:
        rows = _rows(table, of_test)
        called: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None)
    else:
        rows, of_test = _rows_called(given, told_by, of_test if PART in table else None)
        called = told_by.ids
        left_out = int(np.sum(rows < 0))
        if left_out:
            words += f"; {left_out:,} answers for examples that the dataset does not have left out"
        known = rows >= 0
        logits, rows, of_test = logits[known], rows[known], of_test[known]
    first = _matched(logits[~of_test], rows[~of_test], examples, "", called[0])
    test = None
    if test_examples is not None:
        where = " of the test part"
        test = _matched(logits[of_test], rows[of_test], test_examples, where, called[1])
    return Answers(first, test, words)


@dataclass(frozen=True)
class _ToldBy:
    """What tells whose answer it is: a ``column`` of the file, and what the examples of the
    dataset's two parts are called.
    """

    column: str
    files: bool
    ids: tuple[Sequence[str], Sequence[str]]


def _told_by(table: pd.DataFrame, classes: Sequence[str], ids: tuple[Ids, Ids]) -> _ToldBy | None:
    """Return the column of file names or ids, None where answers come by rows.

    Raises ConfigError for several of them, and for one that the dataset does not know.
    """
    known = list(dict.fromkeys([*ids[0], *ids[1]]))
    told: list[tuple[str, str | None]] = []
    for column in map(str, table.columns):
        name = column.strip()
        if name in classes or name in (ROW, PART, LABEL):
            continue
        if name in known:
            told.append((column, name))
        elif name.lower() in FILE_COLUMNS:
            told.append((column, FILE if FILE in known else None))
        elif name.lower() == ID:
            others = [each for each in known if each != FILE]
            told.append((column, others[0] if len(others) == 1 else None))
    if not told:
        return None
    named = [*([ROW] if ROW in table else []), *(column for column, _ in told)]
    require(
        len(named) == 1,
        "answers",
        "matched by row, file or id, one of them",
        Words(", ".join(named)),
    )
    column, key = told[0]
    if key is None:
        has = (
            f"one of {', '.join(known)}, what tells the examples of this dataset"
            if known
            else "left out: no file names or ids of this dataset are stored (row tells its examples; "
            "adding the same data again stores what it has)"
        )
        raise ConfigError(Problem("column", has, column))
    return _ToldBy(column, key == FILE, (ids[0].get(key, []), ids[1].get(key, [])))


def _rows_called(
    given: pd.Series, told_by: _ToldBy, of_test: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return which example of its part each answer belongs to, -1 for one that is not there, and
    whether it is of the test part: as it is said, else wherever there is one called so.
    """
    unnamed = int(given.isna().sum())
    require(not unnamed, told_by.column, "filled in everywhere", Words(f"{unnamed:,} empty"))
    lookups = [_Lookup(names, told_by.files) for names in told_by.ids]
    texts = [str(value) if told_by.files else as_id(value) for value in given]
    found = np.array([[lookup.row(text) for lookup in lookups] for text in texts], np.int64)
    if of_test is None:
        both = np.flatnonzero((found >= 0).all(axis=1))
        rule = "said for names that are in both parts"
        require(not len(both), PART, rule, Words(texts[both[0]] if len(both) else ""))
        of_test = (found[:, 1] >= 0) & (found[:, 0] < 0)
    return np.where(of_test, found[:, 1], found[:, 0]), of_test


class _Lookup:
    """Finds the row of an example by what it is called.

    A file may be named from any of its folders on, also from folders above those of the dataset, as
    long as only one can be meant.
    """

    def __init__(self, names: Sequence[str], files: bool) -> None:
        self.files = files
        self.rows = {name: row for row, name in enumerate(names)}
        self.endings: dict[str, int] = {}
        for row, name in enumerate(names if files else ()):
            for ending in _endings(name)[1:]:
                self.endings[ending] = -1 if ending in self.endings else row

    def row(self, name: str) -> int:
        """Return the row, -1 where there is none."""
        if not self.files:
            return self.rows.get(name, -1)
        path = name.strip().replace("\\", "/").removeprefix("./")
        if path in self.rows:
            return self.rows[path]
        if path in self.endings:
            return self.endings[path]
        longer = (self.rows[each] for each in _endings(path) if each in self.rows)
        return next(longer, -1)


def _endings(path: str) -> list[str]:
    """Return a path, and it without its first folders: "a/b/c", "b/c", "c"."""
    parts = path.split("/")
    return ["/".join(parts[at:]) for at in range(len(parts))]


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
    ``top_classes`` and ``top_probabilities`` [n, k], with ``rows``, ``files`` or ``ids`` [n],
    ``part`` [n] and ``class_names``, as the columns of a table. Another array [n] is a column of
    its own, which may hold ids.
    """
    columns: dict[str, Any] = {}
    singles = {"rows": ROW, ROW: ROW, PART: PART, "labels": LABEL, **array_ids.ROLES}
    for given, column in singles.items():
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
    count = len(next(iter(columns.values())))
    known = {*singles, "class_names"}
    columns |= {
        name: values
        for name, values in arrays.items()
        if name not in known and values.shape == (count,)
    }
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
    logits: NDArray,
    rows: NDArray[np.int64],
    examples: int,
    where: str,
    called: Sequence[str] | None,
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
            words = f"{len(at):,} {says}, the first for {_named(at[:NAMED], called)}{where}"
            raise ConfigError(
                Problem("answers", f"one for each of {examples:,} examples{where}", Words(words))
            )
    found = np.empty((examples, logits.shape[1]), np.float32)
    found[rows] = logits
    return found


def _named(rows: NDArray[np.int64], called: Sequence[str] | None) -> str:
    """Name some examples: "rows 3, 7, 9", or what they are called."""
    if called:
        return ", ".join(called[row] for row in rows)
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))}"


def _as_logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
