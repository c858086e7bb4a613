"""Who teaches whom: an experiment's steps, as a pure function of its config.

A step is one network and how it is trained. The experiment trains it once, or once for each of its
seeds: a run is one step for one seed. What a run depends on is worked out here, by following who
teaches it and where it starts; two runs are the same training when that is the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kdcore.errors import require

# What the data is, and what the training of a network itself is set by.
OF_DATA = ("dataset", "training_examples", "split_seed")
OF_TEACHER = (
    "teacher",
    "teacher_epochs",
    "teacher_batch_size",
    "teacher_learning_rate",
    "teacher_seed",
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
    "student_start",
)
STARTS = ("fresh", "file")


class Asked(Protocol):
    """What a plan is made from: an :class:`~kdcore.config.experiment.ExperimentConfig`."""

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

    def teaching(self) -> dict[str, Any]:
        """Return the settings of how a teacher teaches, by name."""
        ...

    def digest_of(self, role: str, values: Mapping[str, Any]) -> str:
        """Return the digest of what a run of a role depends on."""
        ...


@dataclass(frozen=True)
class Step:
    """One network of a plan, and how it is trained.

    Args:
        name: unique in the plan: "teacher", "student", "student:2" for a second generation.
        role: "teacher", "student" or "baseline": how it is trained, and its colour.
        network: the model's name.
        generation: counts from 1.
        start: "fresh" weights, those of its "file", or those of an earlier step, by name.
        taught_by: the steps whose answers it learns from; of several, the mean of their softened
            distributions.
        labels: how many examples come with their true label, None for all.
        noise: the augmentation of the examples that it sees.
        seed: where it is trained once, with this seed; None for once with each of the
            experiment's.
    """

    name: str
    role: str
    network: str
    generation: int = 1
    start: str = "fresh"
    taught_by: tuple[str, ...] = ()
    labels: int | None = None
    noise: str = "none"
    seed: int | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that must be trained before this one."""
        return (*self.taught_by, *(() if self.start in STARTS else (self.start,)))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that its own training takes from the step, not from the config."""
        if self.role == "teacher":
            return {"teacher": self.network, "teacher_seed": self.seed}
        return {
            "student": self.network,
            "student_start": self.start if self.start in STARTS else "fresh",
            "labels": self.labels,
            "augmentation": self.noise,
        }


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
            require(step.role != "teacher" or once, "plan", "a teacher with one seed", step.name)
            require(step.role == "teacher" or not once, "plan", "a learner of each seed", step.name)
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

        Those of one round need nothing of each other: they are trained side by side.
        """
        depth: dict[str, int] = {}
        rounds: list[tuple[Step, ...]] = []
        for step in steps:
            if step.seed is None:
                at = max((depth[name] + 1 for name in step.needs if name in depth), default=0)
                depth[step.name] = at
                if at == len(rounds):
                    rounds.append(())
                rounds[at] = (*rounds[at], step)
        return rounds

    def depends_on(self, name: str) -> tuple[str, ...]:
        """Return the names of the settings that a step's result depends on.

        Those of how it is taught are left out: :meth:`Asked.teaching` knows them.
        """
        step = self.step(name)
        own = OF_TEACHER if step.role == "teacher" else OF_LEARNER
        of_others = (setting for other in step.needs for setting in self.depends_on(other))
        return tuple(dict.fromkeys((*OF_DATA, *of_others, *own)))

    def fingerprint(self, config: Asked, name: str) -> str:
        """Return a hex digest of all that a step's result depends on.

        Equal digests mean the same training. What is taught by one plain teacher depends on the
        teacher's settings, as it always has; a longer chain on the fingerprints of its links.
        """
        step = self.step(name)
        values = self._own_values(config, step)
        if step.taught_by:
            values |= config.teaching()
            teachers = [self.step(other) for other in step.taught_by]
            if len(teachers) == 1 and teachers[0].role == "teacher" and not teachers[0].needs:
                values = {**self._own_values(config, teachers[0]), **values}
            else:
                values["taught_by"] = [self.fingerprint(config, each.name) for each in teachers]
        if step.start not in STARTS:
            values["start"] = self.fingerprint(config, step.start)
        return config.digest_of(step.role, values)

    def _own_values(self, config: Asked, step: Step) -> dict[str, Any]:
        own = OF_TEACHER if step.role == "teacher" else OF_LEARNER
        return {**{name: getattr(config, name) for name in (*OF_DATA, *own)}, **step.settings}

    def place(self, name: str) -> float:
        """Return where a step stands in the plan; one that is no longer in it comes last."""
        return self.names.index(name) if name in self.names else math.inf


def plan_of(config: Asked) -> Plan:
    """Return the plan of an experiment: a teacher, a student that it teaches, and the baseline."""
    learner: dict[str, Any] = {
        "network": config.student,
        "start": config.student_start,
        "labels": config.labels,
        "noise": config.augmentation,
    }
    return Plan(
        (
            Step("teacher", "teacher", config.teacher, seed=config.teacher_seed),
            Step("student", "student", taught_by=("teacher",), **learner),
            Step("baseline", "baseline", **learner),
        )
    )
