"""What an experiment has to show: the same numbers for the pages, the command line and the
library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore import plans
from kdcore.analysis.ensembles import Ensemble, ensemble, mean_probabilities
from kdcore.analysis.pseudo_labels import stored_mistakes
from kdcore.analysis.statistics import PairedGain, paired_gain
from kdcore.analysis.temperature import soften_report
from kdcore.config.catalog import dataset_card, own_model, short_name
from kdcore.config.experiment import ExperimentConfig, taught_at
from kdcore.errors import StoreError, require
from kdcore.plans.base import of_which_unlabelled
from kdcore.storage.arrays import unpack, unpack_many
from kdcore.storage.schema import ROLES, Experiment, ExperimentRun, Job, JobStatus, Run
from kdcore.storage.store import Store
from kdcore.tasks.glyphs import features_in_words

PRETRAINED = "pretrained"  # the role of a language model, which learns no labels


@dataclass
class Results:
    """An experiment in the store, live or finished."""

    experiment: Experiment
    job: Job
    links: list[tuple[ExperimentRun, Run]]

    @property
    def config(self) -> ExperimentConfig:
        """What was asked for."""
        return ExperimentConfig(**self.experiment.config)

    @property
    def status(self) -> JobStatus:
        """The experiment's status."""
        return JobStatus(self.job.status)

    @property
    def steps(self) -> dict[str, str]:
        """The role of each step of the plan that has begun and learns labels, by the step's name,
        in order.
        """
        return {link.step: link.role for link, _ in self.links if link.role in ROLES}

    def stands_for(self, role: str) -> str:
        """Return the step that stands for ``role`` where one model of it is shown: the last.

        Of several generations it is the one that was trained for.
        """
        return next((step for step, of in reversed(self.steps.items()) if of == role), role)

    def runs(self, role: str) -> list[Run]:
        """Return the runs of the step that stands for a role, by seed."""
        return self.runs_of_step(self.stands_for(role))

    def runs_of_step(self, step: str) -> list[Run]:
        """Return the runs of a step, by seed."""
        return [run for link, run in self.links if link.step == step]

    @property
    def teacher_features(self) -> str:
        """How students came by what they compare of their teacher's layers, in words; empty where
        they compare nothing, or their images change.
        """
        said = [run.summary.get("teacher_features", "") for _, run in self.links]
        return "; ".join(dict.fromkeys(filter(None, said)))

    @property
    def compiled_steps(self) -> str:
        """Which networks had their steps compiled with XLA or not, and why, in sentences; empty
        where that was not measured.
        """
        said = {
            f"Steps of {short_name(run.model)} are {run.summary['xla']['words']}."
            for _, run in self.links
            if run.summary.get("xla", {}).get("words")
        }
        return " ".join(sorted(said))

    def reused(self, step: str) -> bool:
        """Return whether runs of a step were found already trained."""
        return any(link.reused for link, _ in self.links if link.step == step)

    def stand_ins(self) -> list[tuple[ExperimentRun, Run]]:
        """Return the runs of the steps that stand for their roles, in the order of the plan."""
        chosen = {self.stands_for(role) for role in self.steps.values()}
        return [(link, run) for link, run in self.links if link.step in chosen]

    def accuracies(self, role: str) -> list[float]:
        """Return test accuracies (fractions) of the finished runs of a role, by seed."""
        return tested(self.runs(role))

    def validation_accuracy(self, role: str) -> float | None:
        """Return the mean validation accuracy (a fraction) of a role's finished runs, None while
        there is none.
        """
        found = [
            run.summary["validation_accuracy"]
            for run in self.runs(role)
            if run.finished_at is not None
        ]
        return float(np.mean(found)) if found else None


def tested(runs: Sequence[Run]) -> list[float]:
    """Return the test accuracies (fractions) of the finished ones among ``runs``."""
    return [run.summary["test_accuracy"] for run in runs if run.finished_at is not None]


def load_results(store: Store, experiment_id: str) -> Results:
    """Read an experiment; raises StoreError for an unknown id."""
    return Results(
        store.experiment(experiment_id), store.job(experiment_id), store.runs_of(experiment_id)
    )


def gain(store: Store, results: Results, confidence: float = 0.95) -> PairedGain | None:
    """Return the paired gain of student over baseline over the seeds that have both, None before
    there is one.
    """
    return gain_between(store, results.runs("student"), results.runs("baseline"), confidence)


