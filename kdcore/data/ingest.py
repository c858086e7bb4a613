"""Putting a user's data into the store: the same functions for the command line and for workers.

After the check (:mod:`kdcore.data.check`) comes a second reading that writes what the report
announced, piece by piece. Neither needs the whole in memory.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore.config.cards import DatasetCard
from kdcore.data.check import Checked, Told, check, check_name
from kdcore.data.readers.common import Source
from kdcore.data.readers.opening import TABLES, open_source
from kdcore.data.readers.tables import peek
from kdcore.errors import ConfigError, Problem, Words
from kdcore.storage import user_data
from kdcore.storage.arrays import pack, pack_many
from kdcore.storage.schema import Job, UserDataset
from kdcore.storage.store import Store, new_id
from kdcore.tasks import find
from kdcore.tasks.report import DEFAULTS, DataOptions, Report

SECONDS_BETWEEN_REPORTS = 0.25


def add(
    store: Store,
    name: str,
    path: Path,
    options: DataOptions = DEFAULTS,
    tell: Told = lambda *_: None,
) -> UserDataset:
    """Check the data at ``path`` and put it into the store as ``name``; returns the stored version.

    Raises ConfigError for data that is refused; then nothing is stored.
    """
    check_name(name)
    checked = check(path, options, lambda fraction, words: tell(fraction / 2, words))
    if checked.report.problems:
        raise ConfigError(
            *(Problem(what, rule, Words(got)) for what, rule, got in checked.report.problems)
        )
    source = open_source(path, options)
    prefix = f"dataset/{new_id()}"
    try:
        return _write(
            store,
            name,
            prefix,
            source,
            checked,
            lambda fraction, words: tell(0.5 + fraction / 2, words),
        )
    except (
        BaseException
    ):  # also where the work was ended: pieces without a row would never be found again
        user_data.drop_pieces(store, prefix)
        raise


# Second reading


class _Writing:
    """The second reading of a source: what is stored by now, and the digest of all of it."""

    def __init__(
        self, store: Store, prefix: str, source: Source, checked: Checked, tell: Told
    ) -> None:
        self.store, self.prefix, self.source = store, prefix, source
        self.report, self.leave_out, self.tell = checked.report, checked.leave_out, tell
        self.digest = _digest_of_meaning(checked.report)
        self.manifest: dict[str, dict[str, Any]] = {}
        self.labels: dict[str, bytes] = {}
        self.size = self._done = 0

    def write(self, part: str) -> None:
        """Store a part, but for its labels."""
        labels: list[NDArray] = []
        ids: dict[str, list[str]] = {}
        pieces = self._pieces(part, labels, ids)
        count = user_data.write_pieces(self.store, f"{self.prefix}/{part}", pieces)
        if not count:  # unlabelled examples that were all left out
            return
        stored = np.concatenate(labels).astype(np.int32)
        self.digest.update(part.encode() + stored.tobytes())
        self.labels[f"{self.prefix}/{part}/labels"] = pack(stored)
        self.manifest[part] = {"examples": len(stored), "pieces": count}
        if ids:  # not in the digest: the same examples are the same data, whatever they are called
            self.manifest[part]["ids"] = user_data.write_ids(self.store, self.prefix, part, ids)
        self.size += len(stored) * self.report.bytes_an_example

    def _pieces(
        self, part: str, labels: list[NDArray], ids: dict[str, list[str]]
    ) -> Iterator[bytes]:
        """Read a part from its beginning and give the examples that are kept, as they are stored;
        their labels and ids are appended to ``labels`` and ``ids``.
        """
        seen, total = 0, sum(self.report.parts.values())
        for batch in self.source.batches(part):
            kept = ~self.leave_out[part][seen : seen + len(batch.names)]
            seen += len(batch.names)
            self._done += len(batch.names)
            self.tell(self._done / total, f"storing {self._done:,} of {total:,} examples")
            if not kept.any():
                continue
            chosen = [example for example, keep in zip(batch.inputs, kept, strict=True) if keep]
            labels.append(batch.labels[kept])
            for column, of_batch in batch.ids.items():
                ids.setdefault(column, []).extend(itertools.compress(of_batch, kept))
            data = np.ascontiguousarray(find(self.report.kind).fit(chosen, self.report))
            self.digest.update(data.data)
            yield pack(data)


def _digest_of_meaning(report: Report) -> Any:
    """Return a SHA-256 begun with what the stored values mean; the values follow."""
    meaning = [
        report.class_names,
        report.shape,
        report.dtype,
        report.scale,
        report.scaling,
        list(report.feature_names),
    ]
    digest = hashlib.sha256(json.dumps(meaning).encode())
    if report.missing != "refuse" or any(column["categories"] for column in report.columns):
        digest.update(json.dumps([report.columns, report.missing]).encode())
    if report.tokens is not None:
        digest.update(json.dumps(report.tokens).encode())
    return digest


def _write(
    store: Store, name: str, prefix: str, source: Source, checked: Checked, tell: Told
) -> UserDataset:
    report = checked.report
    writing = _Writing(store, prefix, source, checked, tell)
    for part in source.parts:
        writing.write(part)
    images, shown = checked.preview
    preview = pack_many({"images": images, "labels": shown}, compress=True)
    store.put_artifacts({**writing.labels, f"{prefix}/preview": preview})
    digest = writing.digest.hexdigest()
    key = f"{name}@{digest[:10]}"
    about = {
        "prefix": prefix,
        "parts": writing.manifest,
        "scale": report.scale,
        "scaling": report.scaling,
        "columns": report.columns,
        "missing": report.missing,
        "tokens": report.tokens,
    }
    row = UserDataset(
        key=key,
        name=name,
        digest=digest,
        card=user_data.card_to_json(_card(name, key, report)),
        manifest=about,
        report=report.to_json(),
        size=writing.size,
    )
    return user_data.add(store, row)


def _card(name: str, key: str, report: Report) -> DatasetCard:
    return DatasetCard(
        title=name,
        builder="",
        input_shape=tuple(report.shape),
        class_names=tuple(report.class_names),
        training_examples=report.division["train"],
        validation_examples=report.division["validation"],
        test_examples=report.division["test"],
        key=key,
        kind=report.kind,
        feature_names=tuple(report.feature_names),
        value_range=find(report.kind).value_range(report),
        unlabelled_examples=report.unlabelled,
    )


# Jobs for workers


def data_job(store: Store, job: Job, check_stop: Callable[[], None]) -> None:
    """Check an uploaded file, and where the job has a name also store it.

    The payload is that of :func:`data_payload`. What was found is then under ``data_report/<job
    id>``, see :func:`get_report`; of a stored dataset, its key under ``data_report/<job id>/key``.
    """
    reported_at = 0.0

    def tell(fraction: float, words: str) -> None:
        nonlocal reported_at
        check_stop()
        if time.monotonic() - reported_at > SECONDS_BETWEEN_REPORTS:
            reported_at = time.monotonic()
            store.report(job.id, words, fraction)

    upload, name = job.payload["upload"], job.payload["name"]
    options = DataOptions(**job.payload["options"])
    with tempfile.TemporaryDirectory(prefix="kdlab-") as folder:
        path = Path(folder) / Path(job.payload["file_name"].replace("\\", "/")).name
        tell(0.0, "fetching the upload")
        user_data.fetch_upload(store, upload, path)
        if name is None:
            if path.suffix.lower() in TABLES:
                store.put_artifact(f"data_report/{job.id}/peek", json.dumps(peek(path)).encode())
            put_report(store, job.id, check(path, options, tell))
        else:
            row = add(store, name, path, options, tell)
            store.put_artifact(f"data_report/{job.id}/key", row.key.encode())
            user_data.drop_upload(store, upload["upload"])


def data_payload(
    upload: dict[str, Any], file_name: str, options: DataOptions, name: str | None = None
) -> dict[str, Any]:
    """Return the payload of a "data" job: check an upload, and with a ``name`` store it."""
    return {"upload": upload, "file_name": file_name, "options": asdict(options), "name": name}


def put_report(store: Store, job_id: str, found: Checked) -> None:
    """Store what a check found, for the page that waits for it."""
    images, labels = found.preview
    store.put_artifacts(
        {
            f"data_report/{job_id}/report": json.dumps(found.report.to_json()).encode(),
            f"data_report/{job_id}/preview": pack_many(
                {"images": images, "labels": labels}, compress=True
            ),
        }
    )


def get_peek(store: Store, job_id: str) -> dict[str, Any] | None:
    """Return what :func:`kdcore.data.readers.tables.peek` saw of an uploaded table.

    None where it is no table, or not read yet.
    """
    data = store.artifact(f"data_report/{job_id}/peek")
    return None if data is None else json.loads(data)


def get_report(store: Store, job_id: str) -> Report | None:
    """Return the report of a finished check, None before."""
    data = store.artifact(f"data_report/{job_id}/report")
    return None if data is None else Report(**json.loads(data))
