"""The Try it page: a drawing, a picture, a text or a test example, and what teacher, student and
baseline answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kdcore import charts
from kdcore.analysis.logits import softmax
from kdcore.analysis.occlusion import Part, parts_of, questions
from kdcore.analysis.results import Results, examples, load_results
from kdcore.config.cards import DatasetCard
from kdcore.config.catalog import dataset_card
from kdcore.engine.predictions import (
    Answer,
    draws_digits,
    from_drawing,
    from_image,
    from_text,
    keep_warm,
    predict,
    ready,
    scaled,
    trained_models,
    vocabulary_of,
)
from kdcore.errors import KDLabError
from kdcore.palette import ROLE_NAMES
from kdcore.storage.schema import Experiment, JobStatus, Run
from kdcore.storage.store import Store
from kdcore.tasks import TASKS
from pages.shared.attention_tiles import draw_attention, tiles_of
from pages.shared.following import follow
from pages.shared.gallery import gallery
from pages.shared.live_chart import Card, live_chart
from pages.shared.looked_at import newly_looked_at
from pages.shared.session import as_text, engine, show_error
from pages.shared.temperature import temperature_slider
from pages.shared.terms import with_terms
from pages.try_it.drawing_pad import drawing_pad
from pages.try_it.texts import show_parts, shows_attention, written_input

SECONDS_BETWEEN_TICKS = 0.3
WHERE_THEY_LOOK = (
    "Where each looks, the more colour the more: of a transformer the [[attention]] of its tokens through all layers, "
    "of a convolutional network its [[attention map]]."
)
SHOWN_EXAMPLES = 120
# In the session: the experiment that is shown, and the one that the address asked for last.
CHOSEN, ASKED = "try_experiment", "try_asked"
DRAW, DROP, PICK = "Draw", "Drop an image", "Test examples"
ICONS = {DRAW: ":material/draw:", DROP: ":material/image:", PICK: ":material/grid_view:"}


def draw(store: Store) -> None:
    """Draw the page."""
    st.title("Try it", anchor=False)
    choices = _choices(store)
    if not choices:
        st.info(
            "No model of pictures or texts is trained yet. Train one, and come back to ask it.",
            icon=":material/model_training:",
        )
        st.page_link("pages/views/train.py", label="Train", icon=":material/arrow_forward:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        results = _choose(store, choices)
        seed = _seed(results)
    runs = trained_models(store, results.experiment.id, seed)
    is_ready = _is_ready(store)
    pause = None if is_ready else SECONDS_BETWEEN_TICKS
    follow(_warm_up, pause, key="try_follow")(store, is_ready)
    st.fragment(_try)(store, results, runs, is_ready)


def _choices(store: Store) -> dict[str, Experiment]:
    """Return the finished experiments with models of pictures or texts, newest first, by id."""
    return {
        experiment.id: experiment
        for experiment, job in store.experiments()
        if job.status == JobStatus.FINISHED.value and _can_be_asked(experiment.config["dataset"])
    }


def _can_be_asked(dataset: str) -> bool:
    card = dataset_card(dataset)
    return card.kind in TASKS and (card.task.pictures or card.task.written)


def _choose(store: Store, choices: dict[str, Experiment]) -> Results:
    ids, asked = list(choices), st.query_params.get("experiment")
    looked = newly_looked_at("try it")
    # Older addresses have an experiment's name.
    named = (each for each in ids if _title(store, each) == asked)
    found = asked if asked in choices else next(named, None)
    if asked is not None and found is None:
        st.warning(
            f"experiment must be a finished one with models of pictures or texts, got {as_text(repr(asked))}",
            icon=":material/link_off:",
        )
    if asked is None and looked in choices:
        st.session_state[CHOSEN] = looked
    elif found is not None and asked != st.session_state.get(ASKED):
        st.session_state[ASKED], st.session_state[CHOSEN] = asked, found

    def tell() -> None:
        st.session_state[ASKED] = st.query_params["experiment"] = st.session_state[CHOSEN]

    chosen = st.selectbox(
        "Models of",
        ids,
        key=CHOSEN,
        on_change=tell,
        format_func=lambda each: _title(store, each),
        help="A finished experiment: its teacher, student and baseline.",
    )
    return load_results(store, chosen if chosen in choices else ids[0])


@st.cache_data(show_spinner=False, max_entries=256)
def _title(_store: Store, experiment_id: str) -> str:
    results = load_results(_store, experiment_id)
    return results.experiment.name or results.config.describe()


def _seed(results: Results) -> int:
    seeds = sorted({run.seed for run in results.runs("student")})
    if len(seeds) < 2:
        return seeds[0]
    return int(
        st.segmented_control(
            "Seed",
            seeds,
            default=seeds[0],
            required=True,
            key=f"try_seed_{results.experiment.id}",
            help="Student and baseline were trained once a seed.",
        )
    )


def _is_ready(store: Store) -> bool:
    return ready(keep_warm(store, engine()))


def _warm_up(store: Store, was_ready: bool) -> None:
    """Wait for the worker without blocking the page.

    Once it can answer, everything is drawn again.
    """
    if was_ready:
        return
    if _is_ready(store):
        st.rerun()
    st.caption(
        ":material/hourglass_top: A worker is starting; answers come as soon as it is ready, and at once from then on."
    )


def _try(store: Store, results: Results, runs: dict[str, Run], was_ready: bool) -> None:
    card = dataset_card(results.config.dataset)
    left, right = st.columns([1, 1.5], gap="large")
    if card.task.written:
        _try_text(store, results, runs, card, was_ready, left, right)
        return
    with left:
        inputs, truth = _input(store, results, card)
    with right:
        answer = _answers(store, runs, card, inputs, truth, was_ready)
    if answer is not None and inputs is not None:
        with left:
            _looks(inputs, runs, card, answer)


def _input(
    store: Store, results: Results, card: DatasetCard
) -> tuple[NDArray[np.float32] | None, int | None]:
    """Return what is asked about as models take it [1, ...], and its true class where it is
    known.
    """
    ways = [DRAW, DROP, PICK] if draws_digits(card) else [DROP, PICK]
    way = st.segmented_control(
        "Ask about",
        ways,
        default=ways[0],
        required=True,
        key=f"try_way_{len(ways)}",
        format_func=lambda name: f"{ICONS[name]} {name}",
        label_visibility="collapsed",
    )
    try:
        if way == DRAW:
            ink = drawing_pad(
                "Draw a digit with mouse, finger or pen",
                key="try_pad",
                hint="Draw a digit, large, with mouse or finger",
            )
            return (None if ink is None else from_drawing(card, ink)), None
        if way == DROP:
            file = st.file_uploader(
                "Drop a picture",
                type=["png", "jpg", "jpeg", "webp", "bmp", "gif"],
                key="try_file",
                max_upload_size=8,
                help="It is cropped to the middle and resized; a digit is cut out and centred.",
            )
            return (None if file is None else from_image(card, file.getvalue())), None
    except KDLabError as error:
        show_error(error)
        return None, None
    return _test_example(store, results, card)


def _try_text(
    store: Store,
    results: Results,
    runs: dict[str, Run],
    card: DatasetCard,
    was_ready: bool,
    left: Any,
    right: Any,
) -> None:
    """Ask about a text: as it is, and without each of its parts, to see which of them decided."""
    key = results.experiment.dataset_key or ""
    with left:
        text, truth = written_input(_examples(store, key) if key else {}, card, key)
        parts, inputs, vocabulary = list[Part](), None, None
        if text.strip():
            try:
                vocabulary = vocabulary_of(store, key)
                parts = parts_of(text, vocabulary)
                inputs = from_text(vocabulary, questions(text, parts))
            except KDLabError as error:
                show_error(error)
    with right:
        answer = _answers(store, runs, card, inputs, truth, was_ready, shows_attention())
    if answer is not None and vocabulary is not None:
        with left:
            show_parts(text, parts, answer, runs, card, vocabulary)


def _test_example(
    store: Store, results: Results, card: DatasetCard
) -> tuple[NDArray[np.float32] | None, int | None]:
    shown = _examples(store, results.experiment.dataset_key or "")
    index = gallery(
        shown["images"],
        captions=[card.class_names[label] for label in shown["labels"]],
        key=f"try_examples_{results.experiment.dataset_key}",
        selected=0,
        height=380,
        label="Test examples: choose one",
    )
    if index is None:
        return None, None
    return scaled(card, shown["images"][index]), int(shown["labels"][index])


@st.cache_data(show_spinner=False, max_entries=8)
def _examples(_store: Store, dataset_key: str) -> dict[str, NDArray[Any]]:
    found = examples(_store, dataset_key, "test")
    return {name: found[name][:SHOWN_EXAMPLES] for name in ("images", "labels")}


def _looks(
    inputs: NDArray[np.float32], runs: dict[str, Run], card: DatasetCard, answer: Answer
) -> None:
    """Show what the models are asked, the input after preparation, and where each looks in it."""
    low, high = card.value_range
    pixels = np.clip((inputs[0] - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    tiles = [
        tile
        for role, run in runs.items()
        if run.id in answer.attention
        for tile in tiles_of(role, ROLE_NAMES[role].capitalize(), answer.attention[run.id], 0)
    ]
    st.markdown("**Where they look**" if tiles else "**What the models see**")
    draw_attention(pixels, tiles)
    if tiles:
        st.caption(with_terms(WHERE_THEY_LOOK))


def _answers(
    store: Store,
    runs: dict[str, Run],
    card: DatasetCard,
    inputs: NDArray[np.float32] | None,
    truth: int | None,
    was_ready: bool,
    attention: bool = True,
) -> Answer | None:
    """Show what the models say to the first of ``inputs``; returns all that they said, with
    ``attention`` also where they looked.
    """
    if inputs is None:
        st.info(_nothing_asked(card), icon=":material/forum:")
        return None
    if not _is_ready(store):
        if was_ready:  # its worker left after a long silence: the page waits for the next one
            st.rerun()
        st.info("The worker is starting. Go on.", icon=":material/hourglass_top:")
        return None
    try:
        answer = _ask(store, tuple(run.id for run in runs.values()), inputs, attention)
    except KDLabError as error:
        show_error(error)
        return None
    temperature = temperature_slider(key="try_T", default=1.0)
    probabilities = {
        role: softmax(answer.logits[run.id][0], temperature) for role, run in runs.items()
    }
    ghost = probabilities.get("teacher")
    rows: list[charts.Distribution] = [
        (f"{role}, T = {temperature:g}", role, values, None if role == "teacher" else ghost)
        for role, values in probabilities.items()
    ]
    live_chart(
        charts.distributions(card.class_names, rows, label=truth),
        key="try_distributions",
        description=f"Class probabilities of teacher, student and baseline at T = {temperature:g}",
        cards=_cards(runs, card, answer),
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.caption(
            f"{_what_is_seen(card, inputs)} Bars: "
            + with_terms("[[softmax]] of each network's [[logits|logit]] at this [[temperature]].")
            + " From question to answer, through "
            f"the store and back: {1000 * answer.seconds:.0f} ms. On the cards: one call of the network in Keras; "
            "exported files answer faster (Train, Take the model with you)."
        )
    return answer


def _nothing_asked(card: DatasetCard) -> str:
    if card.task.written:
        return "What the three models say appears here, while you type."
    if draws_digits(card):
        return "What the three models say appears here, while you draw."
    return "Drop a picture or choose a test example, and the three models answer here."


def _what_is_seen(card: DatasetCard, inputs: NDArray[np.float32]) -> str:
    if not card.task.written:
        return f"What the models see: {card.input_shape[1]}×{card.input_shape[0]} pixels."
    tokens = int(np.count_nonzero(inputs[0]))
    cut = ", the most there may be: what follows is cut" if tokens == inputs.shape[1] else ""
    return f"What the models see: {tokens} tokens, beginning and end among them{cut}."


def _ask(
    store: Store, run_ids: tuple[str, ...], inputs: NDArray[np.float32], attention: bool
) -> Answer:
    """Ask the models; the same question is not asked twice in a row, so that T moves at once."""
    question = (run_ids, inputs.tobytes(), attention)
    known, answer = st.session_state.get("try_answer", (None, None))
    if known != question:
        answer = predict(store, engine(), run_ids, inputs, attention=attention)
        st.session_state["try_answer"] = (question, answer)
    return answer


def _cards(runs: dict[str, Run], card: DatasetCard, answer: Answer) -> list[Card]:
    """Say what each model answers at T = 1, and how long its call took."""
    cards = []
    for role, run in runs.items():
        asked = len(answer.logits[run.id])
        each = f" for {asked} texts" if asked > 1 else ""
        probabilities = softmax(answer.logits[run.id][0], 1.0)
        best = int(probabilities.argmax())
        note = f"{probabilities[best]:.1%} sure at T = 1 · Keras call {answer.milliseconds[run.id]:.2f} ms{each}"
        cards.append(Card(ROLE_NAMES[role].capitalize(), card.class_names[best], note, role))
    return cards
