"""The teacher runs once per (weights, data): its logits are cached in the store and train every
student.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdcore.data.datasets import Dataset
from kdcore.models.linear_tail import collapse_linear_tail
from kdcore.storage.arrays import pack, unpack
from kdcore.storage.store import Store
from kdcore.training.evaluation import weights_digest
from kdcore.training.loop import Network

# The cells of a sweep, which one worker trains one after the other, ask for the same logits again
# and again.
_latest: dict[tuple[str, str], NDArray[np.float32]] = {}


def for_answers(teacher: Network) -> Network:
    """Return a trained teacher as it is asked by students: the same logits, with less work where
    there is a way.
    """
    return Network(collapse_linear_tail(teacher.model), teacher.scale)


def answering(teacher: Network, run_id: str | None) -> str:
    """Return what tells a teacher's answers from all others.

    Its run, where it has one: weights do not tell everything. A network of ONNX or a file of
    answers has none, and the range of values that a brought one sees is not among them.
    """
    return weights_digest(teacher.model) if run_id is None else run_id


def training_logits(
    store: Store, teacher: Network, dataset: Dataset, teacher_run_id: str | None = None
) -> tuple[NDArray[np.float32], bool]:
    """Return the teacher's logits [examples, classes] of all training examples, and whether they
    were cached.

    With the id of the teacher's run, a purge keeps them as long as a run that needed them is kept.
    """
    key = f"teacher_logits/{answering(teacher, teacher_run_id)}/{dataset.fingerprint}"
    if teacher_run_id is not None:
        store.use_artifact(key, teacher_run_id)
    cached = store.artifact(key)
    if cached is not None:
        return unpack(cached), True
    logits = for_answers(teacher).logits(dataset.train.inputs)
    store.put_artifact(key, pack(logits))
    return logits, False


def logits_of_run(store: Store, teacher_run_id: str) -> NDArray[np.float32] | None:
    """Return the cached logits of a trained teacher's run without loading its model, None if there
    are none.
    """
    if (store.url, teacher_run_id) not in _latest:
        key = store.artifact_used_by(teacher_run_id, "teacher_logits/")
        data = None if key is None else store.artifact(key)
        if data is None:
            return None
        _latest.clear()  # one teacher's are enough, and may be large
        _latest[store.url, teacher_run_id] = unpack(data)
    return _latest[store.url, teacher_run_id]
