"""Which experiments differ in alpha alone, and what came out of them."""

import time

import numpy as np
import pytest

from kdcore.analysis.alpha_series import (
    ALPHAS,
    Series,
    alpha_series,
    outcome,
    small_series,
    still_to_train,
)
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Job, Run
from kdcore.storage.store import Store, new_id

CONFIG = ExperimentConfig(seeds=1)


def add(
    store: Store,
    config: ExperimentConfig,
    status: str = "finished",
    accuracies: dict[str, list[float]] | None = None,
) -> str:
    """Put an experiment with runs of these test accuracies, by seed, into the store."""
    created = store.create(config)
    for role, values in (accuracies or {}).items():
        for seed, value in enumerate(values):
            run = Run(
                id=new_id(),
                fingerprint=config.replace(seed=seed).fingerprint(role),
                role=role,
                seed=seed,
                model="m",
                config=config.model_dump(mode="json"),
                experiment_id=created,
                created_at=time.time(),
            )
            found, _ = store.claim_run(run, created, share=True)
            right = {"test_correct": round(449 * value), "test_examples": 449}
            store.update_run(
                found.id, finished_at=time.time(), summary={"test_accuracy": value, **right}
            )
    with store.writing() as session:
        session.get_one(Job, created).status = status
    return created


def only(store: Store) -> Series:
    (series,) = alpha_series(store)
    return series


def test_the_small_series_differs_in_alpha_alone_and_covers_both_ends() -> None:
    configs = small_series()
    assert [config.alpha for config in configs] == list(ALPHAS) == [0, 0.25, 0.5, 0.75, 1]
    assert {config.replace(alpha=0.5) for config in configs} == {CONFIG.replace(alpha=0.5)}
    assert [config.seeds for config in configs] == [1] * 5


def test_experiments_that_differ_in_alpha_alone_are_a_series(store: Store) -> None:
    assert alpha_series(store) == []
    high = add(store, CONFIG.replace(alpha=0.9))
    assert alpha_series(store) == [], "one is none"
    add(store, CONFIG.replace(alpha=0.5, temperature=2.0))
    low = add(store, CONFIG.replace(alpha=0.0), "running")
    assert only(store).experiments == [low, high], "by rising alpha"
    assert [job.id for job in only(store).live] == [low]
    assert only(store).finished == 1
    other = add(store, CONFIG.replace(alpha=0.1, temperature=2.0))
    newest, older = alpha_series(store)
    assert newest.experiments[0] == other
    assert newest.config.temperature == 2
    assert older.experiments == [low, high]
    assert alpha_series(store, leave_out={other, low}) == []


def test_stopped_and_failed_ones_do_not_count_and_the_newest_trained_one_stands(
    store: Store,
) -> None:
    add(store, CONFIG.replace(alpha=0.2), "failed")
    add(store, CONFIG.replace(alpha=0.3), "stopped")
    old = add(store, CONFIG.replace(alpha=0.4))
    add(store, CONFIG.replace(alpha=0.5))
    assert set(only(store).jobs) == {0.4, 0.5}
    again = add(store, CONFIG.replace(alpha=0.4))
    assert only(store).jobs[0.4].id == again
    add(store, CONFIG.replace(alpha=0.4), "queued")
    assert only(store).jobs[0.4].id == again, "one that is trained again is shown until it is done"
    assert old != again


def test_a_method_without_alpha_makes_no_series_and_methods_do_not_mix(store: Store) -> None:
    add(store, CONFIG.replace(method="standardized", alpha=0.5))
    add(store, CONFIG.replace(method="logits", alpha=0.1))
    add(store, CONFIG.replace(method="hard_labels", alpha=0.2))
    assert alpha_series(store) == []


def test_what_came_out_is_the_mean_over_seeds_of_what_is_trained(store: Store) -> None:
    config = CONFIG.replace(seeds=3)
    shared = {"teacher": [0.97], "baseline": [0.8, 0.82, 0.84]}
    add(store, config.replace(alpha=1.0), accuracies={"student": [0.8, 0.82, 0.84], **shared})
    add(store, config.replace(alpha=0.0), accuracies={"student": [0.9, 0.93, 0.93], **shared})
    add(store, config.replace(alpha=0.5), "running", accuracies={"student": [0.1], **shared})
    found = outcome(store, only(store))
    assert [point.alpha for point in found.points] == [0.0, 1.0]
    assert found.points[0].mean == pytest.approx(0.92)
    assert found.points[0].seeds == (0.9, 0.93, 0.93)
    half = 4.302652729911275 * np.std([0.9, 0.93, 0.93], ddof=1) / np.sqrt(3)
    assert found.points[0].interval == pytest.approx((0.92 - half, 0.92 + half))
    assert "3 seeds" in found.points[0].interval_is
    assert (found.baseline, found.teacher) == (pytest.approx(0.82), 0.97)
    assert found.test_examples == 449


def test_before_anything_is_trained_there_is_nothing_to_show(store: Store) -> None:
    add(store, CONFIG.replace(alpha=0.0), "running")
    add(store, CONFIG.replace(alpha=1.0), "queued")
    found = outcome(store, only(store))
    assert (found.points, found.baseline, found.teacher) == ((), None, None)


def test_only_what_is_missing_of_the_small_series_is_still_to_train(store: Store) -> None:
    assert still_to_train(store) == small_series()
    add(store, small_series()[0])
    add(store, small_series()[1], "queued")
    add(store, small_series()[2], "failed")
    assert [config.alpha for config in still_to_train(store)] == [0.5, 0.75, 1.0]
