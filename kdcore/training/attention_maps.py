"""Reads off a network where it looks: the attention of its tokens, or its last feature maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kdcore.analysis.attention import (
    ALL_TOKENS,
    CLASS_TOKEN,
    DISTILLATION_TOKEN,
    FEATURE_MAPS,
    AttentionMaps,
    attention_key,
    is_kept,
    joined,
    rollout,
)
from kdcore.data.datasets import Dataset
from kdcore.errors import ModelError
from kdcore.models.layers_within import (
    attention_layers,
    called_as,
    encoder_blocks,
    layers_within,
    watched,
)
from kdcore.storage.store import Store
from kdcore.tasks.vocabulary import PADDING_ID
from kdcore.training.loop import Network, takes_any_length, text_lengths
from kdcore.training.paired_layers import candidates
from kdcore.training.taps import names_within, tap

# Coarser maps say nothing about places.
LEAST_SIDE = 4
# Of one head of one layer. Some hundred heads of these, in float64 for a moment, are half a GB.
SCORES_AT_ONCE = 2**19


class AttentionStream(keras.callbacks.Callback):
    """Keep where a run's network looks in the probe examples, after some twenty of its epochs;
    ``layers`` as of :func:`attention_maps`.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        network: Network,
        dataset: Dataset,
        epochs: int,
        layers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.layers = layers or {}
        self.store, self.run_id = store, run_id
        self.network, self.dataset, self.epochs = network, dataset, epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the maps where they are due; Keras counts epochs from 0."""
        if is_kept(epoch + 1, self.epochs):
            self.keep(epoch + 1)

    def keep(self, epoch: int) -> None:
        """Keep the maps as they are now, after ``epoch`` epochs, where there are any."""
        found = attention_maps(self.network, self.dataset.probe.inputs, self.layers)
        if found is not None:
            self.store.put_artifact(attention_key(self.run_id, epoch), found.as_bytes())


def attention_maps(
    network: Network, inputs: NDArray, layers: Mapping[str, str] | None = None
) -> AttentionMaps | None:
    """Return where a network looks in stored inputs [n, ...]; None where it cannot be told.

    ``layers`` are those of a convolutional network whose feature maps are wanted besides, named as
    the ``layers`` command names them, by what they are to be called.

    Of a transformer it is told for pictures where KerasHub's ViT or DeiT is among its parts, and
    for texts; of other networks where they have feature maps.
    """
    model = network.model
    attending = attention_layers(model)
    if attending and takes_any_length(model):
        longest = max(int(text_lengths(inputs).max()), 1)
        return _in_slices(partial(_of_texts, model), inputs[:, :longest], longest)
    if attending:
        return _in_slices(partial(_of_patches, network), inputs, _patches(network))
    return _of_features(network, inputs, layers or {})


def _in_slices(
    look: Callable[[NDArray], AttentionMaps | None], inputs: NDArray, tokens: int
) -> AttentionMaps | None:
    """Look at so few examples at a time that the attention of all layers fits into memory."""
    at_once = max(SCORES_AT_ONCE // max(tokens, 1) ** 2, 1)
    found = [look(inputs[start : start + at_once]) for start in range(0, len(inputs), at_once)]
    known = [each for each in found if each is not None]
    return joined(known) if len(known) == len(found) else None


def _patches(network: Network) -> int:
    """Return how many tokens a vision transformer has, but for the special ones; 0 where that
    cannot be told.
    """
    backbone = _backbone(network.model)
    if backbone is None:
        return 0
    shape = backbone.image_shape
    height, width = (int(of) for of in np.broadcast_to(backbone.patch_size, 2))
    return int(shape[0]) // height * (int(shape[1]) // width)


def _backbone(model: keras.Model) -> Any:
    """Return KerasHub's ViT or DeiT within a network, also one that another network holds."""
    parts = layers_within(model)
    return next(
        (part for part in parts if hasattr(part, "patch_size") and hasattr(part, "image_shape")),
        None,
    )


