"""Label smoothing: a control that asks no teacher at all."""

from __future__ import annotations

from typing import ClassVar

from kdcore.methods.base import Batch, Loss, Method, Needs
from kdcore.settings import smoothing_setting


class LabelSmoothing(Method):
    """The true labels, softened by hand."""

    name: ClassVar[str] = "label_smoothing"
    title: ClassVar[str] = "Label smoothing (control)"
    summary: ClassVar[str] = (
        "No teacher: the true labels alone, [[softened|label smoothing]] towards the uniform [[distribution]]. What it "
        "gains too is not owed to a teacher."
    )
    equation: ClassVar[str] = (
        r"\mathrm{CE}\big((1-\varepsilon)\,y + \tfrac{\varepsilon}{C},\; p^s\big)"
    )
    paper: ClassVar[str] = "Szegedy et al. 2016, arXiv:1512.00567"
    needs: ClassVar[Needs] = Needs(
        "nothing", "Each step is a full batch of labelled examples, the baseline's."
    )
    zero_at_agreement: ClassVar[bool] = False

    smoothing: float = smoothing_setting(0.1)

    def loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy with the smoothed labels."""
        return batch.functions.smoothed_cross_entropy(
            batch.labels, batch.student, batch.now["smoothing"]
        )
