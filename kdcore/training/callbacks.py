"""The Keras callback that streams a model's training to the store.

Works with ``fit`` and with ``train_together``.
"""

from __future__ import annotations

import math
import time
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from kdcore.errors import TrainingError
from kdcore.storage.arrays import pack
from kdcore.storage.store import Store

# Two points a second would look jerky, eight cost more than they show.
SECONDS_BETWEEN_POINTS = 0.25


class Evaluator(Protocol):
    """What the stream asks for at the end of an epoch: measures on validation data, and probe
    logits.
    """

    def validation(self) -> dict[str, float]:
        """Return measures such as ``loss`` and ``accuracy`` on the validation examples."""
        ...

    def probe_logits(self) -> NDArray[np.float32]:
        """Return logits [examples, classes] of the probe examples."""
        ...


class MetricStream(keras.callbacks.Callback):
    """Append a run's metrics to the store, a few times a second, and its probe logits at every
    epoch's end.

    A streamed training point is the mean over the examples since the last point, not Keras' running
    mean since the start of the epoch, so that the curve does not leap back at every epoch. Raises
    TrainingError when the loss is not finite.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        steps_per_epoch: int,
        batch_size: int,
        evaluator: Evaluator | None = None,
        seconds_between_points: float = SECONDS_BETWEEN_POINTS,
        seconds_before: float = 0.0,
    ) -> None:
        super().__init__()
        self.store = store
        self.run_id = run_id
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self.evaluator = evaluator
        self.seconds_between_points = seconds_between_points
        self.seconds_before = seconds_before
        self.examples_per_second = float("nan")
        self._epoch = 0
        self._seen: dict[str, tuple[float, float]] = {}
        self._last_step: int | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self.seconds_before + time.perf_counter() - self._began

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self._began = self._last_point_at = time.perf_counter()
        self._last_step = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the epoch; Keras resets its metrics here."""
        self._epoch = epoch
        self._seen = {}

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stream a point if the last one is long enough ago."""
        step = self._epoch * self.steps_per_epoch + batch + 1
        self._refuse_bad_loss(step, logs)
        if self._last_step is None:
            self._last_step = self._epoch * self.steps_per_epoch
        now = time.perf_counter()
        if now - self._last_point_at < self.seconds_between_points:
            return
        steps_done = step - self._last_step
        self.examples_per_second = steps_done * self.batch_size / (now - self._last_point_at)
        self._last_point_at, self._last_step = now, step
        measures = self._means_since_last_point()
        measures["learning_rate"] = float(self.model.optimizer.learning_rate)
        measures["examples_per_second"] = self.examples_per_second
        self.store.append_metrics([self._point("train", step, measures)])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Store the epoch's means, the measures on validation data, and the probe logits."""
        step = (epoch + 1) * self.steps_per_epoch
        self._refuse_bad_loss(step, logs)
        epoch_means = {_canonical(name): float(value) for name, value in (logs or {}).items()}
        points = [self._point("epoch", step, epoch_means)]
        if self.evaluator is not None:
            points.append(self._point("validation", step, self.evaluator.validation()))
        self.store.append_metrics(points)
        if self.evaluator is not None:
            self.store.add_probe(self.run_id, epoch + 1, pack(self.evaluator.probe_logits()))

    def _point(self, split: str, step: int, measures: dict[str, float]) -> dict[str, Any]:
        place = {"run_id": self.run_id, "split": split, "step": step, "seconds": self.seconds}
        finite = {name: value for name, value in measures.items() if math.isfinite(value)}
        return {**place, "epoch": step / self.steps_per_epoch, **finite}

    def _means_since_last_point(self) -> dict[str, float]:
        means = {}
        for metric in _leaves(self.model.metrics):
            if not hasattr(metric, "total") or not hasattr(metric, "count"):
                continue
            name, total, count = _canonical(metric.name), float(metric.total), float(metric.count)
            total_before, count_before = self._seen.get(name, (0.0, 0.0))
            self._seen[name] = (total, count)
            if count > count_before:
                means[name] = (total - total_before) / (count - count_before)
        return means

    def _refuse_bad_loss(self, step: int, logs: dict[str, Any] | None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            rate = float(self.model.optimizer.learning_rate)
            raise TrainingError(
                f"the loss of {self.model.name} became {loss} at step {step:,}: training cannot go on. "
                f"Try a learning rate below {rate:g}, or check the data for extreme values."
            )


def _canonical(metric_name: str) -> str:
    """Keras names accuracies after the kind of labels; the store has one column for them."""
    return "accuracy" if metric_name.endswith("accuracy") else metric_name


def _leaves(metrics: Any) -> list[Any]:
    """Flatten Keras' CompileMetrics into the metrics that it holds."""
    flat = []
    for metric in metrics:
        flat.extend(_leaves(metric.metrics) if hasattr(metric, "metrics") else [metric])
    return flat
