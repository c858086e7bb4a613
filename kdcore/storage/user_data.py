"""Users' own data in the store: cards, data in pieces, uploads on their way
in.

A version is named by its content (``name@digest``). Adding a name again with other content makes a
new version beside the old one; the bare name then means the new one, and experiments keep the
version that they were made with.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import ColumnElement, select, update

from kdcore.config.cards import DatasetCard
from kdcore.errors import StoreError
from kdcore.storage.artifacts import ArtifactStore
from kdcore.storage.schema import Artifact, UserDataset, UserModel

# Pieces are small enough for any database and any worker's memory.
PIECE_BYTES = 8 * 2**20
SECONDS_UNTIL_ABANDONED = 86_400.0


Row = TypeVar("Row", UserDataset, UserModel)


def find(store: ArtifactStore, name: str, table: type[Row] = UserDataset) -> Row | None:  # type: ignore[assignment]
    """Return a version by its key, removed or not, or the latest version of a bare name that is not
    removed.
    """
    query = select(table)
    if "@" in name:
        query = query.where(table.key == name)
    else:
        query = (
            query.where(table.name == name, table.removed_at.is_(None))
            .order_by(table.created_at.desc())
            .limit(1)
        )
    with store.reading() as session:
        return session.scalars(query).one_or_none()


def versions(
    store: ArtifactStore,
    *,
    removed: bool = False,
    table: type[Row] = UserDataset,  # type: ignore[assignment]
) -> list[Row]:
    """Return all versions of all names, the latest first; those removed only where asked for."""
    query = select(table).order_by(table.created_at.desc(), table.key)
    if not removed:
        query = query.where(table.removed_at.is_(None))
    with store.reading() as session:
        return list(session.scalars(query))


def latest(store: ArtifactStore, table: type[Row] = UserDataset) -> list[Row]:  # type: ignore[assignment]
    """Return the latest version of every name, by name."""
    found: dict[str, Row] = {}
    for row in versions(store, table=table):
        found.setdefault(row.name, row)
    return [found[name] for name in sorted(found)]


def to_card(row: UserDataset) -> DatasetCard:
    """Return what the catalog needs to know of a version."""
    known = {field.name for field in fields(DatasetCard)}
    lists: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.card.items()
    }
    given = {name: value for name, value in lists.items() if name in known}
    return DatasetCard(**{**given, "builder": ""})


def card_to_json(card: DatasetCard) -> dict[str, Any]:
    """Return a card as what a row holds: no name of our own code, which may move."""
    return {name: value for name, value in asdict(card).items() if name != "builder"}


def add(store: ArtifactStore, row: Row) -> Row:
    """Store a version, its pieces being there already; the very same content again revives or
    renews its row.

    Pieces that another row holds already are not kept twice.
    """
    row.created_at, row.removed_at = time.time(), None
    twin = next(
        (other for other in versions(store, table=type(row)) if other.digest == row.digest), None
    )
    if twin is not None and twin.manifest["prefix"] != row.manifest["prefix"]:
        _take_over(store, row, twin)
    with store.writing() as session:
        session.merge(row)
    return row


def _take_over(store: ArtifactStore, row: Row, twin: Row) -> None:
    """Let a version have the pieces of its ``twin``, which may so come to know its examples' ids.

    What another dataset of the same content calls its examples stays as it is.
    """
    new, kept = row.manifest, dict(twin.manifest)
    parts = {part: dict(about) for part, about in kept.get("parts", {}).items()}
    known = any("ids" in about for about in parts.values())
    if twin.key == row.key or not known:
        for part, about in new.get("parts", {}).items():
            if "ids" in about and part in parts:
                ids = read_ids(store, new["prefix"], part, about)
                parts[part]["ids"] = write_ids(store, kept["prefix"], part, ids)
    drop_pieces(store, new["prefix"])
    row.manifest = {**kept, "parts": parts} if parts else kept


def remove(store: ArtifactStore, name: str, table: type[Row] = UserDataset) -> list[Row]:  # type: ignore[assignment]
    """Remove a version (by its key) or all versions of a name, with their data; returns what was
    removed.

    Experiments made with it stay, and can be shown; to train on it again, add it again. Raises
    StoreError where there is none.
    """
    gone = [row for row in versions(store, table=table) if name in (row.key, row.name)]
    if not gone:
        raise StoreError(_nothing_called(name, table))
    keys = [row.key for row in gone]
    with store.writing() as session:
        session.execute(update(table).where(table.key.in_(keys)).values(removed_at=time.time()))
    in_use = {row.manifest["prefix"] for row in versions(store, table=table)}
    for prefix in {row.manifest["prefix"] for row in gone} - in_use:
        drop_pieces(store, prefix)
    return gone


def _nothing_called(name: str, table: type[Any]) -> str:
    kind, command = ("dataset", "data") if table is UserDataset else ("model", "model")
    return f"there is no {kind} {name!r} in the store; python -m kdcore {command} list shows what there is"


# Pieces


def write_pieces(store: ArtifactStore, prefix: str, source: IO[bytes] | Iterable[bytes]) -> int:
    """Put a file, or pieces that are made one by one, into the store under ``prefix/0``,
    ``prefix/1``, ...

    Returns how many there are; never more than one is in memory.
    """
    parts = iter(lambda: source.read(PIECE_BYTES), b"") if hasattr(source, "read") else source
    count = 0
    for count, part in enumerate(parts, start=1):
        store.put_artifact(f"{prefix}/{count - 1}", part)
    return count


def read_pieces(store: ArtifactStore, prefix: str, count: int) -> Iterator[bytes]:
    """Return the pieces of ``write_pieces`` one by one.

    Raises StoreError where one is missing or damaged.
    """
    for number in range(count):
        piece = store.artifact(f"{prefix}/{number}")
        if piece is None:
            raise StoreError(f"piece {number + 1} of {count} of {prefix} is no longer in the store")
        yield piece


def write_ids(store: ArtifactStore, prefix: str, part: str, ids: dict[str, list[str]]) -> int:
    """Put what others may call the examples of a part into the store; returns how many pieces."""
    return write_pieces(store, f"{prefix}/{part}/ids", io.BytesIO(json.dumps(ids).encode()))


def read_ids(
    store: ArtifactStore, prefix: str, part: str, about: dict[str, Any]
) -> dict[str, list[str]]:
    """Return what :func:`write_ids` wrote of a part, given what the manifest says of it; nothing
    for data of before ids were kept.
    """
    pieces = read_pieces(store, f"{prefix}/{part}/ids", about.get("ids", 0))
    return json.loads(b"".join(pieces) or b"{}")


def drop_pieces(store: ArtifactStore, prefix: str) -> None:
    """Forget everything under ``prefix/``."""
    _drop(store, Artifact.key.startswith(f"{prefix}/", autoescape=True))


def _drop(store: ArtifactStore, *which: ColumnElement[bool]) -> None:
    with store.reading() as session:
        keys = list(session.scalars(select(Artifact.key).where(*which)))
    for start in range(0, len(keys), 500):  # databases take so many parameters at once
        store.delete_artifacts(*keys[start : start + 500])


# Uploads: files of a browser's visitor, on their way to a worker


def put_upload(store: ArtifactStore, upload_id: str, file: IO[bytes]) -> dict[str, Any]:
    """Put a file into the store piece by piece, for a worker to fetch.

    Returns what ``fetch_upload`` wants to know.
    """
    _drop_abandoned_uploads(store)
    return {"upload": upload_id, "pieces": write_pieces(store, f"upload/{upload_id}", file)}


def fetch_upload(store: ArtifactStore, upload: dict[str, Any], path: Path) -> None:
    """Write an upload to ``path``; raises StoreError where it is gone."""
    with path.open("wb") as file:
        for piece in read_pieces(store, f"upload/{upload['upload']}", upload["pieces"]):
            file.write(piece)


def drop_upload(store: ArtifactStore, upload_id: str) -> None:
    """Forget an upload."""
    drop_pieces(store, f"upload/{upload_id}")


def _drop_abandoned_uploads(store: ArtifactStore) -> None:
    """Forget uploads of visitors who left without storing or discarding them."""
    old = Artifact.created_at < time.time() - SECONDS_UNTIL_ABANDONED
    _drop(store, Artifact.key.startswith("upload/"), old)
