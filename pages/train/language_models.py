"""On an experiment with language models: how well they guess masked tokens, and the guesses."""

from __future__ import annotations

import html

import streamlit as st

from kdcore import plans
from kdcore.analysis.curves import Curves
from kdcore.analysis.masked_words import HIDDEN, guesses, riddle
from kdcore.analysis.results import Results, examples, guessed
from kdcore.charts.language_models import COLOURS, masked_loss
from kdcore.config import pretrained
from kdcore.config.catalog import short_name
from kdcore.palette import colour
from kdcore.storage.store import Store
from kdcore.tasks.vocabulary import Vocabulary
from pages.shared.live_chart import live_chart
from pages.shared.live_view import Look
from pages.shared.session import as_text

_CSS = """<style>
.kd-riddle { font-size: 1.15rem; margin: 0 0 0.4rem; overflow-wrap: anywhere; }
.kd-guesses { margin: 0 0 0.3rem; font-size: 0.95rem; line-height: 1.7; overflow-wrap: anywhere; }
.kd-guesses span { padding: 0.05rem 0.45rem; margin-right: 0.35rem; border-radius: 0.3rem; border: 1px solid rgb(128 128 128 / 35%); white-space: pre; }
.kd-guesses span.right { font-weight: 700; border-width: 2px; }
</style>"""


def draw(store: Store, look: Look) -> None:
    """Draw the section, for plans with language models that have begun."""
    words = look.curves.pretraining
    if words is None or not len(words.metrics):
        return
    left, right = st.columns([1.1, 1], gap="medium")
    with left:
        live_chart(
            look.draw("masked words", lambda: masked_loss(words.metrics)),
            key="train_masked_words",
            description="Cross-entropy of masked tokens of validation texts over epochs, of each language model",
        )
        _table(look.results)
    with right:
        _game(store, look.results, words)


def _table(results: Results) -> None:
    rows = [
        "| Language model | Begins | Test loss, nats a token | Guessed right |",
        "|---|---|---|---|",
    ]
    for step in plans.plan_of(results.config).steps:
        if step.pretraining is None:
            continue
        found = guessed(step, results.runs_of_step(step.name))
        loss, right = found["test_masked_loss"], found["test_masked_accuracy"]
        numbers = f"{loss:.3f} | {100 * right:.1f} %" if loss is not None else "not yet |"
        rows.append(
            f"| {as_text(step.name)}: {as_text(short_name(step.network))} | {_start(step)} | {numbers} |"
        )
    st.markdown("\n".join(rows))


def _start(step: plans.Step) -> str:
    layers = step.pretraining.layers if step.pretraining is not None else ()
    if not layers:
        return "its pretrained weights" if pretrained.begins_pretrained(step.network) else "fresh"
    return f"layers {', '.join(str(at + 1) for at in layers)} of its teacher"


def _game(store: Store, results: Results, words: Curves) -> None:
    """Draw the masked-word game: choose a text and an epoch, see what each model guesses."""
    key = results.experiment.dataset_key or ""
    shown, definition = examples(store, key, "probe"), store.artifact(f"examples/{key}/vocabulary")
    if not shown or definition is None:
        return
    vocabulary = Vocabulary(definition.decode())
    texts = [str(text) for text in shown["images"]]
    st.markdown("**The masked-word game**")
    text = st.selectbox(
        "A validation text", range(len(texts)), format_func=texts.__getitem__, key="train_riddle"
    )
    last = max(max(taken) for taken in words.probes.values())
    epoch = last
    if last > 0:
        epoch = st.slider("After epoch", 0, last, last, key=f"train_riddle_epoch_{last}")
    asked = riddle(texts[int(text or 0)], vocabulary)
    hidden = f"{html.escape(asked.before)}<b>{HIDDEN}</b>{html.escape(asked.after)}"
    lines = [f"<p class='kd-riddle' dir='auto'>{hidden}</p>"]
    for (step, _), taken in words.probes.items():
        after = max((each for each in taken if each <= epoch), default=None)
        if after is not None:
            found = guesses(taken[after][int(text or 0)], vocabulary)
            lines.append(_line(step, found, asked.token))
    st.html(_CSS + "".join(lines))
    st.caption(
        f"What stood there: {as_text(repr(asked.answer))}. Guesses with their probability, the surest first."
    )


def _line(step: str, found: list[tuple[str, float]], answer: str) -> str:
    tokens = "".join(
        f"<span class='{'right' if token == answer else ''}'>"
        f"{html.escape(token)} {100 * probability:.0f} %</span>"
        for token, probability in found
    )
    return (
        f"<p class='kd-guesses' style='border-left: 4px solid {colour(COLOURS.get(step, 'teacher'))}; padding-left: 0.6rem'>"
        f"<small>{html.escape(step)}</small><br>{tokens}</p>"
    )
