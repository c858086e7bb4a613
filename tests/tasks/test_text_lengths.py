"""How long texts are: counted in tokens one by one, drawn, and said on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kdcore.charts.text_lengths import draw_text_lengths
from kdcore.cli.program import main
from kdcore.data.check import check
from kdcore.tasks.report import DataOptions, Lengths, Report
from kdcore.tasks.text import measure_lengths
from kdcore.tasks.vocabulary import Tokens


@pytest.mark.parametrize(("longest", "limit"), [(9, 64), (40, 16), (400, 64), (400, 8), (5, 8)])
def test_each_text_is_counted_where_its_characters_put_it(longest: int, limit: int) -> None:
    sizes = np.random.default_rng(0).integers(1, longest + 1, 300)
    texts = ["a" * int(size) for size in sizes]
    found = measure_lengths(texts, Tokens("characters", 2000, limit))
    tokens = sizes + 2  # with beginning and end
    steps = list(zip(found.edges[:-1], found.edges[1:], strict=True))
    expected = [int(np.sum((begin <= tokens) & (tokens < end))) for begin, end in steps]
    assert list(found.counts) == expected
    assert found.texts == 300
    assert found.cut == int(np.sum(tokens > limit))
    assert (found.least, found.most) == (tokens.min(), tokens.max())
    assert found.median == sorted(tokens)[149]
    assert len(found.counts) <= 31
    beyond = sum(
        count for count, (begin, _) in zip(found.counts, steps, strict=True) if begin > limit
    )
    assert beyond == found.cut, "no bar is of both colours"


def test_bars_hold_all_texts_and_those_cut_have_a_colour_of_their_own() -> None:
    found = measure_lengths(["a" * size for size in range(1, 41)], Tokens("characters", 2000, 16))
    figure = draw_text_lengths(found)
    heights = {trace.uid: sum(trace.y) for trace in figure.data}
    assert heights == {"whole": 14, "cut": 26}
    assert len({trace.marker.color for trace in figure.data}) == 2
    assert "26 of 40 texts are longer" in figure.layout.title.subtitle.text
    short = measure_lengths(["a", "bb"], Tokens("characters", 2000, 16))
    assert [trace.uid for trace in draw_text_lengths(short).data] == ["whole"]


def test_the_command_line_has_the_numbers(tmp_path: Path) -> None:
    rows = [("ab" * size, "even" if size % 2 else "odd") for size in range(1, 31)]
    table = tmp_path / "texts.csv"
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(table, index=False)
    asked = ["data", "add", "mine", str(table), "--check", "--pieces=characters", "--length=32"]
    asked += ["--text-column=text"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert (
        "  lengths     4 to 62 tokens, half of them at most 32; 15 of 30 are cut at 32"
        in done.output
    )
    done = CliRunner().invoke(main, [*asked, "--json"])
    numbers = json.loads(done.stdout.splitlines()[-1])["report"]["lengths"]
    assert sum(numbers["counts"]) == 30
    assert (numbers["cut"], numbers["limit"], numbers["median"]) == (15, 32, 32)
    assert (
        Lengths(**numbers).words
        == "4 to 62 tokens, half of them at most 32; 15 of 30 are cut at 32"
    )


def test_a_report_of_before_has_no_lengths_and_is_read(tmp_path: Path) -> None:
    table = tmp_path / "texts.csv"
    rows = [(f"text number {number}", number % 2) for number in range(40)]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(table, index=False)
    options = DataOptions(text_column="text")
    stored = check(table, options).report.to_json()
    assert stored.pop("lengths") is not None
    assert Report(**stored).lengths is None
