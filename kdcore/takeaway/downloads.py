"""Models out: the formats a trained model can leave in, who asked for which, and what is ready to
be taken away.

A worker makes and measures the files (:mod:`kdcore.work.export`); this module asks for them, lists
them and packs them.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import select

from kdcore.analysis.results import load_results
from kdcore.config.catalog import short_name
from kdcore.errors import ConfigError, Problem, StoreError, require
from kdcore.methods.distillation_token import BOTH_HEADS
from kdcore.storage.schema import ROLES, Export, Job, JobStatus, Run
from kdcore.storage.store import Store, new_id
from kdcore.takeaway.limits import limits
from kdcore.takeaway.model_card import model_card
from kdcore.takeaway.snippets import snippet


@dataclass(frozen=True)
class ExportFormat:
    """A format, the package whose runtime opens it, and what a file in it must show before it is
    offered.

    ``tolerance`` is the largest difference of a logit from Keras that passes, as a share of the
    largest logit; ``points`` the accuracy on test data, in percentage points, that it may lose.
    """

    title: str
    file: str
    about: str
    package: str
    tolerance: float | None
    points: float


FORMATS: dict[str, ExportFormat] = {
    "keras": ExportFormat(
        "Keras", "model.keras", "To load, train on and change with Keras.", "keras", 1e-3, 0.1
    ),
    "saved-model": ExportFormat(
        "SavedModel",
        "saved_model.zip",
        "For TensorFlow Serving and TensorFlow.",
        "tensorflow",
        1e-3,
        0.1,
    ),
    "litert-float32": ExportFormat(
        "LiteRT float32",
        "model.tflite",
        "For phones and small boards, exact.",
        "ai-edge-litert",
        1e-3,
        0.1,
    ),
    "litert-float16": ExportFormat(
        "LiteRT float16",
        "model.tflite",
        "Weights of half the size, for phones with a GPU.",
        "ai-edge-litert",
        5e-2,
        1.0,
    ),
    "litert-int8": ExportFormat(
        "LiteRT int8",
        "model.tflite",
        "The smallest: whole numbers only, for microcontrollers too.",
        "ai-edge-litert",
        None,
        5.0,
    ),
    "onnx": ExportFormat(
        "ONNX",
        "model.onnx",
        "For ONNX Runtime: servers, browsers, C++, C#, Java.",
        "onnxruntime",
        1e-3,
        0.1,
    ),
}


def file_key(run_id: str, format_name: str) -> str:
    """Return the name under which a run's file in a format is stored."""
    return f"export/{run_id}/{format_name}"


def examples_key(run_id: str) -> str:
    """Return the name under which the test examples that travel with a run's exports are stored."""
    return f"export/{run_id}/examples"


def check_formats(names: Sequence[str]) -> list[str]:
    """Return ``names`` once each in the order of FORMATS, all for none.

    Raises ConfigError for an unknown one.
    """
    for name in names:
        require(name in FORMATS, "format", f"one of {', '.join(FORMATS)}", name)
    return [name for name in FORMATS if not names or name in names]


def find_run(store: Store, name: str, role: str = "student", seed: int | None = None) -> Run:
    """Return the trained run that ``name`` means: a run's id, or an experiment's, of which ``role``
    and seed are taken.

    The seed is the experiment's first by default; a teacher has one seed only. Raises ConfigError
    for an unknown role or seed, StoreError for an unknown id or a model that is not trained.
    """
    require(role in ROLES, "role", f"one of {', '.join(ROLES)}", role)
    try:
        run = store.run(name)
    except StoreError:
        run = _run_of(store, name, role, seed)
    if run.finished_at is None:
        raise StoreError(
            f"the {run.role} {run.model} is not trained yet: wait for it, or resume its experiment"
        )
    return run


def _run_of(store: Store, experiment_id: str, role: str, seed: int | None) -> Run:
    runs = {run.seed: run for run in load_results(store, experiment_id).runs(role)}
    if not runs:
        raise StoreError(f"experiment {experiment_id} has no {role} yet: wait for it, or resume it")
    if seed is None or role == "teacher":
        return runs[min(runs)]
    if seed not in runs:
        raise ConfigError(Problem("seed", f"one of {', '.join(map(str, runs))}", seed))
    return runs[seed]


def answering_heads(run: Run) -> tuple[str, ...]:
    """Return what of a run can answer: the mean of both heads or either, for a transformer with two
    tokens; nothing to choose for others.
    """
    heads = tuple(run.summary.get("heads", ()))
    return (BOTH_HEADS, *heads) if heads else ()


