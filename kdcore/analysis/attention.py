"""Where a model looks: which parts of an example its answer was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kdcore.storage.arrays import pack_many, unpack_many
from kdcore.storage.schema import Run
from kdcore.storage.store import Store

# What looks at an example.
CLASS_TOKEN, DISTILLATION_TOKEN = "class token", "distillation token"
FEATURE_MAPS, ALL_TOKENS = "feature maps", "mean over its tokens"
# Of a training, so many moments are kept, its beginning and end among them.
MOST_MOMENTS = 20


@dataclass(frozen=True)
class AttentionMaps:
    """Where a model looks in some examples.

    Attributes:
        maps: by what looks, how much each place counts: [n, height, width] of pictures, [n, tokens]
            of texts. Attention through all layers for a token of a transformer (:func:`rollout`),
            the mean over channels of F² for the last feature maps of a convolutional network (with
            a sum of 1).
        heads: of tokens, the attention of each head of each layer alone:
            [n, layers, heads, height, width].
        likeness: the cosine between class token and distillation token before the first layer and
            after each one, [n, layers + 1].
        reach: how far the maps reach down and right, in heights and widths of the picture: above 1
            where patches stand out over its edge.
        layers: the mean over channels of F² of further feature maps [n, height, width], each with
            the sum 1, those that a method compares: a teacher's by the layer's name, a student's
            by "teacher's layer:its own".
    """

    maps: dict[str, NDArray[np.float32]]
    heads: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    likeness: NDArray[np.float32] | None = None
    reach: tuple[float, float] = (1.0, 1.0)
    layers: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def as_bytes(self) -> bytes:
        """Return the maps as the store keeps them: in half precision."""
        arrays = {f"maps/{name}": each for name, each in self.maps.items()}
        arrays |= {f"heads/{name}": each for name, each in self.heads.items()}
        arrays |= {f"layers/{name}": each for name, each in self.layers.items()}
        if self.likeness is not None:
            arrays["likeness"] = self.likeness
        half = {name: each.astype(np.float16) for name, each in arrays.items()}
        half["reach"] = np.array(self.reach, np.float16)
        return pack_many(half, compress=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> AttentionMaps:
        """Read what :meth:`as_bytes` wrote; raises StoreError for anything else."""
        arrays = {name: each.astype(np.float32) for name, each in unpack_many(data).items()}

        def under(folder: str) -> dict[str, NDArray[np.float32]]:
            beginning = f"{folder}/"
            return {
                name.removeprefix(beginning): each
                for name, each in arrays.items()
                if name.startswith(beginning)
            }

        height, width = (float(each) for each in arrays["reach"])
        likeness = arrays.get("likeness")
        return cls(under("maps"), under("heads"), likeness, (height, width), under("layers"))


def rollout(scores: NDArray) -> NDArray[np.float64]:
    """Return how much each token holds of each input token after all layers,
    [..., tokens, tokens]; each row has the sum 1.

    R = Ã_L · … · Ã_1 with Ã = ½ (mean over heads of A + I): attention, and what passes by it
    (attention rollout: Abnar and Zuidema 2020, arXiv:2005.00928). ``scores`` are
    [..., layers, heads, tokens, tokens].
    """
    mixed = scores.astype(np.float64).mean(axis=-3)
    identity = np.eye(mixed.shape[-1])
    through = np.broadcast_to(identity, (*mixed.shape[:-3], *identity.shape))
    for layer in range(mixed.shape[-3]):
        through = (mixed[..., layer, :, :] + identity) / 2 @ through
    return through


def is_kept(epoch: int, epochs: int) -> bool:
    """Return whether the maps after ``epoch`` of ``epochs`` are kept: at most some twenty times,
    evenly.
    """
    return epoch == epochs or epoch % -(-epochs // MOST_MOMENTS) == 0


def epochs_of(run: Run) -> int:
    """Return the epochs that a run was asked for."""
    return int(run.config["teacher_epochs" if run.role == "teacher" else "epochs"])


def joined(found: Sequence[AttentionMaps]) -> AttentionMaps:
    """Return where a model looks in examples that were looked at some at a time."""
    first = found[0]

    def whole(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(parts)

    likeness = [each.likeness for each in found if each.likeness is not None]
    return AttentionMaps(
        {name: whole([each.maps[name] for each in found]) for name in first.maps},
        {name: whole([each.heads[name] for each in found]) for name in first.heads},
        whole(likeness) if likeness else None,
        first.reach,
    )


def attention_key(run_id: str, epoch: int) -> str:
    """Return under which name the store keeps a run's maps of the probe examples after an epoch."""
    return f"attention/{run_id}/{epoch:06d}"


def attention_of(store: Store, run_id: str, epoch: int) -> AttentionMaps | None:
    """Return a run's maps of the probe examples after an epoch, None where there are none.

    Raises StoreError where they are damaged.
    """
    data = store.artifact(attention_key(run_id, epoch))
    return None if data is None else AttentionMaps.from_bytes(data)


def latest_attention(
    store: Store, run_id: str, epoch: int | None = None
) -> tuple[int, AttentionMaps] | None:
    """Return a run's maps that were kept last, up to ``epoch`` if one is given, and after which
    epoch that was; None where none are kept.
    """
    kept = [int(key.rpartition("/")[2]) for key in store.artifact_keys(f"attention/{run_id}/")]
    until = [each for each in kept if epoch is None or each <= epoch]
    found = attention_of(store, run_id, max(until)) if until else None
    return None if found is None else (max(until), found)


def most_looked_at(picture: NDArray) -> str:
    """Say where a map [height, width] is largest: "most at row 2, column 5 of 8 × 8"."""
    row, column = np.unravel_index(int(picture.argmax()), picture.shape)
    height, width = picture.shape
    return f"most at row {row + 1}, column {column + 1} of {height} × {width}"


def over_parts(
    attention: NDArray, spans: Sequence[tuple[int, int]], parts: Sequence[tuple[int, int]]
) -> NDArray[np.float64]:
    """Return the share of a text's attention [tokens] that falls on each of its ``parts``.

    ``spans`` say where each token begins and ends in the text, ``parts`` likewise; what falls on
    tokens of no part, such as beginning and end, is left out, and the rest has the sum 1.
    """
    found = np.zeros(len(parts))
    for share, (begin, end) in zip(attention, spans, strict=False):
        overlaps = [max(0, min(end, last) - max(begin, first)) for first, last in parts]
        if total := sum(overlaps):
            found += float(share) * np.asarray(overlaps) / total
    whole = found.sum()
    return found / whole if whole > 0 else found
