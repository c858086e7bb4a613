"""Figures of a sweep: its map, its margins, parallel coordinates, and what mattered.

Pure functions, like charts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from kdcore.analysis.statistics import mean_interval
from kdcore.charts.layout import base_axis, base_layout
from kdcore.config.sweep import is_log, is_number, short_title_of, title_of, value_text
from kdcore.errors import require
from kdcore.palette import CLEAR, GRID, INK, MUTED, SURFACE, Style, colour, style
from kdcore.sweeps.results import Cell, SweepResults

# What a cell is coloured by. Both are of validation data; a gain is in percentage points.
MEASURES = {"gain": "Gain over the baseline", "accuracy": "Accuracy of the student"}
UNDECIDED = "Hatched: the 95% interval of the gain includes no gain."


def value_of(cell: Cell, measure: str) -> float | None:
    """Return a cell's gain in points or its accuracy in percent, None before there is one."""
    if measure == "gain":
        return None if cell.gain is None else cell.gain.mean
    return None if cell.accuracy is None else 100 * cell.accuracy


def hover_text(cell: Cell) -> str:
    """Return what a cell's tooltip says: settings, mean ± interval, n, gain."""
    settings = "<br>".join(
        f"{short_title_of(name)} <b>{value_text(value)}</b>"
        for name, value in (cell.values or {}).items()
    )
    lines = [settings]
    if cell.accuracy is not None:
        seeds = f"{cell.n} seed{'s' if cell.n > 1 else ''}"
        spread = f" ± {100 * (cell.interval[1] - cell.accuracy):.2f}" if cell.interval else ""
        lines.append(f"validation accuracy <b>{100 * cell.accuracy:.2f}</b>{spread} % ({seeds})")
    if (gain := cell.gain) is not None:
        interval = (
            f", 95 % {gain.low:+.2f} to {gain.high:+.2f}"
            if math.isfinite(gain.low)
            else ", no interval"
        )
        lines.append(f"gain <b>{gain.mean:+.2f}</b> points{interval}")
    if cell.status != "finished":
        done = f", {cell.job.progress:.0%} done" if cell.status == "running" else ""
        lines.append(f"{cell.status}{done}")
    return "<br>".join(lines)


def sweep_map(
    sweep: SweepResults,
    measure: str,
    x: str,
    y: str,
    others: Mapping[str, Any] | None = None,
    chosen: str | None = None,
) -> go.Figure:
    """Draw a grid's cells over two varied settings.

    Args:
        sweep: a grid with ``x`` and ``y`` among its settings.
        measure: a key of ``MEASURES``.
        x: the setting across.
        y: the setting upwards.
        others: the values of all other varied settings, which the cells shown have in common.
        chosen: id of the cell to frame.

    A cell is hatched where the interval of its gain includes no gain, starred where it is the best
    of all. A click on it carries its id as ``customdata``. Raises ConfigError for an unknown
    measure.
    """
    require(measure in MEASURES, "measure", f"one of {', '.join(MEASURES)}", measure)
    axes = {axis.field: axis.values for axis in sweep.config.axes}
    columns, rows = axes[x], axes[y]
    shown = {
        (columns.index(cell.values[x]), rows.index(cell.values[y])): cell
        for cell in sweep.cells
        if cell.values is not None
        and cell.values[x] in columns
        and cell.values[y] in rows
        and all(cell.values[name] == value for name, value in (others or {}).items())
    }

    small = len(columns) * len(rows) <= 150
    best = sweep.best()
    words = dict(
        type="scatter",
        uid="words",
        mode="text",
        x=[i for i, _ in shown],
        y=[j for _, j in shown],
        text=[_in_cell(cell, measure, cell is best) if small else "" for cell in shown.values()],
        textfont=dict(size=13 if len(columns) <= 8 else 11, color=INK),
        hoverinfo="skip",
        showlegend=False,
    )
    doubtful = [
        place
        for place, cell in shown.items()
        if cell.finished and cell.gain is not None and not cell.proven
    ]
    layout = base_layout(
        f"{MEASURES[measure]} on validation data",
        _about(sweep, bool(doubtful)),
        120 + 58 * len(rows),
    )
    layout |= dict(showlegend=False, hovermode="closest", shapes=_frames(shown, best, chosen))
    layout["xaxis"] = _categories(x, columns, horizontal=True)
    layout["yaxis"] = _categories(y, rows, horizontal=False)
    cells = _cells(sweep, measure, shown, len(columns), len(rows))
    return go.Figure([*cells, _hatching(doubtful), words], layout)


