"""Similarity: the student finds those examples alike that the teacher finds alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from kdcore.methods.base import Batch, Curve, Loss, Needs
from kdcore.methods.features import FeatureMethod
from kdcore.settings import setting, weight_setting

OF_SIMILARITY = 100.0


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
    # The paper adds 3000 times this to the labels' loss, without plain distillation.
    papers: ClassVar[Mapping[str, float]] = {"alpha": 0.5, "kd_weight": 0.0, "weight": 3000.0}
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
        OF_SIMILARITY,
        "Weight of similarity",
        "Where similarities are compared, the paper takes 3000; 1 for relational.",
        "w",
    )
    distance_weight: float = weight_setting(
        25.0, "Weight of the distances", "Of pairs, for relational alone.", "d", older=25.0
    )
    angle_weight: float = weight_setting(
        50.0, "Weight of the angles", "Of triples, for relational alone.", "a", older=50.0
    )

    @classmethod
    def brings(cls, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the weight of what is compared: the two losses differ in size."""
        weights = {"similarity": OF_SIMILARITY, "relational": 1.0}
        variant = str(chosen.get("variant", ""))
        return {"weight": weights[variant]} if variant in weights else {}

    def compared_numbers(self, values: int, batch_size: int) -> int:
        """Return how many numbers a batch takes to compare: of relations, those of all pairs."""
        examples = super().compared_numbers(values, batch_size)
        return examples * batch_size if self.variant == "relational" else examples

    def tunable(self) -> dict[str, float]:
        """Return the settings that may change without tracing anew: those that have an effect."""
        without = set() if self.variant == "relational" else {"distance_weight", "angle_weight"}
        return {name: value for name, value in super().tunable().items() if name not in without}

    def features_loss(self, batch: Batch) -> Loss:
        """Return the distance of how the batch's examples lie to each other in a pair of layers."""
        kd, features = batch.functions, (batch.teacher, batch.student)
        if self.variant == "relational":
            weights = batch.now["distance_weight"], batch.now["angle_weight"]
            distance = kd.relational_loss(*features, *weights)
        else:
            distance = kd.similarity_preserving_loss(*features)
        return distance, {"similarity": distance}
