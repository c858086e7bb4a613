"""One experiment on screen: progress, numbers, curves, and the softened distributions
beside them.
"""

from __future__ import annotations

import streamlit as st

from kdcore.analysis import library
from kdcore.analysis.brought_teacher import Examination
from kdcore.analysis.guessing import guessing_teachers
from kdcore.analysis.omitted_classes import errors
from kdcore.analysis.results import Results, gain, load_results, who_saw_what
from kdcore.analysis.statistics import PairedGain
from kdcore.analysis.unsettled import WHY, is_unsettled
from kdcore.config import pretrained
from kdcore.config.catalog import dataset_card, own_model, short_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StoreError
from kdcore.glossary import find
from kdcore.storage.schema import Job, JobStatus
from kdcore.storage.store import Store
from kdcore.storage.user_models import fit_in_words
from kdcore.words import duration
from pages.shared.copy_link import copy_link
from pages.shared.downloads import report_button
from pages.shared.experiment_charts import accuracy_so_far, draw_curves, draw_distributions
from pages.shared.following import follow
from pages.shared.forms import prefill
from pages.shared.live_view import LiveView, Look, view_of
from pages.shared.looked_at import look_at
from pages.shared.session import as_text, engine, show_error
from pages.shared.tiles import Tile, draw_tiles
from pages.shared.visitor import may_change, own_tags
from pages.train import attention, generations, language_models, plan, previous, take_away


def draw(store: Store, experiment_id: str) -> None:
    """Draw an experiment; while it is live, its numbers and charts follow by themselves."""
    engine().tend()
    view = view_of(store, store.url, experiment_id)
    results = view.look(at_once=True).results
    look_at(experiment_id)
    _header(store, results)
    live = results.status.live
    st.set_page_config(page_title=_tab_title(results.job))
    follow(
        _live_part,
        view.seconds_between_polls if live else None,
        key="train_follow",
        title=lambda: _tab_title_now(store, experiment_id),
    )(view, live)
    if not live and may_change(store, experiment_id):
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
            st.title(as_text(results.experiment.name or _title(config)), anchor=False)
            st.caption(_settings_words(config))
        with st.container(
            horizontal=True, width="content", vertical_alignment="center", gap="small"
        ):
            own = may_change(store, experiment_id)
            if status.live and own:
                st.button(
                    "Stop",
                    icon=":material/stop:",
                    key="train_stop",
                    on_click=engine().cancel,
                    args=(experiment_id,),
                )
            elif status.resumable and own:
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
            if not status.live and results.links and own:
                report_button(store, [experiment_id], key="train_report")
            st.button(
                "Change and train again",
                icon=":material/tune:",
                key="train_change",
                on_click=_change,
                args=(results,),
            )
            if own:
                _name(store, results)
            copy_link("train_copy_link")
    st.caption(who_saw_what(config))


def _tab_title_now(store: Store, experiment_id: str) -> str:
    try:
        return _tab_title(store.job(experiment_id))
    except StoreError:  # the page itself says so; the tab keeps what it said
        return ""


def _tab_title(job: Job) -> str:
    """Return how far it is, for the tab of a browser that shows something else."""
    status = JobStatus(job.status)
    far = f"{100 * job.progress:.0f} %" if status.live else status.value
    return f"{'done' if status is JobStatus.FINISHED else far} · KD Lab"


def _title(config: ExperimentConfig) -> str:
    kind = "" if config.plan.name == "distil" else f"{config.plan.title}: "
    return f"{kind}{short_name(config.teacher)} teaches {short_name(config.student)}"


def _settings_words(config: ExperimentConfig) -> str:
    labels = "all true labels" if config.labels is None else f"{config.labels:,} true labels"
    seeds = "" if config.seeds == 1 else f" · {config.seeds} seeds"
    planned = f" · {as_text(config.plan.describe())}" if config.plan.describe() else ""
    return (
        f"{as_text(dataset_card(config.dataset).title)} · {labels} · {as_text(config.method.describe())} · "
        f"{config.epochs} epochs{seeds}{planned}"
    )


def _resume(store: Store, experiment_id: str) -> None:
    store.requeue(experiment_id)
    engine().submit(experiment_id)


def _change(results: Results) -> None:
    st.query_params.clear()
    previous.remember(results.experiment.id)
    prefill(results.config)


