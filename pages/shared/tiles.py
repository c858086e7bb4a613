"""Numbers in a row, each with what it is of below it: a split, a unit, a clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import streamlit as st


class Tile(NamedTuple):
    """A number on screen: its name, its value, and below it what it was measured on."""

    label: str
    value: str
    note: str
    help: str


def draw_tiles(tiles: Iterable[Tile]) -> None:
    """Draw tiles beside each other, as many as there is room for."""
    with st.container(horizontal=True, gap="small"):
        for tile in tiles:
            st.metric(
                tile.label,
                tile.value,
                tile.note,
                delta_color="off",
                delta_arrow="off",
                help=tile.help,
                border=True,
            )
