"""Stores of earlier versions open with everything in them; what cannot be opened stays as it is."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from kdcore.analysis.library import listing, trash
from kdcore.analysis.results import load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StoreError
from kdcore.storage import migrations
from kdcore.storage.schema import Base, JobStatus, Pool
from kdcore.storage.store import Store
from tests.support.browser import REPOSITORY
from tests.support.postgres import PostgresServer

# What version 0.1.0 made, and a row of each kind that the migrations touch.
TABLES_0_1 = """
CREATE TABLE meta ("key" VARCHAR(40) PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE jobs (id VARCHAR(40) PRIMARY KEY, kind VARCHAR(40) NOT NULL, payload JSON NOT NULL,
 status VARCHAR(20) NOT NULL, phase TEXT NOT NULL, progress DOUBLE PRECISION NOT NULL,
 seconds_left DOUBLE PRECISION, error TEXT, traceback TEXT, worker_id VARCHAR(40),
 heartbeat_at DOUBLE PRECISION, stop_requested_at DOUBLE PRECISION, attempts INTEGER NOT NULL,
 created_at DOUBLE PRECISION NOT NULL, started_at DOUBLE PRECISION,
 finished_at DOUBLE PRECISION);
CREATE INDEX ix_jobs_status ON jobs (status);
CREATE TABLE queueing (job_id VARCHAR(40) PRIMARY KEY, rank INTEGER NOT NULL,
 held BOOLEAN NOT NULL, threads INTEGER NOT NULL);
CREATE TABLE job_needs (job_id VARCHAR(40) NOT NULL, needs_id VARCHAR(40) NOT NULL,
 PRIMARY KEY (job_id, needs_id));
CREATE TABLE artifacts ("key" VARCHAR(200) PRIMARY KEY, sha256 VARCHAR(64) NOT NULL,
 size INTEGER NOT NULL, data {blob} NOT NULL, created_at DOUBLE PRECISION NOT NULL);
CREATE TABLE artifact_parts ("key" VARCHAR(200) NOT NULL REFERENCES artifacts ("key")
 ON DELETE CASCADE, number INTEGER NOT NULL, data {blob} NOT NULL, PRIMARY KEY ("key", number));
CREATE TABLE sweeps (id VARCHAR(40) PRIMARY KEY, name TEXT NOT NULL, config JSON NOT NULL,
 paused BOOLEAN NOT NULL, created_at DOUBLE PRECISION NOT NULL);
CREATE INDEX ix_sweeps_created_at ON sweeps (created_at);
CREATE TABLE sweep_cells (job_id VARCHAR(40) PRIMARY KEY, sweep_id VARCHAR(40) NOT NULL,
 number INTEGER NOT NULL, part VARCHAR(20) NOT NULL, "values" JSON, trial_id INTEGER,
 pruned BOOLEAN NOT NULL);
CREATE INDEX ix_sweep_cells_sweep_id ON sweep_cells (sweep_id);
CREATE TABLE predictions (id {counter}, run_ids JSON NOT NULL, inputs {blob} NOT NULL,
 logits {blob}, milliseconds JSON NOT NULL, error TEXT, asked_at DOUBLE PRECISION NOT NULL,
 answered_at DOUBLE PRECISION);
CREATE INDEX ix_predictions_answered_at ON predictions (answered_at);
CREATE TABLE workers (id VARCHAR(40) PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL,
 process_started DOUBLE PRECISION NOT NULL, state VARCHAR(12) NOT NULL,
 heartbeat_at DOUBLE PRECISION NOT NULL, created_at DOUBLE PRECISION NOT NULL);
CREATE TABLE user_datasets ("key" VARCHAR(80) PRIMARY KEY, name VARCHAR(40) NOT NULL,
 digest VARCHAR(64) NOT NULL, card JSON NOT NULL, manifest JSON NOT NULL, report JSON NOT NULL,
 size BIGINT NOT NULL, created_at DOUBLE PRECISION NOT NULL, removed_at DOUBLE PRECISION);
CREATE INDEX ix_user_datasets_name ON user_datasets (name);
CREATE INDEX ix_user_datasets_digest ON user_datasets (digest);
CREATE TABLE user_models ("key" VARCHAR(80) PRIMARY KEY, name VARCHAR(40) NOT NULL,
 digest VARCHAR(64) NOT NULL, card JSON NOT NULL, manifest JSON NOT NULL, size BIGINT NOT NULL,
 created_at DOUBLE PRECISION NOT NULL, removed_at DOUBLE PRECISION);
CREATE INDEX ix_user_models_name ON user_models (name);
CREATE INDEX ix_user_models_digest ON user_models (digest);
CREATE TABLE experiments (id VARCHAR(40) PRIMARY KEY REFERENCES jobs (id), name TEXT NOT NULL,
 note TEXT NOT NULL, starred BOOLEAN NOT NULL, fingerprint VARCHAR(64) NOT NULL,
 config JSON NOT NULL, dataset_key VARCHAR(64), seconds JSON NOT NULL,
 created_at DOUBLE PRECISION NOT NULL);
CREATE INDEX ix_experiments_fingerprint ON experiments (fingerprint);
CREATE INDEX ix_experiments_created_at ON experiments (created_at);
CREATE TABLE tags (experiment_id VARCHAR(40) NOT NULL REFERENCES experiments (id),
 tag VARCHAR(40) NOT NULL, PRIMARY KEY (experiment_id, tag));
CREATE TABLE deletions (experiment_id VARCHAR(40) PRIMARY KEY REFERENCES experiments (id),
 deleted_at DOUBLE PRECISION NOT NULL);
CREATE INDEX ix_deletions_deleted_at ON deletions (deleted_at);
CREATE TABLE runs (id VARCHAR(40) PRIMARY KEY, fingerprint VARCHAR(64) NOT NULL,
 role VARCHAR(20) NOT NULL, seed INTEGER NOT NULL, model TEXT NOT NULL, config JSON NOT NULL,
 parameters INTEGER NOT NULL, summary JSON NOT NULL,
 experiment_id VARCHAR(40) NOT NULL REFERENCES experiments (id),
 created_at DOUBLE PRECISION NOT NULL, finished_at DOUBLE PRECISION);
CREATE INDEX ix_runs_fingerprint ON runs (fingerprint);
CREATE TABLE experiment_runs (experiment_id VARCHAR(40) NOT NULL REFERENCES experiments (id),
 role VARCHAR(20) NOT NULL, seed INTEGER NOT NULL,
 run_id VARCHAR(40) NOT NULL REFERENCES runs (id), reused BOOLEAN NOT NULL,
 PRIMARY KEY (experiment_id, role, seed));
CREATE INDEX ix_experiment_runs_run_id ON experiment_runs (run_id);
CREATE TABLE metrics (id {counter}, run_id VARCHAR(40) NOT NULL REFERENCES runs (id),
 split VARCHAR(12) NOT NULL, step INTEGER NOT NULL, epoch DOUBLE PRECISION NOT NULL,
 seconds DOUBLE PRECISION NOT NULL, loss DOUBLE PRECISION, hard_loss DOUBLE PRECISION,
 soft_loss DOUBLE PRECISION, accuracy DOUBLE PRECISION, learning_rate DOUBLE PRECISION,
 examples_per_second DOUBLE PRECISION);
CREATE INDEX metrics_of_run ON metrics (run_id, id);
CREATE TABLE probes (id {counter}, run_id VARCHAR(40) NOT NULL REFERENCES runs (id),
 epoch INTEGER NOT NULL, logits {blob} NOT NULL);
CREATE INDEX probes_of_run ON probes (run_id, id);
CREATE TABLE artifact_uses ("key" VARCHAR(200) NOT NULL,
 run_id VARCHAR(40) NOT NULL REFERENCES runs (id), PRIMARY KEY ("key", run_id));
CREATE INDEX ix_artifact_uses_run_id ON artifact_uses (run_id);
CREATE TABLE exports (run_id VARCHAR(40) NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
 format VARCHAR(40) NOT NULL, job_id VARCHAR(40) NOT NULL REFERENCES jobs (id),
 report JSON NOT NULL, created_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (run_id, format));
INSERT INTO meta VALUES ('schema_version', '1');
INSERT INTO jobs (id, kind, payload, status, phase, progress, attempts, created_at) VALUES
 ('kept', 'experiment', '{{}}', 'finished', 'finished', 1, 1, 1),
 ('gone', 'experiment', '{{}}', 'stopped', 'stopped', 0.5, 1, 2),
 ('cell', 'sweep_cell', '{{}}', 'queued', 'waiting for a worker', 0, 0, 3),
 ('asks', 'predict', '{{}}', 'queued', 'waiting for a worker', 0, 0, 4);
INSERT INTO queueing VALUES ('cell', 2, {true}, 1), ('asks', 0, {false}, 2);
INSERT INTO experiments SELECT id, 'named ' || id, '', {false}, 'f', '{config}', NULL, '{{}}',
 created_at FROM jobs WHERE id IN ('kept', 'gone');
INSERT INTO deletions VALUES ('gone', 7.5);
INSERT INTO runs (id, fingerprint, role, seed, model, config, parameters, summary, experiment_id,
 created_at, finished_at) VALUES
 ('t', '{fingerprint}', 'teacher', 0, 'conv-64-128', '{config}', 10, '{{}}', 'kept', 1, 2),
 ('s', 's', 'student', 0, 'conv-8-16', '{config}', 5, '{{}}', 'kept', 1, 2);
INSERT INTO experiment_runs VALUES ('kept', 'teacher', 0, 't', {false}),
 ('kept', 'student', 0, 's', {false}), ('gone', 'teacher', 0, 't', {true});
INSERT INTO metrics (run_id, split, step, epoch, seconds, accuracy) VALUES
 ('s', 'validation', 10, 1, 0.5, 0.75);
INSERT INTO workers VALUES ('abc-1', 'elsewhere', 1, 0, 'idle', 0, 0);
INSERT INTO user_datasets VALUES ('wine@0123456789', 'wine', 'd',
 '{{"title": "wine", "builder": "kdcore.datasets:load_stored", "input_shape": [13],
 "class_names": ["a", "b"], "training_examples": 20, "validation_examples": 5,
 "test_examples": 5}}', '{{}}', '{{}}', 1, 1, NULL)
