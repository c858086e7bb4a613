"""Images made worse, as a test of how much a model minds: noise, blur, shifts, less contrast, and a
part covered, each in three severities (after Hendrycks and Dietterich 2019, arXiv:1903.12261, whose
kinds they are a few of; strengths are this project's own).

The same seed makes the same images, whoever is asked about them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from kdcore.errors import require

Images = NDArray[np.float32]
SEVERITIES = (1, 2, 3)


@dataclass(frozen=True)
class Corruption:
    """A way of making images worse.

    ``strengths`` are those of the severities, in words of ``unit``; ``apply`` takes images
    [n, height, width, channels] from 0 to 1, a strength and a generator.
    """

    title: str
    unit: str
    strengths: tuple[float, float, float]
    apply: Callable[[Images, float, Generator], NDArray]


def _noise(images: Images, strength: float, generator: Generator) -> NDArray:
    return images + generator.normal(0.0, strength, images.shape)


def _blur(images: Images, strength: float, generator: Generator) -> NDArray:
    sigma = strength * max(images.shape[1:3])
    return ndimage.gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest")


def _shift(images: Images, strength: float, generator: Generator) -> NDArray:
    """Move each image in a direction of its own; what comes in is its edge."""
    angles = generator.uniform(0, 2 * np.pi, len(images))
    far = strength * max(images.shape[1:3])
    moved = [
        ndimage.shift(image, (far * np.sin(angle), far * np.cos(angle), 0), order=1, mode="nearest")
        for image, angle in zip(images, angles, strict=True)
    ]
    return np.stack(moved)


def _contrast(images: Images, strength: float, generator: Generator) -> NDArray:
    means = images.mean(axis=(1, 2, 3), keepdims=True)
    return means + (images - means) * (1 - strength)


def _occlusion(images: Images, strength: float, generator: Generator) -> NDArray:
    """Cover a square at a place of its own in each image with the image's mean."""
    height, width = images.shape[1:3]
    side = max(1, round(strength * max(height, width)))
    tops = generator.integers(0, max(1, height - side + 1), len(images))
    lefts = generator.integers(0, max(1, width - side + 1), len(images))
    covered = images.copy()
    for image, top, left in zip(covered, tops, lefts, strict=True):
        image[top : top + side, left : left + side] = image.mean(axis=(0, 1))
    return covered


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption("Noise", "of the range, standard deviation", (0.1, 0.2, 0.4), _noise),
    "blur": Corruption("Blur", "of the longer side, deviation", (0.04, 0.08, 0.14), _blur),
    "shift": Corruption("Shift", "of the longer side", (0.06, 0.12, 0.2), _shift),
    "contrast": Corruption("Contrast", "of the contrast taken", (0.4, 0.65, 0.85), _contrast),
    "occlusion": Corruption("Occlusion", "of the side covered", (0.25, 0.4, 0.55), _occlusion),
}


def corrupt(
    images: NDArray,
    name: str,
    severity: int,
    value_range: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> Images:
    """Return images [n, height, width, channels] made worse, in the same range of values.

    Raises ConfigError for an unknown corruption or severity.
    """
    require(name in CORRUPTIONS, "corruption", f"one of {', '.join(CORRUPTIONS)}", name)
    require(severity in SEVERITIES, "severity", "1, 2 or 3", severity)
    low, high = value_range
    span = high - low if high > low else 1.0
    generator = np.random.default_rng((seed, list(CORRUPTIONS).index(name), severity))
    kind = CORRUPTIONS[name]
    unit = ((images - low) / span).astype(np.float32)
    worse = kind.apply(unit, kind.strengths[severity - 1], generator)
    return (np.clip(worse, 0.0, 1.0) * span + low).astype(np.float32)
