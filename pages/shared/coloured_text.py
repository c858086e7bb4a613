"""A text whose parts are coloured."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdcore.analysis.attention import over_parts
from kdcore.analysis.occlusion import Part, drops
from kdcore.palette import colour
from kdcore.tasks.vocabulary import Vocabulary

CSS = """<style>
.kd-parts { margin: 0 0 0.7rem; line-height: 1.9; overflow-wrap: anywhere; }
.kd-parts b { font-weight: 600; font-size: 0.85rem; opacity: 0.8; display: block; line-height: 1.3; }
.kd-parts span { padding: 0.12em 0; border-radius: 0.2em; font-size: 1.1rem; }
</style>"""
STRONGEST = 0.6


class Coloured(NamedTuple):
    """A part of a text: its colour in CSS, and what it says when one points at it."""

    part: Part
    shade: str
    says: str


def by_attention(
    role: str,
    text: str,
    parts: Sequence[Part],
    vocabulary: Vocabulary,
    attention: NDArray[np.float32],
) -> list[Coloured]:
    """Colour the parts of a text by their share of ``attention`` [tokens], in a role's colour: from
    nothing for the smallest share to the strongest for the largest.
    """
    shares = over_parts(
        attention, vocabulary.spans(text), [(each.begin, each.end) for each in parts]
    )
    least, most = shares.min(initial=1.0), shares.max(initial=0.0)
    strengths = (shares - least) / max(most - least, 1e-12)
    return [
        Coloured(
            part,
            _both_themes(role, round(STRONGEST * float(strength), 3)),
            f"{share:.1%} of its attention",
        )
        for part, share, strength in zip(parts, shares, strengths, strict=True)
    ]


def _both_themes(role: str, alpha: float) -> str:
    return f"light-dark({colour(role, alpha=alpha)}, {colour(role, alpha=alpha, dark=True)})"


def by_drop(parts: Sequence[Part], logits: NDArray[np.float32]) -> list[Coloured]:
    """Colour parts by what becomes of the answer without them: blue for less likely, orange for
    more; ``logits`` [1 + parts, classes] as for :func:`kdcore.analysis.occlusion.drops`.
    """
    return [
        Coloured(
            part,
            f"rgb({'59 130 246' if fall > 0 else '249 115 22'} / {min(abs(fall), STRONGEST):.2f})",
            f"without it {-100 * fall:+.0f} points",
        )
        for part, fall in zip(parts, map(float, drops(logits)), strict=True)
    ]


def coloured_text(title: str, text: str, parts: Sequence[Coloured]) -> str:
    """Return a titled text as HTML; nothing in it is taken for HTML."""
    written, at = [f"<p class='kd-parts' dir='auto'><b>{html.escape(title)}</b>"], 0
    for part, shade, says in parts:
        written.append(html.escape(text[at : part.begin]))
        written.append(
            f"<span style='background: {shade}' title='{html.escape(says, quote=True)}'>"
            f"{html.escape(text[part.begin : part.end])}</span>"
        )
        at = part.end
    return "".join([*written, html.escape(text[at:]), "</p>"])
