"""The experiments as a collection: list, name, tag and star them, delete and restore them.

What is deleted goes to the trash first: hidden everywhere, and complete again when restored. Only a
purge destroys, and it leaves alone what an experiment outside the purge still uses.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from kdcore.analysis.statistics import paired_gain
from kdcore.analysis.unsettled import unsettled_cells
from kdcore.config.catalog import short_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StoreError, TransitionError, require
from kdcore.storage.database import upsert
from kdcore.storage.disk import artifact_sizes, curve_bytes, shrink
from kdcore.storage.schema import (
    Artifact,
    ArtifactUse,
    Base,
    Experiment,
    ExperimentRun,
    Job,
    JobNeed,
    JobStatus,
    Run,
    Sweep,
    SweepCell,
    Tag,
)
from kdcore.storage.store import Store

SWEEP_TAG = "sweep "  # begins the tag that a sweep files its cells under
LONGEST_NAME, LONGEST_TAG, LONGEST_NOTE = 200, 40, 20_000

# The columns of a listing, one row an experiment. Accuracies are fractions on the data that "split"
# names ("test", or "validation" for cells of a sweep without a winner), means over the finished
# seeds; gain, low and high are percentage points over the seeds that have both models.
COLUMNS = (
    "experiment",
    "starred",
    "name",
    "description",
    "tags",
    "note",
    "status",
    "progress",
    "dataset",
    "teacher",
    "student",
    "alpha",
    "temperature",
    "labels",
    "epochs",
    "seeds",
    "split",
    "teacher_accuracy",
    "student_accuracy",
    "baseline_accuracy",
    "gain",
    "low",
    "high",
    "pairs",
    "verdict",
    "bytes",
    "sweep",
    "sweep_name",
    "created_at",
    "deleted_at",
)

FLOATS = (
    "teacher_accuracy",
    "student_accuracy",
    "baseline_accuracy",
    "gain",
    "low",
    "high",
    "deleted_at",
)


# In which cells of a sweep may differ.
OF_A_CELL = ("teacher", "student", "alpha", "temperature", "labels", "epochs", "seeds", "dataset")
# What is said of a sweep whose cells are in several states.
SAID_FIRST = ("running", "queued", "failed", "interrupted", "stopped")


def listing(store: Store, *, deleted: bool = False, test_of_cells: bool = False) -> pd.DataFrame:
    """Return all experiments, newest first, or those in the trash: a table of :data:`COLUMNS`.

    Cells of a sweep without a winner are listed by validation data (see
    :mod:`kdcore.analysis.unsettled`), with ``test_of_cells`` by test data like all others.

    ``bytes`` is what the models that the experiment trained itself occupy: weights, logits,
    checkpoints. The cost depends on the number of experiments, not on the curves that they have
    stored. With a single seed there is no interval here (``low`` and ``high`` are nan): it would
    need every answer, see :func:`kdcore.analysis.results.gain`.
    """
    query = (
        select(Experiment, Job.status, Job.progress, Experiment.deleted_at, Sweep.id, Sweep.name)
        .join(Job, Job.id == Experiment.id)
        .outerjoin(SweepCell, SweepCell.job_id == Experiment.id)
        .outerjoin(Sweep, Sweep.id == SweepCell.sweep_id)
        .where(Experiment.deleted_at.is_not(None) if deleted else Experiment.deleted_at.is_(None))
        .order_by(Experiment.created_at.desc(), Experiment.id)
    )
    with store.reading() as session:
        found = session.execute(query).all()
        if not found:
            return _as_table([])
        tags: dict[str, list[str]] = {}
        for experiment_id, tag in session.execute(
            select(Tag.experiment_id, Tag.tag).order_by(Tag.tag)
        ):
            tags.setdefault(experiment_id, []).append(tag)
        hidden = set() if test_of_cells else unsettled_cells(session)
        tested = _tested(session, hidden)
        sizes = _bytes_of_experiments(session)
    rows = [
        _row(experiment, status, progress, deleted_at)
        | _numbers(tested.get(experiment.id, {}))
        | {"tags": tags.get(experiment.id, []), "bytes": sizes.get(experiment.id, 0)}
        | {"sweep": sweep, "sweep_name": sweep_name}
        | {"split": "validation" if experiment.id in hidden else "test"}
        for experiment, status, progress, deleted_at, sweep, sweep_name in found
    ]
    return _as_table(rows)


def _as_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"labels": "Int64", "pairs": "Int64"} | dict.fromkeys(FLOATS, "float64"))


def _row(
    experiment: Experiment, status: str, progress: float, deleted_at: float | None
) -> dict[str, Any]:
    # Not checked again: an experiment is listed even if its data or model has since left the
    # catalog.
    config = ExperimentConfig.unchecked(experiment.config)
    settings = {
        name: config.get(name)
        for name in (
            "dataset",
            "teacher",
            "student",
            "alpha",
            "temperature",
            "labels",
            "epochs",
            "seeds",
        )
    }
    return settings | {
        "experiment": experiment.id,
        "starred": experiment.starred,
        "name": experiment.name,
        "note": experiment.note,
        "description": config.describe(),
        "status": status,
        "progress": progress,
        "created_at": experiment.created_at,
        "deleted_at": deleted_at,
    }


def _tested(
    session: Session, hidden: Collection[str]
) -> dict[str, dict[str, dict[int, tuple[float, int | None]]]]:
    """Return experiment -> role -> seed -> (test accuracy, test examples) of all trained runs; of
    the ``hidden`` ones the validation accuracy.
    """
    query = (
        select(
            ExperimentRun.experiment_id,
            ExperimentRun.role,
            ExperimentRun.seed,
            Run.summary["test_accuracy"].as_float(),
            Run.summary["test_examples"].as_integer(),
            Run.summary["validation_accuracy"].as_float(),
        )
        .join(Run, Run.id == ExperimentRun.run_id)
        .where(Run.finished_at.is_not(None))
        # Of several generations the last one stands for its role.
        .order_by(func.length(ExperimentRun.step), ExperimentRun.step)
    )
    tested: dict[str, dict[str, dict[int, tuple[float, int | None]]]] = {}
    for experiment_id, role, seed, on_test, examples, on_validation in session.execute(query):
        accuracy, count = (on_validation, None) if experiment_id in hidden else (on_test, examples)
        if accuracy is not None:
            tested.setdefault(experiment_id, {}).setdefault(role, {})[seed] = (accuracy, count)
    return tested


def _numbers(tested: dict[str, dict[int, tuple[float, int | None]]]) -> dict[str, Any]:
    """Return the mean accuracy of each role, and the gain over the seeds that have a student and a
    baseline.
    """
    numbers: dict[str, Any] = {}
    for role in ("teacher", "student", "baseline"):
        seeds = tested.get(role, {})
        numbers[f"{role}_accuracy"] = (
            sum(accuracy for accuracy, _ in seeds.values()) / len(seeds) if seeds else None
        )
    students, baselines = tested.get("student", {}), tested.get("baseline", {})
    if both := sorted(students.keys() & baselines.keys()):
        numbers |= _gain(
            tuple(students[seed][0] for seed in both),
            tuple(baselines[seed][0] for seed in both),
            students[both[0]][1],
        )
    return numbers


@functools.lru_cache(maxsize=10_000)
def _gain(
    students: tuple[float, ...], baselines: tuple[float, ...], test_examples: int | None
) -> dict[str, Any]:
    found = paired_gain(students, baselines, test_examples=test_examples)
    return {
        "gain": found.mean,
        "low": found.low,
        "high": found.high,
        "pairs": found.n,
        "verdict": found.verdict,
    }


def _bytes_of_experiments(session: Session) -> dict[str, int]:
    owners = {run_id: owner for run_id, owner in session.execute(select(Run.id, Run.experiment_id))}
    sizes: dict[str, int] = {}
    for run_id, size in artifact_sizes(session, owners).items():
        sizes[owners[run_id]] = sizes.get(owners[run_id], 0) + size
    return sizes


def tags_of(store: Store, experiment_id: str) -> list[str]:
    """Return the tags of an experiment, by name."""
    with store.reading() as session:
        return list(
            session.scalars(
                select(Tag.tag).where(Tag.experiment_id == experiment_id).order_by(Tag.tag)
            )
        )


def fold_sweeps(table: pd.DataFrame) -> pd.DataFrame:
    """Return a listing with one row for all experiments of a sweep, where its newest one stood, and
    a column ``members``: the experiments that a row stands for.

    A setting in which they differ is missing, and so are gain and accuracies: they are one
    cell's. ``experiment`` is the sweep's id.
    """
    alone = table.assign(members=[[each] for each in table["experiment"]])
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for row in alone.to_dict("records"):
        if pd.isna(row["sweep"]):
            rows.append(row)
        elif row["sweep"] not in seen:
            seen.add(row["sweep"])
            rows.append(_folded(table[table["sweep"] == row["sweep"]], row))
    folded = pd.DataFrame(rows, columns=list(alone.columns))
    return folded.astype({name: kind for name, kind in alone.dtypes.items() if name != "seeds"})


def _folded(cells: pd.DataFrame, newest: dict[str, Any]) -> dict[str, Any]:
    """Return the one row of a sweep's cells."""
    statuses = list(cells["status"])
    unfinished = [each for each in SAID_FIRST if each in statuses]
    row = newest | {
        name: newest[name] if cells[name].nunique(dropna=False) == 1 else None for name in OF_A_CELL
    }
    count = f"{len(cells)} experiments"  # its cells, and what they share
    return row | {
        "experiment": newest["sweep"],
        "members": list(cells["experiment"]),
        "name": f"{newest['sweep_name'] or 'Sweep'} ({count})",
        "description": f"a sweep of {count}",
        "status": unfinished[0] if unfinished else statuses[0],
        "progress": float(cells["progress"].mean()),
        "starred": bool(cells["starred"].any()),
        "tags": sorted({tag for tags in cells["tags"] for tag in tags}),
        "note": "",
        "created_at": float(cells["created_at"].min()),
        "bytes": int(cells["bytes"].sum()),
        **dict.fromkeys((*FLOATS, "pairs", "verdict")),
    }


