"""Making files of a trained model, and measuring each with its own runtime before it is offered.

The conversions are Keras' own (``Model.export``). Keras computes the answers that all others are
compared with, in float32: a teacher trained in bfloat16 leaves as float32.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import platform
import statistics as plain_statistics
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kdcore.config.catalog import dataset_card, short_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.errors import KDLabError
from kdcore.methods.distillation_token import BOTH_HEADS
from kdcore.models.token_heads import with_head
from kdcore.storage.arrays import pack_many
from kdcore.storage.schema import Job
from kdcore.storage.store import Store
from kdcore.takeaway.downloads import (
    FORMATS,
    ExportFormat,
    check_formats,
    examples_key,
    file_key,
    put_report,
)
from kdcore.takeaway.limits import limits_of
from kdcore.tasks.columns import Column
from kdcore.training.evaluation import model_from_bytes
from kdcore.version import __version__
from kdcore.words import first_line
from kdcore.work.before_conversion import (
    with_constant_positions,
    with_rescaling,
    with_unrolled_loops,
)
from kdcore.work.measure import this_machine
from kdcore.work.progress import Progress

CALIBRATION_EXAMPLES = 500
TRAVELLING_EXAMPLES = 10
BATCH = 256
LATENCY_CALLS, LATENCY_SECONDS = 1000, 1.0

Logits = NDArray[np.float32]


class Runtime(Protocol):
    """A file opened again. ``largest_batch`` is how many examples it takes at once."""

    largest_batch: int

    def logits(self, inputs: NDArray[np.float32]) -> Logits:
        """Return logits [n, classes] of inputs [n, ...]."""
        ...


@dataclass(frozen=True)
class Subject:
    """What is exported and what it is measured on: inputs are float32 as the model takes them."""

    model: keras.Model
    calibration: NDArray[np.float32]
    inputs: NDArray[np.float32]
    labels: NDArray[np.int32]
    reference: Logits

    @property
    def accuracy(self) -> float:
        """Accuracy of Keras computing in float32, a fraction."""
        return float(np.mean(self.reference.argmax(axis=1) == self.labels))


def export_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Carry out a job of kind "export"; its payload names the ``run_id`` and the ``formats``."""
    run_export(store, job.id, check=check, **job.payload)


def run_export(
    store: Store,
    job_id: str,
    run_id: str,
    formats: Sequence[str],
    check: Callable[[], None] = lambda: None,
    *,
    head: str = BOTH_HEADS,
) -> None:
    """Make, reopen and measure ``formats`` of a trained run; a format that fails is reported and
    the others go on.

    Of a model with two heads, ``head`` names the one that answers. ``check`` is called between
    batches and may raise to end the work. Raises KDLabError for what a user can mend.
    """
    run, names = store.run(run_id), check_formats(formats)
    config = ExperimentConfig(**run.config)
    progress = Progress(store, job_id, check, phases=1 + len(names))
    progress.begin(f"loading {short_name(config.dataset)} and the {run.role}")
    dataset = datasets.load(config)
    data = store.artifact(f"model/{run.id}")
    assert data is not None, f"run {run.id} is finished and so has a model"
    model = in_float32(model_from_bytes(data))
    if head != BOTH_HEADS:
        model = with_head(model, head)
    if dataset.vocabulary is not None:
        model = of_length(model, dataset.vocabulary.length)
    subject = subject_of(model, dataset)
    travelling = {
        "inputs": subject.inputs[:TRAVELLING_EXAMPLES],
        "labels": subject.labels[:TRAVELLING_EXAMPLES],
    }
    if dataset.centre is not None and dataset.spread is not None:
        travelling |= preprocessing(dataset, dataset.centre, dataset.spread)
    if dataset.vocabulary is not None:
        travelling["vocabulary"] = np.array(dataset.vocabulary.definition)
    store.put_artifact(examples_key(run.id), pack_many(travelling))
    about = {
        "input_shape": list(dataset.input_shape),
        "input_scale": dataset.scale,
        "features_scaled": dataset.centre is not None,
        "of_texts": dataset.vocabulary is not None,
        "labels": list(dataset.class_names),
        "head": head,
        "training_examples": len(dataset.train),
        "unlabelled_examples": int((dataset.train.labels < 0).sum()),
    }
    for name in names:
        progress.begin(f"{FORMATS[name].title}: converting, opening again and measuring")
        file, report = make(name, subject, progress.update)
        if report["passed"]:
            store.put_artifact(file_key(run.id, name), file)
        else:
            store.delete_artifacts(file_key(run.id, name))
        put_report(store, run.id, name, about | report)


