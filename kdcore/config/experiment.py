"""The one description of an experiment: how its settings are checked, stored and told apart.

Form, command line, URL and library all build an :class:`ExperimentConfig`; it checks itself, and
answers bad values with a :class:`~kdcore.errors.ConfigError` in one form: "temperature must be
above 0, got -1".
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import (
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from kdcore import plans
from kdcore.config.catalog import dataset_card
from kdcore.config.checks import problems_of
from kdcore.config.families import revision_of
from kdcore.config.fields import ExperimentFields
from kdcore.config.filling import FILLED, filled, label_budget
from kdcore.config.parts import FIRST_THE_PLAN, PARTS, kind_name, make_part
from kdcore.config.refusals import problem_of
from kdcore.errors import ConfigError, Problem
from kdcore.settings import ALWAYS_THERE, Part, listed, words_of

# What each role's result depends on in the plain plan (kdcore.plans.steps works it out), for a
# student beside its method's settings: see role_settings.
TEACHER_FIELDS = (*plans.OF_DATA, *plans.OF_TEACHER)
BASELINE_FIELDS = (*plans.OF_DATA, *plans.OF_LEARNER)
STUDENT_FIELDS = tuple(dict.fromkeys((*TEACHER_FIELDS, *BASELINE_FIELDS)))


class ExperimentConfig(ExperimentFields):
    """One distillation experiment: data, teacher, student, and how the one teaches the other.

    Frozen, hashable and validated on construction. Raises :class:`~kdcore.errors.ConfigError` that
    names every refused field at once.
    """

    if TYPE_CHECKING:
        # The settings of its method are given beside all others.
        def __init__(self, **values: Any) -> None: ...

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_one_form(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        problems: list[Problem] = []
        if isinstance(values, dict):
            # pydantic would read True as 1, and bytes as text
            odd = {name: value for name, value in values.items() if isinstance(value, bool | bytes)}
            kinds = {
                name: "a number" if isinstance(odd[name], bool) else "a number or text"
                for name in odd
            }
            known = all_settings()
            refused = [Problem(name, kinds[name], odd[name]) for name in odd if name in known]
            if refused:
                raise ConfigError(*refused)
            values, problems = lift(values)
            values = filled(values)
        try:
            config = handler(values)
        except ValidationError as error:
            found = [problem_of(detail, all_settings()) for detail in error.errors()]
            raise ConfigError(*found, *problems) from None
        problems += problems_of(config)
        if problems:
            raise ConfigError(*problems)
        return config

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write each part's kind and its settings beside all others, in the order of
        :func:`all_settings`.
        """
        flat: dict[str, Any] = {}
        for name, value in handler(self).items():
            part = getattr(self, name)
            flat |= {name: part.name, **part.values()} if name in PARTS else {name: value}
        return flat

    def asked(self) -> dict[str, Any]:
        """Return its settings, empty those that its networks fill in by themselves; all of them
        together give an equal config.
        """
        values = self.model_dump()
        for name in FILLED:
            if values.get(name):
                without = {**values, name: ""}
                # What networks say now may be less than what they said when they were filled in.
                with contextlib.suppress(ConfigError):
                    values = without if type(self)(**without) == self else values
        return values

    def replace(self, **changes: Any) -> Self:
        """Return a copy with ``changes``, checked like any other config.

        Another method or plan begins with its own settings where ``changes`` does not name them.
        """
        values = self.asked()
        for name in FIRST_THE_PLAN:
            part = getattr(self, name)
            changes = {**part.brings(changes), **changes}
            other = kind_name(changes.get(name, part))
            if other != part.name:
                values = {each: values[each] for each in values if each not in part.values()}
                if name == "plan":
                    kept = {each: values[each] for each in values if each not in PARTS}
                    changes = {**PARTS[name].find(other).defaults({**kept, **changes}), **changes}
        return type(self)(**{**values, **changes})

    @classmethod
    def unchecked(cls, stored: Mapping[str, Any]) -> Self:
        """Read a stored config without checking it, whose data, model or method may be unknown by
        now.
        """
        values = {name: stored[name] for name in cls.model_fields if name in stored}
        for name, kinds in PARTS.items():
            kind = kinds.known.get(stored.get(name, kinds.plain), kinds.unknown)
            older = {each: words_of(field)["older"] for each, field in kind.model_fields.items()}
            own = {each: stored.get(each, older[each]) for each in older}
            own = {each: value for each, value in own.items() if value != ALWAYS_THERE}
            values[name] = kind.model_construct(**own)
        return cls.model_construct(**values)

    def to_json(self) -> str:
        """Return the config as JSON; ``from_json`` of it gives an equal config."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a config back.

        Raises ConfigError for text that is no JSON object of known settings.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError(Problem("config", f"valid JSON ({error})", text)) from None
        return cls.model_validate(values)

    def fingerprint(self, step: str = "experiment") -> str:
        """Return a hex digest of all that a step's result depends on, by the step's name in the
        experiment's plan, or of the whole experiment.

        Equal digests mean the same training. Raises ConfigError for a step that is not in the plan.
        """
        if step == "experiment":
            names = (name for name in type(self).model_fields if name not in PARTS)
            values = {name: getattr(self, name) for name in names}
            planned = {"plan": self.plan.name, **self.plan.values()}
            return self.digest_of(step, {**values, **planned, **self.teaching()})
        return plans.plan_of(self).fingerprint(self, step)

    def digest_of(self, role: str, values: Mapping[str, Any]) -> str:
        """Return the digest of what a run of ``role`` depends on."""
        # A setting that came later, left at its default, is the experiment as it was before there
        # was the setting.
        counted = {name: value for name, value in values.items() if self._before(name) != value}
        return digest({"role": role, **counted, **self._revisions(values)})

    def _revisions(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the revisions of networks among the values that are not of the first one."""
        named = ("teacher", "student", *self.plan.networks())
        found = {
            network: revision_of(network)
            for name in named
            if name in values
            for network in listed(values[name])
        }
        later = {network: revision for network, revision in found.items() if revision > 1}
        return {"revisions": later} if later else {}

    def _before(self, name: str) -> Any:
        """Return what a setting was before it existed: in the chosen plan and method, which may
        have it for longer than others.
        """
        try:
            field = setting_of(name, {part: getattr(self, part).name for part in PARTS})
        except KeyError:
            return older_value(name, NEVER)
        older = words_of(field)["older"]
        return NEVER if older == ALWAYS_THERE else older