def matching(
    table: pd.DataFrame,
    *,
    text: str = "",
    datasets: Sequence[str] = (),
    statuses: Sequence[str] = (),
    tags: Sequence[str] = (),
    starred: bool = False,
    sweep: str | None = None,
) -> pd.DataFrame:
    """Return the rows of a listing that fit all that is given.

    Every word of ``text`` (in name, note, tags, settings, status or id), one of ``datasets`` (a
    user's dataset by name: any version of it), one of ``statuses``, every one of ``tags``, a star
    if ``starred``, and ``sweep``, the id of one; an empty one means those that belong to none.
    """
    keep = pd.Series(True, index=table.index)
    if words := text.lower().split():
        columns = [table[name] for name in ("experiment", "name", "note", "description", "status")]
        written = [
            " ".join((*texts, *tags)).lower()
            for *texts, tags in zip(*columns, table["tags"], strict=True)
        ]
        keep &= pd.Series(
            [all(word in line for word in words) for line in written], index=table.index, dtype=bool
        )
    if datasets:
        keep &= table["dataset"].isin(datasets) | table["dataset"].map(short_name).isin(datasets)
    if statuses:
        keep &= table["status"].isin(list(statuses))
    for tag in tags:
        keep &= table["tags"].map(lambda given, wanted=tag: wanted in given).astype(bool)
    if starred:
        keep &= table["starred"].astype(bool)
    if sweep is not None:
        keep &= table["sweep"] == sweep if sweep else table["sweep"].isna()
    return table[keep]


