"""The Compare page: what is chosen, what can be said of it, and the sections below, each drawn only
while it is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from kdcore.analysis.comparison import Comparison, compare_contenders, latency, shared_seeds
from kdcore.analysis.contenders import (
    FEWEST,
    MOST,
    MOST_RANKED,
    Contender,
    check_choice,
    contenders_named,
    once,
    styles,
)
from kdcore.analysis.ranking import rank
from kdcore.analysis.statistics import PairedGain
from kdcore.analysis.unsettled import WHY, unsettled_among
from kdcore.errors import ConfigError, KDLabError, Problem, StoreError
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.takeaway.tables import comparison_table
from pages.compare import choose as compare_choose
from pages.compare import ranking as compare_ranking
from pages.compare import robustness as compare_robustness
from pages.compare import tables as compare_figures
from pages.compare.gallery import where_they_differ
from pages.compare.measuring import KINDS, measuring, show_progress
from pages.compare.sections import accuracy_against_cost, class_by_class, curves, what_changed
from pages.compare.state import (
    CLASSES,
    COST,
    CURVES,
    DIFFER,
    SECTIONS,
    SETTINGS,
    WORSE,
    PageState,
    page_state,
)
from pages.shared.address import show_in_address
from pages.shared.downloads import table_buttons
from pages.shared.following import follow
from pages.shared.looked_at import looked_at
from pages.shared.session import as_text, engine
from pages.shared.temperature import temperature_control, within
from pages.shared.terms import prose, with_terms
from pages.shared.visitor import may_change

SECONDS_BETWEEN_POLLS = 0.6


def draw(store: Store) -> None:
    """Draw the page, or how to get models to compare."""
    state = page_state()
    state.read(st.query_params.to_dict())
    _title()
    if state.fresh and not state.models:
        state.models = compare_choose.newest(store, looked_at())
    contenders = _find(store, state)
    refused = _refusal(contenders)
    if state.fresh and not contenders:
        _say_problems(state)
        _nothing_yet(store)
        return
    if refused:
        state.choosing = True  # and so it stays while one model after the other is ticked
    # Places that are there also when they are empty: the table stays where it is, and with it its
    # scroll position.
    problems, chosen, table = (
        st.container(key=f"compare_{name}") for name in ("problems", "chosen", "choice")
    )
    with problems:
        _say_problems(state)
    with chosen:
        if contenders:
            compare_choose.chips(store, state, contenders, styles(contenders))
    with table:
        if state.choosing:
            compare_choose.choose(store, state, [each.id for each in contenders])
    if refused:
        st.info(refused, icon=":material/checklist:")
        show_in_address(state, state.write(), SECTIONS, page="/compare", key="compare_address")
        return
    ids = tuple(each.id for each in contenders)
    # In a fragment: while something is trained or measured, numbers and curves follow; the table
    # above stays still.
    seconds = SECONDS_BETWEEN_POLLS if _live(store, contenders) else None
    follow(_body, seconds, key="compare_follow")(store, state, ids)


def _title() -> None:
    st.title("Compare models side by side", anchor=False)
    prose(
        "Teachers, students and baselines of any experiments with the same [[test data]]: how good, how large, how fast, and "
        "**where they differ**. A difference counts when [[paired seeds]] show it; one lucky run proves nothing."
    )


def _find(store: Store, state: PageState) -> list[Contender]:
    """Return the contenders that the state names: what is unknown is reported once and dropped."""
    found: list[Contender] = []
    for name in state.models:
        try:
            found += contenders_named(store, name)
        except StoreError:
            state.problems.append(
                Problem("models", "ids of experiments or runs in this store", name)
            )
        except ConfigError as error:
            state.problems += error.problems
    contenders = once(found)
    state.models = tuple(each.id for each in contenders)
    return contenders


def _say_problems(state: PageState) -> None:
    if state.problems:
        said = "; ".join(as_text(str(problem)) for problem in state.problems)
        st.warning(
            f"The address asks for what this page cannot show: {said}. Here is what it can.",
            icon=":material/link_off:",
        )


def _refusal(contenders: Sequence[Contender]) -> str | None:
    """Say in words why these cannot be compared, None if they can."""
    if len(contenders) < FEWEST:
        missing = "two models" if not contenders else "one more model"
        return f"Tick {missing} in the table above to compare."
    try:
        check_choice(contenders, MOST_RANKED)
    except ConfigError as error:
        return as_text(f"These cannot be compared: {error}.")
    return None


def _nothing_yet(store: Store) -> None:
    with st.container(border=True):
        st.markdown("##### :material/compare_arrows: There is nothing to compare yet")
        st.markdown(
            "An experiment trains a teacher, a student and its baseline: three models that meet here."
        )
        st.page_link(
            "pages/views/train.py", label="Train a first experiment", icon=":material/play_arrow:"
        )
    jobs = store.jobs(JobStatus.RUNNING, JobStatus.QUEUED)
    if any(job.kind == "experiment" for job in jobs):
        st.caption(
            "One is being trained right now; its models appear here as soon as they are done."
        )
        follow(_look_again, 2.0, key="compare_first_follow")(store)


def _look_again(store: Store) -> None:
    engine().tend()
    if compare_choose.newest(store):
        st.rerun()


# --- What is compared ---


def _live(store: Store, contenders: Sequence[Contender]) -> bool:
    asked = measuring(store, contenders, *KINDS)
    return asked is not None or any(each.status.live for each in contenders)


def _body(store: Store, state: PageState, ids: Sequence[str]) -> None:
    contenders = [each for name in ids for each in contenders_named(store, name)]
    live = _live(store, contenders)
    if live:
        engine().tend()
    if unsettled_among(store, [each.experiment.id for each in contenders]) and not st.toggle(
        "Show test data of sweeps without a winner", key="compare_unsettled"
    ):
        st.info(WHY, icon=":material/visibility_off:")
        return
    if len(contenders) > MOST:
        compare_ranking.draw(rank(contenders))
        show_in_address(state, state.write(), SECTIONS, page="/compare", key="compare_address")
        if live != state.live:
            state.live = live
            st.rerun()
        return
    try:
        found = _compared(store, state, contenders)
    except KDLabError as error:
        st.error(as_text(str(error)), icon=":material/error:")
        return
    _states(found)
    _verdicts(found)
    compare_figures.figures_table(found)
    if all(may_change(store, each.experiment.id) for each in found.contenders):
        table_buttons(partial(comparison_table, found), "comparison", key="compare_table")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        _settings(state, found)
        _measure(store, found)
    if found.pairs:
        several = (
            f"Every pair ({len(found.pairs)})"
            if len(found.pairs) > 1
            else "Seeds and examples behind the verdict"
        )
        with st.expander(several, icon=":material/balance:", key="compare_pairs"):
            compare_figures.pairs_table(found)
            if len(found.pairs) > 1:
                st.caption(
                    with_terms(
                        "Each [[interval]] and p-value is for its pair alone: of twenty pairs without any difference, one is "
                        "expected to seem to have one."
                    )
                )
            if found.seed is not None:
                st.caption(
                    with_terms(
                        f"Single answers, and [[McNemar's test]] of them, are those of seed {found.seed}."
                    )
                )
    _sections(store, state, found)
    show_in_address(state, state.write(), SECTIONS, page="/compare", key="compare_address")
    if live != state.live:
        state.live = live
        st.rerun()


def _compared(store: Store, state: PageState, contenders: Sequence[Contender]) -> Comparison:
    seeds = {run.seed for each in contenders if each.role != "teacher" for run in each.trained}
    if state.seed is not None and state.seed not in seeds:
        state.seed = None
    signature = tuple(
        (
            each.id,
            each.experiment.name,
            each.state,
            tuple((run.id, run.finished_at, run.parameters) for run in each.runs),
            (latency(store, each.trained) or {}).get("measured_at"),
        )
        for each in contenders
    )
    return _kept(store, tuple(contenders), signature, state.temperature, state.seed)


@st.cache_resource(show_spinner=False, max_entries=32)
def _kept(
    _store: Store,
    _contenders: tuple[Contender, ...],
    signature: object,
    temperature: float | None,
    seed: int | None,
) -> Comparison:
    """Compare once for all visitors.

    ``signature`` changes with everything that the numbers depend on.
    """
    return compare_contenders(_store, _contenders, temperature=temperature, seed=seed)


def _states(found: Comparison) -> None:
    """Say which models are not trained to the end, and that they are shown for what there is."""
    unfinished = [
        f"**{as_text(style.name)}** is {as_text(each.state)}"
        for each, style in zip(found.contenders, found.styles, strict=True)
        if each.status is not JobStatus.FINISHED
    ]
    if unfinished:
        st.info(
            "; ".join(unfinished) + ". Compared is what there is.", icon=":material/hourglass_top:"
        )


def _verdicts(found: Comparison) -> None:
    """Say what distillation did in each experiment on screen.

    Of two models that are no such pair, who is ahead.
    """
    said = []
    for pair in found.pairs:
        one, two = found.contenders[pair.first], found.contenders[pair.second]
        twins = (one.role, two.role) == (
            "student",
            "baseline",
        ) and one.experiment.id == two.experiment.id
        if twins and not (one.single or two.single):
            name = as_text(found.styles[pair.first].name)
            several = sum(each.role == "student" for each in found.contenders) > 1
            said.append(
                (
                    pair.gain,
                    f"{name}: {as_text(pair.verdict)}" if several else as_text(pair.verdict),
                )
            )
    if not said and len(found.pairs) == 1:
        said = [(found.pairs[0].gain, as_text(found.pairs[0].verdict))]
    for gain, words in said:
        _verdict(gain, words)


def _verdict(gain: PairedGain, words: str) -> None:
    icons = {"helped": ":material/trending_up:", "hurt": ":material/trending_down:"}
    show = {"helped": st.success, "hurt": st.warning}.get(gain.outcome, st.info)
    show(words, icon=icons.get(gain.outcome, ":material/balance:"))


def _settings(state: PageState, found: Comparison) -> None:
    """The two settings that the numbers depend on: T, and whose runs stand for a model where one is
    needed.
    """
    learners = [each for each in found.contenders if each.role != "teacher"]
    seeds = sorted({run.seed for each in learners for run in each.trained})
    if not seeds:
        return

    def set_temperature(chosen: float) -> None:
        state.temperature = within(chosen)

    def set_seed() -> None:
        state.seed, state.example = st.session_state["compare_seed"], None

    st.session_state["compare_seed"] = found.seed
    with st.container(width=340):
        temperature_control(
            found.temperature,
            key="compare_T",
            on_change=set_temperature,
            help="The distance from the teacher is taken between answers softened with this T.",
        )
    if len(seeds) > 1:
        shared = set(shared_seeds(found.contenders))
        st.selectbox(
            "Seed shown",
            seeds,
            key="compare_seed",
            on_change=set_seed,
            width=170,
            format_func=lambda seed: f"{seed}" if seed in shared else f"{seed} (not all have it)",
            help="McNemar's test and the gallery set single models against each other: the runs of this seed.",
        )


# --- Measuring ---


def _measure(store: Store, found: Comparison) -> None:
    """Say where the times were measured, and let them be measured again.

    While that goes on, show how far it is.
    """
    job = measuring(store, found.contenders, "measure")
    if job is not None:
        show_progress(job)
        return
    trained = [each for each in found.contenders if each.trained]
    measured = [each.latency for each in found.numbers if each.latency is not None]
    if trained:
        st.button(
            "Measure again" if measured else "Measure speed",
            icon=":material/speed:",
            key="compare_measure",
            on_click=_start_measuring,
            args=(store, [each.trained[0].id for each in trained]),
            help="A worker runs all these models in turns on this machine and takes the median; some seconds.",
        )
    if measured:
        st.caption(_measured_words(measured), width="content")


def _measured_words(measured: Sequence[dict[str, Any]]) -> str:
    machines = " and ".join(dict.fromkeys(as_text(each["machine"]) for each in measured))
    several = len({each["machine"] for each in measured}) > 1
    fewest = min(each["repeats"] for each in measured)
    busy = max(each["other_jobs"] for each in measured)
    meanwhile = f" Meanwhile {busy} other job{'s' * (busy > 1)} ran there." if busy else ""
    warning = " **Not the same machine: measure again to compare.**" if several else ""
    return f"Times measured on {machines}, {fewest} calls each at least.{meanwhile}{warning}"


def _start_measuring(store: Store, run_ids: Sequence[str]) -> None:
    engine().submit(store.add_job("measure", {"run_ids": list(run_ids)}))


# --- Sections ---


def _sections(store: Store, state: PageState, found: Comparison) -> None:
    def open_section() -> None:
        state.open(st.session_state["compare_section"])

    st.session_state["compare_section"] = state.section
    titles = list(SECTIONS.values())
    tabs = dict(
        zip(titles, st.tabs(titles, key="compare_section", on_change=open_section), strict=True)
    )
    with tabs[state.section]:
        if state.section == CURVES:
            curves(store, state, found)
        elif state.section == COST:
            accuracy_against_cost(state, found)
        elif state.section == CLASSES:
            class_by_class(state, found)
        elif state.section == DIFFER:
            where_they_differ(store, state, found)
        elif state.section == WORSE:
            compare_robustness.draw(store, found)
        elif state.section == SETTINGS:
            what_changed(found)
