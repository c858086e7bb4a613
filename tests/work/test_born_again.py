"""Born-again networks as a worker trains them: what all generations answer together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import softmax

from kdcore.analysis.results import ensembles, examples, load_results, logits, summary
from kdcore.cli.program import main, without_test_data
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from kdcore.takeaway.report import html_report
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = ExperimentConfig(
    plan="born-again",
    generations=3,
    teacher="mlp-16",
    student="mlp-16",
    teacher_epochs=2,
    epochs=2,
    seeds=2,
    temperature=4.0,
    training_examples=200,
)


def test_generations_answer_together_as_the_mean_of_their_probabilities(
    store: Store, tmp_path: Path
) -> None:
    experiment = store.create(CONFIG)
    run_experiment(store, experiment)
    results = load_results(store, experiment)
    labels = examples(store, results.links[0][1].summary["dataset"], "test")["labels"]
    steps = ["generation 1", "generation 2", "student"]
    by_hand = {}
    for temperature in (1.0, 4.0):
        for count in (2, 3):
            members = [results.runs_of_step(step) for step in steps[:count]]
            by_hand[temperature, count] = [
                np.mean(
                    np.mean(
                        [
                            softmax(logits(store, run, "test").astype(np.float64) / temperature, 1)
                            for run in of_seed
                        ],
                        axis=0,
                    ).argmax(axis=1)
                    == labels
                )
                for of_seed in zip(*members, strict=True)
            ]
    found = summary(store, experiment)["ensembles"]
    assert list(found) == ["generation 2", "student"]
    for step, count in (("generation 2", 2), ("student", 3)):
        assert found[step]["generations"] == count
        assert found[step]["accuracy"] == by_hand[1.0, count]
        assert found[step]["softened"] == {"temperature": 4.0, "accuracy": by_hand[4.0, count]}
        assert found[step]["low"] <= found[step]["mean"] <= found[step]["high"]
    assert "ensembles" not in without_test_data(summary(store, experiment))
    words = ensembles(store, results)["student"].words
    assert f"averaged with the generations before it: {words}" in html_report(store, [experiment])
    shown = CliRunner().invoke(main, ["--store", store.url, "show", experiment])
    assert "student averaged with the generations before it: " in shown.output
    as_json = CliRunner().invoke(main, ["--store", store.url, "show", experiment, "--json"])
    assert json.loads(as_json.output)["ensembles"] == found


def test_plans_without_generations_have_none(store: Store) -> None:
    plain = store.create(CONFIG.replace(plan="distil", seeds=1, epochs=1))
    run_experiment(store, plain)
    assert "ensembles" not in summary(store, plain)
