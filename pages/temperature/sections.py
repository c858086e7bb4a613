"""The sections of the Temperature page, each drawn only while it is open."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kdcore import charts
from kdcore.analysis.logits import FloatArray, kl_divergence, softmax
from kdcore.analysis.temperature import describe_soft_label, format_percent, most_confused
from kdcore.config.catalog import dataset_card
from kdcore.palette import ROLE_NAMES, colour
from pages.shared import examples
from pages.shared.choose_example import choose_example, example_card
from pages.shared.gallery import gallery
from pages.shared.live_chart import live_chart
from pages.shared.scene import Scene, no_student
from pages.shared.session import as_text
from pages.shared.terms import prose, with_terms
from pages.temperature import charts as temperature_charts
from pages.temperature import data
from pages.temperature.charts import Line
from pages.temperature.state import EXAMPLE, PageState

SHOWN_TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0, 20.0)


# --- One example ---


def one_example(scene: Scene, state: PageState) -> None:
    """Draw the explorer: a gallery to choose from, and what the models make of the chosen
    example.
    """
    left, right = st.columns([1, 1.45], gap="large")
    with left:
        index = choose_example(scene, state, first_example, page="temperature")
    if index is None:
        return
    teacher = scene.answers("teacher")
    assert teacher is not None
    with right:
        _example_in_words(scene, index, teacher[index], state.temperature)
        log_switch(state, "one")
        live_chart(
            charts.distributions(
                scene.class_names,
                _rows(scene, index, state.temperature),
                label=int(scene.truth[index]),
                log=state.log,
            ),
            key="temperature_distributions",
            description=f"Class probabilities of teacher, student and baseline at T = {state.temperature:g}",
        )
    live_chart(
        temperature_charts.small_multiples(
            scene.class_names,
            teacher[index].astype(np.float64),
            SHOWN_TEMPERATURES,
            state.temperature,
            label=int(scene.truth[index]),
            log=state.log,
        ),
        key="temperature_multiples",
        description="The teacher's distribution for the example at six temperatures from 0.5 to 20",
    )


def first_example(scene: Scene) -> int:
    """Return the example to begin with."""
    return examples.first_example(scene.store, scene.teacher.id, scene.key)


def _rows(scene: Scene, index: int, temperature: float) -> list[charts.Distribution]:
    """The teacher at T = 1 and at T, then student and baseline at T before the teacher's
    outline.
    """
    teacher = scene.answers("teacher")
    assert teacher is not None
    ghost = softmax(teacher[index], temperature)
    rows: list[charts.Distribution] = [
        ("teacher, T = 1", "teacher", softmax(teacher[index]), None),
        (f"teacher, T = {temperature:g}", "teacher", ghost, None),
    ]
    for role in ("student", "baseline"):
        learnt = scene.answers(role)
        if learnt is not None:
            apart = float(kl_divergence(teacher[index], learnt[index], temperature))
            title = f"{ROLE_NAMES[role]}, T = {temperature:g}: {nats(apart)} from the teacher"
            rows.append((title, role, softmax(learnt[index], temperature), ghost))
    return rows


def nats(value: float) -> str:
    """Format a divergence so that a small one keeps a digit."""
    return f"{value:.2f} nats" if value >= 0.1 or value == 0 else f"{value:.1g} nats"


def _example_in_words(
    scene: Scene, index: int, logits: NDArray[np.float32], temperature: float
) -> None:
    """Show the picture large, and say what the teacher's probabilities say."""
    names, label = scene.class_names, int(scene.truth[index])
    said = int(logits.argmax())
    verdict = (
        ""
        if said == label
        else f"<b>The teacher is wrong:</b> the true class is {html.escape(names[label])}."
    )
    plain, softened = (
        html.escape(describe_soft_label(softmax(logits, value), names, said))
        for value in (1.0, temperature)
    )
    ratios = "" if len(names) < 3 else _ratio_in_words(names, logits, temperature)
    row = examples.in_words(
        scene.store, scene.key, index, dataset_card(scene.teacher.config["dataset"]).feature_names
    )
    if row:
        ratios = f"{html.escape(row)}.<br>{ratios}"
    words = (
        f"<p>At T = 1 the teacher sees <em>{plain}</em>.</p>"
        f"<p class='kd-large'>At T = {temperature:g} it sees <em>{softened}</em>.</p>"
        f"<p class='kd-small'>{verdict} {ratios}</p>"
    )
    example_card(scene, index, words)


