"""Which trainings have their steps compiled with XLA: measured once for a kind of step, kept in the
store, and the same for all that are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import keras
import tensorflow as tf

from kdcore.config.catalog import parse_model_name
from kdcore.config.experiment import ExperimentConfig, digest
from kdcore.models.precision import resolve_precision
from kdcore.plans import Step
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.training import acceleration
from kdcore.training.acceleration import LEAST_GAIN, StepTimes
from kdcore.training.loop import TOKENS_A_STEP, Loop, Network, text_lengths
from kdcore.training.trainer import compiled_form
from kdcore.work.answers import Kept, Taught
from kdcore.work.learners import Learners, Training

XLA = "xla"  # under which a run's summary holds what was chosen, and the store what was measured


class Make(Protocol):
    """Makes a new training, with or without XLA."""

    def __call__(self, *, compiled: bool) -> Training:
        """Return it."""
        ...


@dataclass(frozen=True)
class Choice:
    """Whether the steps of a run are compiled, and why in words; none where nothing was
    measured.
    """

    used: bool
    words: str = ""


@dataclass(frozen=True)
class Compiling:
    """Chooses for the runs of one experiment.

    A run keeps what was chosen when it began, wherever it goes on. Runs of one network that are
    compared, in an experiment or in its sweep, have what the first of them has. ``tell`` is told
    what is going on.
    """

    store: Store
    experiment_id: str
    learners: Learners
    tell: Callable[[str], None]

    def of_teacher(self, run: Run, step: Step, config: ExperimentConfig, make: Make) -> bool:
        """Return whether the steps of a teacher are compiled."""
        if not _is_known(config.teacher):
            return False
        form = (
            compiled_form("teacher", config),
            resolve_precision(config.precision).policy,
            *_noise(step, step.noise),
        )
        return self._choose(run, form, config.teacher_epochs, make)

    def of_student(
        self, run: Run, step: Step, config: ExperimentConfig, taught: Taught | None, make: Make
    ) -> bool:
        """Return whether the steps of a student or baseline are compiled."""
        if not _is_known(config.student):
            return False
        live = config.answers_live or config.method.needs.teacher == "features"
        known = not live or _is_known(config.teacher)
        form = (
            compiled_form(step.role, config),
            *_noise(step, config.augmentation),
            config.mixing,
            _form_of(taught),
        )
        return self._choose(run, form, config.epochs, make, known=known)

    def of_language_model(
        self, run: Run, step: Step, teacher: keras.Model | None, make: Make
    ) -> bool:
        """Return whether the steps of a language model are compiled."""
        how = step.pretraining
        assert how is not None, "it is one"
        losses = tuple(bool(each) for each in (how.masked, how.distillation, how.hidden))
        return self._choose(run, ("language model", losses, _size(teacher)), how.epochs, make)

    def _choose(
        self,
        run: Run,
        form: tuple[object, ...],
        epochs: int,
        make: Make,
        *,
        known: bool = True,
    ) -> bool:
        """Return what was chosen for a run, or choose now: never where not all is ``known`` to
        compile.
        """
        multiplications = self.learners.work_of_attention(run.model)
        if not multiplications:
            return False
        if XLA in run.summary:
            return Choice(**run.summary[XLA]).used
        found = self.store.said_alike(run, self.experiment_id, XLA)
        if found is None:
            found = asdict(self._weigh(run, form, epochs, make, multiplications if known else 0))
        return Choice(**self.store.say_alike(run, self.experiment_id, XLA, found)).used

    def _weigh(
        self, run: Run, form: tuple[object, ...], epochs: int, make: Make, multiplications: int
    ) -> Choice:
        """Choose by what was measured; nothing is where the training is too short."""
        if not multiplications:
            return Choice(False)
        training = make(compiled=False)
        steps = epochs * training.steps_per_epoch
        longest = self.learners.longest_text
        if not acceleration.is_long(steps * training.batch_size, multiplications, longest):
            return Choice(False)
        times, shapes = self._times(run, form, epochs, training, make)
        used = times.pays(steps, shapes)
        return Choice(used, in_words(times, used))

    def _times(
        self, run: Run, form: tuple[object, ...], epochs: int, training: Training, make: Make
    ) -> tuple[StepTimes, int]:
        """Return what a step of a training takes, kept or measured now, and how many shapes its
        batches have.
        """
        dataset = self.learners.dataset
        inputs = dataset.train.inputs
        texts = None if self.learners.longest_text is None else inputs
        rows, shapes = acceleration.shapes_of(training.order, epochs, training.batch_size, texts)
        length = 0 if texts is None else -(-int(text_lengths(texts[rows]).max()) // TOKENS_A_STEP)
        key = {
            "device": acceleration.device(),
            "versions": (tf.__version__, keras.__version__),
            "network": (run.model, *dataset.input_shape, dataset.classes, dataset.values.tokens),
            "step": repr(form),
            "batch": (len(rows), length * TOKENS_A_STEP, inputs.dtype.str),
        }
        place = f"{XLA}/{digest(key)}"
        data = self.store.artifact(place)
        if data is None:
            self.tell(": timing its steps with and without XLA")
            targets = tf.nest.map_structure(lambda part: part[rows], training.targets)
            times = acceleration.measure(partial(_loop, make), inputs[rows], targets)
            data = self.store.keep_first(place, times.to_bytes())
        return StepTimes.from_bytes(data), shapes


def in_words(times: StepTimes, used: bool) -> str:
    """Say how steps are run, and why: "compiled with XLA: 1.4 times as fast when measured"."""
    gain = f"{times.gain:.1f} times as fast when measured"
    if used:
        return f"compiled with XLA: {gain}"
    if times.gain < LEAST_GAIN:
        return f"not compiled with XLA: {gain}"
    return f"not compiled with XLA: {gain}, but compiling takes longer than it would save"


def _loop(make: Make, compiled: bool) -> Loop:
    return make(compiled=compiled).loop


def _is_known(network: str) -> bool:
    """Return whether a network is one of KD Lab's own: others may not compile at all."""
    return not parse_model_name(network)[0].by_name


def _noise(step: Step, augmentation: str) -> tuple[object, ...]:
    return augmentation, step.dropout, step.stochastic_depth


def _form_of(taught: Taught | None) -> object:
    """Return what the time of a step depends on in what a student is taught."""
    if isinstance(taught, Network):
        return _size(taught.model)
    return [each.shape[1:] for each in taught.features] if isinstance(taught, Kept) else None


def _size(network: keras.Model | None) -> Any:
    return network and (network.name, network.count_params())
