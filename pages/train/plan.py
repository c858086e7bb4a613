"""The plan at the top of an experiment: who teaches whom, who knows what, and how far it is."""

from __future__ import annotations

import streamlit as st

from kdcore import plans
from kdcore.analysis.results import Results
from kdcore.config.catalog import short_name
from kdcore.plans import Step
from pages.shared.session import as_text

COLOURS = {"teacher": "orange", "student": "blue", "baseline": "violet", "pretrained": "gray"}
# The step that is being trained fades in and out, unless the visitor's system asks for calm.
PULSE = """<style>
@keyframes kd-live-step { 50% { opacity: 0.45; } }
@media (prefers-reduced-motion: no-preference) {
  .st-key-train_plan .stMarkdownBadge:has([aria-label^="autorenew"]) { animation: kd-live-step 1.6s ease-in-out infinite; }
}
</style>"""
ICONS = {"done": ":material/check:", "now": ":material/autorenew:", "later": ""}


def draw(results: Results) -> None:
    """Draw the chain of steps from left to right, and what is trained beside it below."""
    steps = plans.plan_of(results.config).steps
    chain = _chain_to(steps, results.stands_for("student"))
    beside = [step for step in steps if step not in chain]
    lines = [" → ".join(_badge(results, step) for step in chain)]
    if beside:
        lines.append("beside: " + " ".join(_badge(results, step) for step in beside))
    with st.container(key="train_plan"):
        st.html(PULSE)
        st.markdown("  \n".join(lines))


def state_of(results: Results, step: Step) -> str:
    """Return "done" where a step is trained for every seed, "now" while it is, else "later"."""
    runs = results.runs_of_step(step.name)
    wanted = 1 if step.seed is not None else results.config.seeds
    if len([run for run in runs if run.finished_at is not None]) >= wanted:
        return "done"
    training = any(run.finished_at is None for run in runs)
    return "now" if training and results.status.live else "later"


def _chain_to(steps: tuple[Step, ...], name: str) -> list[Step]:
    """Return the steps that lead to one of them, in order; of several teachers all."""
    named = {step.name: step for step in steps}
    wanted, found = [name], set[str]()
    while wanted:
        each = wanted.pop()
        if each in named and each not in found:
            found.add(each)
            wanted += named[each].needs
    return [step for step in steps if step.name in found]


def _badge(results: Results, step: Step) -> str:
    words = [step.name, short_name(step.network), _labels(results, step)]
    noise = [step.noise] if step.noise != "none" else []
    noise += [f"dropout {step.dropout:g}"] if step.dropout else []
    if step.stochastic_depth:
        noise.append(f"stochastic depth {step.stochastic_depth:g}")
    icon = ICONS[state_of(results, step)]
    text = as_text(" · ".join([*words, *noise]))
    return f":{COLOURS[step.role]}-badge[{icon} {text}]"


def _labels(results: Results, step: Step) -> str:
    if step.pretraining is not None:
        return "no labels"
    config = results.config
    few = step.labels is not None and step.labels < config.labelled
    labels = f"{step.labels:,} labels" if few else "all labels"
    without = 0 if config.omitted_classes else config.unlabelled
    return f"{labels}, {without:,} examples without" if step.taught_by and without else labels