def _ratio_in_words(names: Sequence[str], logits: NDArray[np.float32], temperature: float) -> str:
    """Say how the two classes behind the favourite compare, at T = 1 and at T."""
    second, third = np.argsort(-logits, kind="stable")[1:3]
    apart = float(logits[second]) - float(logits[third])
    return (
        f"After the favourite, <b>{html.escape(names[second])}</b> is {times(apart)} as likely as "
        f"<b>{html.escape(names[third])}</b> at T = 1 and {times(apart / temperature)} as likely at T = {temperature:g}: "
        "dividing the logits takes the T-th root of every ratio, so the order of the classes never changes."
    )


def times(logits_apart: float) -> str:
    """Say how many times as likely a lead in the logits makes a class: "15 times", "1.3 times",
    "just".
    """
    if logits_apart > np.log(1e6):
        return "over a million times"
    ratio = float(np.exp(logits_apart))
    if ratio < 1.05:
        return "just"
    return f"{ratio:,.0f} times" if ratio >= 9.5 else f"{ratio:.1f} times"


def log_switch(state: PageState, where: str) -> None:
    """Draw the switch that all sections share, under a key of its own in each."""
    key = f"temperature_log_{where}"

    def switch() -> None:
        state.log = st.session_state[key]

    st.session_state[key] = state.log
    st.toggle(
        "Logarithmic scale",
        key=key,
        on_change=switch,
        help="Dark knowledge lives in the small probabilities.",
    )


# --- Look-alikes ---


def look_alikes(scene: Scene, state: PageState) -> None:
    """Draw which classes the teacher takes for which."""
    log_switch(state, "alike")
    names, temperature = scene.class_names, state.temperature
    matrix = data.similarity(scene.store, scene.teacher.id, scene.key, len(names), temperature)
    left, right = st.columns([1.6, 1], gap="large")
    with left:
        live_chart(
            temperature_charts.similarity(matrix, names, temperature, log=state.log),
            key="temperature_similarity",
            description=f"Heatmap of the mean soft label of each true class at T = {temperature:g}",
            on_click=lambda click: _choose_pair(
                state, names, (names[round(click["y"])], names[round(click["x"])])
            ),
        )
    found = most_confused(matrix, names, k=10)
    with right:
        live_chart(
            temperature_charts.confusions(found, temperature),
            key="temperature_confusions",
            description="; ".join(
                f"{true} taken for {other}: {format_percent(share)}" for true, other, share in found
            ),
            on_click=lambda click: _choose_pair(state, names, click["customdata"]),
        )
    if state.pair is None and found:
        _choose_pair(state, names, found[0][:2])
    if state.pair is not None:
        _pair_strip(scene, state, *state.pair)


def _choose_pair(state: PageState, names: Sequence[str], pair: Sequence[str] | None) -> None:
    if pair is not None and pair[0] != pair[1]:
        state.pair = (list(names).index(pair[0]), list(names).index(pair[1]))


def _pair_strip(scene: Scene, state: PageState, true: int, other: int) -> None:
    """Show the examples of one class that look most like another.

    A chosen one opens in the explorer.
    """
    names = scene.class_names
    ids = data.alike_examples(scene.store, scene.teacher.id, scene.key, true, other)
    answers = scene.answers("teacher")
    assert answers is not None
    shares = softmax(answers[ids])[:, other] if len(ids) else np.zeros(0)
    st.markdown(
        f"**True class {as_text(names[true])}, most like {as_text(names[other])}** to the teacher at T = 1. "
        "Click a cell or a bar above for another pair, an example to open it."
    )
    chosen = gallery(
        examples.images(scene.store, scene.key)[ids],
        captions=[format_percent(float(share)) for share in shares],
        ids=ids.tolist(),
        key=f"temperature_pair_{true}_{other}",
        height=170,
        label="Look-alikes: choose one to open it",
    )
    if chosen is not None and chosen != state.opened:
        state.opened = state.example = state.picked = chosen
        state.only, state.section = None, EXAMPLE
        st.rerun(scope="fragment")