def request(store: Store, run_id: str, formats: Sequence[str] = (), head: str = BOTH_HEADS) -> str:
    """Queue the making of a trained run's files, by default in all formats that can hold it;
    returns the id of the job for the engine.

    Of a transformer with two tokens, ``head`` says whose answers leave, one of
    :func:`answering_heads`. Raises ConfigError for an unknown format or head, or a format that
    cannot hold the model, StoreError where the run is not trained or its files are being made.
    """
    run, now, job_id = find_run(store, run_id), time.time(), new_id()
    known = answering_heads(run) or (BOTH_HEADS,)
    require(head in known, "head", f"one of {', '.join(known)}", head)
    names, refused = check_formats(formats), limits(store, run.id)
    for name in formats:
        require(
            name not in refused,
            "format",
            f"one that can hold this model: {refused.get(name)}",
            name,
        )
    names = [name for name in names if name not in refused]
    busy = live_job(store, run.id)
    if busy is not None:
        raise StoreError(
            f"the files of {run.role} {run.model} are being made already, by job {busy.id}"
        )
    with store.writing() as session:
        session.add(
            Job(
                id=job_id,
                kind="export",
                payload={"run_id": run.id, "formats": names, "head": head},
                created_at=now,
            )
        )
        session.flush()
        for name in names:
            session.merge(
                Export(run_id=run.id, format=name, job_id=job_id, report={}, created_at=now)
            )
    return job_id


def exports(store: Store, run_id: str) -> list[Export]:
    """Return what was asked for of a run, in the order of FORMATS.

    ``report`` is empty where it is not done.
    """
    with store.reading() as session:
        found = {
            row.format: row
            for row in session.scalars(select(Export).where(Export.run_id == run_id))
        }
    return [found[name] for name in FORMATS if name in found]


def put_report(store: Store, run_id: str, format_name: str, report: dict[str, Any]) -> None:
    """Store what was measured of a format, or why it is not offered."""
    with store.writing() as session:
        session.get_one(Export, (run_id, format_name)).report = report


def latest_job(store: Store, run_id: str) -> Job | None:
    """Return the newest job that makes or made files of a run."""
    query = select(Job).join(Export, Export.job_id == Job.id).where(Export.run_id == run_id)
    with store.reading() as session:
        return session.scalars(query.order_by(Job.created_at.desc())).first()


def live_job(store: Store, run_id: str) -> Job | None:
    """Return the job that is making a run's files, None where none is."""
    job = latest_job(store, run_id)
    return job if job is not None and JobStatus(job.status).live else None


def bundle(store: Store, run_id: str, format_name: str) -> dict[str, bytes]:
    """Return what is taken away, by file name: the model, run.py that runs it, examples.npz and
    MODEL_CARD.md.

    Raises StoreError where the format was not made, or did not pass.
    """
    check_formats([format_name])
    export = next((each for each in exports(store, run_id) if each.format == format_name), None)
    if export is None or not export.report:
        raise StoreError(f"{FORMATS[format_name].title} of run {run_id} is not made yet")
    if not export.report["passed"]:
        raise StoreError(
            f"{FORMATS[format_name].title} of run {run_id} is not offered: {export.report['reason']}"
        )
    model, examples = (
        store.artifact(file_key(run_id, format_name)),
        store.artifact(examples_key(run_id)),
    )
    if model is None or examples is None:
        raise StoreError(f"the files of run {run_id} are gone from the store: make them again")
    run = store.run(run_id)
    return {
        FORMATS[format_name].file: model,
        "run.py": snippet(format_name, FORMATS[format_name].file, export.report).encode(),
        "examples.npz": examples,
        "MODEL_CARD.md": model_card(store, run, exports(store, run_id)).encode(),
    }


def bundle_name(run: Run, export: Export) -> str:
    """Return a name for a bundle's folder or zip, such as
    ``student-conv-8-16-seed-0-litert-int8``; with the head that answers, where it is one of two.
    """
    head = str(export.report.get("head", BOTH_HEADS))
    of_head = "" if head == BOTH_HEADS else f"-{head.replace(' ', '-')}"
    return f"{run.role}-{short_name(run.model)}-seed-{run.seed}{of_head}-{export.format}"


def zip_of(files: dict[str, bytes], folder: str) -> bytes:
    """Return files as one zip with everything in ``folder``; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(
                zipfile.ZipInfo(str(PurePosixPath(folder) / name)), data, zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()
