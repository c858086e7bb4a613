"""Tables and arrays in, Plotly figures out."""

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
