"""The sections of the Compare page but for the gallery."""

from __future__ import annotations

import html

import streamlit as st

from kdcore import charts
from kdcore.analysis.comparison import COSTS, Comparison, settings_in_words
from kdcore.analysis.curves import RunCurves, trace_name
from kdcore.storage.store import Store
from pages.compare import charts as compare_charts
from pages.compare.state import CURVE_MEASURES, PageState
from pages.compare.tables import swatch, table
from pages.shared.live_chart import live_chart

COST_TITLES = {
    "parameters": "Parameters",
    "multiply_accumulates": "Multiply-accumulates",
    "file_bytes": "File size",
    "single_milliseconds": "Keras call, one example",
    "batch_milliseconds": "Keras call, a batch",
}
MEASURE_TITLES = {
    "accuracy": "Accuracy",
    "loss": "Total loss",
    "hard_loss": "Loss on true labels",
    "soft_loss": "Distance from the teacher",
}
X_TITLES = {"epoch": "Epoch", "step": "Step", "seconds": "Seconds"}


# --- Curves ---


def curves(store: Store, state: PageState, found: Comparison) -> None:
    """Draw the models' curves on shared axes."""
    _curve_controls(state)
    known: RunCurves = st.session_state.setdefault("compare_curves", RunCurves())
    known.read_on(store, found.contenders)
    table = known.table(found.contenders)
    if not state.training and len(table):
        table = table[table["split"] == "validation"]
    styles = {
        trace_name(each): style for each, style in zip(found.contenders, found.styles, strict=True)
    }
    figure = charts.learning_curves(
        table,
        measure=state.measure,
        x=state.x,
        smoothing=state.smoothing if state.training else 0.0,
        log_y=state.log,
        show_seeds=state.seeds,
        styles=styles,
    )
    named = ", ".join(style.name for style in found.styles)
    live_chart(
        figure,
        key="compare_curve_chart",
        height=420,
        description=f"{MEASURE_TITLES[state.measure]} on validation data over {state.x} of {named}",
    )
    if state.measure == "soft_loss":
        st.caption("Only a student has a distance from its teacher to learn by.")


def _curve_controls(state: PageState) -> None:
    def changed() -> None:
        state.measure, state.x = (
            st.session_state["compare_measure_shown"],
            st.session_state["compare_x"],
        )
        state.log, state.seeds = st.session_state["compare_log"], st.session_state["compare_seeds"]
        state.training = st.session_state["compare_training"]
        state.smoothing = st.session_state.get("compare_smoothing", state.smoothing)

    for name, value in {
        "measure_shown": state.measure,
        "x": state.x,
        "log": state.log,
        "seeds": state.seeds,
        "training": state.training,
        "smoothing": state.smoothing,
    }.items():
        st.session_state[f"compare_{name}"] = value
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Show",
            CURVE_MEASURES,
            format_func=MEASURE_TITLES.__getitem__,
            required=True,
            key="compare_measure_shown",
            on_change=changed,
            help="What is drawn upwards.",
        )
        st.segmented_control(
            "Over",
            list(X_TITLES),
            format_func=X_TITLES.__getitem__,
            required=True,
            key="compare_x",
            on_change=changed,
            help="Steps and seconds are those of training.",
        )
        st.toggle(
            "Log scale", key="compare_log", on_change=changed, help="Logarithmic vertical axis."
        )
        st.toggle(
            "Single seeds",
            key="compare_seeds",
            on_change=changed,
            help="Each seed's curve below its mean.",
        )
        st.toggle(
            "Training data too",
            key="compare_training",
            on_change=changed,
            help="Faint lines: measured on training batches.",
        )
        if state.training:
            st.slider(
                "Smoothing",
                0.0,
                0.99,
                step=0.01,
                key="compare_smoothing",
                on_change=changed,
                width=180,
                help="Of what is measured on training batches: 0 shows every jump.",
            )


# --- Accuracy against cost ---


def accuracy_against_cost(state: PageState, found: Comparison) -> None:
    """Draw accuracy against what a model costs, with the Pareto front."""

    def choose() -> None:
        state.cost = st.session_state["compare_cost"]

    st.session_state["compare_cost"] = state.cost
    st.segmented_control(
        "Cost",
        list(COSTS),
        format_func=COST_TITLES.__getitem__,
        required=True,
        key="compare_cost",
        on_change=choose,
        help="What accuracy is weighed against. Times need measuring first.",
    )
    front = [
        style.name
        for style, kept in zip(found.styles, found.front(state.cost), strict=True)
        if kept
    ]
    live_chart(
        compare_charts.against_cost(found, state.cost),
        key="compare_cost_chart",
        description=f"Test accuracy against {COSTS[state.cost]}; on the Pareto front: {', '.join(front) or 'none yet'}",
    )
    if state.cost.endswith("_milliseconds") and any(
        each.trained and not numbers.latency
        for each, numbers in zip(found.contenders, found.numbers, strict=True)
    ):
        st.caption("Some models are not measured yet: press *Measure* above.")