def edit(
    store: Store,
    experiment_ids: Sequence[str],
    *,
    name: str | None = None,
    note: str | None = None,
    starred: bool | None = None,
    add_tags: Iterable[str] = (),
    remove_tags: Iterable[str] = (),
) -> None:
    """Name, annotate, star or tag experiments; what is None stays as it is. All of them change, or
    none.

    Raises ConfigError for text that is too long or a tag that is empty, StoreError for an unknown
    id.
    """
    values = {"name": name, "note": note, "starred": starred}
    if name is not None:
        values["name"] = name = " ".join(name.split())
        require(len(name) <= LONGEST_NAME, "name", f"at most {LONGEST_NAME} characters", name)
    if note is not None:
        require(len(note) <= LONGEST_NOTE, "note", f"at most {LONGEST_NOTE:,} characters", note)
    added = sorted({_checked_tag(tag) for tag in add_tags})
    removed = [" ".join(tag.split()) for tag in remove_tags]
    given = {column: value for column, value in values.items() if value is not None}
    with store.writing() as session:
        for experiment_id in _known(session, experiment_ids, store):
            if given:
                session.execute(
                    update(Experiment).where(Experiment.id == experiment_id).values(**given)
                )
            if added:
                upsert(
                    session, Tag, [{"experiment_id": experiment_id, "tag": tag} for tag in added]
                )
            session.execute(
                delete(Tag).where(Tag.experiment_id == experiment_id, Tag.tag.in_(removed))
            )


