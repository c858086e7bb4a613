"""What a method costs before anything is trained: what of the teacher is kept, or that it is asked
at every step.
"""

from __future__ import annotations

from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.methods.features import FLOAT_BYTES
from kdcore.words import in_bytes, sentences

LIVE = (
    "The teacher answers at every step, for the very copies that the student sees: its time adds to "
    "the student's, and its weights and what it computes of a batch stay in memory"
)


def teaching_cost(config: ExperimentConfig) -> str:
    """Return in words what the method of an experiment asks of the teacher, in memory and time, and
    what else is to be said of its settings; empty where there is nothing to say.

    What a method on features takes the layers of both networks tell
    (:meth:`kdcore.analysis.layer_pairs.LayerPairs.cost`).
    """
    return sentences(_of_teacher(config), config.method.remark(config.epochs))


def _of_teacher(config: ExperimentConfig) -> str:
    if config.method.needs.teacher == "nothing":
        return "No teacher is asked: it costs nothing"
    if config.answers_live:
        return LIVE
    if config.method.needs.teacher == "features":
        return ""
    examples = config.labelled + config.unlabelled
    size = examples * len(dataset_card(config.dataset).class_names) * FLOAT_BYTES
    return (
        f"The teacher answers once: its logits for all {examples:,} training examples are kept, "
        f"{in_bytes(size)}"
    )
