"""A PostgreSQL server of the tests' own, from the distribution's packages, in a temporary
folder.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg

from kdcore.storage.store import new_id
from tests.support.browser import free_port

PASSWORD = "not to be shown"


def find_program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs.

    Debian keeps those of a server off the PATH.
    """
    installed = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3])
    )
    return str(installed[-1]) if installed else shutil.which(name)


class PostgresServer:
    """A server that listens on 127.0.0.1 with a password.

    As root it runs as user postgres: it refuses root.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kdlab-postgres-"))
        self._who: dict[str, Any] = {}
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._who = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self.port = free_port()

    def __enter__(self) -> Self:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb",
            "--no-sync",
            "--auth=scram-sha-256",
            "--username=kd",
            f"--pwfile={password}",
            "--encoding=UTF8",
            "--locale=C",
            "--pgdata",
            str(self._folder / "data"),
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        # fsync is for power cuts; without it a test's hundreds of small commits cost nothing.
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories='' -c fsync=off"
        log = str(self._folder / "log")
        self._run(
            "pg_ctl",
            "start",
            "--wait",
            "--pgdata",
            str(self._folder / "data"),
            "--log",
            log,
            "--options",
            options,
        )

    def stop(self, how: str = "fast") -> None:
        """Stop the server: ``fast`` ends all connections properly, ``immediate`` is a crash."""
        self._run("pg_ctl", "stop", "--wait", "--pgdata", str(self._folder / "data"), "--mode", how)

    def new_url(self) -> str:
        """Return the URL of a new and empty schema.

        Making one is much faster than making a database.
        """
        schema = f"test_{new_id()}"
        address = f"127.0.0.1:{self.port}/postgres"
        with psycopg.connect(f"postgresql://kd:{quote(PASSWORD)}@{address}") as connection:
            connection.execute(f"CREATE SCHEMA {schema}")
        return (
            f"postgresql+psycopg://kd:{quote(PASSWORD)}@{address}?options=-csearch_path%3D{schema}"
        )

    def _run(self, program: str, *arguments: str) -> None:
        path = find_program(program)
        assert path is not None, program
        # To a file: a server would keep a pipe open, and whoever reads it waiting.
        with tempfile.TemporaryFile("w+") as output:
            command = [path, *arguments]
            done = subprocess.run(
                command, stdout=output, stderr=output, cwd=self._folder, check=False, **self._who
            )
            output.seek(0)
            assert done.returncode == 0, output.read()
