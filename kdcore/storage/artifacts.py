"""How named pieces of data lie in the database: in one field, or in numbered parts where they are
large.
"""

from __future__ import annotations

import hashlib
import io
import time

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from kdcore.errors import StoreError
from kdcore.storage.database import upsert
from kdcore.storage.schema import Artifact, ArtifactPart

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
