"""An experiment from config to result: teacher, its logits, then student and baseline in step, seed
by seed.

Every step is found again in the store when it is done already, so running the same experiment once
more after a crash or a stop goes on where it ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore import plans
from kdcore.analysis.brought_teacher import keep_look
from kdcore.analysis.pseudo_labels import (
    confident_mistakes,
    describe_selection,
    mistakes_key,
    select_examples,
)
from kdcore.config import pretrained
from kdcore.config.catalog import own_model, short_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.engine.workers import mark_interrupted
from kdcore.errors import ConfigError, ModelError, Problem
from kdcore.losses.teachers import confidence_weights, mean_teacher_logits
from kdcore.methods.features import kept_bytes, why_live
from kdcore.models.precision import resolve_precision
from kdcore.models.pretrained import check as check_pretrained
from kdcore.plans import Plan, Step
from kdcore.storage.arrays import pack, pack_many
from kdcore.storage.schema import ROLES, Job, Run
from kdcore.storage.store import Store, new_id
from kdcore.storage.user_models import fit_in_words
from kdcore.training import kept_loops
from kdcore.training.callbacks import MetricStream
from kdcore.training.evaluation import (
    ValidationProbe,
    display_images,
    evaluate,
    features,
    model_to_bytes,
    store_examples,
    training_examples,
    versions,
)
from kdcore.training.language_model import LanguageModelTrainer
from kdcore.training.loop import (
    Learner,
    Network,
    train_together,
)
from kdcore.training.teacher_features import (
    compared_layers,
    kept_values,
    training_features,
)
from kdcore.training.teacher_logits import for_answers, logits_of_run, training_logits
from kdcore.words import in_bytes
from kdcore.work.answers import Answers, Comparison, Kept, Tapped, Taught
from kdcore.work.compared_maps import MapPair, keep_teachers_maps, map_pairs
from kdcore.work.compiling import Compiling
from kdcore.work.layer_pairs import find_layer_pairs
from kdcore.work.learners import Learners, in_training
from kdcore.work.own_model import look, network_of_file
from kdcore.work.pretraining import (
    finish_language_model,
    guessed_words,
    language_model_of,
    language_training,
)
from kdcore.work.progress import Progress

SECONDS_BETWEEN_POLLS = 0.5  # of who waits for what another experiment trains


def experiment_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Train the experiment of the job's id."""
    run_experiment(store, job.id, check=check, **job.payload)


