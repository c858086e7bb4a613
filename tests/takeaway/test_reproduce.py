"""An experiment as code: the script and the notebook train it again, and find the numbers that the
worker recorded.
"""

import ast
import json
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest
from click.testing import CliRunner

import kdcore
from kdcore.analysis.results import load_results, logits
from kdcore.cli.program import main, train
from kdcore.cli.sweep import _read, sweep
from kdcore.config.experiment import ExperimentConfig, all_settings, read_setting
from kdcore.config.presets import PRESETS
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.engine.jobs import run_job
from kdcore.storage.store import Store
from kdcore.takeaway.reproduce import command, notebook, script, settings, sweep_command
from kdcore.training.evaluation import weights_digest
from tests.support.browser import REPOSITORY

# Keras saves weights through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def store(trained_store_file: Path) -> Store:
    return Store(f"sqlite:///{trained_store_file}")


@pytest.fixture(scope="module")
def experiment(store: Store) -> str:
    return store.experiments()[-1][0].id


def test_the_script_finds_the_same_numbers_to_the_last_digit(
    store: Store, experiment: str, tmp_path: Path
) -> None:
    file = tmp_path / "again.py"
    file.write_text(script(store, experiment))
    compare = f"exec(open({str(file)!r}).read()); print({{role: outcome.accuracies(role) for role in recorded}} == recorded)"
    done = subprocess.run(
        [sys.executable, "-c", compare], capture_output=True, text=True, cwd=REPOSITORY, timeout=180
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[-1] == "True"
    results = load_results(store, experiment)
    assert (
        lines[1]
        == f"student: accuracy {results.accuracies('student')}, recorded {results.accuracies('student')}"
    )
    assert "100%" in done.stderr, "a bar on stderr"


def run_cells(cells: list[dict[str, Any]]) -> tuple[dict[str, Any], Any]:
    """Run code cells one after the other as a notebook does.

    Returns its variables and what the last cell shows.
    """
    names: dict[str, Any] = {}
    for cell in cells:
        tree = ast.parse(cell["source"])
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), names)
        shown = (
            eval(compile(ast.Expression(last.value), cell["id"], "eval"), names) if last else None
        )
    return names, shown


def test_the_notebook_is_valid_and_its_cells_find_the_same_models(
    store: Store, experiment: str
) -> None:
    made = nbformat.reads(notebook(store, experiment), as_version=4)
    nbformat.validate(made)
    assert made.cells[0].cell_type == "markdown"
    names, figure = run_cells([cell for cell in made.cells if cell.cell_type == "code"])
    assert isinstance(figure, go.Figure)
    assert len(figure.data) > 2
    outcome, results = names["outcome"], load_results(store, experiment)
    for run in results.runs("student"):
        np.testing.assert_array_equal(
            outcome.logits("student", seed=run.seed), logits(store, run, "test")
        )
    assert outcome.summary["gain"]["verdict"] == outcome.gain.verdict
    assert set(outcome.curves()["role"]) == {"teacher", "student", "baseline"}
    digests = {weights_digest(outcome.model(role)) for role in ("teacher", "student", "baseline")}
    assert len(digests) == 3
    folder = Path(outcome.store.url.removeprefix("sqlite:///")).parent
    assert folder.exists()
    names.clear()
    del outcome
    assert not folder.exists(), "the temporary store goes with the outcome"


def test_a_run_in_a_store_of_ones_own_is_kept_and_reused(
    trained_store: Store, experiment: str
) -> None:
    config = load_results(trained_store, experiment).config
    outcome = kdcore.run(config, store=trained_store, reuse="all", progress=False)
    assert trained_store.job(outcome.experiment_id).status == "finished"
    assert outcome.results.reused("student")
    assert outcome.accuracies("student") == load_results(trained_store, experiment).accuracies(
        "student"
    )


