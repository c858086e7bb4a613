"""An experiment as code: the script and the notebook train it again, and find the numbers that the
worker recorded.
"""

import ast
import json
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
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import run_job
from kdcore.storage.store import Store
from kdcore.takeaway.reproduce import notebook, script, settings
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
    assert "as must be one of python, notebook, json, got 'pdf'" in refused.stderr
