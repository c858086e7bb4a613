"""Figures of a sweep say what its cells measured: values, hatching, the best, and nothing that is
not there.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from kdcore import sweeps
from kdcore.analysis import library
from kdcore.analysis.statistics import mean_interval
from kdcore.charts import sweep as sweep_charts
from kdcore.errors import ConfigError
from kdcore.storage.schema import Job
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results
from kdcore.sweeps.results import Cell, SweepResults


@pytest.fixture
def sweep(swept_store: Store) -> SweepResults:
    return sweep_results.load(swept_store, sweeps.sweeps(swept_store)[0].id)


def traces(figure: object) -> dict[str, dict]:
    return {trace["uid"]: trace for trace in figure.to_dict()["data"]}  # type: ignore[attr-defined]


def test_the_map_has_every_cell_where_it_belongs(sweep: SweepResults) -> None:
    drawn = sweep_charts.sweep_map(sweep, "accuracy", "temperature", "alpha")
    heat = traces(drawn)["cells"]
    for cell in sweep.cells:
        row, column = (
            (0.1, 0.9).index(cell.values["alpha"]),
            (1.0, 4.0).index(cell.values["temperature"]),
        )
        assert heat["z"][row][column] == pytest.approx(100 * cell.accuracy)
        assert heat["customdata"][row][column] == cell.id
        assert f"{100 * cell.accuracy:.2f}</b> ±" in heat["text"][row][column]
        assert "(2 seeds)" in heat["text"][row][column]
    best = sweep.best()
    assert best is not None
    starred = [text for text in traces(drawn)["words"]["text"] if "★" in text]
    assert starred == [f"<b>★ {100 * best.accuracy:.1f}</b>"]
    assert all(re.fullmatch(r"[a-z0-9-]+", uid) for uid in traces(drawn))


def test_hatched_are_the_cells_whose_interval_includes_no_gain(sweep: SweepResults) -> None:
    doubtful = [cell for cell in sweep.cells if not (cell.gain.low > 0)]
    strokes = traces(sweep_charts.sweep_map(sweep, "gain", "temperature", "alpha"))["hatching"]["x"]
    assert len(strokes) == 27 * len(doubtful), "nine strokes of two ends and a gap"
    assert doubtful, "with two seeds of four labels a class nothing here is sure"


def test_a_cell_without_a_result_has_no_value(swept_store: Store, sweep: SweepResults) -> None:
    gone = sweep.cells[0]
    library.delete_experiments(swept_store, [gone.id])
    left = sweep_results.load(swept_store, sweep.sweep.id)
    assert len(left.cells) == 3
    heat = traces(sweep_charts.sweep_map(left, "gain", "temperature", "alpha"))["cells"]
    assert sum(value is None for row in heat["z"] for value in row) == 1


def test_margins_pool_the_seeds(sweep: SweepResults) -> None:
    drawn = traces(sweep_charts.margins(sweep, "temperature", "alpha", "gain"))
    for index, alpha in enumerate((0.1, 0.9)):
        line = drawn[f"line-{index}"]
        assert list(line["x"]) == [1.0, 4.0]
        expected = [
            100 * np.mean([cell.student[seed] - cell.baseline[seed] for seed in (0, 1)])
            for cell in sorted(sweep.cells, key=lambda cell: cell.values["temperature"])
            if cell.values["alpha"] == alpha
        ]
        assert list(line["y"]) == pytest.approx(expected)


def test_methods_are_points_with_bars_that_no_line_connects(sweep: SweepResults) -> None:
    methods = {1.0: "logits", 4.0: "dist"}
    cells = [
        replace(
            cell,
            values={"alpha": cell.values["alpha"], "method": methods[cell.values["temperature"]]},
        )
        for cell in sweep.cells
        if cell.values is not None
    ]
    of_methods = traces(
        sweep_charts.margins(replace(sweep, cells=cells), "method", "alpha", "gain")
    )
    of_numbers = traces(sweep_charts.margins(sweep, "temperature", "alpha", "gain"))
    for index in (0, 1):
        points, line = of_methods[f"line-{index}"], of_numbers[f"line-{index}"]
        assert points["mode"] == "markers"
        assert dict(zip(points["x"], points["y"], strict=True)) == {
            methods[at]: mean for at, mean in zip(line["x"], line["y"], strict=True)
        }
        highest = [
            mean + up for mean, up in zip(points["y"], points["error_y"]["array"], strict=True)
        ]
        band = of_numbers[f"band-{index}"]["y"]
        assert sorted(highest) == pytest.approx(sorted(band[:2]))
        assert f"band-{index}" not in of_methods


def test_parallel_coordinates_have_a_line_for_each_cell(sweep: SweepResults) -> None:
    drawn = traces(sweep_charts.parallel(sweep))
    assert sum(list(trace["x"]).count(None) for trace in drawn.values()) == 4
    strongest = drawn[f"bin-{len(drawn) - 1}"]
    best = sweep.best()
    assert best is not None
    assert f"{100 * best.accuracy:.2f}" in strongest["text"][0]


def test_a_sampled_sweep_is_drawn_as_points(sweep: SweepResults) -> None:
    drawn = traces(sweep_charts.scattered(sweep, "gain", "temperature", "alpha"))
    assert sorted(drawn["cells"]["customdata"]) == sorted(cell.id for cell in sweep.cells)
    assert list(drawn["cells"]["marker"]["symbol"]).count("star") == 1
    assert len(drawn["pruned"]["x"]) == 0


def test_unknown_measures_are_refused(sweep: SweepResults) -> None:
    for draw in (
        lambda: sweep_charts.sweep_map(sweep, "beauty", "temperature", "alpha"),
        lambda: sweep_charts.scattered(sweep, "beauty", "temperature", "alpha"),
        lambda: sweep_charts.margins(sweep, "temperature", "alpha", "beauty"),
        lambda: sweep_charts.parallel(sweep, "beauty"),
    ):
        with pytest.raises(
            ConfigError, match="measure must be one of gain, accuracy, got 'beauty'"
        ):
            draw()


def test_the_interval_of_an_accuracy_stays_a_fraction() -> None:
    cell = Cell(
        0, {"alpha": 0.5}, Job(id="a", status="finished"), False, {0: 0.90, 1: 0.99}, {}, 100
    )
    low, high = mean_interval([0.90, 0.99])
    assert low < high
    assert high > 1
    assert cell.interval == (pytest.approx(low), 1.0)
