"""One experiment on screen: progress, figures, curves, and the softened distributions beside them."""

from __future__ import annotations

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kdcore.catalog import dataset_card
from kdcore.config import ExperimentConfig
from kdcore.results import Curves, Results, examples, gain, load_results
from kdcore.schema import JobStatus
from kdcore.statistics import softmax
from kdcore.store import Store
from pages.components import charts, setup
from pages.components.gallery import gallery
from pages.components.live_chart import live_chart
from pages.components.session import engine

SECONDS_BETWEEN_TICKS = 0.3


def draw(store: Store, experiment_id: str) -> None:
    """Draw an experiment; while it is live, its figures and charts follow by themselves."""
    engine().tend()
    results = load_results(store, experiment_id)
    _header(store, results)
    live = results.status.live
    st.fragment(_live_part, run_every=SECONDS_BETWEEN_TICKS if live else None)(store, experiment_id, live)


def _header(store: Store, results: Results) -> None:
    config, status = results.config, results.status
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(width="content", gap=None):
            st.subheader(f"{config.teacher} teaches {config.student}", anchor=False)
            st.caption(_settings_words(config))
        with st.container(horizontal=True, width="content", vertical_alignment="center", gap="small"):
            st.badge(status.value, color=setup.STATUS_COLOURS[status])  # type: ignore[arg-type]
            experiment_id = results.experiment.id
            if status.live:
                st.button("Stop", icon=":material/stop:", on_click=engine().cancel, args=(experiment_id,), key="train_stop")
            elif status.resumable:
                st.button("Resume", icon=":material/resume:", type="primary", on_click=_resume,
                          args=(store, experiment_id), key="train_resume")  # fmt: skip
            st.button("Change and train again", icon=":material/tune:", on_click=_change, args=(config,), key="train_change")


def _settings_words(config: ExperimentConfig) -> str:
    labels = "all true labels" if config.labels is None else f"{config.labels:,} true labels"
    seeds = "" if config.seeds == 1 else f" · {config.seeds} seeds"
    return (
        f"{dataset_card(config.dataset).title} · {labels} · α {config.alpha:g} · T {config.temperature:g} · "
        f"{config.epochs} epochs{seeds}"
    )


def _resume(store: Store, experiment_id: str) -> None:
    store.requeue(experiment_id)
    engine().submit(experiment_id)


def _change(config: ExperimentConfig) -> None:
    st.query_params.clear()
    setup.fill(config)


def _live_part(store: Store, experiment_id: str, was_live: bool) -> None:
    if was_live:
        engine().tend()
    results = load_results(store, experiment_id)
    curves = _curves(store, results)
    _state_in_words(store, results)
    _figures(store, results, curves)
    left, right = st.columns([1.15, 1], gap="medium")
    with left:
        _charts(results, curves)
    with right:
        _distributions(store, results, curves)
    if was_live and not results.status.live:
        st.rerun()


def _curves(store: Store, results: Results) -> Curves:
    """Return this session's copy of the curves, brought up to date; only what is new is read."""
    key = f"curves_{results.experiment.id}"
    curves: Curves = st.session_state.setdefault(key, Curves())
    curves.read_on(store, results)
    return curves


def _state_in_words(store: Store, results: Results) -> None:
    job = results.job
    if results.status is JobStatus.QUEUED:
        ahead = store.queue_position(job.id)
        busy = [other.id for other in store.jobs(JobStatus.RUNNING)]
        why = f"waits for experiment {', '.join(busy)}" if busy else "a worker is starting"
        st.progress(job.progress, f"Queued: {why}" + (f", {ahead} more before it" if ahead else ""))
    elif results.status is JobStatus.RUNNING:
        left = "" if job.seconds_left is None else f" · about {_duration(job.seconds_left)} left in this phase"
        stopping = "Stopping at the next batch: " if job.stop_requested_at else ""
        st.progress(min(job.progress, 1.0), f"{stopping}{job.phase[:1].upper()}{job.phase[1:]}{left}")
    elif results.status is JobStatus.FAILED:
        st.error(job.error or "failed", icon=":material/error:")
        if job.traceback:
            with st.expander("Details"):
                st.code(job.traceback, language=None)
    elif results.status is JobStatus.INTERRUPTED:
        st.warning(f"Interrupted: {job.error}.", icon=":material/power_off:")
    elif results.status is JobStatus.STOPPED:
        st.info("Stopped. What was trained is kept; Resume goes on from there.", icon=":material/stop_circle:")
    elif (found := gain(store, results)) is not None:
        icons = {"helped": ":material/trending_up:", "hurt": ":material/trending_down:"}
        show = {"helped": st.success, "hurt": st.warning}.get(found.outcome, st.info)
        show(found.verdict, icon=icons.get(found.outcome, ":material/balance:"))
    if results.reused("teacher"):
        st.caption(":material/recycling: The teacher was trained before with these settings and is reused.")


