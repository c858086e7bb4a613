"""The training step of distillation: a Keras model that trains a student on labels and on a
teacher's logits.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import keras
import tensorflow as tf
from keras import ops

from kdcore.errors import ModelError
from kdcore.losses import (
    as_class_numbers,
    check_alpha,
    check_loss_fits_labels,
    check_temperature,
    distillation_loss,
    kd_loss_per_example,
    soften,
)
from kdcore.models.outputs import LogitsReader
from kdcore.training.batches import (
    FEATURES,
    labelled_rows,
    labels_of,
    number_of_rows,
    per_row,
    unpack_batch,
    unpack_targets,
    weighted_mean,
    with_mask,
)
from kdcore.training.first_examples import (
    check_class_numbers,
    check_no_probabilities,
    check_one_class_each,
    first_examples,
)
from kdcore.training.pairing import refuse_other_inputs, refuse_shared_layers
from kdcore.training.taps import LOGITS, tap

if keras.config.backend() != "tensorflow":
    raise ModelError(
        f"kdcore.Distiller trains with TensorFlow, but Keras runs on {keras.config.backend()}: "
        "set the environment variable KERAS_BACKEND=tensorflow before Keras is imported"
    )

# Beside the logits in what a student answers: its output as it is, and which positions count.
OUTPUT, MASK = "output", "mask"
# Here the total is one of the two losses alone.
ONE_LOSS_ALPHAS = {0.0, 1.0}


class _Mix(NamedTuple):
    """How the two losses are mixed: scalar float64 variables."""

    alpha: Any
    temperature: Any


class _Losses(NamedTuple):
    """One batch's losses, how many of its rows the hard one is the mean of, and the values of the
    curves that its loss objects add.
    """

    total: Any
    hard: Any
    soft: Any
    labelled: Any
    curves: dict[str, Any]


@keras.saving.register_keras_serializable(package="kdcore")
class Distiller(keras.Model):
    """Trains ``student`` on the true labels and on the softened outputs of ``teacher``; used like
    any Keras model.

    ``total = alpha · hard_loss + (1 - alpha) · soft_loss``: alpha weights the true labels. The soft
    loss is :func:`kdcore.kd_loss` (Hinton, Vinyals, Dean 2015). Scripts written for the Keras
    knowledge distillation example run unchanged::

        distiller = Distiller(student=student, teacher=teacher)
        distiller.compile(optimizer="adam", metrics=["accuracy"], alpha=0.1, temperature=3)
        distiller.fit(x_train, y_train, epochs=3)
        distiller.evaluate(x_test, y_test)

    Both models give logits of shape [batch, classes], or [batch, ..., classes] where they answer
    for each position (pixels, tokens): means then run over all positions. Outputs that are
    probabilities, of a softmax or sigmoid at the end, are turned back into logits, with a warning.
    A single output stands for two classes, with logits (0, z). The teacher is frozen
    (``teacher.trainable = False``) and always called with ``training=False``: no weight and no
    BatchNorm statistic of it changes. Set ``teacher.trainable = True`` and compile it again to
    train it later. As a model, a distiller is its student: ``predict`` gives the student's logits.
    Saved as ``.keras`` it can be reloaded, after ``from kdcore import Distiller``, and trained on;
    its teacher comes back without an optimizer.

    **Targets.** ``y`` is the labels, or a dict ``{"labels": ..., "teacher_logits": ...}`` of labels
    and the teacher's logits computed beforehand; then the teacher is never called and may be None.
    Losses that tap its layers still ask it, unless ``"teacher_features"`` is there too: a tuple of
    what :meth:`kdcore.training.method_loss.MethodLoss.kept` makes of these layers' outputs (the
    outputs themselves for losses of others), in the order of the losses.
    Labels are class numbers of shape [batch] or [batch, 1], or one-hot rows of shape [batch,
    classes]. A class number of -1 says that the row has no true label: the hard loss is the mean
    over the labelled rows of the batch (0 if there are none), the soft loss runs over all rows,
    metrics see only the labelled ones.

    **Sample weights** multiply each row's hard and soft loss before the mean, and weight the
    metrics.

    **Other methods.** ``distillation_loss=`` takes any ``keras.distillation.DistillationLoss``, or
    several whose sum takes the soft loss's place; features of named layers are tapped as in
    ``keras.distillation.Distiller``. Layers of the losses' own are trained with the student.

    **Logs.** ``loss``, ``hard_loss`` and ``soft_loss`` are means over the epoch's examples, for
    ``hard_loss`` over the labelled ones, however large the batches are.

    Args:
        student: the model to train.
        teacher: the model to learn from, or None where all targets carry its logits.
        output: which of several outputs is meant, by name; both models have it.
        **kwargs: ``name``, ``trainable`` and ``dtype`` of :class:`keras.Model`.

    Raises:
        ModelError: where teacher and student are the same object, share layers, take inputs of
            different shapes, or have several outputs of which none was chosen.
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model | None = None,
        output: str | None = None,
        **kwargs: Any,
    ) -> None:
        # The student's policy, whatever the global one is: inputs are cast to what the student
        # computes in, and mixed_float16 gets its loss scaling.
        super().__init__(**{"dtype": student.dtype_policy, **kwargs})
        if teacher is student:
            raise ModelError(
                "teacher and student are the same model object: give the student a copy of its own"
            )
        if teacher is not None:
            refuse_shared_layers(student, teacher)
            refuse_other_inputs(student, teacher)
        self.student = student
        self.teacher = teacher
        self.output_name = output
        self._readers = {"student": LogitsReader(student, "student", output)}
        if teacher is not None:
            teacher.trainable = False
            self._readers["teacher"] = LogitsReader(teacher, "teacher", output)
        self._said: set[str] = set()
        self._say_what_is_undone()
        self.built = student.built
        self.hard_loss_tracker = keras.metrics.Mean(name="hard_loss")
        self.soft_loss_tracker = keras.metrics.Mean(name="soft_loss")

    def compile(
        self,
        optimizer: Any = "rmsprop",
        metrics: Any = None,
        student_loss_fn: Any = None,
        distillation_loss_fn: Any = None,
        alpha: float = 0.1,
        temperature: float = 3,
        distillation_loss: Any = None,
        loss: Any = None,
        **kwargs: Any,
    ) -> None:
        """Configure the training.

        Args:
            optimizer: updates the student's weights.
            metrics: are given the labels and the student's logits, over the labelled rows only.
            student_loss_fn: the hard loss of (labels, student logits): a Keras loss, its name, or a
                function that returns one value a row. None: cross-entropy from logits, of class
                numbers or of rows over the classes.
            distillation_loss_fn: the soft loss of (softened teacher, softened student), multiplied
                by temperature² as in the Keras example. None or ``keras.losses.KLDivergence()``:
                :func:`kdcore.kd_loss`, the same quantity from logits, without the clipping of
                probabilities that makes gradients vanish.
            alpha: weight of the hard loss, from 0 to 1; at 0 the labels do not matter, at 1 the
                teacher does not.
            temperature: above 0.
            distillation_loss: a ``keras.distillation.DistillationLoss``, or a list of them, in
                place of the soft loss of ``distillation_loss_fn`` and ``temperature``.
            loss: the hard loss, as plain Keras calls it: the same as ``student_loss_fn``.
            **kwargs: ``jit_compile``, ``steps_per_execution``, ``run_eagerly``, ``auto_scale_loss``
                and ``weighted_metrics`` of :meth:`keras.Model.compile`.

        Raises:
            ConfigError: for an alpha or a temperature out of range.
            ModelError: under a distribution strategy of several replicas, and where a loss does
                not fit the models.
        """
        check_alpha(alpha)
        check_temperature(temperature)
        if loss is not None and student_loss_fn is not None:
            raise ModelError(
                "there must be one hard loss, got loss and student_loss_fn: give either"
            )
        student_loss_fn = loss if student_loss_fn is None else student_loss_fn
        if self.distribute_strategy.num_replicas_in_sync > 1:
            raise ModelError(
                "a distiller trains on one device: its means do not reach over several replicas"
            )
        # As weighted metrics, so that sample weights and missing labels reach them; without either
        # nothing changes.
        given = keras.tree.flatten([metrics, kwargs.pop("weighted_metrics", None)])
        super().compile(
            optimizer=optimizer, weighted_metrics=[m for m in given if m is not None], **kwargs
        )
        self._alpha, self._temperature = float(alpha), float(temperature)
        # What compiled training steps read, so that another alpha or T takes effect in them;
        # tensors of TensorFlow's because they are settings and not among the model's weights.
        with tf.init_scope():
            self._mix = _Mix(
                tf.Variable(alpha, dtype=tf.float64), tf.Variable(temperature, dtype=tf.float64)
            )
        self._own_hard_loss = student_loss_fn is not None
        self._hard_loss_field = "student_loss_fn" if loss is None else "loss"
        self.student_loss_fn = keras.losses.get(
            student_loss_fn or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        self.distillation_loss_fn = keras.losses.get(distillation_loss_fn)
        self._take_losses(distillation_loss)

    def _take_losses(self, given: Any) -> None:
        """Keep loss objects, with the layers and the taps that they need."""
        self.distillation_losses = [loss for loss in keras.tree.flatten(given) if loss is not None]
        tapped = {
            role: [
                name
                for loss in self.distillation_losses
                if (name := getattr(loss, f"{role}_layer_name", None)) is not None
            ]
            for role in ("teacher", "student")
        }
        if tapped["teacher"] and self.teacher is None:
            raise ModelError(
                "this loss taps layers of the teacher: give the distiller a teacher, its logits "
                "are not enough"
            )
        teacher = self.student if self.teacher is None else self.teacher
        for loss in self.distillation_losses:
            # Without a teacher its logits come with the targets, shaped as the student's.
            loss.validate_model_compatibility(teacher, self.student)
        # Those of losses that are no layers themselves; Keras finds the others.
        self._loss_layers = [
            layer
            for loss in self.distillation_losses
            if not isinstance(loss, keras.layers.Layer)
            for layer in vars(loss).values()
            if isinstance(layer, keras.layers.Layer)
        ]
        curves = {name for loss in self.distillation_losses for name in getattr(loss, "curves", ())}
        self._curve_trackers = {name: keras.metrics.Mean(name=name) for name in sorted(curves)}
        methods = [loss.method for loss in self.distillation_losses if hasattr(loss, "method")]
        self._curves_of_labelled = {
            curve.name for method in methods for curve in method.curves if curve.labelled
        }
        of_student = list(dict.fromkeys(tapped["student"]))
        self._view_student = tap(self.student, of_student) if of_student else None
        # Without a teacher nobody asks it.
        self._view_teacher = tap(teacher, list(dict.fromkeys(tapped["teacher"])))
        self._needs_teacher = not self.distillation_losses or any(
            getattr(loss, "needs_teacher", True) for loss in self.distillation_losses
        )

    @property
    def loss_variables(self) -> list[Any]:
        """The variables of the losses' own layers: trained here, and no part of the student."""
        return [variable for layer in self._layers_of_losses for variable in layer.variables]

    @property
    def _layers_of_losses(self) -> list[keras.Layer]:
        own = [loss for loss in self.distillation_losses if isinstance(loss, keras.layers.Layer)]
        return [*own, *self._loss_layers]

    @property
    def trained_variables(self) -> list[Any]:
        """All variables that a step changes by gradients, in the optimizer's order."""
        return [
            *self.student.trainable_variables,
            *(
                variable
                for layer in self._layers_of_losses
                for variable in layer.trainable_variables
            ),
        ]

    @property
    def alpha(self) -> float:
        """Weight of the hard loss.

        May be set between batches, for a schedule say: compiled training steps take it up. Raises
        ConfigError for one out of range, and ModelError for a change to or from 0 or 1, where the
        other loss is not computed at all: compile anew for that.
        """
        return self._alpha

    @alpha.setter
    def alpha(self, alpha: float) -> None:
        check_alpha(alpha)
        if compiled_form(alpha) != compiled_form(self._alpha):
            raise ModelError(
                f"alpha must not change to or from 0 or 1 without compile, got {alpha:g} after {self._alpha:g}"
            )
        self._alpha = float(alpha)
        self._mix.alpha.assign(alpha)

    @property
    def temperature(self) -> float:
        """Temperature of the soft loss; may be set between batches.

        Raises ConfigError unless it is above 0.
        """
        return self._temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        check_temperature(temperature)
        self._temperature = float(temperature)
        self._mix.temperature.assign(temperature)

    def _say_what_is_undone(self) -> None:
        """Warn once about each model whose probabilities are turned back into logits."""
        for role, reader in self._readers.items():
            if role not in self._said and (words := reader.words()):
                self._said.add(role)
                warnings.warn(words, stacklevel=3)

    def fit(self, x: Any = None, y: Any = None, *arguments: Any, **named: Any) -> Any:
        """Train as :meth:`keras.Model.fit` does, after a check of what both models answer.

        Losses that change from epoch to epoch are told which one it is.
        """
        x = self._check_answers(x, y)
        taken = inspect.signature(super().fit).bind(x, y, *arguments, **named)
        given = taken.arguments.get("callbacks") or []
        told = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, _: self.at_epoch(epoch + 1)
        )
        if isinstance(given, keras.callbacks.CallbackList):
            given.append(told)
        else:
            taken.arguments["callbacks"] = [*keras.tree.flatten(given), told]
        return super().fit(*taken.args, **taken.kwargs)

    def at_epoch(self, epoch: int) -> None:
        """Tell the losses which epoch begins, counted from 1."""
        for loss in self.distillation_losses:
            if isinstance(getattr(loss, "epoch", None), tf.Variable):
                loss.epoch.assign(float(epoch))

    def evaluate(self, x: Any = None, y: Any = None, *arguments: Any, **named: Any) -> Any:
        """Evaluate as :meth:`keras.Model.evaluate` does, after a check of the answers."""
        x = self._check_answers(x, y)
        return super().evaluate(x, y, *arguments, **named)

    def train_on_batch(self, x: Any, y: Any = None, *arguments: Any, **named: Any) -> Any:
        """Train on one batch as :meth:`keras.Model.train_on_batch` does, after the same check."""
        self._check_answers(x, y)
        return super().train_on_batch(x, y, *arguments, **named)

    def test_on_batch(self, x: Any, y: Any = None, *arguments: Any, **named: Any) -> Any:
        """Evaluate one batch as :meth:`keras.Model.test_on_batch` does, after the same check."""
        self._check_answers(x, y)
        return super().test_on_batch(x, y, *arguments, **named)

    def export(self, *arguments: Any, **named: Any) -> Any:
        """Export the student, as :meth:`keras.Model.export` does."""
        return self.student.export(*arguments, **named)

    def _check_answers(self, x: Any, y: Any) -> Any:
        """Tell logits from probabilities by the answers to a few examples; returns the data to use
        in place of ``x``, of which a generator's first batch was taken.

        A teacher is not asked whose logits are given: they are looked at themselves. Raises
        ModelError where those are probabilities.
        """
        (examples, targets), x = first_examples(x, y)
        if examples is None:
            return x
        before = {role: reader.kind for role, reader in self._readers.items()}
        given = targets.get("teacher_logits") if isinstance(targets, Mapping) else None
        if given is not None:
            check_no_probabilities(given)
        for role, reader in self._readers.items():
            if role == "teacher" and given is not None:
                continue
            answers = getattr(self, role)(examples, training=False)
            reader.learn_from(answers)
            outputs = reader.choose(answers)
            check_one_class_each(labels_of(targets), outputs)
            # All of them where they are at hand, otherwise those of the first batch.
            check_class_numbers(labels_of(targets if y is None else y), outputs)
        if before != {role: reader.kind for role, reader in self._readers.items()}:
            # What was traced before knew the answers as something else.
            self.train_function = self.test_function = self.predict_function = None
        self._say_what_is_undone()
        return x

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the student's logits, shape [batch, classes]."""
        return self.student(inputs, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train the student on one batch; return the logs so far.

        Free of Python side effects, so that a ``tf.function`` of one's own may loop over it. Such a
        function may create no variables: build the optimizer and call ``test_step`` on a batch
        beforehand, then ``reset_metrics``.
        """
        x, y, sample_weight = unpack_batch(data)
        labels, taught = self._targets(x, y)
        with tf.GradientTape() as tape:
            learnt = self._learnt(x, training=True)
            losses = self._batch_losses(labels, taught, learnt, sample_weight)
            scaled_loss = self.optimizer.scale_loss(losses.total)
        variables = self.trained_variables
        gradients = tape.gradient(scaled_loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._logs(x, labels, learnt, sample_weight, losses)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluate the student on one batch; return the logs so far."""
        x, y, sample_weight = unpack_batch(data)
        labels, taught = self._targets(x, y)
        learnt = self._learnt(x, training=False)
        losses = self._batch_losses(labels, taught, learnt, sample_weight)
        return self._logs(x, labels, learnt, sample_weight, losses)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Update the compiled metrics over the labelled rows; return all logs."""
        labels = unpack_targets(y)[0]
        mask = labelled_rows(labels, y_pred)
        if mask is not None:
            labels = ops.maximum(labels, 0)
            mask = ops.cast(mask, keras.config.floatx())
            sample_weight = mask if sample_weight is None else mask * per_row(sample_weight, mask)
        return super().compute_metrics(x, labels, y_pred, sample_weight)

    def _learnt(self, x: Any, training: bool) -> dict[str, Any]:
        """Return the student's logits, with its tapped features."""
        if self._view_student is None:
            learnt = {LOGITS: self(x, training=training)}
        else:
            learnt = self._view_student(x, training=training)
        output = self._readers["student"].choose(learnt[LOGITS])
        mask = getattr(output, "_keras_mask", None)
        if mask is not None:  # a tensor of its own carries none: losses of Keras would apply it too
            output = tf.identity(output)
        logits = self._readers["student"].logits(output)
        return {**learnt, LOGITS: logits, OUTPUT: output, MASK: mask}

    def _targets(self, x: Any, y: Any) -> tuple[Any, dict[str, Any]]:
        """Return labels, and the teacher's logits, cached or computed, with its tapped features.

        Call it outside of any gradient tape.
        """
        labels, teacher_logits = unpack_targets(y)
        if not self._needs_teacher:
            return labels, {LOGITS: None}
        if isinstance(y, Mapping) and FEATURES in y:
            return labels, {LOGITS: teacher_logits, FEATURES: y[FEATURES]}
        if teacher_logits is None or any(map(_taps_teacher, self.distillation_losses)):
            if self.teacher is None:
                raise ModelError(
                    "this distiller has no teacher: give it one, or give the teacher's logits with the labels, "
                    'y={"labels": ..., "teacher_logits": ...} (for evaluation and validation data too)'
                )
            taught = self._view_teacher(x, training=False)
            reader = self._readers["teacher"]
            return labels, {**taught, LOGITS: reader.logits(reader.choose(taught[LOGITS]))}
        return labels, {LOGITS: teacher_logits}

    def _batch_losses(
        self, labels: Any, taught: Mapping[str, Any], learnt: Mapping[str, Any], sample_weight: Any
    ) -> _Losses:
        hard, labelled = self._hard_loss(labels, learnt, sample_weight)
        sample_weight = with_mask(sample_weight, learnt[MASK])
        curves: dict[str, Any] = {}
        if self.distillation_losses:
            soft, curves = self._sum_of_losses(labels, taught, learnt, sample_weight)
        else:
            soft = self._soft_loss(taught[LOGITS], learnt[LOGITS], sample_weight)
        fixed = compiled_form(self.alpha)
        total = distillation_loss(hard, soft, self._mix.alpha if fixed is None else fixed)
        regularisation = self.student.losses
        if regularisation:
            total = ops.sum(
                [total, *(ops.sum(ops.cast(loss, total.dtype)) for loss in regularisation)]
            )
        return _Losses(total, hard, soft, labelled, curves)

    def _hard_loss(
        self, labels: Any, learnt: Mapping[str, Any], sample_weight: Any
    ) -> tuple[Any, Any]:
        """Return the mean loss over the labelled rows or positions, and their number."""
        student_logits = learnt[LOGITS]
        rows = ops.cast(number_of_rows(student_logits), keras.config.floatx())
        mask = labelled_rows(labels, student_logits)
        weights, labelled = sample_weight, rows
        if mask is not None:
            mask = ops.cast(mask, keras.config.floatx())
            if learnt[MASK] is not None:  # padding is not labelled, whatever its label
                mask = mask * ops.reshape(ops.cast(learnt[MASK], mask.dtype), ops.shape(mask))
            labelled = ops.sum(mask)
            # Keras divides the weighted sum by all rows; rows / labelled makes of it the mean over
            # the labelled ones. Where all are labelled the weights are exactly 1, and the loss is
            # plain training's to the bit.
            weights = mask * ops.divide_no_nan(rows, labelled)
            if sample_weight is not None:
                weights = weights * per_row(sample_weight, mask)
            labels = ops.maximum(labels, 0)
        loss_fn = self.student_loss_fn
        if self._own_hard_loss:
            check_loss_fits_labels(loss_fn, self._hard_loss_field, mask is None, student_logits)
        elif mask is None:
            loss_fn = keras.losses.CategoricalCrossentropy(from_logits=True)
        outputs = student_logits
        if self._own_hard_loss and not getattr(self.student_loss_fn, "from_logits", False):
            outputs = learnt[OUTPUT]  # the loss knows what the model gives
        elif self._own_hard_loss and learnt[OUTPUT].shape[-1] == 1:
            outputs = student_logits[..., 1:]  # one logit, where the loss is one of two classes
        hard = weighted_mean(loss_fn, self._hard_loss_field, labels, outputs, weights)
        return ops.cast(hard, keras.config.floatx()), labelled

    def _sum_of_losses(
        self, labels: Any, taught: Mapping[str, Any], learnt: Mapping[str, Any], sample_weight: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Return the sum of the loss objects, and their curves by name."""
        if sample_weight is not None:
            raise ModelError("sample weights must be left out with a distillation_loss")
        numbers = as_class_numbers(labels, learnt[LOGITS].shape[-1])
        total: Any = 0.0
        curves: dict[str, Any] = {}
        tapping = [loss for loss in self.distillation_losses if _taps_teacher(loss)]
        features = taught.get(FEATURES)
        if features is not None and not isinstance(features, list | tuple):
            raise ModelError(f"{FEATURES} must be a tuple of arrays, got {type(features).__name__}")
        if features is not None and len(features) != len(tapping):
            raise ModelError(
                f"{FEATURES} must be one array for each loss that taps a layer of the teacher: "
                f"{len(tapping)}, got {len(features)}"
            )
        waiting = iter(features or ())
        for loss in self.distillation_losses:
            kept = features is not None and _taps_teacher(loss)
            name = getattr(loss, "teacher_layer_name", None) or LOGITS
            teacher = next(waiting) if kept else taught[name]
            student = learnt[getattr(loss, "student_layer_name", None) or LOGITS]
            loss.validate_outputs(teacher, student)
            if hasattr(loss, "loss_and_curves"):
                beforehand = {"kept": True} if kept else {}
                value, found = loss.loss_and_curves(teacher, student, numbers, **beforehand)
            else:
                value, found = loss.compute_loss(teacher, student, labels=numbers), {}
            total = total + ops.cast(value, keras.config.floatx())
            for name, curve in found.items():
                curves[name] = curves[name] + curve if name in curves else curve
        return total, curves

    def _soft_loss(self, teacher_logits: Any, student_logits: Any, sample_weight: Any) -> Any:
        temperature = self._mix.temperature
        if _is_plain_divergence(self.distillation_loss_fn):
            rows = kd_loss_per_example(teacher_logits, student_logits, temperature)
            if sample_weight is not None:
                rows = rows * per_row(sample_weight, rows)
            return ops.cast(ops.mean(rows), keras.config.floatx())
        # The teacher's distribution is a constant: nothing in it depends on the student's
        # variables.
        teacher, student = soften(teacher_logits, temperature), soften(student_logits, temperature)
        soft = weighted_mean(
            self.distillation_loss_fn, "distillation_loss_fn", teacher, student, sample_weight
        )
        return ops.cast(soft, keras.config.floatx()) * ops.cast(
            temperature**2, keras.config.floatx()
        )

    def _logs(
        self, x: Any, labels: Any, learnt: Mapping[str, Any], sample_weight: Any, losses: _Losses
    ) -> dict[str, Any]:
        rows = ops.shape(learnt[LOGITS])[0]
        self._loss_tracker.update_state(losses.total, sample_weight=rows)
        self.hard_loss_tracker.update_state(losses.hard, sample_weight=losses.labelled)
        self.soft_loss_tracker.update_state(losses.soft, sample_weight=rows)
        for name, value in losses.curves.items():
            counted = losses.labelled if name in self._curves_of_labelled else rows
            self._curve_trackers[name].update_state(value, sample_weight=counted)
        answers = learnt[LOGITS]
        if learnt[OUTPUT].shape[-1] == 1:  # as metrics of two classes know answers
            answers = ops.softmax(answers, axis=-1)[..., 1:]
        sample_weight = with_mask(sample_weight, learnt[MASK])
        return self.compute_metrics(x, labels, answers, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return student and teacher, serialised, with the model's own settings."""
        serialize = keras.saving.serialize_keras_object
        teacher = None
        if self.teacher is not None:
            # Without its optimizer, which Keras would build for no variable at all, frozen as the
            # teacher is.
            teacher = {**serialize(self.teacher), "compile_config": None}
        own = {"student": serialize(self.student), "teacher": teacher, "output": self.output_name}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """Build the distiller anew from :meth:`get_config`."""
        models = {
            role: keras.saving.deserialize_keras_object(config[role], custom_objects=custom_objects)
            for role in ("student", "teacher")
            if config[role] is not None
        }
        return cls(**{**config, **models})

    def get_compile_config(self) -> dict[str, Any]:
        """Return the arguments of :meth:`compile`, serialised, and whether the optimizer has its
        variables yet.
        """
        config = super().get_compile_config()
        if not config:  # not compiled
            return config
        for of_base_class in ("loss", "loss_weights", "metrics"):
            config.pop(of_base_class, None)
        names = ("student_loss_fn", "distillation_loss_fn", "alpha", "temperature")
        own = {name: getattr(self, name) for name in names}
        own["distillation_loss"] = list(self.distillation_losses)
        return {
            **config,
            **keras.saving.serialize_keras_object(own),
            "optimizer_built": self.optimizer.built,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with what :meth:`get_compile_config` returned, ready to go on training."""
        arguments = keras.saving.deserialize_keras_object(config)
        optimizer_built = arguments.pop("optimizer_built")
        self.compile(**arguments)
        if optimizer_built:  # only then were its variables saved
            self.optimizer.build(self.trained_variables)


def compiled_form(alpha: float) -> float | None:
    """Return the alpha that a compiled training step is fixed to; None where it may change.

    At 0 and 1 the other loss is not computed at all.
    """
    return alpha if alpha in ONE_LOSS_ALPHAS else None


def _taps_teacher(loss: Any) -> bool:
    return getattr(loss, "teacher_layer_name", None) is not None


def _is_plain_divergence(loss_fn: Callable[..., Any] | None) -> bool:
    if isinstance(loss_fn, keras.losses.KLDivergence):
        return loss_fn.reduction in ("sum_over_batch_size", "mean")
    return loss_fn is None or loss_fn is keras.losses.kl_divergence
