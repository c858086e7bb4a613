"""Pseudo-labels: the loss of Noisy Student's students."""

from __future__ import annotations

from typing import ClassVar, Literal

from kdcore.methods.base import Batch, Loss, Method, Needs
from kdcore.settings import setting, smoothing_setting


class PseudoLabels(Method):
    """True labels where there are any, the teacher's answers elsewhere."""

    name: ClassVar[str] = "pseudo_labels"
    title: ClassVar[str] = "Pseudo-labels (Noisy Student)"
    summary: ClassVar[str] = (
        "Examples with a label teach by it, smoothed a little; all others by what the teacher "
        "[[takes them for|pseudo-label]], as its distribution or as its top class alone."
    )
    equation: ClassVar[str] = (
        r"\mathrm{CE}\big(\tilde y,\; p^s\big)_{\text{labelled}}"
        r" + r\,\mathrm{CE}\big(p^t,\; p^s\big)_{\text{unlabelled}}"
    )
    paper: ClassVar[str] = "Xie et al. 2020, arXiv:1911.04252"
    needs: ClassVar[Needs] = Needs(
        "logits", "Rows with a label learn from it alone, all others from the teacher alone."
    )
    zero_at_agreement: ClassVar[bool] = False

    pseudo_labels: Literal["soft", "hard"] = setting(
        "soft",
        "Pseudo-labels",
        "The teacher's whole distribution, or its top class.",
        "method",
    )
    unlabelled_weight: float = setting(
        3.0,
        "Weight of the unlabelled",
        "Of their mean loss, against that of the labelled ones; in the paper the ratio of both in "
        "a batch.",
        "method",
        short="ratio",
        ends=("0: labels only", "larger: counts more"),
        step=0.5,
        ge=0,
        le=100,
    )
    smoothing: float = smoothing_setting(0.1)

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of labelled and unlabelled rows, each by itself."""
        return batch.functions.pseudo_label_loss(
            batch.labels,
            batch.teacher,
            batch.student,
            batch.now["unlabelled_weight"],
            batch.now["smoothing"],
            hard=self.pseudo_labels == "hard",
        )
