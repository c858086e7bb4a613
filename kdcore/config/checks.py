"""What settings cannot be asked for together, or with these data and networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kdcore import plans
from kdcore.config import pretrained
from kdcore.config.cards import DatasetCard, ModelCard
from kdcore.config.catalog import dataset_card, model_key, own_model, parse_model_name, short_name
from kdcore.config.families import OWN, brings_vocabulary
from kdcore.config.fields import ExperimentFields, class_number
from kdcore.errors import ConfigError, Problem, Words
from kdcore.settings import listed


def problems_of(config: ExperimentFields) -> list[Problem]:
    """Return why settings that are right one by one cannot be asked for together."""
    problems: list[Problem] = []
    card = dataset_card(config.dataset)
    classes, available = len(card.class_names), card.training_examples
    if (
        config.training_examples is not None
        and not classes <= config.training_examples <= available
    ):
        rule = f"from {classes} (one a class) to {available:,}, the {_labelled(card)} of {short_name(config.dataset)}"
        problems.append(Problem("training_examples", rule, config.training_examples))
    most = min(available, config.training_examples or available)
    if config.labels is not None and not classes <= config.labels <= most:
        rule = f"from {classes} (one a class) to {most:,}, the {_labelled(card)} in use"
        problems.append(Problem("labels", rule, config.labels))
    for role in ("teacher", "student"):
        problems += [
            Problem(role, rule, received)
            for rule, received in _misfits(getattr(config, role), config.dataset)
        ]
    if config.augmentation != "none":
        broken = card.task.augmentation_rule(
            config.augmentation, card.input_shape, short_name(config.dataset)
        )
        if broken:
            problems.append(Problem("augmentation", broken, config.augmentation))
    if config.mixing != "none" and config.plan.clean_answers:
        rule = f"none with the plan {config.plan.name}, whose teachers answer for clean examples"
        problems.append(Problem("mixing", rule, config.mixing))
    if config.mixing != "none" and card.task.written:
        rule = f"none: {short_name(config.dataset)} is {card.task.title}"
        problems.append(Problem("mixing", rule, config.mixing))
    elif config.mixing == "cutmix" and not card.task.pictures:
        rule = f"none or mixup: {short_name(config.dataset)} is {card.task.title}, not images"
        problems.append(Problem("mixing", rule, config.mixing))
    problems += _omitted_problems(config, card.class_names)
    problems += _step_problems(config)
    problems += _plan_problems(config)
    problems += config.method.problems(
        short_name(config.dataset),
        classes,
        card.task.pictures,
        config.batch_size,
        config.student,
    )
    return problems + _own_model_problems(config)


def _omitted_problems(config: ExperimentFields, class_names: Sequence[str]) -> list[Problem]:
    """Return what cannot be left out."""
    named = listed(config.omitted_classes)
    unknown = [name for name in named if class_number(name, class_names) is None]
    rule = ""
    if unknown:
        rule = f"empty, or some of {', '.join(class_names[:20])}"
    elif named and len(set(config.omitted_numbers)) > len(class_names) - 2:
        rule = "so few that two classes are left"
    elif named and any(step.selection for step in plans.plan_of(config).steps):
        rule = f"empty with the plan {config.plan.name}, which chooses its examples itself"
    return [Problem("omitted_classes", rule, config.omitted_classes)] if rule else []


def _answers_problems(config: ExperimentFields, teacher: ModelCard) -> list[Problem]:
    """Return what a file of answers cannot be asked for: it knows examples as they are."""
    problems = []
    if teacher.dataset != config.dataset:
        rule = f"made for {short_name(config.dataset)}: its answers are for examples of another"
        problems.append(Problem("teacher", rule, short_name(config.teacher)))
    for name in ("augmentation", "mixing"):
        if getattr(config, name) != "none":
            rule = "none with a file of answers, which knows nothing of changed examples"
            problems.append(Problem(name, rule, getattr(config, name)))
    return problems


def _own_model_problems(config: ExperimentFields) -> list[Problem]:
    """Return what files of the user's own cannot be asked for."""
    problems: list[Problem] = []
    own = own_model(config.student)
    own_teacher = own_model(config.teacher)
    brought = own_teacher is not None and own_teacher.kind == "file"
    if config.teacher_inputs != "checked" and not brought:
        rule = "checked, unless the teacher is a file of your own"
        problems.append(Problem("teacher_inputs", rule, config.teacher_inputs))
    if own is not None and not own.can_be_trained:
        rule = "a network that can be trained, not a file that only answers"
        problems.append(Problem("student", rule, short_name(config.student)))
    only_answers = own_teacher is not None and not own_teacher.can_be_trained
    if only_answers and config.method.needs.teacher == "features":
        rule = "one that learns from answers alone: this teacher has no layers to look into"
        problems.append(Problem("method", rule, config.method.name))
    if own_teacher is not None and own_teacher.format == "answers":
        problems += _answers_problems(config, own_teacher)
    if config.student_start == "file" and (own is None or own.kind != "file"):
        problems.append(
            Problem(
                "student_start",
                "fresh, unless the student is a file of your own",
                config.student_start,
            )
        )
    return problems


