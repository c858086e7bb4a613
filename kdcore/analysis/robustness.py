"""How accurate models stay on test images that are made worse: what a worker measured, and what of
it can be said of an experiment's role over its seeds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdcore.analysis.contenders import Contender
from kdcore.analysis.statistics import PairedGain, paired_gain
from kdcore.data.corruptions import CORRUPTIONS, SEVERITIES
from kdcore.storage.artifacts import ArtifactStore


@dataclass(frozen=True)
class Measured:
    """Accuracies (fractions) of one run: on the clean test images, and by corruption for each
    severity, on the first ``examples`` of them.
    """

    clean: float
    corrupted: dict[str, tuple[float, ...]]
    examples: int

    @property
    def mean(self) -> float:
        """The mean over all corruptions and severities."""
        return float(np.mean([value for values in self.corrupted.values() for value in values]))


@dataclass(frozen=True)
class Robustness:
    """What was measured of a contender, the mean over its measured runs; ``by_seed`` are means over
    all corruptions and severities.
    """

    clean: float
    corrupted: dict[str, tuple[float, ...]]
    mean: float
    by_seed: dict[int, float]
    examples: int


def robustness_key(run_id: str) -> str:
    """Return the name under which a run's measurements are stored."""
    return f"robustness/{run_id}"


def keep(store: ArtifactStore, run_id: str, measured: Measured) -> None:
    """Keep what was measured of a run."""
    kept = {
        "clean": measured.clean,
        "corrupted": {name: list(values) for name, values in measured.corrupted.items()},
        "examples": measured.examples,
    }
    store.put_artifact(robustness_key(run_id), json.dumps(kept).encode())


def read(store: ArtifactStore, run_id: str) -> Measured | None:
    """Return what was measured of a run, None where nothing was."""
    data = store.artifact(robustness_key(run_id))
    if data is None:
        return None
    kept = json.loads(data)
    corrupted = {name: tuple(values) for name, values in kept["corrupted"].items()}
    return Measured(kept["clean"], corrupted, kept["examples"])


def of_contender(store: ArtifactStore, contender: Contender) -> Robustness | None:
    """Return the means over a contender's measured runs, None where none was measured."""
    found = {run.seed: each for run in contender.trained if (each := read(store, run.id))}
    if not found:
        return None
    runs = list(found.values())
    corrupted = {
        name: tuple(
            float(np.mean([run.corrupted[name][at] for run in runs]))
            for at in range(len(SEVERITIES))
        )
        for name in CORRUPTIONS
    }
    clean = float(np.mean([run.clean for run in runs]))
    by_seed = {seed: run.mean for seed, run in found.items()}
    mean = float(np.mean(list(by_seed.values())))
    return Robustness(clean, corrupted, mean, by_seed, runs[0].examples)


def gain(one: Robustness, other: Robustness) -> PairedGain | None:
    """Return by how many points the first is better than the other on corrupted images, paired by
    seed; None where they share none.
    """
    seeds = sorted(one.by_seed.keys() & other.by_seed.keys())
    if not seeds:
        return None
    return paired_gain(
        [one.by_seed[each] for each in seeds], [other.by_seed[each] for each in seeds]
    )


def to_measure(contenders: Sequence[Contender]) -> list[str]:
    """Return the ids of all trained runs of contenders, each once."""
    return list(dict.fromkeys(run.id for each in contenders for run in each.trained))
