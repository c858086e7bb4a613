"""A connection to the one database where dashboard and workers meet: opening it, sessions, and what
happens when it is out of reach.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from kdcore.errors import StoreError, StoreUnreachable
from kdcore.storage import migrations
from kdcore.storage.database import (
    FILE_IS_GONE,
    SCHEMA_LOCK,
    database_words,
    inode,
    lock_until_commit,
    open_database,
    outage,
    ride_out_outages,
    riding_out,
    try_lock,
    without_password,
)


@ride_out_outages
class Connection:
    """A database with KD Lab's tables, at ``url``.

    While a database server is out of reach, every method tries again for ``patience`` seconds.
    Raises :class:`~kdcore.errors.StoreError` where the database cannot be opened,
    :class:`~kdcore.errors.StoreUnreachable` where it does not answer.
    """

    def __init__(self, url: str, *, patience: float = 0.0) -> None:
        self.url = url
        self.name = without_password(self.url)
        self.patience = patience
        try:
            parsed = make_url(self.url)
            if parsed.get_backend_name() == "sqlite" and parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self._url, self._inode = parsed, None
            self._engine, self._writing_engine = open_database(parsed)
            weakref.finalize(
                self, self._engine.dispose
            )  # a store that nobody holds any more leaves no connection open
            self._prepare()
            self._inode = inode(parsed)
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(
                f"the store {self.name} cannot be opened: {database_words(error)}"
            ) from error

    @riding_out
    def _prepare(self) -> None:
        with self.writing() as session:
            lock_until_commit(session, SCHEMA_LOCK)  # several may find a new database at once
            migrations.prepare(session.connection(), self.name)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session whose queries all see one moment of the database."""
        with self._in_words(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session that is committed whole at the end of the block, or not at all."""
        with (
            self._in_words(),
            Session(self._writing_engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        self._notice_another_file()
        try:
            yield
        except SQLAlchemyError as error:
            if (trouble := outage(error)) is None:
                raise
            raise StoreUnreachable(f"the store {self.name} cannot be reached: {trouble}") from error

    def _notice_another_file(self) -> None:
        """Follow the name of a SQLite file, not the file: what is written to a deleted one would be
        lost unheard.
        """
        if self._inode is None:
            return
        try:
            found = inode(self._url)
        except OSError as error:
            raise StoreUnreachable(
                f"the store {self.name} cannot be reached: {FILE_IS_GONE}"
            ) from error
        if found != self._inode:
            self._engine.dispose()
            self._inode = None  # until it has proved to be a store
            try:
                self._prepare()
            except BaseException:
                self._inode = -1
                raise
            self._inode = found

    @property
    def is_file(self) -> bool:
        """Whether the database is a SQLite file, not a server."""
        return self._engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def maintaining(self) -> Iterator[Any]:
        """Give a cursor outside of any transaction, for what a database does to its own file.

        The connection is not used again: settings made here end with the block.
        """
        connection = self._engine.raw_connection()
        try:
            yield connection.cursor()
        finally:
            connection.invalidate()

    def reachable_since(self) -> float:
        """Return when the database server was started, in Unix seconds; 0 for a file."""
        if self._engine.dialect.name != "postgresql":
            return 0.0
        with self.reading() as session:
            return float(
                session.scalar(select(func.extract("epoch", func.pg_postmaster_start_time())))
                or 0.0
            )

    @contextlib.contextmanager
    def alone(self, number: int) -> Iterator[bool]:
        """For the length of the block, let one process at a time have ``number``.

        Gives whether this one has it.
        """
        with self.writing() as session:
            yield try_lock(session, number)

    def close(self) -> None:
        """Release the connections; it can be used again afterwards."""
        self._engine.dispose()
