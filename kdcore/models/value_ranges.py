"""The ranges that a model may want its inputs in, and how what a dataset gives is brought there.

Each is linear in each channel or feature: ``x * scale + offset``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers
from numpy.typing import NDArray

from kdcore.errors import ModelError
from kdcore.tasks.values import InputValues, Statistics

Linear = tuple[NDArray[np.float64], NDArray[np.float64]]

BOUNDS = {"0 to 1": (0.0, 1.0), "0 to 255": (0.0, 255.0), "-1 to 1": (-1.0, 1.0)}


def to_range(inputs: Any, wanted: str, values: InputValues, pictures: bool) -> Any:
    """Return a model's ``inputs``, which have ``values``, in the range that is ``wanted``.

    Raises ModelError where the data has to be at hand for that and is not.
    """
    scale, offset = linear_to(wanted, values, pictures)
    if np.all(scale == 1) and np.all(offset == 0):
        return inputs
    return layers.Rescaling(_as_argument(scale), _as_argument(offset))(inputs)


def linear_to(wanted: str, values: InputValues, pictures: bool) -> Linear:
    """Return the scale and the offset, scalars or [channels], that bring ``values`` to a range.

    Images are mapped as a whole from the range that is meant; the features of a table each from
    what the training part shows. An unknown name, "as they are" say, changes nothing.
    """
    if wanted == "as in the file":
        return _as_in_the_file(values)
    if wanted == "standardised":
        return _standardised(_known(values, wanted))
    if wanted not in BOUNDS:
        return np.ones(()), np.zeros(())
    low, high = BOUNDS[wanted]
    if pictures:
        from_low, from_high = np.array(values.low), np.array(values.high)
    else:
        known = _known(values, wanted)
        from_low, from_high = known.lowest, known.highest
    span = np.where(from_high > from_low, from_high - from_low, 1.0)
    scale = (high - low) / span
    return scale, low - from_low * scale


def _as_in_the_file(values: InputValues) -> Linear:
    if values.centre is not None and values.spread is not None:
        return values.spread.astype(np.float64), values.centre.astype(np.float64)
    return np.array(1 / values.scale), np.zeros(())


def _standardised(known: Statistics) -> Linear:
    return 1 / known.deviation, -known.mean / known.deviation


def _known(values: InputValues, wanted: str) -> Statistics:
    if values.statistics is None:
        raise ModelError(f"values that are {wanted} can be made only where the data is at hand")
    return values.statistics


def _as_argument(number: NDArray) -> Any:
    """Return what a layer's description can hold as JSON."""
    return np.ravel(number).tolist()[0] if np.size(number) == 1 else number.tolist()
