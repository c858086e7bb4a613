"""Finds out in a worker which layers a method on features pairs: both networks are built, and
nothing is trained.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import keras

from kdcore import models
from kdcore.analysis.layer_pairs import LayerPairs, Pair, TappedLayer, layer_pairs_key
from kdcore.config.catalog import own_model
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.errors import require
from kdcore.methods.features import FLOAT_BYTES
from kdcore.storage.schema import Job
from kdcore.storage.store import Store
from kdcore.training.adapters import make_adapter
from kdcore.training.paired_layers import candidates
from kdcore.training.taps import INSIDE, names_within, shape_of
from kdcore.training.teacher_features import compared_layers, kept_values
from kdcore.work.own_model import network_of_file


def layer_pairs_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Look at the networks of the payload's ``config``.

    The answer is then under its ``layer_pairs_key``.
    """
    config = ExperimentConfig(**job.payload["config"])
    needs = config.method.needs.teacher
    require(needs == "features", "method", "one on features", config.method.name)
    check()
    store.report(job.id, "building both networks", 0.2)
    found = find_layer_pairs(config, datasets.load(config))
    store.put_artifact(layer_pairs_key(config), json.dumps(found.to_json()).encode())


def find_layer_pairs(config: ExperimentConfig, dataset: Dataset) -> LayerPairs:
    """Return the layers of teacher and student, and which the config's method pairs.

    Raises ModelError where a layer that is named is not there, or none belong together.
    """
    teacher, student = _network(config.teacher, dataset), _network(config.student, dataset)
    compared = compared_layers(config.method, teacher, student)
    shown = {
        "teacher": _shown(teacher, [each.teacher for each in compared]),
        "student": _shown(student, [each.student for each in compared]),
    }
    columns = {
        "teacher": _layers(teacher, shown["teacher"]),
        "student": _layers(student, shown["student"]),
    }
    adapted = getattr(config.method, "adapter", False)
    pairs, values = [], 0
    for each in compared:
        shapes = each.teacher_shape, each.student_shape
        adapter = _in_words(make_adapter(*shapes)) if adapted else ""
        pairs.append(
            Pair(
                shown["teacher"].index(each.teacher), shown["student"].index(each.student), adapter
            )
        )
        values += sum(math.prod(side or 0 for side in shape[1:]) for shape in shapes)
    batch_bytes = config.method.compared_numbers(values, config.batch_size) * FLOAT_BYTES
    return LayerPairs(
        columns["teacher"], columns["student"], tuple(pairs), batch_bytes, kept_values(compared)
    )


def _network(name: str, dataset: Dataset) -> keras.Model:
    own = own_model(name)
    if own is not None and own.kind == "file":
        return network_of_file(name, dataset).model
    return models.build(name, dataset.input_shape, dataset.classes, 0, values=dataset.values)


def _shown(model: keras.Model, compared: list[str]) -> list[str]:
    """Return the layers to draw by Keras' own names, from the input on: of a network inside another
    one not all of its layers, which may be hundreds.
    """
    found = candidates(model)
    wanted = {*compared, *found.maps.values(), *found.blocks}
    return [own for own in names_within(model).values() if INSIDE not in own or own in wanted]


def _layers(model: keras.Model, shown: list[str]) -> tuple[TappedLayer, ...]:
    names = {own: name for name, own in names_within(model).items()}
    return tuple(
        TappedLayer(names[own], tuple(int(side or 0) for side in shape_of(model, own)[1:]))
        for own in shown
    )


def _in_words(adapter: keras.Layer | None) -> str:
    """Say what an adapter does."""
    if adapter is None:
        return ""
    if isinstance(adapter, keras.layers.Dense):
        return f"linear layer to {adapter.units}"
    if isinstance(adapter, keras.layers.Conv2DTranspose):
        grown = " × ".join(map(str, adapter.strides))
        return f"transposed convolution, {grown} larger, to {adapter.filters} channels"
    if isinstance(adapter, keras.layers.Conv2D):
        size = " × ".join(map(str, adapter.kernel_size))
        return f"{size} convolution to {adapter.filters} channels"
    return "resized, then a 1 × 1 convolution"
