"""DistilBERT's ablation on an embedded or own dataset: what each loss and the layer start are
worth, in guesses of masked tokens and in accuracy after fine-tuning, paired over seeds.

    python -m benchmarks.distilbert_ablation --seeds 3

Prints a table in Markdown: differences from the full recipe with 95 % intervals.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click
import numpy as np

from kdcore.analysis.statistics import mean_interval
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from kdcore.work.outcome import Outcome, run

VARIANTS: dict[str, dict[str, Any]] = {
    "all three losses, from the teacher's layers": {},
    "without the teacher's guesses": {"token_weight": 0},
    "without the hidden states": {"hidden_weight": 0},
    "without the masked words": {"masked_weight": 0},
    "from a fresh start": {"layer_start": "off"},
}


def measured(outcome: Outcome) -> dict[str, float]:
    """Return both measures of an experiment's student, and those that it is compared with."""
    said = outcome.summary
    return {
        "loss": said["distilled language model"]["test_masked_loss"],
        "accuracy": 100 * said["student"]["accuracy"][0],
        "teacher's loss": said["language model"]["test_masked_loss"],
        "own loss": said["own language model"]["test_masked_loss"],
        "teacher": 100 * said["teacher"]["accuracy"][0],
        "pre-trained alone": 100 * said["pre-trained alone"]["accuracy"][0],
        "baseline": 100 * said["baseline"]["accuracy"][0],
    }


def in_words(values: list[float], digits: int) -> str:
    """Return a mean with its 95 % interval over seeds."""
    low, high = mean_interval(values)
    return f"{np.mean(values):+.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def row(name: str, of_seeds: list[dict[str, float]], full: list[dict[str, float]]) -> str:
    """Return a line of the table: how far a variant is from the full recipe."""
    loss, accuracy = (
        [one[key] - whole[key] for one, whole in zip(of_seeds, full, strict=True)]
        for key in ("loss", "accuracy")
    )
    return f"| {name} | {in_words(loss, 3)} | {in_words(accuracy, 1)} |"


@click.command(help=__doc__)
@click.option("--store", "url", default="sqlite:///distilbert.db", show_default=True)
@click.option("--dataset", default="languages", show_default=True)
@click.option("--labels", type=int, default=150, show_default=True)
@click.option("--training-examples", type=int, default=None)
@click.option("--pretraining-epochs", type=int, default=10, show_default=True)
@click.option("--epochs", type=int, default=4, show_default=True, help="Of fine-tuning.")
@click.option("--learning-rate", type=float, default=3e-3, show_default=True)
@click.option("--teacher-learning-rate", type=float, default=2e-3, show_default=True)
@click.option("--seeds", type=int, default=3, show_default=True)
def main(
    url: str,
    dataset: str,
    labels: int,
    training_examples: int | None,
    pretraining_epochs: int,
    epochs: int,
    learning_rate: float,
    teacher_learning_rate: float,
    seeds: int,
) -> None:
    """Train all variants for each seed, and print the table."""
    store, found = Store(url), dict[str, list[dict[str, float]]]()
    for seed in range(seeds):
        for name, changed in VARIANTS.items():
            began = time.perf_counter()
            config = ExperimentConfig(
                dataset=dataset,
                plan="distilbert",
                labels=labels,
                training_examples=training_examples,
                pretraining_epochs=pretraining_epochs,
                teacher_epochs=epochs,
                teacher_learning_rate=teacher_learning_rate,
                teacher_batch_size=64,
                teacher_seed=seed,
                epochs=epochs,
                batch_size=64,
                learning_rate=learning_rate,
                temperature=4,
                seed=seed,
                seeds=1,
                **changed,
            )
            one = measured(run(config, store=store, reuse="all", progress=False))
            found.setdefault(name, []).append(one)
            seconds = time.perf_counter() - began
            print(f"seed {seed}, {name}: {one}, {seconds:.0f} s", file=sys.stderr, flush=True)
    full = found[next(iter(VARIANTS))]
    means = {key: float(np.mean([one[key] for one in full])) for key in full[0]}
    print({key: round(value, 3) for key, value in means.items()})
    print("| | loss of masked tokens (nats, test) | accuracy after fine-tuning (points, test) |")
    print("| --- | --- | --- |")
    for name, of_seeds in found.items():
        if of_seeds is full:
            print(f"| {name} | {means['loss']:.3f} | {means['accuracy']:.1f} |")
        else:
            print(row(name, of_seeds, full))


if __name__ == "__main__":
    main()