# --- All examples ---


def all_examples(scene: Scene, state: PageState) -> None:
    """Draw what T does to the teacher's answers to all test examples, and to their honesty."""
    curves = data.curves(scene.store, scene.teacher.id, scene.key)
    now = data.figures(scene.store, scene.teacher.id, scene.key, state.temperature)
    _softness(curves, now, len(scene.class_names), state.temperature)
    _honesty(scene, curves, now, state.temperature)


def _softness(
    curves: dict[str, FloatArray], now: dict[str, float], classes: int, chosen: float
) -> None:
    grid, amber = curves["temperature"], colour("teacher")
    columns = st.columns(3, gap="medium")
    with columns[0]:
        live_chart(
            temperature_charts.over_temperature(
                "How undecided it sounds",
                "Entropy only ever rises with T, up to that of a guess.",
                grid,
                [Line("mean entropy", curves["entropy"], amber, now["entropy"])],
                chosen,
                y="mean entropy (nats)",
                number=".2f",
                ceiling=(float(np.log(classes)), f"a guess: log {classes}"),
                y_range=(0, 1.12 * float(np.log(classes))),
            ),
            key="temperature_entropy",
            description=f"Mean entropy over T; {now['entropy']:.2f} nats at T = {chosen:g}",
        )
    with columns[1]:
        live_chart(
            temperature_charts.over_temperature(
                "Among how many classes it hesitates",
                "Entropy as a number of equally likely classes.",
                grid,
                [
                    Line(
                        "effective classes",
                        curves["effective_classes"],
                        amber,
                        now["effective_classes"],
                    )
                ],
                chosen,
                y="classes",
                number=".1f",
                ceiling=(classes, f"all {classes}"),
                y_range=(0, 1.12 * classes),
            ),
            key="temperature_effective",
            description=f"Effective number of classes over T; {now['effective_classes']:.1f} at T = {chosen:g}",
        )
    with columns[2]:
        live_chart(
            temperature_charts.over_temperature(
                "How much is left for the favourite",
                "Dotted: the examples whose favourite has lost its majority.",
                grid,
                [
                    Line(
                        "mean top probability",
                        curves["top_probability"],
                        amber,
                        now["top_probability"],
                    ),
                    Line(
                        "examples whose favourite is under 50%",
                        curves["share_under_half"],
                        colour("teacher"),
                        now["share_under_half"],
                        "dot",
                    ),
                ],
                chosen,
                y="share",
                number=".0%",
                y_range=(0, 1.12),
            ),
            key="temperature_top",
            description=f"Mean top probability over T; {now['top_probability']:.0%} at T = {chosen:g}",
        )


