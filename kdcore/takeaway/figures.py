"""Charts as vector files for a paper: PDF and SVG, as wide as one or two columns.

Kaleido draws them with the browser that is there; nothing is asked of the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from kdcore import charts
from kdcore.analysis.curves import Curves
from kdcore.analysis.results import Results, load_results
from kdcore.charts import sweep as sweep_charts
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import KDLabError, require
from kdcore.storage.schema import Sweep
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results
from kdcore.takeaway.fonts import FAMILY, with_font
from kdcore.words import first_line

# What browsers take for a millimetre.
PIXELS_PER_MILLIMETRE = 96 / 25.4
NARROWEST, WIDEST = 40, 400
ENDINGS = (".svg", ".pdf", ".png")
FONTS = f"{FAMILY}, Liberation Sans, Arial, sans-serif"
TWO_COLUMNS = 450  # pixels; narrower is one column of a paper


class Figure(NamedTuple):
    """A chart of an experiment: what it is called on the command line, and what it shows."""

    name: str
    figure: go.Figure
    description: str


def curve_figures(
    config: ExperimentConfig, results: Results, metrics: pd.DataFrame
) -> Iterator[Figure]:
    """Yield the learning curves of an experiment: accuracy, losses, and the method's own."""
    if not len(metrics):
        return
    learners = metrics[metrics["role"] != "teacher"]
    shown = learners if len(learners) else metrics
    teacher = results.validation_accuracy("teacher") if len(learners) else None
    yield Figure(
        "accuracy",
        charts.learning_curves(shown, measure="accuracy", teacher=teacher),
        "Accuracy on validation data over epochs",
    )
    for measure, about in (
        ("hard_loss", "Loss on the true labels"),
        ("soft_loss", "Distance from the teacher"),
        *((curve.name, curve.title) for curve in config.method.curves),
    ):
        if measure in shown and shown[measure].notna().any():
            yield Figure(
                measure.replace("_", "-"),
                charts.learning_curves(shown, measure=measure, method=config.method.name),
                f"{about} over epochs",
            )


def figures(store: Store, subject: str) -> dict[str, Figure]:
    """Return the charts of an experiment or a sweep by name.

    Raises StoreError for an unknown id.
    """
    with store.reading() as session:
        is_sweep = session.get(Sweep, subject) is not None
    if is_sweep:
        return {each.name: each for each in _sweep_figures(store, subject)}
    results, curves = load_results(store, subject), Curves()
    curves.read_on(store, results)
    config = ExperimentConfig.unchecked(results.experiment.config)
    return {each.name: each for each in curve_figures(config, results, curves.metrics)}


def _sweep_figures(store: Store, sweep_id: str) -> Iterator[Figure]:
    found = sweep_results.load(store, sweep_id)
    fields = found.config.fields
    if len(fields) >= 2 and found.config.strategy == "grid":
        best = found.best()
        values = (best.values if best is not None else None) or found.config.combinations()[0]
        others = {name: values[name] for name in fields[2:]}  # the slice that holds the best
        figure = sweep_charts.sweep_map(found, "accuracy", fields[0], fields[1], others)
        yield Figure("map", figure, "Accuracy on validation data of every cell")
    for field in fields:
        figure = sweep_charts.margins(found, field, None)
        yield Figure(field.replace("_", "-"), figure, f"Accuracy on validation data over {field}")
    if len(fields) > 1:
        yield Figure("parallel", sweep_charts.parallel(found), "All cells on parallel axes")


def write_figure(figure: go.Figure, file: Path, millimetres: float = 170) -> None:
    """Write a chart as .pdf or .svg (vectors, fonts embedded), or as .png.

    It has no title, as a paper says that below a figure. Raises ConfigError for another ending or
    width, KDLabError where no browser can draw it.
    """
    ending = file.suffix.lower()
    require(ending in ENDINGS, "file", f"one that ends in {', '.join(ENDINGS)}", file.name)
    fits = NARROWEST <= millimetres <= WIDEST
    require(fits, "width", f"from {NARROWEST} to {WIDEST} millimetres", millimetres)
    drawn = for_paper(figure, round(millimetres * PIXELS_PER_MILLIMETRE))
    try:
        image = drawn.to_image(ending[1:], scale=3 if ending == ".png" else 1)
    except (RuntimeError, ValueError) as error:
        raise KDLabError(
            "a figure needs Chromium or Chrome, which could not draw it: "
            f"{first_line(error)}. Install it, or download the chart as SVG on its page"
        ) from error
    file.write_bytes(with_font(image) if ending == ".svg" else image)


def for_paper(figure: go.Figure, width: int) -> go.Figure:
    """Return a chart as it stands in a paper: white, without a title, its legend above it."""
    drawn = go.Figure(figure)
    drawn.layout.title = None
    one_column = width < TWO_COLUMNS
    size = 9 if one_column else 12  # pixels: 7 and 9 points on paper
    entries = sum(trace.showlegend is not False and bool(trace.name) for trace in drawn.data)
    rows = entries if one_column and drawn.layout.showlegend is not False else 0
    height = min(int(figure.layout.height or 320), round(0.65 * width)) + 19 * rows
    drawn.update_layout(
        font=dict(family=FONTS, size=size),
        paper_bgcolor="white",
        plot_bgcolor="white",
        width=width,
        height=height,
        margin=dict(l=8, r=8, t=8, b=8),
        legend=dict(
            orientation="h",
            x=0,
            xanchor="left",
            y=1.02,
            yanchor="bottom",
            font_size=size,
            tracegroupgap=0,
        ),
    )
    drawn.update_traces(legendgroup=None)  # each group would have a line of its own
    for update in (drawn.update_xaxes, drawn.update_yaxes):
        update(tickfont_size=size, title_font_size=size)
    drawn.update_annotations(font_size=size)
    return drawn