def _figures(store: Store, results: Results, curves: Curves) -> None:
    """Six figures in a row: accuracies on test once trained, on validation before."""
    columns = st.columns(6, gap="small")
    names = {"teacher": "Teacher", "student": "Student (distilled)", "baseline": "Baseline (from scratch)"}
    for column, (role, name) in zip(columns, names.items(), strict=False):
        accuracy, where = _accuracy(results, curves, role)
        column.metric(name, "–" if accuracy is None else f"{accuracy:.1%}", help=where, border=True)
    found = gain(store, results)
    if found is not None:
        columns[3].metric("Gain", f"{found.mean:+.1f} pp", border=True,
                          help="Student minus baseline on test data, in percentage points.")  # fmt: skip
    else:
        student, _ = _accuracy(results, curves, "student")
        baseline, _ = _accuracy(results, curves, "baseline")
        known = student is not None and baseline is not None
        text = f"{100 * (student - baseline):+.1f} pp" if known else "–"  # type: ignore[operator]
        columns[3].metric("Gain so far", text, help="On validation data, until training ends.", border=True)
    columns[4].metric("Size", _size(results), border=True, help=_parameters(results))
    speed = curves.metrics["examples_per_second"].dropna() if len(curves.metrics) else []
    columns[5].metric("Speed", f"{speed.iloc[-1]:,.0f}/s" if len(speed) else "–", border=True,
                      help="Training examples a second of the model trained last.")  # fmt: skip


def _accuracy(results: Results, curves: Curves, role: str) -> tuple[float | None, str]:
    tested = results.accuracies(role)
    if tested:
        return float(np.mean(tested)), "Accuracy on test data" + (f", mean of {len(tested)} seeds" if len(tested) > 1 else "")
    if len(curves.metrics):
        chosen = (curves.metrics["role"] == role) & (curves.metrics["split"] == "validation")
        seen = curves.metrics.loc[chosen, "accuracy"]
        if len(seen):
            return float(seen.iloc[-1]), "Accuracy on validation data so far"
    return None, "Not trained yet"


def _size(results: Results) -> str:
    teacher, student = (run[0].parameters if (run := results.runs(role)) else 0 for role in ("teacher", "student"))
    return f"{teacher / student:.0f}× smaller" if teacher and student else "–"


def _parameters(results: Results) -> str:
    return ", ".join(f"{role}: {run[0].parameters:,} parameters" for role in ("teacher", "student") if (run := results.runs(role)))


def _charts(results: Results, curves: Curves) -> None:
    metrics = curves.metrics
    teacher_accuracy, _ = _accuracy(results, curves, "teacher")
    shown = metrics[metrics["role"] != "teacher"] if len(metrics) else metrics
    if not len(shown):
        shown = metrics
    phase = "teacher" if len(shown) and set(shown["role"]) == {"teacher"} else "student and baseline"
    if not len(shown):
        st.caption("The curves appear here with the first results.")
        return
    reference = teacher_accuracy if phase != "teacher" else None
    live_chart(
        charts.learning_curves(shown, measure="accuracy", teacher=reference),
        key=f"accuracy_{results.experiment.id}",
        description=f"Accuracy of {phase} over epochs",
    )
    live_chart(
        charts.learning_curves(shown, measure="loss"),
        key=f"loss_{results.experiment.id}",
        description=f"Loss of {phase} over epochs",
    )


def _distributions(store: Store, results: Results, curves: Curves) -> None:
    """The softened answers of all three models for one probe example, at any temperature and epoch."""
    key = results.experiment.dataset_key
    shown = examples(store, key, "probe") if key else {}
    if not shown or not curves.probes:
        st.caption("The teacher's softened answers appear here as soon as it has begun to learn.")
        return
    config = results.config
    chosen = gallery(
        shown["images"], captions=[dataset_card(config.dataset).class_names[label] for label in shown["labels"]],
        key="train_probe", height=96,
    )  # fmt: skip
    index = chosen or 0
    temperature = st.slider("Temperature T", 0.5, 20.0, config.temperature, 0.5, key=f"train_T_{results.experiment.id}",
                            help="Softens the answers shown below at once; training goes on with its own T.")  # fmt: skip
    epochs = max((max(snapshots) for snapshots in curves.probes.values()), default=0)
    epoch = st.slider("Epoch", 0, max(epochs, 1), epochs, key="train_epoch") if epochs else 0
    label = int(shown["labels"][index])
    rows = _rows(curves, config, index, temperature, epoch)
    live_chart(
        charts.distributions(dataset_card(config.dataset).class_names, rows, label=label),
        key=f"distributions_{results.experiment.id}",
        height=420,
        description=f"Softened class probabilities of the models for one example, temperature {temperature:g}",
    )


def _rows(curves: Curves, config: ExperimentConfig, index: int, temperature: float, epoch: int) -> list[charts.Distribution]:
    def answer(role: str, at: int | None) -> NDArray | None:
        snapshots = next((taken for (taken_role, _), taken in sorted(curves.probes.items()) if taken_role == role), None)
        if snapshots is None:
            return None
        epochs = [number for number in snapshots if at is None or number <= at]
        return snapshots[max(epochs)][index] if epochs else None

    teacher = answer("teacher", None)
    ghost = None if teacher is None else softmax(teacher, temperature)
    rows: list[charts.Distribution] = []
    if teacher is not None:
        rows.append(("teacher, T = 1", "teacher", softmax(teacher, 1.0), None))
        rows.append((f"teacher, T = {temperature:g}", "teacher", ghost, None))  # type: ignore[arg-type]
    for role in ("student", "baseline"):
        given = answer(role, epoch)
        if given is not None:
            rows.append((f"{role}, T = {temperature:g}", role, softmax(given, temperature), ghost))
    return rows


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
