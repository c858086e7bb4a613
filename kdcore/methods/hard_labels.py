"""Distillation of the teacher's decisions."""

from __future__ import annotations

from typing import ClassVar

from kdcore.methods.base import Batch, Loss, Method
from kdcore.settings import alpha_setting


class HardLabels(Method):
    """The student takes the teacher's [[top class|hard label]] for the truth."""

    name: ClassVar[str] = "hard_labels"
    title: ClassVar[str] = "Hard labels"
    summary: ClassVar[str] = (
        "The student takes the teacher's top class for the truth; how sure the teacher is does not "
        "count."
    )
    equation: ClassVar[str] = (
        r"\alpha\,\mathrm{CE}(y, p^s) + (1-\alpha)\,\mathrm{CE}(\arg\max_c z^t_c,\; p^s)"
    )
    paper: ClassVar[str] = "Touvron et al. 2021 (DeiT), arXiv:2012.12877"
    zero_at_agreement: ClassVar[bool] = False

    alpha: float = alpha_setting(0.5)

    def loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy with the teacher's top class."""
        return batch.functions.hard_label_loss(batch.teacher, batch.student)
