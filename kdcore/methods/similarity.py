"""Similarity: the student finds those examples alike that the teacher finds alike."""

from __future__ import annotations

from typing import ClassVar, Literal

from kdcore.methods.base import Batch, Curve, Loss, Needs
from kdcore.methods.features import FeatureMethod
from kdcore.settings import setting, weight_setting


class Similarity(FeatureMethod):
    """Examples that are alike for the teacher are to be alike for the student."""

    name: ClassVar[str] = "similarity"
    title: ClassVar[str] = "Similarity of examples"
    summary: ClassVar[str] = (
        "Examples that are alike for the teacher are to be alike for the student, whatever the "
        "features themselves are; relational compares distances and angles between them."
    )
    equation: ClassVar[str] = (
        r"\alpha\,\mathrm{CE} + (1-\alpha)\,\big[w_{kd}\,\mathrm{KD}_T + "
        r"\tfrac{w}{N^2}\lVert\hat G^t - \hat G^s\rVert_F^2\big],\quad G = F F^\top"
    )
    paper: ClassVar[str] = (
        "Tung, Mori 2019, arXiv:1907.09682; relational: Park 2019, arXiv:1904.05068"
    )
    needs: ClassVar[Needs] = Needs("features")
    curves: ClassVar[tuple[Curve, ...]] = (
        Curve("similarity", "Distance of the examples' similarities"),
    )

    variant: Literal["similarity", "relational"] = setting(
        "similarity",
        "What is compared",
        "similarity: which examples of a batch are alike; relational: the distances and the angles "
        "between them.",
        "method",
    )
    weight: float = weight_setting(
        100.0, "Weight of similarity", "The paper takes 3000; 1 for relational.", "w"
    )

    def features_loss(self, batch: Batch) -> Loss:
        """Return the distance of how the batch's examples lie to each other in a pair of layers."""
        kd = batch.functions
        compare = (
            kd.relational_loss if self.variant == "relational" else kd.similarity_preserving_loss
        )
        distance = compare(batch.teacher, batch.student)
        return distance, {"similarity": distance}
