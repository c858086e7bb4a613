"""When masked words help a small text classifier: the same network, fine-tuned in as many steps on
the same few labels, pre-trained on all texts against from scratch, paired over seeds.

    python -m benchmarks.pretraining_pays --labels 50,150,500 --pretraining-epochs 5,20,60

Cells are compared on validation data; the best is then trained on fresh seeds and measured on test
data. Every cell is also an experiment in the store: `kdlab list`.
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from kdcore.analysis.statistics import PairedGain, format_points, paired_gain
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import ConfigError, Problem
from kdcore.storage.store import Store
from kdcore.work.experiment import run_experiment

ALONE, SCRATCH = "pre-trained alone", "baseline"


@dataclass(frozen=True)
class Cell:
    """One combination of settings, and what both networks reached, a fraction a seed."""

    settings: dict[str, Any]
    alone: list[float]
    scratch: list[float]
    seconds: float

    @property
    def gain(self) -> PairedGain:
        """What pre-training gave, in points."""
        return paired_gain(self.alone, self.scratch)

    def row(self) -> str:
        """Return a line of the table."""
        mean, low, high = format_points(self.gain.mean, self.gain.low, self.gain.high)
        means = [f"{100 * float(np.mean(each)):.1f}" for each in (self.alone, self.scratch)]
        values = " | ".join(f"{value}" for value in self.settings.values())
        return f"| {values} | {' | '.join(means)} | {mean} ({low} to {high}) | {self.seconds:.0f} |"


def trained(store: Store, config: ExperimentConfig, split: str) -> tuple[list[float], list[float]]:
    """Train both networks for all seeds, or find them again; returns their accuracies."""
    experiment_id = store.create(config, reuse="all")
    run_experiment(store, experiment_id, reuse="all", parts=(SCRATCH,), keeps_attention=False)
    found: dict[str, dict[int, float]] = {ALONE: {}, SCRATCH: {}}
    for link, run in store.runs_of(experiment_id):
        if link.step in found:
            found[link.step][run.seed] = run.summary[f"{split}_accuracy"]
    alone, scratch = ([found[step][seed] for seed in sorted(found[step])] for step in found)
    return alone, scratch


def measured(
    store: Store, base: ExperimentConfig, settings: dict[str, Any], split: str, **seeds: int
) -> Cell:
    """Train a cell and say so."""
    began = time.perf_counter()
    # The language model is drawn anew for each seed, too: its luck is part of what is compared.
    parts = [
        trained(store, base.replace(**settings, seed=seed, seeds=1, teacher_seed=seed), split)
        for seed in range(seeds["first"], seeds["first"] + seeds["count"])
    ]
    alone, scratch = ([values[0] for values in each] for each in zip(*parts, strict=True))
    cell = Cell(settings, alone, scratch, (time.perf_counter() - began) / seeds["count"])
    print(cell.row(), file=sys.stderr, flush=True)
    return cell


def listed(text: str, kind: type) -> list[Any]:
    """Read values with commas; raises ConfigError for others."""
    try:
        return [kind(each) for each in text.split(",")]
    except ValueError:
        raise ConfigError(Problem("values", "numbers with commas", text)) from None


@click.command(help=__doc__)
@click.option("--store", "url", default="sqlite:///pretraining.db", show_default=True)
@click.option("--dataset", default="languages", show_default=True)
@click.option("--student", default="transformer-2-64", show_default=True)
@click.option("--training-examples", type=int, default=None)
@click.option("--labels", default="50,150,500", show_default=True)
@click.option("--pretraining-epochs", default="5,20", show_default=True)
@click.option("--mask", default="0.15,0.3", show_default=True)
@click.option("--epochs", type=int, default=10, show_default=True, help="Of fine-tuning.")
@click.option("--learning-rate", type=float, default=1e-3, show_default=True)
@click.option("--seeds", type=int, default=3, show_default=True, help="Of each cell.")
@click.option("--fresh-seeds", type=int, default=5, show_default=True, help="Of the best cell.")
def main(
    url: str,
    dataset: str,
    student: str,
    training_examples: int | None,
    labels: str,
    pretraining_epochs: str,
    mask: str,
    epochs: int,
    learning_rate: float,
    seeds: int,
    fresh_seeds: int,
) -> None:
    """Train all cells, and print the table and the best on fresh seeds."""
    store = Store(url)
    base = ExperimentConfig(
        dataset=dataset,
        plan="distilbert",
        teacher=student,
        student=student,
        training_examples=training_examples,
        layer_start="off",
        epochs=epochs,
        batch_size=64,
        learning_rate=learning_rate,
        teacher_batch_size=64,
        teacher_learning_rate=2e-3,
    )
    axes = {
        "labels": listed(labels, int),
        "pretraining_epochs": listed(pretraining_epochs, int),
        "mask": listed(mask, float),
    }
    cells = [
        measured(
            store, base, dict(zip(axes, each, strict=True)), "validation", first=0, count=seeds
        )
        for each in itertools.product(*axes.values())
    ]
    head = [*axes, "pre-trained, %", "from scratch, %", "gain, points (95 % CI)", "seconds a seed"]
    print(
        f"\n{dataset}, {student}, {epochs} epochs of fine-tuning, validation data, {seeds} seeds\n"
    )
    print("\n".join([f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]))
    print("\n".join(cell.row() for cell in cells))
    best = max(cells, key=lambda cell: cell.gain.low)
    confirmed = measured(store, base, best.settings, "test", first=100, count=fresh_seeds)
    print(f"\nThe best of them on test data, {fresh_seeds} fresh seeds:\n\n{confirmed.row()}")


if __name__ == "__main__":
    main()