def gain_between(
    store: Store, first: Sequence[Run], second: Sequence[Run], confidence: float = 0.95
) -> PairedGain | None:
    """Return the paired gain in test accuracy of the ``first`` runs over the ``second``, over the
    seeds that have both; None before there is one.
    """
    better, other = (
        {run.seed: run for run in runs if run.finished_at is not None} for runs in (first, second)
    )
    seeds = sorted(better.keys() & other.keys())
    if not seeds:
        return None
    pairs = [[run[seed].summary["test_accuracy"] for seed in seeds] for run in (better, other)]
    if len(seeds) > 1:
        test_examples = better[seeds[0]].summary["test_examples"]
        return paired_gain(pairs[0], pairs[1], test_examples=test_examples, confidence=confidence)
    return paired_gain(
        pairs[0],
        pairs[1],
        student_correct=correct(store, better[seeds[0]]),
        baseline_correct=correct(store, other[seeds[0]]),
        confidence=confidence,
    )


@dataclass(frozen=True)
class Descendant:
    """One step of a plan, and what it gained over the one that taught it.

    ``accuracies`` are fractions on test data, by seed. ``gain_over_teacher`` and
    ``gain_over_first`` are paired over the seeds, against the step that taught it and the first of
    the plan; None where those are not trained once for each seed. ``gain_of_student`` is the
    student's over this step, where it is a baseline.
    """

    step: plans.Step
    runs: list[Run]
    gain_over_teacher: PairedGain | None
    gain_over_first: PairedGain | None
    gain_of_student: PairedGain | None = None

    @property
    def accuracies(self) -> list[float]:
        """Test accuracies (fractions) of what is trained, by seed."""
        return tested(self.runs)

    @property
    def pseudo_labels(self) -> dict[str, Any] | None:
        """What its first seed's pseudo-labels were like, None for a step without."""
        run = first_described(self.runs)
        return None if run is None else run.summary["pseudo_labels"]


def lineage(store: Store, results: Results) -> list[Descendant]:
    """Return the steps of an experiment's plan that learn labels, without the plain baseline, in
    order.
    """
    steps = [
        step
        for step in plans.plan_of(results.config).steps
        if step.pretraining is None and (step.role != "baseline" or step.needs)
    ]
    of_seeds = {step.name: step.seed is None for step in steps}

    def over(step: plans.Step, other: str | None) -> PairedGain | None:
        if other is None or other == step.name or not (of_seeds[step.name] and of_seeds[other]):
            return None
        return gain_between(store, results.runs_of_step(step.name), results.runs_of_step(other))

    student = next(step for step in reversed(steps) if step.role == "student")
    return [
        Descendant(
            step,
            results.runs_of_step(step.name),
            over(step, step.taught_by[0] if len(step.taught_by) == 1 else None),
            over(step, steps[0].name),
            over(student, step.name) if step.role == "baseline" else None,
        )
        for step in steps
    ]


def ensembles(store: Store, results: Results, temperature: float = 1.0) -> dict[str, Ensemble]:
    """Return for each generation after the first what it and those before it answer together, by
    step; nothing for plans without generations, and for what is not trained yet.

    Furlanello 2018: the mean of the probabilities of all students, here at ``temperature``; without
    the teacher, which had other labels to learn from.
    """
    config = results.config
    if not config.plan.in_generations:
        return {}
    students = [step.name for step in plans.plan_of(config).steps if step.role == "student"]
    trained = [
        {run.seed: run for run in results.runs_of_step(name) if run.finished_at is not None}
        for name in students
    ]
    answers: dict[str, NDArray[np.float32]] = {}
    found: dict[str, Ensemble] = {}
    for count in range(2, len(students) + 1):
        members = trained[:count]
        seeds = sorted(set.intersection(*(set(runs) for runs in members)))
        if not seeds:
            continue
        labels = examples(store, members[0][seeds[0]].summary["dataset"], "test")["labels"]
        right = []
        for seed in seeds:
            runs = [of_step[seed] for of_step in members]
            for run in runs:
                if run.id not in answers:
                    answers[run.id] = logits(store, run, "test")
            together = mean_probabilities([answers[run.id] for run in runs], temperature)
            right.append(together.argmax(axis=1) == labels)
        last = [answers[members[-1][seed].id].argmax(axis=1) == labels for seed in seeds]
        found[students[count - 1]] = ensemble(count, temperature, right, last)
    return found


def who_saw_what(config: ExperimentConfig) -> str:
    """Say in a sentence or two what teacher, student and baseline learn from."""
    if config.omitted_classes:
        omitted = f" Student and baseline never see an example of {config.omitted_classes}"
        omitted += ", nor one without a label: it could be of these." if config.unlabelled else "."
        return _who_saw_what(config.replace(omitted_classes=""), 0) + omitted
    return _who_saw_what(config, config.unlabelled)


