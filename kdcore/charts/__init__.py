"""Tables and arrays in, Plotly figures out: pure functions, with no Streamlit and no state.

Colours are the light theme's; the browser swaps them (see :mod:`kdcore.palette`). Every trace has a
``uid``, so that a trace hidden by the visitor stays hidden when others come and go; Plotly makes
selectors of it, so it has letters, digits and dashes only.
"""

from kdcore.charts.curves import (
    MEASURES,
    POINTS_PER_CURVE,
    X_HOVER,
    X_TITLES,
    Measure,
    downsample,
    learning_curves,
    mean_and_band,
    smooth,
)
from kdcore.charts.layout import SPIKE, as_label, base_axis, base_layout, style
from kdcore.charts.softened import LOG_FLOOR, Distribution, distributions

__all__ = [
    "LOG_FLOOR",
    "MEASURES",
    "POINTS_PER_CURVE",
    "SPIKE",
    "X_HOVER",
    "X_TITLES",
    "Distribution",
    "Measure",
    "as_label",
    "base_axis",
    "base_layout",
    "distributions",
    "downsample",
    "learning_curves",
    "mean_and_band",
    "smooth",
    "style",
]
