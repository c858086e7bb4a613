"""The worker's side of :mod:`kdcore.engine.predictions`: models stay loaded, questions are answered
as they come.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from kdcore.engine.predictions import ATTENTION, forget_old, put_answer, waiting
from kdcore.errors import KDLabError, StoreError
from kdcore.storage.arrays import pack_many, unpack
from kdcore.storage.schema import Job, JobStatus, Prediction
from kdcore.storage.store import Store
from kdcore.training.attention_maps import attention_maps
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.loop import Network

# While questions come, it polls for the next at once; after a pause more rarely.
SECONDS_BETWEEN_POLLS, SECONDS_BETWEEN_RARE_POLLS, SECONDS_OF_ATTENTION = 0.004, 0.05, 5.0
MOST_MODELS = 24


def predict_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Carry out a job of kind "predict": answer until nobody has asked for the payload's
    ``idle_seconds``.
    """
    if _another_answers(store, job):
        return
    networks = _Networks(store)
    store.report(job.id, "ready to answer", 0.5)
    asked_at = time.monotonic()
    tidied_at = asked_at
    while (silence := time.monotonic() - asked_at) < job.payload["idle_seconds"]:
        check()
        for question in waiting(store):
            _answer(store, networks, question)
            asked_at = time.monotonic()
        if time.monotonic() - tidied_at > 10:
            forget_old(store)
            tidied_at = time.monotonic()
        time.sleep(
            SECONDS_BETWEEN_POLLS if silence < SECONDS_OF_ATTENTION else SECONDS_BETWEEN_RARE_POLLS
        )
    forget_old(store)


def _another_answers(store: Store, job: Job) -> bool:
    """Two pages may have asked for a worker at the same moment: the older job serves both."""
    query = select(Job.id).where(
        Job.kind == "predict", Job.status == JobStatus.RUNNING.value, Job.id != job.id
    )
    with store.reading() as session:
        return session.scalars(query.where(Job.created_at <= job.created_at)).first() is not None


class _Networks:
    """The models that were asked last, loaded and compiled."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._loaded: OrderedDict[str, Network] = OrderedDict()

    def get(self, run_id: str, inputs: NDArray[np.float32]) -> Network:
        """Return a run's network.

        The first time it answers ``inputs`` once for practice, so that times are of answers.
        """
        if run_id not in self._loaded:
            data = self.store.artifact(f"model/{run_id}")
            if data is None:
                raise StoreError(
                    f"run {run_id} has no model to ask: it is not trained to the end, or was deleted"
                )
            network = Network(model_from_bytes(data), 1.0)
            _check_shape(network, inputs)
            network.logits(inputs)
            self._loaded[run_id] = network
        _check_shape(self._loaded[run_id], inputs)
        self._loaded.move_to_end(run_id)
        while len(self._loaded) > MOST_MODELS:
            self._loaded.popitem(last=False)
        return self._loaded[run_id]


def _check_shape(network: Network, inputs: NDArray[np.float32]) -> None:
    taken = network.model.input_shape[1:]
    if taken != (None,) and inputs.shape[1:] != taken:  # texts may be of any length
        raise StoreError(f"the model takes inputs of shape {taken}, got {inputs.shape[1:]}")


def _answer(store: Store, networks: _Networks, question: Prediction) -> None:
    try:
        inputs = unpack(question.inputs)
        arrays: dict[str, NDArray] = {}
        milliseconds = {}
        for run_id in question.run_ids["runs"]:
            network = networks.get(run_id, inputs)
            began = time.perf_counter()
            arrays[run_id] = network.logits(inputs)
            milliseconds[run_id] = 1000 * (time.perf_counter() - began)
            looks = (
                attention_maps(network, inputs[:1]) if question.run_ids.get("attention") else None
            )
            if looks is not None:
                arrays[f"{ATTENTION}{run_id}"] = np.frombuffer(looks.as_bytes(), np.uint8)
    except KDLabError as error:
        put_answer(store, question.id, error=str(error))
    else:
        put_answer(store, question.id, logits=pack_many(arrays), milliseconds=milliseconds)