def _who_saw_what(config: ExperimentConfig, without: int) -> str:
    """Say it of an experiment with so many examples ``without`` a label."""
    examples = config.labelled
    teacher = f"The teacher learns from all {examples:,} true labels."
    if config.labels is not None and config.label_budget_for == "everyone":
        teacher = f"Nobody knows more than {config.labels:,} of {examples:,} true labels."
    if of_plan := config.plan.who_saw_what(config, teacher, without):
        return of_plan
    own = own_model(config.teacher)
    if own is not None and own.kind == "file":
        teacher = "The teacher is a trained model of your own; if it was trained on the test data, its accuracy flatters it."
    known = examples if config.labels is None else min(config.labels, examples)
    if known == examples and not without:
        return (
            f"{teacher} Student and baseline see the very same batches with every true label; "
            "the student also sees the teacher's answers."
        )
    return (
        f"{teacher} The student sees {known:,} true labels and the teacher's answers for all {examples + without:,} "
        f"examples{of_which_unlabelled(without)}; the baseline sees the same {known:,} labels, for as many steps, every batch full of them."
    )


def logits(store: Store, run: Run, split: str) -> NDArray[np.float32]:
    """Return a finished run's logits [examples, classes] of ``"validation"`` or ``"test"``."""
    data = store.artifact(f"logits/{run.id}/{split}")
    assert data is not None, f"run {run.id} is finished and so has {split} logits"
    return unpack(data)


def examples(store: Store, dataset_key: str, split: str) -> dict[str, NDArray]:
    """Return ``labels`` and, for "probe" and "test", ``images`` of a dataset that a worker has
    stored.

    The images of a table are its rows drawn as bars; ``features`` [n, f] in their own units, their
    ``centre`` and ``spread`` [f] are there too.
    """
    data = store.artifact(f"examples/{dataset_key}/{split}")
    return {} if data is None else unpack_many(data)


def example_in_words(shown: dict[str, NDArray], index: int, feature_names: Sequence[str]) -> str:
    """Say what a row of a table holds where it is furthest from the middle; nothing for an image.

    ``shown`` is what :func:`examples` returned, ``feature_names`` those of the dataset's card.
    """
    if "features" not in shown or index >= len(shown["features"]):
        return ""
    return features_in_words(
        shown["features"][index], shown["centre"], shown["spread"], feature_names
    )


def correct(store: Store, run: Run) -> NDArray[np.bool_]:
    """Return which test examples a finished run gets right."""
    labels = examples(store, run.summary["dataset"], "test")["labels"]
    return logits(store, run, "test").argmax(axis=1) == labels


def summary(store: Store, experiment_id: str) -> dict[str, Any]:
    """Return an experiment's result as one JSON-able object; docs/command-line.md has its keys."""
    results = load_results(store, experiment_id)
    seconds = {
        part: results.experiment.seconds.get(part, 0.0)
        for part in ("teacher", "teacher_logits", "students")
    }
    if "pretraining" in results.experiment.seconds:
        seconds["pretraining"] = results.experiment.seconds["pretraining"]
    found = gain(store, results)
    answer: dict[str, Any] = {
        "experiment": experiment_id,
        "status": results.status.value,
        "error": results.job.error,
        "config": results.experiment.config,
    }
    for step in plans.plan_of(results.config).steps:
        runs = results.runs_of_step(step.name)
        if step.pretraining is not None:
            answer[step.name] = {**guessed(step, runs), "reused": results.reused(step.name)}
            continue
        accuracies = tested(runs)
        if step.seed is not None:  # one teacher serves all seeds
            accuracies = accuracies * results.config.seeds
        answer[step.name] = {
            "model": runs[0].model if runs else step.network,
            "accuracy": accuracies,
            "validation_accuracy": [
                run.summary["validation_accuracy"] for run in runs if run.finished_at is not None
            ],
            "parameters": runs[0].parameters if runs else None,
            "reused": results.reused(step.name),
        }
    answer["gain"] = found.to_dict() if found else None
    described = lineage(store, results)
    over_teachers = {
        each.step.name: each.gain_over_teacher.to_dict()
        for each in described
        if each.gain_over_teacher is not None
    }
    of_student = {
        each.step.name: each.gain_of_student.to_dict()
        for each in described
        if each.gain_of_student is not None
    }
    if of_student:
        answer["gains_over_baselines"] = of_student
    if over_teachers:
        answer["gains_over_teachers"] = over_teachers
    together = ensembles(store, results)
    if together:
        answer["ensembles"] = {name: each.to_dict() for name, each in together.items()}
        softened = ensembles(store, results, taught_at(results.experiment.config))
        for name, each in softened.items():
            answer["ensembles"][name]["softened"] = {
                "temperature": each.temperature,
                "accuracy": list(each.accuracies),
            }
    mistakes = mistakes_by_step(store, results)
    if mistakes:
        answer["confident_mistakes"] = mistakes
    answer["seconds"] = {**seconds, "total": sum(seconds.values())}
    return answer