"""


def statements(dialect: str) -> list[str]:
    """The statements that make a store of version 0.1.0."""
    config = ExperimentConfig()
    words = {
        "sqlite": {"blob": "BLOB", "counter": "INTEGER PRIMARY KEY", "true": "1", "false": "0"},
        "postgresql": {
            "blob": "BYTEA",
            "counter": "BIGSERIAL PRIMARY KEY",
            "true": "true",
            "false": "false",
        },
    }[dialect]
    values = {"config": config.to_json(), "fingerprint": config.fingerprint("teacher")}
    return TABLES_0_1.format(**words, **values).split(";\n")


@pytest.fixture(params=["sqlite", "postgresql"])
def old_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database as version 0.1.0 left it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/old.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_url()
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements(request.param):
            connection.exec_driver_sql(statement)
    engine.dispose()
    return url


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_newest_migration_is_the_programs_version() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.FOLDER))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_an_old_store_opens_with_all_that_was_in_it(old_store: str) -> None:
    store = Store(old_store)
    table = listing(store)
    assert table["experiment"].tolist() == ["kept"]
    assert trash(store) == ["gone"]
    assert listing(store, deleted=True)["name"].tolist() == ["named gone"]
    cell, asks = store.job("cell"), store.job("asks")
    assert (cell.rank, cell.held, cell.pool) == (2, True, Pool.THREAD)
    assert (asks.rank, asks.held, asks.pool) == (0, False, Pool.ANSWERS)
    assert store.waiting() == {Pool.ANSWERS: 1}
    links = [(link.step, link.role, link.seed, run.id) for link, run in store.runs_of("kept")]
    assert links == [("teacher", "teacher", 0, "t"), ("student", "student", 0, "s")]
    assert store.metrics(["s"])["accuracy"].tolist() == [0.75]
    assert [worker.pool for worker in store.workers()] == [Pool.THREAD]
    found = store.finished_runs("teacher", ExperimentConfig().fingerprint("teacher"))
    assert [run.id for run in found] == ["t"], "a teacher is found again by what it depends on"
    card = store.user_dataset("wine")
    assert card is not None
    assert (card.class_names, card.builder) == (("a", "b"), "")
    Store(old_store).close()  # a second time there is nothing to do
    store.close()


def test_a_migrated_store_has_the_tables_of_a_new_one(old_store: str) -> None:
    Store(old_store).close()
    migrated = create_engine(old_store)
    made = create_engine("sqlite://")
    Base.metadata.create_all(made)
    for name in Base.metadata.tables:
        assert _described(migrated, name) == _described(made, name), name
    assert not {"queueing", "deletions", "experiment_roles"} & set(
        inspect(migrated).get_table_names()
    )
    migrated.dispose()


def _described(engine: Engine, table: str) -> dict[str, Any]:
    """A table's columns, which of them may be empty, its key and its indexes."""
    found = inspect(engine)
    return {
        "columns": {column["name"] for column in found.get_columns(table)},
        "key": found.get_pk_constraint(table)["constrained_columns"],
        "indexes": {tuple(index["column_names"]) for index in found.get_indexes(table)},
    }


