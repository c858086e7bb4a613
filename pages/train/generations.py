"""On an experiment of several steps: accuracy by step, and what pseudo-labels were like."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from kdcore.analysis.ensembles import Ensemble
from kdcore.analysis.noise_twin import NoiseTwin, find_twin, twin_config, twin_job
from kdcore.analysis.pseudo_labels import stored_mistakes
from kdcore.analysis.results import (
    Descendant,
    ensembles,
    example_in_words,
    first_described,
    lineage,
)
from kdcore.analysis.statistics import PairedGain, gain_in_words
from kdcore.analysis.temperature import format_percent
from kdcore.charts.generations import (
    accuracy_by_step,
    pseudo_label_reliability,
    pseudo_labels_by_class,
)
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Job, JobStatus
from kdcore.storage.store import Store
from pages.shared.following import follow
from pages.shared.gallery import gallery, tile_height
from pages.shared.live_chart import live_chart
from pages.shared.live_view import Look
from pages.shared.session import as_text, engine
from pages.shared.visitor import own_tags

SECONDS_BETWEEN_POLLS = 1.0
ENSEMBLES = (
    "Averaged: the students of all generations so far answer together, with the mean of their "
    "probabilities, on test data; in brackets the 95 % interval over seeds, of one seed over test "
    "examples."
)


def draw(store: Store, look: Look) -> None:
    """Draw the section, for plans with more than a teacher and a student."""
    results = look.results
    finished = tuple(run.id for _, run in results.links if run.finished_at is not None)
    found = look.once(("lineage", finished), lambda: lineage(store, results))
    if len(found) < 3 or not any(each.accuracies for each in found):
        return
    job = twin_job(store, results.config)
    trained = None if job is None else (job.id, job.status, job.phase)
    twin = look.once(("noise twin", finished, trained), lambda: find_twin(store, results))
    left, right = st.columns([1.1, 1], gap="medium")
    with left:
        live_chart(
            look.draw(("generations", trained), lambda: _accuracy(look, found, twin)),
            key="train_generations",
            description="Test accuracy of each step of the plan, with the baseline as a line"
            + (f", {twin.title} dotted" if twin else ""),
        )
    with right:
        _table(found, look.once(("ensembles", finished), lambda: ensembles(store, results)))
        _twin(store, look, twin, job)
    described = [each for each in found if each.pseudo_labels is not None]
    if described:
        _pseudo_labels(store, look, described)


def _accuracy(look: Look, found: list[Descendant], twin: NoiseTwin | None) -> go.Figure:
    steps = [(_title(each), each.step.role, each.accuracies) for each in found]
    beside = None
    if twin is not None:
        known = twin.accuracies
        named = {_title(each): known[each.step.name] for each in found if each.step.name in known}
        beside = (twin.title, named)
    return accuracy_by_step(steps, look.results.accuracies("baseline"), "test", beside)


def _twin(store: Store, look: Look, twin: NoiseTwin | None, job: Job | None) -> None:
    """Say what the noise is worth, or offer to train what tells it."""
    if twin is not None:
        st.caption(as_text(f"{twin.words[:1].upper()}{twin.words[1:]}."))
    if job is not None and JobStatus(job.status).live:
        follow(_follow_twin, SECONDS_BETWEEN_POLLS, key="train_noise_twin_follow")(store, job.id)
        return
    if twin is not None:
        return
    wanted = twin_config(look.results.config)
    if wanted is None or look.results.status.live:
        return
    if job is not None and job.error:
        st.error(
            as_text(f"The same with the noise {wanted.get('noise')}: {job.error}"),
            icon=":material/error:",
        )
    st.button(
        f"Train the same with the noise {wanted.get('noise')}",
        key="train_noise_twin",
        icon=":material/noise_control_off:"
        if wanted.get("noise") == "off"
        else ":material/noise_aware:",
        help="A dotted line beside these shows what the noise is worth.",
        on_click=_train_twin,
        args=(store, wanted),
    )


def _follow_twin(store: Store, job_id: str) -> None:
    engine().tend()
    job = store.job(job_id)
    if not JobStatus(job.status).live:
        st.rerun()
    st.progress(job.progress, as_text(f"The same with the noise the other way: {job.phase}"))


def _train_twin(store: Store, config: ExperimentConfig) -> None:
    engine().submit(store.create(config, reuse="all", tags=own_tags()))


def _title(each: Descendant) -> str:
    if each.step.generation > 1 or each.step.name.startswith("generation"):
        return f"generation {each.step.generation}"
    return each.step.name


def _table(found: list[Descendant], together: dict[str, Ensemble]) -> None:
    rows = ["| Step | Taught by | Test accuracy | Over its teacher |", "|---|---|---|---|"]
    if together:
        rows = [f"{rows[0]} Averaged with those before it |", f"{rows[1]}---|"]
    against = any(each.gain_of_student is not None for each in found)
    if against:
        rows = [f"{rows[0]} The student over it |", f"{rows[1]}---|"]
    for each in found:
        accuracies = each.accuracies
        mean = f"{100 * sum(accuracies) / len(accuracies):.2f} %" if accuracies else "not yet"
        rows.append(
            f"| {as_text(_title(each))}: {as_text(each.step.network)} "
            f"| {as_text(', '.join(each.step.taught_by) or 'true labels')} | {mean} "
            f"| {_gain(each.gain_over_teacher)} |"
            + (f" {_averaged(together.get(each.step.name))} |" if together else "")
            + (f" {_gain(each.gain_of_student)} |" if against else "")
        )
    st.markdown("\n".join(rows))
    over = found[-1].gain_over_first
    if over is not None and len(found) > 2:
        st.caption(as_text(f"Last over first: {gain_in_words(over.to_dict())}."))
    if together:
        st.caption(ENSEMBLES)


def _gain(found: PairedGain | None) -> str:
    return as_text(gain_in_words(found.to_dict())) if found is not None else ""


def _averaged(found: Ensemble | None) -> str:
    return as_text(found.words) if found is not None else ""


def _pseudo_labels(store: Store, look: Look, described: list[Descendant]) -> None:
    names = [_title(each) for each in described]
    chosen = st.segmented_control(
        "Pseudo-labels of", names, default=names[0], required=True, key="train_pseudo_labels"
    )
    each = described[names.index(str(chosen)) if chosen in names else 0]
    found = each.pseudo_labels
    assert found is not None, "only steps with pseudo-labels are offered"
    classes = dataset_card(look.results.config.dataset).class_names
    left, right = st.columns(2, gap="medium")
    with left:
        live_chart(
            look.draw(f"reliability {chosen}", lambda: pseudo_label_reliability(found)),
            key="train_pseudo_reliability",
            description="Share of right pseudo-labels against the teacher's confidence",
        )
    with right:
        live_chart(
            look.draw(f"classes {chosen}", lambda: pseudo_labels_by_class(found, classes)),
            key="train_pseudo_classes",
            description="Pseudo-labels kept and used of each class",
        )
    run = first_described(each.runs)
    assert run is not None, "only steps with pseudo-labels are offered"
    mistakes = look.once(("mistakes", run.id), lambda: stored_mistakes(store, run))
    if mistakes is not None:
        _mistakes(mistakes, look, each, run.seed)


def _mistakes(found: dict[str, NDArray], look: Look, each: Descendant, seed: int) -> None:
    """Draw the wrong pseudo-labels that the teacher was surest of."""
    card = dataset_card(look.results.config.dataset)
    said = [
        (card.class_names[given], card.class_names[label], format_percent(float(sure)))
        for given, label, sure in zip(
            found["given"], found["labels"], found["confidence"], strict=True
        )
    ]
    st.markdown("**Confident mistakes**")
    st.caption(
        f"Training examples that {_title(each)} learned under a wrong label, those first of which "
        f"its teacher was surest: true class → class given, and how sure. "
        f"Seed {seed}."
    )
    chosen = gallery(
        found["images"],
        captions=[f"{true}→{given} {sure}" for given, true, sure in said],
        key=f"train_mistakes_{each.step.name.replace(' ', '_').replace(':', '_')}",
        height=min(260, 8 + 2 * (tile_height(found["images"]) + 4)),
        label="Training examples with a wrong pseudo-label, the surest first: choose one",
    )
    if chosen is not None and chosen < len(said):
        given, true, sure = said[chosen]
        row = example_in_words(found, chosen, card.feature_names)
        text = str(found["images"][chosen]) if found["images"].dtype.kind == "U" else ""
        about = [f"Row {found['rows'][chosen]} of the data", f"taken for {given} at {sure}"]
        words = ", ".join([*about, f"is {true}"]) + (f": {text or row}" if text or row else "")
        st.caption(as_text(words))
