"""One experiment on screen: progress, figures, curves, and the softened distributions
beside them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from kdcore import charts
from kdcore.analysis.results import (
    Curves,
    Results,
    example_in_words,
    examples,
    gain,
    load_results,
    who_saw_what,
)
from kdcore.analysis.statistics import PairedGain, softmax
from kdcore.config.catalog import dataset_card, own_model, short_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StoreError
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.storage.user_models import fit_in_words
from kdcore.words import duration
from pages.runs.actions import report_button
from pages.shared.following import follow
from pages.shared.gallery import gallery
from pages.shared.live_chart import live_chart
from pages.shared.live_view import LiveView, Look, view_of
from pages.shared.session import as_text, engine, show_error
from pages.train import setup, take_away


def draw(store: Store, experiment_id: str) -> None:
    """Draw an experiment; while it is live, its figures and charts follow by themselves."""
    engine().tend()
    view = view_of(store, store.url, experiment_id)
    results = view.look(at_once=True).results
    _header(store, results)
    live = results.status.live
    follow(_live_part, view.seconds_between_looks if live else None, key="train_follow")(view, live)
    if not live:
        take_away.draw(store, results)


def _header(store: Store, results: Results) -> None:
    """Say what the experiment is, with the buttons: outside the live part, so that a click never
    waits for a tick.
    """
    config, status, experiment_id = results.config, results.status, results.experiment.id
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        with st.container(width="content", gap=None):
            st.subheader(
                results.experiment.name
                or f"{short_name(config.teacher)} teaches {short_name(config.student)}",
                anchor=False,
            )
            st.caption(_settings_words(config))
        with st.container(
            horizontal=True, width="content", vertical_alignment="center", gap="small"
        ):
            if status.live:
                st.button(
                    "Stop",
                    icon=":material/stop:",
                    key="train_stop",
                    on_click=engine().cancel,
                    args=(experiment_id,),
                )
            elif status.resumable:
                st.button(
                    "Resume",
                    icon=":material/resume:",
                    type="primary",
                    key="train_resume",
                    on_click=_resume,
                    args=(store, experiment_id),
                )
            if not status.live and st.button(
                "Compare",
                icon=":material/compare_arrows:",
                key="train_compare",
                help="Its models side by side: sizes, speed, and where they differ",
            ):
                st.switch_page("pages/views/compare.py", query_params={"models": experiment_id})
            if not status.live and results.links:
                report_button(store, [experiment_id], key="train_report")
            st.button(
                "Change and train again",
                icon=":material/tune:",
                key="train_change",
                on_click=_change,
                args=(config,),
            )
    st.caption(who_saw_what(config))


def _settings_words(config: ExperimentConfig) -> str:
    labels = "all true labels" if config.labels is None else f"{config.labels:,} true labels"
    seeds = "" if config.seeds == 1 else f" · {config.seeds} seeds"
    return (
        f"{as_text(dataset_card(config.dataset).title)} · {labels} · α {config.alpha:g} · T {config.temperature:g} · "
        f"{config.epochs} epochs{seeds}"
    )


def _resume(store: Store, experiment_id: str) -> None:
    store.requeue(experiment_id)
    engine().submit(experiment_id)


def _change(config: ExperimentConfig) -> None:
    st.query_params.clear()
    setup.fill(config)


def _live_part(view: LiveView, was_live: bool) -> None:
    try:
        _everything_that_moves(view, was_live)
    except StoreError as error:  # out of reach: the next tick looks again, the workers wait as well; or just deleted
        show_error(error)


def _everything_that_moves(view: LiveView, was_live: bool) -> None:
    if was_live:
        engine().tend()
    look = view.look()
    results = look.results
    _state_in_words(view.store, results)
    with st.container(horizontal=True, gap="small"):
        for label, value, about in look.once("figures", lambda: _figures(view.store, look)):
            st.metric(label, value, help=about, border=True)
    left, right = st.columns([1.1, 1], gap="medium")
    with left:
        draw_curves(look)
    with right:
        draw_distributions(view.store, look)
    if was_live and not results.status.live:
        st.rerun()


def _state_in_words(store: Store, results: Results) -> None:
    job = results.job
    if results.status is JobStatus.QUEUED:
        ahead = store.queue_position(job.id)
        busy = [other.id for other in store.jobs(JobStatus.RUNNING) if other.kind == "experiment"]
        why = f"waits for experiment {', '.join(busy)}" if busy else job.phase
        st.progress(job.progress, f"Queued: {why}" + (f", {ahead} more before it" if ahead else ""))
    elif results.status is JobStatus.RUNNING:
        left = (
            ""
            if job.seconds_left is None
            else f" · about {duration(job.seconds_left)} left in this phase"
        )
        stopping = "Stopping at the next batch: " if job.stop_requested_at else ""
        st.progress(job.progress, f"{stopping}{job.phase[:1].upper()}{job.phase[1:]}{left}")
    elif results.status is JobStatus.FAILED:
        st.error(job.error or "failed", icon=":material/error:")
        if job.traceback:
            with st.expander("Details"):
                st.code(job.traceback, language=None)
    elif results.status is JobStatus.INTERRUPTED:
        st.warning(f"Interrupted: {job.error}.", icon=":material/power_off:")
    elif results.status is JobStatus.STOPPED:
        st.info(
            "Stopped. What was trained is kept; Resume goes on from there.",
            icon=":material/stop_circle:",
        )
    elif (found := _gain(store, results)) is not None:
        icons = {"helped": ":material/trending_up:", "hurt": ":material/trending_down:"}
        show = {"helped": st.success, "hurt": st.warning}.get(found.outcome, st.info)
        show(found.verdict, icon=icons.get(found.outcome, ":material/balance:"))
    for said in _fits(results):
        st.caption(f":material/extension: {as_text(said)}")
    if results.config.augmentation != "none":
        st.caption(f":material/auto_fix_high: {_augmentation_words(results.config)}")
    if results.reused("teacher"):
        st.caption(
            ":material/recycling: The teacher was trained before with these settings and is reused."
        )


def _fits(results: Results) -> list[str]:
    """Say of models that a user brought how they are used."""
    own = {role: own_model(getattr(results.config, role)) for role in ("teacher", "student")}
    data, said = dataset_card(results.config.dataset), []
    if (card := own["teacher"]) is not None:
        how = "used trained as it is" if card.kind == "file" else "trained"
        said.append(f"Teacher {card.title}, {how}: {fit_in_words(card, data)}")
    if (card := own["student"]) is not None:
        start = (
            "from the weights of its file"
            if results.config.student_start == "file"
            else "from fresh weights"
        )
        said.append(f"Student {card.title}, {start}: {fit_in_words(card, data)}")
    return said


def _augmentation_words(config: ExperimentConfig) -> str:
    return (
        f"Augmentation: {config.augmentation}. The teacher answers live, for the very copy of each image that the student "
        "sees; its cached answers are for unchanged images and are not used. The baseline sees changed copies too."
    )


def _gain(store: Store, results: Results) -> PairedGain | None:
    """Return the gain so far.

    Finished runs never change, so it is worked out once for each set of them.
    """
    finished = tuple(run.id for _, run in results.links if run.finished_at is not None)
    return _gain_of(store, results.experiment.id, finished)


@st.cache_data(show_spinner=False, max_entries=256)
def _gain_of(_store: Store, experiment_id: str, finished: tuple[str, ...]) -> PairedGain | None:
    return gain(_store, load_results(_store, experiment_id)) if finished else None


@st.cache_data(show_spinner=False, max_entries=16)
def _probe_examples(_store: Store, dataset_key: str) -> dict[str, NDArray]:
    """Return images and labels of the probe examples.

    The key names their content, so they never change.
    """
    return examples(_store, dataset_key, "probe")


def _figures(store: Store, look: Look) -> list[tuple[str, str, str]]:
    """Return six figures, each with its name and what it is: accuracies on test once trained, on
    validation before.
    """
    results, curves = look.results, look.curves
    figures: list[tuple[str, str, str]] = []
    names = {
        "teacher": "Teacher",
        "student": "Student (distilled)",
        "baseline": "Baseline (scratch)",
    }
    for role, name in names.items():
        accuracy, where = _accuracy(look, role)
        figures.append((name, "–" if accuracy is None else f"{accuracy:.1%}", where))
    figures.append(_gain_figure(store, look))
    figures.append(("Size", _size(results), _parameters(results)))
    speed = curves.metrics["examples_per_second"].dropna().to_list() if len(curves.metrics) else []
    about_speed = "Training examples a second, of the model that reported last."
    figures.append(("Speed", f"{speed[-1]:,.0f}/s" if speed else "–", about_speed))
    return figures


def _gain_figure(store: Store, look: Look) -> tuple[str, str, str]:
    found = _gain(store, look.results)
    if found is not None:
        return (
            "Gain",
            f"{found.mean:+.1f} pp",
            "Student minus baseline on test data, in percentage points.",
        )
    student, _ = _accuracy(look, "student")
    baseline, _ = _accuracy(look, "baseline")
    so_far = "–" if student is None or baseline is None else f"{100 * (student - baseline):+.1f} pp"
    return "Gain so far", so_far, "Student minus baseline on validation data, until training ends."


def _accuracy(look: Look, role: str) -> tuple[float | None, str]:
    results, curves = look.results, look.curves
    tested = results.accuracies(role)
    if tested:
        return float(np.mean(tested)), "Accuracy on test data" + (
            f", mean of {len(tested)} seeds" if len(tested) > 1 else ""
        )
    if len(curves.metrics):
        chosen = (curves.metrics["role"] == role) & (curves.metrics["split"] == "validation")
        seen = curves.metrics.loc[chosen, "accuracy"]
        if len(seen):
            return float(seen.iloc[-1]), "Accuracy on validation data so far"
    return None, "Not trained yet"


def _size(results: Results) -> str:
    teacher, student = (
        run[0].parameters if (run := results.runs(role)) else 0 for role in ("teacher", "student")
    )
    return f"{teacher / student:.0f}× smaller" if teacher and student else "–"


def _parameters(results: Results) -> str:
    return ", ".join(
        f"{role}: {run[0].parameters:,} parameters"
        for role in ("teacher", "student")
        if (run := results.runs(role))
    )


def draw_curves(look: Look) -> None:
    """Curves of student and baseline; the teacher's own while there is nothing else."""
    alone, shown = look.once("shown", lambda: _shown(look.curves.metrics))
    config = look.results.config
    epochs = config.teacher_epochs if alone else config.epochs

    def chart(measure: str, teacher: float | None = None) -> go.Figure:
        return charts.learning_curves(shown, measure=measure, teacher=teacher, end=epochs)

    live_chart(
        look.draw(
            "accuracy", lambda: chart("accuracy", None if alone else _accuracy(look, "teacher")[0])
        ),
        key="train_accuracy",
        description=f"Accuracy over epochs of {'the teacher' if alone else 'student and baseline'}",
    )
    names = {
        "hard_loss": "Loss on true labels",
        "soft_loss": "Distance from the teacher",
        "loss": "Total loss",
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
        look.draw(measure, lambda: chart(measure)),
        key="train_loss",
        height=270,
        description=f"{names[measure]} over epochs, experiment {look.results.experiment.id}",
    )