def test_a_run_that_an_idle_worker_takes_is_waited_for(
    trained_store: Store, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_elsewhere(url: str, job_id: str) -> None:
        threading.Thread(target=run_job, args=(url, job_id)).start()

    monkeypatch.setattr("kdcore.work.outcome.run_job", taken_elsewhere)
    config = load_results(trained_store, experiment).config
    outcome = kdcore.run(config, store=trained_store, reuse="all", progress=False)
    assert outcome.accuracies("student") == load_results(trained_store, experiment).accuracies(
        "student"
    )


def test_a_run_that_fails_says_why() -> None:
    config = ExperimentConfig(
        training_examples=100,
        labels=20,
        teacher="mlp-4",
        student="mlp-4",
        epochs=1,
        teacher_epochs=5,
        teacher_learning_rate=1.0,
        seeds=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "kdcore.data.datasets.load",
            lambda _config: (_ for _ in ()).throw(kdcore.DatasetError("no such data")),
        )
        with pytest.raises(kdcore.TrainingError, match="no such data"):
            kdcore.run(config, progress=False)


def test_settings_come_back_in_with_what_auto_meant(store: Store, experiment: str) -> None:
    result = CliRunner().invoke(
        main, ["--store", store.url, "reproduce", experiment, "--as", "json"]
    )
    config = ExperimentConfig.from_json(result.stdout)
    results = load_results(store, experiment)
    used = results.runs("teacher")[0].summary["precision"]
    assert config.precision == {"mixed_bfloat16": "bfloat16", "float32": "float32"}[used]
    assert config.replace(precision="auto") == results.config
    assert config == settings(results)
    printed = CliRunner().invoke(main, ["--store", store.url, "reproduce", experiment]).stdout
    assert printed == script(store, experiment)
    nbformat.validate(
        json.loads(
            CliRunner()
            .invoke(main, ["--store", store.url, "reproduce", experiment, "--as", "notebook"])
            .stdout
        )
    )
    refused = CliRunner().invoke(
        main, ["--store", store.url, "reproduce", experiment, "--as", "pdf"]
    )
    assert "as must be one of python, notebook, json, command, got 'pdf'" in refused.stderr


@pytest.mark.parametrize(
    "config",
    [
        ExperimentConfig(),
        ExperimentConfig(labels=None, temperature=3.5, student="mlp-16", teacher="mlp-64"),
        ExperimentConfig(method="hints", epochs=3, optimizer="adamw", weight_decay=0.01),
        ExperimentConfig(plan="assistant", assistants="conv-16-32,conv-8-16"),
        ExperimentConfig(dataset="languages", teacher="transformer-2-64", student="bag-16"),
        *(PRESETS[name] for name in PRESETS),
    ],
)
def test_the_command_of_an_experiment_means_the_same_settings(config: ExperimentConfig) -> None:
    words = shlex.split(command(config))
    assert words[:4] == ["python", "-m", "kdcore", "train"]
    given = train.make_context("train", words[4:]).params
    asked = {name: value for name, value in given.items() if name in all_settings() and value}
    read = {name: read_setting(name, value) for name, value in asked.items()}
    assert ExperimentConfig(**read) == config


def test_the_command_of_a_sweep_means_the_same_sweep() -> None:
    base = ExperimentConfig(labels=50, epochs=4, student="mlp-8")
    for config in (
        SweepConfig(base, (Axis("alpha", (0.1, 0.9)), Axis("temperature", (1.0, 4.0)))),
        SweepConfig(base, (Axis("alpha", low=0.1, high=0.9),), "tpe", trials=7, prune=True),
    ):
        words = shlex.split(sweep_command(config))
        assert words[3] == "sweep"
        given = sweep.make_context("sweep", words[4:]).params
        names = {name: value for name, value in given.items() if name in all_settings()}
        asked = _read(None, names, given["strategy"], given["trials"], given["prune"])
        assert asked.axes == config.axes
        assert asked.base.replace(alpha=0.5, temperature=2) == base.replace(
            alpha=0.5, temperature=2
        )
        assert (asked.strategy, asked.prune) == (config.strategy, config.prune)