def run_experiment(
    store: Store,
    experiment_id: str,
    *,
    reuse: str = "teacher",
    parts: Sequence[str] = ROLES,
    check: Callable[[], None] = lambda: None,
    watch: Callable[[int, int, float], None] | None = None,
    keeps_attention: bool = True,
) -> None:
    """Carry out a stored experiment, or what is left of it.

    Args:
        store: holds the experiment, and gets its results.
        experiment_id: the experiment.
        reuse: which runs that are trained already may serve again: "none", "teacher" or "all".
        parts: the roles to train; a sweep trains what its cells share, a teacher or baselines, by
            itself.
        check: called between batches; may raise to end the work.
        watch: called with a student's seed, epoch and accuracy on validation data at every epoch's
            end.
        keeps_attention: whether to keep, epoch by epoch, where the models look; a sweep, which
            nobody looks at so closely, does without.

    Raises KDLabError for what a user can mend.
    """
    config = ExperimentConfig(**store.experiment(experiment_id).config)
    plan = plans.plan_of(config)
    steps = plan.needed(parts)
    once = [step for step in steps if step.seed is not None]
    rounds = plan.rounds(steps)
    progress = Progress(
        store,
        experiment_id,
        check,
        phases=1
        + sum(1 if step.pretraining else 2 for step in once)
        + config.seeds * (len(rounds) + _asked_in(rounds)),
    )
    progress.begin(f"loading {short_name(config.dataset)}")
    dataset = datasets.load(config)
    store.update_experiment(
        experiment_id, dataset_key=dataset.fingerprint
    )  # first: a purge leaves in place what is used
    store_examples(store, dataset)
    learners = Learners(store, config, dataset, watch, keeps_attention)
    experiment = _Job(store, experiment_id, config, plan, dataset, reuse, progress, learners)
    for step in once:
        if step.pretraining is not None:
            experiment.runs[step.name] = experiment.pretrain(step)
            continue
        run, network = experiment.teacher(step)
        experiment.runs[step.name] = run
        experiment.answers[step.name] = experiment.ask(step, run, network)
    by_seed = [
        config.replace(seed=seed, seeds=1)
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    waiting = [each for each in by_seed if not experiment.train_seed(rounds, each, wait=False)]
    for each in waiting:  # for what another experiment was training at the time
        experiment.train_seed(rounds, each, wait=True)


def _in_words(steps: Sequence[Step]) -> str:
    """Say which learners a round trains: "student and baseline conv-8-16"."""
    later = f" of generation {steps[0].generation}" if steps[0].generation > 1 else ""
    networks = dict.fromkeys(short_name(step.network) for step in steps)
    names = [step.role for step in steps]
    if len(set(names)) < len(names):  # two baselines, which differ in their start
        names = [step.name for step in steps]
    return f"{' and '.join(names)}{later} {', '.join(networks)}"


def _asked_in(rounds: Sequence[Sequence[Step]]) -> int:
    """Return how many learners of a seed are asked for answers by later ones."""
    learners = {step.name for steps in rounds for step in steps}
    return len({name for steps in rounds for step in steps for name in step.taught_by} & learners)


@dataclass
class _Timing:
    reused: bool = False


@dataclass
class _Job:
    """The parts that the steps of one experiment share."""

    store: Store
    experiment_id: str
    config: ExperimentConfig
    plan: Plan
    dataset: Dataset
    reuse: str
    progress: Progress
    learners: Learners
    # What each step that is trained once answers, and its run, by its name.
    answers: dict[str, Answers] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    # Of each step that is compared with its teacher's layers, the latest.
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    _networks_fit: bool = False
    # Of each step that is taught by feature maps, which of them.
    _pairs: dict[str, tuple[MapPair, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.compiling = Compiling(
            self.store, self.experiment_id, self.learners, partial(self.progress.update, 0.0)
        )

    @contextmanager
    def timed(self, part: str) -> Iterator[_Timing]:
        """Add the time of the block to the experiment's account, also when it is stopped.

        Nothing if reused.
        """
        timing, began = _Timing(), time.perf_counter()
        try:
            yield timing
        finally:
            if not timing.reused:
                self.store.add_seconds(self.experiment_id, part, time.perf_counter() - began)

    def trained_as(self, step: Step, config: ExperimentConfig) -> ExperimentConfig:
        """Return the config of a seed with what a step takes from the plan in its place."""
        own = {
            name: value
            for name, value in step.settings(config).items()
            if getattr(config, name) != value
        }
        return config.model_copy(update=own) if own else config

    def claim(
        self, step: Step, config: ExperimentConfig, reuse: bool, wait: bool = True
    ) -> tuple[Run, bool] | None:
        """Find or create the run of a step; returns it and whether it is trained already.

        While another live experiment trains the very same model, this one waits for it rather than
        doing it twice, and takes it over where its worker is gone; None where it is told not to
        ``wait``.
        """
        run = Run(
            id=new_id(),
            fingerprint=self.plan.fingerprint(config, step.name),
            role=step.role,
            seed=config.seed if step.seed is None else step.seed,
            model=step.network,
            config=self.trained_as(step, config).model_dump(mode="json"),
            experiment_id=self.experiment_id,
            created_at=time.time(),
        )
        while True:
            claimed, owner = self.store.claim_run(
                run, self.experiment_id, share=reuse, step=step.name
            )
            if owner is None:
                trained = claimed.finished_at is not None
                if not trained:
                    self.check_networks()
                return claimed, trained
            if not wait:
                return None
            self.progress.update(
                0.0, f": experiment {owner} is training the same one, waiting for it"
            )
            # Whoever tends the other may be gone with its worker.
            mark_interrupted(self.store, owner)
            time.sleep(SECONDS_BETWEEN_POLLS)

    def check_networks(self) -> None:
        """Raise ModelError for a pretrained network of the plan that cannot be had or does not read
        the data, and for one that its noise does not go into, before any other is trained.
        """
        if self._networks_fit:
            return
        for name in dict.fromkeys(step.network for step in self.plan.steps):
            if name.startswith(pretrained.HEAD):
                check_pretrained(name, self.dataset.input_shape, self.dataset.values)
        for step in self.plan.steps:
            if step.leaves_parts_out:
                in_training(self.learners.build(step.network, seed=0).model, step, seed=0)
        self._networks_fit = True

    def ask(self, step: Step, run: Run, network: Callable[[], Network]) -> Answers:
        """Return what a trained step answers to every training example.

        With augmentation, its network itself: it must answer for the very copies of the images that
        the student sees.
        """
        features = self.config.method.needs.teacher == "features"
        if self.learners.keeps_attention:
            keep_teachers_maps(self.store, run, network, self.dataset)
        if self.config.answers_live:
            self.progress.begin(f"the {step.role} will answer live: what the student sees changes")
            # Tapped layers must be there: the short cut through the last ones is for logits alone.
            return network() if features else for_answers(network())
        if features:
            self.progress.begin(f"the {step.role}'s layers will be looked into")
            return Tapped(run, network())
        self.progress.begin(f"asking the {step.role} about every training example")
        return self.logits_of(run, network)

    def logits_of(self, run: Run, network: Callable[[], Network]) -> NDArray[np.float32]:
        """Return the logits of a trained network for all training examples."""
        known = logits_of_run(self.store, run.id)
        if known is not None:
            return known
        with self.timed("teacher_logits") as timing:
            logits, timing.reused = training_logits(self.store, network(), self.dataset, run.id)
        return logits

    def taught(
        self, step: Step, known: Mapping[str, Answers], config: ExperimentConfig
    ) -> Taught | None:
        """Return what a step is taught: its teacher's answers, or the mean of its teachers'."""
        given = [known[name] for name in step.taught_by]
        if not given:
            return None
        if len(given) == 1:
            (only,) = given
            return self.compared(step, only, config) if isinstance(only, Tapped) else only
        logits = [each for each in given if isinstance(each, np.ndarray)]
        if len(logits) < len(given):
            rule = "none, where several teachers answer together"
            raise ConfigError(Problem("augmentation", rule, self.config.augmentation))
        weights = None
        if step.weights == "confidence":
            weights = confidence_weights(logits, self.known_labels(config))
        mean = mean_teacher_logits(logits, config.temperature, weights)
        return np.asarray(mean, np.float32)

    def compared(self, step: Step, teacher: Tapped, config: ExperimentConfig) -> Taught:
        """Return what a student is compared with, computed beforehand; the teacher itself where
        that is too much to keep.

        Seeds that one teacher teaches have it in common.
        """
        known = self.comparisons.get(step.name)
        if known is None or known.teacher_run_id != teacher.run.id:
            known = self.comparisons[step.name] = self.compare(teacher, config)
        return known.taught

    def compare(self, teacher: Tapped, config: ExperimentConfig) -> Comparison:
        """Find out what of a teacher's layers is compared, and compute it or say why not."""
        student = self.learners.build(config.student, config.seed, config.student_start)
        layers = compared_layers(config.method, teacher.network.model, student.model)
        values, examples = kept_values(layers), len(self.dataset.train)
        if reason := why_live(values, examples):
            return Comparison(teacher.run.id, teacher.network, f"asked at every step: {reason}")
        logits = self.logits_of(teacher.run, lambda: teacher.network)
        with self.timed("teacher_logits") as timing:
            features, timing.reused = training_features(
                self.store, teacher.network, self.dataset, layers, teacher.run.id
            )
        kept = Kept(logits, features, teacher.network, tuple(layer.form for layer in layers))
        said = f"computed once, {in_bytes(kept_bytes(values, examples))}"
        return Comparison(teacher.run.id, kept, said)

    def known_labels(self, config: ExperimentConfig) -> NDArray[np.int32]:
        """Return the labels that a seed may see, -1 for all others."""
        labels = np.full(len(self.dataset.train), -1, np.int32)
        rows = self.learners.labelled(config)
        labels[rows] = self.dataset.train.labels[rows]
        return labels

    def teacher(self, step: Step) -> tuple[Run, Callable[[], Network]]:
        """Return a trained teacher, found in the store or trained now: its run, and a function
        that gives its network.
        """
        config = self.trained_as(step, self.config)
        self.progress.begin(f"training the teacher {short_name(config.teacher)}")
        claimed = self.claim(step, self.config, self.reuse != "none")
        assert claimed is not None, "it was waited for"
        run, trained = claimed
        if trained:
            return run, partial(self.learners.network_of, run)
        if self.config.method.needs.teacher == "features":
            find_layer_pairs(self.config, self.dataset)  # refused before a teacher is trained
        own = own_model(config.teacher)
        if own is not None and own.kind == "file":
            return run, self.brought_teacher(run, config)
        with self.timed("teacher"):
            learner = self.begin_teacher(step, run, config, self.runs.get(step.start))
            self.train([learner], config.teacher_epochs)
            self.complete(run, learner.network, self.said_of(step, run, config, None))
        return run, lambda: learner.network

    def pretrain(self, step: Step) -> Run:
        """Return the run of a language model, found in the store or trained now."""
        assert step.pretraining is not None, "it is one"
        self.progress.begin(f"training the {step.name} {short_name(step.network)}")
        claimed = self.claim(step, self.config, self.reuse != "none")
        assert claimed is not None, "it was waited for"
        run, trained = claimed
        if trained:
            return run
        teacher = None
        if step.taught_by:
            taught_by = self.runs[step.taught_by[0]]
            teacher = language_model_of(self.store, taught_by, self.learners.load_model(taught_by))
        with self.timed("pretraining"):
            make = partial(language_training, self.learners, step, self.config, run.seed, teacher)
            compiled = self.compiling.of_language_model(run, step, teacher and teacher[0], make)
            training = make(compiled=compiled)
            assert isinstance(training.loop.trainer, LanguageModelTrainer)
            words = training.loop.trainer.language_model
            measured = guessed_words(words, self.dataset)
            learner = self.learners.begin(run, training, evaluator=measured)
            self.train([learner], step.pretraining.epochs)
            finish_language_model(self.store, run, words, self.dataset)
        return run

    def brought_teacher(self, run: Run, config: ExperimentConfig) -> Callable[[], Network]:
        """Measure a teacher that was added as a trained file: it is used as it is, once it was
        looked at.
        """
        with self.timed("teacher"):
            network, extra = self.brought_network(config), {}
            if config.teacher_inputs == "checked":
                extra = {"examined": self.look_at(run, config)}
            probe = ValidationProbe(network, self.dataset)
            own = own_model(config.teacher)
            assert own is not None, "a file of the user's own"
            self.store.update_run(run.id, parameters=own.parameters)
            self.store.add_probe(run.id, 0, pack(probe.probe_logits()))
            for stream in self.learners.attention_streams(run, network):
                stream.keep(0)
            self.complete(run, network, extra)
        return lambda: network

    def brought_network(self, config: ExperimentConfig) -> Network:
        """Return the teacher of a file, with its inputs as the config says."""
        said = config.teacher_inputs not in ("checked", "as added")
        inputs = config.teacher_inputs if said else None
        return network_of_file(config.teacher, self.dataset, inputs)

    def look_at(self, run: Run, config: ExperimentConfig) -> dict[str, Any]:
        """Look at a brought teacher on labelled validation examples, with its inputs as assumed
        and in other ranges; returns what was seen, and keeps it with its run.

        Raises ModelError, with the way out, where it cannot be trained with silently.
        """
        found = look(config.teacher, self.dataset)
        keep_look(self.store, config.teacher, config.dataset, found)
        self.store.update_run(run.id, summary={"examined": found.to_dict()})
        if found.problem:
            ways = " or ".join(f'"{each}"' for each in found.ways)
            mend = f"to {ways} if that is right, or " if ways else ""
            raise ModelError(
                f"the teacher {short_name(config.teacher)} is {found}. "
                f"Set the values that it sees (teacher-inputs) {mend}"
                'to "as added" to train with it as it is'
            )
        return found.to_dict()

    def train_seed(
        self, rounds: Sequence[Sequence[Step]], config: ExperimentConfig, *, wait: bool
    ) -> bool:
        """Train the learners of one seed, round by round.

        Returns False where one is left because another experiment is training it: only if told not
        to ``wait``.
        """
        answers, runs = dict(self.answers), dict(self.runs)
        asked = {name for steps in rounds for step in steps for name in step.taught_by}
        of_seed = f", seed {config.seed}" if self.config.seeds > 1 else ""
        for steps in rounds:
            if not wait:
                self.progress.begin(f"training {_in_words(steps)}{of_seed}")
            found = self.train_round(steps, config, answers, runs, wait=wait)
            if found is None:
                return False
            runs |= found
            for step in steps:
                if step.name in asked:
                    run = runs[step.name]
                    network = partial(self.learners.network_of, run)
                    answers[step.name] = self.ask(step, run, network)
        return True

    def train_round(
        self,
        steps: Sequence[Step],
        config: ExperimentConfig,
        answers: Mapping[str, Answers],
        trained: Mapping[str, Run],
        *,
        wait: bool,
    ) -> dict[str, Run] | None:
        """Train the learners of one round of one seed side by side, from the same start on the same
        batches.

        Returns their runs by step; None where one of them is left to another experiment, which is
        training it.
        """
        claims = {step.name: self.claim(step, config, self.may_reuse(step), wait) for step in steps}
        left = [
            (step, claimed[0], self.trained_as(step, config))
            for step in steps
            if (claimed := claims[step.name]) is not None and not claimed[1]
        ]
        if left:
            teaching = steps[0].role == "teacher"
            taught = {step.name: self.taught(step, answers, own) for step, _, own in left}
            self.learners.pairs = self.pairs_to_show(left, taught, trained)
            with self.timed("teacher" if teaching else "students"):
                if teaching:
                    learners = [self.begin_teacher(step, run, own) for step, run, own in left]
                else:
                    learners = self.begin_students(left, taught, trained)
                epochs = config.teacher_epochs if teaching else config.epochs
                if (
                    len({learner.step for learner in learners}) > 1
                ):  # one came from elsewhere: one after the other
                    for learner in learners:
                        self.train([learner], epochs)
                else:
                    self.train(learners, epochs)
                for (step, run, own), learner in zip(left, learners, strict=True):
                    said = self.said_of(step, run, own, taught[step.name])
                    self.complete(run, learner.network, said)
                    kind = None
                    if not teaching:
                        compiled = learner.loop.jit_compile
                        kind = self.learners.kind(step, own, taught[step.name], compiled)
                    if kind is not None:
                        kept_loops.keep(kind, kept_loops.Ready(learner.network, learner.loop))
        found = {name: claimed[0] for name, claimed in claims.items() if claimed is not None}
        return found if len(found) == len(steps) else None

    def pairs_to_show(
        self,
        left: Sequence[tuple[Step, Run, ExperimentConfig]],
        taught: Mapping[str, Taught | None],
        trained: Mapping[str, Run],
    ) -> tuple[MapPair, ...]:
        """Return the feature maps in which the learners of a round are compared, for who looks on,
        and keep the teacher's.
        """
        for step, _, own in left if self.learners.keeps_attention else ():
            given = taught[step.name]
            teacher = given.teacher if isinstance(given, Kept) else given
            if own.method.needs.teacher == "features" and isinstance(teacher, Network):
                return self.kept_pairs(step, own, teacher, trained[step.taught_by[0]])
        return ()

    def kept_pairs(
        self, step: Step, config: ExperimentConfig, teacher: Network, run: Run
    ) -> tuple[MapPair, ...]:
        """Return the feature maps in which a step is compared with its teacher, the same for all
        seeds, and keep the teacher's.
        """
        if step.name not in self._pairs:
            student = self.learners.build(config.student, config.seed, config.student_start)
            self._pairs[step.name] = map_pairs(config.method, teacher.model, student.model)
        pairs = self._pairs[step.name]
        keep_teachers_maps(self.store, run, lambda: teacher, self.dataset, pairs)
        return pairs

    def begin_teacher(
        self, step: Step, run: Run, config: ExperimentConfig, begins_as: Run | None = None
    ) -> Learner:
        """Return a teacher at its start, or where it was stopped."""
        make = partial(self.learners.teacher_training, step, config, begins_as)
        compiled = self.compiling.of_teacher(run, step, config, make)
        return self.learners.begin(run, make(compiled=compiled))

    def begin_students(
        self,
        left: Sequence[tuple[Step, Run, ExperimentConfig]],
        taught: Mapping[str, Taught | None],
        trained: Mapping[str, Run],
    ) -> list[Learner]:
        """Return students and baselines of a round at their start, or where they were stopped."""
        makes = {
            step.name: partial(
                self.learners.student_training,
                step,
                config,
                taught[step.name],
                trained.get(step.start),
            )
            for step, _, config in left
        }
        # A student's step, which has more to do, is what a baseline's follows.
        compiled = {
            step.name: self.compiling.of_student(
                run, step, config, taught[step.name], partial(makes[step.name], kept=False)
            )
            for step, run, config in sorted(left, key=lambda each: each[0].role != "student")
        }
        return [
            self.learners.begin(run, makes[step.name](compiled=compiled[step.name]))
            for step, run, _ in left
        ]

    def may_reuse(self, step: Step) -> bool:
        """Return whether a step's run that is trained already may serve again."""
        return self.reuse == "all" or (step.role == "teacher" and self.reuse != "none")

    def said_of(
        self,
        step: Step,
        run: Run,
        config: ExperimentConfig,
        taught: Taught | None,
    ) -> dict[str, Any]:
        """Return what is kept of how a step was trained, beside its numbers.

        What is too large for a summary is put into the store.
        """
        if step.role == "teacher":
            precision = resolve_precision(config.precision)
            return {"precision": precision.policy, "precision_reason": precision.reason}
        if step.name in self.comparisons:
            return {"teacher_features": self.comparisons[step.name].said}
        if step.selection is None:
            return {}
        rows, labels = self.learners.labelled(config), self.dataset.train.labels
        assert isinstance(taught, np.ndarray), "pseudo-labels are computed beforehand"
        chosen = select_examples(taught, rows, step.selection)
        self.keep_mistakes(run, confident_mistakes(taught, labels, chosen))
        return {"pseudo_labels": describe_selection(taught, labels, rows, chosen)}

    def keep_mistakes(self, run: Run, found: dict[str, NDArray]) -> None:
        """Keep wrong pseudo-labels, with what it takes to show these few training examples."""
        rows = found["rows"]
        if not len(rows):
            return
        split = training_examples(self.dataset, rows)
        shown = {"images": display_images(self.dataset, split), **features(self.dataset, split)}
        data = pack_many({**found, "rows": split.rows, **shown}, compress=True)
        self.store.put_artifact(mistakes_key(run.id), data)

    def train(self, learners: list[Learner], epochs: int) -> None:
        """Train learners in step, reporting and saving on the way."""
        streams = [
            each
            for learner in learners
            for each in learner.callbacks
            if isinstance(each, MetricStream)
        ]

        def report() -> None:
            first = learners[0]
            fraction = first.step / (epochs * first.steps_per_epoch)
            self.progress.update(fraction, f": epoch {min(first.epoch + 1, epochs)} of {epochs}")

        def save(checkpoints: dict[str, bytes]) -> None:
            self.store.put_artifacts(
                {f"checkpoint/{run_id}": data for run_id, data in checkpoints.items()}
            )
            for stream in streams:
                self.store.add_to_summary(stream.run_id, seconds=stream.seconds)

        train_together(learners, epochs, on_chunk=report, save=save)

    def complete(self, run: Run, network: Network, extra: dict[str, Any]) -> None:
        """Measure a trained network, store it, and only then call the run finished."""
        before = self.store.run(run.id).summary
        self.store.put_artifact(f"model/{run.id}", model_to_bytes(network.model))
        figures = evaluate(self.store, run.id, network, self.dataset)
        own = own_model(run.model)
        if own is not None:
            inputs = self.config.teacher_inputs if run.role == "teacher" else "checked"
            extra = {**extra, "fit": fit_in_words(own, self.learners.card, inputs)}
        summary = {"seconds": 0.0, **before, **figures, **extra, "versions": versions()}
        self.store.update_run(run.id, summary=summary, finished_at=time.time())
        self.store.delete_artifacts(f"checkpoint/{run.id}")
