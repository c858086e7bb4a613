"""What can be compared: the runs of an experiment's role over its seeds, or a single run, by the id
that names it.

A contender is named in addresses and on the command line by ``EXPERIMENT:ROLE``
("4f1c2a9e03:student") or by the id of one run. Choosing, naming and refusing happen here, for the
page and the command alike.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import func, select

from kdcore.analysis.unsettled import unsettled_cells
from kdcore.config.catalog import short_name
from kdcore.config.experiment import (
    ExperimentConfig,
    all_settings,
    role_settings,
    stored_setting,
)
from kdcore.errors import ConfigError, Problem, StoreError, require
from kdcore.methods import METHODS
from kdcore.palette import ROLE_NAMES, ROLES, Style, style
from kdcore.plans import PLANS, plan_of
from kdcore.settings import words_of
from kdcore.storage.schema import (
    Experiment,
    ExperimentRun,
    Job,
    JobStatus,
    Run,
    Sweep,
    SweepCell,
    is_deleted,
)
from kdcore.storage.store import Store

# Side by side; more of them are ranked.
FEWEST, MOST = 2, 6
MOST_RANKED = 200
# A run's own seed is told by its place, not by its settings.
NOT_SETTINGS = {"seed"}
SETTINGS_IN_A_NAME = 3

# What names a model best comes first.
_TELLING = (
    "student",
    "teacher",
    "method",
    "plan",
    "temperature",
    "alpha",
    "labels",
    "generations",
    "epochs",
)
_SHORT = {
    "labels": lambda value: "all labels" if value is None else f"{value:,} labels",
    "plan": lambda value: PLANS[value].title if value in PLANS else str(value),
    "method": lambda value: METHODS[value].title if value in METHODS else str(value),
    "epochs": lambda value: f"{value:,} epochs",
    "teacher": short_name,
    "student": short_name,
    "dataset": short_name,
}


@dataclass(frozen=True, eq=False)
class Contender:
    """A role of an experiment with its runs by seed, or a single one of them."""

    id: str
    role: str
    experiment: Experiment
    job: Job
    runs: tuple[Run, ...]
    teacher: Run | None
    single: bool = False
    teachers: tuple[Run, ...] = ()  # all of them, where there is one for each seed
    step: str = ""  # of a single run, where its role has several: "generation 1"

    def teacher_of(self, run: Run) -> Run | None:
        """Return the teacher of one of its runs: that of the run's seed where there is one."""
        return next((each for each in self.teachers if each.seed == run.seed), self.teacher)

    @property
    def config(self) -> dict[str, Any]:
        """The settings it was made with: a single run's own, or its experiment's."""
        return self.runs[0].config if self.single else self.experiment.config

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that its result depends on.

        An experiment of before a setting existed had its default.
        """
        config = self.config
        names = (name for name in role_settings(self.role, config) if name not in NOT_SETTINGS)
        return {name: stored_setting(config, name) for name in names}

    @property
    def model(self) -> str:
        """The name of its network."""
        return str(self.config["teacher" if self.role == "teacher" else "student"])

    @property
    def trained(self) -> tuple[Run, ...]:
        """Its finished runs, by seed."""
        return tuple(run for run in self.runs if run.finished_at is not None)

    @property
    def expected(self) -> int:
        """How many runs it has when all are trained."""
        once = self.role == "teacher" and self.config.get("label_budget_for") != "everyone"
        return 1 if self.single or once else int(self.config["seeds"])

    @property
    def status(self) -> JobStatus:
        """Finished once all its runs are; before that, its experiment's status."""
        if len(self.trained) == self.expected:
            return JobStatus.FINISHED
        return JobStatus(self.job.status)

    @property
    def state(self) -> str:
        """How much of it is trained, in words."""
        if self.status is JobStatus.FINISHED:
            return "finished"
        so_far = (
            f"{len(self.trained)} of {self.expected} trained"
            if self.expected > 1
            else "not trained to the end"
        )
        if self.status is JobStatus.RUNNING:
            return f"in training, {so_far}" if self.runs else "not begun yet"
        why = f": {self.job.error}" if self.job.error else ""
        return f"{self.status.value}, {so_far}{why}"

    def run(self, seed: int | None = None) -> Run | None:
        """Return the trained run of ``seed``, else the first trained one, None while there
        is none.
        """
        return next(
            (run for run in self.trained if run.seed == seed), next(iter(self.trained), None)
        )


# --- From ids to contenders ---