def of_length(model: keras.Model, length: int) -> keras.Model:
    """Return a model of texts for tokens [n, length] alone: formats for small machines have no room
    for any length.
    """
    inputs = keras.Input((length,), name="tokens")
    return keras.Model(inputs, model(keras.ops.cast(inputs, "int32")), name=model.name)


def preprocessing(dataset: Dataset, centre: NDArray, spread: NDArray) -> dict[str, NDArray]:
    """Return what makes an example of a row of a table, as it travels with an export: ``columns``
    (JSON), ``fill`` of missing values, ``centre`` and ``spread`` of each feature.
    """
    names = dataset_card(dataset.name).feature_names
    columns = dataset.columns or [Column(name) for name in names]
    fill = np.zeros(len(centre)) if dataset.fill is None else dataset.fill
    return {
        "columns": np.array(json.dumps([asdict(column) for column in columns])),
        "fill": fill,
        "centre": centre,
        "spread": spread,
    }


def subject_of(model: keras.Model, dataset: Dataset) -> Subject:
    """Return a model with the data of its export: calibration is drawn from training data, measures
    from test data.
    """
    inputs = _as_taken(dataset.test.inputs, dataset.scale)
    reference = _Keras(model).logits(inputs)
    calibration = _as_taken(dataset.train.inputs[:CALIBRATION_EXAMPLES], dataset.scale)
    return Subject(model, calibration, inputs, dataset.test.labels, reference)


def in_float32(model: keras.Model) -> keras.Model:
    """Return the model itself, or where any of its layers computes in another number format a copy
    of it with the same weights in float32.
    """
    description = json.loads(model.to_json())
    plain = _with_float32(description)
    if plain == description:
        return model
    copy = keras.models.model_from_json(json.dumps(plain))
    copy.set_weights([np.asarray(weight, np.float32) for weight in model.get_weights()])
    return copy


OTHER_FORMATS = {"float16", "bfloat16", "mixed_float16", "mixed_bfloat16", "float64"}


def _with_float32(part: Any) -> Any:
    """Return a model's description in JSON with float32 for every other format of real numbers, of
    layers, models within it, and what passes between them.
    """
    if isinstance(part, list):
        return [_with_float32(each) for each in part]
    if not isinstance(part, dict):
        return part
    changed = {name: _with_float32(value) for name, value in part.items()}
    if str(changed.get("dtype")) in OTHER_FORMATS:
        changed["dtype"] = "float32"
    policy = "DTypePolicy" in str(changed.get("class_name"))
    if policy and changed["config"].get("name") in OTHER_FORMATS:
        changed["config"]["name"] = "float32"
    return changed


def make(
    name: str, subject: Subject, update: Callable[[float], None] = lambda _: None
) -> tuple[bytes, dict[str, Any]]:
    """Return the file of one format and the report on it.

    The report's keys: ``passed`` and ``reason``; ``accuracy`` (fraction, on test data),
    ``points_lost`` (percentage points against Keras), ``changed`` (test examples answered
    differently), ``max_difference`` (of a logit), ``size`` (bytes), ``latency_ms`` (median of one
    answer), ``latency_calls``, ``machine``, ``seconds`` and ``versions``; those that could not be
    measured are None. ``update`` hears the fraction done and may raise to end the work.
    """
    report: dict[str, Any] = dict.fromkeys(
        (
            "accuracy",
            "points_lost",
            "changed",
            "max_difference",
            "size",
            "latency_ms",
            "latency_calls",
        )
    )
    report |= {"machine": this_machine(), "versions": versions(FORMATS[name].package)}
    began, file = time.perf_counter(), b""
    reason = limits_of(json.loads(subject.model.to_json())).get(name, "")
    if reason:
        return file, report | {"passed": False, "reason": reason, "seconds": 0.0}
    with TemporaryDirectory() as folder:
        try:
            path = _CONVERTERS[name](subject, Path(folder))
            report["size"] = sum(
                part.stat().st_size for part in [path, *path.rglob("*")] if part.is_file()
            )
            runtime = _RUNTIMES[name](path)
            report |= measure(runtime, subject, update)
            reason = refusal(FORMATS[name], report)
            file = _folder_as_zip(path) if path.is_dir() else path.read_bytes()
        except KDLabError:  # a stop, or the claim was lost
            raise
        except (
            Exception
        ) as error:  # converters and runtimes raise whatever they please; the report says what
            reason = f"it could not be made: {type(error).__name__}: {first_line(error)[:300]}"
    report |= {"passed": not reason, "reason": reason, "seconds": time.perf_counter() - began}
    return file, report


