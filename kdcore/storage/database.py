"""What the store needs to know of databases: how SQLite and PostgreSQL are opened, how they differ,
what an outage is.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Engine, create_engine, event, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from kdcore.errors import StoreUnreachable

# PostgreSQL's advisory locks are numbers. Fingerprints lock the lowest 60 bits; this one lies above
# them.
SCHEMA_LOCK = 1 << 60
# A dead network is noticed after some 20 seconds instead of the kernel's two hours.
POSTGRESQL_OPTIONS = {
    "application_name": "kdlab",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def without_password(url: str) -> str:
    """Return a database URL as it may be shown: the password, if there is one, as stars."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def open_database(url: URL) -> tuple[Engine, Engine]:
    """Return engines for reading and for writing a SQLite file or a PostgreSQL server; they share
    one pool.

    On both kinds a block of reads sees one moment of the database, and one of writes is stored
    whole or not at all. JSON refuses NaN, which PostgreSQL cannot store.
    """
    serializer = functools.partial(json.dumps, allow_nan=False)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, json_serializer=serializer, connect_args={"timeout": 60})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_on_sqlite)
        return engine, engine.execution_options(write=True)
    engine = create_engine(
        url,
        json_serializer=serializer,
        connect_args=POSTGRESQL_OPTIONS if url.get_backend_name() == "postgresql" else {},
        # A worker needs two connections: its own and its pulse's. That the server was restarted is
        # noticed first.
        pool_pre_ping=True,
        pool_size=2,
        max_overflow=20,
        pool_use_lifo=True,
    )
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _set_up_postgresql)
    # By default every single statement would see a moment of its own.
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return reading, engine.execution_options(isolation_level="READ COMMITTED")


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    if (
        connection.execute("PRAGMA page_count").fetchone()[0] == 0
    ):  # in a new file only, before all else
        connection.execute(
            "PRAGMA auto_vacuum=INCREMENTAL"
        ).close()  # the disk gets back what a purge frees
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _set_up_postgresql(connection: Any, _record: Any) -> None:
    # A worker that froze in the middle of a transaction must not keep its rows locked forever.
    connection.execute("SET idle_in_transaction_session_timeout = '60s'")
    connection.commit()


def _begin_on_sqlite(connection: Any) -> None:
    # A write transaction takes its lock at once: one that upgrades later fails when another writer
    # was faster.
    write = connection.get_execution_options().get("write")
    connection.execute(text("BEGIN IMMEDIATE" if write else "BEGIN"))


def lock_until_commit(session: Session, number: int) -> None:
    """Let one transaction at a time have ``number``.

    On SQLite every writing transaction is alone anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(number)))


def try_lock(session: Session, number: int) -> bool:
    """Take ``number`` until the commit if nobody has it.

    On SQLite the transaction itself is the lock.
    """
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(number))))


def upsert(session: Session, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or replace those that have the same primary key.

    Safe where two processes do it at once.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    keys = [column.name for column in table.__table__.primary_key]
    statement = dialect.insert(table)
    changes = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    if changes:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    session.execute(statement, list(rows))


def database_words(error: BaseException) -> str:
    """Return what the database said, without SQLAlchemy's words around it."""
    return (
        str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    )[0]


# A backup is damaged, too, by the log of another file of its name.
RESTORE = "Delete the -wal and -shm files beside it, and put a backup in its place"
# What SQLite's primary result codes mean to somebody who can mend them; all may pass by themselves.
SQLITE_TROUBLES = {
    sqlite3.SQLITE_FULL: "its disk is full. Free some space; nothing stored is lost, and training waits",
    sqlite3.SQLITE_IOERR: "its disk cannot be read or written. See to the disk; nothing stored is lost",
    sqlite3.SQLITE_BUSY: "another program has locked it. Close that program; nothing stored is lost",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened. See to the folder and its permissions",
    sqlite3.SQLITE_READONLY: "its file may not be written. See to its permissions",
    sqlite3.SQLITE_NOTADB: f"its file is damaged, or no database. {RESTORE}",
    sqlite3.SQLITE_CORRUPT: f"its file is damaged. {RESTORE}",
}
FILE_IS_EMPTY = (
    f"its file was replaced by an empty one. {RESTORE}, or start KD Lab again to go on with it"
)
FILE_IS_GONE = "its file is gone. Put it back, or start KD Lab again for an empty one"


def outage(error: BaseException) -> str | None:
    """Return in words why the database was out of reach or gave the transaction up; None where it
    did neither.

    What it describes may be tried again.
    """
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        if "no such table" in str(error.orig):
            return FILE_IS_EMPTY
        return SQLITE_TROUBLES.get(getattr(error.orig, "sqlite_errorcode", 0) & 0xFF)
    return (
        database_words(error)
        if error.connection_invalidated or isinstance(error, OperationalError)
        else None
    )


def inode(url: URL) -> int | None:
    """Return what tells a SQLite file from a later one of its name; None for a server.

    Raises OSError if it is gone.
    """
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return os.stat(str(url.database)).st_ino if is_file else None


Method = TypeVar("Method", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)


def ride_out_outages(decorated: Class) -> Class:
    """Make every public method of a class one that is :func:`riding_out` outages."""
    for name, method in list(vars(decorated).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(decorated, name, riding_out(method))
    return decorated


def riding_out(method: Method) -> Method:
    """Make a method try again for ``self.patience`` seconds while the database is out of reach.

    A commit that was not confirmed may have happened: methods are written so that twice does no
    harm.
    """

    @functools.wraps(method)
    def patient(self: Any, *arguments: Any, **named: Any) -> Any:
        deadline, pause = time.monotonic() + self.patience, 0.05
        while True:
            try:
                return method(self, *arguments, **named)
            except StoreUnreachable:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    return cast(Method, patient)
