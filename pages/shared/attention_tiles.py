"""Pictures with where a model looks in them laid over, beside each other."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from kdcore.analysis.attention import AttentionMaps, most_looked_at
from kdcore.palette import colour

SIDE = 128
# Of the picture below, so that the colours above stand out; of the colour, where it is strongest.
DIMMED, STRONGEST = 0.5, 0.85

_CSS = """<style>
.kd-tiles { display: flex; flex-wrap: wrap; gap: 0.9rem 1.1rem; margin: 0 0 0.3rem; }
.kd-tiles figure { margin: 0; width: 8rem; }
.kd-tiles img { width: 8rem; height: auto; display: block; border-radius: 0.4rem; image-rendering: pixelated; }
.kd-tiles figcaption { font-size: 0.82rem; line-height: 1.3; padding-top: 0.3rem; overflow-wrap: anywhere; }
.kd-tiles figcaption span { opacity: 0.75; display: block; }
</style>"""


class AttentionTile(NamedTuple):
    """A map over a picture, in a role's colour: who looks, and with what."""

    role: str
    title: str
    what: str
    picture: NDArray
    reach: tuple[float, float] = (1.0, 1.0)


def tiles_of(
    role: str, title: str, found: AttentionMaps, index: int, layer: int | None = None
) -> list[AttentionTile]:
    """Return the tiles of one model for the example ``index``: all layers together, or the heads
    of one ``layer``.
    """
    if layer is None:
        return [
            AttentionTile(role, title, what, maps[index], found.reach)
            for what, maps in found.maps.items()
        ]
    return [
        AttentionTile(role, title, f"{what}, head {head + 1}", picture, found.reach)
        for what, heads in found.heads.items()
        if layer < heads.shape[1]
        for head, picture in enumerate(heads[index, layer])
    ]


def draw_attention(example: NDArray, tiles: Sequence[AttentionTile]) -> None:
    """Draw an example [height, width, channels] of 0 to 255, and beside it each tile."""
    shown = [_figure(_as_pixels(example), "The example", "", "The example as the models see it")]
    for tile in tiles:
        where = most_looked_at(tile.picture)
        alt = f"{tile.title}, {tile.what}: {where}"
        shown.append(_figure(_overlaid(example, tile), tile.title, tile.what, alt))
    st.html(f"{_CSS}<div class='kd-tiles'>{''.join(shown)}</div>")


def _figure(pixels: NDArray[np.uint8], title: str, what: str, alt: str) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return (
        f"<figure><img src='{source}' alt='{html.escape(alt, quote=True)}'>"
        f"<figcaption>{html.escape(title)}<span>{html.escape(what)}</span></figcaption></figure>"
    )


def _as_pixels(example: NDArray) -> NDArray[np.uint8]:
    pixels = np.asarray(example, np.uint8)
    colours = pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)
    height, width = colours.shape[:2]
    scale = max(1, -(-SIDE // max(height, width)))
    return colours.repeat(scale, axis=0).repeat(scale, axis=1)


def _overlaid(example: NDArray, tile: AttentionTile) -> NDArray[np.uint8]:
    """Return the example in grey under the map in its role's colour; at its largest it is
    strongest.
    """
    pixels = _as_pixels(example)
    height, width = pixels.shape[:2]
    strength = tile.picture / max(float(tile.picture.max()), 1e-12) * STRONGEST
    reach = round(width * tile.reach[1]), round(height * tile.reach[0])
    whole = Image.fromarray(strength.astype(np.float32)).resize(reach, Image.Resampling.NEAREST)
    laid = np.asarray(whole)[:height, :width, None]
    grey = pixels.mean(axis=2, keepdims=True) * DIMMED
    tone = colour(tile.role, dark=True)
    above = np.array([int(tone[at : at + 2], 16) for at in (1, 3, 5)])
    return np.rint(grey * (1 - laid) + above * laid).astype(np.uint8)
