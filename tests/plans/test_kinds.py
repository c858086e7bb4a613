"""Each kind of plan: its steps, its settings, and what it refuses."""

from __future__ import annotations

import json

import pytest

from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.errors import ConfigError
from kdcore.plans import PLANS, plan_of

EVERY_KIND = {
    "distil": {},
    "assistant": {"assistants": "conv-32-64, conv-16-32"},
    "born-again": {"student": "conv-64-128", "generations": 3},
    "several-teachers": {"more_teachers": "conv-32-64, conv-64-128"},
    "distilbert": {"dataset": "languages"},
    "noisy-student": {"generations": 2, "augmentation": "shifts", "labels": 50},
}


@pytest.mark.parametrize("kind", list(PLANS))
def test_a_plan_is_a_pure_function_of_a_config_that_survives_json(kind: str) -> None:
    config = ExperimentConfig(plan=kind, **EVERY_KIND[kind])
    again = ExperimentConfig.from_json(config.to_json())
    assert again == config
    assert plan_of(again) == plan_of(config)
    plan = plan_of(config)
    assert next(step.name for step in plan.steps if step.pretraining is None) == "teacher"
    assert plan.names[-2:] == ("student", "baseline")
    prints = [plan.fingerprint(config, name) for name in plan.names]
    assert len(set(prints)) == len(prints), "each step is a training of its own"


def test_steps_of_each_plan() -> None:
    def chain(kind: str) -> list[tuple[str, tuple[str, ...]]]:
        plan = plan_of(ExperimentConfig(plan=kind, **EVERY_KIND[kind]))
        return [(step.name, step.taught_by) for step in plan.steps]

    assert chain("assistant") == [
        ("teacher", ()),
        ("assistant", ("teacher",)),
        ("assistant 2", ("assistant",)),
        ("direct", ("teacher",)),
        ("student", ("assistant 2",)),
        ("baseline", ()),
    ]
    assert chain("born-again")[1:4] == [
        ("generation 1", ("teacher",)),
        ("generation 2", ("generation 1",)),
        ("student", ("generation 2",)),
    ]
    teachers = ("teacher", "teacher 2", "teacher 3")
    assert chain("several-teachers")[3] == ("student", teachers)


def test_noisy_students_learn_with_noise_what_a_teacher_says_without() -> None:
    config = ExperimentConfig(plan="noisy-student", **EVERY_KIND["noisy-student"])
    assert (config.label_budget_for, config.method.name) == ("everyone", "pseudo_labels")
    assert not config.answers_live, "answers are for the clean examples, whatever the noise"
    teacher, first, student, baseline = plan_of(config).steps
    for step in (teacher, first, student, baseline):
        assert (step.labels, step.noise, step.dropout, step.seed) == (50, "shifts", 0.2, None)
    assert first.clean_answers
    assert student.selection is not None
    assert baseline.selection is None
    quiet = plan_of(config.replace(noise="off")).steps
    assert {(step.noise, step.dropout) for step in quiet} == {("none", 0.0)}


def test_only_residual_networks_have_blocks_to_leave_out() -> None:
    values = EVERY_KIND["noisy-student"] | {"teacher": "conv-4-8", "student": "resnet-8-4"}
    config = ExperimentConfig(plan="noisy-student", **values)
    teacher, *others = plan_of(config).steps
    assert teacher.stochastic_depth == 0
    assert {step.stochastic_depth for step in others} == {0.2}
    deeper = config.replace(stochastic_depth=0.5)
    assert deeper.fingerprint("teacher") == config.fingerprint("teacher")
    assert deeper.fingerprint("student") != config.fingerprint("student")
    quiet = plan_of(config.replace(noise="off")).steps
    assert {step.stochastic_depth for step in quiet} == {0.0}


def test_a_setting_that_one_plan_has_had_for_longer_than_others_counts_there() -> None:
    quiet = ExperimentConfig(plan="noisy-student", labels=50, dropout=0.0)
    plain = ExperimentConfig()
    assert quiet.digest_of("x", {"dropout": 0.0}) != quiet.digest_of("x", {})
    assert plain.digest_of("x", {"dropout": 0.0}) == plain.digest_of("x", {})


