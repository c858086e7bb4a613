"""Figures of what alpha does: two pulls and their sum, the loss over two logits, accuracy over
alpha.

Pure functions, like the other charts. The true label is drawn in the colour of what is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from kdcore.analysis.alpha import Landscape, Parts
from kdcore.analysis.alpha_series import Outcome
from kdcore.analysis.logits import FloatArray
from kdcore.charts.layout import as_label, base_axis, base_layout
from kdcore.charts.softened import LOG_FLOOR, Distribution, distributions
from kdcore.errors import require
from kdcore.palette import GRID, INK, MUTED, ROLE_NAMES, SURFACE, colour

LABEL_TONE = "right"
SHADED_SHARE = 0.6


def pulls(
    class_names: Sequence[str],
    pulled: Parts[FloatArray],
    whole: Parts[FloatArray],
    *,
    label: int,
    other: int,
    reach: FloatArray,
) -> go.Figure:
    """Draw where the two losses pull the student's logits of two classes, and their sum.

    Args:
        class_names: C names.
        pulled: the weighted steps, [C] each.
        whole: the same unweighted: the label's at alpha = 1, the teacher's at alpha = 0.
        label: the true class, drawn across.
        other: the class drawn upwards.
        reach: points [n, 2] that are to be in sight, so that arrows may grow without the axes.
    """
    _check_pair(label, other, len(class_names))
    pair = [label, other]
    ends = {"label": pulled.label[pair], "teacher": pulled.teacher[pair]}
    full = {"label": whole.label[pair], "teacher": whole.teacher[pair]}
    total = pulled.total[pair]
    tones = {"label": colour(LABEL_TONE), "teacher": colour("teacher")}
    titles = {"label": "α × true label", "teacher": "(1 − α) × teacher"}
    traces = [
        _rule("between", [full["teacher"], full["label"]], MUTED, "dot")
        | dict(name="where the sum ends as α goes from 0 to 1", showlegend=True, legendrank=4)
    ]
    traces += [
        _rule(f"whole-{name}", [np.zeros(2), full[name]], _faint(name), "dash") for name in full
    ]
    traces += [_rule(f"beside-{name}", [ends[name], total], MUTED, "dot", 1.0) for name in ends]
    traces += [
        _arrow(name, titles[name], np.zeros(2), ends[name], tones[name], rank)
        for rank, name in enumerate(ends, start=1)
    ]
    traces.append(_arrow("sum", "their sum: the step", np.zeros(2), total, colour("student"), 3))
    layout = base_layout(
        "Where the two losses pull the student",
        "Dashed: each loss alone, unweighted. α shortens one arrow as it lengthens the other.",
        height=440,
    )
    layout |= dict(showlegend=True, hovermode="closest")
    points = np.concatenate([reach, [np.zeros(2)], list(full.values())])
    for name, at in (("xaxis", 0), ("yaxis", 1)):
        title = _logit(class_names, pair[at], "pull at the logit of", at == 0)
        layout[name] = _logit_axis(title, at == 0) | dict(range=_range(points[:, at]))
    layout["yaxis"] |= dict(scaleanchor="x", scaleratio=1)
    return go.Figure(traces, layout)


def targets(
    class_names: Sequence[str],
    target: Parts[FloatArray],
    teacher: FloatArray,
    student: tuple[FloatArray, FloatArray],
    *,
    label: int,
    temperature: float,
    log: bool = False,
) -> go.Figure:
    """Draw what each loss asks for, their mixture, and what the student answers, as bars.

    Args:
        class_names: C names.
        target: the mixture's two parts, [C] each.
        teacher: the teacher's softened answer [C].
        student: the student's answer at T = 1 and at T, [C] each.
        label: the true class.
        temperature: T, for the titles.
        log: logarithmic probabilities.
    """
    sure = np.zeros(len(class_names))
    sure[label] = 1.0
    at_one, softened = student
    rows: list[Distribution] = [
        ("the true label asks for", LABEL_TONE, sure, None),
        (f"the teacher asks for, T = {temperature:g}", "teacher", teacher, None),
        ("mixed by α", "teacher", target.total, None),
        ("the student answers, T = 1: the label looks here", "student", at_one, None),
        (f"T = {temperature:g}: the teacher looks here", "student", softened, teacher),
    ]
    figure = distributions(class_names, rows, label=label, log=log)
    mixture = next(trace for trace in figure.data if trace.uid == "row-2")
    known = np.asarray(target.teacher, dtype=np.float64)
    added = dict(
        type="bar",
        uid="mixed-label",
        x=list(range(len(known))),
        yaxis=mixture.yaxis,
        base=np.maximum(known, LOG_FLOOR) if log else known,
        y=target.label,
        width=mixture.width,
        marker=dict(color=colour(LABEL_TONE)),
        customdata=target.label,
        name="of it the label",
        hovertemplate="of it the label <b>%{customdata:.3~%}</b><extra></extra>",
    )
    figure.add_trace(added)
    for note in figure.layout.annotations:
        if note.text == rows[2][0]:
            note.font.color = INK
    return figure


def loss_landscape(
    class_names: Sequence[str], found: Landscape, *, label: int, other: int, step: FloatArray
) -> go.Figure:
    """Draw the loss over the student's logits of two classes, with what each loss is after.

    Args:
        class_names: C names.
        found: the landscape.
        label: the true class, drawn across.
        other: the class drawn upwards.
        step: where the whole loss pulls the student, [2].
    """
    _check_pair(label, other, len(class_names))
    traces = [*_hills(found)]
    here = np.array(found.student)
    traces.append(_arrow("step", "its next step", here, here + step, colour("student"), 2))
    traces.append(_spot("student", "student now", found.student, "student", "circle", 1))
    traces.append(
        _spot(
            "teacher", "the teacher's loss is least", found.teacher_target, "teacher", "diamond", 3
        )
    )
    traces.append(
        _spot(
            "label",
            "the label's target: at infinity, that way",
            found.label_target,
            LABEL_TONE,
            "square",
            4,
        )
    )
    traces.append(
        _spot("least", "the whole loss is least here", found.least, None, "circle-open", 5)
    )
    layout = base_layout(
        "The loss over two of the student's logits",
        "The greyer, the lower. All other logits stay as they are.",
        height=520,
    )
    layout |= dict(showlegend=True, hovermode="closest")
    for name, at, axis in (("xaxis", label, found.label_axis), ("yaxis", other, found.other_axis)):
        title = _logit(class_names, at, "logit of", at == label)
        layout[name] = _logit_axis(title, at == label) | dict(
            range=[float(axis[0]), float(axis[-1])], constrain="domain", showgrid=False
        )
    layout["yaxis"] |= dict(scaleanchor="x", scaleratio=1)
    layout["annotations"] = [_to_infinity(found.label_target)]
    return go.Figure(traces, layout)


def accuracy_over_alpha(found: Outcome, *, chosen: float | None = None) -> go.Figure:
    """Draw the students' test accuracy over alpha, between their baseline and their teacher.

    Args:
        found: what came out; without a point the chart says so.
        chosen: an alpha to mark.
    """
    across = [point.alpha for point in found.points]
    shown = [100 * point.mean for point in found.points]
    kind = found.points[0].interval_is if found.points else ""
    layout = base_layout(
        "Accuracy over alpha, on test data",
        f"Bars: 95% interval ({as_label(kind)})." if kind else None,
        height=400,
    )
    layout |= dict(showlegend=True, hovermode="closest")
    layout["xaxis"] = base_axis(
        "alpha: 0 the teacher only, 1 the true labels only", horizontal=True
    ) | dict(range=[-0.04, 1.04], tickvals=[0, 0.25, 0.5, 0.75, 1], fixedrange=True)
    layout["yaxis"] = base_axis("accuracy (%), test", horizontal=False) | dict(fixedrange=True)
    if not found.points:
        layout["annotations"] = [_centred("No student of these is trained yet")]
        layout["xaxis"]["visible"] = layout["yaxis"]["visible"] = False
        return go.Figure([], layout)
    if chosen is not None:
        line = dict(color=MUTED, width=1.2, dash="dot")
        layout["shapes"] = [
            dict(type="line", x0=chosen, x1=chosen, yref="paper", y0=0, y1=1, line=line)
        ]
    traces = [
        _reference(role, value, rank)
        for rank, (role, value) in enumerate(
            (("baseline", found.baseline), ("teacher", found.teacher)), start=2
        )
        if value is not None
    ]
    if any(len(point.seeds) > 1 for point in found.points):
        pairs = [(point.alpha, 100 * seed) for point in found.points for seed in point.seeds]
        traces.append(_seeds(pairs))
    bars = [
        [100 * abs(point.interval[end] - point.mean) for point in found.points] for end in (1, 0)
    ]
    traces.append(
        dict(
            type="scatter",
            mode="lines+markers",
            uid="student",
            name=ROLE_NAMES["student"],
            legendgroup="student",
            legendrank=1,
            x=across,
            y=shown,
            error_y=dict(
                type="data",
                symmetric=False,
                array=bars[0],
                arrayminus=bars[1],
                color=colour("student", alpha=0.45),
                thickness=1.6,
                width=5,
            ),
            line=dict(color=colour("student"), width=2.6),
            marker=dict(color=colour("student"), size=9),
            hovertemplate="alpha = %{x:g}: <b>%{y:.1f} %</b><extra></extra>",
        )
    )
    return go.Figure(traces, layout)


def _hills(found: Landscape) -> list[dict[str, Any]]:
    """The loss as shades, which tell its values, and as lines at even steps of the root of its
    height.
    """
    loss = found.loss
    low, high = float(loss.min()), max(float(loss.max()), float(loss.min()) + 1e-9)
    common = dict(x=found.label_axis, y=found.other_axis)
    shades = common | dict(
        type="heatmap",
        uid="loss",
        name="loss (nats)",
        z=loss.astype(np.float32),
        zmin=low,
        # The valley is shaded, not the walls, which are many times as high.
        zmax=max(float(np.quantile(loss, SHADED_SHARE)), low + 1e-9),
        zsmooth="best",
        colorscale=[[0, MUTED], [1, SURFACE]],
        opacity=0.55,
        showscale=False,
        showlegend=False,
        hovertemplate="loss <b>%{z:.3f}</b> nats<extra></extra>",
    )
    lines = common | dict(
        type="contour",
        uid="lines",
        name="the root of the loss above its least",
        z=np.sqrt(np.maximum(loss - low, 0.0)).astype(np.float32),
        autocontour=False,
        contours=dict(
            coloring="none",
            start=0.0,
            end=float(np.sqrt(high - low)),
            size=float(np.sqrt(high - low)) / 14,
        ),
        line=dict(color=MUTED, width=0.7),
        showscale=False,
        hoverinfo="skip",
        showlegend=False,
    )
    return [shades, lines]


def _to_infinity(corner: tuple[float, float]) -> dict[str, Any]:
    place = dict(x=corner[0], y=corner[1], xanchor="right", yanchor="bottom", xshift=-8, yshift=4)
    text = dict(text="to infinity ↘", font=dict(color=colour(LABEL_TONE), size=13))
    return place | text | dict(showarrow=False)


def _rule(
    uid: str, points: Sequence[FloatArray], tone: str, dash: str, width: float = 1.6
) -> dict[str, Any]:
    return dict(
        type="scatter",
        mode="lines",
        uid=uid,
        x=[float(point[0]) for point in points],
        y=[float(point[1]) for point in points],
        line=dict(color=tone, width=width, dash=dash),
        hoverinfo="skip",
        showlegend=False,
    )


def _faint(name: str) -> str:
    return colour(LABEL_TONE if name == "label" else name, alpha=0.5)


def _arrow(
    uid: str, name: str, start: FloatArray, end: FloatArray, tone: str, rank: int
) -> dict[str, Any]:
    length = float(np.hypot(*(end - start)))
    head = dict(symbol="arrow", angleref="previous", size=[0, 15 if length > 1e-9 else 0])
    return dict(
        type="scatter",
        mode="lines+markers",
        uid=uid,
        name=name,
        legendrank=rank,
        x=[float(start[0]), float(end[0])],
        y=[float(start[1]), float(end[1])],
        line=dict(color=tone, width=3.2),
        marker=head | dict(color=tone, opacity=1),
        cliponaxis=False,
        hovertemplate=f"{name}: %{{x:.3f}}, %{{y:.3f}}<extra></extra>",
    )


def _spot(
    uid: str, name: str, place: tuple[float, float], tone: str | None, symbol: str, rank: int
) -> dict[str, Any]:
    ink = INK if tone is None else colour(tone)
    edge = dict(color=ink, width=2.6) if tone is None else dict(color=SURFACE, width=1.5)
    return dict(
        type="scatter",
        mode="markers",
        uid=uid,
        name=name,
        legendrank=rank,
        x=[place[0]],
        y=[place[1]],
        marker=dict(color=ink, size=22 if tone is None else 14, symbol=symbol, line=edge),
        cliponaxis=False,
        hovertemplate=f"{name}<br>%{{x:.2f}}, %{{y:.2f}}<extra></extra>",
    )


def _reference(role: str, value: float, rank: int) -> dict[str, Any]:
    return dict(
        type="scatter",
        mode="lines",
        uid=role,
        name=f"{ROLE_NAMES[role]} {value:.1%}",
        legendrank=rank,
        x=[-0.04, 1.04],
        y=[100 * value, 100 * value],
        line=dict(color=colour(role), width=2, dash="dash"),
        hovertemplate=f"{ROLE_NAMES[role]}: <b>%{{y:.1f}} %</b><extra></extra>",
    )


def _seeds(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return dict(
        type="scatter",
        mode="markers",
        uid="student-seeds",
        name="each seed",
        legendgroup="student",
        showlegend=False,
        x=[alpha for alpha, _ in pairs],
        y=[value for _, value in pairs],
        marker=dict(color=colour("student", alpha=0.4), size=6),
        hovertemplate="one seed: %{y:.1f} %<extra></extra>",
    )


def _logit(class_names: Sequence[str], at: int, what: str, true: bool) -> str:
    return f"{what} {as_label(class_names[at])}" + (" (true class)" if true else "")


def _logit_axis(title: str, horizontal: bool) -> dict[str, Any]:
    return base_axis(title, horizontal=horizontal) | dict(
        showgrid=True, zeroline=True, zerolinecolor=GRID, fixedrange=True, nticks=7
    )


def _range(values: FloatArray) -> list[float]:
    low, high = float(values.min()), float(values.max())
    room = 0.12 * max(high - low, 0.1)
    return [low - room, high + room]


def _centred(text: str) -> dict[str, Any]:
    place = dict(x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    return place | dict(text=text, font=dict(color=MUTED, size=14))


def _check_pair(label: int, other: int, classes: int) -> None:
    require(0 <= label < classes, "label", f"from 0 to {classes - 1}", label)
    valid = 0 <= other < classes and other != label
    require(valid, "other", f"from 0 to {classes - 1} but {label}, the true class", other)