def _shown(metrics: pd.DataFrame) -> tuple[bool, pd.DataFrame]:
    """Return whether only the teacher has points so far, and the points to show."""
    pupils = metrics[metrics["role"] != "teacher"] if len(metrics) else metrics
    return not len(pupils), pupils if len(pupils) else metrics


def draw_distributions(store: Store, look: Look) -> None:
    """The softened answers of all three models for one probe example, at any temperature
    and epoch.
    """
    results, curves = look.results, look.curves
    config, key = results.config, results.experiment.dataset_key
    shown = _probe_examples(store, key) if key else {}
    if not shown or not curves.probes:
        st.info(
            "The softened answers of the models appear here as soon as the teacher has begun to learn.",
            icon=":material/bar_chart:",
        )
        return
    class_names = dataset_card(config.dataset).class_names
    index = (
        gallery(
            shown["images"],
            captions=[class_names[label] for label in shown["labels"]],
            key="train_probe",
            selected=0,
            height=92,
            label="Validation examples: choose one",
        )
        or 0
    )
    if words := example_in_words(shown, index, dataset_card(config.dataset).feature_names):
        st.caption(as_text(words))
    left, middle, right = st.columns([1, 1, 0.45], gap="small", vertical_alignment="bottom")
    default = min(max(config.temperature, 0.5), 20.0)
    temperature = left.slider(
        "Temperature T",
        0.5,
        20.0,
        default,
        0.5,
        key=f"train_T_{results.experiment.id}",
        help="Softens the answers below at once. Training keeps the T it was started with.",
    )
    with middle:
        epoch = _epoch_slider(curves, config)
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
                _rows(curves, config, index, temperature, epoch),
                label=int(shown["labels"][index]),
                log=log,
            ),
        ),
        key="train_distributions",
        description=f"Class probabilities of teacher, student and baseline for one example at T = {temperature:g}",
    )


