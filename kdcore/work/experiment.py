"""An experiment from config to result: teacher, its logits, then student and baseline in step, seed
by seed.

Every step is found again in the store when it is done already, so running the same experiment once
more after a crash or a stop goes on where it ended.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kdcore import models
from kdcore.config.catalog import DatasetCard, dataset_card, own_model, parse_model_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.models.augmentation import augmentation
from kdcore.models.precision import policy_scope, resolve_precision
from kdcore.storage.arrays import pack
from kdcore.storage.schema import ROLES, Job, Run
from kdcore.storage.store import Store, new_id
from kdcore.storage.user_models import fit_in_words
from kdcore.training import kept_loops
from kdcore.training.callbacks import Evaluator, MetricStream
from kdcore.training.evaluation import (
    ValidationProbe,
    evaluate,
    model_from_bytes,
    model_to_bytes,
    store_examples,
    versions,
)
from kdcore.training.loop import (
    Learner,
    Loop,
    Network,
    baseline_order,
    student_order,
    train_together,
)
from kdcore.training.teacher_logits import for_answers, logits_of_run, training_logits
from kdcore.training.trainer import compiled_form, make_targets, make_trainer

SECONDS_BETWEEN_REPORTS = 0.5

# What a student learns from: the teacher's logits of all training examples, or the teacher itself,
# asked at every step.
Lessons = NDArray[np.float32] | Network


@dataclass
class Progress:
    """Tells the store how far the job is, and tells the job when to stop (``check`` raises
    StopRequested or ClaimLost).
    """

    store: Store
    job_id: str
    check: Callable[[], None]
    phases: int = 1
    phase: int = 0
    _words: str = ""
    _reported_at: float = 0.0
    _began: float = 0.0
    _first_fraction: float = 0.0

    def begin(self, words: str) -> None:
        """Enter the next phase."""
        self.phase += 1
        self._words, self._reported_at = words, 0.0
        self._first_fraction = 0.0
        self.update(0.0)

    def update(self, fraction: float, detail: str = "") -> None:
        """Report that ``fraction`` of the phase is done, at most twice a second.

        Raises where the job must end.
        """
        self.check()
        now = time.perf_counter()
        if (
            not self._first_fraction
        ):  # from the first step's end: compiling it takes seconds, and says nothing yet
            self._first_fraction, self._began = fraction, now
        if now - self._reported_at < SECONDS_BETWEEN_REPORTS:
            return
        self._reported_at = now
        gone = fraction - self._first_fraction
        seconds_left = (now - self._began) / gone * (1 - fraction) if gone > 0 else None
        overall = (self.phase - 1 + fraction) / self.phases
        self.store.report(self.job_id, self._words + detail, overall, seconds_left)


def experiment_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Train the experiment of the job's id."""
    run_experiment(store, job.id, check=check, **job.payload)


