"""One colour a role, the same on every page, in a light and a dark variant.

Figures are built with the light variants; the browser swaps in the dark ones when the visitor's
theme is dark (see :func:`dark_variants`), so that a switch of theme needs no rerun. Contrast with
the background is at least 4.5 to 1 in both themes, and the roles stay apart for the common kinds of
colour blindness (the tests hold both).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from kdcore.errors import require

ROLES = ("teacher", "student", "baseline")

ROLE_NAMES = {
    "teacher": "teacher",
    "student": "student (distilled)",
    "baseline": "baseline (from scratch)",
}


@dataclass(frozen=True)
class Tone:
    """The two variants of one colour, as ``#rrggbb`` in lower case."""

    light: str
    dark: str


TONES = {
    "teacher": Tone("#b45f00", "#fbbf24"),
    "student": Tone("#2563eb", "#60a5fa"),
    "baseline": Tone("#c22f7c", "#f472b6"),
    "right": Tone("#15803d", "#4ade80"),
    "wrong": Tone("#d0211c", "#ff7b72"),
    # Further models of a role beside the first: of its family, and apart from it for colour-blind
    # eyes as well.
    "teacher-2": Tone("#3f1500", "#e06a1a"),
    "teacher-3": Tone("#4d5200", "#eef08a"),
    "student-2": Tone("#0f766e", "#7df0dc"),
    "student-3": Tone("#5b21b6", "#8f6bff"),
    "baseline-2": Tone("#86198f", "#c05bd0"),
    "baseline-3": Tone("#6d0a36", "#e04f72"),
}

SYMBOLS = {"teacher": "diamond", "student": "circle", "baseline": "square"}
TONES_A_ROLE = 3


class Style(NamedTuple):
    """How one model is drawn wherever it appears: its name, tone (a key of ``TONES``), marker and
    dash.
    """

    name: str
    tone: str
    symbol: str
    dash: str = "solid"


# In the order of a legend. What comes first is drawn last, on top.
ROLE_STYLES = {
    role: Style(ROLE_NAMES[role], role, SYMBOLS[role])
    for role in ("student", "baseline", "teacher")
}


def style(role: str, name: str, index: int = 0) -> Style:
    """Return the style of the ``index``-th model of a role among those on screen; the first has the
    role's own colour.

    The marker says the role. Three tones serve solid, then dashed with open markers, so that six of
    a role stay apart.
    """
    turn, tone = divmod(index, TONES_A_ROLE)
    return Style(
        name,
        role if tone == 0 else f"{role}-{tone + 1}",
        SYMBOLS[role] + ("-open" if turn % 2 else ""),
        "dash" if turn % 2 else "solid",
    )


# What is not data. The browser replaces these by the visitor's own theme; here they are the light
# theme's.
INK = "#1e2430"
MUTED = "#5b6472"
GRID = "#e4e8ee"
SURFACE = "#fefeff"
CLEAR = "rgba(0,0,0,0)"

NEUTRALS = {"ink": INK, "muted": MUTED, "grid": GRID, "surface": SURFACE}


def colour(name: str, *, alpha: float = 1.0, dark: bool = False) -> str:
    """Return a tone, such as a role's or that of "right" and "wrong", as ``#rrggbb``, or
    ``rgba(...)`` below ``alpha`` 1.

    Raises ConfigError for an unknown name.
    """
    require(name in TONES, "colour", f"one of {', '.join(TONES)}", name)
    tone = TONES[name].dark if dark else TONES[name].light
    return tone if alpha >= 1 else f"{_rgb_prefix(tone)}{alpha:g})"


def dark_variants() -> dict[str, str]:
    """Return what to replace in a figure's text for a dark page: hexadecimal colours and the heads
    of ``rgba(...)``.
    """
    swaps = {tone.light: tone.dark for tone in TONES.values()}
    return swaps | {_rgb_prefix(light): _rgb_prefix(dark) for light, dark in swaps.items()}


def _rgb_prefix(tone: str) -> str:
    red, green, blue = (int(tone[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},"
