"""Tables as text: encoding, separator, decimal sign and header are told from what is in them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

SEPARATORS = ",;\t|"
BLANKS = r"\s+"


def read_delimited(path: Path, rows: int | None = None) -> pd.DataFrame:
    """Read a table of text: its encoding, separator, decimal sign and header are told from it."""
    encoding = _encoding(path)
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        sample = file.read(65_536)
    lines = [line for line in sample.splitlines() if line.strip()][:200]
    separator = _separator(lines)
    decimal = "," if separator != "," and _has_decimal_commas(lines, separator) else "."
    headless = bool(lines) and _is_headless(_cells(lines[0], separator), decimal)
    frame = pd.read_csv(
        path,
        sep=separator,
        decimal=decimal,
        encoding=encoding,
        header=None if headless else 0,
        index_col=False,
        skipinitialspace=True,
        keep_default_na=False,
        na_values=[""],
        nrows=rows,
        low_memory=False,
    )
    if headless:
        frame.columns = pd.Index([f"column {n}" for n in range(1, frame.shape[1] + 1)])
    frame.attrs["decimal"] = decimal
    frame.attrs["notes"] = _how_it_was_read(encoding, separator, decimal, headless)
    return frame


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(1_000_000)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        # A character may be cut in two at the end of what was read.
        start[: start.rfind(b"\n") + 1 or len(start)].decode("utf-8-sig")
        return "utf-8-sig"
    except UnicodeDecodeError:
        return "cp1252"


def _separator(lines: list[str]) -> str:
    """Return the sign that divides most lines into the same number of cells, more than one; blanks
    where no sign does.
    """
    best, most = ",", (0.0, 0)
    for sign in SEPARATORS:
        counts = [line.count(sign) for line in lines]
        usual = max(set(counts), key=counts.count) if counts else 0
        share = counts.count(usual) / len(counts) if counts else 0.0
        if usual and (round(share, 2), usual) > most:
            best, most = sign, (round(share, 2), usual)
    if best != ",":
        return best
    # A comma may be the decimal sign of what another sign divides.
    for sign in SEPARATORS[1:]:
        counts = [line.count(sign) for line in lines]
        if counts and min(counts) == max(counts) > 0 and _has_decimal_commas(lines, sign):
            return sign
    divided = {len(line.split()) for line in lines}
    by_blanks = len(divided) == 1 and divided != {1}
    return BLANKS if by_blanks and (not most[1] or _has_decimal_commas(lines, BLANKS)) else best


def _cells(line: str, separator: str) -> list[str]:
    return line.split() if separator == BLANKS else line.split(separator)


def _has_decimal_commas(lines: list[str], separator: str) -> bool:
    cells = [cell.strip().strip('"') for line in lines[1:] for cell in _cells(line, separator)]
    commas = sum(bool(re.fullmatch(r"[-+]?\d+,\d+", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[-+]?\d+\.\d+", cell)) for cell in cells)
    return commas > points


# No column is called by a sentence.
WORDS_OF_A_TEXT = 4


def _is_headless(first: list[str], decimal: str) -> bool:
    """Whether a table's first line is a row already: it has numbers, and they do not just count
    columns, as the names 0, 1, 2 of pixels do.
    """
    cells = [cell.strip().strip('"') for cell in first if cell.strip()]
    numbers = [cell for cell in cells if _is_number(cell, decimal)]
    if len(numbers) == len(cells):
        return True
    if len(numbers) == 1 and any(len(cell.split()) >= WORDS_OF_A_TEXT for cell in cells):
        return True
    counting = (
        [str(int(numbers[0]) + at) for at in range(len(numbers))]
        if (numbers and numbers[0].isdigit())
        else []
    )
    return bool(numbers) and numbers != counting


def _is_number(cell: str, decimal: str) -> bool:
    try:
        float(cell.strip().strip('"').replace(decimal, "."))
    except ValueError:
        return False
    return True


def _how_it_was_read(encoding: str, separator: str, decimal: str, headless: bool) -> list[str]:
    notes = []
    if separator != ",":
        name = {";": "semicolons", "\t": "tabs", "|": "bars", BLANKS: "blanks"}[separator]
        notes.append(f"Cells are divided by {name}.")
    if decimal == ",":
        notes.append("Numbers have a decimal comma.")
    if encoding in ("utf-16", "cp1252"):
        notes.append(f"The text is read as {encoding.upper().replace('CP', 'Windows-')}.")
    if headless:
        notes.append("There is no header: the first line holds numbers, and columns are numbered.")
    return notes
