"""Decoupled distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from kdcore.methods.base import Batch, Curve, Loss, Method, Needs
from kdcore.settings import alpha_setting, setting, temperature_setting, weight_setting


class Decoupled(Method):
    """What the teacher says of the true class and of the others, each with a weight of its own."""

    name: ClassVar[str] = "decoupled"
    title: ClassVar[str] = "Decoupled distillation"
    summary: ClassVar[str] = (
        "Plain distillation in two parts with weights of their own: how sure the teacher is of the "
        "true class, and how it ranks the others."
    )
    equation: ClassVar[str] = (
        r"\alpha\,\mathrm{CE} + (1-\alpha)\,T^2\,"
        r"(w_1\,\mathrm{TCKD} + w_2\,\mathrm{NCKD})"
    )
    paper: ClassVar[str] = "Zhao et al. 2022, arXiv:2203.08679"
    papers: ClassVar[Mapping[str, float]] = {"warm_up_epochs": 20}
    needs: ClassVar[Needs] = Needs(
        labels="True labels: rows without one learn by plain distillation.", classes=3
    )
    curves: ClassVar[tuple[Curve, ...]] = (
        Curve("tckd", "True class (TCKD)", labelled=True),
        Curve("nckd", "Other classes (NCKD)", labelled=True),
    )

    alpha: float = alpha_setting(0.5)
    temperature: float = temperature_setting(4.0)
    target_weight: float = weight_setting(
        1.0, "Weight of the true class", "How much TCKD counts, the paper's α.", "w₁"
    )
    non_target_weight: float = weight_setting(
        8.0, "Weight of the other classes", "How much NCKD counts, the paper's β.", "w₂"
    )
    logits_are: Literal["as they are", "standardized"] = setting(
        "as they are",
        "Logits are",
        "standardized: each row is brought to mean 0 and deviation 1 first (Sun et al. 2024).",
        "method",
        older="as they are",
    )
    warm_up_epochs: int = setting(
        0,
        "Warm-up epochs",
        "The teacher's weight grows evenly over so many epochs; the paper takes 20 of 240.",
        "method",
        ends=("0: none", "more: a gentler start"),
        short="warm-up",
        ge=0,
        le=10_000,
    )

    def remark(self, epochs: int) -> str:
        """Return how far the warm-up comes where the training ends before it."""
        if self.warm_up_epochs <= epochs:
            return ""
        return (
            f"The warm-up takes {self.warm_up_epochs:,} epochs and the training {epochs:,}: the "
            f"teacher's weight ends at {epochs / self.warm_up_epochs:.0%} of itself"
        )

    def loss(self, batch: Batch) -> Loss:
        """Return T² (w₁ TCKD + w₂ NCKD), and both apart.

        Where nobody knows a label, as in ``keras.distillation.Distiller``, it is plain
        distillation.
        """
        kd, ops, now = batch.functions, batch.ops, batch.now
        labels = batch.labels
        if labels is None:
            labels = ops.full(ops.shape(batch.student)[:1], -1, dtype="int32")
        logits = batch.teacher, batch.student
        if self.logits_are == "standardized":
            logits = tuple(map(kd.standardize_logits, logits))
        target, non_target = kd.decoupled_kd_terms(*logits, labels, now["temperature"])
        weights = now["target_weight"], now["non_target_weight"]
        total = kd.mean_of_decoupled(target, non_target, labels >= 0, *weights)
        if self.warm_up_epochs:
            grown = ops.minimum(batch.epoch / self.warm_up_epochs, 1.0)
            total = ops.cast(grown, total.dtype) * total
        known = ops.cast(labels >= 0, target.dtype)
        count = ops.sum(known)
        return total, {
            "tckd": ops.divide_no_nan(ops.sum(known * target), count),
            "nckd": ops.divide_no_nan(ops.sum(known * non_target), count),
        }
