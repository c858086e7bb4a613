"""Images: pixels that are scaled to 0 to 1, augmented, shown as they are, and dropped or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kdcore.errors import require
from kdcore.tasks.base import Task
from kdcore.tasks.report import DataOptions, Report, Survey

LARGEST_UNASKED_SIDE = 64  # larger photos are shrunk unless a size is asked for
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


class Images(Task):
    """Pictures of one size, [height, width, channels]."""

    name: ClassVar[str] = "images"
    title: ClassVar[str] = "images"
    icon: ClassVar[str] = ":material/image:"
    pictures: ClassVar[bool] = True
    networks: ClassVar[str] = "a network for images, such as conv-16-32"
    scaling: ClassVar[str] = "unit"
    value_ranges: ClassVar[tuple[str, ...]] = ("0 to 1", "0 to 255", "-1 to 1", "standardised")
    starting_networks: ClassVar[tuple[str, str]] = ("conv-64-128", "conv-8-16")
    candidates: ClassVar[tuple[str, ...]] = (
        "conv-64-128",
        "conv-32-64",
        "conv-16-32",
        "conv-8-16",
        "conv-4-8",
        "mlp-64",
        "mlp-16",
        "resnet-14-8",
        "resnet-8-8",
    )

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Return whether examples of a bare array have this shape."""
        return len(shape) != 1

    def refuse_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Refuse what has no height, width and one or three channels."""
        looks_right = len(shape) in (2, 3) and min(shape) > 0 and shape[2:] in ((), (1,), (3,))
        rule = (
            "of shape [n, height, width], [n, height, width, 1] or [n, height, width, 3] "
            "(channels last), or [n, features]"
        )
        require(looks_right, name, rule, (None, *shape))

    def as_read(self, rows: NDArray) -> NDArray:
        """Give grey images their one channel."""
        return rows[..., np.newaxis] if rows.ndim == 3 else rows

    def examine(self, survey: Survey, array: NDArray, count: int) -> None:
        """Count sizes, channels and images of a single value."""
        height, width, channels = array.shape[-3:]
        survey.sizes[height, width] += count
        survey.channels[channels] += count
        flat = array.reshape(count, -1)
        survey.constant += int(np.sum(flat.min(axis=1) == flat.max(axis=1)))

    def settle(self, survey: Survey, options: DataOptions, report: Report) -> None:
        """Decide on size, colour and number format."""
        require(report.scaling != "standard", "scaling", "unit or none for images", report.scaling)
        report.sizes = {
            f"{height} × {width}": count for (height, width), count in survey.sizes.most_common(8)
        }
        report.colours = {
            {1: "grey", 3: "colour"}[channels]: count for channels, count in survey.channels.items()
        }
        height, width = _size(survey, options, report)
        channels = {"grey": 1, "colour": 3}.get(options.colour, max(survey.channels))
        report.shape = [height, width, channels]
        in_bytes_already = survey.whole and survey.low >= 0 and survey.high <= 255
        # Between 0 and 1 there are no whole numbers: what is resized needs others.
        resized = set(survey.sizes) != {(height, width)}
        needs_more = resized and survey.high <= 1
        report.dtype = "uint8" if in_bytes_already and not needs_more else "float32"
        largest = _full_range(survey)
        report.scale = 1 / largest if report.scaling == "unit" and largest > 0 else 1.0
        if report.scaling == "unit":
            report.notes.append(f"Values are divided by {largest:g}.")
        _refuse_constant(survey, report)

    def fit(self, examples: Sequence[NDArray], report: Report) -> NDArray:
        """Return images of any size as one array [n, height, width, channels]."""
        height, width, channels = report.shape
        out = np.empty((len(examples), height, width, channels), report.dtype)
        for at, image in enumerate(examples):
            if image.shape[2] == 3 and channels == 1:
                image = (image @ GREY)[..., np.newaxis]
                if report.dtype == "uint8":
                    image = np.rint(image).astype(np.uint8)
            elif image.shape[2] == 1 and channels == 3:
                image = np.repeat(image, 3, axis=2)
            if image.shape[:2] != (height, width):
                image = _resize(image, height, width, np.dtype(report.dtype))
            out[at] = (
                np.rint(image) if report.dtype == "uint8" and image.dtype != np.uint8 else image
            )
        return out

    def preview(
        self, examples: Sequence[NDArray], survey: Survey, report: Report
    ) -> NDArray[np.uint8]:
        """Return images as they will be stored, as bytes."""
        stored = self.fit(examples, report)
        in_bytes_already = report.dtype == "uint8" and report.scale in (1.0, 1 / 255)
        full = 255 if in_bytes_already else max(survey.high, 1e-12)
        return np.clip(np.rint(stored * (255 / full)), 0, 255).astype(np.uint8)

    def value_range(self, report: Report) -> tuple[float, float]:
        """0 to 1 for bytes divided by their largest, otherwise as far as the values reach."""
        if report.dtype == "uint8":
            as_they_are = report.scale == 1.0 and report.highest > 1
            top = 255.0 if report.highest > 128 else report.highest
            return (0.0, top) if as_they_are else (0.0, 1.0)
        return (report.lowest * report.scale, report.highest * report.scale)

    def show(
        self, inputs: NDArray, training: NDArray, scale: float, value_range: tuple[float, float]
    ) -> NDArray[np.uint8]:
        """Return the pixels that models see as bytes."""
        low, high = value_range
        return np.clip(np.rint((inputs * scale - low) * (255 / (high - low))), 0, 255).astype(
            np.uint8
        )

    def augmentation_rule(self, augmentation: str, shape: tuple[int, ...], name: str) -> str | None:
        """RandAugment needs colours."""
        if augmentation == "randaugment" and shape[-1] != 3:
            return f"flips, shifts or none for grey images ({name}): RandAugment changes colours"
        return None

    def about(self, report: Report) -> list[tuple[str, str]]:
        """Say which sizes and colours there are."""
        sizes = ", ".join(f"{count:,} of {size}" for size, count in report.sizes.items())
        colours = ", ".join(f"{count:,} {name}" for name, count in report.colours.items())
        return [("images", f"{sizes} pixels"), ("colour", colours)]

    def scaling_in_words(self, report: Report) -> str:
        """Return "0 to 1 (divided by 255)", or how far the values really reach."""
        if report.scaling != "unit":
            return super().scaling_in_words(report)
        low, high = self.value_range(report)
        reach = f"{low:.3g} to {high:.3g}"
        if report.scale == 1:
            return f"{reach}, as they are"
        return f"{reach} (divided by {1 / report.scale:g})"


def _size(survey: Survey, options: DataOptions, report: Report) -> tuple[int, int]:
    (height, width), _ = survey.sizes.most_common(1)[0]
    if options.size is not None:
        return options.size
    if max(height, width) > LARGEST_UNASKED_SIDE:
        shrink = LARGEST_UNASKED_SIDE / max(height, width)
        height, width = max(1, round(height * shrink)), max(1, round(width * shrink))
        report.notes.append(
            f"Images are shrunk to {height} × {width}: larger ones train slowly. "
            "Choose a size to change it."
        )
    return height, width


def _full_range(survey: Survey) -> float:
    """Return what the values of images are divided by so that white is 1.

    Bytes by 255 even if no pixel is quite white; whole numbers of 12 and 16 bits by their largest;
    0 and 1, a scale of 16 levels, and anything else by the largest value that there is.
    """
    largest = max(abs(survey.low), survey.high)
    if not (survey.whole and survey.low >= 0):
        return largest
    bytes_alone = set(survey.dtypes) == {"uint8"}
    if survey.high <= 255:
        return 255.0 if (bytes_alone and survey.high > 1) or survey.high > 128 else largest
    if set(survey.dtypes) <= {"uint16", "int32", "uint8"}:
        return next((float(top) for top in (4095, 65535) if survey.high <= top), largest)
    return largest


def _refuse_constant(survey: Survey, report: Report) -> None:
    """Name images without any contrast: a problem where they are many, a warning else."""
    total = sum(survey.sizes.values())
    if not survey.constant:
        return
    said = f"{survey.constant:,} of {total:,} images have a single value everywhere"
    if survey.constant * 2 >= total:
        report.problems.append(("images", "pictures with more than one value", said))
    else:
        report.warnings.append(f"{said}: they show nothing.")


def _resize(image: NDArray, height: int, width: int, stored: np.dtype) -> NDArray:
    """Resize by bilinear interpolation with antialiasing, channel by channel: it works for bytes
    and floats alike.
    """
    kind = np.uint8 if image.dtype == stored == np.uint8 else np.float32
    pictures = [
        Image.fromarray(np.ascontiguousarray(image[..., at], kind)) for at in range(image.shape[2])
    ]
    channels = [
        np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
        for picture in pictures
    ]
    return np.stack(channels, axis=2)
