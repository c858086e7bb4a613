"""The README is tested against the code: each of its commands and examples is run."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from kdcore.engine.jobs import terminate_group
from kdcore.storage.store import Store
from tests.support.browser import free_port
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.ray_cluster import RayCluster

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line for language, block in BLOCKS if language == "bash" for line in block.strip().splitlines()
]
KDCORE = [line for line in COMMANDS if "-m kdcore" in line]
# The commands of the section on clusters; tests/ray_cluster.py starts the nodes of the tests with
# two of its lines.
BEYOND = README.partition("## Beyond one machine")[2].partition("\n## ")[0]
CLUSTER = [
    line
    for block in re.findall(r"```bash\n(.*?)```", BEYOND, re.DOTALL)
    for line in block.strip().splitlines()
]
QUICK = " --training-examples 200 --epochs 2 --teacher-epochs 2"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{tmp_path_factory.mktemp('readme')}/store.db")


def test_every_command_is_covered_by_a_test_here() -> None:
    assert len(KDCORE) >= 5
    assert {line for line in COMMANDS if line not in KDCORE} == {"make run", "make test", *CLUSTER}
    kinds = (
        "sudo apt-get",
        "sudo -u postgres",
        "KD_STORE=",
        "python3 -m venv",
        ".venv/bin/pip",
        ".venv/bin/ray get",
        "PATH=",
        "KD_ENGINE=ray",
    )
    assert all(line.startswith(kinds) for line in CLUSTER), "each kind has its test below"


@pytest.mark.parametrize("line", KDCORE)
def test_a_kdcore_command_runs(line: str, store: Store, tmp_path: Path) -> None:
    newest = store.experiments(limit=1)
    if " ID" in line:
        line = line.replace(" ID", f" {newest[0][0].id}")
    if "three.png" in line:
        digit = load_digits().images[3] * (255 / 16)
        Image.fromarray(digit.astype(np.uint8)).resize((80, 80)).save(tmp_path / "three.png")
        line = line.replace("three.png", str(tmp_path / "three.png"))
    if " data " in line:
        np.savez(
            tmp_path / "own.npz", x=np.random.default_rng(0).random((60, 4)), y=np.arange(60) % 3
        )
        line = line.replace("NAME", "own").replace("PATH", str(tmp_path / "own.npz"))
    if " model add" in line:
        import keras

        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # of NumPy, where Keras reads variables
            keras.Sequential(
                [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
            ).save(tmp_path / "own.keras")
        line = line.replace("FILE.keras", str(tmp_path / "own.keras"))
    line = line.replace(" NAME", " own")
    # The same command, smaller: what it prints is checked elsewhere, here that it runs as written.
    command = (
        re.sub(r"--(teacher-)?epochs \d+", "", line) + QUICK if " train --dataset" in line else line
    )
    if " sweep " in line:
        command = (
            re.sub(
                r"--alpha \S+ --temperature \S+ --seeds 3",
                "--alpha 0.1,0.9 --temperature 4 --seeds 1",
                line,
            )
            + QUICK
        )
    command = command.replace(".venv/bin/python", sys.executable)
    command = re.sub(r" (curves\.csv|report\.html)", rf" {tmp_path}/\1", command)
    command = command.replace("--folder exports", f"--folder {tmp_path}")
    done = subprocess.run(
        command,
        shell=True,
        cwd=ROOT,
        env={**os.environ, "KD_STORE": store.url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("block", [block for language, block in BLOCKS if language == "python"])
def test_a_python_example_runs(block: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout


def test_make_run_starts_the_dashboard(store: Store) -> None:
    """In a checkout whose .venv is there already, as after the first call."""
    if not (ROOT / ".venv" / "installed").exists():
        pytest.skip("no .venv made by make: the tests run in another environment")
    port = free_port()
    process = subprocess.Popen(
        ["make", "run", f"PORT={port}"],
        cwd=ROOT,
        env={**os.environ, "KD_STORE": store.url},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(120):
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/_stcore/health", timeout=2
                ) as answer:
                    assert answer.read() == b"ok"
                    break
            except OSError:
                assert process.poll() is None
                import time

                time.sleep(0.25)
        else:
            pytest.fail("the dashboard did not answer")
    finally:
        terminate_group(process.pid)
        process.wait(10)
    for worker in store.workers():
        terminate_group(worker.pid)


def test_make_test_runs_pytest_and_installs_the_requirements() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-m pytest" in done.stdout
    assert "-r requirements.txt" in done.stdout


def run_cluster_lines(
    start: str, environment: dict[str, str], changes: dict[str, str]
) -> list[str]:
    """Run the lines of the section on clusters that start like this; returns what they print."""
    lines = [line for line in CLUSTER if line.startswith(start)]
    assert lines
    outputs = []
    for line in lines:
        for old, new in changes.items():
            line = line.replace(old, new)
        done = subprocess.run(
            line,
            shell=True,
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    return outputs


def test_the_store_on_a_database_server_is_made_as_written(postgres: PostgresServer) -> None:
    server = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGUSER": "kd",
        "PGPASSWORD": PASSWORD,
        "PGDATABASE": "postgres",
    }
    run_cluster_lines(
        "sudo -u postgres", server, {"sudo -u postgres ": "", "'PASSWORD'": "'secret'"}
    )
    (line,) = [line for line in CLUSTER if line.startswith("KD_STORE=")]
    assert line.endswith(" make run"), "which another test runs"
    url = (
        line.split()[0]
        .partition("=")[2]
        .replace("PASSWORD", "secret")
        .replace("HOST", f"127.0.0.1:{postgres.port}")
    )
    store = Store(url)
    assert store.experiments() == []
    store.close()


def test_what_a_node_needs_is_installed_as_written(tmp_path: Path) -> None:
    if shutil.which("apt-get"):
        assert "postgresql" in "".join(
            run_cluster_lines("sudo apt-get", {}, {"sudo apt-get": "apt-get --simulate"})
        )
    run_cluster_lines(
        "python3 -m venv",
        {},
        {"python3": sys.executable, "venv .venv": f"venv --without-pip {tmp_path}/.venv"},
    )
    assert (tmp_path / ".venv" / "bin" / "python3").exists()
    if importlib.util.find_spec("ray") is None and not os.environ.get("CI"):
        pytest.skip("Ray is not installed (pip install -r requirements-ray.txt)")
    here = {".venv/bin/": f"{Path(sys.executable).parent}/"}
    run_cluster_lines(".venv/bin/pip", {}, {**here, "install": "install --dry-run --no-deps"})
    run_cluster_lines(".venv/bin/ray get", {"HOME": str(tmp_path)}, here)
    assert len((tmp_path / ".ray" / "auth_token").read_text()) >= 32


def test_the_dashboard_on_a_cluster_is_started_with_the_variables_that_the_tests_use() -> None:
    (line,) = [line for line in CLUSTER if line.startswith("KD_ENGINE=ray")]
    assert line.endswith(" make run"), "which another test runs"
    names = {word.partition("=")[0] for word in line.split() if "=" in word}
    assert names == {"KD_STORE", *RayCluster.VARIABLES}


def test_pictures_and_files_that_the_readme_names_exist() -> None:
    named = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    named += [path for path in re.findall(r"`([\w./]+\.(?:py|txt|md))`", README) if "/" in path]
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_environment_variables_it_names_are_read() -> None:
    source = "".join(path.read_text() for path in (ROOT / "kdcore").glob("*.py"))
    for name in set(re.findall(r"KD_[A-Z_]+", README)):
        assert f'"{name}"' in source, name
