"""What workers do for a sweep: train one cell of it, and measure beforehand how fast its networks
train.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import update

from kdcore import models
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import SweepConfig
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.engine.jobs import Interrupted
from kdcore.errors import ClaimLost, StopRequested
from kdcore.methods.features import why_live
from kdcore.models.augmentation import augmentation
from kdcore.models.mixing import mixing
from kdcore.models.precision import policy_scope, resolve_precision
from kdcore.storage.schema import Job, Sweep, SweepCell
from kdcore.storage.store import Store, add_experiment
from kdcore.sweeps.planning import tags_of
from kdcore.sweeps.race import after_search
from kdcore.sweeps.speed import put_speed
from kdcore.sweeps.study import Study
from kdcore.training.loop import (
    Learner,
    Loop,
    Network,
    baseline_order,
    by_length,
    labelled_order,
    student_order,
    text_lengths,
)
from kdcore.training.teacher_features import Features, compared_layers, kept_values, no_features
from kdcore.training.teacher_logits import for_answers
from kdcore.training.trainer import make_targets, make_trainer
from kdcore.work.experiment import run_experiment

SECONDS_TO_MEASURE = 1.5


class Pruned(StopRequested):
    """Raised inside a cell that does badly against the others.

    What it trained is kept, as after a stop.
    """


def cell_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Train one cell of a sweep, chosen beforehand or by the sweep's sampler now, and tell the
    study how it did.
    """
    with store.reading() as session:
        cell = session.get_one(SweepCell, job.id)
        config = SweepConfig.from_dict(session.get_one(Sweep, cell.sweep_id).config)
    study = Study(store.url, cell.sweep_id, config, seed=config.base.seed + cell.number)
    trial_id, values = _begin(store, study, cell, job.payload.get("values"))
    epochs = config.cell(values).epochs
    hopeless = False

    def watch(seed: int, epoch: int, accuracy: float) -> None:
        nonlocal hopeless
        # A cell is judged by its first seed, and not at its end any more.
        if seed == config.base.seed and epoch < epochs:
            hopeless = hopeless or study.report(trial_id, epoch, accuracy)

    def check_all() -> None:
        check()
        if hopeless:
            raise Pruned("this cell does worse than the others after as many epochs")

    try:
        run_experiment(
            store,
            job.id,
            reuse="all",
            check=check_all,
            watch=watch if config.prune else None,
            keeps_attention=False,
        )
    except Pruned:
        study.prune(trial_id)
        _update(store, job.id, pruned=True)
        raise
    except (StopRequested, ClaimLost, Interrupted):
        raise  # the trial goes on when the cell does
    except Exception:
        study.fail(trial_id)
        _update(store, job.id, trial_id=None)  # if it is tried again, then as another trial
        raise
    accuracies = [
        run.summary["validation_accuracy"]
        for link, run in store.runs_of(job.id)
        if link.role == "student"
    ]
    study.finish(trial_id, sum(accuracies) / len(accuracies))
    if cell.pruned:  # somebody wanted to see it trained to its end
        _update(store, job.id, pruned=False)


def _begin(
    store: Store, study: Study, cell: SweepCell, given: dict[str, Any] | None
) -> tuple[int, dict[str, Any]]:
    """Return the cell's trial, the one that it had before an interruption or a new one, and its
    varied settings: ``given`` where a search comes before, else chosen by the sampler now.
    """
    if cell.values is None:
        if given is not None:
            trial_id, values = study.begin(cell.job_id, given), given
            config = after_search(store, study.config, values)
        else:
            trial_id, values = study.ask(cell.job_id)
            config = study.config.cell(values)
        with store.writing() as session:
            tags = tags_of(session.get_one(Sweep, cell.sweep_id))
            add_experiment(session, config, cell.job_id, tags=tags)
            session.execute(
                update(SweepCell)
                .where(SweepCell.job_id == cell.job_id)
                .values(values=values, trial_id=trial_id)
            )
        return trial_id, values
    if cell.trial_id is not None:
        return cell.trial_id, cell.values
    trial_id = study.begin(cell.job_id, cell.values)
    _update(store, cell.job_id, trial_id=trial_id)
    return trial_id, cell.values


def _update(store: Store, job_id: str, **values: object) -> None:
    with store.writing() as session:
        session.execute(update(SweepCell).where(SweepCell.job_id == job_id).values(**values))


def speed_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Train a teacher or a student for a moment, to know how long a sweep will take.

    Nothing of it is kept but the time.
    """
    role, config = job.payload["role"], ExperimentConfig(**job.payload["config"])
    dataset = datasets.load(config)
    name, batch_size = (
        (config.teacher, config.teacher_batch_size)
        if role == "teacher"
        else (config.student, config.batch_size)
    )
    policy = resolve_precision(config.precision).policy if role == "teacher" else "float32"
    with policy_scope(policy):
        learner = _untrained(job.id, role, config, dataset, name, batch_size)
        for _ in range(2):  # the first calls compile
            learner.advance(learner.next_batches(2))
        began, first, steps = time.perf_counter(), learner.step, 2
        while time.perf_counter() - began < SECONDS_TO_MEASURE:
            check()
            learner.advance(learner.next_batches(steps))
            steps = min(2 * steps, 32)
    seconds = (time.perf_counter() - began) / (learner.step - first) * learner.steps_per_epoch
    put_speed(store, config, role, seconds)


def _untrained(
    run_id: str, role: str, config: ExperimentConfig, dataset: Dataset, name: str, batch_size: int
) -> Learner:
    """Return a learner that takes the same steps as in an experiment, from answers that nobody
    gave.
    """

    def build(model: str) -> keras.Model:
        return models.build(
            model,
            dataset.input_shape,
            dataset.classes,
            seed=0,
            values=dataset.values,
        )

    network = Network(build(name), dataset.scale)
    on_features = config.method.needs.teacher == "features"
    asked = role == "student" and (config.answers_live or on_features)
    teacher = Network(build(config.teacher), dataset.scale) if asked else None
    if teacher is not None and not on_features:
        teacher = for_answers(teacher)
    features: Features = ()
    if teacher is not None and not config.answers_live:
        layers = compared_layers(config.method, teacher.model, network.model)
        if not why_live(kept_values(layers), len(dataset.train)):
            features = no_features(layers, len(dataset.train))
    live = asked and not features
    answers = None if live else np.zeros((len(dataset.train), dataset.classes), np.float32)
    augment = None
    if role != "teacher":
        augment = augmentation(
            config.augmentation,
            0,
            dataset.input_shape,
            dataset_card(config.dataset).value_range,
        )
    mix = None if role == "teacher" else mixing(config.mixing, 0, dataset.input_shape)
    labelled, examples = datasets.labelled_rows(dataset, None, 0), len(dataset.train)
    order: Callable[[int], NDArray[np.int32]] = partial(student_order, examples, 0)
    if role == "teacher":
        order, examples = partial(labelled_order, labelled, 0), len(labelled)
    elif role == "baseline":
        order = partial(baseline_order, labelled, examples, batch_size, 0)
    if dataset.vocabulary is not None:
        order = by_length(order, text_lengths(dataset.train.inputs), batch_size)
    trainer = make_trainer(role, config, network.model, teacher and teacher.model)
    return Learner(
        run_id,
        Loop(trainer, network.scale, augment, mix),
        network,
        dataset.train.inputs,
        make_targets(role, dataset.train.labels, labelled, answers, features),
        order,
        batch_size,
        -(-examples // batch_size),
    )