def find_contenders(store: Store, ids: Iterable[str], *, most: int = MOST) -> list[Contender]:
    """Return what ``ids`` name, each once, in their order.

    An id is that of an experiment (all its roles), ``EXPERIMENT:ROLE``, that of a run, or that of a
    sweep: the students of its finished cells. Raises
    StoreError for an unknown one, ConfigError unless there are 2 to ``most`` contenders with the
    same test data.
    """
    contenders = once([each for name in ids for each in contenders_named(store, name)])
    check_choice(contenders, most)
    return contenders


def once(contenders: Iterable[Contender]) -> list[Contender]:
    """Return each contender once: two experiments that share a teacher both list it."""
    different: dict[Any, Contender] = {}
    for contender in contenders:
        runs = tuple(run.id for run in contender.runs)
        different.setdefault((contender.role, runs) if runs else contender.id, contender)
    return list(different.values())


def check_choice(contenders: Sequence[Contender], most: int = MOST) -> None:
    """Raise ConfigError unless these are 2 to ``most`` with the same test examples: only then can
    their answers be compared.
    """
    rule = f"from {FEWEST} to {most}, each another one"
    require(FEWEST <= len(contenders) <= most, "models", rule, len(contenders))
    first, *others = contenders
    for other in others:
        if test_data(other.config) != test_data(first.config):
            one, two = (
                f"{name}, split seed {seed}"
                for name, seed in map(test_data, (first.config, other.config))
            )
            rule = f"of the same test data: {first.id} has {one}, so the others need it too"
            raise ConfigError(Problem("models", rule, f"{other.id} with {two}"))


def contenders_named(store: Store, name: str) -> list[Contender]:
    """Return what one id names.

    Raises StoreError for an unknown one, ConfigError for an unknown role.
    """
    experiment_id, colon, role = name.partition(":")
    if colon:
        require(role in ROLES, "role", f"one of {', '.join(ROLES)}", role)
        return [_of_experiment(store, experiment_id, role)]
    with store.reading() as session:
        is_experiment, run = session.get(Experiment, name) is not None, session.get(Run, name)
        is_sweep = session.get(Sweep, name) is not None
    if is_experiment:
        return [_of_experiment(store, name, role) for role in ROLES]
    if is_sweep:
        return [_of_experiment(store, cell, "student") for cell in finished_cells(store, name)]
    if run is None:
        raise StoreError(f"there is no experiment or run {name!r} in {store.name}")
    whole = _of_experiment(store, run.experiment_id, run.role)
    steps = {each.id: link.step for link, each in store.runs_of(run.experiment_id)}
    shown = {step for each, step in steps.items() if each in {other.id for other in whole.runs}}
    return [
        Contender(
            run.id,
            run.role,
            whole.experiment,
            whole.job,
            (run,),
            whole.teacher_of(run),
            single=True,
            step="" if steps.get(run.id) in shown else steps.get(run.id, ""),
        )
    ]


def finished_cells(store: Store, sweep_id: str) -> list[str]:
    """Return the experiments that are a sweep's finished cells, in their order; of a cell that got
    more seeds the latest.
    """
    query = (
        select(SweepCell.job_id, SweepCell.values)
        .join(Job, Job.id == SweepCell.job_id)
        .where(
            SweepCell.sweep_id == sweep_id,
            SweepCell.part == "cell",
            SweepCell.pruned.is_(False),
            Job.status == JobStatus.FINISHED.value,
            ~is_deleted(SweepCell.job_id),
        )
    )
    with store.reading() as session:
        rows = session.execute(query.order_by(SweepCell.number)).all()
    latest = {json.dumps(values, sort_keys=True): cell for cell, values in rows}
    return list(latest.values())


def sweeps_to_compare(store: Store) -> dict[str, str]:
    """Return the sweeps with finished cells, newest first: what each is called, by its id."""
    query = (
        select(Sweep.id, Sweep.name, func.count())
        .join(SweepCell, SweepCell.sweep_id == Sweep.id)
        .join(Job, Job.id == SweepCell.job_id)
        .where(SweepCell.part == "cell", Job.status == JobStatus.FINISHED.value)
        .group_by(Sweep.id, Sweep.name, Sweep.created_at)
        .order_by(Sweep.created_at.desc())
    )
    with store.reading() as session:
        rows = session.execute(query).all()
    return {sweep: f"{name or f'sweep {sweep}'}, {count} cells" for sweep, name, count in rows}


