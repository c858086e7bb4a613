"""Asking trained models while one waits: questions and answers go through the store, a warm worker
has the models loaded.

The worker holds one job of kind "predict" for as long as anybody asks, and ends it when nobody has
for a while. It is a worker of a pool of its own: training never takes its place,
and it never takes training's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, update

from kdcore.analysis.attention import AttentionMaps
from kdcore.analysis.results import load_results
from kdcore.config.cards import DatasetCard
from kdcore.config.catalog import dataset_card, own_model
from kdcore.data.readers.pixels import in_bytes_for_show, read_pixels
from kdcore.engine.base import Engine
from kdcore.errors import ConfigError, Problem, StoreError, Words, require
from kdcore.storage.arrays import pack, unpack_many
from kdcore.storage.schema import ROLES, Job, JobStatus, Pool, Prediction, Run
from kdcore.storage.store import Store, new_id
from kdcore.tasks.drawing import dark_on_light, fit, like_digits, like_mnist
from kdcore.tasks.vocabulary import Vocabulary
from kdcore.words import in_bytes

SECONDS_BETWEEN_POLLS = 0.004
SECONDS_KEPT = 60.0
SECONDS_UNTIL_IDLE = 120.0
LARGEST_IMAGE = 8_000_000
LARGEST_TEXT = 100_000
# Before a run's id, among an answer's arrays: the bytes of its attention maps.
ATTENTION = "attention/"

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """What models said to one question: by run id, logits [n, classes] and milliseconds of
    computing one answer; where it was asked for, also where they looked in the first of the n.
    """

    logits: dict[str, NDArray[np.float32]]
    milliseconds: dict[str, float]
    seconds: float  # from question to answer
    attention: dict[str, AttentionMaps] = field(default_factory=dict)


def keep_warm(store: Store, engine: Engine, idle_seconds: float = SECONDS_UNTIL_IDLE) -> Job:
    """See to it that a worker answers questions, now or soon; returns its job: it answers while it
    is running.

    A job that begins with this call ends after ``idle_seconds`` without a question.
    """
    query = (
        select(Job)
        .where(Job.kind == "predict", Job.status.in_(["queued", "running"]))
        .order_by(Job.created_at)
    )
    with store.reading() as session:
        job = session.scalars(query).first()
    if job is None:
        job = Job(
            id=new_id(),
            kind="predict",
            payload={"idle_seconds": idle_seconds},
            pool=Pool.ANSWERS.value,
            created_at=time.time(),
        )
        with store.writing() as session:
            session.add(job)
    engine.submit(job.id)
    return job


def ready(job: Job) -> bool:
    """Return whether the worker of a predict job has loaded what it needs to answer at once."""
    return JobStatus(job.status) is JobStatus.RUNNING and job.progress > 0


def _only_knows_its_dataset(run: Run) -> bool:
    own = own_model(run.model)
    return run.role == "teacher" and own is not None and own.format == "answers"


def trained_models(store: Store, experiment_id: str, seed: int | None = None) -> dict[str, Run]:
    """Return the trained models of an experiment by role, student and baseline of one seed (the
    first by default). A teacher that is a file of answers is left out: it has none to other
    pictures.

    Raises StoreError where none is trained, ConfigError for a seed that the experiment does not
    have.
    """
    links = [
        (link, run)
        for link, run in load_results(store, experiment_id).links
        if run.finished_at is not None and run.role in ROLES
    ]
    links = [(link, run) for link, run in links if not _only_knows_its_dataset(run)]
    runs = [run for _, run in links]
    if not runs:
        raise StoreError(
            f"experiment {experiment_id} has no trained model yet: wait for it, or resume it"
        )
    seeds = sorted({run.seed for run in runs if run.role != "teacher"})
    if seed is not None and seed not in seeds:
        raise ConfigError(Problem("seed", f"one of {', '.join(map(str, seeds))}", seed))
    chosen = seed if seed is not None else (seeds[0] if seeds else None)
    found = {run.role: run for run in runs if run.role != "teacher" and run.seed == chosen}
    teachers = [(link.step, run) for link, run in links if run.role == "teacher"]
    # Of several teachers the first; where it is trained once a seed, that of the seed.
    first = [run for step, run in teachers if step == teachers[0][0]]
    if first:
        found["teacher"] = next((run for run in first if run.seed == chosen), first[0])
    return {role: found[role] for role in ROLES if role in found}


def ask(store: Store, run_ids: Sequence[str], inputs: Images, attention: bool = False) -> int:
    """Put a question: inputs [n, ...] as the models take them, float32, and whether to say where
    they look in the first; returns its number.
    """
    row = Prediction(
        run_ids={"runs": list(run_ids), "attention": attention},
        inputs=pack(inputs.astype(np.float32)),
        asked_at=time.time(),
    )
    with store.writing() as session:
        session.add(row)
        session.flush()
        return row.id


def answer(store: Store, question: int) -> Answer | None:
    """Return the answer to a question, None before there is one.

    Raises StoreError where it could not be answered.
    """
    with store.reading() as session:
        row = session.get(Prediction, question)
    if row is None:
        raise StoreError("the question is no longer in the store: ask again")
    if row.answered_at is None:
        return None
    if row.error is not None:
        raise StoreError(row.error)
    arrays = unpack_many(row.logits or b"")
    attention = {
        name.removeprefix(ATTENTION): AttentionMaps.from_bytes(arrays.pop(name).tobytes())
        for name in list(arrays)
        if name.startswith(ATTENTION)
    }
    return Answer(arrays, row.milliseconds, row.answered_at - row.asked_at, attention)


def predict(
    store: Store,
    engine: Engine,
    run_ids: Sequence[str],
    inputs: Images,
    *,
    attention: bool = False,
    patience: float = 60.0,
    idle_seconds: float = SECONDS_UNTIL_IDLE,
) -> Answer:
    """Ask, and wait for the answer.

    Raises StoreError where none comes within ``patience`` seconds.
    """
    keep_warm(store, engine, idle_seconds)
    began, question = time.monotonic(), ask(store, run_ids, inputs, attention)
    while (found := answer(store, question)) is None:
        waited = time.monotonic() - began
        if waited > patience:
            raise StoreError(
                f"no worker has answered within {patience:g} seconds: see whether one can start, and ask again"
            )
        if waited > 1.0:  # it has just ended, or is only starting
            keep_warm(store, engine, idle_seconds)
        time.sleep(SECONDS_BETWEEN_POLLS if waited < 1.0 else 0.1)
    return found


def waiting(store: Store) -> list[Prediction]:
    """Return the questions that wait for an answer, oldest first.

    Those that nobody waits for any longer are left out.
    """
    query = select(Prediction).where(
        Prediction.answered_at.is_(None), Prediction.asked_at > time.time() - SECONDS_KEPT
    )
    with store.reading() as session:
        return list(session.scalars(query.order_by(Prediction.id).limit(32)))


def put_answer(
    store: Store,
    question: int,
    *,
    logits: bytes | None = None,
    milliseconds: dict[str, float] | None = None,
    error: str | None = None,
) -> None:
    """Store what the models said, or why they could not."""
    values = {
        "logits": logits,
        "milliseconds": milliseconds or {},
        "error": error,
        "answered_at": time.time(),
    }
    with store.writing() as session:
        session.execute(update(Prediction).where(Prediction.id == question).values(**values))


def forget_old(store: Store) -> None:
    """Delete questions that nobody waits for any longer."""
    with store.writing() as session:
        session.execute(delete(Prediction).where(Prediction.asked_at < time.time() - SECONDS_KEPT))


def draws_digits(card: DatasetCard) -> bool:
    """Return whether a drawing of a digit can be made into what models of this dataset take."""
    return (
        card.input_shape in ((28, 28, 1), (8, 8, 1))
        and card.class_names == dataset_card("digits").class_names
    )


def from_drawing(card: DatasetCard, ink: Images) -> Images:
    """Make a drawing [height, width] (see :mod:`kdcore.tasks.drawing`) into one input [1, ...] for
    models of a dataset.

    Raises ConfigError for a dataset that is not of digits, or a drawing without ink.
    """
    if not draws_digits(card):
        raise ConfigError(
            Problem("dataset", "digits of 28×28 or 8×8 pixels to draw for", card.title)
        )
    prepared = like_mnist(ink) if card.input_shape[0] == 28 else like_digits(ink)
    low, high = card.value_range
    return (prepared * (high - low) + low).astype(np.float32).reshape(1, *card.input_shape)


def from_image(card: DatasetCard, data: bytes) -> Images:
    """Make an image file into one input [1, height, width, channels] for models of a dataset.

    A digit is prepared as a drawing is, dark on light or light on dark; any other picture is
    cropped to the middle and resized. Raises ConfigError for what is no image, too large a file, or
    a dataset that is not of images.
    """
    if not card.task.pictures:
        raise ConfigError(
            Problem(
                "dataset",
                "images: an example of another kind cannot be dropped as a picture",
                card.title,
            )
        )
    if len(data) > LARGEST_IMAGE:
        raise ConfigError(
            Problem(
                "image",
                f"at most {in_bytes(LARGEST_IMAGE)}",
                Words(in_bytes(len(data))),
            )
        )
    try:
        pixels = in_bytes_for_show(read_pixels(data))
    except Exception as error:  # decoders raise anything for a damaged file
        raise ConfigError(
            Problem("image", "an image file that can be read", Words(f"one that cannot: {error}"))
        ) from None
    if draws_digits(card):
        return from_drawing(card, dark_on_light(pixels))
    return scaled(card, fit(pixels, card.input_shape))


def vocabulary_of(store: Store, dataset_key: str) -> Vocabulary:
    """Return the vocabulary that a dataset's models learnt; raises StoreError where it is gone."""
    definition = store.artifact(f"examples/{dataset_key}/vocabulary")
    if definition is None:
        raise StoreError(
            "the vocabulary of these models is no longer in the store: train them again"
        )
    return Vocabulary(definition.decode())


def from_text(vocabulary: Vocabulary, texts: Sequence[str]) -> Images:
    """Make texts into inputs [n, length]: tokens of a vocabulary.

    Raises ConfigError for a text without a word or sign, or one that is too long.
    """
    for text in texts:
        require(bool(text.strip()), "text", "some words", Words("an empty one"))
        most = f"at most {LARGEST_TEXT:,} characters"
        require(len(text) <= LARGEST_TEXT, "text", most, Words(f"{len(text):,}"))
    return vocabulary.encode(texts).astype(np.float32)


def scaled(card: DatasetCard, pixels: NDArray[np.uint8]) -> Images:
    """Make pixels [..., height, width, channels] of 0 to 255 into one or more inputs for models of
    a dataset.
    """
    low, high = card.value_range
    return (
        pixels.reshape(-1, *card.input_shape).astype(np.float32) / 255 * (high - low) + low
    ).astype(np.float32)