def _name(store: Store, results: Results) -> None:
    """Name the experiment where one sees it."""
    experiment = results.experiment
    key = f"train_name_{experiment.id}_{hash(experiment.name)}"

    def rename() -> None:
        library.edit(store, [experiment.id], name=st.session_state[key])

    with st.popover("Name", icon=":material/edit:", help="How lists, charts and reports call it"):
        st.text_input(
            "Name",
            experiment.name,
            key=key,
            max_chars=library.LONGEST_NAME,
            placeholder=_title(results.config),
            help="Empty: by its models.",
            on_change=rename,
        )


def _live_part(view: LiveView, was_live: bool) -> None:
    try:
        _everything_that_moves(view, was_live)
    except StoreError as error:  # out of reach: the next poll tries again, the workers wait as well; or just deleted
        show_error(error)


def _everything_that_moves(view: LiveView, was_live: bool) -> None:
    if was_live:
        engine().tend()
    look = view.look()
    results = look.results
    plan.draw(results)
    _state_in_words(view.store, results)
    hidden = is_unsettled(view.store, results.experiment.id)
    draw_tiles(look.once(("tiles", hidden), lambda: _tiles(view.store, look, hidden)))
    before = previous.of(view.store, results)
    if before is not None:
        st.caption(as_text(previous.in_words(before, results)), help=previous.HELP)
    left, right = st.columns([1.1, 1], gap="medium")
    with left:
        draw_curves(look, before)
    with right:
        replayed = draw_distributions(view.store, look)
    attention.draw(view.store, look, replayed)
    language_models.draw(view.store, look)
    if not hidden:
        generations.draw(view.store, look)
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
        _ways_out(store, results)
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
    elif is_unsettled(store, results.experiment.id):
        st.info(WHY, icon=":material/visibility_off:")
    elif (found := _gain(store, results)) is not None:
        icons = {"helped": ":material/trending_up:", "hurt": ":material/trending_down:"}
        show = {"helped": st.success, "hurt": st.warning}.get(found.outcome, st.info)
        show(found.verdict, icon=icons.get(found.outcome, ":material/balance:"))
    # While it trains, nothing that comes up here is to move the page under the mouse.
    for said in [] if results.status.live else guessing_teachers(store, results):
        st.warning(as_text(said), icon=":material/psychology_alt:")
    _omitted(store, results)
    for said in _fits(results):
        st.caption(f":material/extension: {as_text(said)}")
    if results.config.augmentation != "none":
        st.caption(f":material/auto_fix_high: {_augmentation_words(results.config)}")
    if results.teacher_features:
        said = f"Features of the teacher: {results.teacher_features}."
        st.caption(f":material/polyline: {said}")
    if results.compiled_steps:
        st.caption(f":material/speed: {as_text(results.compiled_steps)}")
    if results.reused("teacher"):
        st.caption(
            ":material/recycling: The teacher was trained before with these settings and is reused."
        )


def _omitted(store: Store, results: Results) -> None:
    """Say what student and baseline make of classes that they never saw."""
    if not results.config.omitted_classes or is_unsettled(store, results.experiment.id):
        return
    for role, found in errors(store, results).items():
        st.markdown(f":material/visibility_off: **{role.capitalize()}**: {as_text(str(found))}")


def _ways_out(store: Store, results: Results) -> None:
    """Offer to train with another range of values where a brought teacher was refused for its."""
    examined = [
        Examination.from_dict(run.summary["examined"])
        for run in results.runs("teacher")
        if run.summary.get("examined")
    ]
    if not examined or not examined[0].problem or results.config.teacher_inputs != "checked":
        return
    with st.container(horizontal=True):
        for inputs in (*examined[0].ways, "as added"):
            pressed = st.button(
                "Train with it as it is" if inputs == "as added" else f"Train with values {inputs}",
                key=f"train_inputs_{inputs}",
                icon=":material/play_arrow:",
                type="primary" if (inputs,) == examined[0].ways else "secondary",
            )
            if pressed:
                _train_with(store, results.config.replace(teacher_inputs=inputs))


def _train_with(store: Store, config: ExperimentConfig) -> None:
    experiment_id = store.create(config, tags=own_tags())
    engine().submit(experiment_id)
    st.query_params["experiment"] = experiment_id
    st.rerun()  # the whole page: it is about another experiment now