def sweeps_of(store: Store, experiment_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the sweep of each experiment that is a cell of one: its id and what it is called."""
    query = select(SweepCell.job_id, Sweep.id, Sweep.name).join(
        Sweep, Sweep.id == SweepCell.sweep_id
    )
    query = query.where(SweepCell.part == "cell", SweepCell.job_id.in_(list(experiment_ids)))
    with store.reading() as session:
        rows = session.execute(query).all()
    return {cell: (sweep, name or f"sweep {sweep}") for cell, sweep, name in rows}


def _of_experiment(store: Store, experiment_id: str, role: str) -> Contender:
    experiment, job = store.experiment(experiment_id), store.job(experiment_id)
    links = store.runs_of(experiment_id)
    steps = [link.step for link, _ in links if link.role == role]
    # Of several generations, the last one is compared.
    runs = tuple(run for link, run in links if steps and link.step == steps[-1])
    taught = [(link.step, run) for link, run in links if link.role == "teacher"]
    teachers = tuple(run for step, run in taught if step == taught[0][0])
    teacher = next(iter(teachers), None)
    return Contender(
        f"{experiment_id}:{role}", role, experiment, job, runs, teacher, teachers=teachers
    )


def test_data(config: Mapping[str, Any]) -> tuple[str, int]:
    """Return what decides which test examples an experiment has, and in which order: dataset and
    split seed.
    """
    return str(config["dataset"]), int(config.get("split_seed", 0))


# --- Names and colours: one place for all pages ---


def styles(contenders: Sequence[Contender]) -> list[Style]:
    """Return name and colour of each contender: the role's own for the first of a role, its
    family's for the others.
    """
    counted: Counter[str] = Counter()
    found = []
    for contender, name in zip(contenders, names(contenders), strict=True):
        found.append(style(contender.role, name, counted[contender.role]))
        counted[contender.role] += 1
    return found


def names(contenders: Sequence[Contender]) -> list[str]:
    """Return a name for each contender: its role, and what tells it from others of that role on
    screen.
    """
    found = []
    for contender in contenders:
        rivals = [other for other in contenders if other.role == contender.role]
        parts = [ROLE_NAMES[contender.role]]
        if len({other.experiment.id for other in rivals}) > 1:
            apart = (
                [contender.experiment.name]
                if contender.experiment.name
                else _told_apart(contender, rivals)
            )
            parts += apart or [contender.experiment.id]
        if contender.step:
            parts.append(contender.step)
        if contender.single and contender.role != "teacher":
            parts.append(f"seed {contender.runs[0].seed}")
        found.append(" · ".join(parts))
    counted = Counter(found)
    return [
        name if counted[name] == 1 else f"{name} · {contender.id.partition(':')[0]}"
        for name, contender in zip(found, contenders, strict=True)
    ]


def _told_apart(contender: Contender, rivals: Sequence[Contender]) -> list[str]:
    settings = [other.settings for other in rivals]
    return told_apart(settings)[rivals.index(contender)]


def told_apart(every: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Say of each of some models, given by their settings, what tells it from the others.

    Only settings that differ are named, the most telling ones first: at least
    ``SETTINGS_IN_A_NAME`` of them where there are so many, and of the others those that tell models
    apart which are still alike.
    """
    names = sorted(
        dict.fromkeys(name for settings in every for name in settings),
        key=lambda name: _TELLING.index(name) if name in _TELLING else len(_TELLING),
    )
    differing = [
        name for name in names if len({repr(settings.get(name)) for settings in every}) > 1
    ]
    named = differing[:SETTINGS_IN_A_NAME]
    for name in differing[SETTINGS_IN_A_NAME:]:
        if _kinds(every, [*named, name]) > _kinds(every, named):
            named.append(name)
    return [
        [short(name, settings[name]) for name in named if name in settings] for settings in every
    ]


def _kinds(every: Sequence[Mapping[str, Any]], names: Sequence[str]) -> int:
    """Return how many different models there are by some of their settings."""
    return len({tuple(repr(each.get(name)) for name in names) for each in every})


def short(field: str, value: Any) -> str:
    """Say a setting and its value in two words: "T 10", "100 labels", "batch size 32"."""
    if field in _SHORT:
        return _SHORT[field](value)
    title = words_of(all_settings()[field])["short"]
    return (
        f"{title} {'–' if value is None else f'{value:g}' if isinstance(value, float) else value}"
    )


# --- The table to choose from ---


def run_table(store: Store, *, by_seed: bool = False) -> pd.DataFrame:
    """Return all that can be chosen, newest first: one row a role of an experiment, or with
    ``by_seed`` one a run.

    The columns are id, experiment, name, starred, role, step, model, accuracy (mean over seeds),
    seeds (a number, with ``by_seed`` the seed itself), parameters, status, created_at, and every
    setting. No metric is read: the cost grows with the runs, not with what was measured of them. A
    run that several experiments share is listed once; what is in the trash is not. Cells of a sweep
    without a winner have no accuracy: it is of test data.
    """
    columns = (
        ExperimentRun.experiment_id,
        ExperimentRun.role,
        ExperimentRun.step,
        ExperimentRun.seed,
        Run.id.label("run"),
        Run.model,
        Run.parameters,
        Run.summary,
        Run.finished_at,
        Job.status,
        Experiment.name,
        Experiment.starred,
        Experiment.config,
        Experiment.created_at,
    )
    query = select(*columns).join(Run, Run.id == ExperimentRun.run_id)
    query = query.join(Experiment, Experiment.id == ExperimentRun.experiment_id).join(
        Job, Job.id == Experiment.id
    )
    # Language models name no classes.
    query = query.where(~is_deleted(Experiment.id), ExperimentRun.role.in_(ROLES))
    query = query.order_by(
        Experiment.created_at, Experiment.id, ExperimentRun.role.desc(), ExperimentRun.seed
    )
    with store.reading() as session:
        rows = session.execute(query).all()
        hidden = unsettled_cells(session)
    groups: dict[tuple[Any, ...], list[Any]] = {}
    stands_for = _steps_that_stand_for_roles(rows)
    for row in rows:
        whole = (row.experiment_id, row.role)
        place = (*whole, row.step, row.seed) if by_seed else whole
        if by_seed or row.step == stands_for[whole]:
            groups.setdefault(place, []).append(row)
    once: dict[tuple[str, ...], dict[str, Any]] = {}
    for members in groups.values():
        once.setdefault(tuple(row.run for row in members), _table_row(members, by_seed, hidden))
    frame = pd.DataFrame(list(once.values())[::-1], columns=[*_TABLE_COLUMNS, *_setting_names()])
    return frame.astype({"accuracy": float})


def _steps_that_stand_for_roles(rows: Sequence[Any]) -> dict[tuple[str, str], str]:
    """Return the step that is compared by experiment and role: of several generations the last of
    the plan.
    """
    steps: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        steps.setdefault((row.experiment_id, row.role), {})[row.step] = row.config
    found = {}
    for whole, of_role in steps.items():
        last = next(iter(of_role))
        if len(of_role) > 1:  # a plan is only made where it is needed
            # Not checked again: its data or model may have left the catalog.
            plan = plan_of(ExperimentConfig.unchecked(of_role[last]))
            last = max(of_role, key=lambda step: (plan.place(step), step))
        found[whole] = last
    return found


_TABLE_COLUMNS = (
    "id",
    "experiment",
    "name",
    "starred",
    "role",
    "step",
    "model",
    "accuracy",
    "seeds",
    "parameters",
    "status",
    "created_at",
)


def _setting_names() -> list[str]:
    return [name for name in all_settings() if name not in {*NOT_SETTINGS, "seeds"}]


def _table_row(members: Sequence[Any], by_seed: bool, hidden: set[str]) -> dict[str, Any]:
    first = members[0]
    accuracies = [row.summary["test_accuracy"] for row in members if row.finished_at is not None]
    shown = first.role == "teacher" or first.experiment_id not in hidden
    expected = 1 if by_seed or first.role == "teacher" else first.config.get("seeds", 1)
    settings = {name: stored_setting(first.config, name) for name in _setting_names()}
    meant = set(role_settings(first.role, first.config))
    return {
        "id": first.run if by_seed else f"{first.experiment_id}:{first.role}",
        "experiment": first.experiment_id,
        "name": first.name,
        "starred": first.starred,
        "role": first.role,
        "step": first.step,
        "model": first.model,
        "accuracy": sum(accuracies) / len(accuracies) if accuracies and shown else None,
        "seeds": first.seed if by_seed else len(members),
        "parameters": first.parameters,
        "status": JobStatus.FINISHED.value if len(accuracies) == expected else first.status,
        "created_at": first.created_at,
        **{name: value if name in meant else None for name, value in settings.items()},
    }


def differing_settings(table: pd.DataFrame) -> list[str]:
    """Return the settings in which rows of the table differ where they matter, in the config's
    order.

    "teacher" and "student" are left out: the column "model" says them.
    """
    return [
        name
        for name in _setting_names()
        if name not in ("teacher", "student")
        and len({repr(value) for value in _meant(table, name)}) > 1
    ]


def _meant(table: pd.DataFrame, name: str) -> list[Any]:
    """The values of the rows whose role depends on the setting."""
    matters = [
        name in role_settings(role, {"method": method or "logits", "plan": plan or "distil"})
        for role, method, plan in zip(table["role"], table["method"], table["plan"], strict=True)
    ]
    return (
        table.loc[matters, name].astype(object).where(lambda column: column.notna(), None).tolist()
    )
