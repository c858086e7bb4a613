"""What alpha does to one example: the two losses, their gradients by the student's logits, and the
loss over two of these logits.

With the student's logits z, the teacher's v, the true class y and q = softmax(z), the loss is
alpha CE(q, y) + (1 - alpha) T² KL(softmax(v/T) ‖ softmax(z/T)): alpha weights the true labels. All
functions are NumPy in float64, for logits [classes], in nats. They raise
:class:`~kdcore.errors.ConfigError` for logits that are not finite or of unequal shapes, for a class
that is none, for alpha outside of 0 to 1 and for T not above 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import logsumexp

from kdcore.analysis.logits import FloatArray, as_logit_pair, kl_divergence, log_softmax, softmax
from kdcore.errors import require

Value = TypeVar("Value", float, FloatArray)
# Where the whole loss is least: inside of a square of logits, or on its edge.
Place = Literal["inside", "edge"]


@dataclass(frozen=True, eq=False)
class Parts(Generic[Value]):
    """A quantity of the loss on the true label and of the loss on the teacher, both weighted."""

    label: Value
    teacher: Value

    @property
    def total(self) -> Value:
        """The sum of the two."""
        return self.label + self.teacher


def losses(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    label: int,
    alpha: float,
    temperature: float,
) -> Parts[float]:
    """Return alpha CE and (1 - alpha) T² KL of one example, in nats."""
    student, teacher = _checked(student_logits, teacher_logits, label, alpha, temperature)
    apart = float(kl_divergence(teacher, student, temperature))
    return Parts(-alpha * float(log_softmax(student)[label]), (1 - alpha) * temperature**2 * apart)


def gradients(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    label: int,
    alpha: float,
    temperature: float,
) -> Parts[FloatArray]:
    """Return the gradients of both losses by the student's logits, [classes] each.

    alpha (q - one-hot(y)) and (1 - alpha) T (q_T - p_T). Each sums to zero over the classes.
    """
    student, teacher = _checked(student_logits, teacher_logits, label, alpha, temperature)
    hard = softmax(student)
    hard[label] -= 1.0
    soft = temperature * (softmax(student, temperature) - softmax(teacher, temperature))
    return Parts(alpha * hard, (1 - alpha) * soft)


def steps(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    label: int,
    alpha: float,
    temperature: float,
) -> Parts[FloatArray]:
    """Return where each loss pulls the student's logits: the gradients, negative."""
    found = gradients(student_logits, teacher_logits, label, alpha, temperature)
    return Parts(-found.label, -found.teacher)


