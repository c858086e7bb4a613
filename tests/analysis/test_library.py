"""Experiments as a collection: found, named, thrown away, taken back, and destroyed without hurting
the others.
"""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select, update

from kdcore import sweeps
from kdcore.analysis import library
from kdcore.analysis.contenders import contenders_named, run_table
from kdcore.analysis.results import gain, load_results, logits, summary
from kdcore.analysis.students import taught_by
from kdcore.analysis.unsettled import unsettled_students
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.errors import ConfigError, StoreError, TransitionError
from kdcore.storage.arrays import pack
from kdcore.storage.disk import artifact_sizes, curve_bytes, experiment_bytes, store_bytes
from kdcore.storage.schema import Artifact, ArtifactUse, Base, Job, JobStatus, Run, Sweep, SweepCell
from kdcore.storage.store import Store
from tests.conftest import TRAINED


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, in a SQLite file and on a PostgreSQL server."""
    if request.param == "sqlite":
        store = Store(f"sqlite:///{tmp_path}/store.db")
    else:
        store = Store(request.getfixturevalue("postgres").new_url())
    yield store
    store.close()


@pytest.fixture
def trained_store(trained_store_file: Path, store: Store) -> Store:
    """The trained store's rows in a store of the test's own."""
    source = Store(f"sqlite:///{trained_store_file}")
    with source.reading() as reading, store.writing() as writing:
        for table in Base.metadata.sorted_tables:
            rows = [dict(row) for row in reading.execute(select(table)).mappings()]
            if rows and table.name != "meta":
                writing.execute(table.insert(), rows)
    source.close()
    return store


def is_file(store: Store) -> bool:
    return store.url.startswith("sqlite")


def stopped(store: Store, name: str = "", **settings: object) -> str:
    experiment_id = store.create(ExperimentConfig(**settings), name=name)
    store.request_stop(experiment_id)
    return experiment_id


def ids(store: Store, **wanted: object) -> list[str]:
    return library.matching(library.listing(store), **wanted)["experiment"].to_list()  # type: ignore[arg-type]


def both(store: Store) -> list[str]:
    """The two trained experiments, the older one first: it trained the teacher and lent it to the
    other.
    """
    return [experiment.id for experiment, _ in reversed(store.experiments())]


def rows(store: Store) -> dict[str, int]:
    with store.reading() as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
        }


# Listing


def test_a_listing_has_the_figures_of_show(trained_store: Store) -> None:
    table = library.listing(trained_store).set_index("experiment")
    assert list(table.index) == both(trained_store)[::-1], "newest first"
    for experiment_id, row in table.iterrows():
        shown, found = (
            summary(trained_store, experiment_id),
            gain(trained_store, load_results(trained_store, experiment_id)),
        )
        assert found is not None
        assert [row["gain"], row["low"], row["high"]] == pytest.approx(
            [found.mean, found.low, found.high]
        )
        assert row["verdict"] == found.verdict
        for role in ("student", "baseline", "teacher"):
            assert row[f"{role}_accuracy"] == pytest.approx(sum(shown[role]["accuracy"]) / 2)
        assert row["description"] == ExperimentConfig(**shown["config"]).describe()
    first, second = (table.loc[experiment_id, "bytes"] for experiment_id in both(trained_store))
    assert first > second > 0, "the shared teacher counts where it was trained"


def test_one_seed_has_a_gain_and_no_interval_in_a_listing(trained_store: Store) -> None:
    _, second = both(trained_store)
    baseline = load_results(trained_store, second).runs("baseline")[1]
    trained_store.update_run(baseline.id, finished_at=None)
    row = library.listing(trained_store).iloc[0]
    assert row["pairs"] == 1
    assert row["low"] != row["low"]
    students = load_results(trained_store, second).accuracies("student")
    alone = load_results(trained_store, second).accuracies("baseline")
    assert row["gain"] == pytest.approx(100 * (students[0] - alone[0]))


def test_cells_show_validation_data_until_their_sweep_has_a_winner(trained_store: Store) -> None:
    first, second = both(trained_store)
    waiting = trained_store.create(ExperimentConfig(temperature=3.0))
    with trained_store.writing() as session:
        for number, job in enumerate((first, waiting)):
            session.add(
                SweepCell(
                    job_id=job, sweep_id="s1", number=number, part="cell", values={}, pruned=False
                )
            )
    students = {run.id for run in load_results(trained_store, first).runs("student")}
    assert students <= unsettled_students(trained_store)
    kept_back = run_table(trained_store).set_index("id")["accuracy"]
    assert math.isnan(kept_back[f"{first}:student"])
    assert not math.isnan(kept_back[f"{second}:student"])
    refused = run(trained_store, "soften", "--experiment", first)
    assert refused.exit_code != 0
    assert "--test-anyway shows it" in refused.stderr
    table = library.listing(trained_store).set_index("experiment")
    assert table.loc[[first, second], "split"].to_list() == ["validation", "test"]
    runs = load_results(trained_store, first).runs
    for role in ("student", "baseline"):
        wanted = sum(run.summary["validation_accuracy"] for run in runs(role)) / len(runs(role))
        assert table.loc[first, f"{role}_accuracy"] == pytest.approx(wanted)
    shown = library.listing(trained_store, test_of_cells=True).set_index("experiment")
    wanted = sum(run.summary["test_accuracy"] for run in runs("student")) / len(runs("student"))
    assert shown.loc[first, "student_accuracy"] == pytest.approx(wanted)
    with trained_store.writing() as session:
        session.execute(update(Job).where(Job.id == waiting).values(status="finished"))
    assert library.listing(trained_store).set_index("experiment").loc[first, "split"] == "test"
    assert unsettled_students(trained_store) == set()
    assert not run_table(trained_store)["accuracy"].isna().any()


def test_a_sweep_is_one_row_and_a_group_of_its_finished_students(trained_store: Store) -> None:
    first, second = both(trained_store)
    alone = stopped(trained_store)
    with trained_store.writing() as session:
        session.add(Sweep(id="s1", name="how warm", config={}, created_at=time.time()))
        for number, job in enumerate((first, second)):
            session.add(
                SweepCell(
                    job_id=job,
                    sweep_id="s1",
                    number=number,
                    part="cell",
                    values={"temperature": number},
                    pruned=False,
                )
            )
    table = library.listing(trained_store)
    folded = library.fold_sweeps(table).set_index("experiment")
    assert set(folded.index) == {"s1", alone}
    row = folded.loc["s1"]
    assert set(row["members"]) == {first, second}
    assert folded.loc[alone, "members"] == [alone]
    assert row["name"] == "how warm (2 experiments)"
    assert (row["status"], row["bytes"]) == ("finished", table["bytes"].sum())
    assert math.isnan(row["gain"]), "a gain is one cell's"
    one, two = (load_results(trained_store, each).config for each in (first, second))
    for name in ("temperature", "epochs"):
        same = getattr(one, name) == getattr(two, name)
        assert bool(pd.notna(row[name])) == same
    students = [each.id for each in contenders_named(trained_store, "s1")]
    assert students == [f"{first}:student", f"{second}:student"]


def test_a_listing_is_filtered_by_text_dataset_status_tag_and_star(store: Store) -> None:
    plain = stopped(store)
    named = stopped(store, name="Cold <b>teacher</b>", temperature=2.0)
    other = store.create(ExperimentConfig(dataset="mnist", labels=None))
    library.edit(
        store, [named], starred=True, add_tags=["thesis", "ch 2"], note="try again with 200 labels"
    )
    library.edit(store, [other], add_tags=["thesis"])
    assert ids(store) == [other, named, plain]
    assert ids(store, text="COLD teacher") == [named]
    assert ids(store, text="again 200") == [named], "notes are searched"
    assert ids(store, text="thesis mnist") == [other], "tags and settings too"
    assert ids(store, text=plain) == [plain]
    assert ids(store, text=".*") == []
    assert ids(store, datasets=["mnist"]) == [other]
    assert ids(store, datasets=["digits", "mnist"], statuses=["stopped"]) == [named, plain]
    assert ids(store, tags=["thesis"]) == [other, named]
    assert ids(store, tags=["thesis", "ch 2"]) == [named]
    assert ids(store, starred=True) == [named]
    assert library.matching(
        library.listing(store, deleted=True), text="x", tags=["y"], starred=True
    ).empty


def test_the_cells_of_a_sweep_are_a_group_and_can_be_destroyed(store: Store) -> None:
    alone = stopped(store)
    sweep = SweepConfig(ExperimentConfig(seeds=1), (Axis("temperature", (1.0, 4.0)),))
    sweep_id = sweeps.create(store, sweep, name="how warm")
    table = library.listing(store)
    cells = ids(store, sweep=sweep_id)
    assert len(cells) >= 2
    assert set(table.loc[table["sweep"] == sweep_id, "sweep_name"]) == {"how warm"}
    assert ids(store, sweep="") == [alone]
    assert ids(store, tags=[f"{library.SWEEP_TAG}{sweep_id}"]) == cells
    for cell in cells:
        store.request_stop(cell)
    library.delete_experiments(store, cells)
    assert library.purge(store, cells).experiments == len(cells)
    left = rows(store)
    assert [left[name] for name in ("experiments", "sweep_cells", "job_needs", "tags")] == [
        1,
        0,
        0,
        0,
    ]
    assert sweeps.cells_of(store, sweep_id) == []


def test_an_experiment_whose_dataset_left_the_catalog_is_still_listed(store: Store) -> None:
    experiment_id = stopped(store)
    store.update_experiment(
        experiment_id, config={**store.experiment(experiment_id).config, "dataset": "gone"}
    )
    assert library.listing(store)["description"][0].startswith("gone · conv-64-128")


# Names, notes, tags and stars


def test_edits_change_what_is_given_and_nothing_else(store: Store) -> None:
    first, second = stopped(store, name="first"), stopped(store, name="second")
    library.edit(store, [first, second], add_tags=[" a  b ", "c"], note="both")
    library.edit(
        store, [first], name="  new\nname ", starred=True, remove_tags=["c", "never there"]
    )
    library.edit(store, [second], note="", add_tags=["c"])
    table = library.listing(store).set_index("experiment")
    assert table.loc[first, ["name", "note", "tags", "starred"]].to_list() == [
        "new name",
        "both",
        ["a b"],
        True,
    ]
    assert table.loc[second, ["name", "note", "tags", "starred"]].to_list() == [
        "second",
        "",
        ["a b", "c"],
        False,
    ]


def test_a_bad_edit_changes_nothing(store: Store) -> None:
    experiment_id = stopped(store, name="kept")
    with pytest.raises(ConfigError, match="tag must be 1 to 40 characters, got ' '"):
        library.edit(store, [experiment_id], name="lost", add_tags=[" "])
    with pytest.raises(ConfigError, match="name must be at most 200 characters"):
        library.edit(store, [experiment_id], name="x" * 201)
    with pytest.raises(ConfigError, match="note must be at most 20,000 characters"):
        library.edit(store, [experiment_id], note="x" * 20_001)
    with pytest.raises(StoreError, match="no experiment 'nobody'"):
        library.edit(store, [experiment_id, "nobody"], name="lost")
    assert library.listing(store)["name"].to_list() == ["kept"]


# The trash


def test_what_is_deleted_vanishes_everywhere_and_undo_brings_it_back_whole(
    trained_store: Store,
) -> None:
    first, second = both(trained_store)
    before, counted = library.listing(trained_store), rows(trained_store)
    teacher = load_results(trained_store, first).runs("teacher")[0]
    assert len(taught_by(trained_store, teacher.id)) == 4
    library.delete_experiments(trained_store, [first, second])
    assert library.listing(trained_store).empty
    assert trained_store.experiments() == []
    assert trained_store.finished_runs() == [], "no teacher to be picked"
    assert run_table(trained_store).empty, "nothing to compare"
    assert taught_by(trained_store, teacher.id) == []
    with pytest.raises(StoreError, match=f"in the trash: python -m kdcore restore {first}"):
        load_results(trained_store, first)
    in_trash = library.listing(trained_store, deleted=True)
    assert in_trash["experiment"].to_list() == [second, first]
    assert (in_trash["deleted_at"] > time.time() - 60).all()
    library.restore_experiments(trained_store, [second, first])
    assert library.listing(trained_store).equals(before)
    assert rows(trained_store) == counted


def test_a_live_experiment_must_be_stopped_before_it_is_deleted(store: Store) -> None:
    idle, live = stopped(store), store.create(ExperimentConfig())
    for status in ("queued", "running"):
        with pytest.raises(
            TransitionError, match=f"experiment {live} is {status} .* stop it first"
        ):
            library.delete_experiments(store, [idle, live])
        assert ids(store) == [live, idle], "all or none"
        store.claim("worker", live)
    store.finish(live, JobStatus.STOPPED)
    library.delete_experiments(store, [idle, live])
    library.delete_experiments(store, [live])
    assert ids(store) == []


def test_what_is_in_the_trash_can_neither_be_resumed_nor_claimed(store: Store) -> None:
    experiment_id = stopped(store)
    library.delete_experiments(store, [experiment_id])
    with pytest.raises(StoreError, match="in the trash"):
        store.requeue(experiment_id)
    store.finish(experiment_id, JobStatus.QUEUED)  # as by a program that asked just before
    assert store.claim("worker") is None
    library.restore_experiments(store, [experiment_id])
    claimed = store.claim("worker")
    assert claimed is not None
    assert claimed.id == experiment_id


def claim_like(store: Store, run: Run) -> Run:
    """Ask for a run with the fingerprint of ``run``, as a new experiment's worker does."""
    experiment_id = store.create(ExperimentConfig(**TRAINED, seed=9))
    fresh = Run(
        id=f"new-{experiment_id}",
        fingerprint=run.fingerprint,
        role=run.role,
        seed=run.seed,
        model=run.model,
        config=run.config,
        experiment_id=experiment_id,
        created_at=time.time(),
    )
    return store.claim_run(fresh, experiment_id, share=True)[0]


