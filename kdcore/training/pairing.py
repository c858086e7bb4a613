"""Which student and teacher cannot be trained together."""

from __future__ import annotations

from typing import Any

import keras

from kdcore.errors import ModelError


def refuse_shared_layers(student: keras.Model, teacher: keras.Model) -> None:
    """Raise ModelError where the student would not train what it shares with the teacher.

    A part that was frozen by itself, in a teacher that is not, is meant to be: a backbone under two
    heads. In a teacher that is frozen as a whole nothing tells that it is.
    """
    frozen_as_a_whole = not teacher.trainable_variables
    mine = student.variables if frozen_as_a_whole else student.trainable_variables
    known = {id(variable) for variable in mine}
    shared = [v.path for v in teacher.variables if id(v) in known]
    if not shared:
        return
    names = ", ".join(dict.fromkeys(path.split("/")[0] for path in shared))
    way_out = "give the student copies"
    if frozen_as_a_whole:
        way_out += (
            ", or freeze these layers alone and not the whole teacher, if they are not to train"
        )
    raise ModelError(
        "teacher and student must not share layers, since the teacher's are frozen, got "
        f"{names} in both: {way_out}"
    )


def refuse_other_inputs(student: keras.Model, teacher: keras.Model) -> None:
    """Raise ModelError where both models say what they take, and it is not the same."""
    shapes: list[Any] = [getattr(model, "input_shape", None) for model in (teacher, student)]
    if not all(isinstance(shape, tuple) and None not in shape[1:] for shape in shapes):
        return
    if shapes[0][1:] != shapes[1][1:]:
        of_teacher, of_student = (" × ".join(map(str, shape[1:])) for shape in shapes)
        raise ModelError(
            f"teacher and student must take the same inputs, got {of_teacher} for the teacher and "
            f"{of_student} for the student"
        )
