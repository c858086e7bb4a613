"""The config checks itself, answers in one form, and survives a round trip."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdcore.config.catalog import DATASETS, models_of
from kdcore.config.experiment import ExperimentConfig, all_settings, older_value
from kdcore.config.families import MODEL_FAMILIES
from kdcore.config.presets import PRESET_SAYS, PRESETS, preset
from kdcore.errors import ConfigError
from kdcore.plans.several_teachers import SeveralTeachers


def configs_of(dataset: str) -> st.SearchStrategy[ExperimentConfig]:
    """Configs of a dataset with networks that learn its kind of data."""
    fitting = st.sampled_from(models_of(DATASETS[dataset].task))
    return st.builds(
        ExperimentConfig,
        dataset=st.just(dataset),
        labels=st.none() | st.integers(15, 1078),
        teacher=fitting,
        student=fitting,
        alpha=st.floats(0, 1),
        temperature=st.floats(0.01, 1000),
        epochs=st.integers(1, 10_000),
        learning_rate=st.floats(1e-6, 1),
        seed=st.integers(0, 2**31 - 1),
    )


configs = st.sampled_from(sorted(DATASETS)).flatmap(configs_of)


@given(configs)
@settings(deadline=None, max_examples=50)
def test_json_round_trip_keeps_config_and_fingerprint(config: ExperimentConfig) -> None:
    again = ExperimentConfig.from_json(config.to_json())
    assert again == config
    assert again.fingerprint() == config.fingerprint()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -1}, "temperature must be above 0, got -1"),
        ({"temperature": "warm"}, "temperature must be a number, got 'warm'"),
        ({"temperature": float("nan")}, "temperature must be a finite number, got nan"),
        ({"alpha": 1.5}, "alpha must be at most 1, got 1.5"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": 2.5}, "epochs must be a whole number, got 2.5"),
        ({"epochs": True}, "epochs must be a number, got True"),
        ({"alpha": b"0"}, "alpha must be a number or text, got b'0'"),
        (
            {"labels": 5},
            "labels must be from 10 (one a class) to 1,078, the training examples in use, got 5",
        ),
        (
            {"labels": 500, "training_examples": 200},
            "labels must be from 10 (one a class) to 200, the training examples in use, got 500",
        ),
        (
            {"dataset": "imagenet"},
            "dataset must be one of digits, mnist, fashion_mnist, cifar10, languages, imdb, got 'imagenet'",
        ),
        (
            {"student": "conv-16"},
            "student must be a name such as conv-4-8, mlp-16, resnet-8-8, vit-2-32, deit-2-32, transformer-1-32, bag-16, got 'conv-16'",
        ),
        (
            {"student": "conv-0-8"},
            "student must be a name with numbers from 1 to 4096, got 'conv-0-8'",
        ),
        (
            {"teacher": "resnet-9-4"},
            "teacher must be a resnet of depth 8, 14, 20, ... (6n+2), got 'resnet-9-4'",
        ),
        (
            {"temprature": 3},
            "setting must be one of the known settings (did you mean temperature?), got 'temprature'",
        ),
        (  # inside a method its own settings are meant
            {"method": {"name": "logits", "temprature": 3}},
            "setting must be one of the known settings (did you mean temperature?), got 'temprature'",
        ),
        (
            {"method": {"name": "logits", "batch_siz": 3}},
            "setting must be one of the known settings, got 'batch_siz'",
        ),
    ],
)
def test_a_bad_value_is_answered_with_rule_and_value(values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ExperimentConfig(**values)
    assert str(error.value) == message


def test_all_bad_values_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        ExperimentConfig(alpha=2, epochs=0, teacher="x")
    assert {problem.field for problem in error.value.problems} == {"alpha", "epochs", "teacher"}


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=8)
nested = st.lists(plain, max_size=2) | st.dictionaries(st.text(max_size=3), plain, max_size=2)
anything = plain | nested | st.lists(nested, max_size=2)


@given(st.dictionaries(st.sampled_from([*all_settings(), "nonsense", ""]), anything, max_size=4))
@settings(deadline=None, max_examples=400)
def test_whatever_comes_in_is_accepted_whole_or_refused_in_words(values: dict) -> None:
    try:
        config = ExperimentConfig(**values)
    except ConfigError as error:
        assert error.problems
        assert all(
            " must be " in str(problem) and ", got " in str(problem) for problem in error.problems
        )
    else:
        assert ExperimentConfig.from_json(config.to_json()) == config


@given(st.text() | st.binary() | anything.map(lambda value: json.dumps(value, default=str)))
@settings(deadline=None, max_examples=200)
def test_text_that_is_no_config_is_refused_in_words(text: str | bytes) -> None:
    try:
        ExperimentConfig.from_json(text)
    except ConfigError as error:
        assert error.problems


def test_fingerprints_follow_what_each_result_depends_on() -> None:
    config = ExperimentConfig()
    warmer = config.replace(temperature=2.0)
    assert warmer.fingerprint("teacher") == config.fingerprint("teacher")
    assert warmer.fingerprint("baseline") == config.fingerprint("baseline")
    assert warmer.fingerprint("student") != config.fingerprint("student")
    other_teacher = config.replace(teacher_seed=1)
    assert other_teacher.fingerprint("baseline") == config.fingerprint("baseline")
    assert other_teacher.fingerprint("student") != config.fingerprint("student")
    assert (
        len({config.fingerprint(role) for role in ("teacher", "student", "baseline", "experiment")})
        == 4
    )


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(Exception, match="frozen"):
        ExperimentConfig().alpha = 0.5  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    for name, field in all_settings().items():
        assert field.title, name
        assert field.description, name
        assert field.description.endswith("."), name


def test_every_preset_says_what_it_shows() -> None:
    assert list(PRESET_SAYS) == list(PRESETS)
    assert all(says.endswith(".") for says in PRESET_SAYS.values())
    assert preset("Few labels (digits)") == ExperimentConfig()
    with pytest.raises(ConfigError, match="preset must be one of Few labels"):
        preset("nothing")


def test_the_keras_example_is_a_preset() -> None:
    example = PRESETS["The Keras example (MNIST)"]
    assert (example.dataset, example.teacher, example.student) == (
        "mnist",
        "conv-256-512",
        "conv-16-32",
    )
    assert (example.alpha, example.temperature) == (0.1, 10)


def test_a_network_that_answers_otherwise_under_its_name_is_another_experiment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resnet = ExperimentConfig(teacher="resnet-8-8")
    several = ExperimentConfig(plan=SeveralTeachers(more_teachers="resnet-8-8"))
    now = {role: resnet.fingerprint(role) for role in ("teacher", "student", "experiment")}
    unchanged, of_several = resnet.fingerprint("baseline"), several.fingerprint()
    first = replace(MODEL_FAMILIES["resnet"], revision=1)
    monkeypatch.setitem(MODEL_FAMILIES, "resnet", first)
    assert all(resnet.fingerprint(role) != before for role, before in now.items())
    assert resnet.fingerprint("baseline") == unchanged, "it has nothing of the teacher's"
    assert several.fingerprint() != of_several


def test_settings_that_came_later_leave_older_experiments_as_they_were() -> None:
    """Fingerprints of the first release: at their defaults, later settings must not change them."""
    assert ExperimentConfig().fingerprint() == "d9f8c2997928364659ef81ad36f4ae6a"
    assert ExperimentConfig().fingerprint("teacher") == "528ed3fb58c9542ae7a7883203f492dd"
    assert ExperimentConfig().fingerprint("student") == "e74d0d51edc06e40d904f6225f7bd5c0"
    assert ExperimentConfig().fingerprint("baseline") == "cf94d96dc3a14dba48ab6965493b298a"
    old = {
        name: value
        for name, value in ExperimentConfig().model_dump().items()
        if older_value(name) is None
    }
    assert ExperimentConfig(**old) == ExperimentConfig()
    assert ExperimentConfig(augmentation="flips").fingerprint(
        "baseline"
    ) != ExperimentConfig().fingerprint("baseline")


def test_a_label_budget_that_nobody_typed_fits_the_data() -> None:
    assert ExperimentConfig().labels == 100
    assert ExperimentConfig(training_examples=60).labels == 60
    assert ExperimentConfig(dataset="mnist").labels == 2750
    assert ExperimentConfig(dataset="mnist", training_examples=1000).labels == 100
    assert ExperimentConfig(dataset="mnist", labels=None).labels is None
    with pytest.raises(ConfigError, match=r"labels must be from 10 .* got 5$"):
        ExperimentConfig(dataset="mnist", labels=5)


def test_a_page_says_it_in_words_and_not_in_names_of_settings() -> None:
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig(learning_rate=2, batch_size=None)
    said = [problem.on_a_page for problem in caught.value.problems]
    assert said == [
        "batch size must be a whole number, got nothing",
        "learning rate must be at most 1, got 2",
    ]
    assert "learning_rate must be at most 1, got 2" in str(caught.value), "the library names it"
