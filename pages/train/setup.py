"""Setting an experiment up: three cards from left to right as the knowledge flows, and
Train below.
"""

from __future__ import annotations

import streamlit as st

from kdcore import sweeps
from kdcore.analysis.naming import run_titles
from kdcore.analysis.teaching_cost import teaching_cost
from kdcore.config.experiment import TEACHER_FIELDS, ExperimentConfig, stored_setting
from kdcore.config.presets import PRESET_SAYS, PRESETS
from kdcore.config.sweep import SweepConfig
from kdcore.errors import ConfigError
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.sweeps import speed as sweep_speed
from kdcore.words import ago
from pages.shared.following import follow
from pages.shared.forms import TRAIN_PREFIX, ConfigForm
from pages.shared.session import as_text, engine, is_new, show_error
from pages.shared.statuses import STATUS_COLOURS
from pages.shared.terms import prose, with_terms
from pages.shared.visitor import own_tags
from pages.train import candidates as setup_candidates
from pages.train import doors, layers, linked, own_teacher, previous

NEW_TEACHER = "new"
SECONDS_BETWEEN_POLLS = 1.0


def draw(store: Store) -> None:
    """Draw the form, the Train button and the latest experiments."""
    st.title("Teach a small network what a large one knows", anchor=False)
    prose(
        "A **[[teacher]]** learns from all true labels. A **[[student]]**, many times smaller, learns from the teacher's "
        "[[softened answers|soft target]]; its twin, the **[[baseline]]**, learns without them. Press Train and watch who wins."
    )
    if is_new():
        doors.draw(lambda: start(store, ExperimentConfig()))
    form = ConfigForm(TRAIN_PREFIX, ExperimentConfig())
    linked.fill(form)
    _presets(form)
    # Streamlit draws top to bottom, but a preset or a picked teacher changes what is drawn: both
    # act in callbacks.
    data, teacher, student, distillation = st.columns(4, gap="small")
    with data, st.container(border=True, height="stretch"):
        _heading(":material/dataset:", "Data")
        form.draw("dataset", "labels")
        st.caption(with_terms(_label_budget_words(form)))
        if form.config is not None and form.config.tokens_in_words:
            st.caption(form.config.tokens_in_words)
    with teacher, st.container(border=True, height="stretch"):
        _heading(":material/school:", "Teacher")
        _pick_teacher(store, form)
        own_teacher.draw(store, form.config)
    with student, st.container(border=True, height="stretch"):
        _heading(":material/child_care:", "Student")
        form.draw(*form.group("student"))
    with distillation, st.container(border=True, height="stretch"):
        _heading(":material/device_thermostat:", "[[Distillation]]")
        form.draw(*form.group("method"))
    layers.draw(store, form.config)
    with st.container(border=True):
        _heading(":material/account_tree:", "Who teaches whom")
        columns = st.columns(4, gap="small")
        for place, name in enumerate(form.group("plan")):
            with columns[place % 4]:
                form.draw(name)
    layers.draw_starts(form.config)
    rare = [*form.group("training"), *form.group("rare")]
    troubled = any(name in form.problems for name in rare)
    with st.expander(
        "More settings: batch size, learning rate, optimizer, seeds, augmentation, precision",
        expanded=troubled,
    ):
        columns = st.columns(4, gap="small")
        for place, name in enumerate(rare):
            with columns[place % 4]:
                form.draw(name)
    setup_candidates.draw(store, form.config)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Train",
            type="primary",
            icon=":material/play_arrow:",
            disabled=form.config is None,
            key="train_start",
            help="Some settings above are refused." if form.config is None else None,
        )
        if form.config is not None:
            st.caption(form.config.describe())
    if form.config is not None:
        config = form.config
        if cost := teaching_cost(config):
            st.caption(f":material/memory: {as_text(cost)}")

        def pause() -> float | None:
            unknown = sweep_speed.training_time(store, config).unknown
            return SECONDS_BETWEEN_POLLS if sweep_speed.is_measuring(store, unknown) else None

        follow(_how_long, pause, key="train_how_long")(store, config)
    if pressed and form.config is not None:
        start(store, form.config)
    _latest(store)


def _how_long(store: Store, config: ExperimentConfig) -> None:
    """Say how long it will take on this machine; where nothing like it was trained, offer to
    measure.
    """
    cost = sweep_speed.training_time(store, config)
    measuring = sweep_speed.is_measuring(store, cost.unknown)
    if measuring:
        engine().tend()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        more = ". Measuring how fast these networks train here…" if measuring else ""
        here = "" if cost.seconds is None else " on this machine"
        st.caption(f":material/schedule: {cost}{here}{more}", width="content")
        if cost.unknown and not measuring:
            st.button(
                "How long will it take?",
                key="train_measure",
                type="tertiary",
                on_click=_measure,
                args=(store,),
                help="Trains each network for a moment. Nothing of it is kept but the time.",
            )


def _measure(store: Store) -> None:
    # What stands in the form when the click arrives may be newer than what was drawn.
    config = ConfigForm(TRAIN_PREFIX, ExperimentConfig()).config
    if config is None:
        return
    for job_id in sweep_speed.measure(store, sweep_speed.training_time(store, config).unknown):
        engine().submit(job_id)


