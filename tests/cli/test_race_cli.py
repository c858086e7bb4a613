"""``python -m kdcore race`` with real workers: the league table, its files, and tuned settings."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import event, update

from kdcore import sweeps
from kdcore.analysis.results import load_results
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.engine.choice import make_engine
from kdcore.engine.local import LocalEngine
from kdcore.errors import ConfigError
from kdcore.methods import METHODS
from kdcore.storage.schema import Job, JobStatus
from kdcore.storage.store import Store
from kdcore.sweeps import race as races
from kdcore.sweeps import results as sweep_results
from kdcore.sweeps.results import SweepResults
from kdcore.takeaway.reproduce import sweep_command
from tests.conftest import TINY_CELL
from tests.support.workers import end_workers

SETTINGS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY_CELL.items()]

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


def test_a_race_and_a_tuned_one_give_their_league_tables(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/store.db", tmp_path / "race.csv"
    command = ["--store", url, "race", *SETTINGS, "--workers=1", "--json"]
    methods = ["--methods=logits,dist,label_smoothing", "--settings=defaults"]
    done = CliRunner().invoke(main, [*command, *methods, f"--output={file}"])
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
    assert "Nothing to tune" not in found["settings"], "both have settings"
    _each_races_with_what_did_best_in_its_search(Store(url))
    _trials_that_failed_are_said(Store(url))


def _trials_that_failed_are_said(store: Store) -> None:
    (race,) = _tuned(store)
    for job in (race.tuning["logits"][0], *race.tuning["dist"]):
        _end(store, job.id, JobStatus.FAILED)
    (race,) = _tuned(store)
    said = races.league(store, race).settings
    assert "Plain distillation: 1 of its 2 trials failed." in said
    assert "(DIST): 2 of its 2 trials failed, so it has its defaults." in said


def _each_races_with_what_did_best_in_its_search(store: Store) -> None:
    (race,) = _tuned(store)
    assert {(cell.values or {})["method"] for cell in race.cells} == {"logits", "dist"}
    for cell in race.cells:
        method = (cell.values or {})["method"]
        trials = sweep_results.load(store, race.config.searches[method]).cells
        assert [trial.finished for trial in trials] == [True, True]
        best = max(trials, key=lambda trial: (trial.accuracy or 0, -trial.number))
        config = load_results(store, cell.id).config
        assert best.values == {name: config.get(name) for name in best.values or {}}
        assert config.seeds == 2
        assert load_results(store, best.id).config.seed not in range(config.seed, config.seed + 2)
        assert cell.job.started_at is not None
        assert all(
            trial.job.finished_at is not None and trial.job.finished_at <= cell.job.started_at
            for trial in trials
        )


def test_a_tuned_race_survives_the_death_of_all_that_is_at_work_on_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    command = ["--store", url, "race", *SETTINGS, "--methods=logits,dist", "--trials=2"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    at_work = subprocess.Popen([sys.executable, "-m", "kdcore", *command, "--workers=1"], **silent)
    store = Store(url)
    _wait(lambda: any(job.started_at for race in _tuned(store) for job in race.trials))
    at_work.kill()
    at_work.wait()
    end_workers(store)
    (race,) = _tuned(store)
    assert race.done == 0, "killed before the race itself"
    engine = make_engine(store, workers=1, idle_seconds=2.0)

    def is_over() -> bool:
        engine.tend()
        sweeps.tend(store, engine, race.sweep.id)
        return sweep_results.load(store, race.sweep.id).status != "running"

    sweeps.submit(store, engine, race.sweep.id)
    _wait(is_over)
    (race,) = _tuned(store)
    assert race.status == "finished"
    _each_races_with_what_did_best_in_its_search(store)
    assert "2 trials each" in races.league(store, race).settings


def _tuned(store: Store) -> list[SweepResults]:
    """Return the races of a store whose settings are tuned."""
    found = [each for each in sweeps.sweeps(store) if each.config.get("searches")]
    return [sweep_results.load(store, each.id) for each in found]


def _wait(ready: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_race_at_the_papers_settings_trains_with_them_and_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    options = ["--methods=logits,decoupled,attention", "--teacher=conv-4-4", "--student=conv-2-4"]
    command = ["--store", url, "race", *SETTINGS, *options, "--json", "--workers=1"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])["settings"]
    assert "its paper's settings" in said
    assert "Decoupled distillation: Warm-up epochs 20" in said
    assert (
        "Attention transfer: Alpha 0.5, Weight of plain distillation 0, Weight of attention 1,000"
        in said
    )
    store = Store(url)
    trained = [ExperimentConfig(**each.config).method for each, _ in store.experiments()]
    by_name = {method.name: method.values() for method in trained}
    attention = {name: by_name["attention"][name] for name in METHODS["attention"].papers}
    assert attention == {"alpha": 0.5, "kd_weight": 0, "weight": 1000}
    assert by_name["decoupled"]["warm_up_epochs"] == 20
    race = sweeps.sweeps(store)[0]
    again = shlex.split(sweep_command(SweepConfig.from_dict(race.config)))
    assert again[:4] == ["python", "-m", "kdcore", "race"]
    repeated = CliRunner().invoke(main, ["--store", url, *again[3:], "--workers=1"])
    assert repeated.exit_code == 0, repeated.output
    assert "no model to train (9 more are trained already)" in repeated.output


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
        races.Race(base.replace(seeds=1), ("logits",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "nobody"], "method must be one of"),
        (["--trials", "1"], "trials must be from 2 to 1,000, got 1"),
        (["--settings", "mine"], "settings must be one of papers, defaults, tuned, got 'mine'"),
        (["--settings", "papers", "--trials", "4"], "trials must be left out"),
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


def test_more_methods_of_a_race_at_the_papers_settings_have_their_papers_too() -> None:
    base = ExperimentConfig(seeds=2, teacher="conv-4-4", student="conv-2-4")
    config = races.Race(base, ("logits", "dist")).config()
    more = races.widened(config, 2, (Axis("method", ("logits", "dist", "attention")),), 2)
    assert more.cell({"method": "attention"}).get("weight") == 1000
    plain = races.Race(base, ("logits", "dist"), "defaults").config()
    more = races.widened(plain, 2, (Axis("method", ("logits", "dist", "attention")),), 2)
    assert more.cell({"method": "attention"}).get("weight") == 10


def test_a_stored_race_keeps_the_settings_that_it_was_given() -> None:
    base = ExperimentConfig(seeds=2, teacher="conv-4-4", student="conv-2-4")
    config = SweepConfig(
        base,
        (Axis("method", ("logits", "attention")),),
        method_settings={"attention": {"weight": 500.0}},
    )
    read = SweepConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    more = races.widened(read, 2, (Axis("method", ("logits", "attention", "similarity")),), 2)
    assert more.cell({"method": "attention"}) == config.cell({"method": "attention"})
    assert more.cell({"method": "attention"}).get("weight") == 500
    assert more.cell({"method": "similarity"}).get("weight") == 3000


def test_a_trial_that_failed_is_met_by_its_end_and_one_that_was_stopped_is_not(
    tmp_path: Path,
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    base = ExperimentConfig(**{**TINY_CELL, "seeds": 2})
    sweep_id = races.create(store, races.Race(base, ("logits", "dist"), "tuned", 2))
    race = sweep_results.load(store, sweep_id)
    assert race.counted == "settings are tuned: 0 of 4 trials · 0 of 2 cells"
    for _, job in race.shared:
        _end(store, job.id, JobStatus.FINISHED)
    for trials in race.tuning.values():
        _end(store, trials[0].id, JobStatus.FAILED)
        _end(store, trials[1].id, JobStatus.STOPPED)
    assert sweep_results.load(store, sweep_id).status == "stopped"
    assert not {job.id for job in _ready(store)} & {cell.id for cell in race.cells}
    for trials in race.tuning.values():
        _end(store, trials[1].id, JobStatus.FINISHED)
    assert sweep_results.load(store, sweep_id).status == "running"
    assert {job.id for job in _ready(store)} == {cell.id for cell in race.cells}


def _end(store: Store, job_id: str, status: JobStatus) -> None:
    with store.writing() as session:
        session.execute(update(Job).where(Job.id == job_id).values(status=status.value))


def _ready(store: Store) -> list[Job]:
    """Return the jobs that a worker would be given, one after another."""
    found = []
    while (job := store.claim("somebody")) is not None:
        found.append(job)
    return found


def test_a_poll_asks_no_more_often_for_more_methods(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    base, asked = ExperimentConfig(**{**TINY_CELL, "seeds": 2}), []
    event.listen(store._engine, "before_cursor_execute", lambda *_: asked.append(1))

    def questions(*methods: str) -> int:
        sweep_id = races.create(store, races.Race(base, methods, "tuned", 2))
        asked.clear()
        assert len(sweep_results.load(store, sweep_id).tuning) == len(methods)
        sweeps.tend(store, LocalEngine(store), sweep_id)
        return len(asked)

    assert questions("logits", "dist") == questions("logits", "dist", "decoupled", "hard_labels")
