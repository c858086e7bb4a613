"""Which feature maps a method compares, so that they can be looked at, and the teacher's own: kept
once for all who learn from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import keras

from kdcore.analysis.attention import AttentionMaps, attention_key, epochs_of, latest_attention
from kdcore.data.datasets import Dataset
from kdcore.methods import Method
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.training.attention_maps import attention_maps
from kdcore.training.loop import Network
from kdcore.training.taps import names_within
from kdcore.training.teacher_features import compared_layers

FEATURE_MAP_DIMENSIONS = 4


class MapPair(NamedTuple):
    """A layer of the teacher and one of the student that a method compares, by the names that
    ``layers`` knows them by.
    """

    teacher: str
    student: str


def map_pairs(method: Method, teacher: keras.Model, student: keras.Model) -> tuple[MapPair, ...]:
    """Return the pairs of layers that a method compares and that are feature maps
    [batch, height, width, channels].
    """
    if method.needs.teacher != "features":
        return ()
    of_teacher, of_student = (
        {own: name for name, own in names_within(model).items()} for model in (teacher, student)
    )
    return tuple(
        MapPair(of_teacher[each.teacher], of_student[each.student])
        for each in compared_layers(method, teacher, student)
        if len(each.teacher_shape) == len(each.student_shape) == FEATURE_MAP_DIMENSIONS
    )


def keep_teachers_maps(
    store: Store,
    run: Run,
    network: Callable[[], Network],
    dataset: Dataset,
    pairs: Sequence[MapPair] = (),
) -> None:
    """Keep where a trained teacher looks in the probe examples, and its maps of ``pairs``, unless
    they are there, as they are not of one trained in a sweep or by an earlier version; of one
    without places to look at an empty answer, so that it is asked once.
    """
    wanted = [pair.teacher for pair in pairs]
    epoch, known = latest_attention(store, run.id) or (epochs_of(run), None)
    if known is not None and known.layers.keys() >= set(wanted):
        return
    found = attention_maps(network(), dataset.probe.inputs, {name: name for name in wanted})
    found = found or AttentionMaps({})
    layers = {**(known.layers if known is not None else {}), **found.layers}
    store.put_artifact(attention_key(run.id, epoch), replace(found, layers=layers).as_bytes())
