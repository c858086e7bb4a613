"""Distillation by correlation (DIST)."""

from __future__ import annotations

from typing import ClassVar

from kdcore.errors import Problem
from kdcore.methods.base import Batch, Curve, Loss, Method
from kdcore.settings import alpha_setting, temperature_setting, weight_setting


class Dist(Method):
    """The student's answers go up and down with the teacher's, whatever their size."""

    name: ClassVar[str] = "dist"
    title: ClassVar[str] = "Correlation (DIST)"
    summary: ClassVar[str] = (
        "The student's probabilities are to go up and down with the teacher's, over the classes of "
        "an example and over the examples of a class; their size is its own."
    )
    equation: ClassVar[str] = (
        r"\alpha\,\mathrm{CE} + (1-\alpha)\,T^2\,\big[\beta\,(1-\overline{\rho}_{\text{rows}}) + "
        r"\gamma\,(1-\overline{\rho}_{\text{columns}})\big]"
    )
    paper: ClassVar[str] = "Huang et al. 2022, arXiv:2205.10536"
    curves: ClassVar[tuple[Curve, ...]] = (
        Curve("inter_class", "Correlation over classes"),
        Curve("intra_class", "Correlation over examples"),
    )

    alpha: float = alpha_setting(0.5)
    temperature: float = temperature_setting(1.0)
    inter_class_weight: float = weight_setting(
        2.0, "Weight over classes", "Of the correlation over the classes of each example.", "β"
    )
    intra_class_weight: float = weight_setting(
        2.0, "Weight over examples", "Of the correlation over the examples of each class.", "γ"
    )

    def problems(
        self, dataset: str, classes: int, images: bool, batch_size: int, student: str
    ) -> list[Problem]:
        """Return why it does not fit: one example has no others to be correlated with."""
        found = super().problems(dataset, classes, images, batch_size, student)
        if batch_size < 2:
            found.append(Problem("batch_size", "at least 2 for correlations", batch_size))
        return found

    def loss(self, batch: Batch) -> Loss:
        """Return T² [β (1 - ρ of rows) + γ (1 - ρ of columns)], and both correlations."""
        names = ("temperature", "inter_class_weight", "intra_class_weight")
        settings = [batch.now[name] for name in names]
        total, inter, intra = batch.functions.dist_terms(batch.teacher, batch.student, *settings)
        return total, {"inter_class": inter, "intra_class": intra}
