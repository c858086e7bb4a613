"""Candidates: costs are counted and measured, three are chosen by a stated rule, and trying them
trains them.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from kdcore import models
from kdcore.analysis.candidates import (
    Candidate,
    candidates_key,
    choose_three,
    get_candidates,
    try_three,
)
from kdcore.analysis.library import tags_of
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import ingest
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError
from kdcore.storage.store import Store


def candidate(name: str, work: int, parameters: int | None = None) -> Candidate:
    return Candidate(name, parameters or work, work, 1.0)


def test_three_come_nearest_to_a_quarter_a_sixteenth_and_a_sixty_fourth_of_the_work() -> None:
    teacher = candidate("teacher", 6400)
    measured = [candidate(f"s{work}", work) for work in (5000, 1500, 900, 420, 200, 110, 60, 9)]
    found = choose_three(teacher, measured, "here")
    assert found.three == ("s1500", "s420", "s110")
    assert found.suggestion == "s420"
    assert "s420 does 15 times less work than teacher" in found.why
    assert [each.name for each in found.students][:2] == ["s5000", "s1500"]


def test_what_is_not_smaller_in_both_ways_is_no_candidate() -> None:
    teacher = candidate("teacher", 1000)
    found = choose_three(
        teacher, [candidate("wide", 10, 2000), candidate("deep", 2000, 10)], "here"
    )
    assert (found.students, found.three, found.suggestion) == ((), (), None)
    assert found.why == "No candidate is smaller than teacher."
    assert choose_three(teacher, [candidate("one", 500), candidate("two", 50)], "here").three == (
        "one",
        "two",
    )


def test_a_worker_counts_and_times_candidates_and_three_are_tried(
    store: Store, tmp_path: Path
) -> None:
    np.savez(tmp_path / "t.npz", x=np.random.default_rng(0).random((60, 4)), y=np.arange(60) % 3)
    ingest.add(store, "t", tmp_path / "t.npz")
    config = ExperimentConfig(dataset="t", labels=None, teacher="mlp-64", student="mlp-5", seeds=1)
    assert get_candidates(store, config) is None
    job = store.add_job("candidates", {"config": config.model_dump(mode="json")})
    assert run_job(store.url, job) == "finished"
    found = get_candidates(store, config)
    assert found is not None
    assert found.teacher.parameters == models.build("mlp-64", (4,), 3).count_params()
    assert {each.name: each.multiply_accumulates for each in found.students}[
        "mlp-5"
    ] == 4 * 5 + 5 * 3
    assert all(0 < each.milliseconds < 1000 for each in (found.teacher, *found.students))
    assert "mlp-128" not in {each.name for each in found.students}
    assert found.three == ("mlp-16", "mlp-5", "mlp-4")
    ids = try_three(store, config, found.three)
    assert [store.experiment(each).config["student"] for each in ids] == list(found.three)
    assert {tuple(tags_of(store, each)) for each in ids} == {("candidates",)}
    told = CliRunner().invoke(
        main,
        [
            "--store",
            store.url,
            "candidates",
            "--dataset",
            "t",
            "--labels",
            "all",
            "--teacher",
            "mlp-64",
            "--student",
            "mlp-5",
            "--json",
        ],
    )
    assert json.loads(told.stdout)["suggestion"] == found.suggestion, told.output
    with pytest.raises(ConfigError, match="at least one that is smaller"):
        try_three(store, config, [])


def test_what_is_kept_is_of_data_teacher_and_student_alone() -> None:
    config = ExperimentConfig()
    assert candidates_key(config) == candidates_key(config.replace(temperature=2.0, epochs=3))
    assert (
        len(
            {
                candidates_key(config.replace(**change))
                for change in ({}, {"teacher": "mlp-64"}, {"student": "mlp-4"})
            }
        )
        == 3
    )
