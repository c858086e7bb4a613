"""The distillation token: a teacher speaks to a transformer through a token of its own."""

from __future__ import annotations

from typing import ClassVar, Literal

from kdcore.methods.base import Batch, Loss, Method, Needs, Term
from kdcore.settings import setting, smoothing_setting

# The student's layers that it is computed on: the heads of its two tokens.
CLASS_HEAD = "class_head"
DISTILLATION_HEAD = "distillation_head"
# As people call them; a student answers with the mean of both.
BOTH_HEADS = "both"
TOKEN_HEADS = {"class token": CLASS_HEAD, "distillation token": DISTILLATION_HEAD}


class DistillationToken(Method):
    """The class token learns from the labels, the distillation token from the teacher."""

    name: ClassVar[str] = "distillation_token"
    title: ClassVar[str] = "Distillation token (DeiT)"
    summary: ClassVar[str] = (
        "For a transformer with two tokens: the [[class token]]'s head learns the true labels, the "
        "[[distillation token]]'s head what the teacher says, its top class or its softened "
        "distribution. The student answers with the mean of both."
    )
    equation: ClassVar[str] = (
        r"(1-w)\,\mathrm{CE}\big(\tilde y,\; p^{\text{class}}\big)"
        r" + w\,\mathrm{CE}\big(\arg\max p^t,\; p^{\text{dist}}\big)"
    )
    paper: ClassVar[str] = "Touvron et al. 2021, arXiv:2012.12877"
    needs: ClassVar[Needs] = Needs(
        "logits", "Rows without a label learn through the distillation token alone.", images=True
    )
    zero_at_agreement: ClassVar[bool] = False
    student_family: ClassVar[tuple[str, ...]] = ("deit-", "hub-deit_")
    student_example: ClassVar[str] = "deit-4-64"

    teacher_weight: float = setting(
        0.5,
        "Weight of the teacher w",
        "Of the distillation token's loss, against that of the class token. At either end one head "
        "learns nothing: the other one alone is the student then.",
        "method",
        ends=("0: labels only", "the teacher only: 1"),
        short="w",
        step=0.05,
        ge=0,
        le=1,
    )
    teacher_says: Literal["top class", "distribution"] = setting(
        "top class",
        "What the teacher says",
        "Its top class alone (hard, as in the paper), or its distribution, softened by T: the mean "
        "over the batch, where the authors divide by the classes, too.",
        "method",
    )
    token_temperature: float = setting(
        3.0,
        "Temperature of the distribution",
        "Softens both where the teacher says its distribution; without effect on a top class.",
        "method",
        short="T of the token",
        log=True,
        step=0.5,
        gt=0,
        le=1000,
    )
    smoothing: float = smoothing_setting(0.1)

    def terms(self) -> tuple[Term, ...]:
        """Return the loss of each head."""
        return (
            Term(self.of_labels, student_layer=CLASS_HEAD),
            Term(self.of_teacher, student_layer=DISTILLATION_HEAD),
        )

    def of_labels(self, batch: Batch) -> Loss:
        """Return the class token's part."""
        functions, now = batch.functions, batch.now
        if batch.labels is None:  # whoever calls it keeps the labels to itself
            return 0 * batch.ops.mean(batch.student)
        loss = functions.smoothed_cross_entropy(batch.labels, batch.student, now["smoothing"])
        return (1 - batch.ops.cast(now["teacher_weight"], loss.dtype)) * loss

    def of_teacher(self, batch: Batch) -> Loss:
        """Return the distillation token's part."""
        functions, now = batch.functions, batch.now
        if self.teacher_says == "top class":
            loss = functions.hard_label_loss(batch.teacher, batch.student)
        else:
            loss = functions.kd_loss(batch.teacher, batch.student, now["token_temperature"])
        return batch.ops.cast(now["teacher_weight"], loss.dtype) * loss
