"""Builds candidate students in a worker, counts their work and takes their time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np

from kdcore import models
from kdcore.analysis.candidates import Candidate, candidate_names, candidates_key, choose_three
from kdcore.config.cards import DatasetCard
from kdcore.config.catalog import dataset_card, own_model
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import ModelError
from kdcore.models.families import multiply_accumulates
from kdcore.storage.schema import Job
from kdcore.storage.store import Store
from kdcore.tasks.values import InputValues
from kdcore.training.loop import Network
from kdcore.work.measure import this_machine

WARM_UP = 3
ROUNDS = 10
CALLS_A_ROUND = 5


def candidates_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Measure the candidates for the payload's ``config``.

    The answer is then under its ``candidates_key``.
    """
    config = ExperimentConfig(**job.payload["config"])
    names = [config.teacher, *(name for name in candidate_names(config) if name != config.teacher)]
    built: dict[str, _Built] = {}
    for number, name in enumerate(names):
        check()
        store.report(job.id, f"building {name}", 0.8 * number / len(names))
        try:
            built[name] = _Built(config, name)
        except ModelError:
            if name == config.teacher:  # others that do not fit this data are no candidates
                raise
    for _ in range(ROUNDS):  # in turns, so that what else the machine does meets all of them alike
        check()
        for each in built.values():
            each.round()
    measured = {name: each.candidate() for name, each in built.items()}
    teacher = measured.pop(config.teacher)
    found = choose_three(teacher, list(measured.values()), this_machine())
    store.put_artifact(candidates_key(config), json.dumps(found.to_json()).encode())


def _any_values(config: ExperimentConfig, card: DatasetCard) -> InputValues:
    """Return values that some data could have: they do not change how long a model takes.

    The size of a vocabulary does, so that texts are loaded.
    """
    if card.task.written:
        return datasets.load(config).values
    low, high = card.value_range
    shape = card.input_shape
    both = np.stack([np.full(shape, low), np.full(shape, high)])
    return InputValues(low, high, both, 1.0, np.zeros(shape), np.ones(shape))


class _Built:
    """A model with fresh weights, which do not change how long it takes.

    Raises ModelError where it does not fit.
    """

    def __init__(self, config: ExperimentConfig, name: str) -> None:
        card = dataset_card(config.dataset)
        own = own_model(name)
        start = "file" if own is not None and own.kind == "file" else "fresh"
        model = models.build(
            name,
            card.input_shape,
            len(card.class_names),
            0,
            values=_any_values(config, card),
            start=start,
        )
        self.name, self.model, self.network = name, model, Network(model, 1.0)
        # Of a text no token is padding, which would be left out.
        value = 1.0 if card.task.written else 0.0
        self.length = card.input_shape[0]
        self.example = np.full((1, *card.input_shape), value, np.float32)
        self.seconds: list[float] = []
        for _ in range(WARM_UP):
            self.network.logits(self.example)

    def round(self) -> None:
        """Time some single examples."""
        for _ in range(CALLS_A_ROUND):
            began = time.perf_counter()
            self.network.logits(self.example)
            self.seconds.append(time.perf_counter() - began)

    def candidate(self) -> Candidate:
        """Return what the model costs."""
        median = float(1e3 * np.median(self.seconds))
        return Candidate(
            self.name,
            self.model.count_params(),
            multiply_accumulates(self.model, self.length),
            median,
        )
