"""Tables as people have them: read rightly, or asked about; never a row number learnt by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from kdcore.data import datasets, ingest
from kdcore.data.check import check
from kdcore.data.readers.opening import open_source
from kdcore.errors import ConfigError
from kdcore.storage.store import Store
from kdcore.tasks import find
from kdcore.tasks.report import DataOptions, Report

ROWS = range(60)
IRIS = load_iris(as_frame=True).frame
NAMES = np.array(["setosa", "versicolor", "virginica"])[IRIS.target]
FEATURES = IRIS.drop(columns="target")


def found(tmp_path: Path, content: str | bytes, **options: object) -> Report:
    file = tmp_path / "table.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return check(file, DataOptions(**options)).report  # type: ignore[arg-type]


def lines(header: str, row: str, **values: list[str]) -> str:
    made = [
        row.format(i=i, m=i % 5, k=i % 2, **{n: v[i % len(v)] for n, v in values.items()})
        for i in ROWS
    ]
    return "\n".join([header, *made])


@pytest.mark.parametrize(
    ("content", "features", "classes"),
    [
        (lines("a;b;label", "{m},5;{k},25;{k}"), ["a", "b"], ["0", "1"]),
        (lines('"a";"b";"label"', "{m};{k};{k}"), ["a", "b"], ["0", "1"]),
        (lines("a\tb\tlabel", "{m}\t{k}\t{k}"), ["a", "b"], ["0", "1"]),
        (lines("a|b|label", "{m}|{k}|{k}"), ["a", "b"], ["0", "1"]),
        (lines("a,b,label,", "{m},{m},{k},"), ["a", "b"], ["0", "1"]),
        (lines("a,b,label", "{m},{m},{k},"), ["a", "b"], ["0", "1"]),
        (lines("a,b,label", "{m},{m},{c}", c=["None", "Scratch"]), ["a", "b"], ["None", "Scratch"]),
        (lines("a,b,label", "{m},{m},{c}", c=["NA", "EU"]), ["a", "b"], ["EU", "NA"]),
        (lines("a,b,label", "{m},{m},{c}", c=["-1", "1"]), ["a", "b"], ["-1", "1"]),
        (lines("a,b,label", "{m},{m},{c}", c=["3", "7"]), ["a", "b"], ["3", "7"]),
        (lines(" a , b , label ", "{m}, {m}, {c}", c=[" x", "x ", "y"]), ["a", "b"], ["x", "y"]),
        ("\ufeff" + lines("a,b,label", "{m},{m},{k}"), ["a", "b"], ["0", "1"]),
    ],
)
def test_tables_of_all_kinds_are_read(
    tmp_path: Path, content: str, features: list[str], classes: list[str]
) -> None:
    report = found(tmp_path, content, keep=("b",))
    assert report.feature_names == features
    assert report.class_names == classes


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_umlauts_survive_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    content = lines("größe,b,label", "{m},{m},{c}", c=["süß", "sauer"])
    report = found(tmp_path, content.encode(encoding))
    assert report.feature_names[0] == "größe"
    assert report.class_names == ["sauer", "süß"]


def test_decimal_commas_are_numbers(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "t.csv"
    file.write_text(lines("a;b;label", "{i},5;{m},25;{k}"))
    raw = datasets.load_stored(ingest.add(store, "commas", file).key)
    assert np.asarray(raw.inputs)[:3].tolist() == [[0.5, 0.25], [1.5, 1.25], [2.5, 2.25]]


def test_without_a_header_columns_are_numbered_and_the_label_is_asked_for(tmp_path: Path) -> None:
    content = "\n".join(f"{i % 5},{i % 3},{i % 2}" for i in ROWS)
    with pytest.raises(ConfigError, match="label must be the name of the column"):
        found(tmp_path, content)
    report = found(tmp_path, content, label="column 3", keep=("column 1",))
    assert report.feature_names == ["column 1", "column 2"]
    assert sum(report.parts.values()) == 60, "the first line is an example"


# --- Columns that are no features ---


def iris(tmp_path: Path, frame: pd.DataFrame, index: bool = False, **options: object) -> Report:
    file = tmp_path / "iris.csv"
    frame.to_csv(file, index=index)
    return check(file, DataOptions(**options)).report  # type: ignore[arg-type]


def test_row_numbers_are_left_out_and_said(tmp_path: Path) -> None:
    numbered = FEATURES.assign(label=NAMES)
    numbered.insert(0, "Id", range(1, 151))
    report = iris(tmp_path, numbered)
    assert report.feature_names == list(FEATURES)
    assert "The column 'Id' has another value in every row" in " ".join(report.notes)
    assert iris(tmp_path, numbered, keep=("Id",)).feature_names == ["Id", *FEATURES]
    indexed = FEATURES.assign(label=NAMES)
    assert iris(tmp_path, indexed.reset_index()).feature_names == list(FEATURES)
    assert iris(tmp_path, indexed, index=True).feature_names == list(FEATURES)


def test_a_second_answer_is_left_out_and_said(tmp_path: Path) -> None:
    report = iris(tmp_path, FEATURES.assign(species=NAMES, label=IRIS.target))
    assert report.feature_names == list(FEATURES)
    assert "The column 'species' holds the answer a second time" in " ".join(report.notes)


def test_measurements_are_never_left_out(tmp_path: Path) -> None:
    different = FEATURES.assign(fine=np.random.default_rng(0).random(150), label=NAMES)
    assert iris(tmp_path, different).feature_names == [*FEATURES, "fine"]
    nameless = different.rename(columns={different.columns[0]: ""})
    report = iris(tmp_path, nameless)
    assert report.feature_names[0] == "column 1"
    assert len(report.feature_names) == 5


def test_two_columns_that_could_be_the_label_are_asked_about(tmp_path: Path) -> None:
    both = FEATURES.assign(label=NAMES, target=IRIS.target)
    with pytest.raises(ConfigError, match="label, target could be it"):
        iris(tmp_path, both)
    assert iris(tmp_path, both, label="label").feature_names == list(FEATURES)
    points = pd.DataFrame({"x": np.arange(120) % 11, "y": np.arange(120) // 11})
    points["class"] = np.arange(120) % 2
    with pytest.raises(ConfigError, match="y, class could be it"):
        iris(tmp_path, points)
    assert iris(tmp_path, points, label="class").feature_names == ["x", "y"]


def test_a_column_that_is_dropped_or_kept_must_exist(tmp_path: Path) -> None:
    frame = FEATURES.assign(label=NAMES)
    assert len(iris(tmp_path, frame, drop=(frame.columns[0],)).feature_names) == 3
    with pytest.raises(ConfigError, match=r"column must be one of .*, got 'nothing'"):
        iris(tmp_path, frame, drop=("nothing",))


# --- Digits ---


@pytest.mark.parametrize(
    "column",
    [
        1_700_000_000 + np.random.default_rng(0).integers(0, 3600, 400),
        1_700_000_000_000 + np.random.default_rng(1).integers(0, 60_000, 400),
        4_500_000 + np.random.default_rng(2).random(400).round(2),
    ],
    ids=["seconds", "milliseconds", "metres"],
)
def test_large_numbers_that_differ_little_keep_their_digits(
    tmp_path: Path, store: Store, column: np.ndarray
) -> None:
    other = np.random.default_rng(3).random(400)
    frame = pd.DataFrame({"f": column, "g": other, "label": np.arange(400) % 2})
    frame.to_csv(tmp_path / "t.csv", index=False)
    row = ingest.add(store, "large", tmp_path / "t.csv", DataOptions(keep=("f",)))
    raw = datasets.load_stored(row.key)
    values = np.asarray(raw.inputs)
    assert values.dtype == np.float64
    centre, spread = find("table").learn(values, "standard")
    scaled = ((values - centre) / spread).astype(np.float32)[:, 0]
    expected = (column - column.mean()) / column.std()
    assert len(np.unique(scaled)) == len(np.unique(column))
    np.testing.assert_allclose(scaled, expected, atol=1e-3)


def test_byte_strings_and_large_unsigned_labels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 5))
    for labels, names in (
        (np.array(["ä".encode(), b"b"] * 20), ["b", "ä"]),
        (np.array(["ä".encode("latin-1"), b"b"] * 20), ["b", "ä"]),
        (np.array([2**63 + 1, 2**63 + 2] * 20, np.uint64), [str(2**63 + 1), str(2**63 + 2)]),
        (np.array([True, False] * 20), ["0", "1"]),
    ):
        np.savez(tmp_path / "d.npz", x=x, y=labels)
        assert check(tmp_path / "d.npz").report.class_names == names


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1,234", 1234.0),
        ("-12,345,678.5", -12345678.5),
        ("7 %", 7.0),
        ("€3.50", 3.5),
        ("4 $", 4.0),
    ],
)
def test_numbers_with_signs_are_numbers_and_it_is_said(
    tmp_path: Path, written: str, value: float
) -> None:
    rows = "\n".join(f'"{written if n % 3 else 2}",{n % 5},{"xy"[n % 2]}' for n in range(60))
    (tmp_path / "t.csv").write_text(f"price,b,label\n{rows}\n")
    table = open_source(tmp_path / "t.csv")
    (batch,) = table.batches("all")
    np.testing.assert_allclose(batch.inputs[:, 0], [value if n % 3 else 2 for n in range(60)])
    assert any("'price' are read without their signs" in note for note in table.notes)
    assert table.columns[0].signs
    assert not table.columns[1].signs


def test_a_decimal_comma_has_points_for_thousands(tmp_path: Path) -> None:
    rows = "\n".join(f"1.23{n % 3},5;3,{n % 5};{'xy'[n % 2]}" for n in range(60))
    (tmp_path / "t.csv").write_text(f"a;b;label\n{rows}\n")
    (batch,) = open_source(tmp_path / "t.csv").batches("all")
    np.testing.assert_allclose(batch.inputs[:, 0], [1230.5 + n % 3 for n in range(60)])


@pytest.mark.parametrize("text", ["1,23", "12,34,567", "5 apples", "1.2.3", "$", "%"])
def test_what_is_no_number_stays_text(tmp_path: Path, text: str) -> None:
    rows = "\n".join(f'"{text if n % 3 else 2}",{n % 5},{"xy"[n % 2]}' for n in range(60))
    (tmp_path / "t.csv").write_text(f"price,b,label\n{rows}\n")
    with pytest.raises(ConfigError, match="text in price"):
        check(tmp_path / "t.csv")


@pytest.mark.parametrize("gap", [" ", "   ", "\t "])
@pytest.mark.parametrize("decimal", [".", ","])
def test_cells_may_be_divided_by_blanks(tmp_path: Path, gap: str, decimal: str) -> None:
    rows = [f"5{decimal}{n % 7}{gap}{n % 5}{gap}{'xy'[n % 2]}" for n in range(60)]
    (tmp_path / "t.txt").write_text("\n".join([gap.join(["a", "b", "label"]), *rows]) + "\n")
    (batch,) = open_source(tmp_path / "t.txt").batches("all")
    np.testing.assert_allclose(batch.inputs[:, 0], [5 + n % 7 / 10 for n in range(60)], rtol=1e-6)


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_without_a_header_a_decimal_comma_does_not_divide(tmp_path: Path, sign: str) -> None:
    rows = [f"5,{n % 7}{sign}3,{n % 5}{sign}{'xy'[n % 2]}" for n in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    report = check(tmp_path / "t.csv", DataOptions(label="column 3")).report
    assert (report.feature_names, report.parts) == (["column 1", "column 2"], {"all": 60})
    assert any("There is no header" in note for note in report.notes)


def test_a_first_row_with_a_class_is_no_header_but_numbered_pixels_are(tmp_path: Path) -> None:
    rows = "\n".join(f"5.{n % 7},3.{n % 5},Iris-{'xy'[n % 2]}" for n in range(60))
    (tmp_path / "iris.data").write_text(rows + "\n")
    report = check(tmp_path / "iris.data", DataOptions(label="column 3")).report
    assert (report.class_names, report.parts) == (["Iris-x", "Iris-y"], {"all": 60})
    rows = "\n".join(f"{n % 2},{n % 7},{n % 5},{n % 3}" for n in range(60))
    (tmp_path / "pixels.csv").write_text(f"label,0,1,2\n{rows}\n")
    report = check(tmp_path / "pixels.csv").report
    assert (report.feature_names, report.parts) == (["0", "1", "2"], {"all": 60})


def test_truth_values_keep_their_names(tmp_path: Path) -> None:
    rows = "\n".join(f"{n % 7},{n % 5},{n % 2 == 0}" for n in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,label\n{rows}\n")
    assert check(tmp_path / "t.csv").report.class_names == ["False", "True"]


def test_classes_that_differ_in_capitals_alone_are_pointed_out(tmp_path: Path) -> None:
    names = ["Yes", "yes", "No", "maybe so", "Maybe  so"]
    rows = "\n".join(f"{n % 7},{n % 4},{names[n % 5]}" for n in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,label\n{rows}\n")
    report = check(tmp_path / "t.csv").report
    assert len(report.class_names) == 5
    (warning,) = [each for each in report.warnings if "capitals" in each]
    assert "'Yes' and 'yes'" in warning
    assert "'Maybe  so' and 'maybe so'" in warning
    assert "No" not in warning
