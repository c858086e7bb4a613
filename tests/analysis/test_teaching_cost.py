"""What is said before Train of what a method costs."""

import pytest

from kdcore.analysis.teaching_cost import teaching_cost
from kdcore.config.experiment import ExperimentConfig


def test_logits_that_are_kept_are_counted() -> None:
    said = teaching_cost(ExperimentConfig(training_examples=500))
    assert said == (
        "The teacher answers once: its logits for all 500 training examples are kept, 20.0 kB."
    )


@pytest.mark.parametrize("changed", [{"augmentation": "shifts"}, {"mixing": "mixup"}])
def test_a_live_teacher_says_what_it_takes(changed: dict[str, str]) -> None:
    said = teaching_cost(ExperimentConfig(**changed))
    assert said.startswith("The teacher answers at every step")
    assert "memory" in said
    alone = ExperimentConfig(method="label_smoothing", **changed)
    assert teaching_cost(alone) == "No teacher is asked: it costs nothing."


def test_what_features_take_the_layers_tell() -> None:
    assert teaching_cost(ExperimentConfig(method="hints")) == ""


def test_a_warm_up_longer_than_the_training_is_said() -> None:
    config = ExperimentConfig(method="decoupled", warm_up_epochs=20, epochs=5)
    said = "The warm-up takes 20 epochs and the training 5: the teacher's weight ends at 25%"
    assert said in teaching_cost(config)
    assert "warm-up" not in teaching_cost(config.replace(epochs=20))