NEVER = object()


def all_settings() -> dict[str, FieldInfo]:
    """Return every setting there is by name, those of all kinds of a part after the part.

    Where kinds share a name, as methods do in alpha, the first one's stands for it.
    """
    return _all_settings(tuple(kind for kinds in PARTS.values() for kind in kinds.known.values()))


@functools.lru_cache(maxsize=4)
def _all_settings(_known: tuple[type[Part], ...]) -> dict[str, FieldInfo]:
    found: dict[str, FieldInfo] = {}
    for name, field in ExperimentConfig.model_fields.items():
        found[name] = field
        if name in PARTS:
            for kind in PARTS[name].known.values():
                for own, of_kind in kind.model_fields.items():
                    found.setdefault(own, of_kind)
    return found


def setting_of(name: str, kinds: Mapping[str, str]) -> FieldInfo:
    """Return what is declared of a setting as the chosen ``kinds`` of the parts have it.

    Raises KeyError for one that they do not have.
    """
    if name in ExperimentConfig.model_fields:
        return ExperimentConfig.model_fields[name]
    for part, kind in kinds.items():
        if name in PARTS[part].known[kind].model_fields:
            return PARTS[part].known[kind].model_fields[name]
    raise KeyError(name)


def role_settings(role: str, stored: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return the names of the settings that a role's result depends on.

    With those of its plan, and for a student of its method: of a stored config, or of all kinds.
    """
    fields = {"teacher": TEACHER_FIELDS, "baseline": BASELINE_FIELDS}.get(role, STUDENT_FIELDS)
    parts = ("method", "plan") if role == "student" else ("plan",)
    own = [setting for part in parts for setting in (part, *_settings_of(part, stored))]
    if role == "teacher" and stored is not None:
        plan = PARTS["plan"].known.get(stored_setting(stored, "plan"), PARTS["plan"].unknown)
        own = [name for name in own if name not in plan.of_learners]
    return tuple(dict.fromkeys((*fields, *own, "label_budget_for")))


def _settings_of(part: str, stored: Mapping[str, Any] | None) -> list[str]:
    """Return the names of a part's settings: of the kind in a stored config, or of all kinds."""
    kinds = PARTS[part]
    known: Iterable[type[Part]] = kinds.known.values()
    if stored is not None:
        known = [kinds.known.get(stored_setting(stored, part), kinds.unknown)]
    return [name for kind in known for name in kind.model_fields]


def lift(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Read the settings of each part from beside all others, as older configs and commands have
    them.

    Returns the values with one object for each part in them, and what is wrong with its settings.
    """
    rest = {name: values[name] for name in values if name in ExperimentConfig.model_fields}
    beside = {name: values[name] for name in values if name not in rest}
    problems: list[Problem] = []
    for name in FIRST_THE_PLAN:
        try:
            kind = PARTS[name].find(kind_name(rest.get(name, PARTS[name].plain)))
        except ConfigError as error:
            problems += error.problems
            mine = {each: beside.pop(each) for each in list(beside) if PARTS[name].has(each)}
            problems += [wrong for each in mine for wrong in PARTS[name].wrong(each, mine[each])]
            rest[name] = PARTS[name].find(PARTS[name].plain)()
            continue
        rest = {**kind.defaults(rest), **rest}
        own = {each: beside.pop(each) for each in list(beside) if each in kind.model_fields}
        rest[name], found = make_part(kind, rest.get(name), {**kind.brings(own), **own})
        problems += found
    for name in [name for name in beside if name in all_settings()]:
        part = next(part for part, kinds in PARTS.items() if kinds.has(name))
        rule = f"left out: {rest[part].title} has no such setting"
        problems.append(Problem(name, rule, beside.pop(name)))
    return {**rest, **beside}, problems


def older_value(name: str, default: Any = None) -> Any:
    """Return what a setting was before it existed, ``default`` for one that was always there."""
    field = all_settings().get(name)
    older = ALWAYS_THERE if field is None else words_of(field)["older"]
    return default if older == ALWAYS_THERE else older


def stored_setting(stored: Mapping[str, Any], name: str) -> Any:
    """Return a setting of a stored config, which may be older than the setting; None for one that
    its method does not have.
    """
    return stored[name] if name in stored else older_value(name)


def taught_at(stored: Mapping[str, Any]) -> float:
    """Return the temperature that a stored config's student is taught at, 1 without one."""
    return float(stored_setting(stored, "temperature") or 1.0)


def read_setting(name: str, text: str) -> Any:
    """Read a setting's text as the number it looks like.

    What does not is left to the config to refuse.
    """
    annotation = all_settings()[name].annotation
    kinds = typing.get_args(annotation) or (annotation,)
    if type(None) in kinds and text.lower() in ("all", "none", ""):
        return None
    if int in kinds or float in kinds:
        for read in (int, float):
            with contextlib.suppress(ValueError):
                return read(text)
    return text


def starting_config(dataset: str) -> ExperimentConfig:
    """Return settings to begin with on a dataset: a few labels of each class, networks that fit its
    kind.

    They are a start, not a recommendation. Raises ConfigError for an unknown dataset.
    """
    card = dataset_card(dataset)
    examples = card.training_examples
    teacher, student = card.task.starting_networks
    epochs = 20 if examples <= 5_000 else 5
    return ExperimentConfig(
        dataset=dataset,
        labels=label_budget(card),
        teacher=teacher,
        student=student,
        epochs=epochs,
        teacher_epochs=epochs,
        batch_size=32 if examples <= 5_000 else 64,
        teacher_batch_size=32 if examples <= 5_000 else 64,
    )


def digest(values: Mapping[str, Any]) -> str:
    """Return a short stable digest of JSON-able ``values``."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