def _honesty(
    scene: Scene, curves: dict[str, FloatArray], now: dict[str, float], chosen: float
) -> None:
    found = data.calibration(scene.store, scene.teacher.id, scene.key)
    best = found.temperature
    errors = {
        value: data.figures(scene.store, scene.teacher.id, scene.key, value)[
            "expected_calibration_error"
        ]
        for value in (1.0, best, chosen)
    }
    prose(
        f"**{found.sentence}** Found on [[validation data]] by the likelihood of the true classes; accuracy is the same at "
        f"every T. On test data the [[calibration error]] goes from {errors[1.0]:.1%} at T = 1 to {errors[best]:.1%} there."
    )
    left, right = st.columns([1, 1.9], gap="medium")
    inside = 0.5 <= best <= 20
    with left:
        live_chart(
            temperature_charts.over_temperature(
                "How far its confidence is from the truth",
                "Lowest where it is honest; students are often taught far above.",
                curves["temperature"],
                [
                    Line(
                        "calibration error",
                        curves["expected_calibration_error"],
                        colour("teacher"),
                        now["expected_calibration_error"],
                    )
                ],
                chosen,
                y="expected calibration error (test)",
                number=".1%",
                landmark=(best, f"best on validation: {best:.3g}") if inside else None,
                y_range=(0, 1.1 * max(0.05, float(curves["expected_calibration_error"].max()))),
                height=330,
            ),
            key="temperature_error",
            description=f"Expected calibration error over T; {now['expected_calibration_error']:.1%} at T = {chosen:g}",
        )
    panels = {"T = 1": 1.0, f"best: T = {best:.3g}": best, f"chosen: T = {chosen:g}": chosen}
    with right:
        live_chart(
            temperature_charts.reliability_diagrams(
                {
                    title: (
                        data.diagram(scene.store, scene.teacher.id, scene.key, value),
                        errors[value],
                    )
                    for title, value in panels.items()
                }
            ),
            key="temperature_reliability",
            description="Reliability diagrams: "
            + ", ".join(
                f"{title}: calibration error {errors[value]:.1%}" for title, value in panels.items()
            ),
        )


# --- Why T² ---

LEARNER_TITLES = {
    "untrained": "Student before training",
    "student": "Trained student",
    "baseline": "Baseline",
}


def why_squared(scene: Scene, state: PageState) -> None:
    """Draw the length of the soft loss's gradient with and without the factor T²."""
    if scene.taught is None:
        no_student()
        return
    left, right = st.columns([1, 1.9], gap="large")
    left.markdown(
        with_terms(
            "Divide the [[logits]] by T, and the [[gradient]] of the soft loss shrinks to about 1/T². So the loss carries a factor "
            "**[[T²|T² factor]]**: the teacher's pull, which [[α]] weighs against that of the true labels, then hardly depends on T."
        )
    )
    left.latex(
        r"\begin{aligned}\frac{\partial}{\partial z_s}\,T^2\,&\mathrm{KL}\!\left(p_T^{\,t}\,\|\,p_T^{\,s}\right)\\"
        r"&=T\left(p_T^{\,s}-p_T^{\,t}\right)\\&\xrightarrow{\;T\to\infty\;}\;\frac{z_s-z_t}{C}\end{aligned}"
    )
    left.caption(
        "C classes, logits centred on their mean: at a high T the student is made to match the teacher's logits."
    )
    titles = {
        name: title
        for name, title in LEARNER_TITLES.items()
        if name != "baseline" or scene.taught.baseline
    }
    whose = left.segmented_control(
        "Whose logits",
        list(titles),
        default="untrained",
        required=True,
        key="temperature_whose",
        persist_state="session",
        format_func=lambda name: titles[name],
        help="Before training: on the probe examples. After: on all test examples.",
    )
    run = (
        scene.taught.baseline
        if whose == "baseline" and scene.taught.baseline
        else scene.taught.student
    )
    chosen = (scene.store, scene.teacher.id, run.id, scene.key, whose == "untrained")
    norms = data.gradients(*chosen)
    now = data.gradients_at(*chosen, state.temperature)
    spans = {name: _span(norms[name]) for name in ("with_t_squared", "without_t_squared")}
    left.markdown(
        f"From T = 1 to T = 20 its length varies **{spans['without_t_squared']:,.1f}-fold** without T², "
        f"**{spans['with_t_squared']:,.1f}-fold** with it."
    )
    with right:
        live_chart(
            temperature_charts.gradient_chart(norms, state.temperature, now, norms["labels"]),
            key="temperature_gradients",
            description=f"Length of the gradient over T with and without T squared; at T = {state.temperature:g} "
            f"{now['with_t_squared']:.3g} with and {now['without_t_squared']:.3g} without",
        )


def _span(lengths: FloatArray) -> float:
    """Return the longest over the shortest from T = 1 up; nan where there is no gradient."""
    above = lengths[data.GRID >= 0.999]
    return float(above.max() / above.min()) if above.min() > 0 else float("nan")