def first_described(runs: Sequence[Run]) -> Run | None:
    """Return the first of ``runs`` that says what its pseudo-labels were like, None for none."""
    return next((run for run in runs if "pseudo_labels" in run.summary), None)


def mistakes_by_step(store: Store, results: Results) -> dict[str, list[dict[str, Any]]]:
    """Return the most confident wrong pseudo-labels of each step that learned from such, the surest
    first, ready for JSON: row of the dataset, class given, true class and confidence.
    """
    answer: dict[str, list[dict[str, Any]]] = {}
    for step in plans.plan_of(results.config).steps:
        run = first_described(results.runs_of_step(step.name))
        found = None if run is None else stored_mistakes(store, run)
        if found is None:
            continue
        names = dataset_card(results.config.dataset).class_names
        answer[step.name] = [
            {
                "row": int(row),
                "given": names[given],
                "true": names[label],
                "confidence": float(confidence),
            }
            for row, given, label, confidence in zip(
                *(found[name] for name in ("rows", "given", "labels", "confidence")), strict=True
            )
        ]
    return answer


def guessed(step: plans.Step, runs: Sequence[Run]) -> dict[str, Any]:
    """Return how well a language model guesses masked tokens that it never saw: mean cross-entropy
    (nats a token) and share guessed right, on validation and test texts; None while not trained.
    """
    found = next((run.summary for run in runs if run.finished_at is not None), {})
    measured = {
        f"{split}_{name}": found.get(f"{split}_{name}")
        for split in ("validation", "test")
        for name in ("masked_loss", "masked_accuracy")
    }
    return {"model": step.network, "parameters": runs[0].parameters if runs else None, **measured}


def language_losses(results: Results) -> dict[str, float]:
    """Return the mean cross-entropy (nats a token) of each trained language model on masked tokens
    of validation texts, by its step.
    """
    return {
        link.step: float(run.summary["validation_masked_loss"])
        for link, run in results.links
        if link.role == PRETRAINED and run.finished_at is not None
    }


def soften(
    store: Store, experiment_id: str, temperature: float, seed: int | None = None
) -> dict[str, Any]:
    """Return the temperature page's numbers for an experiment's models at T, ready for JSON.

    The numbers of :func:`~kdcore.analysis.temperature.soften_report` on test data, with
    "experiment", "teacher_run" and "seed"; student and baseline are those of ``seed``, the
    experiment's first by default, and None until they are trained. Raises StoreError for an unknown
    experiment or one whose teacher is not trained, ConfigError for an unknown seed or a temperature
    not above 0.
    """
    results = load_results(store, experiment_id)
    config = results.config
    seeds = range(config.seed, config.seed + config.seeds)
    seed = config.seed if seed is None else seed
    require(
        seed in seeds,
        "seed",
        f"between {seeds[0]} and {seeds[-1]}, the seeds of the experiment",
        seed,
    )
    once = {step.name: step.seed is not None for step in plans.plan_of(config).steps}
    trained = {
        link.role: run
        for link, run in results.stand_ins()
        if run.finished_at and (once[link.step] or link.seed == seed)
    }
    if "teacher" not in trained:
        raise StoreError(
            f"the teacher of experiment {experiment_id} is not trained: the experiment is {results.status}"
        )
    teacher = trained["teacher"]
    labels = {
        split: examples(store, teacher.summary["dataset"], split)["labels"]
        for split in ("test", "validation")
    }
    answers = [
        logits(store, trained[role], "test") if role in trained else None
        for role in ("student", "baseline")
    ]
    report = soften_report(
        logits(store, teacher, "test"),
        labels["test"],
        temperature,
        dataset_card(config.dataset).class_names,
        student_logits=answers[0],
        baseline_logits=answers[1],
        validation_logits=logits(store, teacher, "validation"),
        validation_labels=labels["validation"],
    )
    return {"experiment": experiment_id, "teacher_run": teacher.id, "seed": seed, **report}