def measure(
    runtime: Runtime, subject: Subject, update: Callable[[float], None] = lambda _: None
) -> dict[str, Any]:
    """Return what a reopened file shows: see :func:`make` for the keys."""
    parts, size = [], runtime.largest_batch
    for start in range(0, len(subject.inputs), size):
        parts.append(runtime.logits(subject.inputs[start : start + size]))
        if start % BATCH == 0:
            update(start / len(subject.inputs))
    logits = np.concatenate(parts)
    if logits.shape != subject.reference.shape:
        raise ValueError(
            f"its answers have shape {logits.shape}, Keras' have {subject.reference.shape}"
        )
    accuracy = float(np.mean(logits.argmax(axis=1) == subject.labels))
    latency, calls = median_latency(runtime, subject.inputs)
    return {
        "accuracy": accuracy,
        "points_lost": 100 * (subject.accuracy - accuracy),
        "changed": int(np.sum(logits.argmax(axis=1) != subject.reference.argmax(axis=1))),
        "max_difference": _finite(np.max(np.abs(logits - subject.reference))),
        "largest_logit": _finite(np.max(np.abs(subject.reference))),
        "latency_ms": 1000 * latency,
        "latency_calls": calls,
    }


def refusal(wanted: ExportFormat, report: dict[str, Any]) -> str:
    """Return why a measured file is not offered, empty if it is: see
    :class:`~kdcore.takeaway.downloads.ExportFormat`.
    """
    if report["max_difference"] is None:
        return "some of its answers are not finite numbers"
    if wanted.tolerance is not None:
        allowed = wanted.tolerance * max(1.0, report["largest_logit"])
        if report["max_difference"] > allowed:
            return f"a logit differs from Keras' by {report['max_difference']:.3g}, more than {allowed:.3g}"
    if report["points_lost"] > wanted.points:
        return (
            f"it loses {report['points_lost']:.1f} points of accuracy, more than {wanted.points:g}"
        )
    return ""


def median_latency(runtime: Runtime, inputs: NDArray[np.float32]) -> tuple[float, int]:
    """Return the median seconds of one answer to one example, and over how many calls after a
    warm-up.
    """
    one = [inputs[row : row + 1] for row in range(min(len(inputs), 32))]
    for example in one[:10]:
        runtime.logits(example)
    seconds: list[float] = []
    ends_at = time.perf_counter() + LATENCY_SECONDS
    while len(seconds) < LATENCY_CALLS and (len(seconds) < 20 or time.perf_counter() < ends_at):
        example = one[len(seconds) % len(one)]
        began = time.perf_counter()
        runtime.logits(example)
        seconds.append(time.perf_counter() - began)
    return plain_statistics.median(seconds), len(seconds)


def versions(package: str) -> dict[str, str]:
    """Return the versions of all that has a part in a file whose runtime is ``package``."""
    names = dict.fromkeys(("keras", "tensorflow", "numpy", package))
    found = {name: importlib.metadata.version(name) for name in names}
    return {"KD Lab": __version__, "python": platform.python_version(), **found}


def _to_keras(subject: Subject, folder: Path) -> Path:
    subject.model.save(folder / "model.keras")
    return folder / "model.keras"


def _to_saved_model(subject: Subject, folder: Path) -> Path:
    subject.model.export(
        folder / "saved_model",
        format="tf_saved_model",
        verbose=False,
        input_signature=_signature(subject, None),
    )
    return folder / "saved_model"