def start(store: Store, config: ExperimentConfig) -> None:
    """Queue an experiment and show it."""
    experiment_id = store.create(config, tags=own_tags())
    engine().submit(experiment_id)
    st.query_params["experiment"] = experiment_id
    previous.show_in_address()
    st.rerun()


def _heading(icon: str, text: str) -> None:
    prose(f"##### {icon} {text}")


def _presets(form: ConfigForm) -> None:
    def apply() -> None:
        preset = PRESETS.get(st.session_state["train_preset"] or "")
        if preset is not None:
            form.fill(preset.model_dump())

    current = next((name for name, preset in PRESETS.items() if preset == form.config), None)
    st.session_state["train_preset"] = current
    with st.container(gap="small"):  # one place, so that what follows stays open when words go
        st.pills("Start from", list(PRESETS), key="train_preset", on_change=apply, wrap=True)
        if current is not None:
            st.caption(PRESET_SAYS[current])
    with st.container(horizontal=True):
        with st.popover(
            "Settings from a file",
            icon=":material/upload_file:",
            help="As an experiment gives them.",
        ):
            _settings_from_file(form)
        linked.draw(form.config)


def _settings_from_file(form: ConfigForm) -> None:
    def read() -> None:
        file = st.session_state["train_settings_file"]
        st.session_state["train_settings_answer"] = None
        if file is None:
            return
        try:
            config = ExperimentConfig.from_json(file.getvalue())
        except ConfigError as error:
            st.session_state["train_settings_answer"] = error
        else:
            form.fill(config.model_dump())
            st.session_state["train_settings_answer"] = config

    st.file_uploader(
        "A JSON file of settings",
        type="json",
        key="train_settings_file",
        on_change=read,
        max_upload_size=1,
        help="What Settings as JSON gave, or a part of it: what is left out is as in the first preset.",
    )
    answer = st.session_state.get("train_settings_answer")
    if isinstance(answer, ConfigError):
        show_error(answer)
    elif answer is not None:
        st.success(f"In the form: {as_text(answer.describe())}", icon=":material/check:")


def _label_budget_words(form: ConfigForm) -> str:
    if form.config is None:
        return ""
    if form.config.labels is None:
        return "Student and baseline get every [[true label]]. Expect a small gain, or none."
    if form.config.label_budget_for == "everyone":
        return f"Nobody gets more than {form.config.labels:,} [[true labels|true label]], the teacher included."
    return f"Student and baseline get {form.config.labels:,} [[true labels|true label]]. The teacher answers for every training example."


def _pick_teacher(store: Store, form: ConfigForm) -> None:
    dataset = st.session_state[form.key("dataset")]
    trained = {
        run.id: run for run in store.finished_runs("teacher") if run.config["dataset"] == dataset
    }
    fingerprint = form.config.fingerprint("teacher") if form.config else None
    match = next(
        (run.id for run in trained.values() if run.fingerprint == fingerprint), NEW_TEACHER
    )

    def apply() -> None:
        run = trained.get(st.session_state["train_teacher_pick"])
        if run is not None:
            form.fill({name: stored_setting(run.config, name) for name in TEACHER_FIELDS})

    if trained:
        st.session_state["train_teacher_pick"] = match
        titles = run_titles(list(trained.values()))
        st.selectbox(
            "Trained before",
            [NEW_TEACHER, *trained],
            format_func=lambda run_id: titles.get(run_id, "Train a new one"),
            key="train_teacher_pick",
            on_change=apply,
            help="A teacher that is trained already is used as it is.",
        )
    form.draw(*form.group("teacher"))
    if match != NEW_TEACHER:
        st.caption(":material/check: Trained already: it will be reused.")


def _latest(store: Store) -> None:
    """List the latest experiments; a sweep is one line, whatever it consists of."""
    experiments = {
        experiment.created_at: (experiment, job)
        for experiment, job in store.experiments(6, of_sweeps=False)
    }
    found = {sweep.created_at: sweep for sweep in sweeps.sweeps(store, limit=3)}
    if not experiments and not found:
        st.caption(
            "Nothing trained yet. The settings above are a good first experiment: it takes under a minute."
        )
        return
    st.subheader("Latest experiments", anchor=False)
    for created_at in sorted([*experiments, *found], reverse=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if created_at in found:
                sweep = found[created_at]
                st.badge("sweep", color="violet")
                title = sweep.name or SweepConfig.from_dict(sweep.config).describe()
                if st.button(as_text(title), key=f"train_open_{sweep.id}", type="tertiary"):
                    st.switch_page("pages/views/sweep.py", query_params={"sweep": sweep.id})
            else:
                experiment, job = experiments[created_at]
                status = JobStatus(job.status)
                st.badge(status.value, color=STATUS_COLOURS[status.value])
                title = experiment.name or ExperimentConfig(**experiment.config).describe()
                if st.button(as_text(title), key=f"train_open_{experiment.id}", type="tertiary"):
                    st.query_params["experiment"] = experiment.id
                    st.rerun()
            st.caption(ago(created_at), width="content")
