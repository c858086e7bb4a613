"""Experiments as one HTML file that explains itself: curves, numbers, verdict, settings and
versions, for any browser.

The file asks for nothing from the network, and its content policy forbids it to: the chart library
is the installed plotly package's own, and text of users (names, notes, classes) can only ever be
shown.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import io
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

from kdcore import charts, plans
from kdcore.analysis.comparison import settings_in_words
from kdcore.analysis.curves import Curves
from kdcore.analysis.ensembles import Ensemble
from kdcore.analysis.library import tags_of
from kdcore.analysis.logits import softmax
from kdcore.analysis.results import (
    Results,
    ensembles,
    example_in_words,
    examples,
    gain,
    load_results,
    logits,
    who_saw_what,
)
from kdcore.analysis.statistics import PairedGain
from kdcore.analysis.temperature import order
from kdcore.config.cards import DatasetCard
from kdcore.config.catalog import dataset_card, short_name
from kdcore.config.experiment import ExperimentConfig, all_settings
from kdcore.errors import ConfigError, require
from kdcore.palette import NEUTRALS, ROLE_NAMES, TONES, Style, dark_variants, style
from kdcore.storage.schema import ROLES, Experiment, Job, JobStatus, Run
from kdcore.storage.store import Store
from kdcore.takeaway.figures import curve_figures
from kdcore.version import __version__

TEMPLATE = Path(__file__).with_name("report.html")
MOST_EXPERIMENTS = 50
MOST_CURVES_TOGETHER = 6
PIXELS_OF_THE_EXAMPLE = 140
DARK_NEUTRALS = {"ink": "#e6eaf1", "muted": "#a7b0be", "grid": "#2a3342", "surface": "#161d28"}


@dataclass(frozen=True)
class Chart:
    """A figure on its way into the page: title and subtitle are the page's own text, the rest is
    Plotly's.
    """

    title: str
    subtitle: str
    description: str
    height: int
    json: Markup


def html_report(store: Store, ids: Sequence[str]) -> str:
    """Return experiments, or single runs of them, as one HTML page that stands alone.

    An id is that of an experiment, or of a run: then only the named runs of its experiment are
    shown, with a verdict where student and baseline of a seed are among them. What is live, stopped
    or failed is reported as far as it came. Raises StoreError for an unknown id, ConfigError unless
    there are 1 to 50 experiments.
    """
    subjects = _subjects(store, ids)
    require(
        1 <= len(subjects) <= MOST_EXPERIMENTS,
        "experiments",
        f"1 to {MOST_EXPERIMENTS}",
        len(subjects),
    )
    sections = [_section(store, results) for results in subjects]
    scripts = {"plotly": get_plotlyjs(), "page": _page_script()}
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=sections[0]["title"] if len(sections) == 1 else f"{len(sections)} experiments",
        sections=sections,
        together=_together(store, subjects) if len(subjects) > 1 else None,
        roles={role: ROLE_NAMES[role] for role in ROLES},
        tones=TONES,
        neutrals=NEUTRALS,
        dark=DARK_NEUTRALS,
        written=_moment(time.time()),
        version=__version__,
        scripts={name: Markup(text) for name, text in scripts.items()},
        allowed=" ".join(f"'sha256-{_sha256(text)}'" for text in scripts.values()),
    )


def _subjects(store: Store, ids: Sequence[str]) -> list[Results]:
    """Return each experiment once, in the order of ``ids``, with all its runs or those that are
    named.
    """
    chosen: dict[str, set[str] | None] = {}
    for each in ids:
        with store.reading() as session:
            run = None if session.get(Experiment, each) is not None else session.get(Run, each)
        if run is None:
            chosen[each] = None
        elif (named := chosen.setdefault(run.experiment_id, set())) is not None:
            named.add(run.id)
    found = []
    for experiment_id, named in chosen.items():
        results = load_results(store, experiment_id)
        if named is not None:
            results = dataclasses.replace(
                results, links=[pair for pair in results.links if pair[1].id in named]
            )
        found.append(results)
    return found


# --- One experiment ---


def _section(store: Store, results: Results) -> dict[str, Any]:
    config, job = _config(results.experiment), results.job
    curves = Curves()
    curves.read_on(store, results)
    found = gain(store, results)
    together = ensembles(store, results) if _card(config) else {}
    return {
        "id": results.experiment.id,
        "title": results.experiment.name
        or f"{short_name(config.teacher)} teaches {short_name(config.student)}",
        "description": config.describe(),
        "note": results.experiment.note,
        "tags": tags_of(store, results.experiment.id),
        "status": results.status.value,
        "error": job.error,
        "when": _moment(results.experiment.created_at),
        "unfinished": _unfinished(results.status, job),
        "gain": found,
        "counted": _counted(found) if found else None,
        "who": who_saw_what(config) if _card(config) else "",
        "models": [
            _model(results, step, role, together.get(step)) for step, role in results.steps.items()
        ],
        "language_models": _language_models(results),
        "charts": [
            _chart(each.figure, each.description)
            for each in curve_figures(config, results, curves.metrics)
        ],
        "example": _example(store, config, results),
        "settings": settings_in_words(
            [(name, [_value(config, name)]) for name in config.model_dump()]
        ),
        "config": json.dumps(results.experiment.config, indent=1),
        "versions": _versions(results),
    }


def _config(experiment: Experiment) -> ExperimentConfig:
    # Not checked again: a report can be made of an experiment whose data or model has since left
    # the catalog.
    return ExperimentConfig.unchecked(experiment.config)


def _value(config: ExperimentConfig, name: str) -> Any:
    value = config.get(name, "–")
    return "all" if value is None else value


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _unfinished(status: JobStatus, job: Job) -> str | None:
    if status is JobStatus.FINISHED:
        return None
    if status.live:
        return f"Still {status.value} when this was written ({job.phase}): what follows is what there was."
    why = f": {job.error}" if job.error else ""
    return f"This experiment {'was' if status is not JobStatus.FAILED else 'has'} {status.value}{why}. What follows is what there was."


def _counted(found: PairedGain) -> str:
    pairs = f"n = {found.n} {'pair' if found.n == 1 else 'pairs'} of student and baseline, each from the same start"
    p_value = "" if np.isnan(found.p_value) else f", p = {found.p_value:.3g}"
    return f"{pairs}; {found.test}{p_value}."


def _model(results: Results, step: str, role: str, together: Ensemble | None) -> dict[str, Any]:
    """A line of the table of results: means over the seeds, and each seed's accuracy."""
    runs = results.runs_of_step(step)
    one_of_several = list(results.steps.values()).count(role) > 1
    trained = [run for run in runs if run.finished_at is not None]

    def mean(name: str) -> float | None:
        known = [run.summary[name] for run in trained if run.summary.get(name) is not None]
        return float(np.mean(known)) if known else None

    return {
        "role": role,
        "step": f" ({step})" if one_of_several else "",
        "model": runs[0].model,
        "parameters": runs[0].parameters,
        "multiply_accumulates": mean("multiply_accumulates"),
        "accuracy": mean("test_accuracy"),
        "seeds": [(run.seed, run.summary["test_accuracy"]) for run in trained],
        "together": together.words if together else "",
        "loss": mean("test_loss"),
        "calibration": mean("test_calibration_error"),
        "seconds": mean("seconds"),
        "test_examples": trained[0].summary["test_examples"] if trained else None,
        "reused": results.reused(step),
        "of": f"{len(trained)} of {len(runs)} trained" if len(trained) < len(runs) else "",
    }


