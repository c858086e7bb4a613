"""Titles tell models apart: whatever two of them differ in, somebody who chooses can see it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kdcore.analysis.contenders import (
    SETTINGS_IN_A_NAME,
    contenders_named,
    differing_settings,
    names,
    run_table,
    told_apart,
)
from kdcore.analysis.naming import run_titles
from kdcore.config.experiment import ExperimentConfig, role_settings, stored_setting
from kdcore.storage.schema import Run
from kdcore.storage.store import Store, new_id

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


NOISY = ExperimentConfig(plan="noisy-student", labels=50, teacher="conv-4-8", student="conv-4-8")
OF_THE_PLAN = {
    "generations": (1, "generations 1"),
    "noise": ("off", "noise off"),
    "dropout": (0.5, "dropout 0.5"),
    "confidence": (0.6, "confidence 0.6"),
    "balance": ("off", "balance off"),
    "unlabelled_ratio": (7, "unlabelled for each labelled 7"),
}


def settings_of(config: ExperimentConfig, role: str = "student") -> dict[str, Any]:
    stored = config.model_dump(mode="json")
    return {name: stored_setting(stored, name) for name in role_settings(role, stored)}


def test_settings_of_a_plan_tell_models_apart() -> None:
    others = [NOISY.replace(**{name: value}) for name, (value, _) in OF_THE_PLAN.items()]
    words = told_apart([settings_of(config) for config in (NOISY, *others)])
    assert len({tuple(each) for each in words}) == 1 + len(OF_THE_PLAN)
    for (_, said), own in zip(OF_THE_PLAN.values(), words[1:], strict=True):
        assert said in own
        assert said not in words[0]
    born_again = ExperimentConfig(plan="born-again", teacher="conv-4-8", student="conv-4-8")
    plain = ExperimentConfig(teacher="conv-4-8", student="conv-4-8")
    words = told_apart([settings_of(config) for config in (plain, born_again, NOISY)])
    assert ["Born again" in each for each in words] == [False, True, False]
    assert ["Noisy Student" in each for each in words] == [False, False, True]


def test_what_tells_no_further_models_apart_is_left_out() -> None:
    words = told_apart(
        [settings_of(each) for each in (NOISY, NOISY.replace(generations=1), ExperimentConfig())]
    )
    assert [len(each) for each in words] == [4, 4, 3], "three, the plan's own, and no more"
    assert words[0][-1] == "generations 3"


def test_the_table_to_choose_from_has_columns_for_the_settings_of_a_plan(store: Store) -> None:
    for config in (
        NOISY,
        NOISY.replace(generations=2, dropout=0.5),
        NOISY.replace(confidence=0.6),
    ):
        experiment = store.create(config)
        for step, role in (
            ("generation 1", "student"),
            ("student", "student"),
            ("a language model", "pretrained"),
        ):
            run = Run(
                id=new_id(),
                role=role,
                seed=0,
                model="conv-4-8",
                config=store.experiment(experiment).config,
                fingerprint=new_id(),
                finished_at=1.0 if role == "pretrained" else None,
                experiment_id=experiment,
                created_at=0.0,
            )
            store.claim_run(run, experiment, share=False, step=step)
    table = run_table(store)
    assert differing_settings(table) == ["dropout", "generations", "confidence"]
    assert table["step"].tolist() == ["student"] * 3
    by_seed = run_table(store, by_seed=True)
    assert sorted(by_seed["step"]) == ["generation 1"] * 3 + ["student"] * 3
    own = by_seed[by_seed["experiment"] == by_seed["experiment"].iloc[0]]
    found = names([each for id in own["id"] for each in contenders_named(store, id)])
    assert len(set(found)) == 2
    assert sum("generation 1" in name for name in found) == 1