def _step_problems(config: ExperimentFields) -> list[Problem]:
    problems = []
    if config.weight_decay and config.optimizer == "adam":
        rule = "0 with the optimizer adam, which has none: take adamw or sgd"
        problems.append(Problem("weight_decay", rule, config.weight_decay))
    if config.learning_rate_warm_up >= config.epochs:
        rule = f"below {config.epochs}, the epochs"
        problems.append(Problem("learning_rate_warm_up", rule, config.learning_rate_warm_up))
    return problems


def _vocabulary_problems(config: ExperimentFields) -> list[Problem]:
    """Return that a vocabulary is not that of the pretrained networks for texts."""
    named = [network for text in config.plan.networks().values() for network in listed(text)]
    reading = dict.fromkeys(
        pretrained.whole(model_key(network))
        for network in (config.teacher, config.student, *named)
        if brings_vocabulary(network)
    )
    if not reading or config.vocabulary in reading:
        return []
    rule = f"empty, or {short_name(next(iter(reading)))}, whose tokens a network reads"
    return [Problem("vocabulary", rule, config.vocabulary)]


def _plan_problems(config: ExperimentFields) -> list[Problem]:
    problems = config.plan.problems(config) + _vocabulary_problems(config)
    for setting_name, text in config.plan.networks().items():
        for network in listed(text):
            try:
                model_key(network)
            except ConfigError as error:
                problems.append(Problem(setting_name, error.problems[0].rule, network))
                continue
            problems += [
                Problem(setting_name, rule, received)
                for rule, received in _misfits(network, config.dataset)
            ]
    own = own_model(config.teacher)
    if config.label_budget_for == "everyone" and own is not None and own.kind == "file":
        rule = "student: nobody knows which labels a trained model of your own has seen"
        problems.append(Problem("label_budget_for", rule, config.label_budget_for))
    return problems


def _misfits(model: str, dataset: str) -> list[tuple[str, str]]:
    """Return why ``model`` does not fit ``dataset``, as far as can be said without loading either:
    (rule, received).
    """
    card, name = dataset_card(dataset), short_name(dataset)
    (family, numbers), own = parse_model_name(model), own_model(model)
    shape = card.input_shape
    if not family.fits(card.task) and not (family is OWN and card.task.written):
        return [(f"{card.task.networks}: {name} is {card.task.title}", model)]
    if rule := family.shape_rule(numbers, shape):
        return [(rule, model)]
    if family is not OWN or own is None or own.kind == "function":
        return []
    found = []
    title, classes = short_name(model), len(card.class_names)
    if own.classes != classes:
        rule = f"a model that answers for the {classes} classes of {name}"
        found.append((rule, f"{title}, for {own.classes} classes"))
    given = own.input_shape or ()
    if not _can_be_fed(given, shape):
        words = " × ".join("any" if side is None else str(side) for side in given)
        rule = f"a model for examples of shape {' × '.join(map(str, shape))}, as {name} has"
        found.append((rule, f"{title}, for {words}"))
    return [(rule, Words(received)) for rule, received in found]


def _can_be_fed(given: Sequence[int | None], shape: Sequence[int]) -> bool:
    """Return whether a model's input shape can be made of an example's: laid out flat, without its
    channel, or as an image that is resized.
    """
    pictures = len(shape) == 3 and shape[2] in (1, 3)
    flat = len(given) == 1 and given[0] in (None, math.prod(shape))
    without_channels = len(given) == 2 and pictures
    return flat or without_channels or (len(given) == 3 and given[2] in (None, 1, 3) and pictures)


def _labelled(card: DatasetCard) -> str:
    return "labelled training examples" if card.unlabelled_examples else "training examples"