def angle(first: ArrayLike, second: ArrayLike) -> float:
    """Return the angle between two directions in degrees, nan where one has no length."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    lengths = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    if min(lengths) == 0:
        return math.nan
    cosine = float(np.clip((one / lengths[0]) @ (other / lengths[1]), -1.0, 1.0))
    return math.degrees(math.acos(cosine))


def mixed_target(
    teacher_logits: ArrayLike, label: int, alpha: float, temperature: float
) -> Parts[FloatArray]:
    """Return what is asked of the student as probabilities [classes]: alpha of the true label, the
    rest of the teacher's softened answer.

    At T = 1 their sum is the very answer at which the loss is least. At other temperatures the two
    losses look at the student's answer at two temperatures, and the sum shows their weights alone.
    """
    student, teacher = _checked(teacher_logits, teacher_logits, label, alpha, temperature)
    hard = np.zeros_like(student)
    hard[label] = alpha
    return Parts(hard, (1 - alpha) * softmax(teacher, temperature))


# --- The loss over two of the student's logits ---


@dataclass(frozen=True, eq=False)
class Landscape:
    """The loss over a square of the student's logits of two classes, all others held.

    Args:
        label_axis: the true class's logits that are drawn [n], rising.
        other_axis: the other class's, [n], rising.
        loss: the whole loss in nats, [n, n]: a row a value of ``other_axis``.
        student: where the student is now: (true class's logit, other class's).
        teacher_target: where the loss on the teacher alone is least. With two classes in all it is
            the point of a whole line of equals that is nearest to the student.
        label_target: where in the square the loss on the true label is least: a corner, as without
            the square it lies at infinity.
        least: where in the square the whole loss is least; of a line of equals, the point nearest
            to the student.
        least_loss: the whole loss there, in nats.
        least_is: whether that is inside of the square or on its edge.
    """

    label_axis: FloatArray
    other_axis: FloatArray
    loss: FloatArray
    student: tuple[float, float]
    teacher_target: tuple[float, float]
    label_target: tuple[float, float]
    least: tuple[float, float]
    least_loss: float
    least_is: Place


def landscape(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    label: int,
    other: int,
    alpha: float,
    temperature: float,
    *,
    points: int = 61,
) -> Landscape:
    """Return the loss of one example over the student's logits of its true class and of ``other``.

    The square holds the student's place and the teacher's target, with room around both. It does
    not depend on alpha, so that moving alpha moves the hills and not the map.
    """
    student, teacher = _checked(student_logits, teacher_logits, label, alpha, temperature)
    _check_other(other, label, len(student))
    require(points >= 2, "points", "at least 2", points)
    here = float(student[label]), float(student[other])
    target = _teacher_target(student, teacher, label, other, temperature)
    centre = [(a + b) / 2 for a, b in zip(here, target, strict=True)]
    half = max(2.0, *(0.9 * abs(a - b) for a, b in zip(here, target, strict=True)))
    label_axis, other_axis = (
        np.linspace(middle - half, middle + half, points) for middle in centre
    )
    surface = _Surface(student, teacher, label, other, alpha, temperature)
    loss = surface.loss(label_axis[None, :], other_axis[:, None])
    corner = float(label_axis[-1]), float(other_axis[0])
    if alpha in (0, 1):
        least = corner if alpha == 1 else target
    else:
        row, column = np.unravel_index(int(loss.argmin()), loss.shape)
        # Of a line of equals the point is wanted that is nearest to the student, as of the targets.
        alone = len(student) == 2
        start = target if alone else (float(label_axis[column]), float(other_axis[row]))
        least = _least(surface, start, label_axis, other_axis)
    edges = (label_axis[0], label_axis[-1]), (other_axis[0], other_axis[-1])
    inside = all(
        low + 1e-6 * half < value < high - 1e-6 * half
        for value, (low, high) in zip(least, edges, strict=True)
    )
    return Landscape(
        label_axis,
        other_axis,
        loss,
        here,
        target,
        corner,
        least,
        float(surface.loss(*map(np.asarray, least))),
        "inside" if inside else "edge",
    )


def _teacher_target(
    student: FloatArray, teacher: FloatArray, label: int, other: int, temperature: float
) -> tuple[float, float]:
    """Return the two logits at which the student gives the two classes the teacher's probabilities.

    They are the teacher's own two, moved by what the student's other logits differ from the
    teacher's.
    """
    rest = np.delete(np.arange(len(student)), [label, other])
    if len(rest):
        sizes = [temperature * logsumexp(each[rest] / temperature) for each in (student, teacher)]
        moved = float(sizes[0] - sizes[1])
    else:
        moved = float(np.mean(student - teacher))
    return float(teacher[label]) + moved, float(teacher[other]) + moved


@dataclass(frozen=True, eq=False)
class _Surface:
    """The loss as a function of two of the student's logits.

    The other classes count through the sum of their exponentials alone, so that a thousand classes
    cost no more than ten.
    """

    student: FloatArray
    teacher: FloatArray
    label: int
    other: int
    alpha: float
    temperature: float

    def loss(self, true: FloatArray, other: FloatArray) -> FloatArray:
        """Return the whole loss in nats."""
        at_one, softened = self._sizes(true, other)
        rest, share = self._rest, self._share
        log_share = log_softmax(self.teacher, self.temperature)
        with np.errstate(invalid="ignore"):
            entropy = np.where(share > 0, share * log_share, 0.0).sum()
        answered = share[self.label] * true + share[self.other] * other
        answered = (answered + share[rest] @ self.student[rest]) / self.temperature
        apart = np.maximum(entropy - answered + softened, 0.0)
        return np.asarray(
            self.alpha * (at_one - true) + (1 - self.alpha) * self.temperature**2 * apart
        )

    def slope(self, true: FloatArray, other: FloatArray) -> FloatArray:
        """Return the gradient of the whole loss by the two logits, [2]."""
        at_one, softened = self._sizes(true, other)
        here, share = np.array([true, other]), self._share[[self.label, self.other]]
        hard = np.exp(here - at_one) - [1.0, 0.0]
        soft = self.temperature * (np.exp(here / self.temperature - softened) - share)
        return np.asarray(self.alpha * hard + (1 - self.alpha) * soft)

    @property
    def _rest(self) -> FloatArray:
        return np.delete(np.arange(len(self.student)), [self.label, self.other])

    @property
    def _share(self) -> FloatArray:
        return softmax(self.teacher, self.temperature)

    def _sizes(self, true: FloatArray, other: FloatArray) -> list[FloatArray]:
        """Return log Σ exp of the student's logits, at T = 1 and at T."""
        held = self.student[self._rest]
        found = []
        for value in (1.0, self.temperature):
            size = np.logaddexp(true / value, other / value)
            rest = logsumexp(held / value) if len(held) else -math.inf
            found.append(np.logaddexp(size, rest))
        return found


def _least(
    surface: _Surface, start: tuple[float, float], label_axis: FloatArray, other_axis: FloatArray
) -> tuple[float, float]:
    """Return where the loss, which is convex, is least in the square, from ``start`` on."""
    found = minimize(
        lambda place: float(surface.loss(place[0], place[1])),
        np.array(start),
        jac=lambda place: surface.slope(place[0], place[1]),
        bounds=[(axis[0], axis[-1]) for axis in (label_axis, other_axis)],
        method="L-BFGS-B",
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    return float(found.x[0]), float(found.x[1])


def _checked(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    label: int,
    alpha: float,
    temperature: float,
) -> tuple[FloatArray, FloatArray]:
    teacher, student = as_logit_pair(teacher_logits, student_logits)
    require(student.ndim == 1, "student_logits", "of one example, [classes]", student.shape)
    require(0 <= label < len(student), "label", f"between 0 and {len(student) - 1}", label)
    require(0 <= alpha <= 1, "alpha", "from 0 to 1", alpha)
    require(0 < temperature < math.inf, "temperature", "above 0", temperature)
    return student, teacher


def _check_other(other: int, label: int, classes: int) -> None:
    valid = 0 <= other < classes and other != label
    require(valid, "other", f"a class from 0 to {classes - 1} but {label}, the true one", other)
