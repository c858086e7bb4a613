"""The same experiment with the noise the other way round: what Noisy Student's noise is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kdcore import plans
from kdcore.analysis.results import Results, gain_between, load_results, tested
from kdcore.analysis.statistics import PairedGain, gain_in_words
from kdcore.analysis.unsettled import unsettled_among
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Experiment, Job
from kdcore.storage.store import Store


@dataclass(frozen=True)
class NoiseTwin:
    """An experiment that differs from another in its noise alone, on test data.

    ``accuracies`` (fractions) by seed and ``worth``, the paired gain by the noise, are given for
    each step that both have trained.
    """

    experiment_id: str
    noise: str
    accuracies: dict[str, list[float]]
    worth: dict[str, PairedGain]

    @property
    def title(self) -> str:
        """What it is called beside the other: "without noise"."""
        return "with noise" if self.noise == "on" else "without noise"

    @property
    def words(self) -> str:
        """What the noise is worth to the first and the last step that have it."""
        steps = list(dict.fromkeys([next(iter(self.worth)), list(self.worth)[-1]]))
        return "; ".join(
            f"the noise's gain in {step}: {gain_in_words(self.worth[step].to_dict())}"
            for step in steps
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "experiment": self.experiment_id,
            "noise": self.noise,
            "accuracy": self.accuracies,
            "worth": {step: gain.to_dict() for step, gain in self.worth.items()},
        }


def twin_config(config: ExperimentConfig) -> ExperimentConfig | None:
    """Return the config with the noise the other way round; None for a plan without it."""
    noise = config.get("noise") if "noise" in type(config.plan).model_fields else None
    if noise is None:
        return None
    return config.replace(noise="off" if noise == "on" else "on")


def _twins(store: Store, config: ExperimentConfig) -> list[tuple[Experiment, Job]]:
    """Return the experiments that differ in their noise alone, newest first."""
    wanted = twin_config(config)
    return [] if wanted is None else store.experiments_like(wanted)


def twin_job(store: Store, config: ExperimentConfig) -> Job | None:
    """Return the job of the newest experiment that differs in its noise alone."""
    return next((job for _, job in _twins(store, config)), None)


def find_twin(store: Store, results: Results) -> NoiseTwin | None:
    """Return the newest experiment that differs in its noise alone and has trained steps that this
    one has; None where there is none, or where it is a cell of a sweep without a winner.
    """
    config = results.config
    for experiment, _ in _twins(store, config):
        if unsettled_among(store, [experiment.id]):
            continue
        other = load_results(store, experiment.id)
        with_noise, without = (results, other) if config.get("noise") == "on" else (other, results)
        names = [step.name for step in plans.plan_of(config).steps if step.role != "baseline"]
        worth = {
            name: gain_between(store, with_noise.runs_of_step(name), without.runs_of_step(name))
            for name in names
        }
        known = {name: gain for name, gain in worth.items() if gain is not None}
        if known:
            accuracies = {name: tested(other.runs_of_step(name)) for name in known}
            return NoiseTwin(experiment.id, str(other.config.get("noise")), accuracies, known)
    return None