def test_a_teacher_in_the_trash_serves_nobody_and_one_that_is_used_elsewhere_does(
    trained_store: Store,
) -> None:
    first, second = both(trained_store)
    teacher = load_results(trained_store, first).runs("teacher")[0]
    library.delete_experiments(trained_store, [first])
    assert claim_like(trained_store, teacher).id == teacher.id, "the second experiment keeps it"
    library.delete_experiments(trained_store, [second])
    user = ids(trained_store)
    library.delete_experiments(trained_store, [])
    assert claim_like(trained_store, teacher).id == teacher.id, f"{user} uses it by now"
    for experiment_id in ids(trained_store):
        trained_store.request_stop(experiment_id)
    library.delete_experiments(trained_store, ids(trained_store))
    assert claim_like(trained_store, teacher).id != teacher.id


# For good


def test_a_purge_leaves_alone_what_another_experiment_uses(trained_store: Store) -> None:
    first, second = both(trained_store)
    teacher = load_results(trained_store, second).runs("teacher")[0]
    assert teacher.experiment_id == first
    answers = summary(trained_store, second)
    with pytest.raises(StoreError, match=f"experiment {first} is not in the trash"):
        library.purge(trained_store, [first])
    library.delete_experiments(trained_store, [first])
    own = experiment_bytes(trained_store, [first])[first] - teacher_bytes(trained_store, teacher.id)
    before = store_bytes(trained_store)
    purged = library.purge(trained_store, [first])
    assert (purged.experiments, purged.runs, purged.bytes) == (1, 4, own)
    assert purged.given_back == (
        before - store_bytes(trained_store) if is_file(trained_store) else 0
    )
    assert not is_file(trained_store) or purged.given_back > 0.7 * purged.bytes, (
        "the file is smaller, not only emptier"
    )
    assert summary(trained_store, second) == answers
    assert load_results(trained_store, second).runs("teacher")[0].experiment_id == second, (
        "it has an owner"
    )
    assert logits(trained_store, teacher, "test").shape == (449, 10)
    assert trained_store.has_artifact(f"examples/{teacher.summary['dataset']}/test")
    assert [use.run_id for use in uses(trained_store)] == [teacher.id]
    assert trained_store.has_artifact(uses(trained_store)[0].key), (
        "the cached logits of the shared teacher"
    )
    with pytest.raises(StoreError, match=f"no experiment '{first}'"):
        library.restore_experiments(trained_store, [first])


