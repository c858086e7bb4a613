"""A distillation method from outside, as a module of ``KD_PLUGINS`` brings one."""

from __future__ import annotations

from typing import Any, ClassVar

from kdcore.methods import Batch, Curve, Method, register
from kdcore.settings import alpha_setting, setting


class Toy(Method):
    """A linear layer of the student's logits is to give the teacher's, bent a little."""

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "Toy distillation"
    summary: ClassVar[str] = "A layer of its own brings the student's logits to the teacher's."
    equation: ClassVar[str] = r"\overline{(W z^s - b z^t)^2}"
    paper: ClassVar[str] = "none"
    curves: ClassVar[tuple[Curve, ...]] = (Curve("toy_distance", "Toy distance"),)
    zero_at_agreement: ClassVar[bool] = False

    alpha: float = alpha_setting(0.3)
    bend: float = setting(
        1.0, "Bend of the toy", "How much the teacher's logits are bent.", "method", gt=0, le=10
    )

    def make_layers(
        self, teacher_shape: tuple[int | None, ...], student_shape: tuple[int | None, ...]
    ) -> dict[str, Any]:
        """Return the linear layer."""
        import keras

        return {"line": keras.layers.Dense(teacher_shape[-1], name="toy_line")}

    def loss(self, batch: Batch) -> Any:
        """Return the mean squared distance."""
        ops = batch.ops
        wanted = ops.cast(batch.now["bend"], "float32") * batch.teacher
        distance = ops.mean((batch.layers["line"](batch.student) - wanted) ** 2)
        return distance, {"toy_distance": distance}


register(Toy)
