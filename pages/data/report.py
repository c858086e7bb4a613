"""What a check found, on screen: numbers, warnings, classes, examples."""

from __future__ import annotations

import html

import plotly.graph_objects as go
import streamlit as st

from kdcore import charts
from kdcore.charts.text_lengths import draw_text_lengths
from kdcore.palette import TONES
from kdcore.storage.arrays import unpack_many
from kdcore.storage.store import Store
from kdcore.tasks import find
from kdcore.tasks.report import Lengths, Report
from kdcore.words import in_bytes
from pages.shared.gallery import gallery, tile_height
from pages.shared.live_chart import live_chart
from pages.shared.session import as_text
from pages.shared.terms import with_terms

MOST_CLASSES_DRAWN = 40
PART_TITLES = {"all": "examples", "train": "training part", "test": "test part"}
PART_TONES = {"all": "student", "train": "student", "test": "teacher"}


def show_report(store: Store, report: Report, preview_key: str) -> None:
    """Draw a report; the pictures lie in the store under ``preview_key``."""
    for warning in report.warnings:
        st.warning(as_text(warning), icon=":material/warning:")
    _figures(report)
    task = find(report.kind)
    left, right = st.columns([1, 1.15], gap="large")
    with left:
        live_chart(class_counts(report), key="data_classes", description=_counts_in_words(report))
        if report.lengths is not None:
            lengths = Lengths(**report.lengths)
            live_chart(
                draw_text_lengths(lengths),
                key="data_lengths",
                description=f"Texts of {lengths.words}",
            )
        _details(report)
    with right:
        data = store.artifact(preview_key)
        if data is not None:
            shown = unpack_many(data)
            st.markdown("**Some examples of every class**, as models will see them")
            across = 3 if task.written else 8
            if task.preview_help:
                st.caption(task.preview_help)
            gallery(
                shown["images"],
                captions=[
                    report.class_names[label] if label >= 0 else "no label"
                    for label in shown["labels"]
                ],
                key="data_preview",
                height=min(
                    480, 24 + tile_height(shown["images"]) * -(-len(shown["images"]) // across)
                ),
                label="Examples of every class",
            )


def _figures(report: Report) -> None:
    division, task = report.division, find(report.kind)
    numbers = [
        (
            "Examples",
            f"{sum(report.parts.values()):,}",
            "Found in the file; corrupt ones are not counted.",
        ),
        ("Classes", f"{len(report.class_names)}", "Names as the file gives them."),
        (
            task.size_label,
            " × ".join(map(str, report.shape)),
            f"Stored as {task.stored_in_words(report)}.",
        ),
        (
            "Train / validation / test",
            " / ".join(f"{division[part]:,}" for part in ("train", "validation", "test")),
            "How it will be divided; validation data is drawn by seed, test data only reports.",
        ),
        *(
            [
                (
                    "Without a label",
                    f"{report.unlabelled:,}",
                    "They join the training part: teachers answer for them, baselines never see them.",
                )
            ]
            if report.unlabelled
            else []
        ),
        ("In the store", in_bytes(report.stored_bytes), "Room that the examples take."),
    ]
    with st.container(horizontal=True, gap="small"):
        for label, value, about in numbers:
            st.metric(label, value, help=about, border=True)
    st.caption(
        with_terms(
            "Networks learn from [[training data]]; choices are made on [[validation data]], and [[test data]] "
            "only reports."
        )
    )


def _details(report: Report) -> None:
    task = find(report.kind)
    lines = [
        f"{report.understood}.",
        f"Values: {report.values}; models see them scaled to {task.scaling_in_words(report)}.",
        f"Copies: {report.leaked:,} test examples also in the training part, {report.repeated:,} repeats, "
        f"{report.conflicting:,} with another label.",
    ]
    lines += [f"{what.capitalize()}: {words}." for what, words in task.about(report)]
    lines += report.notes
    if report.ignored_count:
        lines.append(
            f"Ignored, as no images or arrays of a dataset: {report.ignored_count:,} ({', '.join(report.ignored[:3])}, ...)."
        )
    st.markdown("\n".join(f"- {as_text(line)}" for line in lines))
    if report.corrupt_count:
        with st.expander(
            f"{report.corrupt_count:,} files that cannot be read", icon=":material/broken_image:"
        ):
            more = (
                ""
                if report.corrupt_count == len(report.corrupt)
                else f"\n... {report.corrupt_count - len(report.corrupt):,} more"
            )
            st.code("\n".join(report.corrupt) + more, language=None)


def class_counts(report: Report) -> go.Figure:
    """Return bars of how many examples each class has, in each part.

    Of many classes the most and the least frequent.
    """
    first = next(iter(report.counts.values()))
    order = sorted(range(len(first)), key=lambda at: -first[at])
    title = "Examples of each class"
    if len(order) > MOST_CLASSES_DRAWN:
        half = MOST_CLASSES_DRAWN // 2
        title = f"Examples of the {half} most and the {half} least frequent of {len(order)} classes"
        order = [*order[:half], *order[-half:]]
    figure = go.Figure()
    names = [html.escape(report.class_names[at])[:28] for at in order]
    for part, counts in report.counts.items():
        figure.add_bar(
            x=[counts[at] for at in order],
            y=list(range(len(order))),
            orientation="h",
            uid=f"counts-{part}",
            name=PART_TITLES[part],
            marker_color=TONES[PART_TONES[part]].light,
            customdata=names,
            hovertemplate="%{customdata}: %{x:,}<extra>" + PART_TITLES[part] + "</extra>",
        )
    charts.style(
        figure,
        title,
        x="examples",
        y=None,
        subtitle="Even classes are easiest to learn and to judge.",
        height=min(560, 130 + 26 * len(order)),
    )
    figure.update_layout(barmode="group", bargap=0.25, showlegend=len(report.counts) > 1)
    figure.update_yaxes(
        tickvals=list(range(len(order))), ticktext=names, autorange="reversed", showgrid=False
    )
    return figure


def _counts_in_words(report: Report) -> str:
    first = next(iter(report.counts))
    counts = report.counts[first]
    return f"Examples of each of {len(counts)} classes, {min(counts):,} to {max(counts):,} in the {PART_TITLES[first]}"