def teacher_bytes(store: Store, run_id: str) -> int:
    with store.reading() as session:
        return artifact_sizes(session, {run_id})[run_id] + curve_bytes(session, [run_id])


def uses(store: Store) -> list[ArtifactUse]:
    with store.reading() as session:
        return list(session.scalars(select(ArtifactUse)))


def test_a_purge_of_everything_leaves_nothing(trained_store: Store) -> None:
    library.delete_experiments(trained_store, both(trained_store))
    full = store_bytes(trained_store)
    purged = library.purge(trained_store, library.trash(trained_store))
    assert (purged.experiments, purged.runs) == (2, 9)
    left = rows(trained_store)
    assert {name: count for name, count in left.items() if count} == {"meta": 1}
    assert not is_file(trained_store) or store_bytes(trained_store) < full / 3
    assert Store(trained_store.url).create(ExperimentConfig()), "and the store works"


def test_teacher_logits_of_an_older_store_stay_while_their_data_is_used(
    trained_store: Store,
) -> None:
    first, second = both(trained_store)
    with trained_store.writing() as session:
        session.query(ArtifactUse).delete()  # written before users of caches were noted
    library.delete_experiments(trained_store, [first, second])

    def cached() -> int | None:
        with trained_store.reading() as session:
            return session.scalar(
                select(func.count()).where(Artifact.key.startswith("teacher_logits/"))
            )

    library.purge(trained_store, [first])
    assert cached() == 1
    library.purge(trained_store, [second])
    assert cached() == 0


