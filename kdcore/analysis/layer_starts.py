"""Which layers of its teacher a student starts from, as the plan says it before any training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from kdcore.config import pretrained
from kdcore.config.catalog import parse_model_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.plans import plan_of


@dataclass(frozen=True)
class LayerStarts:
    """How many layers a teacher has, and which of them, counted from 0, each layer of the student
    starts from; embeddings and head start from the teacher's too.
    """

    teacher: int
    student: tuple[int, ...]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Each part of the student with what it starts from: ("layer 2", "layer 3")."""
        layers = [(f"layer {own}", f"layer {at + 1}") for own, at in enumerate(self.student, 1)]
        return (("embeddings", "embeddings"), *layers, ("head", "head"))

    @property
    def words(self) -> str:
        """What starts from what, in one line."""
        return "; ".join(f"{own} from {its}" for own, its in self.pairs)

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON; layers are counted from 1, as settings count them."""
        found = asdict(self)
        return {**found, "student": [at + 1 for at in self.student]}


def layer_starts(config: ExperimentConfig) -> LayerStarts | None:
    """Return which layers of its teacher the student starts from, None where from none, or where
    it is not known any more how many its teacher has.
    """
    plan = plan_of(config)
    for step in plan.steps:
        if step.pretraining is not None and step.pretraining.layers:
            teacher = _layers_of(plan.step(step.taught_by[0]).network)
            return None if teacher is None else LayerStarts(teacher, step.pretraining.layers)
    return None


def _layers_of(network: str) -> int | None:
    _, numbers = parse_model_name(network)
    return numbers[0] if numbers else pretrained.layers_of(network)


def in_words(found: LayerStarts) -> str:
    """Return what each part of the student starts from, in lines of text."""
    teacher = f"{found.teacher} layer" if found.teacher == 1 else f"{found.teacher} layers"
    lines = [f"the student starts from its teacher, which has {teacher}:"]
    return "\n".join([*lines, *(f"  {own:<10} from {its}" for own, its in found.pairs)])