def test_experiments_of_before_stochastic_depth_had_none_of_it() -> None:
    values = EVERY_KIND["noisy-student"] | {"student": "resnet-8-4", "stochastic_depth": 0.0}
    config = ExperimentConfig(plan="noisy-student", **values)
    stored = json.loads(config.to_json())
    del stored["stochastic_depth"]
    again = ExperimentConfig.unchecked(stored)
    assert again.fingerprint() == config.fingerprint()
    assert again.fingerprint("student") == config.fingerprint("student")
    assert {step.stochastic_depth for step in plan_of(again).steps} == {0.0}


def test_a_label_budget_for_everyone_trains_a_teacher_a_seed() -> None:
    config = ExperimentConfig(labels=50, label_budget_for="everyone", seed=3)
    teacher = plan_of(config).steps[0]
    assert (teacher.labels, teacher.seed) == (50, None)
    rounds = [
        [step.name for step in steps] for steps in plan_of(config).rounds(plan_of(config).steps)
    ]
    assert rounds == [["teacher"], ["student", "baseline"]]
    for changed in ({"labels": 60}, {"seed": 4}):
        other = config.replace(**changed)
        assert other.fingerprint("teacher") != config.fingerprint("teacher")
        assert other.fingerprint("student") != config.fingerprint("student")
    assert ExperimentConfig(labels=None, label_budget_for="everyone").fingerprint(
        "teacher"
    ) == ExperimentConfig(labels=None).fingerprint("teacher"), "all labels are all labels"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"plan": "chain"}, "plan must be one of distil, assistant"),
        ({"plan": "assistant", "assistants": ""}, "assistants must be one name or more"),
        ({"plan": "assistant", "assistants": "conv-x"}, "assistants must be"),
        ({"plan": "born-again", "student": "conv-8-16"}, "its teacher's network, conv-64-128"),
        ({"plan": "several-teachers", "augmentation": "shifts"}, "augmentation must be none"),
        ({"plan": "noisy-student", "labels": None}, "labels must be fewer than all"),
        ({"plan": "noisy-student", "method": "hints"}, "learns from the teacher's logits"),
        ({"plan": "noisy-student", "label_budget_for": "student"}, "must be everyone"),
        ({"plan": "noisy-student", "batch_size": 1}, "batch_size must be at least 2"),
        ({"generations": 3}, "left out: Teacher and student has no such setting"),
        ({"plan": "born-again", "generations": 9}, "generations must be at most 5, got 9"),
    ],
)
def test_what_does_not_fit_is_refused_in_the_one_form(values: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ExperimentConfig(**values)


def test_another_plan_begins_with_its_own_settings() -> None:
    noisy = ExperimentConfig(plan="noisy-student", labels=50, generations=5)
    plain = noisy.replace(plan="distil", method="logits", label_budget_for="student")
    assert plain.get("generations") is None
    assert plain.replace(plan="noisy-student").get("generations") == 3


def test_settings_of_a_plan_are_axes_of_a_sweep() -> None:
    base = ExperimentConfig(plan="noisy-student", labels=50)
    axes = (Axis.parse("generations", "1,3"), Axis.parse("noise", "on,off"))
    sweep = SweepConfig(base, axes)
    cells = [sweep.cell(values) for values in sweep.combinations()]
    assert [(cell.get("generations"), cell.get("noise")) for cell in cells] == [
        (1, "on"),
        (1, "off"),
        (3, "on"),
        (3, "off"),
    ]
    assert len({cell.fingerprint() for cell in cells}) == 4
    assert [len(cell.plan.steps(cell)) for cell in cells] == [3, 3, 5, 5]
    with pytest.raises(ConfigError, match=r"generations must be .*, got 9"):
        SweepConfig(base, (Axis.parse("generations", "1,9"),))