def _language_models(results: Results) -> list[dict[str, Any]]:
    """Lines of the table of language models: how well each guesses masked tokens of test texts."""
    lines = []
    for step in plans.plan_of(_config(results.experiment)).steps:
        runs = results.runs_of_step(step.name) if step.pretraining is not None else []
        trained = [run for run in runs if run.finished_at is not None]
        if trained:
            measured = [
                [run.summary[f"test_masked_{name}"] for run in trained]
                for name in ("loss", "accuracy")
            ]
            loss, right = (float(np.mean(values)) for values in measured)
            lines.append(
                {"step": step.name, "model": runs[0].model, "loss": loss, "accuracy": right}
            )
    return lines


def _chart(figure: go.Figure, description: str) -> Chart:
    layout = figure.layout
    title, subtitle = _plain(layout.title.text), _plain(layout.title.subtitle.text)
    written = json.loads(figure.to_json(validate=False, remove_uids=False))
    written["layout"].pop("title", None)
    written["layout"]["margin"] = {"l": 8, "r": 12, "t": 40 if layout.showlegend else 8, "b": 8}
    # In a script element: nothing in it may look like markup.
    text = re.sub(r"[<>&\u2028\u2029]", lambda sign: f"\\u{ord(sign[0]):04x}", json.dumps(written))
    return Chart(title, subtitle, description, int(layout.height or 320), Markup(text))


def _plain(text: str | None) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", text or ""))


def _example(store: Store, config: ExperimentConfig, results: Results) -> dict[str, Any] | None:
    """The teacher's softened answer to one test example, and what the first seed's student and
    baseline make of it.
    """
    trained = {
        role: next((run for run in results.runs(role) if run.finished_at is not None), None)
        for role in ROLES
    }
    teacher = trained["teacher"]
    if teacher is None:
        return None
    seen = examples(store, teacher.summary["dataset"], "test")
    card = _card(config)
    answers, labels = logits(store, teacher, "test"), seen["labels"]
    index = _telling_example(answers, labels, len(seen.get("images", labels)))
    classes = (
        list(card.class_names) if card else [str(number) for number in range(answers.shape[1])]
    )
    temperature = float(config.temperature)
    softened = softmax(answers[index], temperature)
    rows: list[charts.Distribution] = [
        ("teacher, T = 1", "teacher", softmax(answers[index], 1.0), None),
        (f"teacher, T = {temperature:g}", "teacher", softened, None),
    ]
    for role in ("student", "baseline"):
        if (run := trained[role]) is not None:
            title = f"{role}, seed {run.seed}, T = {temperature:g}"
            rows.append(
                (title, role, softmax(logits(store, run, "test")[index], temperature), softened)
            )
    figure = charts.distributions(
        [charts.as_label(name) for name in classes], rows, label=int(labels[index])
    )
    return {
        "chart": _chart(
            figure, f"Class probabilities of the models for one test example at T = {temperature:g}"
        ),
        **_shown(seen, index),
        "index": index,
        "label": classes[int(labels[index])],
        "words": example_in_words(seen, index, card.feature_names) if card else "",
    }


