"""The control for alpha, the weight of the true labels, that follows the hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pages.shared.log_slider import Landmark, even_slider

STEPS: tuple[float, ...] = tuple(step / 100 for step in range(101))
TICKS = (0, 0.25, 0.5, 0.75, 1)
HELP = "The weight of the true labels. 0: the teacher only; 1: the true labels only."


def alpha_control(
    value: float,
    *,
    key: str,
    on_change: Callable[[float], None],
    landmarks: Sequence[Landmark] = (),
) -> None:
    """Draw the slider at ``value``, which the caller keeps, and tell ``on_change`` what is chosen
    or typed: any number, also one that is to be refused.
    """
    even_slider(
        "Alpha",
        STEPS,
        value,
        symbol="α",
        key=key,
        on_change=on_change,
        ticks=TICKS,
        landmarks=landmarks,
        help=HELP,
    )


def within(alpha: float) -> float:
    """Return the nearest alpha that there is."""
    return min(max(alpha, 0.0), 1.0)