def _checked_tag(tag: str) -> str:
    word = " ".join(tag.split())
    require(0 < len(word) <= LONGEST_TAG, "tag", f"1 to {LONGEST_TAG} characters", tag)
    return word


def _known(session: Session, experiment_ids: Iterable[str], store: Store) -> list[str]:
    chosen = list(dict.fromkeys(experiment_ids))
    known = set(session.scalars(select(Experiment.id).where(Experiment.id.in_(chosen))))
    for experiment_id in chosen:
        if experiment_id not in known:
            raise StoreError(f"there is no experiment {experiment_id!r} in {store.name}")
    return chosen


def delete_experiments(store: Store, experiment_ids: Sequence[str]) -> None:
    """Put experiments into the trash; all of them, or none.

    Raises TransitionError for one that is live (stop it first), StoreError for an unknown id.
    """
    with store.writing() as session:
        for experiment_id in _known(session, experiment_ids, store):
            job = session.scalars(
                select(Job).where(Job.id == experiment_id).with_for_update()
            ).one()
            if JobStatus(job.status).live:
                raise TransitionError(
                    f"experiment {experiment_id} is {job.status} and cannot be deleted: stop it first, "
                    f"python -m kdcore stop {experiment_id}"
                )
            experiment = session.get_one(Experiment, experiment_id)
            experiment.deleted_at = experiment.deleted_at or time.time()


def restore_experiments(store: Store, experiment_ids: Sequence[str]) -> None:
    """Take experiments out of the trash, as they were; raises StoreError for an unknown id."""
    with store.writing() as session:
        chosen = _known(session, experiment_ids, store)
        session.execute(update(Experiment).where(Experiment.id.in_(chosen)).values(deleted_at=None))


def trash(store: Store, *, older_than: float = 0.0) -> list[str]:
    """Return the ids of the experiments in the trash, the longest deleted first.

    ``older_than`` is in seconds.
    """
    query = select(Experiment.id).where(Experiment.deleted_at <= time.time() - older_than)
    with store.reading() as session:
        return list(session.scalars(query.order_by(Experiment.deleted_at)))


@dataclass(frozen=True)
class Purged:
    """What a purge destroyed: experiments, runs, and bytes of weights, logits, pictures and curves.

    ``given_back`` is by how many bytes the store's file became smaller; a database server keeps the
    space for itself.
    """

    experiments: int
    runs: int
    bytes: int
    given_back: int


def purge(store: Store, experiment_ids: Sequence[str]) -> Purged:
    """Destroy experiments that are in the trash, and what nothing else uses, for good.

    Runs, teacher logits and pictures that another experiment uses, be it in the trash, are kept.
    One commit an experiment: killed in between, each is either whole or gone. Raises StoreError for
    one that is not in the trash.
    """
    runs = size = 0
    chosen = list(dict.fromkeys(experiment_ids))
    in_trash = set(trash(store))
    for experiment_id in chosen:
        if experiment_id not in in_trash:
            raise StoreError(f"experiment {experiment_id} is not in the trash: delete it first")
    for experiment_id in chosen:
        with store.writing() as session:
            gone, freed = _purge_one(session, experiment_id)
        runs, size = runs + gone, size + freed
    return Purged(len(chosen), runs, size, shrink(store) if chosen else 0)


