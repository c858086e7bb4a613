"""A kind of data from outside: small volumes, [depth, height, width, channels]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdcore.errors import require
from kdcore.tasks import Task, register
from kdcore.tasks.report import DataOptions, Report, Survey


@register
class Volumes(Task):
    """Volumes whose middle slice is shown."""

    name = "volumes"
    title = "volumes"
    icon = ":material/deployed_code:"
    size_label = "One volume"
    scaling = "unit"
    starting_networks = ("mlp-16", "mlp-8")
    candidates = ("mlp-8", "mlp-4")

    def takes(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 4

    def refuse_shape(self, name: str, shape: tuple[int, ...]) -> None:
        require(shape[3] == 1, name, "volumes of one channel", shape)

    def settle(self, survey: Survey, options: DataOptions, report: Report) -> None:
        report.shape, report.dtype = [4, 4, 4, 1], "float32"
        report.scale = 1 / survey.high

    def fit(self, examples: Sequence[NDArray], report: Report) -> NDArray:
        return np.stack(list(examples)).astype(report.dtype)

    def preview(
        self, examples: Sequence[NDArray], survey: Survey, report: Report
    ) -> NDArray[np.uint8]:
        return self._slices(np.stack(list(examples)) / survey.high)

    def show(
        self, inputs: NDArray, training: NDArray, scale: float, value_range: tuple[float, float]
    ) -> NDArray[np.uint8]:
        return self._slices(inputs * scale)

    def about(self, report: Report) -> list[tuple[str, str]]:
        return [("volumes", f"{sum(report.parts.values())} with a depth of {report.shape[0]}")]

    @staticmethod
    def _slices(volumes: NDArray) -> NDArray[np.uint8]:
        return np.clip(np.rint(volumes[:, 2] * 255), 0, 255).astype(np.uint8)
