"""More models than fit side by side: the best first, and which are told from it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from kdcore.analysis.contenders import find_contenders
from kdcore.analysis.ranking import rank
from kdcore.cli.program import main
from kdcore.errors import ConfigError
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.sweeps import planning
from kdcore.sweeps import results as sweep_results
from tests.conftest import copy_of


@pytest.fixture(scope="module")
def store(swept_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{copy_of(swept_store_file, tmp_path_factory.mktemp('ranking'))}")


@pytest.fixture(scope="module")
def cells(store: Store) -> list[str]:
    sweep = sweep_results.load(store, planning.sweeps(store)[0].id)
    runs = [run.id for run in store.finished_runs("student")]  # one by one as well
    return [*runs, *(cell.id for cell in sweep.cells)]


def test_the_best_comes_first_and_every_model_once(store: Store, cells: list[str]) -> None:
    contenders = find_contenders(store, cells, most=200)
    assert len(contenders) > 6
    ranked = rank(contenders)
    accuracies = [each.accuracy for each in ranked.standings]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(ranked.standings) + len(ranked.untrained) == len(contenders)
    for each in ranked.standings:
        measured = [run.summary["test_accuracy"] for run in each.contender.trained]
        assert each.accuracy == pytest.approx(np.mean(measured))
        assert each.interval[0] <= each.accuracy <= each.interval[1]
        assert f"@{'0' * 3}" not in each.name
    assert f"Best of {len(ranked.standings)} on {ranked.test_examples:,} test" in ranked.words
    with pytest.raises(ConfigError, match=r"models must be from 2 to 6, each another one"):
        find_contenders(store, cells)
    with pytest.raises(ConfigError, match="models must be at least one, got 0"):
        rank([])


def model(name: str, accuracies: dict[int, float], role: str = "student") -> Any:
    runs = tuple(
        SimpleNamespace(
            seed=seed,
            parameters=10,
            summary={
                "test_accuracy": value,
                "test_examples": 400,
                "test_correct": round(400 * value),
            },
        )
        for seed, value in accuracies.items()
    )
    return SimpleNamespace(
        id=name,
        role=role,
        trained=runs,
        runs=runs,
        experiment=SimpleNamespace(id=name, name=name),
        single=False,
        step="",
        model="mlp-4",
        settings={},
    )


def test_only_what_seeds_or_intervals_show_is_told_from_the_best() -> None:
    seeds = range(5)
    best = model("best", {seed: 0.9 + 0.002 * seed for seed in seeds})
    near = model("near", {seed: 0.9 + 0.002 * ((seed + 3) % 5) - 0.001 for seed in seeds})
    worse = model("worse", {seed: 0.8 + 0.002 * seed for seed in seeds})
    far = model("far", {99: 0.3})
    close = model("close", {99: 0.89})
    ranked = rank([far, near, close, best, worse])
    told = {each.contender.id: each.told_from_best for each in ranked.standings}
    assert told == {"best": False, "near": False, "close": False, "worse": True, "far": True}
    assert "2 of the 4 others cannot be told from it" in ranked.words


def test_the_command_ranks_many_and_keeps_test_data_of_an_open_sweep_back(
    store: Store, cells: list[str]
) -> None:
    done = CliRunner().invoke(main, ["--store", store.url, "compare", *cells])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("  1  ")
    assert "Best of " in done.output
    with store.writing() as session:
        from kdcore.storage.schema import Job

        session.get_one(Job, cells[-1]).status = JobStatus.STOPPED.value
    refused = CliRunner().invoke(main, ["--store", store.url, "compare", *cells])
    assert refused.exit_code != 0
    assert "without a winner yet" in refused.output + refused.stderr
    shown = CliRunner().invoke(main, ["--store", store.url, "compare", *cells, "--test-anyway"])
    assert shown.exit_code == 0
    cell = cells[-2]
    hidden = CliRunner().invoke(main, ["--store", store.url, "show", cell, "--json"])
    told = json.loads(hidden.output)
    assert told["student"]["accuracy"] == []
    assert told["gain"] is None
    assert len(told["student"]["validation_accuracy"]) > 0
    assert "validation data until then" in told["test_data"]
    shown = CliRunner().invoke(
        main, ["--store", store.url, "show", cell, "--test-anyway", "--json"]
    )
    assert len(json.loads(shown.output)["student"]["accuracy"]) > 0
    refused = CliRunner().invoke(main, ["--store", store.url, "report", cell, "--html", "x.html"])
    assert "--test-anyway shows it" in refused.output + refused.stderr
