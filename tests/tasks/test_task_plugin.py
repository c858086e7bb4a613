"""A kind of data from outside is at home everywhere: one file, one registry line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from streamlit.testing.v1 import AppTest

from kdcore import run, tasks
from kdcore.analysis.candidates import candidate_names
from kdcore.analysis.results import examples, load_results, logits
from kdcore.cli.program import main
from kdcore.config.catalog import dataset_card, datasets, load_plugins, models_of
from kdcore.config.experiment import ExperimentConfig, starting_config
from kdcore.engine import predictions
from kdcore.errors import ConfigError
from kdcore.storage import user_data
from kdcore.storage.arrays import unpack_many
from kdcore.storage.store import Store
from tests.support import toy_task

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

tasks.TASKS.pop("volumes")  # others collect the registry's kinds when they are imported


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kind is registered, as ``KD_PLUGINS`` has it done."""
    monkeypatch.setenv("KD_PLUGINS", "tests.support.toy_task")
    load_plugins()
    tasks.register(toy_task.Volumes)
    yield
    tasks.TASKS.pop("volumes")


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """240 volumes of values from 0 to 8: of the second class the middle is bright."""
    generator = np.random.default_rng(4)
    labels = np.arange(240) % 2
    x = generator.random((240, 4, 4, 4, 1)) * 2
    x[labels == 1, 1:3, 1:3, 1:3] += 6
    x[0, 0, 0, 0] = 8
    np.savez(tmp_path / "v.npz", x=x, y=labels, class_names=np.array(["dark", "bright"]))
    return tmp_path / "v.npz"


def kdlab(store: Store, *words: object) -> Result:
    done = CliRunner().invoke(main, ["--store", store.url, *map(str, words)])
    assert done.exit_code == 0, done.output
    return done


def test_a_file_of_it_is_added_trained_on_and_shown(store: Store, volumes: Path) -> None:
    said = kdlab(store, "data", "add", "brains", volumes).output
    assert "volumes     240 with a depth of 4" in said
    card = dataset_card("brains")
    assert (card.kind, card.input_shape) == ("volumes", (4, 4, 4, 1))
    row = user_data.versions(store)[0]
    shown = unpack_many(store.artifact(f"{row.manifest['prefix']}/preview") or b"")
    assert shown["images"].shape[1:] == (4, 4, 1)

    config = starting_config(card.key)
    assert (config.teacher, config.student) == ("mlp-16", "mlp-8")
    assert candidate_names(config) == ["mlp-8", "mlp-4"]
    smaller = {"student": "mlp-4", "labels": 20, "epochs": 8, "teacher_epochs": 8, "seeds": 1}
    trained = ExperimentConfig(dataset=card.key, teacher="mlp-16", **smaller)
    run(trained, store=store, progress=False)
    results = load_results(store, store.experiments()[0][0].id)
    answers = logits(store, results.runs("student")[0], "test")
    test_examples = examples(store, results.runs("student")[0].summary["dataset"], "test")
    assert np.mean(answers.argmax(axis=1) == test_examples["labels"]) > 0.9
    listed = json.loads(kdlab(store, "data", "list", "--json").output)
    assert listed[0]["kind"] == "volumes"


def test_what_does_not_belong_to_it_is_refused(store: Store, volumes: Path) -> None:
    kdlab(store, "data", "add", "brains", volumes)
    assert all(name.startswith("mlp") for name in models_of(dataset_card("brains").task))
    for field, value, rule in (
        ("augmentation", "flips", "none for volumes"),
        ("student", "conv-4-8", "a model of dense layers, such as mlp-64: brains is volumes"),
    ):
        with pytest.raises(ConfigError) as refused:
            ExperimentConfig(
                dataset="brains", **{"teacher": "mlp-8", "student": "mlp-4", field: value}
            )
        assert any(
            problem.field == field and rule in problem.rule for problem in refused.value.problems
        )
    with pytest.raises(ConfigError, match="cannot be dropped as a picture"):
        predictions.from_image(dataset_card("brains"), b"")


def test_its_shape_rule_is_asked_and_a_taken_name_is_refused(store: Store, tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", x=np.ones((8, 4, 4, 4, 2)), y=np.arange(8) % 2)
    done = CliRunner().invoke(
        main, ["--store", store.url, "data", "add", "two", str(tmp_path / "c.npz")]
    )
    assert done.exit_code != 0
    assert "volumes of one channel" in done.output

    class Other(toy_task.Volumes):
        name = "table"

    with pytest.raises(ConfigError, match="one that is not taken, got 'table'"):
        tasks.register(Other)


def data_page(url: str) -> None:
    from kdcore.storage.store import Store
    from pages.data.view import draw

    draw(Store(url))


def test_without_the_plugin_its_data_is_named_and_not_offered(store: Store, volumes: Path) -> None:
    kdlab(store, "data", "add", "brains", volumes)
    key = user_data.versions(store)[0].key
    known = tasks.TASKS.pop("volumes")
    try:
        assert key not in datasets()
        with pytest.raises(ConfigError, match="KD_PLUGINS names, got 'volumes'"):
            ExperimentConfig(dataset=key, teacher="mlp-8", student="mlp-4", augmentation="flips")
        assert "brains" in kdlab(store, "data", "list").output
        page = AppTest.from_function(data_page, args=(store.url,), default_timeout=30).run()
        assert not page.exception
        assert page.button(key=f"data_train_{key}").disabled
        page.query_params["dataset"] = key
        page.run()
        assert not page.exception
        assert "names, got 'volumes'" in page.error[0].value
    finally:
        tasks.TASKS["volumes"] = known
