"""Which layers of teacher and student a method on features pairs, as a worker found them, in a form
that can be kept and drawn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kdcore.config.experiment import ExperimentConfig, digest
from kdcore.methods.features import kept_bytes, why_live
from kdcore.storage.artifacts import ArtifactStore
from kdcore.words import in_bytes

OF_NETWORKS = ("dataset", "teacher", "student")


@dataclass(frozen=True)
class TappedLayer:
    """A layer by the name that ``layers`` knows it by, and one example's shape of its output; 0
    for a side that differs from example to example.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def words(self) -> str:
        """Its name and shape: "re_lu_2, 8 × 8 × 16"."""
        return f"{self.name}, {' × '.join(str(side or 'any') for side in self.shape)}"


@dataclass(frozen=True)
class Pair:
    """A layer of the teacher and one of the student, by their places in the lists, and what brings
    the student's features to the teacher's shape; empty where nothing has to.
    """

    teacher: int
    student: int
    adapter: str


@dataclass(frozen=True)
class LayerPairs:
    """The layers of both networks from the input on, and which are paired.

    ``batch_bytes`` is what is compared of one batch takes, of teacher and student together.
    ``kept_values`` are the numbers that are kept of the teacher's for each training example, unless
    that is too much; None where examples differ in that.
    """

    teacher: tuple[TappedLayer, ...]
    student: tuple[TappedLayer, ...]
    pairs: tuple[Pair, ...]
    batch_bytes: int
    kept_values: int | None

    def cost(self, config: ExperimentConfig) -> str:
        """Return what tapping costs in an experiment, in words."""
        batch = ""
        if all(all(layer.shape) for layer in self._paired):
            batch = f" What is compared of a batch takes {in_bytes(self.batch_bytes)}."
        examples = config.labelled + config.unlabelled
        why = why_live(self.kept_values, examples)
        if config.answers_live:
            why = "what the student sees changes from epoch to epoch"
        if why:
            return f"The teacher answers at every step: {why}.{batch}"
        return (
            "The teacher answers once: what is compared of its layers is kept for all training "
            f"examples, {in_bytes(kept_bytes(self.kept_values, examples))}.{batch}"
        )

    @property
    def _paired(self) -> list[TappedLayer]:
        of_teacher = [self.teacher[pair.teacher] for pair in self.pairs]
        return of_teacher + [self.student[pair.student] for pair in self.pairs]

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> LayerPairs:
        """Return what :meth:`to_json` gave."""

        def layers(role: str) -> tuple[TappedLayer, ...]:
            return tuple(TappedLayer(each["name"], tuple(each["shape"])) for each in given[role])

        pairs = tuple(Pair(**each) for each in given["pairs"])
        sizes = given["batch_bytes"], given["kept_values"]
        return cls(layers("teacher"), layers("student"), pairs, *sizes)


def layer_pairs_key(config: ExperimentConfig) -> str:
    """Return where the answer for a config's networks and method is kept in the store."""
    values = {name: getattr(config, name) for name in OF_NETWORKS}
    values |= {"method": config.method.name, "batch_size": config.batch_size}
    shaping = ("layers", "variant")
    values |= {name: value for name, value in config.method.values().items() if name in shaping}
    # Earlier answers, under layer_pairs/, do not say what is kept.
    return f"compared_layers/{digest(values)}"


def get_layer_pairs(store: ArtifactStore, config: ExperimentConfig) -> LayerPairs | None:
    """Return what a worker found for a config, None where none has looked yet."""
    data = store.artifact(layer_pairs_key(config))
    return None if data is None else LayerPairs.from_json(json.loads(data))


def in_words(found: LayerPairs, config: ExperimentConfig) -> str:
    """Return both columns as text, the pairs below, and what they cost in an experiment."""
    lines = []
    for role in ("teacher", "student"):
        layers = getattr(found, role)
        paired = {getattr(pair, role) for pair in found.pairs}
        lines.append(f"{role}:")
        lines += [
            f"  {'→' if place in paired else ' '} {each.words}" for place, each in enumerate(layers)
        ]
    lines.append("pairs:")
    for pair in found.pairs:
        one, two = found.teacher[pair.teacher].words, found.student[pair.student].words
        lines.append(f"  {one}  –  {two}" + (f"  ({pair.adapter})" if pair.adapter else ""))
    return "\n".join([*lines, found.cost(config)])