def run_experiment(
    store: Store,
    experiment_id: str,
    *,
    reuse: str = "teacher",
    parts: Sequence[str] = ROLES,
    check: Callable[[], None] = lambda: None,
    watch: Callable[[int, int, float], None] | None = None,
) -> None:
    """Carry out a stored experiment, or what is left of it.

    Args:
        store: holds the experiment, and gets its results.
        experiment_id: the experiment.
        reuse: which runs that are trained already may serve again: "none", "teacher" or "all".
        parts: the roles to train; a sweep trains what its cells share, a teacher or baselines, by
            itself.
        check: called between batches; may raise to end the work.
        watch: called with a student's seed, epoch and accuracy on validation data at every epoch's
            end.

    Raises KDLabError for what a user can mend.
    """
    config = ExperimentConfig(**store.experiment(experiment_id).config)
    pupils = [role for role in ("student", "baseline") if role in parts]
    taught = "teacher" in parts or "student" in parts
    progress = Progress(
        store, experiment_id, check, phases=1 + 2 * taught + config.seeds * bool(pupils)
    )
    progress.begin(f"loading {config.dataset}")
    dataset = datasets.load(config)
    store.update_experiment(
        experiment_id, dataset_key=dataset.fingerprint
    )  # first: a purge leaves in place what is used
    store_examples(store, dataset)
    experiment = _Job(store, experiment_id, config, dataset, reuse, progress, watch)
    lessons = experiment.lessons() if taught else None
    by_seed = [
        config.replace(seed=seed, seeds=1)
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    waiting = []
    for each in by_seed if pupils else []:
        of_seeds = f", seed {each.seed}" if config.seeds > 1 else ""
        progress.begin(f"training {' and '.join(pupils)} {config.student}{of_seeds}")
        if experiment.train_pupils(pupils, each, lessons, wait=False):
            waiting.append(each)
    for each in waiting:  # for what another experiment was training at the time
        experiment.train_pupils(pupils, each, lessons, wait=True)


@dataclass
class _Timing:
    reused: bool = False


@dataclass
class _Job:
    """The parts that the steps of one experiment share."""

    store: Store
    experiment_id: str
    config: ExperimentConfig
    dataset: Dataset
    reuse: str
    progress: Progress
    watch: Callable[[int, int, float], None] | None = None

    @contextmanager
    def timed(self, part: str) -> Iterator[_Timing]:
        """Add the time of the block to the experiment's account, also when it is stopped.

        Nothing if reused.
        """
        timing, began = _Timing(), time.perf_counter()
        try:
            yield timing
        finally:
            if not timing.reused:
                self.store.add_seconds(self.experiment_id, part, time.perf_counter() - began)

    def claim(
        self, role: str, config: ExperimentConfig, reuse: bool, wait: bool = True
    ) -> tuple[Run, bool] | None:
        """Find or create the run for ``role``; returns it and whether it is trained already.

        While another live experiment trains the very same model, this one waits for it rather than
        doing it twice; None where it is told not to ``wait``.
        """
        run = Run(
            id=new_id(),
            fingerprint=config.fingerprint(role),  # type: ignore[arg-type]
            role=role,
            seed=config.teacher_seed if role == "teacher" else config.seed,
            model=config.teacher if role == "teacher" else config.student,
            config=config.model_dump(mode="json"),
            experiment_id=self.experiment_id,
            created_at=time.time(),
        )
        while True:
            claimed, owner = self.store.claim_run(run, self.experiment_id, share=reuse)
            if owner is None:
                return claimed, claimed.finished_at is not None
            if not wait:
                return None
            self.progress.update(
                0.0, f": experiment {owner} is training the same one, waiting for it"
            )
            time.sleep(0.2)

    def lessons(self) -> Lessons:
        """Return what the teacher answers to every training example; it is trained now if it is not
        yet.

        With augmentation, the teacher itself: it must answer for the very copies of the images that
        the student sees.
        """
        run, network = self.teacher()
        if self.config.answers_live:
            features = self.config.method.needs.teacher == "features"
            why = "its features are learnt from" if features else "images are augmented"
            self.progress.begin(f"the teacher will answer live: {why}")
            # Tapped layers must be there: the short cut through the last ones is for logits alone.
            return network() if features else for_answers(network())
        self.progress.begin("asking the teacher about every training example")
        known = logits_of_run(self.store, run.id)
        if known is not None:
            return known
        with self.timed("teacher_logits") as timing:
            logits, timing.reused = training_logits(self.store, network(), self.dataset, run.id)
        return logits

    def teacher(self) -> tuple[Run, Callable[[], Network]]:
        """Return the trained teacher, found in the store or trained now: its run, and a function
        that gives its network.
        """
        config = self.config
        self.progress.begin(f"training the teacher {config.teacher}")
        claimed = self.claim("teacher", config, self.reuse != "none")
        assert claimed is not None, "it was waited for"
        run, trained = claimed
        if trained:
            return run, lambda: Network(self.load_model(run), self.dataset.scale)
        own = own_model(config.teacher)
        if own is not None and own.kind == "file":
            return run, self.brought_teacher(run)
        precision = resolve_precision(config.precision)
        with self.timed("teacher"), policy_scope(precision.policy):
            network = self.build(config.teacher, config.teacher_seed)
            learner = self.learner(
                run,
                network,
                Loop(make_trainer("teacher", config, network.model), self.dataset.scale),
                self.dataset.train.labels,
                partial(student_order, len(self.dataset.train), config.teacher_seed),
                config.teacher_batch_size,
            )
            self.train([learner], config.teacher_epochs)
            self.complete(
                run, network, {"precision": precision.policy, "precision_reason": precision.reason}
            )
        return run, lambda: network

    def brought_teacher(self, run: Run) -> Callable[[], Network]:
        """Measure a teacher that was added as a trained file: it is used as it is."""
        with self.timed("teacher"):
            network = self.build(self.config.teacher, self.config.teacher_seed, start="file")
            probe = ValidationProbe(network, self.dataset)
            self.store.update_run(run.id, parameters=network.model.count_params())
            self.store.add_probe(run.id, 0, pack(probe.probe_logits()))
            self.complete(run, network, {})
        return lambda: network

    def train_pupils(
        self, roles: Sequence[str], config: ExperimentConfig, lessons: Lessons | None, *, wait: bool
    ) -> bool:
        """Train student, baseline or both of one seed, from the same start on the same batches.

        Returns whether one of them is left because another experiment is training it: only if told
        not to ``wait``.
        """
        claims = {role: self.claim(role, config, self.reuse == "all", wait) for role in roles}
        runs = {
            role: claimed[0]
            for role, claimed in claims.items()
            if claimed is not None and not claimed[1]
        }
        if runs:
            with self.timed("students"):
                learners = [self.pupil(role, run, config, lessons) for role, run in runs.items()]
                if (
                    len({learner.step for learner in learners}) > 1
                ):  # one came from elsewhere: one after the other
                    for learner in learners:
                        self.train([learner], config.epochs)
                else:
                    self.train(learners, config.epochs)
                for (role, run), learner in zip(runs.items(), learners, strict=True):
                    self.complete(run, learner.network, {})
                    kind = self.kind(role, config)
                    if kind is not None:
                        kept_loops.keep(kind, kept_loops.Ready(learner.network, learner.loop))
        return None in claims.values()

    def pupil(
        self, role: str, run: Run, config: ExperimentConfig, lessons: Lessons | None
    ) -> Learner:
        """Return the learner of a student or baseline.

        Building from the same seed gives the same initial weights.
        """
        train = self.dataset.train
        labelled = datasets.labelled_rows(self.dataset, config.labels, config.seed)
        network, loop = self.pupil_loop(role, config, lessons)
        asked = config.method.needs.teacher != "nothing"
        answers = lessons if asked and not isinstance(lessons, Network) else None
        targets = make_targets(role, train.labels, labelled, answers)
        order = partial(student_order, len(train), config.seed)
        if role == "baseline" or config.method.needs.teacher == "nothing":
            order = partial(baseline_order, labelled, len(train), config.batch_size, config.seed)
        return self.learner(run, network, loop, targets, order, config.batch_size)

    def pupil_loop(
        self, role: str, config: ExperimentConfig, lessons: Lessons | None
    ) -> kept_loops.Ready:
        """Return a student's or baseline's network at its start, with the loop that trains it: a
        kept one if there is one.
        """
        network = self.build(config.student, config.seed, start=config.student_start)
        kept = kept_loops.take(self.kind(role, config))
        if kept is not None:
            kept.loop.trainer.restart(network.model, config)
            return kept
        # Each has one of its own, of the same seed: where both see the same batches, they see the
        # same copies.
        augment = augmentation(
            config.augmentation, config.seed, self.dataset.input_shape, self.card.value_range
        )
        teacher = lessons.model if isinstance(lessons, Network) else None
        trainer = make_trainer(role, config, network.model, teacher)
        return kept_loops.Ready(network, Loop(trainer, self.dataset.scale, augment))

    def kind(self, role: str, config: ExperimentConfig) -> tuple[object, ...] | None:
        """Return all that a pupil's compiled loop depends on; None where it must not serve another
        run.

        Not with augmentation, whose random numbers and live teacher are one run's own, nor for a
        model of a user's own, whose name may come to mean another one.
        """
        if (
            config.augmentation != "none"
            or (role == "student" and config.answers_live)
            or parse_model_name(config.student)[0].by_name
        ):
            return None
        shape, classes = self.dataset.input_shape, self.dataset.classes
        return (
            compiled_form(role, config),
            config.student,
            shape,
            classes,
            self.dataset.scale,
            self.dataset.train.inputs.dtype.str,
        )

    @functools.cached_property
    def train_inputs(self) -> tf.Tensor:
        """The training examples on the device, once for all models that learn from them."""
        return tf.convert_to_tensor(self.dataset.train.inputs)

    @property
    def card(self) -> DatasetCard:
        """What the catalog says of the dataset."""
        return dataset_card(self.config.dataset)

    def build(self, name: str, seed: int, start: str = "fresh") -> Network:
        """Return a new network for the dataset, its weights fixed by ``seed`` (or those of a user's
        file).
        """
        model = models.build(
            name,
            self.dataset.input_shape,
            self.dataset.classes,
            seed,
            value_range=self.card.value_range,
            start=start,
        )
        return Network(model, self.dataset.scale)

    def learner(
        self,
        run: Run,
        network: Network,
        loop: Loop,
        targets: Any,
        order: Callable[[int], NDArray[np.int32]],
        batch_size: int,
    ) -> Learner:
        """Return a learner that streams to the store, at its last checkpoint if there is one."""
        steps_per_epoch = -(-len(self.dataset.train) // batch_size)
        probe = ValidationProbe(network, self.dataset)
        evaluator: Evaluator = probe
        if self.watch is not None and run.role == "student":
            watch = self.watch
            evaluator = _Watched(probe, lambda accuracy: watch(run.seed, learner.epoch, accuracy))
        stream = MetricStream(
            self.store,
            run.id,
            steps_per_epoch=steps_per_epoch,
            batch_size=batch_size,
            evaluator=evaluator,
            seconds_before=run.summary.get("seconds", 0.0),
        )
        learner = Learner(
            run.id,
            loop,
            network,
            self.train_inputs,
            targets,
            order,
            batch_size,
            steps_per_epoch,
            [stream],
        )
        checkpoint = self.store.artifact(f"checkpoint/{run.id}")
        if checkpoint is not None:
            learner.restore(checkpoint)
        else:
            self.store.update_run(run.id, parameters=network.model.count_params())
            self.store.add_probe(run.id, 0, pack(probe.probe_logits()))
        return learner

    def train(self, learners: list[Learner], epochs: int) -> None:
        """Train learners in step, reporting and saving on the way."""
        streams = [
            each
            for learner in learners
            for each in learner.callbacks
            if isinstance(each, MetricStream)
        ]

        def report() -> None:
            first = learners[0]
            fraction = first.step / (epochs * first.steps_per_epoch)
            self.progress.update(fraction, f": epoch {min(first.epoch + 1, epochs)} of {epochs}")

        def save(checkpoints: dict[str, bytes]) -> None:
            self.store.put_artifacts(
                {f"checkpoint/{run_id}": data for run_id, data in checkpoints.items()}
            )
            for stream in streams:
                self.store.update_run(stream.run_id, summary={"seconds": stream.seconds})

        train_together(learners, epochs, on_chunk=report, save=save)

    def complete(self, run: Run, network: Network, extra: dict[str, Any]) -> None:
        """Measure a trained network, store it, and only then call the run finished."""
        seconds = self.store.run(run.id).summary.get("seconds", 0.0)
        self.store.put_artifact(f"model/{run.id}", model_to_bytes(network.model))
        figures = evaluate(self.store, run.id, network, self.dataset)
        own = own_model(run.model)
        if own is not None:
            extra = {**extra, "fit": fit_in_words(own, self.card)}
        summary = {**figures, **extra, "seconds": seconds, "versions": versions()}
        self.store.update_run(run.id, summary=summary, finished_at=time.time())
        self.store.delete_artifacts(f"checkpoint/{run.id}")

    def load_model(self, run: Run) -> keras.Model:
        """Return the model of a finished run."""
        data = self.store.artifact(f"model/{run.id}")
        assert data is not None, f"run {run.id} is finished and so has a model"
        return model_from_bytes(data)


@dataclass
class _Watched:
    """An evaluator that also tells somebody each accuracy on validation data."""

    probe: ValidationProbe
    tell: Callable[[float], None]

    def validation(self) -> dict[str, float]:
        measured = self.probe.validation()
        self.tell(measured["accuracy"])
        return measured

    def probe_logits(self) -> NDArray[np.float32]:
        return self.probe.probe_logits()
