"""Distillation of standardized logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kdcore.methods.base import Batch, Loss, Method
from kdcore.settings import alpha_setting, temperature_setting


class Standardized(Method):
    """Plain distillation of logits with mean 0 and deviation 1 in each row."""

    name: ClassVar[str] = "standardized"
    title: ClassVar[str] = "Standardized logits"
    summary: ClassVar[str] = (
        "Plain distillation after each row of [[logits|logit]] is brought to mean 0 and deviation 1: the "
        "student learns how the teacher ranks the classes, not how large its logits are."
    )
    equation: ClassVar[str] = (
        r"\alpha\,\mathrm{CE} + (1-\alpha)\,T^2\,\mathrm{KL}"
        r"\big(p_T(\mathcal{Z}(z^t)) \,\|\, p_T(\mathcal{Z}(z^s))\big),\quad"
        r"\mathcal{Z}(z) = \frac{z - \bar z}{\sigma(z)}"
    )
    paper: ClassVar[str] = "Sun et al. 2024, arXiv:2403.01427"
    # The paper weights the labels 0.1 and this loss 9.
    papers: ClassVar[Mapping[str, float]] = {"alpha": 0.011}

    alpha: float = alpha_setting(0.01)
    temperature: float = temperature_setting(2.0)

    def loss(self, batch: Batch) -> Loss:
        """Return T² times the divergence of the softened standardized logits."""
        kd = batch.functions
        teacher, student = map(kd.standardize_logits, (batch.teacher, batch.student))
        return kd.kd_loss(teacher, student, batch.now["temperature"])
