"""A worker walks the plan: other plans than the plain one are trained, stopped, resumed, shown."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from kdcore import plans
from kdcore.analysis.contenders import run_table
from kdcore.analysis.results import gain, load_results, summary
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StopRequested
from kdcore.storage.arrays import unpack
from kdcore.storage.store import Store
from kdcore.takeaway.report import html_report
from kdcore.training import teacher_logits
from kdcore.work import learners as work
from kdcore.work.experiment import run_experiment
from tests.plans.test_plan import two_teachers_and_generations

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = ExperimentConfig(
    teacher="mlp-32",
    student="mlp-8",
    teacher_epochs=2,
    epochs=3,
    seeds=2,
    training_examples=200,
    precision="float32",
)
STEPS = ["teacher", "teacher:2", "student", "baseline", "student:2"]


def test_two_teachers_and_two_generations_are_stored_resumed_and_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "plan_of", two_teachers_and_generations)
    whole, halting = store.create(CONFIG), store.create(CONFIG)
    run_experiment(store, whole, reuse="none")
    resumed = 0
    for allowed in (3, 8, 14, None):  # a stop in each part of the plan
        left = [allowed]

        def check(left: list[int | None] = left) -> None:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise StopRequested("stop")

        try:
            run_experiment(store, halting, reuse="none", check=check)
        except StopRequested:
            resumed += 1
    assert resumed == 3

    results = load_results(store, whole)
    assert list(results.steps) == STEPS
    places = [(link.step, link.seed) for link, _ in results.links]
    of_seeds = [(step, seed) for step in STEPS[2:] for seed in (0, 1)]
    assert places == [("teacher", 0), ("teacher:2", 1), *of_seeds]
    for (link, run), (_, other) in zip(
        results.links, load_results(store, halting).links, strict=True
    ):
        assert run.id != other.id, "the second experiment trained its own"
        assert run.fingerprint == other.fingerprint
        own, again = (store.artifact(f"logits/{each.id}/test") for each in (run, other))
        assert own is not None
        assert own == again, f"{link.step} is the same to the bit after stops"

    text = summary(store, whole)
    assert [name for name in text if name in STEPS] == STEPS
    assert [len(text[name]["accuracy"]) for name in STEPS] == [2] * 5
    paired = gain(store, results)
    assert paired is not None
    latest = [run.summary["test_accuracy"] for run in results.runs_of_step("student:2")]
    assert results.accuracies("student") == latest, "the last generation is what is compared"

    monkeypatch.setenv("KD_STORE", store.url)
    shown = CliRunner().invoke(main, ["show", whole, "--json"])
    assert shown.exit_code == 0, shown.output
    assert [name for name in json.loads(shown.output) if name in STEPS] == STEPS
    said = CliRunner().invoke(main, ["show", whole]).output
    assert [line.split()[0] for line in said.splitlines()[1:6]] == STEPS
    page = html_report(store, [whole])
    rows = [page.index(f"({step})") for step in ("teacher", "teacher:2", "student", "student:2")]
    assert rows == sorted(rows)

    table = run_table(store)
    mine = table[table["experiment"] == whole]
    assert sorted(mine["role"]) == ["baseline", "student", "teacher"]
    accuracy = mine.loc[mine["role"] == "student", "accuracy"].item()
    assert accuracy == pytest.approx(np.mean(latest))


def test_a_student_of_two_teachers_learns_from_the_mean_of_their_probabilities(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[np.ndarray] = []
    original = work.make_targets

    def remember(role, labels, labelled, answers, features):  # type: ignore[no-untyped-def]
        if role == "student":
            taught.append(np.asarray(answers))
        return original(role, labels, labelled, answers, features)

    monkeypatch.setattr(work, "make_targets", remember)
    monkeypatch.setattr(plans, "plan_of", two_teachers_and_generations)
    experiment = store.create(CONFIG.replace(seeds=1))
    run_experiment(store, experiment)
    results = load_results(store, experiment)

    def softened(step: str) -> np.ndarray:
        (run,) = results.runs_of_step(step)
        key = store.artifact_used_by(run.id, "teacher_logits/")
        assert key is not None
        data = store.artifact(key)
        assert data is not None
        return softmax(unpack(data))

    def softmax(logits: np.ndarray) -> np.ndarray:
        scaled = logits.astype(np.float64) / CONFIG.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    mean = (softened("teacher") + softened("teacher:2")) / 2
    first, second = taught
    np.testing.assert_allclose(softmax(first), mean, atol=1e-6)
    np.testing.assert_allclose(softmax(second), softened("student"), atol=1e-7)
    teacher_logits._latest.clear()


def test_a_learner_that_starts_from_a_step_begins_with_its_weights(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def continued(config: ExperimentConfig) -> plans.Plan:
        teacher, student, baseline = plain(config).steps
        later = dataclasses.replace(baseline, name="baseline:2", generation=2, start="student")
        return plans.Plan((teacher, student, baseline, later))

    plain = plans.plan_of
    monkeypatch.setattr(plans, "plan_of", continued)
    experiment = store.create(CONFIG.replace(seeds=1))
    run_experiment(store, experiment)
    results = load_results(store, experiment)
    (student,), (later,) = (results.runs_of_step(name) for name in ("student", "baseline:2"))
    probes, _ = store.probes([student.id, later.id])
    last = {run: logits for run, _, logits in probes if run == student.id}[student.id]
    first = next(logits for run, epoch, logits in probes if run == later.id and epoch == 0)
    np.testing.assert_array_equal(first, last)
