"""DistilBERT as a plan: what starts where, who is measured on what, stopped and resumed to the
bit; and that nobody's pre-training sees a label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from kdcore import plans
from kdcore.analysis import library
from kdcore.analysis.curves import Curves
from kdcore.analysis.masked_words import guesses, riddle
from kdcore.analysis.results import gain_between, lineage, load_results, logits, summary
from kdcore.cli.program import main, without_test_data
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import ConfigError, StopRequested
from kdcore.storage.store import Store
from kdcore.takeaway.report import html_report
from kdcore.training.evaluation import model_from_bytes
from kdcore.work.experiment import _in_words, run_experiment
from kdcore.work.outcome import run

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MODELS = ("language model", "distilled language model", "own language model")


def config(**changed: Any) -> ExperimentConfig:
    return ExperimentConfig(
        **{
            "dataset": "languages",
            "plan": "distilbert",
            "training_examples": 600,
            "labels": 150,
            "teacher": "transformer-2-32",
            "student": "transformer-1-32",
            "pretraining_epochs": 2,
            "teacher_epochs": 1,
            "epochs": 1,
            "seeds": 2,
            "batch_size": 50,
            "teacher_batch_size": 50,
            **changed,
        }
    )


def weights(store: Store, run_id: str, layer: str = "encoder") -> list[np.ndarray]:
    data = store.artifact(f"model/{run_id}")
    assert data is not None
    return list(model_from_bytes(data).get_layer(layer).get_weights())


def test_the_plan_is_two_language_models_and_what_starts_from_them() -> None:
    plan = plans.plan_of(config(teacher="transformer-4-32", student="transformer-2-32"))
    assert plan.names == (
        "language model",
        "teacher",
        "distilled language model",
        "own language model",
        "pre-trained alone",
        "student",
        "baseline",
    )
    steps = {step.name: step for step in plan.steps}
    taught = steps["distilled language model"].pretraining
    assert taught is not None
    assert (taught.layers, taught.distillation, taught.masked, taught.hidden) == ((0, 2), 5, 2, 1)
    assert steps["teacher"].start == "language model"
    assert steps["student"].start == "distilled language model"
    assert plan.rounds(plan.steps) == [
        (steps["pre-trained alone"], steps["student"], steps["baseline"])
    ]
    assert plan.needed(["baseline"]) == tuple(
        steps[name] for name in ("own language model", "pre-trained alone", "baseline")
    )
    (together,) = plan.rounds(plan.steps)
    said = _in_words(together)
    assert said == "pre-trained alone and student and baseline transformer-2-32"


def test_a_language_model_depends_on_its_own_settings_alone() -> None:
    plain = config()
    plan = plans.plan_of(plain)
    for changed, same in [
        ({"alpha": 0.9}, MODELS),
        ({"labels": 300}, MODELS),
        ({"hidden_weight": 0}, ("language model", "own language model")),
        ({"layer_start": "off"}, ("language model", "own language model")),
        ({"pretraining_epochs": 3}, ()),
        ({"mask": 0.3}, ()),
    ]:
        other = plain.replace(**changed)
        found = [
            name
            for name in MODELS
            if plan.fingerprint(plain, name) == plans.plan_of(other).fingerprint(other, name)
        ]
        assert tuple(found) == tuple(same), changed
    assert plans.plan_of(plain.replace(alpha=0.9)).fingerprint(
        plain.replace(alpha=0.9), "student"
    ) != plan.fingerprint(plain, "student")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"teacher": "bag-16"}, "teacher must be a transformer of texts"),
        ({"student": "bag-16"}, "student must be a transformer of width 32"),
        ({"student": "transformer-1-48"}, "student must be a transformer of width 32"),
        ({"student": "transformer-4-32"}, "at most 2 layers"),
        ({"layers": "3"}, "layers must be empty, or 1 numbers from 1 to 2, got '3'"),
        ({"mask": 0}, "mask must be above 0, got 0"),
        (
            {"token_weight": 0, "masked_weight": 0, "hidden_weight": 0},
            "masked_weight must be above 0",
        ),
        ({"dataset": "digits", "labels": 50}, "teacher must be a network for images"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**changed)


def test_each_step_starts_where_the_plan_says_and_no_label_reaches_a_language_model(
    store: Store,
) -> None:
    settings = config(epochs=1, teacher_epochs=1, learning_rate=1e-9, teacher_learning_rate=1e-9)
    dataset = datasets.load(settings)
    outcome = run(settings, store=store, progress=False)
    runs = {link.step: one for link, one in outcome.results.links if link.seed == 0}
    # With steps of almost no length all end where they began.
    for step, start in [
        ("teacher", "language model"),
        ("student", "distilled language model"),
        ("pre-trained alone", "own language model"),
    ]:
        for one, two in zip(
            weights(store, runs[step].id), weights(store, runs[start].id), strict=True
        ):
            np.testing.assert_allclose(one, two, atol=1e-5)
    teacher, student = (
        model_from_bytes(store.artifact(f"model/{runs[name].id}") or b"").get_layer("encoder")
        for name in ("language model", "distilled language model")
    )
    for one, two in zip(
        student.get_layer("transformer_layer_0").get_weights(),
        teacher.get_layer("transformer_layer_0").get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, atol=1e-5)
    original = dataset.train.labels.copy()
    dataset.train.labels[:] = (original + 1) % 15
    try:
        again = Store(f"{store.url.removesuffix('.db')}-2.db")
        twisted = run(settings, store=again, progress=False)
    finally:
        dataset.train.labels[:] = original
    others = {link.step: one for link, one in twisted.results.links if link.seed == 0}
    for name in MODELS:
        for one, two in zip(
            weights(store, runs[name].id), weights(again, others[name].id), strict=True
        ):
            np.testing.assert_array_equal(one, two)


def test_it_is_trained_measured_shown_stopped_and_resumed_to_the_bit(
    store: Store, tmp_path: Any
) -> None:
    outcome = run(config(), store=store, progress=False)
    results = outcome.results
    said = summary(store, outcome.experiment_id)
    for name in MODELS:
        assert said[name]["test_masked_loss"] < np.log(said[name]["parameters"])
        assert 0 < said[name]["test_masked_accuracy"] < 1
    assert said["seconds"]["pretraining"] > 0
    assert len(said["pre-trained alone"]["accuracy"]) == 2
    assert [each.step.name for each in lineage(store, results)] == [
        "teacher",
        "pre-trained alone",
        "student",
    ]
    paired = gain_between(
        store, results.runs_of_step("student"), results.runs_of_step("pre-trained alone")
    )
    assert paired is not None
    assert paired.n == 2
    over = {each.step.name: each.gain_of_student for each in lineage(store, results)}
    assert over == {"teacher": None, "pre-trained alone": paired, "student": None}
    assert said["gains_over_baselines"]["pre-trained alone"]["mean"] == paired.mean
    curves = Curves()
    assert curves.read_on(store, results)
    assert curves.pretraining is not None
    assert set(curves.pretraining.metrics["role"]) == set(MODELS)
    assert set(curves.metrics["role"]) == {"teacher", "student", "baseline"}
    vocabulary = datasets.load(config()).vocabulary
    assert vocabulary is not None
    asked = riddle("Dänemark", vocabulary)
    assert asked.before + asked.answer + asked.after == "Dänemark"
    found = guesses(curves.pretraining.probes["language model", 0][2][0], vocabulary)
    assert found == sorted(found, key=lambda pair: -pair[1])
    report = html_report(store, [outcome.experiment_id])
    assert "pre-trained alone" in report
    assert f"{said['distilled language model']['test_masked_loss']:.3f}</td>" in report

    other = Store(f"sqlite:///{tmp_path}/other.db")
    halting = other.create(config())
    stops = 0
    for allowed in (2, 9, 14, None):
        left = [allowed]

        def check(left: list[int | None] = left) -> None:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise StopRequested("stop")

        try:
            run_experiment(other, halting, reuse="none", check=check)
        except StopRequested:
            stops += 1
    assert stops == 3
    resumed = load_results(other, halting)
    for step in plans.plan_of(config()).steps:
        for one, two in zip(
            results.runs_of_step(step.name), resumed.runs_of_step(step.name), strict=True
        ):
            for mine, its in zip(weights(store, one.id), weights(other, two.id), strict=True):
                np.testing.assert_array_equal(mine, its)
            if step.pretraining is None:
                np.testing.assert_array_equal(
                    logits(store, one, "test"), logits(other, two, "test")
                )


def test_language_models_serve_again_and_go_with_their_experiment(store: Store) -> None:
    first = run(config(seeds=1), store=store, progress=False)
    second = run(config(seeds=1, alpha=0.5), store=store, progress=False, reuse="teacher")
    assert all(second.results.reused(name) for name in (*MODELS, "teacher"))
    assert not second.results.reused("student")
    heads = [
        f"language_model_head/{one.id}"
        for name in MODELS
        for one in first.results.runs_of_step(name)
    ]
    assert all(store.has_artifact(key) for key in heads)
    for outcome in (first, second):
        library.delete_experiments(store, [outcome.experiment_id])
    library.purge(store, [first.experiment_id, second.experiment_id])
    assert not any(store.has_artifact(key) for key in heads)


def test_the_command_line_says_how_well_words_are_guessed(store: Store) -> None:
    outcome = run(config(seeds=1), store=store, progress=False)
    shown = CliRunner().invoke(main, ["--store", store.url, "show", outcome.experiment_id])
    assert shown.exit_code == 0, shown.output
    for name in MODELS:
        assert any(
            line.strip().startswith(name) and "nats a masked token" in line
            for line in shown.output.splitlines()
        )
    hidden = without_test_data(outcome.summary)
    assert all(hidden[name]["test_masked_loss"] is None for name in MODELS)
    assert all(hidden[name]["validation_masked_loss"] is not None for name in MODELS)
