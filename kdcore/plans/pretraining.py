"""What a network learns before it sees a label: to guess masked words, alone or taught."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pretraining:
    """How a transformer of texts is trained as a language model, on all training texts.

    The loss is ``distillation · T² · KL(teacher_T ‖ student_T) + masked · cross-entropy +
    hidden · (1 - cos)``; without a teacher the cross-entropy of masked words alone (Devlin 2019;
    Sanh 2019, arXiv:1910.01108).

    Args:
        epochs: passes over the training texts.
        mask: the share of tokens that are guessed.
        distillation: weight of the distance from the teacher's distributions, over all real tokens.
        masked: weight of the cross-entropy, over the guessed tokens.
        hidden: weight of the angle between last hidden states, over all real tokens.
        temperature: that both distributions are softened with.
        layers: of the teacher, counted from 0, that the student starts from, with embeddings and
            head; empty for a fresh start.
    """

    epochs: int = 10
    mask: float = 0.15
    distillation: float = 0.0
    masked: float = 1.0
    hidden: float = 0.0
    temperature: float = 2.0
    layers: tuple[int, ...] = ()
