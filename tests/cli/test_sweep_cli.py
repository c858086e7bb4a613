"""``python -m kdcore sweep`` with real workers: the map, the winner, its confirmation, and a worker
killed on the way.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from kdcore import sweeps
from kdcore.cli.program import main
from kdcore.storage.schema import Pool
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results
from tests.conftest import TINY_CELL
from tests.support.browser import REPOSITORY

EPOCHS = 150  # long enough for a cell to be met while it trains
SETTINGS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY_CELL.items()]


def test_a_sweep_outlives_kill_9_of_a_worker_and_prints_its_result(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    command = [
        sys.executable,
        "-m",
        "kdcore",
        "--store",
        url,
        "sweep",
        *SETTINGS,
        f"--epochs={EPOCHS}",
        "--seeds=1",
    ]
    command += ["--alpha=0.1,0.9", "--temperature=1,4", "--workers=1", "--confirm=2", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    store = Store(url)
    try:
        victim = _wait_for_a_cell_in_training(store, process)
        os.kill(victim, signal.SIGKILL)
        output, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    assert "4 cells: 1 teacher, 1 baseline, 4 students to train" in errors
    assert "4 of 4 cells 100%" in errors, "a progress bar on stderr"
    result = json.loads(output.splitlines()[-1])
    assert result["status"] == "finished"
    assert result["trained"] == {"teacher": 1, "baseline": 1, "student": 4}, (
        "once each, whatever happened"
    )
    assert [cell["status"] for cell in result["cells"]] == ["finished"] * 4
    best = max(cell["validation_accuracy"] for cell in result["cells"])
    assert result["winner"]["validation_accuracy"] == best
    assert result["confirmation"]["gain"]["n"] == 2
    sweep = sweep_results.load(store, result["sweep"])
    assert sorted(cell.job.attempts for cell in sweep.cells) == [1, 1, 1, 2], (
        "one began again where it was killed"
    )
    for cell in sweep.cells:
        (student,) = [run for link, run in store.runs_of(cell.id) if link.role == "student"]
        points = store.metrics([student.id])
        epochs = points[points["split"] == "validation"]["epoch"]
        assert set(epochs) == set(range(1, EPOCHS + 1)), "its curve has no hole"
    words = CliRunner().invoke(main, ["--store", url, "sweep", "--resume", result["sweep"]])
    assert words.exit_code == 0, words.output
    assert f"*{100 * best:.1f}" in words.output
    assert result["winner"]["words"] in words.output
    assert result["confirmation"]["words"] in words.output


def _wait_for_a_cell_in_training(store: Store, process: subprocess.Popen[str]) -> int:
    """Wait until a cell has a checkpoint; return the process that trains it."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        for sweep in sweeps.sweeps(store):
            for cell, job in sweeps.cells_of(store, sweep.id):
                if cell.part != "cell" or job.status != "running":
                    continue
                workers = {worker.id: worker for worker in store.workers()}
                students = [run for link, run in store.runs_of(job.id) if link.role == "student"]
                if job.worker_id in workers and any(
                    len(store.metrics([run.id])) > 10 for run in students
                ):
                    assert workers[job.worker_id].pool == Pool.THREAD, (
                        "cells are for workers of one thread"
                    )
                    return workers[job.worker_id].pid
        time.sleep(0.05)
    raise AssertionError("no cell was trained")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--alpha", "0.1:2:3"],
            "alpha must be at most 1, got 1.05; alpha must be at most 1, got 2",
        ),
        (["--temperature", "1,x"], "temperature must be a number, got 'x'"),
        (
            ["--strategy", "luck", "--alpha", "0.1,0.2"],
            "strategy must be one of grid, tpe, got 'luck'",
        ),
        (["--alpha", "0:1"], "alpha must be values for a grid"),
        (["--confirm", "1"], "confirm must be from 2 to 100 seeds, got 1"),
        (["--extend", "nosuch"], "there is no sweep 'nosuch'"),
    ],
)
def test_bad_input_is_answered_in_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = CliRunner().invoke(
        main, ["--store", f"sqlite:///{tmp_path}/store.db", "sweep", *arguments]
    )
    assert done.exit_code in (1, 2)
    assert f"Error: {message}" in done.output
    assert "Traceback" not in done.output
