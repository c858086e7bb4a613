"""An experiment's curves, and the softened answers of its models for one example.

The Train page draws them, and the Sweep page for one cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from kdcore import charts
from kdcore.analysis.curves import Curves
from kdcore.analysis.logits import softmax
from kdcore.analysis.results import example_in_words, examples
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from pages.shared.gallery import gallery
from pages.shared.live_chart import live_chart
from pages.shared.live_view import Look
from pages.shared.log_slider import Landmark
from pages.shared.session import as_text
from pages.shared.temperature import temperature_slider


def accuracy_so_far(look: Look, role: str, *, hidden: bool = False) -> tuple[float | None, str]:
    """Return a role's accuracy (a fraction) and on which data, in words: test data once it is
    trained, validation data before, or where test data is ``hidden``; None before there is any.
    """
    results, curves = look.results, look.curves
    tested = results.accuracies(role)
    if hidden and (accuracy := results.validation_accuracy(role)) is not None:
        return accuracy, "validation data"
    if tested and not hidden:
        return float(np.mean(tested)), "test data" + (
            f", mean of {len(tested)} seeds" if len(tested) > 1 else ""
        )
    if len(curves.metrics):
        chosen = (curves.metrics["role"] == role) & (curves.metrics["split"] == "validation")
        seen = curves.metrics.loc[chosen, "accuracy"]
        if len(seen):
            return float(seen.iloc[-1]), "validation data, so far"
    return None, "not trained yet"


def draw_curves(look: Look, before: Look | None = None) -> None:
    """Curves of student and baseline; the teacher's own while there is nothing else.

    Those of an experiment ``before`` lie behind, thin and dashed.
    """
    alone, shown = look.once("shown", lambda: _shown(look.curves.metrics))
    config = look.results.config
    epochs: float = config.teacher_epochs if alone else config.epochs
    if (reached := _ended_at(look, shown)) is not None and reached < epochs:
        st.caption(f"It ended at epoch {reached:.3g} of the {epochs:g} that were planned.")
        epochs = reached

    behind = None if alone or before is None else before.curves.metrics

    def chart(measure: str, teacher: float | None = None) -> go.Figure:
        return charts.learning_curves(
            shown,
            measure=measure,
            teacher=teacher,
            end=epochs,
            method=config.method.name,
            behind=behind,
        )

    live_chart(
        look.draw(
            ("accuracy", behind is not None),
            lambda: chart(
                "accuracy", None if alone else look.results.validation_accuracy("teacher")
            ),
        ),
        key="train_accuracy",
        description=f"Accuracy on validation data over epochs of {'the teacher' if alone else 'student and baseline'}",
    )
    names = {
        "hard_loss": "Loss on true labels",
        "soft_loss": "Distance from the teacher",
        "loss": "Total loss",
        **{curve.name: curve.title for curve in config.method.curves},
    }
    measure = st.segmented_control(
        "Second chart",
        list(names),
        default="hard_loss",
        required=True,
        key="train_measure",
        format_func=names.__getitem__,
        label_visibility="collapsed",
    )
    measure = "loss" if alone else str(measure)  # the teacher has one loss only
    live_chart(
        look.draw((measure, behind is not None), lambda: chart(measure)),
        key="train_loss",
        height=270,
        description=f"{names[measure]} over epochs, experiment {look.results.experiment.id}",
    )


def _ended_at(look: Look, shown: pd.DataFrame) -> float | None:
    """Return the epoch at which a run that is neither live nor finished ended, None for others."""
    status = look.results.status
    if status.live or status is JobStatus.FINISHED or not len(shown):
        return None
    return max(1.0, float(shown["epoch"].max()))


def _shown(metrics: pd.DataFrame) -> tuple[bool, pd.DataFrame]:
    """Return whether only the teacher has points so far, and the points to show."""
    learners = metrics[metrics["role"] != "teacher"] if len(metrics) else metrics
    return not len(learners), learners if len(learners) else metrics


class Replayed(NamedTuple):
    """The probe example and the epoch of student and baseline that a visitor has chosen."""

    example: int
    epoch: int


def draw_distributions(store: Store, look: Look) -> Replayed | None:
    """The softened answers of all three models for one probe example, at any temperature
    and epoch; returns the chosen ones, None before there is anything to choose.
    """
    results, curves = look.results, look.curves
    config, key = results.config, results.experiment.dataset_key
    shown = _probe_examples(store, key) if key else {}
    if not shown or not curves.probes:
        st.info(
            "The softened answers of the models appear here as soon as the teacher has begun to learn.",
            icon=":material/bar_chart:",
        )
        return None
    class_names = dataset_card(config.dataset).class_names
    index = (
        gallery(
            shown["images"],
            captions=[class_names[label] for label in shown["labels"]],
            key="train_probe",
            selected=0,
            height=92 if shown["images"].dtype.kind == "u" else 184,
            label="Validation examples: choose one",
        )
        or 0
    )
    if words := example_in_words(shown, index, dataset_card(config.dataset).feature_names):
        st.caption(as_text(words))
    taught = config.temperature
    temperature = temperature_slider(
        key=f"train_T_{results.experiment.id}",
        default=taught,
        landmarks=[Landmark(taught, f"the student was taught at {taught:g}", "student")],
    )
    left, right = st.columns([1, 0.45], gap="small", vertical_alignment="bottom")
    with left:
        epoch = _epoch_slider(curves, config, ended=not results.status.live)
    log = right.toggle(
        "Log",
        key="train_log",
        help="Logarithmic scale: dark knowledge lives in the small probabilities.",
    )
    live_chart(
        look.draw(
            ("distributions", index, temperature, epoch, log),
            lambda: charts.distributions(
                class_names,
                _rows(look, index, temperature, epoch, _between(store, look)),
                label=int(shown["labels"][index]),
                log=log,
            ),
        ),
        key="train_distributions",
        description=f"Class probabilities of teacher, student and baseline for one example at T = {temperature:g}",
    )
    return Replayed(int(index), epoch)


def _epoch_slider(curves: Curves, config: ExperimentConfig, *, ended: bool) -> int:
    """Choose the epoch to replay.

    At its end, where it starts, it means the latest, so it follows training by itself.
    """
    seen = [max(taken) for (role, _), taken in curves.probes.items() if role == "student" and taken]
    if ended and not seen:
        st.caption("The student was not begun.")
        return 0
    last = max(1, *seen) if ended else config.epochs
    return st.slider(
        "Student up to epoch",
        0,
        last,
        last,
        key=f"train_epoch_{last}",
        disabled=not seen,
        help="Move it to see how the student came to resemble the teacher.",
    )


class Between(NamedTuple):
    """A trained step between teacher and student: its logits are of the probe examples."""

    step: str
    role: str
    seed: int
    logits: NDArray


def _between(store: Store, look: Look) -> list[Between]:
    """Return the trained steps between teacher and student, such as earlier generations."""
    results = look.results
    shown = {results.stands_for(role) for role in ("teacher", "student", "baseline")}
    links = [
        (link.step, link.role, link.seed, run.id)
        for link, run in results.links
        if link.step in results.steps and link.step not in shown and run.finished_at is not None
    ]
    if not links:
        return []

    def read() -> list[Between]:
        snapshots, _ = store.probes([run_id for *_, run_id in links])
        latest = {run_id: taken for run_id, _, taken in snapshots}
        return [
            Between(step, role, seed, latest[run_id])
            for step, role, seed, run_id in links
            if run_id in latest
        ]

    return look.once(("between", *links), read)


def _rows(
    look: Look,
    index: int,
    temperature: float,
    epoch: int,
    between: Sequence[Between] = (),
) -> list[charts.Distribution]:
    """The latest teacher, the steps ``between``, and student and baseline of the latest seed as
    they were after ``epoch``.
    """
    curves, config = look.curves, look.results.config
    seed = max((seed for role, seed in curves.probes if role == "student"), default=config.seed)
    of_seed = f", seed {seed}" if config.seeds > 1 else ""

    def answer(role: str, snapshots: dict[int, NDArray] | None, last: int) -> NDArray | None:
        known = [number for number in snapshots or {} if number <= last]
        return snapshots[max(known)][index] if snapshots and known else None

    teachers = {of: taken for (role, of), taken in curves.probes.items() if role == "teacher"}
    # Its own seed's where there is one a seed, else the one that serves all.
    taught = teachers.get(seed, next(iter(teachers.values()), None))
    teacher = answer("teacher", taught, config.teacher_epochs)
    ghost = None if teacher is None else softmax(teacher, temperature)
    rows: list[charts.Distribution] = []
    if teacher is not None and ghost is not None:
        rows = [
            ("teacher, T = 1", "teacher", softmax(teacher, 1.0), None),
            (f"teacher, T = {temperature:g}", "teacher", ghost, None),
        ]
    rows += [
        (
            f"{each.step}{of_seed}, T = {temperature:g}",
            each.role,
            softmax(each.logits[index], temperature),
            ghost,
        )
        for each in between
        if each.seed == seed or each.role == "teacher"
    ]
    for role in ("student", "baseline"):
        given = answer(role, curves.probes.get((role, seed)), epoch)
        if given is not None:
            after = max(number for number in curves.probes[role, seed] if number <= epoch)
            title = f"{role}{of_seed}, after epoch {after}, T = {temperature:g}"
            rows.append((title, role, softmax(given, temperature), ghost))
    return rows


@st.cache_data(show_spinner=False, max_entries=16)
def _probe_examples(_store: Store, dataset_key: str) -> dict[str, NDArray]:
    """Return images and labels of the probe examples.

    The key names their content, so they never change.
    """
    return examples(_store, dataset_key, "probe")