def _to_onnx(subject: Subject, folder: Path) -> Path:
    import kdcore.work.onnx_operators  # noqa: F401 - loads tf2onnx, which takes a second

    model = with_rescaling(subject.model)
    with warnings.catch_warnings(), with_constant_positions(model):
        warnings.filterwarnings(
            "ignore", "In the future `np.object`", FutureWarning
        )  # Keras' bridge to tf2onnx
        model.export(
            folder / "model.onnx",
            format="onnx",
            verbose=False,
            input_signature=_signature(subject, None),
        )
    return folder / "model.onnx"


def _to_litert(subject: Subject, folder: Path, **options: Any) -> Path:
    # One example at a time: what phones and microcontrollers want to know when they plan their
    # memory.
    subject.model.export(
        folder / "model.tflite",
        format="litert",
        verbose=False,
        input_signature=_signature(subject, 1),
        **options,
    )
    return folder / "model.tflite"


def _to_litert_float16(subject: Subject, folder: Path) -> Path:
    target = {"supported_types": [tf.float16]}
    return _to_litert(subject, folder, optimizations=[tf.lite.Optimize.DEFAULT], target_spec=target)


def _to_litert_int8(subject: Subject, folder: Path) -> Path:
    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for row in range(len(subject.calibration)):
            yield [subject.calibration[row : row + 1]]

    return _to_litert(
        replace(subject, model=with_unrolled_loops(subject.model)),
        folder,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=representative,
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
    )


def _signature(subject: Subject, batch: int | None) -> list[keras.InputSpec]:
    return [
        keras.InputSpec(dtype="float32", shape=(batch, *subject.inputs.shape[1:]), name="input")
    ]


class _Keras:
    largest_batch = BATCH

    def __init__(self, model: keras.Model | Path) -> None:
        self.model = (
            keras.saving.load_model(model, compile=False) if isinstance(model, Path) else model
        )

    def logits(self, inputs: NDArray[np.float32]) -> Logits:
        if len(inputs) <= self.largest_batch:
            return self.model(inputs, training=False).numpy()
        starts = range(0, len(inputs), self.largest_batch)
        return np.concatenate(
            [self.logits(inputs[start : start + self.largest_batch]) for start in starts]
        )


class _SavedModel:
    largest_batch = BATCH

    def __init__(self, path: Path) -> None:
        self.model = tf.saved_model.load(str(path))

    def logits(self, inputs: NDArray[np.float32]) -> Logits:
        return self.model.serve(tf.constant(inputs)).numpy()


class _OnnxRuntime:
    largest_batch = BATCH

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.name = self.session.get_inputs()[0].name

    def logits(self, inputs: NDArray[np.float32]) -> Logits:
        return self.session.run(None, {self.name: inputs})[0]


class _LiteRT:
    largest_batch = 1

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.source, self.target = (
            self.interpreter.get_input_details()[0],
            self.interpreter.get_output_details()[0],
        )

    def logits(self, inputs: NDArray[np.float32]) -> Logits:
        if self.source["dtype"] == np.int8:
            scale, zero = self.source["quantization"]
            inputs = np.clip(np.rint(inputs / scale) + zero, -128, 127).astype(np.int8)
        self.interpreter.set_tensor(self.source["index"], inputs)
        self.interpreter.invoke()
        answer = self.interpreter.get_tensor(self.target["index"])
        if self.target["dtype"] == np.int8:
            scale, zero = self.target["quantization"]
            answer = (answer.astype(np.float32) - zero) * np.float32(scale)
        return answer


_CONVERTERS: dict[str, Callable[[Subject, Path], Path]] = {
    "keras": _to_keras,
    "saved-model": _to_saved_model,
    "litert-float32": _to_litert,
    "litert-float16": _to_litert_float16,
    "litert-int8": _to_litert_int8,
    "onnx": _to_onnx,
}
_RUNTIMES: dict[str, Callable[[Path], Runtime]] = {
    "keras": _Keras,
    "saved-model": _SavedModel,
    "litert-float32": _LiteRT,
    "litert-float16": _LiteRT,
    "litert-int8": _LiteRT,
    "onnx": _OnnxRuntime,
}


def _as_taken(inputs: NDArray, scale: float) -> NDArray[np.float32]:
    return inputs.astype(np.float32) * np.float32(scale)


def _finite(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None


def _folder_as_zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()
