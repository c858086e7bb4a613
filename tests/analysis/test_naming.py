"""Titles tell models apart: whatever two of them differ in, somebody who chooses can see it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kdcore.analysis.contenders import SETTINGS_IN_A_NAME, told_apart
from kdcore.analysis.naming import run_titles
from kdcore.config.experiment import ExperimentConfig

SETTINGS = st.fixed_dictionaries(
    {
        "alpha": st.sampled_from([0.1, 0.5]),
        "temperature": st.sampled_from([1.0, 4.0]),
        "labels": st.sampled_from([None, 100]),
        "epochs": st.sampled_from([5, 50]),
        "batch_size": st.sampled_from([32, 64]),
        "seed": st.integers(0, 2),
    }
)


@given(st.lists(SETTINGS, min_size=1, max_size=8))
def test_what_differs_can_be_told_apart(every: list[dict[str, Any]]) -> None:
    words = told_apart(every)
    for one, its in zip(every, words, strict=True):
        for other, others in zip(every, words, strict=True):
            assert (its == others) == (one == other)


@given(SETTINGS, st.lists(st.integers(0, 9), min_size=2, max_size=5, unique=True))
def test_only_what_differs_is_said(settings: dict[str, Any], seeds: list[int]) -> None:
    words = told_apart([settings | {"seed": seed} for seed in seeds])
    assert [len(each) for each in words] == [1] * len(seeds)
    assert SETTINGS_IN_A_NAME >= 1


def student(run_id: str, seed: int = 0, **settings: Any) -> Any:
    config = ExperimentConfig(**settings).model_dump(mode="json")
    return SimpleNamespace(
        id=run_id,
        role="student",
        seed=seed,
        model=config["student"],
        config=config,
        summary={"test_accuracy": 0.9},
    )


def test_titles_name_settings_and_split_and_never_repeat() -> None:
    runs = [
        student("a", epochs=5),
        student("b", epochs=50),
        student("c", seed=1, epochs=50),
        student("d", seed=1, epochs=50),
    ]
    titles = run_titles(runs)
    assert titles["a"] == "digits · conv-8-16 · 5 epochs · seed 0 · 90.0% on test data"
    assert titles["b"] == "digits · conv-8-16 · 50 epochs · seed 0 · 90.0% on test data"
    assert len(set(titles.values())) == 4
    assert titles["c"].endswith("· c")
