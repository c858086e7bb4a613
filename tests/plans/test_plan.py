"""Who teaches whom, and what a run depends on."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kdcore import plans
from kdcore.config.experiment import (
    BASELINE_FIELDS,
    STUDENT_FIELDS,
    TEACHER_FIELDS,
    ExperimentConfig,
)
from kdcore.config.families import MODEL_FAMILIES
from kdcore.config.presets import PRESETS
from kdcore.errors import ConfigError
from kdcore.plans import Plan, Step, plan_of

# As version 0.1.0 worked them out: of teacher, student, baseline and the whole experiment.
RECORDED: list[tuple[ExperimentConfig, tuple[str, str, str, str]]] = [
    (
        ExperimentConfig(),
        (
            "528ed3fb58c9542ae7a7883203f492dd",
            "e74d0d51edc06e40d904f6225f7bd5c0",
            "cf94d96dc3a14dba48ab6965493b298a",
            "d9f8c2997928364659ef81ad36f4ae6a",
        ),
    ),
    (
        PRESETS["The Keras example (MNIST)"],
        (
            "a4759b7f59a5bec99e18be4d152056d5",
            "fa87021ff574fabba423770e4a23e153",
            "d860bad55b17b999e18ee7e7c5ab93e7",
            "651942c527800b5c95fcded8459304c6",
        ),
    ),
    (
        ExperimentConfig(student="mlp-16", teacher="mlp-64", augmentation="flips", seed=3),
        (
            "2de16f1ce900346914cf8c8fb83e89c8",
            "d22b61584c88dadfdf5d65dd7dc697c0",
            "78ce9dc5b9f3706a7eb2fde87788e30e",
            "17462fb012746fddd1fe4e3bce2ebd7d",
        ),
    ),
    (
        ExperimentConfig(
            labels=None,
            alpha=1,
            temperature=4,
            training_examples=500,
            split_seed=2,
            teacher_seed=5,
            precision="float32",
        ),
        (
            "38c27343c6981eb9d48483b2d34eb408",
            "a837353b63fb4b988af9872b9d1a0ff7",
            "2e585437b05590fcfa24c4c2b9e3e35e",
            "8356d18cd7c138c92deeb7fcfd8d4d39",
        ),
    ),
    (
        ExperimentConfig(
            dataset="cifar10", teacher="resnet-20-16", student="resnet-8-8", labels=1000, seeds=5
        ),
        (
            "052a2018140e3c8c0dee511d60fa3244",
            "a408aef564395611291fa515f763a71e",
            "1a277516bde01eb75a2d37a22ba49dca",
            "91569e0663aafa54eeb427fc167aa25e",
        ),
    ),
]


def two_teachers_and_generations(config: ExperimentConfig) -> Plan:
    """Two teachers, the student of both, and one that this student teaches in turn."""
    teacher, student, baseline = plan_of(config).steps
    second = dataclasses.replace(teacher, name="teacher:2", seed=config.teacher_seed + 1)
    taught = dataclasses.replace(student, taught_by=("teacher", "teacher:2"))
    later = dataclasses.replace(
        student, name="student:2", generation=2, taught_by=("student",), noise="none"
    )
    return Plan((teacher, second, taught, baseline, later))


@pytest.mark.parametrize(("config", "recorded"), RECORDED)
def test_no_stored_run_is_orphaned(
    config: ExperimentConfig, recorded: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # But those of residual networks, which answer otherwise since.
    first = dataclasses.replace(MODEL_FAMILIES["resnet"], revision=1)
    monkeypatch.setitem(MODEL_FAMILIES, "resnet", first)
    names = ("teacher", "student", "baseline", "experiment")
    assert tuple(config.fingerprint(name) for name in names) == recorded


def test_the_plain_plan_is_a_teacher_its_student_and_the_baseline() -> None:
    config = ExperimentConfig(labels=200, augmentation="shifts", teacher_seed=4)
    plan = plans.plan_of(config)
    assert plan.names == ("teacher", "student", "baseline")
    teacher, student, baseline = plan.steps
    assert (teacher.network, teacher.seed, teacher.taught_by) == ("conv-64-128", 4, ())
    assert (student.taught_by, student.labels, student.noise) == (("teacher",), 200, "shifts")
    assert dataclasses.replace(student, name="baseline", role="baseline", taught_by=()) == baseline
    assert plan == plans.plan_of(ExperimentConfig(**config.model_dump())), "it is a pure function"
    assert plan.rounds(plan.steps) == [(student, baseline)]
    assert plan.needed(["baseline"]) == (baseline,)
    assert plan.needed(["student"]) == (teacher, student)


def test_what_the_plain_steps_depend_on() -> None:
    plan = plans.plan_of(ExperimentConfig())
    assert set(plan.depends_on("teacher")) == set(TEACHER_FIELDS)
    assert set(plan.depends_on("baseline")) == set(BASELINE_FIELDS)
    assert set(plan.depends_on("student")) == set(STUDENT_FIELDS)


# Not those that need other data or a file of one's own.
OF_OTHERS = {"dataset", "student_start", "teacher_inputs", "vocabulary"}
FREE = sorted({*TEACHER_FIELDS, *BASELINE_FIELDS} - OF_OTHERS)


@pytest.mark.parametrize("name", FREE)
def test_a_fingerprint_changes_with_what_it_depends_on_and_nothing_else(name: str) -> None:
    other: dict[str, Any] = {
        "training_examples": 600,
        "precision": "float32",
        "augmentation": "flips",
        "labels": 50,
        "teacher": "mlp-64",
        "student": "mlp-16",
        "optimizer": "sgd",
        "mixing": "cutmix",
        "omitted_classes": "3",
        "learning_rate_schedule": "cosine",
        "weight_decay": 0.1,
    }
    config = ExperimentConfig(optimizer="adamw" if name == "weight_decay" else "adam")
    value = other[name] if name in other else getattr(config, name) * 2 or 1
    changed = config.replace(**{name: value})
    plan = plans.plan_of(config)
    for step in plan.names:
        differs = config.fingerprint(step) != changed.fingerprint(step)
        assert differs == (name in plan.depends_on(step)), step


def test_a_chain_depends_on_each_of_its_links() -> None:
    def prints(config: ExperimentConfig) -> dict[str, str]:
        plan = two_teachers_and_generations(config)
        return {name: plan.fingerprint(config, name) for name in plan.names}

    base = prints(ExperimentConfig())
    assert len(set(base.values())) == 5, "each step is a training of its own"
    assert base["teacher"] == ExperimentConfig().fingerprint("teacher")
    warmer = prints(ExperimentConfig(temperature=4))
    assert {name for name in base if base[name] != warmer[name]} == {"student", "student:2"}
    longer = prints(ExperimentConfig(teacher_epochs=21))
    unchanged = {name for name in base if base[name] == longer[name]}
    assert unchanged == {"baseline"}, "the second generation depends on its teacher's teachers"


def test_a_student_that_starts_from_a_step_depends_on_it() -> None:
    config = ExperimentConfig()
    teacher, student, baseline = plans.plan_of(config).steps
    again = dataclasses.replace(baseline, name="baseline:2", start="student")
    plan = Plan((teacher, student, baseline, again))
    assert "temperature" not in plan.depends_on("baseline")
    assert set(plan.depends_on("baseline:2")) >= set(TEACHER_FIELDS)
    warmer = config.replace(temperature=4)
    assert plan.fingerprint(config, "baseline:2") != plan.fingerprint(warmer, "baseline:2")
    assert plan.fingerprint(config, "baseline:2") != plan.fingerprint(config, "baseline")


def test_rounds_follow_who_needs_whom() -> None:
    plan = two_teachers_and_generations(ExperimentConfig())
    rounds = [[step.name for step in steps] for steps in plan.rounds(plan.steps)]
    assert rounds == [["student", "baseline"], ["student:2"]]
    assert [plan.place(name) for name in ("teacher:2", "student:2")] == [1, 4]
    assert plan.place("gone") > 4


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (
            [Step("a", "student", "mlp-16"), Step("a", "student", "mlp-16")],
            "different names, got '?a",
        ),
        (
            [Step("a", "student", "mlp-16", taught_by=("b",))],
            "steps that a needs before it, got '?b",
        ),
        (
            [Step("a", "teacher", "mlp-16", seed=1, labels=50)],
            "a teacher of few labels for each seed, got '?a",
        ),
        ([Step("a", "student", "mlp-16", seed=1)], "a learner of each seed, got '?a"),
        (
            [Step("a", "student", "mlp-16"), Step("b", "student", "mlp-64", start="a")],
            "a start for b of its own network, got '?a",
        ),
    ],
)
def test_steps_that_do_not_fit_together_are_refused(steps: list[Step], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Plan(tuple(steps))


def test_an_unknown_step_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"one of teacher, student, baseline, got '?assistant"):
        ExperimentConfig().fingerprint("assistant")
