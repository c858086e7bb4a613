"""Who teaches whom: an experiment's steps, as a pure function of its config.

A step is one network and how it is trained. The experiment trains it once, or once for each of its
seeds: a run is one step for one seed. What a run depends on is worked out here, by following who
teaches it and where it starts; two runs are the same training when that is the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from kdcore.errors import require
from kdcore.plans.pretraining import Pretraining

# What the data is, and what the training of a network itself is set by.
OF_DATA = ("dataset", "training_examples", "split_seed", "vocabulary")
OF_TEACHER = (
    "teacher",
    "teacher_epochs",
    "teacher_batch_size",
    "teacher_learning_rate",
    "teacher_seed",
    "teacher_inputs",
    "precision",
)
OF_LEARNER = (
    "labels",
    "student",
    "epochs",
    "batch_size",
    "learning_rate",
    "seed",
    "augmentation",
    "mixing",
    "student_start",
    "optimizer",
    "learning_rate_schedule",
    "learning_rate_warm_up",
    "weight_decay",
    "clip_norm",
    "omitted_classes",
)
OF_PRETRAINING = ("teacher_batch_size", "teacher_learning_rate", "teacher_seed")
STARTS = ("fresh", "file")


class Asked(Protocol):
    """What a plan is made from: an :class:`~kdcore.config.experiment.ExperimentConfig`."""

    @property
    def seed(self) -> int:
        """The first of the seeds of student and baseline."""
        ...

    @property
    def label_budget_for(self) -> str:
        """Who has no more labels than ``labels``: "student", or "everyone"."""
        ...

    @property
    def teacher(self) -> str:
        """The teacher's network."""
        ...

    @property
    def teacher_seed(self) -> int:
        """The teacher's own seed."""
        ...

    @property
    def student(self) -> str:
        """The student's network."""
        ...

    @property
    def student_start(self) -> str:
        """Where the student starts."""
        ...

    @property
    def labels(self) -> int | None:
        """How many examples come with their label, None for all."""
        ...

    @property
    def augmentation(self) -> str:
        """How the images that a student sees are changed."""
        ...

    def is_residual(self, network: str) -> bool:
        """Return whether a network is a residual one of convolutions."""
        ...

    def teaching(self) -> dict[str, Any]:
        """Return the settings of how a teacher teaches, by name."""
        ...

    def digest_of(self, role: str, values: Mapping[str, Any]) -> str:
        """Return the digest of what a run of a role depends on."""
        ...


@dataclass(frozen=True)
class Selection:
    """Which of the examples without a label a step learns from, and how many to a batch.

    Args:
        confidence: of its teacher's answer, from 0 to 1, that an example must have to be kept.
        balance: whether each class is brought to the same number of examples: its surest ones,
            some of them twice or more where there are too few.
        ratio: how many of them are in a batch for each example with a label.
    """

    confidence: float = 0.0
    balance: bool = False
    ratio: int = 3


