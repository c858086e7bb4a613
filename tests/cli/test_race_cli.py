"""``python -m kdcore race`` with real workers: the league table, its files, and tuned settings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import ConfigError
from kdcore.storage.store import Store
from kdcore.sweeps import race as races
from tests.conftest import TINY_CELL

SETTINGS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY_CELL.items()]

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


def test_a_race_and_a_tuned_one_give_their_league_tables(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/store.db", tmp_path / "race.csv"
    command = ["--store", url, "race", *SETTINGS, "--workers=1", "--json"]
    methods = "--methods=logits,dist,label_smoothing"
    done = CliRunner().invoke(main, [*command, methods, f"--output={file}"])
    assert done.exit_code == 0, done.output
    table = json.loads(done.stdout.splitlines()[-1])
    with file.open() as written:
        rows = {row["method"]: row for row in csv.DictReader(written)}
    assert set(rows) == {"logits", "dist", "label_smoothing"}
    assert rows["label_smoothing"]["needs"] == "labels"
    assert "logits, computed once" in rows["dist"]["needs"]
    assert float(rows["logits"]["step_cost"]) == 1
    assert float(rows["dist"]["step_cost"]) > 0
    assert "default settings" in table["settings"]
    accuracies = _test_accuracies(Store(url))
    for name, row in rows.items():
        own, plain = accuracies[name]["student"], accuracies["logits"]["student"]
        assert float(row["test_accuracy"]) == pytest.approx(sum(own) / len(own))
        expected = 100 * (sum(own) - sum(accuracies[name]["baseline"])) / len(own)
        assert float(row["over_baseline_mean"]) == pytest.approx(expected)
        if name != "logits":
            difference = 100 * (sum(own) - sum(plain)) / len(own)
            assert float(row["over_plain_mean"]) == pytest.approx(difference, abs=1e-6)

    tuned = CliRunner().invoke(main, [*command, "--methods=dist", "--trials=2"])
    assert tuned.exit_code == 0, tuned.output
    found = json.loads(tuned.stdout.splitlines()[-1])
    assert "tuned on validation data, 2 trials each, on a seed that is not in" in found["settings"]
    assert all("p_value_holm" in row for row in found["methods"])


def test_who_fails_is_named_and_the_others_are_compared(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    options = ["--teacher=conv-4-4", "--student=mlp-8", "--methods=logits,dist,hints"]
    done = CliRunner().invoke(
        main, ["--store", url, "race", *SETTINGS, *options, "--workers=1", "--json"]
    )
    assert done.exit_code == 1, done.output
    table = json.loads(done.stdout.splitlines()[-1])
    assert {row["method"] for row in table["methods"]} == {"logits", "dist"}
    assert table["missing"].startswith("Hints (FitNet) did not come to the end: ")
    assert "one has feature maps and the other vectors" in table["missing"]


def test_settings_of_a_method_in_a_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(ExperimentConfig(method="dist", alpha=0.9, seeds=2).to_json())
    url = f"sqlite:///{tmp_path}/store.db"
    done = CliRunner().invoke(main, ["--store", url, "race", "--config", str(file)])
    assert done.exit_code == 2
    assert "config must be one with the defaults of its method" in done.output


def _test_accuracies(store: Store) -> dict[str, dict[str, list[float]]]:
    """Return the test accuracies of all seeds, read anew, by method and role."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for experiment, _ in store.experiments():
        by_role = found.setdefault(ExperimentConfig(**experiment.config).method.name, {})
        for link, run in store.runs_of(experiment.id):
            if link.role in ("student", "baseline"):
                by_role.setdefault(link.role, {})[run.seed] = run.summary["test_accuracy"]
    return {
        name: {role: list(by_seed.values()) for role, by_seed in by_role.items()}
        for name, by_role in found.items()
    }


def test_trials_are_on_a_seed_that_the_race_does_not_use_and_as_many_for_each() -> None:
    base = ExperimentConfig(seed=3, seeds=5)
    for name in races.entrants(base):
        search = races.tuning_config(base, name, 8)
        if search is None:
            continue
        assert search.trials == 8
        assert search.base.seeds == 1
        assert search.base.seed not in range(3, 8)
        for axis in search.axes:
            value = getattr(search.base.method, axis.field)
            assert axis.low is not None
            assert axis.high is not None
            assert axis.low <= value <= axis.high, "the default is within reach"


def test_all_methods_are_those_that_fit_and_plain_distillation_is_always_there() -> None:
    base = ExperimentConfig()
    every = races.entrants(base)
    assert every[0] == "logits"
    assert "attention" in every
    assert "distillation_token" not in every, "the student is no transformer with such a token"
    assert races.entrants(base, "dist") == ["logits", "dist"]
    with pytest.raises(ConfigError, match="Distillation token"):
        races.entrants(base, "distillation_token")
    with pytest.raises(ConfigError, match="seeds must be at least 2"):
        races.race_config(base.replace(seeds=1), ["logits"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "nobody"], "method must be one of"),
        (["--trials", "1"], "trials must be 0, or from 2 to 1000, got 1"),
        (["--temperature", "3"], "temperature must be left out"),
        (["--method", "dist"], "method must be left out"),
        (["--output", "x.pdf"], "output must be a .csv or .md file"),
    ],
)
def test_what_a_race_cannot_be_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    done = CliRunner().invoke(main, ["--store", url, "race", *options])
    assert done.exit_code == 2
    assert message in done.output
