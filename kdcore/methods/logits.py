"""Plain distillation of logits."""

from __future__ import annotations

from typing import ClassVar

from kdcore.methods.base import Batch, Loss, Method
from kdcore.settings import alpha_setting, temperature_setting


class Logits(Method):
    """The student learns the teacher's [[softened distribution|soft target]]."""

    name: ClassVar[str] = "logits"
    title: ClassVar[str] = "Plain distillation"
    summary: ClassVar[str] = "The student learns the teacher's softened distribution."
    equation: ClassVar[str] = (
        r"\alpha\,\mathrm{CE}(y, p^s) + (1-\alpha)\,T^2\,\mathrm{KL}(p_T^t \,\|\, p_T^s)"
    )
    paper: ClassVar[str] = "Hinton, Vinyals, Dean 2015, arXiv:1503.02531"

    alpha: float = alpha_setting(0.1)
    temperature: float = temperature_setting(10.0)

    def loss(self, batch: Batch) -> Loss:
        """Return T² times the divergence of the softened distributions."""
        return batch.functions.kd_loss(batch.teacher, batch.student, batch.now["temperature"])
