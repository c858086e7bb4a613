"""Named pieces of data: in one field of the database, or in numbered parts where they are large."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Mapping

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from kdcore.errors import StoreError
from kdcore.storage.connection import Connection
from kdcore.storage.database import lock_until_commit, ride_out_outages, upsert
from kdcore.storage.schema import Artifact, ArtifactPart, ArtifactUse

# PostgreSQL takes up to 1 GB in a field and needs several times that in memory, SQLite up to 1 GB:
# parts have no such end.
BYTES_OF_A_PART = 16 * 2**20
LARGEST_ARTIFACT = 2**31 - 1


def write(session: Session, key: str, data: bytes) -> None:
    """Store ``data`` under ``key``, replacing what was there.

    Raises StoreError for 2 GiB or more.
    """
    if len(data) > LARGEST_ARTIFACT:
        raise StoreError(f"artifact {key!r} must be below 2 GiB, got {len(data):,} bytes")
    whole = data if len(data) <= BYTES_OF_A_PART else b""
    row = {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "data": whole}
    upsert(session, Artifact, [{**row, "created_at": time.time()}])
    session.execute(delete(ArtifactPart).where(ArtifactPart.key == key))
    for start in range(0, 0 if whole else len(data), BYTES_OF_A_PART):
        part = {
            "key": key,
            "number": start // BYTES_OF_A_PART,
            "data": data[start : start + BYTES_OF_A_PART],
        }
        session.execute(insert(ArtifactPart), part)


def read(session: Session, key: str) -> bytes | None:
    """Return the data under ``key``, None if there is none.

    Raises StoreError if its checksum does not match.
    """
    query = select(Artifact.data, Artifact.sha256, Artifact.size).where(Artifact.key == key)
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    data, sha256, size = row
    if size > BYTES_OF_A_PART:
        parts, whole = select(ArtifactPart.data).where(ArtifactPart.key == key), io.BytesIO()
        for number in range(-(-size // BYTES_OF_A_PART)):
            whole.write(session.scalar(parts.where(ArtifactPart.number == number)) or b"")
        data = whole.getvalue()  # without another copy
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StoreError(f"artifact {key!r} is damaged: its checksum does not match")
    return bytes(data)


@ride_out_outages
class ArtifactStore(Connection):
    """The store's pieces of data: answers, checkpoints, weights, uploads, users' files."""

    def put_artifacts(self, data: Mapping[str, bytes]) -> None:
        """Store named pieces of data in one commit, replacing what has the same name.

        Raises StoreError for one of 2 GiB or more.
        """
        with self.writing() as session:
            for key, piece in data.items():
                write(session, key, piece)

    def put_artifact(self, key: str, data: bytes) -> None:
        """Store one named piece of data, replacing what has the same name."""
        self.put_artifacts({key: data})

    def keep_first(self, key: str, data: bytes) -> bytes:
        """Store a named piece of data where nothing has its name, and return what then has: of two
        processes that do it at once, both get the same.
        """
        with self.writing() as session:
            lock_until_commit(session, int(hashlib.sha256(key.encode()).hexdigest()[:15], 16))
            known = read(session, key)
            if known is None:
                write(session, key, data)
            return data if known is None else known

    def use_artifact(self, key: str, run_id: str) -> None:
        """Say that a run needs the artifact ``key``: it is kept as long as one run that needs it
        is.
        """
        with self.writing() as session:
            upsert(session, ArtifactUse, [{"key": key, "run_id": run_id}])

    def artifact_used_by(self, run_id: str, prefix: str) -> str | None:
        """Return the key of an artifact that is there and that a run has said it needs, by the
        key's beginning.
        """
        query = select(ArtifactUse.key).join(Artifact, Artifact.key == ArtifactUse.key)
        with self.reading() as session:
            return session.scalar(
                query.where(ArtifactUse.run_id == run_id, ArtifactUse.key.startswith(prefix)).limit(
                    1
                )
            )

    def artifact(self, key: str) -> bytes | None:
        """Return the data stored under ``key``, None if there is none.

        Raises StoreError if it is damaged.
        """
        with self.reading() as session:
            return read(session, key)

    def artifact_keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with ``prefix``, in order, without reading the data."""
        query = select(Artifact.key).where(Artifact.key.startswith(prefix, autoescape=True))
        with self.reading() as session:
            return list(session.scalars(query.order_by(Artifact.key)))

    def has_artifact(self, key: str) -> bool:
        """Return whether something is stored under ``key``, without reading it."""
        return self.artifact_size(key) is not None

    def artifact_size(self, key: str) -> int | None:
        """Return how many bytes are stored under ``key``, without reading them.

        None if there is nothing.
        """
        with self.reading() as session:
            return session.scalar(select(Artifact.size).where(Artifact.key == key))

    def delete_artifacts(self, *keys: str) -> None:
        """Forget the data stored under ``keys``."""
        with self.writing() as session:
            session.execute(delete(Artifact).where(Artifact.key.in_(keys)))