def _cells(
    sweep: SweepResults,
    measure: str,
    shown: Mapping[tuple[int, int], Cell],
    columns: int,
    rows: int,
) -> list[dict[str, Any]]:
    """Return a map's cells as two heatmaps: a floor, on which those with a value lie."""

    def table(of: Callable[[Cell], Any], empty: Any) -> list[list[Any]]:
        return [
            [of(shown[i, j]) if (i, j) in shown else empty for i in range(columns)]
            for j in range(rows)
        ]

    both = dict(
        type="heatmap",
        customdata=table(lambda cell: cell.id, None),
        text=table(hover_text, ""),
        hovertemplate="%{text}<extra></extra>",
        xgap=3,
        ygap=3,
    )
    # A cell without a value has no colour and no hover of its own.
    floor = both | dict(
        uid="floor",
        z=[[0] * columns] * rows,
        colorscale=[[0, GRID], [1, GRID]],
        opacity=0.45,
        showscale=False,
    )
    values = table(lambda cell: value_of(cell, measure), None)
    return [floor, both | dict(uid="cells", z=values) | _colours(sweep, measure)]


def scattered(
    sweep: SweepResults, measure: str, x: str, y: str, chosen: str | None = None
) -> go.Figure:
    """Draw the cells that a sampler chose as points over two varied settings; pruned ones as
    crosses.

    Raises ConfigError for an unknown measure.
    """
    require(measure in MEASURES, "measure", f"one of {', '.join(MEASURES)}", measure)
    best = sweep.best()
    done = [cell for cell in sweep.cells if cell.values is not None and cell.finished]
    pruned = [cell for cell in sweep.cells if cell.values is not None and cell.pruned]
    traces = [
        _points("cells", done, x, y)
        | dict(
            name="trained",
            marker=dict(
                size=[26 if cell is best or cell.id == chosen else 18 for cell in done],
                symbol=[
                    "star" if cell is best else "circle" if cell.proven else "circle-open-dot"
                    for cell in done
                ],
                color=[value_of(cell, measure) for cell in done],
                line=dict(width=2.5, color=colour("student")),
                **{
                    {"zmin": "cmin", "zmax": "cmax"}.get(name, name): value
                    for name, value in _colours(sweep, measure).items()
                },
            ),
        ),
        _points("pruned", pruned, x, y)
        | dict(
            name="pruned",
            marker=dict(size=11, symbol="x-thin", line=dict(width=2, color=MUTED), color=MUTED),
        ),
    ]
    said = "Star: the best. Open: the 95% interval of the gain includes no gain. Cross: given up early."
    layout = base_layout(f"{MEASURES[measure]} on validation data", said, 430)
    layout |= dict(showlegend=False, hovermode="closest")
    layout["xaxis"], layout["yaxis"] = _scale(x, horizontal=True), _scale(y, horizontal=False)
    return go.Figure(traces, layout)


def _points(uid: str, cells: Sequence[Cell], x: str, y: str) -> dict[str, Any]:
    values = [cell.values or {} for cell in cells]
    return dict(
        type="scatter",
        uid=uid,
        mode="markers",
        x=[_place(each[x]) for each in values],
        y=[_place(each[y]) for each in values],
        customdata=[cell.id for cell in cells],
        text=[hover_text(cell) for cell in cells],
        hovertemplate="%{text}<extra></extra>",
    )


