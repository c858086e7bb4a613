"""A method from outside is at home everywhere: one file, one registry line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import streamlit
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from kdcore.analysis.comparison import compare, settings_in_words
from kdcore.analysis.curves import Curves
from kdcore.analysis.results import load_results, logits
from kdcore.cli.program import main
from kdcore.config.catalog import load_plugins
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig, title_of, variable_fields
from kdcore.engine.local import LocalEngine
from kdcore.errors import ConfigError, StopRequested
from kdcore.methods import METHODS
from kdcore.storage.arrays import unpack_many
from kdcore.storage.store import Store
from kdcore.takeaway.model_card import model_card
from kdcore.takeaway.report import html_report as report
from kdcore.training import kept_loops
from kdcore.training.evaluation import model_from_bytes
from kdcore.work.experiment import run_experiment
from tests.support import toy_method

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "teacher": "mlp-8",
    "teacher_epochs": 1,
    "student": "mlp-4",
    "training_examples": 70,
    "labels": 40,
    "batch_size": 32,
    "epochs": 2,
    "seeds": 1,
}
# Others collect the registry's methods when they are imported: this one is there for its own tests.
METHODS.pop("toy")


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy method is registered, as ``KD_PLUGINS`` has it done."""
    monkeypatch.setenv("KD_PLUGINS", "tests.support.toy_method")
    load_plugins()
    METHODS["toy"] = toy_method.Toy
    kept_loops._kept.clear()
    yield
    kept_loops._kept.clear()
    METHODS.pop("toy")


def toy(**settings: object) -> ExperimentConfig:
    return ExperimentConfig(**{**TINY, "method": "toy", **settings})


def student_logits(store: Store, experiment: str) -> np.ndarray:
    return logits(store, load_results(store, experiment).runs("student")[0], "test")


def test_its_setting_is_an_option_an_axis_and_part_of_the_json() -> None:
    words = " ".join(CliRunner().invoke(main, ["train", "--help"]).stdout.split())
    assert "--bend" in words
    assert "How much the teacher's logits are bent." in words
    assert "toy" in words
    assert "bend" in variable_fields()
    assert title_of("bend") == "Bend of the toy"
    sweep = SweepConfig(toy(), (Axis.parse("bend", "0.5,2"), Axis.parse("alpha", "0.1,0.9")))
    assert [sweep.cell(values).get("bend") for values in sweep.combinations()] == [0.5, 0.5, 2, 2]
    config = toy(bend=2)
    assert json.loads(config.to_json())["bend"] == 2
    assert ExperimentConfig.from_json(config.to_json()) == config
    assert config.fingerprint("student") != toy().fingerprint("student")
    assert config.fingerprint("baseline") == ExperimentConfig(**TINY).fingerprint("baseline")
    with pytest.raises(ConfigError, match="bend must be at most 10, got 11"):
        toy(bend=11)
    with pytest.raises(ConfigError, match="bend must be left out: Plain distillation has no such"):
        ExperimentConfig(bend=2)


def has_temperature(app: AppTest) -> bool:
    drawn = app.get("bidi_component")
    return any(each.proto.id.endswith("train_temperature_slider") for each in drawn)


def test_it_is_drawn_with_its_own_settings_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_STORE", store.url)
    monkeypatch.setattr(LocalEngine, "warm", lambda self: None)
    monkeypatch.setattr(LocalEngine, "_start_worker", lambda self, pool: None)
    streamlit.cache_resource.clear()
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=30).run()
    assert has_temperature(app)
    app.selectbox(key="train_method").set_value("toy").run()
    assert not app.exception
    assert app.number_input(key="train_bend").value == 1.0
    assert app.slider(key="train_alpha").value == 0.3
    assert not has_temperature(app)
    assert any(r"W z^s" in each.value for each in app.latex)
    streamlit.cache_resource.clear()


def test_compare_report_and_model_card_name_it(store: Store) -> None:
    plain, own = store.create(ExperimentConfig(**TINY)), store.create(toy(bend=2))
    for experiment in (plain, own):
        run_experiment(store, experiment, reuse="teacher")
    found = compare(store, [f"{plain}:student", f"{own}:student"])
    differing = dict(settings_in_words(found.settings_that_differ()))
    assert differing["Method"] == ["logits", "toy"]
    assert "Toy distillation" in report(store, [own])
    assert "Bend of the toy" in report(store, [own])
    assert "Toy distance over epochs" in report(store, [own])
    student = load_results(store, own).runs("student")[0]
    card = model_card(store, student, [])
    assert "Toy distillation" in card
    assert "bend 2" in card
    curves = Curves()
    curves.read_on(store, load_results(store, own))
    measured = curves.metrics[curves.metrics["role"] == "student"]["toy_distance"].dropna()
    assert len(measured) >= 2
    assert np.isfinite(measured).all()


def test_its_layer_trains_and_does_not_leave_with_the_student(store: Store) -> None:
    saved: list[list[np.ndarray]] = []
    config = toy(epochs=3)
    experiment = store.create(config)

    def stop(_seed: int, _epoch: int, _accuracy: float) -> None:
        raise StopRequested("at each epoch's end")

    for _ in range(2):
        with pytest.raises(StopRequested):
            run_experiment(store, experiment, watch=stop)
        run = next(run for link, run in store.runs_of(experiment) if link.role == "student")
        checkpoint = store.artifact(f"checkpoint/{run.id}")
        assert checkpoint is not None
        saved.append(
            [value for value in unpack_many(checkpoint).values() if value.shape == (10, 10)]
        )
    # The layer's kernel, and Adam's two moments of it.
    assert [len(arrays) for arrays in saved] == [3, 3]
    assert not any(np.array_equal(a, b) for a, b in zip(*saved, strict=True))
    run_experiment(store, experiment)
    whole = store.create(config)
    run_experiment(store, whole, reuse="teacher")
    (
        np.testing.assert_array_equal(
            student_logits(store, experiment), student_logits(store, whole)
        ),
        "stopped twice and resumed to the bit",
    )
    data = store.artifact(f"model/{run.id}")
    assert data is not None
    model = model_from_bytes(data)
    assert isinstance(model, keras.Model)
    assert not any("toy" in layer.name for layer in model.layers)
    assert model.count_params() == 64 * 4 + 4 + 4 * 10 + 10


def test_nothing_of_it_leaks_from_one_cell_into_the_next(store: Store) -> None:
    anew = store.create(toy(seed=5, bend=2))
    run_experiment(store, anew, reuse="teacher")
    kept_loops._kept.clear()
    run_experiment(store, store.create(toy(seed=1)), reuse="teacher")
    assert kept_loops._kept, "its loop waits for the next cell"
    next_cell = store.create(toy(seed=5, bend=2))
    run_experiment(store, next_cell, reuse="teacher")
    np.testing.assert_array_equal(student_logits(store, next_cell), student_logits(store, anew))


def test_an_experiment_of_a_method_that_is_not_loaded_is_still_listed(store: Store) -> None:
    experiment = store.create(toy())
    stored = store.experiment(experiment).config
    METHODS.pop("toy")
    try:
        assert "a method that is not loaded" in ExperimentConfig.unchecked(stored).describe()
        with pytest.raises(ConfigError, match=r"method must be one of logits, .*, got 'toy'"):
            ExperimentConfig(**stored)
    finally:
        METHODS["toy"] = toy_method.Toy
