"""How a store of any earlier version becomes one of today's: alembic's migrations.

A new store is made as the tables stand in :mod:`kdcore.storage.schema`; an older one is brought
up to them in a single transaction, so that one that fails leaves it as it was. alembic itself is
imported only where there is something to change.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, insert, inspect, text

from kdcore.errors import StoreError
from kdcore.storage.schema import Base, Meta

HEAD = "0005"
# A name of our own: Optuna keeps its alembic_version in the same database.
VERSION_TABLE = "kdlab_schema_version"
FOLDER = Path(__file__).parent


def prepare(connection: Connection, name: str) -> None:
    """Make a new database a store, or bring a store of an earlier version up to this one.

    ``connection`` is in a transaction, ``name`` is what the store is called in messages. Raises
    StoreError for a store of a later version.
    """
    version = _version(connection)
    if version == HEAD:
        return
    if version is None:
        Base.metadata.create_all(connection)
        # Version 0.1.0 of the program looks here, and refuses anything but 1.
        connection.execute(insert(Meta).values(key="schema_version", value=str(int(HEAD))))
        _stamp(connection, HEAD)
        return
    if version not in _known_versions():
        raise StoreError(
            f"the store {name} has schema version {version}, this program knows versions up to "
            f"{HEAD}; name another store with KD_STORE, or use the program that wrote it"
        )
    _upgrade(connection)


def _version(connection: Connection) -> str | None:
    """Return the schema's version, None for a database that is no store yet."""
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        return str(connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")))
    if "meta" in tables:  # before there were migrations
        found = connection.scalar(text("SELECT value FROM meta WHERE key = 'schema_version'"))
        if found is not None:
            version = f"{int(found):04d}"
            _stamp(connection, version)
            return version
    return None


def _stamp(connection: Connection, version: str) -> None:
    create = f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    connection.execute(text(create))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:version)"), {"version": version})


def _known_versions() -> set[str]:
    return {path.name.partition("_")[0] for path in (FOLDER / "versions").glob("[0-9]*.py")}


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
