"""Language models in an experiment: made, measured on held-out texts, and kept with their heads."""

from __future__ import annotations

import time
from functools import partial

import keras
import numpy as np

from kdcore.config.experiment import ExperimentConfig
from kdcore.data.datasets import Dataset
from kdcore.errors import ModelError
from kdcore.models.language_model import build_head, start_from_layers
from kdcore.plans import Step
from kdcore.plans.pretraining import Pretraining
from kdcore.storage.arrays import pack_many, unpack_many
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.tasks.text import beginnings, texts_of
from kdcore.training.evaluation import model_to_bytes, versions
from kdcore.training.language_model import GuessedWords, LanguageModel, LanguageModelTrainer
from kdcore.training.loop import Loop, student_order
from kdcore.work.learners import Learners, Training

Model = tuple[keras.Model, keras.Layer]


def head_key(run_id: str) -> str:
    """Return the artifact that holds the head of a language model's run."""
    return f"language_model_head/{run_id}"


def language_model(
    dataset: Dataset, network: keras.Model, how: Pretraining, seed: int, teacher: Model | None
) -> LanguageModel:
    """Return a language model at its start: fresh, or with some of its teacher's layers.

    Raises ModelError where network or teacher do not fit.
    """
    assert dataset.vocabulary is not None, "language models are for texts"
    head = build_head(network, seed)
    if teacher is not None and how.layers:
        start_from_layers((network, head), teacher, how.layers)
    numbers = dataset.vocabulary.numbers
    if numbers.first >= numbers.count:
        raise ModelError(
            f"a language model needs a vocabulary whose special tokens come before its words, got {numbers}"
        )
    return LanguageModel(network, head, how, numbers, seed, teacher)


def language_training(
    learners: Learners,
    step: Step,
    config: ExperimentConfig,
    seed: int,
    teacher: Model | None,
    *,
    compiled: bool = False,
) -> Training:
    """Return the training of a language model at its start, its steps ``compiled`` with XLA or
    not.
    """
    assert step.pretraining is not None, "it is one"
    dataset, network = learners.dataset, learners.build(step.network, seed)
    words = language_model(dataset, network.model, step.pretraining, seed, teacher)
    words.compile(keras.optimizers.Adam(config.teacher_learning_rate))
    examples = len(dataset.train)
    return learners.training(
        network,
        Loop(LanguageModelTrainer(words), dataset.scale, jit_compile=compiled),
        np.zeros(examples, np.int32),  # it sees no label
        partial(student_order, examples, seed),
        config.teacher_batch_size,
    )


def language_model_of(store: Store, run: Run, network: keras.Model) -> Model:
    """Return a trained language model of the store: its network, and its head."""
    head, data = build_head(network, run.seed), store.artifact(head_key(run.id))
    assert data is not None, f"run {run.id} is finished and so has a head"
    arrays = unpack_many(data)
    for number, variable in enumerate(head.variables):
        variable.assign(arrays[f"v{number}"])
    return network, head


def guessed_words(
    model: LanguageModel, dataset: Dataset, split: str = "validation"
) -> GuessedWords:
    """Return what measures a language model on the texts of a part.

    The game is played with the beginnings of texts that people see.
    """
    assert dataset.vocabulary is not None
    assert dataset.probe.texts is not None
    shown = beginnings(texts_of(dataset.probe.texts))
    game = dataset.vocabulary.encode(map(str, shown))
    return GuessedWords(model, getattr(dataset, split).inputs, game)


def finish_language_model(store: Store, run: Run, model: LanguageModel, dataset: Dataset) -> None:
    """Measure a trained language model, store it, and only then call its run finished."""
    arrays = {f"v{number}": np.asarray(each) for number, each in enumerate(model.head.variables)}
    store.put_artifacts(
        {f"model/{run.id}": model_to_bytes(model.network), head_key(run.id): pack_many(arrays)}
    )
    before = store.run(run.id).summary
    summary = {"seconds": 0.0, **before, "dataset": dataset.fingerprint, "versions": versions()}
    for split in ("validation", "test"):
        found = guessed_words(model, dataset, split).validation()
        summary |= {
            f"{split}_masked_loss": found["loss"],
            f"{split}_masked_accuracy": found["accuracy"],
        }
    store.update_run(run.id, summary=summary, finished_at=time.time())
    store.delete_artifacts(f"checkpoint/{run.id}")