def test_several_may_open_an_old_store_at_once(old_store: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: Store(old_store), range(4)))
    assert all(store.job("cell").rank == 2 for store in stores)
    for store in stores:
        store.close()


def test_a_failed_migration_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "old.db"
    with sqlite3.connect(file) as connection:
        for statement in statements("sqlite"):
            connection.execute(statement)
        # What a migration makes is there already: it fails half-way.
        connection.execute("CREATE TABLE experiment_roles (x INTEGER)")
    before = list(sqlite3.connect(file).iterdump())
    with pytest.raises(StoreError, match=r"cannot be opened: .*experiment_roles"):
        Store(f"sqlite:///{file}")
    assert list(sqlite3.connect(file).iterdump()) == before


@pytest.mark.parametrize("newer", ["meta", "table"])
def test_a_newer_store_is_refused_in_words(tmp_path: Path, newer: str) -> None:
    file = tmp_path / "new.db"
    Store(f"sqlite:///{file}").close()
    with sqlite3.connect(file) as connection:
        if newer == "meta":
            connection.execute(f"DROP TABLE {migrations.VERSION_TABLE}")
            connection.execute("UPDATE meta SET value = '99'")
        else:
            connection.execute(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '0099'")
    before = list(sqlite3.connect(file).iterdump())
    with pytest.raises(StoreError, match="has schema version 0099, this program knows versions"):
        Store(f"sqlite:///{file}")
    assert list(sqlite3.connect(file).iterdump()) == before


def test_version_0_1_refuses_a_store_of_this_version(store: Store) -> None:
    with store.reading() as session:  # it wants a 1 here
        found = session.scalar(text("SELECT value FROM meta WHERE key = 'schema_version'"))
    assert found == "5"


@pytest.fixture
def real_store(tmp_path: Path) -> Store:
    """A copy of a store that version 0.1.0 wrote."""
    file = Path(os.environ.get("KD_DATA_DIR", "."), "store-0.1.db")
    if not file.exists():
        pytest.skip("KD_DATA_DIR holds no store-0.1.db")
    copy = tmp_path / "store.db"
    shutil.copy(file, copy)
    copy.chmod(0o644)
    return Store(f"sqlite:///{copy}")


def test_a_real_old_store_shows_what_it_showed(real_store: Store) -> None:
    table = listing(real_store)
    assert len(table) == 10
    assert set(table["status"]) == {"finished", "stopped", "interrupted"}
    assert len(trash(real_store)) == 1
    for experiment_id in table["experiment"]:
        results = load_results(real_store, experiment_id)
        config = ExperimentConfig(**results.experiment.config)
        assert config.fingerprint() == results.experiment.fingerprint
        for link, run in results.links:
            own = config if link.role == "teacher" else config.replace(seed=link.seed, seeds=1)
            assert own.fingerprint(link.role) == run.fingerprint
    assert [card.title for card in real_store.user_datasets().values()]
    assert [card.title for card in real_store.user_models().values()]


def test_the_interrupted_run_of_a_real_old_store_resumes(real_store: Store) -> None:
    (interrupted,) = real_store.jobs(JobStatus.INTERRUPTED)
    links = real_store.runs_of(interrupted.id)
    (unfinished, *_) = [run.id for _, run in links if run.finished_at is None]
    before = real_store.metrics([unfinished])
    real_store.requeue(interrupted.id)
    script = "import sys; from kdcore.engine.jobs import run_job; print(run_job(*sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", script, real_store.url, interrupted.id],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    while process.poll() is None and len(real_store.metrics([unfinished])) == len(before):
        time.sleep(0.2)
    real_store.request_stop(interrupted.id)
    assert process.communicate(timeout=60)[0].split()[-1] == "stopped"
    after = real_store.metrics([unfinished])
    resumed = after[after["id"] > before["id"].max()]
    assert resumed["step"].min() > before["step"].min(), "it goes on at its checkpoint"
    assert resumed["seconds"].min() > 0.5 * before["seconds"].max()