def margins(sweep: SweepResults, x: str, by: str | None, measure: str = "accuracy") -> go.Figure:
    """Draw accuracy or gain over one varied setting, a line for each value of another, with the 95
    % interval as a band; of a setting that is no number, such as the method, points with bars.

    A point pools all seeds of all cells that have its two values. Raises ConfigError for an unknown
    measure.
    """
    require(measure in MEASURES, "measure", f"one of {', '.join(MEASURES)}", measure)
    pooled = _pooled(sweep, x, by, measure)
    traces: list[dict[str, Any]] = []
    draw = _line_with_band if is_number(x) else _points_with_bars
    for index, (line, points) in enumerate(sorted(pooled.items(), key=lambda item: _rank(item[0]))):
        name = MEASURES[measure] if by is None else f"{short_title_of(by)} {value_text(line)}"
        traces += draw(index, name, points)
    unit = "gain (points)" if measure == "gain" else "accuracy (%)"
    interval = "Band" if is_number(x) else "Bar"
    about = f"Mean over seeds. {interval}: 95% interval of the mean." if traces else None
    title = f"{MEASURES[measure]} on validation data over {short_title_of(x)}" + (
        f", for each {short_title_of(by)}" if by else ""
    )
    layout = base_layout(title, about, 380) | dict(hovermode="x unified", showlegend=by is not None)
    if not is_number(x):  # those of one value beside each other
        layout |= dict(scattermode="group", scattergap=0.7)
    layout["xaxis"] = _scale(x, horizontal=True)
    at = sorted({value for points in pooled.values() for value in points}, key=_rank)
    if is_number(x) and None not in at and 1 < len(at) <= 12:
        layout["xaxis"] |= dict(
            tickvals=at, ticktext=[value_text(value) for value in at], dtick=None
        )
    layout["yaxis"] = base_axis(unit, horizontal=False) | dict(
        zeroline=measure == "gain", zerolinecolor=MUTED
    )
    return go.Figure(traces, layout)


def _pooled(
    sweep: SweepResults, x: str, by: str | None, measure: str
) -> dict[Any, dict[Any, list[float]]]:
    """Return what all seeds of the trained cells reached, by the value of ``by`` and that of
    ``x``.
    """
    pooled: dict[Any, dict[Any, list[float]]] = {}
    for cell in sweep.cells:
        if cell.values is not None and cell.finished and (found := _singles(cell, measure)):
            points = pooled.setdefault(cell.values[by] if by else None, {})
            points.setdefault(cell.values[x], []).extend(found)
    return pooled


def _line_with_band(
    index: int, name: str, points: Mapping[Any, Sequence[float]]
) -> list[dict[str, Any]]:
    drawn = style("student", name, index)
    line, bounds = _means(index, drawn, points)
    line |= dict(
        mode="lines+markers", line=dict(color=colour(drawn.tone), width=2.4, dash=drawn.dash)
    )
    if len(bounds) < 2 or not all(math.isfinite(low) for low, _ in bounds):
        return [line]
    band = dict(
        type="scatter",
        uid=f"band-{index}",
        x=[*line["x"], *line["x"][::-1]],
        y=[*(high for _, high in bounds), *(low for low, _ in bounds[::-1])],
        fill="toself",
        fillcolor=colour(drawn.tone, alpha=0.1),
        mode="lines",
        line=dict(width=0, color=colour(drawn.tone)),
        legendgroup=f"line-{index}",
        showlegend=False,
        hoverinfo="skip",
    )
    return [band, line]