def attention_scores(
    model: keras.Model, inputs: Any
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Return the attention of every layer, [n, layers, heads, tokens, tokens], each row with the
    sum 1, and the tokens before each encoder block and after the last, as far as the blocks are
    KerasHub's.
    """
    scores: list[Any] = []
    hidden: list[Any] = []
    with ExitStack() as watching:
        for layer in attention_layers(model):
            watching.enter_context(_asked_for_scores(layer, scores))
        for block in encoder_blocks(model):
            watching.enter_context(watched(block, partial(_keep_states, hidden)))
        model(inputs, training=False)
    found = np.stack([ops.convert_to_numpy(ops.cast(each, "float32")) for each in scores], axis=1)
    states = [ops.convert_to_numpy(ops.cast(each, "float32")) for each in hidden]
    return found, states


@contextmanager
def _asked_for_scores(layer: keras.Layer, scores: list[Any]) -> Iterator[None]:
    """Ask an attention layer for its scores whenever it is called: they cost nothing before."""
    call = layer.call

    def asked(*given: Any, **named: Any) -> Any:
        output, found = call(*given, **{**named, "return_attention_scores": True})
        scores.append(found)
        return output

    with called_as(layer, asked):
        yield


def _keep_states(hidden: list[Any], before: Any, after: Any) -> None:
    hidden += [after] if hidden else [before, after]


def _of_texts(model: keras.Model, inputs: NDArray) -> AttentionMaps:
    tokens = np.asarray(inputs, np.int32)
    scores, _ = attention_scores(model, tokens)
    real = tokens != PADDING_ID
    # These networks answer from the mean over the real tokens.
    weights = real / np.maximum(real.sum(axis=1, keepdims=True), 1)
    seen = np.einsum("nq,nqk->nk", weights, rollout(scores))
    return AttentionMaps({ALL_TOKENS: seen.astype(np.float32)})


def _of_patches(network: Network, inputs: NDArray) -> AttentionMaps | None:
    backbone = _backbone(network.model)
    if backbone is None:
        return _of_features(network, inputs)
    shape = backbone.image_shape
    patch = np.broadcast_to(backbone.patch_size, 2)
    height, width = (int(side) // int(of) for side, of in zip(shape[:2], patch, strict=True))
    scores, hidden = attention_scores(network.model, _prepared(network, inputs))
    special = scores.shape[-1] - height * width
    if special not in (1, 2):
        return None
    through = rollout(scores)
    names = (CLASS_TOKEN, DISTILLATION_TOKEN)[:special]
    maps = {
        name: through[:, at, special:].reshape(-1, height, width).astype(np.float32)
        for at, name in enumerate(names)
    }
    heads = {
        name: scores[..., at, special:].reshape(*scores.shape[:3], height, width)
        for at, name in enumerate(names)
    }
    # Images that a network enlarges are seen whole; others may have margins, so that patches fit.
    resized = any(isinstance(part, keras.layers.Resizing) for part in layers_within(network.model))
    seen = shape[:2] if resized else inputs.shape[1:3]
    sides = zip((height, width), patch, seen, strict=True)
    down, right = (float(count * of / side) for count, of, side in sides)
    likeness = _likeness(hidden) if special == 2 else None
    return AttentionMaps(maps, heads, likeness, (down, right))


def _likeness(hidden: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    tokens = np.stack(hidden, axis=1)[:, :, :2]
    unit = tokens / np.maximum(np.linalg.norm(tokens, axis=-1, keepdims=True), 1e-12)
    return np.asarray((unit[:, :, 0] * unit[:, :, 1]).sum(axis=-1), np.float32)


def _of_features(
    network: Network, inputs: NDArray, layers: Mapping[str, str] | None = None
) -> AttentionMaps | None:
    try:
        maps = candidates(network.model).maps
    except ModelError:
        return None
    if not maps:
        return None
    fine = [size for size in maps if min(size) >= LEAST_SIDE]
    last = maps[fine[-1] if fine else next(iter(maps))]
    own = names_within(network.model)
    wanted = {title: own[name] for title, name in (layers or {}).items()}
    view = tap(network.model, list(dict.fromkeys([last, *wanted.values()])))
    features = view(_prepared(network, inputs))
    besides = {title: _strengths(features[name]) for title, name in wanted.items()}
    return AttentionMaps({FEATURE_MAPS: _strengths(features[last])}, layers=besides)


def _strengths(features: Any) -> NDArray[np.float32]:
    """Return the mean over channels of F² of feature maps, each example's with the sum 1."""
    found = ops.convert_to_numpy(ops.mean(ops.square(ops.cast(features, "float32")), axis=-1))
    return np.asarray(found / np.maximum(found.sum(axis=(1, 2), keepdims=True), 1e-12), np.float32)


def _prepared(network: Network, inputs: NDArray) -> NDArray[np.float32]:
    return inputs.astype(np.float32) * np.float32(network.scale)