def _telling_example(answers: Any, labels: Any, pictures: int) -> int:
    """Of the examples that have a picture: the one the teacher gets right and is least sure of,
    else the least sure.
    """
    hardest = [int(index) for index in order(answers[:pictures], labels[:pictures])]
    right = answers[:pictures].argmax(axis=1) == labels[:pictures]
    return next((index for index in hardest if right[index]), hardest[0])


def _card(config: ExperimentConfig) -> DatasetCard | None:
    try:
        return dataset_card(config.dataset)
    except ConfigError:  # the dataset is no longer known
        return None


def _shown(seen: dict[str, Any], index: int) -> dict[str, str | None]:
    """Return an example as a picture or as a text."""
    if "images" not in seen:
        return {"picture": None, "text": None}
    example = seen["images"][index]
    if isinstance(example, str):
        return {"picture": None, "text": str(example)}
    return {"picture": _picture(example), "text": None}


def _picture(pixels: Any) -> str:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    zoom = max(1, PIXELS_OF_THE_EXAMPLE // max(image.size))
    file = io.BytesIO()
    image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST).save(
        file, "png"
    )
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _versions(results: Results) -> list[tuple[str, str]]:
    """Return (program, its versions) as recorded by the workers that trained the models."""
    found: dict[str, dict[str, None]] = {}
    for _, run in results.links:
        for name, version in run.summary.get("versions", {}).items():
            found.setdefault(name, {})[version] = None
    precision = {
        run.summary["precision"]: None
        for run in results.runs("teacher")
        if "precision" in run.summary
    }
    if precision:
        found["teacher's precision"] = precision
    return [(name, ", ".join(versions)) for name, versions in found.items()]


# --- Several experiments ---


def _together(store: Store, subjects: Sequence[Results]) -> dict[str, Any]:
    """What is said of several experiments at once: the settings that differ, what came of each, the
    students' curves.
    """
    configs = [_config(results.experiment) for results in subjects]
    differing = [
        (name, [_value(config, name) for config in configs])
        for name in all_settings()
        if len({repr(config.get(name)) for config in configs}) > 1
    ]
    return {"settings": settings_in_words(differing), "chart": _students_together(store, subjects)}


def _students_together(store: Store, subjects: Sequence[Results]) -> Chart | None:
    parts, styles = [], dict[str, Style]()
    for number, results in enumerate(subjects[:MOST_CURVES_TOGETHER]):
        curves = Curves()
        curves.read_on(store, results)
        if (
            len(curves.metrics)
            and (students := curves.metrics[curves.metrics["role"] == "student"]).size
        ):
            key = f"experiment-{number + 1}"
            parts.append(students.assign(role=key))
            styles[key] = style("student", f"{number + 1}: {_short_title(results)}", number)
    if len(parts) < 2:
        return None
    figure = charts.learning_curves(
        pd.concat(parts, ignore_index=True), measure="accuracy", styles=styles
    )
    return _chart(figure, "Accuracy of the students of all experiments over epochs")


def _short_title(results: Results) -> str:
    title = results.experiment.name or results.experiment.id
    return title if len(title) <= 40 else title[:39] + "…"


# --- The page's own script ---


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _page_script() -> str:
    """Draw every chart from the JSON beside it, and again when the reader's theme changes or the
    page is printed.
    """
    swaps = {NEUTRALS[name]: tone for name, tone in DARK_NEUTRALS.items()} | dark_variants()
    return f"const SWAPS = {json.dumps(swaps)};\n" + _SCRIPT


_SCRIPT = """
const dark = matchMedia('(prefers-color-scheme: dark)');
function draw(night) {
  for (const chart of document.querySelectorAll('.chart')) {
    let text = chart.querySelector('script').textContent;
    if (night) for (const [light, tone] of Object.entries(SWAPS)) text = text.replaceAll(light, tone);
    const { data, layout } = JSON.parse(text);
    if (matchMedia('(pointer: coarse)').matches) layout.dragmode = false;
    Plotly.react(chart.querySelector('.plot'), data, layout, {
      responsive: true, displaylogo: false, modeBarButtons: [['zoom2d', 'pan2d', 'resetScale2d', 'toImage']],
    });
  }
}
draw(dark.matches);
dark.addEventListener('change', () => draw(dark.matches));
addEventListener('beforeprint', () => draw(false));
addEventListener('afterprint', () => draw(dark.matches));
"""