def _fits(results: Results) -> list[str]:
    """Say how models of a user's own, and pretrained ones, are used."""
    own = {role: own_model(getattr(results.config, role)) for role in ("teacher", "student")}
    data, said = dataset_card(results.config.dataset), list[str]()
    if results.config.tokens_in_words:
        said.append(results.config.tokens_in_words)
    networks = (results.config.teacher, results.config.student)
    said += filter(None, map(pretrained.start_in_words, dict.fromkeys(networks)))
    if (card := own["teacher"]) is not None:
        how = "used trained as it is" if card.kind == "file" else "trained"
        inputs = results.config.teacher_inputs
        said.append(f"Teacher {card.title}, {how}: {fit_in_words(card, data, inputs)}")
    if (card := own["student"]) is not None:
        start = (
            "from the weights of its file"
            if results.config.student_start == "file"
            else "from fresh weights"
        )
        if results.config.student_start == "fresh" and card.frozen_layers:
            start += f", its {card.frozen_layers} frozen layers trained like the others"
        said.append(f"Student {card.title}, {start}: {fit_in_words(card, data)}")
    return said


def _augmentation_words(config: ExperimentConfig) -> str:
    if not config.answers_live:
        return (
            f"Augmentation: {config.augmentation}. Students and baseline see changed copies of the images; "
            "teachers answer for the unchanged ones."
        )
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


def _tiles(store: Store, look: Look, hidden: bool) -> list[Tile]:
    """Return what is known so far: accuracies on test data once trained, on validation data before,
    or where test data is ``hidden``.
    """
    results, curves = look.results, look.curves
    names = {
        "teacher": "Teacher",
        "student": "Student (distilled)",
        "baseline": "Baseline (scratch)",
    }
    tiles: list[Tile] = []
    for role, name in names.items():
        accuracy, where = accuracy_so_far(look, role, hidden=hidden)
        value = "–" if accuracy is None else f"{accuracy:.2%}"
        tiles.append(Tile(name, value, where, find("accuracy").says))
    tiles.append(_gain_tile(store, look, hidden))
    tiles.append(_size_tile(results))
    speed = curves.metrics["examples_per_second"].dropna().to_list() if len(curves.metrics) else []
    about_speed = (
        "While training, of the model that reported last; how fast a model answers is on Compare."
    )
    value = f"{speed[-1]:,.0f}" if speed else "–"
    tiles.append(Tile("Training speed", value, "examples a second", about_speed))
    return tiles


def _gain_tile(store: Store, look: Look, hidden: bool) -> Tile:
    found = _gain(store, look.results)
    if found is not None and not hidden:
        shown = [accuracy_so_far(look, role)[0] or 0.0 for role in ("student", "baseline")]
        of_student, of_baseline = (round(100 * value, 2) for value in shown)  # the tiles add up
        about = find("gain").says
        all_paired = look.results.status is JobStatus.FINISHED
        difference = of_student - of_baseline if all_paired else found.mean
        return Tile("Gain", f"{difference:+.2f}", "points, test data", about)
    about = f"{find('gain').says} Shown once both are a quarter through."
    student, _ = accuracy_so_far(look, "student", hidden=hidden)
    baseline, _ = accuracy_so_far(look, "baseline", hidden=hidden)
    if student is None or baseline is None or not _far_enough(look):
        return Tile("Gain so far", "–", "after a quarter of the epochs", about)
    gained = f"{100 * (student - baseline):+.2f}"
    return Tile("Gain so far", gained, "points, validation data", about)


def _far_enough(look: Look) -> bool:
    """Return whether student and baseline have both seen a quarter of their training: the first
    epochs say more about the start than about the end.
    """
    metrics = look.curves.metrics
    if not len(metrics):
        return False
    seen = metrics[metrics["split"] == "validation"].groupby("role")["epoch"].max()
    quarter = look.results.config.epochs / 4
    return all(seen.get(role, 0.0) >= quarter for role in ("student", "baseline"))


def _size_tile(results: Results) -> Tile:
    teacher, student = (
        run[0].parameters if (run := results.runs(role)) else 0 for role in ("teacher", "student")
    )
    about = "Of the student. A file holds more than parameters and shrinks less: see the downloads below."
    own = own_model(results.config.teacher)
    if own is not None and own.format == "answers":
        return Tile("Parameters", f"{student:,}", "of the student; the teacher is a file", about)
    if not teacher or not student:
        return Tile("Parameters", "–", "not built yet", about)
    if student >= teacher:
        more = f"{student / teacher:.1f}× as many"
        return Tile("Parameters", more, f"{student:,} against the teacher's {teacher:,}", about)
    fewer = teacher / student
    times = f"{fewer:.0f}" if fewer >= 9.95 else f"{fewer:.1f}"
    return Tile("Parameters", f"{times}× fewer", f"{student:,} of {teacher:,}", about)
