"""The model card that goes with a downloaded model: what it is, what it learnt from, how good it
is, how that was found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from kdcore.analysis.results import gain, load_results
from kdcore.config import pretrained
from kdcore.config.catalog import own_model
from kdcore.config.experiment import ExperimentConfig
from kdcore.glossary import plain
from kdcore.methods.distillation_token import BOTH_HEADS
from kdcore.storage.schema import Export, Run
from kdcore.storage.store import Store
from kdcore.takeaway.snippets import input_words


def model_card(store: Store, run: Run, exports: Sequence[Export]) -> str:
    """Return the card of a trained run as Markdown.

    ``exports`` are the files that were made of it and measured.
    """
    reports = [export.report | {"format": export.format} for export in exports if export.report]
    sections = [
        f"# {run.model}: {_role_words(run)}",
        _summary(run, reports),
        "## Data\n\n" + _data(run, reports),
        "## Training\n\n" + _training(store, run),
        "## Measured\n\n" + _measured(run, reports),
        "## Settings\n\nThe experiment's settings, for `python -m kdcore train --config FILE`:\n\n"
        f"```json\n{json.dumps(store.experiment(run.experiment_id).config, indent=2)}\n```",
    ]
    if reports:
        used = {name: version for report in reports for name, version in report["versions"].items()}
        versions = ", ".join(f"{name} {version}" for name, version in used.items())
        sections.append(f"## Versions\n\nMade with {versions}.")
    return "\n\n".join(sections) + "\n"


def _trained_elsewhere(run: Run) -> bool:
    """Return whether the model was trained elsewhere: a teacher that its user added as a file."""
    own = own_model(run.model)
    return run.role == "teacher" and own is not None and own.kind == "file"


def _role_words(run: Run) -> str:
    if _trained_elsewhere(run):
        return "a teacher, added as a trained file"
    return {
        "teacher": "a teacher, trained on true labels",
        "student": "a student, distilled from a teacher",
        "baseline": "a baseline, trained without a teacher",
    }[run.role]


def _summary(run: Run, reports: Sequence[dict]) -> str:
    lines = [
        f"{run.parameters:,} parameters. It gives one logit a class; softmax makes probabilities of them."
    ]
    heads = {report["format"]: report.get("head", BOTH_HEADS) for report in reports}
    alone = [f"{name}: {head}" for name, head in heads.items() if head != BOTH_HEADS]
    if alone:
        lines.append(f"Files that answer with the head of one token alone: {'; '.join(alone)}.")
    if reports:
        lines.append(f"One example is {input_words(reports[0])}.")
        lines.append(
            "Classes, in the order of the logits: "
            + ", ".join(map(_code, reports[0]["labels"]))
            + "."
        )
    return "\n\n".join(lines)


def _data(run: Run, reports: Sequence[dict]) -> str:
    config = ExperimentConfig(**run.config)
    examples = f"{reports[0]['training_examples']:,}" if reports else "all"
    without = reports[0].get("unlabelled_examples", 0) if reports else 0
    unlabelled = f", {without:,} of them without a label" if without else ""
    lines = [
        f"Dataset {_code(config.dataset)}, split seed {config.split_seed}: {examples} training examples{unlabelled}."
    ]
    if run.role != "teacher":
        all_of = "All others" if without else "All of them"
        budget = all_of if config.labels is None else f"{config.labels:,} of them"
        lines.append(f"{budget} came with their true label.")
    lines.append(
        f"{run.summary['test_examples']:,} test examples, which chose nothing, were used for the numbers below."
    )
    return " ".join(lines)


def _training(store: Store, run: Run) -> str:
    results = load_results(store, run.experiment_id)
    config = ExperimentConfig(**run.config)
    if _trained_elsewhere(run):
        return (
            f"Added as a trained file and used as it is. {run.summary.get('fit', '')} What it was trained on is not known "
            "here; if test data was among it, the numbers below flatter it."
        )
    begin = " ".join(filter(None, (pretrained.start_in_words(run.model), config.tokens_in_words)))
    if run.role == "teacher":
        precision = run.summary.get("precision", "float32")
        return (
            f"{begin}\n\n".lstrip()
            + f"{config.teacher_epochs} epochs on true labels, batches of {config.teacher_batch_size}, Adam with learning "
            f"rate {config.teacher_learning_rate:g}, seed {config.teacher_seed}, computed in {precision}."
        )
    lines = [
        f"{config.epochs} epochs, batches of {config.batch_size}, {config.optimizer_in_words()}, "
        f"seed {run.seed}."
    ]
    if begin:
        lines.insert(0, begin)
    if run.role == "student":
        teacher = ", ".join(f"{accuracy:.2%}" for accuracy in results.accuracies("teacher"))
        lines.append(
            f"Teacher: {_code(config.teacher)} ({teacher} right on test data). "
            f"{_loss_words(config)}"
        )
    found = gain(store, results)
    if found is not None:
        seeds = range(results.config.seed, results.config.seed + results.config.seeds)
        of = f"seed {seeds[0]}" if len(seeds) == 1 else f"paired seeds {seeds[0]} to {seeds[-1]}"
        lines.append(
            f"Against baselines of the same start without a teacher, over {of}: {found.verdict}"
        )
    return "\n\n".join(lines)


def _loss_words(config: ExperimentConfig) -> str:
    method = config.method
    if method.name == "logits":
        return (
            f"Loss: alpha {config.alpha:g} times cross-entropy with true labels, plus "
            f"{1 - config.alpha:g} times T² KL divergence from the teacher at temperature "
            f"T = {config.temperature:g}."
        )
    settings = ", ".join(f"{name} {value}" for name, value in method.values().items())
    return f"Method: {method.title} ({method.paper}). {plain(method.summary)} Settings: {settings}."


def _measured(run: Run, reports: Sequence[dict]) -> str:
    lines = [f"Accuracy on test data when training ended: {run.summary['test_accuracy']:.2%}."]
    if reports:
        rows = [
            "| format | accuracy | cost of the format | largest difference of a logit | size | one answer | offered |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *map(_row, reports),
        ]
        lines += ["\n".join(rows), _how_measured(reports[0])]
    return "\n\n".join(lines)


def _row(report: dict) -> str:
    if report["accuracy"] is None:
        return f"| {report['format']} | – | – | – | – | – | no: {_cell(report['reason'])} |"
    offered = "yes" if report["passed"] else f"no: {_cell(report['reason'])}"
    return (
        f"| {report['format']} | {report['accuracy']:.2%} | {report['points_lost']:.2f} points | "
        f"{report['max_difference']:.2g} | {report['size'] / 1000:.1f} kB | {report['latency_ms']:.3f} ms | {offered} |"
    )


def _how_measured(report: dict) -> str:
    return (
        "Each file was opened again by its own runtime and asked about every test example; the difference is from Keras "
        f"computing in float32. One answer: the median over many calls with one example, on {report['machine']}; LiteRT "
        "and ONNX Runtime with one thread, Keras and TensorFlow with as many as they take."
    )


def _code(text: str) -> str:
    """Return text as Markdown code, whatever signs are in it."""
    longest = max(
        (len(run) for run in "".join(sign if sign == "`" else " " for sign in text).split()),
        default=0,
    )
    fence = "`" * (longest + 1)
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{' '.join(text.split())}{padding}{fence}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
