"""The learners of an experiment: a network at its start or at its last checkpoint, with the loop
that trains it and what it learns from.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kdcore import models
from kdcore.analysis.attention import epochs_of
from kdcore.analysis.pseudo_labels import select_examples
from kdcore.config.cards import DatasetCard
from kdcore.config.catalog import dataset_card, parse_model_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.models.augmentation import Augmentation, augmentation
from kdcore.models.families import multiply_accumulates
from kdcore.models.layers_within import attention_layers
from kdcore.models.mixing import mixing
from kdcore.models.noise import with_noise
from kdcore.models.precision import policy_scope, resolve_precision
from kdcore.plans import Step
from kdcore.storage.arrays import pack
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.training import kept_loops
from kdcore.training.attention_maps import AttentionStream
from kdcore.training.callbacks import Evaluator, MetricStream
from kdcore.training.evaluation import ValidationProbe, model_from_bytes
from kdcore.training.loop import (
    Learner,
    Loop,
    Network,
    baseline_order,
    by_length,
    labelled_order,
    mixed_order,
    student_order,
    text_lengths,
)
from kdcore.training.trainer import compiled_form, make_targets, make_trainer
from kdcore.work.answers import Kept, Taught
from kdcore.work.compared_maps import MapPair


def in_training(model: keras.Model, step: Step, seed: int) -> keras.Model:
    """Return a network as a step trains it: with the noise inside it, of the same weights."""
    depth = step.stochastic_depth
    return with_noise(model, dropout=step.dropout, stochastic_depth=depth, seed=seed)


Order = Callable[[int], NDArray[np.int32]]


@dataclass(frozen=True)
class Training:
    """A network at its start, with the loop that trains it and what it learns from in which order;
    nothing of it is in the store yet.
    """

    network: Network
    loop: Loop
    targets: Any
    order: Order
    batch_size: int
    steps_per_epoch: int


# By network and data: cells of a sweep ask for the same ones again and again.
_work_of_attention: dict[tuple[object, ...], int] = {}


@dataclass
class Learners:
    """Makes the learners of one experiment, which share its data.

    ``watch`` is told a student's seed, epoch and accuracy on validation data at every epoch's end;
    ``keeps_attention`` is whether to keep where the models look, ``pairs`` in which feature maps
    those of the round are compared with their teacher.
    """

    store: Store
    config: ExperimentConfig
    dataset: Dataset
    watch: Callable[[int, int, float], None] | None = None
    keeps_attention: bool = True
    pairs: tuple[MapPair, ...] = ()

    def labelled(self, config: ExperimentConfig) -> NDArray[np.intp]:
        """Return the training rows whose label a seed may see."""
        rows = datasets.labelled_rows(self.dataset, config.labels, config.seed)
        return rows[np.isin(rows, self.shown)] if config.omitted_classes else rows

    @functools.cached_property
    def shown(self) -> NDArray[np.int32]:
        """The training rows that student and baseline may see where classes are omitted: not
        theirs, nor those that could be theirs, because they have no label.
        """
        omitted = (*self.config.omitted_numbers, -1)
        return np.flatnonzero(~np.isin(self.dataset.train.labels, omitted)).astype(np.int32)

    def teacher_training(
        self,
        step: Step,
        config: ExperimentConfig,
        begins_as: Run | None = None,
        *,
        compiled: bool = False,
    ) -> Training:
        """Return the training of a teacher, which starts as the trained run ``begins_as`` where
        there is one; its steps ``compiled`` with XLA or not.

        Trained once, it passes over all labelled examples; trained for each seed, it sees the
        labels of the seed alone, in as many steps as students take.
        """
        size, seed = config.teacher_batch_size, config.teacher_seed
        with policy_scope(resolve_precision(config.precision).policy):
            network = self.build(config.teacher, seed)
            if begins_as is not None:
                network.model.set_weights(self.load_model(begins_as).get_weights())
            trainer = make_trainer("teacher", config, in_training(network.model, step, seed))
        rows, once = datasets.labelled_rows(self.dataset, step.labels, seed), step.seed is not None
        augment = self.augmentation(step.noise, seed)
        order = partial(baseline_order, rows, len(self.dataset.train), size, seed)
        return self.training(
            network,
            Loop(trainer, self.dataset.scale, augment, jit_compile=compiled),
            self.dataset.train.labels,
            partial(labelled_order, rows, seed) if once else order,
            size,
            examples=len(rows) if once else None,
        )

    def training(
        self,
        network: Network,
        loop: Loop,
        targets: Any,
        order: Order,
        batch_size: int,
        *,
        batches_are_mixed: bool = False,
        examples: int | None = None,
    ) -> Training:
        """Return a training over the examples in ``order``.

        Texts of like length come together, but where each batch is a mixture of its own. An epoch
        has as many steps as a pass over ``examples``, by default all for training.
        """
        if self.dataset.vocabulary is not None and not batches_are_mixed:
            order = by_length(order, text_lengths(self.dataset.train.inputs), batch_size)
        steps = -(-(examples or len(self.dataset.train)) // batch_size)
        return Training(network, loop, targets, order, batch_size, steps)

    def augmentation(self, name: str, seed: int) -> Augmentation | None:
        """Return how the batches of a seed are changed; a learner has one of its own."""
        return augmentation(name, seed, self.dataset.input_shape, self.card.value_range)

    def student_training(
        self,
        step: Step,
        config: ExperimentConfig,
        taught: Taught | None,
        begins_as: Run | None,
        *,
        compiled: bool = False,
        kept: bool = True,
    ) -> Training:
        """Return the training of a student or baseline, which starts as the trained run
        ``begins_as`` where there is one; its steps ``compiled`` with XLA or not.

        Building from the same seed gives the same initial weights. A loop that is ``kept`` from
        another run may serve it.
        """
        train, role = self.dataset.train, step.role
        labelled = self.labelled(config)
        network = self.build(config.student, config.seed, config.student_start)
        if begins_as is not None:
            network.model.set_weights(self.load_model(begins_as).get_weights())
        kind = self.kind(step, config, taught, compiled) if kept else None
        network, loop = self.loop_of(step, config, taught, network, compiled, kind)
        asked = config.method.needs.teacher != "nothing"
        known = taught.logits if isinstance(taught, Kept) else taught
        stored = known if asked and not isinstance(known, Network) else None
        features = taught.features if isinstance(taught, Kept) else ()
        targets = make_targets(role, train.labels, labelled, stored, features)
        order = partial(student_order, len(train), config.seed)
        if config.omitted_classes:
            order = partial(baseline_order, self.shown, len(train), config.batch_size, config.seed)
        if step.selection is not None:
            assert stored is not None, "pseudo-labels are computed beforehand"
            chosen = select_examples(stored, labelled, step.selection)
            ratio, size = step.selection.ratio, config.batch_size
            order = partial(mixed_order, labelled, chosen, ratio, len(train), size, config.seed)
        elif role == "baseline" or config.method.needs.teacher == "nothing":
            order = partial(baseline_order, labelled, len(train), config.batch_size, config.seed)
        mixed = step.selection is not None
        return self.training(
            network, loop, targets, order, config.batch_size, batches_are_mixed=mixed
        )

    def loop_of(
        self,
        step: Step,
        config: ExperimentConfig,
        taught: Taught | None,
        network: Network,
        compiled: bool,
        kind: tuple[object, ...] | None,
    ) -> kept_loops.Ready:
        """Return a student's or baseline's network at its start, with the loop that trains it: one
        kept of its ``kind`` if there is one.
        """
        kept = kept_loops.take(kind)
        if kept is not None:
            kept.loop.trainer.restart(network.model, config, steps=self.steps_of(config))
            return kept
        # Each has one of its own, of the same seed: where both see the same batches, they see the
        # same copies.
        augment = self.augmentation(config.augmentation, config.seed)
        asked = taught.teacher if isinstance(taught, Kept) else taught
        teacher = asked.model if isinstance(asked, Network) else None
        steps = self.steps_of(config)
        trained = in_training(network.model, step, config.seed)
        trainer = make_trainer(step.role, config, trained, teacher, steps=steps)
        mix = mixing(config.mixing, config.seed, self.dataset.input_shape)
        loop = Loop(trainer, self.dataset.scale, augment, mix, jit_compile=compiled)
        return kept_loops.Ready(network, loop)

    def steps_of(self, config: ExperimentConfig) -> int:
        """Return the steps of the whole training of a student or baseline."""
        return -(-len(self.dataset.train) // config.batch_size) * config.epochs

    @property
    def longest_text(self) -> int | None:
        """The length that texts are cut at, in tokens; None where the examples are no texts."""
        return None if self.dataset.vocabulary is None else self.dataset.input_shape[0]

    def kind(
        self, step: Step, config: ExperimentConfig, taught: Taught | None, compiled: bool
    ) -> tuple[object, ...] | None:
        """Return all that a compiled loop depends on; None where it must not serve another
        run.

        Not with augmentation, mixing or noise inside, whose random numbers and live teacher are one
        run's own, nor for a model of a user's own, whose name may come to mean another one.
        """
        role = step.role
        if (
            config.augmentation != "none"
            or config.mixing != "none"
            or step.leaves_parts_out
            or isinstance(taught, Network)
            or parse_model_name(config.student)[0].by_name
        ):
            return None
        shape, classes = self.dataset.input_shape, self.dataset.classes
        return (
            compiled_form(role, config),
            taught.form if isinstance(taught, Kept) else (),
            compiled,
            config.student,
            shape,
            self.dataset.values.tokens,
            classes,
            self.dataset.scale,
            self.dataset.train.inputs.dtype.str,
        )

    def work_of_attention(self, name: str) -> int:
        """Return the multiply-accumulates of one example in a network with attention, of texts in
        the longest; 0 for any other.
        """
        values = self.dataset.values.tokens
        kind = (name, self.dataset.input_shape, self.dataset.classes, values)
        if kind not in _work_of_attention:
            model = self.build(name, seed=0).model
            length = self.dataset.input_shape[0]
            attends = bool(attention_layers(model))
            _work_of_attention[kind] = multiply_accumulates(model, length) if attends else 0
        return _work_of_attention[kind]

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
            values=self.dataset.values,
            start=start,
        )
        return Network(model, self.dataset.scale)

    def begin(self, run: Run, training: Training, evaluator: Evaluator | None = None) -> Learner:
        """Return a learner that streams to the store, at its last checkpoint if there is one."""
        network = training.network
        probe = evaluator or ValidationProbe(network, self.dataset)
        looking = [] if evaluator else self.attention_streams(run, network)
        evaluator = probe
        if self.watch is not None and run.role == "student":
            watch = self.watch
            evaluator = _Watched(probe, lambda accuracy: watch(run.seed, learner.epoch, accuracy))
        stream = MetricStream(
            self.store,
            run.id,
            steps_per_epoch=training.steps_per_epoch,
            batch_size=training.batch_size,
            evaluator=evaluator,
            seconds_before=run.summary.get("seconds", 0.0),
        )
        learner = Learner(
            run.id,
            training.loop,
            network,
            self.train_inputs,
            training.targets,
            training.order,
            training.batch_size,
            training.steps_per_epoch,
            [stream, *looking],
        )
        checkpoint = self.store.artifact(f"checkpoint/{run.id}")
        if checkpoint is not None:
            learner.restore(checkpoint)
        else:
            self.store.update_run(run.id, parameters=network.model.count_params())
            self.store.add_probe(run.id, 0, pack(probe.probe_logits()))
            for each in looking:
                each.keep(0)
        return learner

    def attention_streams(self, run: Run, network: Network) -> list[AttentionStream]:
        """Return what keeps where a run's network looks; nothing where nobody asked for it."""
        if not self.keeps_attention:
            return []
        layers = {f"{pair.teacher}:{pair.student}": pair.student for pair in self.pairs}
        epochs = epochs_of(run)
        return [AttentionStream(self.store, run.id, network, self.dataset, epochs, layers)]

    def network_of(self, run: Run) -> Network:
        """Return the network of a finished run."""
        return Network(self.load_model(run), self.dataset.scale)

    def load_model(self, run: Run) -> keras.Model:
        """Return the model of a finished run."""
        data = self.store.artifact(f"model/{run.id}")
        assert data is not None, f"run {run.id} is finished and so has a model"
        return model_from_bytes(data)


@dataclass
class _Watched:
    """An evaluator that also tells somebody each accuracy on validation data."""

    probe: Evaluator
    tell: Callable[[float], None]

    def validation(self) -> dict[str, float]:
        measured = self.probe.validation()
        self.tell(measured["accuracy"])
        return measured

    def probe_logits(self) -> NDArray[np.float32]:
        return self.probe.probe_logits()
