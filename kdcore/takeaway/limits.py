"""What a format cannot hold of a model, told from the model's description before anything is
converted.

The lists are of what the converters refused, or died of, when they were tried
(tests/takeaway/test_limits.py tries them again).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from kdcore.storage.store import Store

NOT_KERAS = ("saved-model", "litert-float32", "litert-float16", "litert-int8", "onnx")
LITERT = ("litert-float32", "litert-float16", "litert-int8")

# Layers and operations by Keras' name for them: what they are in words, and where they are missing.
MISSING: dict[str, tuple[str, tuple[str, ...]]] = {
    "Erf": ("the error function", LITERT),
    "FFT": ("a Fourier transform", (*LITERT, "onnx")),
    "FFT2": ("a Fourier transform", (*LITERT, "onnx")),
    "SVD": ("a singular value decomposition", (*LITERT, "onnx")),
    "Discretization": ("a Discretization layer", ("onnx",)),
    "AnswersTable": ("network to hold: the teacher is a file of answers", ("keras", *NOT_KERAS)),
    "OnnxNetwork": ("way to hold an ONNX file: take the file itself", NOT_KERAS),
}
INTERPOLATIONS = ("bicubic", "lanczos3", "lanczos5")
# Recurrent layers leave as int8 with their loop unrolled: the calibration of loops crashes.
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "RNN")
MOST_UNROLLED_STEPS = 100


def limits(store: Store, run_id: str) -> dict[str, str]:
    """Return why a trained run cannot leave in some formats, by format; nothing for those in which
    it is worth trying.
    """
    data = store.artifact(f"model/{run_id}")
    return {} if data is None else limits_of(description_of(data))


def description_of(file: bytes) -> dict[str, Any]:
    """Return the architecture in a ``.keras`` file, without Keras."""
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return json.loads(archive.read("config.json"))


def limits_of(description: dict[str, Any]) -> dict[str, str]:
    """Return why a model of this description cannot leave in some formats, by format."""
    found: dict[str, list[str]] = {}
    for part in _parts(description):
        for words, formats in _missing(part):
            for name in formats:
                if words not in found.setdefault(name, []):
                    found[name].append(words)
    return {name: f"it has no {' and no '.join(words)}" for name, words in found.items()}


def _missing(part: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    name, config = part["class_name"], part.get("config") or {}
    if name in MISSING:
        words, formats = MISSING[name]
        yield words.removeprefix("the ").removeprefix("a "), formats
    if name == "Resizing" and config.get("interpolation") in INTERPOLATIONS:
        yield f"{config['interpolation']} resizing", LITERT
    if name in RECURRENT:
        shape = (part.get("build_config") or {}).get("input_shape") or (None, None)
        if shape[1] is None or shape[1] > MOST_UNROLLED_STEPS:
            yield f"recurrent layer of more than {MOST_UNROLLED_STEPS} steps", ("litert-int8",)


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Walk through all layers and operations of a description."""
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            yield value
        for each in value.values():
            yield from _parts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _parts(each)