def _epoch_slider(curves: Curves, config: ExperimentConfig) -> int:
    """Choose the epoch to replay.

    At its end, where it starts, it means the latest, so it follows training by itself.
    """
    trained = any(role == "student" for role, _ in curves.probes)
    return st.slider(
        "Student up to epoch",
        0,
        config.epochs,
        config.epochs,
        key=f"train_epoch_{config.epochs}",
        disabled=not trained,
        help="Move it to see how the student came to resemble the teacher.",
    )


def _rows(
    curves: Curves, config: ExperimentConfig, index: int, temperature: float, epoch: int
) -> list[charts.Distribution]:
    """The latest teacher, and student and baseline of the latest seed as they were after
    ``epoch``.
    """
    seed = max((seed for role, seed in curves.probes if role == "student"), default=config.seed)
    of_seed = f", seed {seed}" if config.seeds > 1 else ""

    def answer(role: str, snapshots: dict[int, NDArray] | None, last: int) -> NDArray | None:
        known = [number for number in snapshots or {} if number <= last]
        return snapshots[max(known)][index] if snapshots and known else None

    taught = next((taken for (role, _), taken in curves.probes.items() if role == "teacher"), None)
    teacher = answer("teacher", taught, config.teacher_epochs)
    ghost = None if teacher is None else softmax(teacher, temperature)
    rows: list[charts.Distribution] = []
    if teacher is not None and ghost is not None:
        rows = [
            ("teacher, T = 1", "teacher", softmax(teacher, 1.0), None),
            (f"teacher, T = {temperature:g}", "teacher", ghost, None),
        ]
    for role in ("student", "baseline"):
        given = answer(role, curves.probes.get((role, seed)), epoch)
        if given is not None:
            after = max(number for number in curves.probes[role, seed] if number <= epoch)
            title = f"{role}{of_seed}, after epoch {after}, T = {temperature:g}"
            rows.append((title, role, softmax(given, temperature), ghost))
    return rows