@dataclass(frozen=True)
class Step:
    """One network of a plan, and how it is trained.

    Args:
        name: unique in the plan: "teacher", "student", "student:2" for a second generation.
        role: "teacher", "student" or "baseline": how it is trained, and its colour; or
            "pretrained" for one that learns no labels, and that others start from.
        network: the model's name.
        generation: counts from 1.
        start: "fresh" weights, those of its "file", or those of an earlier step, by name.
        taught_by: the steps whose answers it learns from; of several, the mean of their softened
            distributions.
        weights: how much each of several teachers counts: "equal", or by "confidence".
        labels: how many examples come with their true label, None for all.
        noise: the augmentation of the examples that it sees.
        seed: where it is trained once, with this seed; None for once with each of the
            experiment's.
        clean_answers: whether its teachers answer for the unchanged examples, however its own
            copies are changed.
        dropout: the share of what enters its last layer that is left out at each step.
        stochastic_depth: how often the last of its blocks is left out, the others less.
        pretraining: how one that is "pretrained" learns.
        selection: where it learns from chosen examples without a label beside the labelled ones.
    """

    name: str
    role: str
    network: str
    generation: int = 1
    start: str = "fresh"
    taught_by: tuple[str, ...] = ()
    weights: str = "equal"
    labels: int | None = None
    noise: str = "none"
    seed: int | None = None
    clean_answers: bool = False
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    selection: Selection | None = None
    pretraining: Pretraining | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that must be trained before this one."""
        return (*self.taught_by, *(() if self.start in STARTS else (self.start,)))

    @property
    def leaves_parts_out(self) -> bool:
        """Whether parts of its network are left out at random while it is trained."""
        return bool(self.dropout or self.stochastic_depth)

    def settings(self, config: Asked) -> dict[str, Any]:
        """Return the settings that its own training takes from the step, not from the config."""
        if self.pretraining is not None:
            return {}
        if self.role == "teacher":
            seed = config.seed if self.seed is None else self.seed
            return {"teacher": self.network, "teacher_seed": seed}
        return {
            "student": self.network,
            "student_start": self.start if self.start in STARTS else "fresh",
            "labels": self.labels,
            "augmentation": self.noise,
        }

    @property
    def beyond_settings(self) -> dict[str, Any]:
        """What its training depends on that no setting of its own says; empty for plain steps."""
        found: dict[str, Any] = {}
        if self.role == "teacher" and self.seed is None:
            found |= {"labels": self.labels, "augmentation": self.noise}
        if self.dropout:
            found["dropout"] = self.dropout
        if self.stochastic_depth:
            found["stochastic_depth"] = self.stochastic_depth
        if self.weights != "equal":
            found["teacher_weights"] = self.weights
        if self.clean_answers:
            found["clean_answers"] = True
        if self.selection is not None:
            found |= asdict(self.selection)
        if self.pretraining is not None:
            found |= {"network": self.network, "pretraining": asdict(self.pretraining)}
        return found


@dataclass(frozen=True)
class Plan:
    """The steps of an experiment, each after those that it needs.

    Raises :class:`~kdcore.errors.ConfigError` for steps that do not fit together.
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        known: dict[str, Step] = {}
        for step in self.steps:
            require(step.name not in known, "plan", "steps of different names", step.name)
            once = step.seed is not None
            learns_labels = step.role in ("student", "baseline")
            require(not (learns_labels and once), "plan", "a learner of each seed", step.name)
            all_labels = step.role != "teacher" or not once or step.labels is None
            require(all_labels, "plan", "a teacher of few labels for each seed", step.name)
            for name in step.needs:
                require(name in known, "plan", f"steps that {step.name} needs before it", name)
            if step.start in known:
                same = known[step.start].network == step.network
                require(same, "plan", f"a start for {step.name} of its own network", step.start)
            known[step.name] = step

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all steps, in order."""
        return tuple(step.name for step in self.steps)

    def step(self, name: str) -> Step:
        """Return a step by name; raises ConfigError for an unknown one."""
        found = {step.name: step for step in self.steps}
        require(name in found, "step", f"one of {', '.join(found)}", name)
        return found[name]

    def needed(self, roles: Iterable[str]) -> tuple[Step, ...]:
        """Return the steps of ``roles`` with all that they need, in order."""
        wanted, asked = set[str](), set(roles)
        for step in reversed(self.steps):
            if step.role in asked or step.name in wanted:
                wanted |= {step.name, *step.needs}
        return tuple(step for step in self.steps if step.name in wanted)

    def rounds(self, steps: Sequence[Step]) -> list[tuple[Step, ...]]:
        """Return the learners among ``steps`` in the rounds that are trained one after the other.

        Those of one round need nothing of each other: they are trained side by side. A baseline
        needs nobody, and is trained beside the first student.
        """
        learners = [step for step in steps if step.seed is None]
        depth: dict[str, int] = {}
        for step in learners:
            depth[step.name] = max(
                (depth[name] + 1 for name in step.needs if name in depth), default=0
            )
        first = min((depth[each.name] for each in learners if each.role == "student"), default=0)
        for step in learners:
            if step.role == "baseline" and not step.needs:
                depth[step.name] = first
        return [
            tuple(step for step in learners if depth[step.name] == at)
            for at in sorted(set(depth.values()))
        ]

    def depends_on(self, name: str) -> tuple[str, ...]:
        """Return the names of the settings that a step's result depends on.

        Those of how it is taught are left out: :meth:`Asked.teaching` knows them.
        """
        step = self.step(name)
        own = _own_settings(step)
        if step.role == "teacher" and step.seed is None:
            own = (*own, "labels", "seed")
        of_others = (setting for other in step.needs for setting in self.depends_on(other))
        return tuple(dict.fromkeys((*OF_DATA, *of_others, *own)))

    def fingerprint(self, config: Asked, name: str) -> str:
        """Return a hex digest of all that a step's result depends on.

        Equal digests mean the same training. What is taught by one plain teacher depends on the
        teacher's settings, as it always has; a longer chain on the fingerprints of its links.
        """
        step = self.step(name)
        values = self._own_values(config, step)
        if step.taught_by and step.pretraining is not None:
            values["taught_by"] = [self.fingerprint(config, name) for name in step.taught_by]
        elif step.taught_by:
            values |= config.teaching()
            teachers = [self.step(other) for other in step.taught_by]
            plain = len(teachers) == 1 and teachers[0].role == "teacher" and not teachers[0].needs
            if plain and not teachers[0].beyond_settings:
                values = {**self._own_values(config, teachers[0]), **values}
            else:
                values["taught_by"] = [self.fingerprint(config, each.name) for each in teachers]
        if step.start not in STARTS:
            values["start"] = self.fingerprint(config, step.start)
        return config.digest_of(step.role, values)

    def _own_values(self, config: Asked, step: Step) -> dict[str, Any]:
        own = _own_settings(step)
        values = {name: getattr(config, name) for name in (*OF_DATA, *own)}
        return {**values, **step.settings(config), **step.beyond_settings}

    def place(self, name: str) -> float:
        """Return where a step stands in the plan; one that is no longer in it comes last."""
        return self.names.index(name) if name in self.names else math.inf


def _own_settings(step: Step) -> tuple[str, ...]:
    """Return the settings that the training of a step itself is set by."""
    if step.pretraining is not None:
        return OF_PRETRAINING
    return OF_TEACHER if step.role == "teacher" else OF_LEARNER
