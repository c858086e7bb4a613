"""DeiT's tables 2, 3 and 4 (Touvron 2021, arXiv:2012.12877) in small: a convnet teaches a
transformer of two layers on digits or another dataset, five paired seeds each.

    python -m benchmarks.deit_tables --labels 100

Prints tables in Markdown. Every row is also an experiment in the store: `kdlab list`.
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from kdcore.analysis.comparison import compare
from kdcore.analysis.disagreement import disagreement
from kdcore.analysis.results import Results, load_results
from kdcore.analysis.statistics import gain_in_words, mean_interval, paired_gain
from kdcore.config.experiment import ExperimentConfig
from kdcore.methods.distillation_token import TOKEN_HEADS
from kdcore.storage.store import Store
from kdcore.work.outcome import run

FIRST_SEED = 10


def trained(store: Store, base: ExperimentConfig, **changed: Any) -> Results:
    """Train an experiment, or find it again."""
    outcome = run(base.replace(**changed), store=store, reuse="all")
    return load_results(store, outcome.experiment_id)


def of_head(results: Results, role: str, head: str) -> list[float]:
    """Return the test accuracies of one head, by seed."""
    return [each.summary["heads"][head]["test_accuracy"] for each in results.runs(role)]


def in_words(accuracies: list[float]) -> str:
    """Return a mean in per cent with its 95 % interval over seeds."""
    percent = [100 * each for each in accuracies]
    low, high = mean_interval(percent)
    return f"{np.mean(percent):.1f} ({low:.1f} to {high:.1f})"


def against(accuracies: list[float], other: list[float]) -> str:
    """Return a paired gain in words."""
    return gain_in_words(paired_gain(accuracies, other).to_dict())


def table_three(store: Store, base: ExperimentConfig) -> Results:
    """Print the six rows; returns the experiment with the token."""
    plain = trained(store, base, student="vit-2-32", method="logits", alpha=0.1, temperature=3.0)
    hard = trained(store, base, student="vit-2-32", method="hard_labels")
    token = trained(store, base, method="distillation_token", teacher_says="top class")
    alone = plain.accuracies("baseline")
    rows = {
        "vit-2-32, no distillation": alone,
        "vit-2-32, soft (α 0.1, T 3)": plain.accuracies("student"),
        "vit-2-32, hard": hard.accuracies("student"),
        **{f"deit-2-32, {head}": of_head(token, "student", head) for head in TOKEN_HEADS},
        "deit-2-32, both": token.accuracies("student"),
    }
    click.echo(
        f"\nteacher {token.config.teacher}: {in_words(token.accuracies('teacher') * 2)[:4]} %"
    )
    click.echo(
        "\n| student | test accuracy, % | over no distillation | over hard without a token |"
    )
    click.echo("| --- | --- | --- | --- |")
    for name, accuracies in rows.items():
        gains = [against(accuracies, each) for each in (alone, rows["vit-2-32, hard"])]
        click.echo(f"| {name} | {in_words(accuracies)} | {gains[0]} | {gains[1]} |")
    return token


def table_two(store: Store, base: ExperimentConfig) -> None:
    """Print what teachers of like accuracy, one convolutional and one a transformer, are worth."""
    click.echo("\n| teacher | its test accuracy, % | student deit-2-32, % | over no distillation |")
    click.echo("| --- | --- | --- | --- |")
    teachers: dict[str, dict[str, Any]] = {
        "conv-64-128": {},
        "conv-16-32": {"teacher": "conv-16-32", "teacher_epochs": 10},
        "vit-4-64": {
            "teacher": "vit-4-64",
            "teacher_epochs": 40,
            "teacher_learning_rate": 0.001,
        },
    }
    for name, changed in teachers.items():
        found = trained(
            store, base, method="distillation_token", teacher_says="distribution", **changed
        )
        (of_teacher,) = found.accuracies("teacher")
        accuracies = found.accuracies("student")
        gain = against(accuracies, found.accuracies("baseline"))
        click.echo(f"| {name} | {100 * of_teacher:.1f} | {in_words(accuracies)} | {gain} |")


def table_four(store: Store, token: Results) -> None:
    """Print how often any two decide differently."""
    found = disagreement(store, compare(store, [token.experiment.id]))
    click.echo("\n| share of test examples, % | " + " | ".join(found.names) + " |")
    click.echo("| --- " * (len(found.names) + 1) + "|")
    for row, name in enumerate(found.names):
        cells = " | ".join(
            "0" if row == column else f"{100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f})"
            for column, (share, (low, high)) in enumerate(
                zip(found.shares[row], found.intervals[row], strict=True)
            )
        )
        click.echo(f"| {name} | {cells} |")


@click.command(help=__doc__)
@click.option("--store", "url", default="sqlite:///deit.db", show_default=True)
@click.option("--labels", type=int, default=None, help="Of student and baseline. [default: all]")
@click.option("--seeds", type=int, default=5, show_default=True)
@click.option("--epochs", type=int, default=30, show_default=True)
def main(url: str, labels: int | None, seeds: int, epochs: int) -> None:
    """Train all rows, and print the tables."""
    store = Store(url)
    base = ExperimentConfig(
        student="deit-2-32", epochs=epochs, labels=labels, seeds=seeds, seed=FIRST_SEED
    )
    token = table_three(store, base)
    table_two(store, base)
    table_four(store, token)


if __name__ == "__main__":
    main()