# --- Class by class ---


def class_by_class(state: PageState, found: Comparison) -> None:
    """Draw accuracies on each class, and what two models take for what."""
    if not any(each.trained for each in found.contenders):
        st.info("No model is trained to the end yet.", icon=":material/hourglass_top:")
        return
    live_chart(
        compare_charts.class_by_class(found),
        key="compare_class_chart",
        description="Accuracy on each class of " + ", ".join(style.name for style in found.styles),
    )
    pair = choose_pair(state, found, "classes")
    if pair is None:
        return
    matrices = [found.numbers[at].confusion for at in pair]
    styles = (found.styles[pair[0]], found.styles[pair[1]])
    columns = st.columns(3, gap="medium")
    for place, (column, matrix, style) in enumerate(zip(columns, matrices, styles, strict=False)):
        assert matrix is not None
        with column:
            live_chart(
                compare_charts.confusion(matrix, found.class_names, style),
                key=f"compare_confusion_{place}",
                description=f"Confusion matrix of {style.name}",
            )
    with columns[2]:
        assert matrices[0] is not None
        assert matrices[1] is not None
        live_chart(
            compare_charts.confusion_difference(
                matrices[0], matrices[1], found.class_names, styles
            ),
            key="compare_confusion_difference",
            description=f"What {styles[0].name} takes for what more often than {styles[1].name}",
        )


def choose_pair(state: PageState, found: Comparison, where: str) -> tuple[int, int] | None:
    """Let two trained models be chosen.

    Returns their places, None while fewer than two are trained.
    """
    trained = {each.id: at for at, each in enumerate(found.contenders) if each.trained}
    if len(trained) < 2:
        st.info("Two trained models are needed here.", icon=":material/hourglass_top:")
        return None
    if state.first not in trained or state.second not in trained or state.first == state.second:
        pair = found.pairs[0]
        twins = [
            each
            for each in found.pairs
            if _roles(found, each.first, each.second) == ("student", "baseline")
        ]
        pair = twins[0] if twins else pair
        state.first, state.second = (
            found.contenders[pair.first].id,
            found.contenders[pair.second].id,
        )

    def changed(which: str) -> None:
        before = state.first, state.second
        setattr(state, which, st.session_state[f"compare_{which}_{where}"])
        if state.first == state.second:  # the other one's place was taken: they change places
            state.first, state.second = before[1], before[0]
        state.example = None

    if len(trained) > 2:
        with st.container(horizontal=True):
            for which, title in (("first", "First"), ("second", "Second")):
                key = f"compare_{which}_{where}"
                st.session_state[key] = getattr(state, which)
                st.selectbox(
                    title,
                    list(trained),
                    key=key,
                    on_change=changed,
                    args=(which,),
                    width=380,
                    format_func=lambda each: found.styles[trained[each]].name,
                    help="One of the two models set side by side.",
                )
    assert state.first is not None
    assert state.second is not None
    return trained[state.first], trained[state.second]


def _roles(found: Comparison, first: int, second: int) -> tuple[str, str]:
    return found.contenders[first].role, found.contenders[second].role


# --- What changed ---


def what_changed(found: Comparison) -> None:
    """Draw the settings that differ, and only those."""
    rows = settings_in_words(found.settings_that_differ())
    if not rows:
        st.info(
            "All settings that these models depend on are equal: what differs is the role. A student learns from its "
            "teacher's answers, its baseline from true labels alone.",
            icon=":material/check:",
        )
        return
    head = "".join(
        f"<th scope='col'>{swatch(style)}{html.escape(style.name)}</th>" for style in found.styles
    )
    body = "".join(
        f"<tr><th scope='row'>{html.escape(title)}</th>{''.join(f'<td>{html.escape(each)}</td>' for each in values)}</tr>"
        for title, values in rows
    )
    table(
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody>",
        "Settings that differ",
        "kd-settings",
    )
    st.caption("Only what differs. “–”: this model's role does not depend on the setting.")
