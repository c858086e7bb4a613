"""Hints: the student's layer learns what the teacher's layer computes."""

from __future__ import annotations

from typing import ClassVar

from kdcore.methods.base import Batch, Curve, Loss, Needs
from kdcore.methods.features import FeatureMethod
from kdcore.settings import weight_setting


class Hints(FeatureMethod):
    """A layer of the student learns what a layer of the teacher computes."""

    name: ClassVar[str] = "hints"
    title: ClassVar[str] = "Hints (FitNet)"
    summary: ClassVar[str] = (
        "A layer of the student learns what a layer of the teacher computes; where their shapes "
        "differ, a small adapter stands between, which is trained and then thrown away."
    )
    equation: ClassVar[str] = (
        r"\alpha\,\mathrm{CE} + (1-\alpha)\,\big[w_{kd}\,\mathrm{KD}_T + "
        r"w\;\overline{(F^t - r(F^s))^2}\big]"
    )
    paper: ClassVar[str] = "Romero et al. 2015, arXiv:1412.6550"
    unlike_paper: ClassVar[str] = (
        "hints and labels at once, where the paper trains on the hints first"
    )
    needs: ClassVar[Needs] = Needs("features")
    curves: ClassVar[tuple[Curve, ...]] = (Curve("hint", "Distance from the teacher's layer"),)
    zero_at_agreement: ClassVar[bool] = True

    weight: float = weight_setting(
        100.0,
        "Weight of the hints",
        "How much the distance of the layers counts; the paper names no weight.",
        "w",
    )

    @property
    def adapter(self) -> bool:
        """Hints compare element by element: shapes must agree."""
        return True

    def features_loss(self, batch: Batch) -> Loss:
        """Return the mean squared difference of a pair of layers."""
        distance = batch.functions.hint_loss(batch.teacher, batch.student)
        return distance, {"hint": distance}
