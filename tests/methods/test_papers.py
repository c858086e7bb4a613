"""What the methods' papers set: data on each method, from which all that is said of it comes."""

from __future__ import annotations

import pytest

from kdcore.methods import METHODS

DEPARTING = [name for name in METHODS if METHODS[name].papers]


@pytest.mark.parametrize("name", DEPARTING)
def test_what_a_paper_sets_is_a_setting_with_another_default(name: str) -> None:
    kind = METHODS[name]
    plain = kind().values()
    assert all(plain[setting] != value for setting, value in kind.papers.items())
    assert kind(**kind.papers).values() == {**plain, **kind.papers}
    said = kind.departs()
    assert all(f"(the paper's {value:,g})" in said for value in kind.papers.values())


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        # Of the method's own loss for each unit of the labels', and of plain distillation's.
        ("attention", {"weight": 1000, "kd_weight": 0}),
        ("similarity", {"weight": 3000, "kd_weight": 0}),
        ("decoupled", {"target_weight": 1, "non_target_weight": 8}),
        ("dist", {"inter_class_weight": 2, "intra_class_weight": 2}),
        ("hard_labels", {}),
    ],
)
def test_beside_the_labels_a_loss_counts_as_in_its_paper(
    name: str, weights: dict[str, float]
) -> None:
    values = METHODS[name](**METHODS[name].papers).values()
    share = (1 - values["alpha"]) / values["alpha"]
    assert share == 1
    assert {weight: share * values[weight] for weight in weights} == weights


def test_standardized_logits_count_ninety_times_as_much_as_the_labels_as_in_the_paper() -> None:
    alpha = METHODS["standardized"].papers["alpha"]
    assert (1 - alpha) / alpha == pytest.approx(9 / 0.1, rel=0.005)


def test_what_departs_is_said_with_the_names_of_the_settings() -> None:
    assert METHODS["attention"].departs() == (
        "Alpha 0.1 (the paper's 0.5), Weight of plain distillation 1 (the paper's 0), "
        "Weight of attention 10 (the paper's 1,000)"
    )
    assert METHODS["hints"].departs().startswith("hints and labels at once")
    assert METHODS["label_smoothing"].departs() == ""