def _purge_one(session: Session, experiment_id: str) -> tuple[int, int]:
    """Destroy one experiment; returns how many runs went with it, and how many bytes."""
    dataset_key = session.get_one(Experiment, experiment_id).dataset_key
    used = select(ExperimentRun.run_id).where(ExperimentRun.experiment_id == experiment_id)
    # Locked first: who wants to use one of them now waits, and then finds it gone (SQLite has one
    # writer anyway).
    mine = select(Run.id).where((Run.experiment_id == experiment_id) | Run.id.in_(used))
    run_ids = list(session.scalars(mine.with_for_update()))
    session.execute(delete(ExperimentRun).where(ExperimentRun.experiment_id == experiment_id))
    others = select(ExperimentRun.run_id, func.min(ExperimentRun.experiment_id))
    heirs = session.execute(
        others.where(ExperimentRun.run_id.in_(run_ids)).group_by(ExperimentRun.run_id)
    ).all()
    for run_id, heir in heirs:
        owned = update(Run).where(Run.id == run_id, Run.experiment_id == experiment_id)
        session.execute(owned.values(experiment_id=heir))
    doomed = sorted(set(run_ids) - {run_id for run_id, _ in heirs})
    freed = curve_bytes(session, doomed)
    caches = _unused_caches(session, doomed)
    _delete_with_references(session, Run, doomed)
    _delete_with_references(session, Experiment, [experiment_id])
    for kind in (JobNeed, SweepCell):
        session.execute(delete(kind).where(kind.job_id == experiment_id))
    _delete_with_references(session, Job, [experiment_id])
    return len(doomed), freed + _delete_artifacts(
        session, {experiment_id, *doomed}, caches, dataset_key
    )


def _unused_caches(session: Session, doomed: list[str]) -> list[str]:
    """Return the keys of artifacts that some of the doomed runs needed and no other run does."""
    use = aliased(ArtifactUse)
    elsewhere = exists().where(use.key == ArtifactUse.key, use.run_id.not_in(doomed))
    return list(
        session.scalars(
            select(ArtifactUse.key).where(ArtifactUse.run_id.in_(doomed), ~elsewhere).distinct()
        )
    )


def _delete_with_references(session: Session, kind: type[Base], ids: list[str]) -> None:
    """Delete rows by id, after the rows of every table that refer to them."""
    target = kind.__table__
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column.table is target and table is not target:
                session.execute(table.delete().where(key.parent.in_(ids)))
    session.execute(delete(kind).where(target.c.id.in_(ids)))


def _delete_artifacts(
    session: Session, ids: set[str], caches: list[str], dataset_key: str | None
) -> int:
    """Delete what has one of the ids in its key, the unused caches, and data that nothing is left
    of; returns bytes.
    """
    sizes = {key: size for key, size in session.execute(select(Artifact.key, Artifact.size))}
    doomed = {key for key in sizes if not ids.isdisjoint(key.split("/")[1:])} | (
        sizes.keys() & set(caches)
    )
    if dataset_key is not None and not _data_is_used(session, dataset_key):
        # Teacher logits of before their users were written down: without a run on this data nobody
        # asks for them.
        ends = (f"examples/{dataset_key}/", "teacher_logits/")
        doomed |= {key for key in sizes if key.startswith(ends) and dataset_key in key.split("/")}
    session.execute(delete(Artifact).where(Artifact.key.in_(doomed)))
    return sum(sizes[key] for key in doomed)


def _data_is_used(session: Session, dataset_key: str) -> bool:
    by_run = exists().where(Run.summary["dataset"].as_string() == dataset_key)
    by_experiment = exists().where(Experiment.dataset_key == dataset_key)
    return bool(session.scalar(select(or_(by_experiment, by_run))))