def _points_with_bars(
    index: int, name: str, points: Mapping[Any, Sequence[float]]
) -> list[dict[str, Any]]:
    """Between methods there is nothing that a line could lead through."""
    drawn = style("student", name, index)
    line, bounds = _means(index, drawn, points)
    line |= dict(mode="markers", offsetgroup=f"{index}")
    if all(math.isfinite(low) for low, _ in bounds):
        line["error_y"] = dict(
            symmetric=False,
            array=[high - mean for mean, (_, high) in zip(line["y"], bounds, strict=True)],
            arrayminus=[mean - low for mean, (low, _) in zip(line["y"], bounds, strict=True)],
            color=colour(drawn.tone),
            thickness=1.5,
            width=4,
        )
    return [line]


def _means(
    index: int, drawn: Style, points: Mapping[Any, Sequence[float]]
) -> tuple[dict[str, Any], list[tuple[float, float]]]:
    """Return a trace of the means, and their 95 % intervals."""
    at = sorted(points, key=_rank)
    trace = dict(
        type="scatter",
        uid=f"line-{index}",
        x=[_place(value) for value in at],
        y=[float(np.mean(points[value])) for value in at],
        name=drawn.name,
        marker=dict(size=7, symbol=drawn.symbol, color=colour(drawn.tone)),
        legendgroup=f"line-{index}",
        hovertemplate=f"{drawn.name} <b>%{{y:.2f}}</b><extra></extra>",
    )
    return trace, [mean_interval(points[value]) for value in at]


def parallel(sweep: SweepResults, measure: str = "accuracy") -> go.Figure:
    """Draw each finished cell as a line across one axis a varied setting, the better the stronger
    its colour.
    """
    require(measure in MEASURES, "measure", f"one of {', '.join(MEASURES)}", measure)
    fields = sweep.config.fields
    cells = [
        cell
        for cell in sweep.cells
        if cell.finished and cell.values is not None and value_of(cell, measure) is not None
    ]
    cells.sort(key=lambda cell: value_of(cell, measure) or 0.0)
    places = {
        name: _normalised([(cell.values or {})[name] for cell in cells], name) for name in fields
    }
    bins = [
        group
        for group in np.array_split(np.arange(len(cells)), min(8, max(1, len(cells))))
        if len(group)
    ]
    traces: list[dict[str, Any]] = []
    for index, group in enumerate(bins):
        x, y, text = [], [], []
        for row in group:
            x += [*range(len(fields)), None]
            y += [*(places[name][0][row] for name in fields), None]
            text += [hover_text(cells[row])] * (len(fields) + 1)
        share = (index + 1) / len(bins)
        line = dict(
            width=1.2 + 1.8 * share, color=colour("student", alpha=round(0.12 + 0.75 * share**2, 2))
        )
        traces.append(
            dict(
                type="scatter",
                uid=f"bin-{index}",
                mode="lines",
                x=x,
                y=y,
                text=text,
                line=line,
                connectgaps=False,
                hovertemplate="%{text}<extra></extra>",
                showlegend=False,
            )
        )
    layout = base_layout(
        "Cells across all varied settings", "The stronger the line, the better the cell.", 380
    )
    layout |= dict(hovermode="closest", showlegend=False, annotations=[])
    layout["xaxis"] = base_axis(None, horizontal=True) | dict(
        tickvals=list(range(len(fields))),
        ticktext=[title_of(name) for name in fields],
        side="top",
        showgrid=True,
        gridcolor=MUTED,
        range=[-0.25, len(fields) - 0.75],
        fixedrange=True,
        showline=False,
    )
    layout["yaxis"] = base_axis(None, horizontal=False) | dict(
        visible=False, range=[-0.08, 1.08], fixedrange=True
    )
    for column, name in enumerate(fields):
        for height, written in places[name][1]:
            layout["annotations"].append(
                dict(
                    x=column,
                    y=height,
                    text=written,
                    showarrow=False,
                    xanchor="left",
                    xshift=5,
                    bgcolor=SURFACE,
                    opacity=0.85,
                    font=dict(size=11, color=MUTED),
                )
            )
    return go.Figure(traces, layout)