KILLED = """
import os, signal, sys
from kdcore import sweeps
from kdcore.analysis import library
from kdcore.storage.store import Store
left = [1]
real = library._delete_artifacts
def killed(*arguments):
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left.pop()
    return real(*arguments)
library._delete_artifacts = killed
library.purge(Store(sys.argv[1]), sys.argv[2:])
"""


def test_a_purge_that_is_killed_leaves_each_experiment_whole_or_gone(trained_store: Store) -> None:
    first, second = both(trained_store)
    library.delete_experiments(trained_store, [first, second])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, trained_store.url, first, second], cwd=os.getcwd()
    )
    assert done.returncode == -signal.SIGKILL
    assert library.trash(trained_store) == [second]
    library.restore_experiments(trained_store, [second])
    result = summary(trained_store, second)
    assert len(result["student"]["accuracy"]) == 2
    assert result["teacher"]["accuracy"]
    for _, each in load_results(trained_store, second).links:
        assert logits(trained_store, each, "test").shape == (449, 10)
    library.delete_experiments(trained_store, [second])
    assert library.purge(trained_store, [second]).runs == 5


def test_a_store_from_before_shrinks_too_but_only_while_nothing_is_trained(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    with sqlite3.connect(file) as old:
        old.execute("PRAGMA auto_vacuum=NONE")
        old.execute("CREATE TABLE older (x)")
    store = Store(f"sqlite:///{file}")
    gone, kept = stopped(store), store.create(ExperimentConfig())
    store.put_artifact(f"notes/{gone}", pack(np.zeros(200_000)))
    store.claim("worker", kept)
    library.delete_experiments(store, [gone])
    assert library.purge(store, [gone]).given_back == 0
    store.finish(kept, JobStatus.STOPPED)
    library.delete_experiments(store, [kept])
    assert library.purge(store, [kept]).given_back > 1_500_000
    assert store.jobs(*JobStatus) == []


# The same from the command line


def run(store: Store, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--store", store.url, *arguments], catch_exceptions=False)


def test_the_command_line_does_the_same(trained_store: Store, tmp_path: Path) -> None:
    first, second = both(trained_store)
    said = run(trained_store, "edit", first, second, "--tag", "thesis", "--star").stdout
    assert said == "2 experiments changed\n"
    run(trained_store, "edit", first, "--name", "<b>cold</b>", "--no-star", "--untag", "nothing")
    found = json.loads(
        run(trained_store, "list", "--text", "cold", "--tag", "thesis", "--json").stdout
    )
    assert [row["experiment"] for row in found] == [first]
    assert found[0]["tags"] == ["thesis"]
    assert found[0]["labels"] == 50
    assert found[0]["deleted_at"] is None
    lines = run(trained_store, "list").stdout.splitlines()
    assert lines[0].startswith(f"{second} * finished")
    assert lines[1].endswith("<b>cold</b>  #thesis")
    assert run(trained_store, "list", "--text", "nowhere").stderr == "None of 2 experiments fits\n"
    sizes = json.loads(run(trained_store, "disk", "--json").stdout)
    assert sizes["experiments"] == experiment_bytes(trained_store, [first, second])
    assert sizes["store"] == store_bytes(trained_store)
    assert f"restore {first} brings back" in run(trained_store, "delete", first).stdout
    assert run(trained_store, "show", first).exit_code == 1
    assert run(trained_store, "list", "--deleted").stdout.startswith(first)
    run(trained_store, "restore", first)
    assert run(trained_store, "show", first).exit_code == 0
    assert run(trained_store, "purge", first).stderr.startswith(
        f"Error: experiment {first} is not in the trash"
    )
    run(trained_store, "delete", first, second)
    assert run(trained_store, "purge", "--days", "1").stdout.startswith(
        "0 experiments and 0 runs destroyed"
    )
    assert run(trained_store, "purge").stdout.startswith("2 experiments and 9 runs destroyed, ")
    assert "No experiments yet" in run(trained_store, "list").stderr


def test_train_like_takes_the_settings_of_another_experiment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stopped(store, temperature=3.0, alpha=0.7, seeds=1)
    seen: list[ExperimentConfig] = []

    def remember(_store: Store, config: ExperimentConfig, **_: str) -> str:
        seen.append(config)
        raise StoreError("enough")

    monkeypatch.setattr(Store, "create", remember)
    run(store, "train", "--like", before, "--alpha", "0.2")
    assert seen == [ExperimentConfig(temperature=3.0, alpha=0.2, seeds=1)]
    assert "no experiment 'nobody'" in run(store, "train", "--like", "nobody").stderr
