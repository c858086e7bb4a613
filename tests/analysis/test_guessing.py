"""A teacher that learnt nothing is told, one that learnt is not."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from kdcore.analysis.guessing import guessing_teachers
from kdcore.analysis.results import load_results
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from kdcore.work.outcome import run

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = ExperimentConfig(
    labels=50, teacher="mlp-16", student="mlp-4", teacher_epochs=4, epochs=1, seeds=1
)


@pytest.mark.parametrize(("rate", "guesses"), [(1e-9, True), (1e-2, False)])
def test_a_teacher_that_only_guesses_is_told_with_what_to_try(
    store: Store, rate: float, guesses: bool
) -> None:
    outcome = run(CONFIG.replace(teacher_learning_rate=rate), store=store, progress=False)
    said = guessing_teachers(store, load_results(store, outcome.experiment_id))
    assert bool(said) == guesses
    shown = CliRunner().invoke(main, ["--store", store.url, "show", outcome.experiment_id])
    assert ("has hardly anything to teach" in shown.output) == guesses
    if guesses:
        assert "mlp-16 has hardly anything to teach: it is right about" in said[0]
        assert "rate than 1e-09 may help" in said[0]
        told = CliRunner().invoke(
            main, ["--store", store.url, "show", outcome.experiment_id, "--json"]
        )
        assert json.loads(told.stdout.splitlines()[-1])["guessing_teachers"] == said