def importances(shares: Mapping[str, float]) -> go.Figure:
    """Draw how much of the variation in accuracy each varied setting explains, as Optuna works it
    out.
    """
    ordered = sorted(shares.items(), key=lambda item: item[1])
    bars = dict(
        type="bar",
        uid="importance",
        orientation="h",
        x=[share for _, share in ordered],
        y=[title_of(name) for name, _ in ordered],
        marker=dict(color=colour("student", alpha=0.8)),
        text=[f"{share:.0%}" for _, share in ordered],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y} <b>%{x:.1%}</b><extra></extra>",
    )
    layout = base_layout(
        "What mattered",
        "Share of the variation in accuracy (PED-ANOVA, Optuna).",
        130 + 44 * len(ordered),
    )
    layout |= dict(showlegend=False)
    layout["xaxis"] = base_axis("importance", horizontal=True) | dict(
        tickformat=".0%", range=[0, 1.12]
    )
    layout["yaxis"] = base_axis(None, horizontal=False) | dict(
        showgrid=False, tickfont=dict(size=12, color=INK)
    )
    return go.Figure([bars], layout)


def _singles(cell: Cell, measure: str) -> list[float]:
    if measure == "accuracy":
        return [100 * accuracy for accuracy in cell.student.values()]
    return [
        100 * (cell.student[seed] - cell.baseline[seed])
        for seed in sorted(cell.student.keys() & cell.baseline.keys())
    ]


def _colours(sweep: SweepResults, measure: str) -> dict[str, Any]:
    """The baseline's colour where it wins, the student's where distillation pays.

    Stronger where accuracy is higher.
    """
    bar = dict(
        thickness=10,
        outlinewidth=0,
        tickfont=dict(size=11, color=MUTED),
        ticklabelposition="outside",
    )
    found = [value for cell in sweep.cells if (value := value_of(cell, measure)) is not None]
    low, high = (min(found), max(found)) if found else (0.0, 0.0)
    if measure == "gain":
        title = dict(text="points", font=dict(size=11, color=MUTED))
        scale, low, high = _around_zero(low, high)
        return dict(
            colorscale=scale,
            **_range(low, high),
            colorbar=bar | dict(title=title),
            showscale=bool(found),
        )
    scale = [[0, colour("student", alpha=0.05)], [1, colour("student", alpha=0.7)]]
    title = dict(text="%", font=dict(size=11, color=MUTED))
    return dict(
        colorscale=scale,
        **_range(low, max(high, low + 0.1)),
        colorbar=bar | dict(title=title),
        showscale=bool(found),
    )


def _around_zero(low: float, high: float) -> tuple[list[list[Any]], float, float]:
    """Return a scale in the baseline's colour below zero and the student's above, and its ends.

    The full strength of a colour is for the extremes that occur, so that cells which all gain stay
    apart.
    """
    weak, strong = 0.12, 0.72
    if low >= 0:
        return (
            [[0, colour("student", alpha=weak)], [1, colour("student", alpha=strong)]],
            low,
            max(high, low + 0.1),
        )
    if high <= 0:
        return (
            [[0, colour("baseline", alpha=strong)], [1, colour("baseline", alpha=weak)]],
            min(low, high - 0.1),
            high,
        )
    zero, most = -low / (high - low), max(-low, high)
    ends = [round(max(weak, strong * share / most), 3) for share in (-low, high)]
    below = [[0, colour("baseline", alpha=ends[0])], [zero, colour("baseline", alpha=0.04)]]
    return (
        [*below, [zero, colour("student", alpha=0.04)], [1, colour("student", alpha=ends[1])]],
        low,
        high,
    )


def _range(low: float, high: float) -> dict[str, float]:
    return dict(zmin=low, zmax=high)


def _in_cell(cell: Cell, measure: str, best: bool) -> str:
    value = value_of(cell, measure)
    if cell.pruned:
        return "pruned"
    if not cell.finished and cell.status != "queued":
        return f"{cell.job.progress:.0%}…" if cell.status == "running" else cell.status
    if value is None:
        return "" if cell.status == "queued" else "–"
    written = f"{value:+.1f}" if measure == "gain" else f"{value:.1f}"
    return f"<b>★ {written}</b>" if best else written


def _about(sweep: SweepResults, hatched: bool) -> str:
    said = [] if sweep.best() is None else ["Star: the best cell."]
    return " ".join([*said, UNDECIDED] if hatched else said) or "Cells fill as they are trained."


def _frames(
    shown: Mapping[tuple[int, int], Cell], best: Cell | None, chosen: str | None
) -> list[dict[str, Any]]:
    frames = []
    for (i, j), cell in shown.items():
        if cell is best or cell.id == chosen:
            corners = dict(type="rect", x0=i - 0.47, x1=i + 0.47, y0=j - 0.46, y1=j + 0.46)
            line = (
                dict(color=INK, width=2.2, dash="dot")
                if cell.id == chosen
                else dict(color=colour("right"), width=2.4)
            )
            frames.append(corners | dict(line=line, fillcolor=CLEAR))
    return frames


def _hatching(places: Sequence[tuple[int, int]], strokes: int = 5) -> dict[str, Any]:
    """Diagonal strokes over cells, as one line with gaps: a heatmap has no patterns of its own."""
    x: list[float | None] = []
    y: list[float | None] = []
    for i, j in places:
        for stroke in range(1, 2 * strokes):
            along = (
                stroke / strokes - 1
            )  # the stroke x + y = along within a square of side 1 around the middle
            first, last = max(-0.5, along - 0.5), min(0.5, along + 0.5)
            x += [i + 0.94 * first, i + 0.94 * last, None]
            y += [j + 0.92 * (along - first), j + 0.92 * (along - last), None]
    line = dict(width=1, color=MUTED)
    return dict(
        type="scatter",
        uid="hatching",
        mode="lines",
        x=x,
        y=y,
        line=line,
        opacity=0.38,
        hoverinfo="skip",
        showlegend=False,
    )


def _categories(field: str, values: Sequence[Any], *, horizontal: bool) -> dict[str, Any]:
    return base_axis(title_of(field), horizontal=horizontal) | dict(
        tickvals=list(range(len(values))),
        ticktext=[value_text(value) for value in values],
        showgrid=False,
        showline=False,
        range=[-0.5, len(values) - 0.5],
        fixedrange=True,
        tickfont=dict(size=12, color=INK),
    )


def _scale(field: str, *, horizontal: bool) -> dict[str, Any]:
    axis = base_axis(title_of(field), horizontal=horizontal)
    if is_log(field):
        axis |= dict(type="log", dtick="D2" if field == "temperature" else None)
    return axis if is_number(field) else axis | dict(type="category")


def _place(value: Any) -> Any:
    return "all" if value is None else value


def _rank(value: Any) -> tuple[int, Any]:
    return (1, 0) if value is None else (0, value)


def _normalised(values: Sequence[Any], field: str) -> tuple[list[float], list[tuple[float, str]]]:
    """Return heights from 0 to 1 for values of one setting, and the (height, text) of its ticks."""
    known = sorted(set(values), key=_rank)
    numbers = all(isinstance(value, int | float) for value in known) and len(known) > 1
    if numbers:
        spaced = np.log(known) if is_log(field) else np.asarray(known, dtype=float)
        heights = ((spaced - spaced[0]) / (spaced[-1] - spaced[0])).tolist()
    else:
        heights = np.linspace(0, 1, len(known)).tolist() if len(known) > 1 else [0.5] * len(known)
    by_value = dict(zip(known, heights, strict=True))
    ticks = known if len(known) <= 8 else [known[0], known[len(known) // 2], known[-1]]
    return [by_value[value] for value in values], [
        (by_value[value], value_text(value)) for value in ticks
    ]
