"""The README and docs/ are tested against the code: each of their commands and examples is run."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits

import kdcore
from kdcore.cli.program import main
from kdcore.engine.jobs import terminate_group
from kdcore.engine.local import LocalEngine
from kdcore.storage.store import Store
from tests.support.browser import REPOSITORY, free_port
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.ray_cluster import RayCluster
from tests.support.workers import end_workers

DOCUMENTS = {
    str(path.relative_to(REPOSITORY)): path.read_text()
    for path in [*sorted(REPOSITORY.glob("*.md")), *sorted(REPOSITORY.glob("docs/**/*.md"))]
}
TEXT = "\n".join(DOCUMENTS.values())


def blocks(language: str, text: str = TEXT) -> list[str]:
    """The code of a text in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str = TEXT) -> list[str]:
    """The lines of a text's shell code."""
    return [line for block in blocks("bash", text) for line in block.strip().splitlines()]


# Workers outlive the engine of the command that started them.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

PROGRAM = ".venv/bin/python -m kdcore "
# tests/support/ray_cluster.py starts the nodes of the tests with two of these lines.
CLUSTER = commands(DOCUMENTS["docs/clusters.md"])
QUICK = "--training-examples 200 --epochs 2 --teacher-epochs 2"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with one warm worker, which stays until the last command has run."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('documents')}/store.db")
    LocalEngine(store).warm()
    yield store
    end_workers(store)


@pytest.fixture(scope="module")
def experiment(store: Store) -> str:
    """A small finished experiment, which stands for ID."""
    run(f"train {QUICK} --seeds 1", store)
    ((experiment, *_),) = store.experiments(limit=1)
    return experiment.id


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """What each Python example prints, run one after the other, and the model that the first one
    distilled.
    """
    folder = tmp_path_factory.mktemp("examples")
    for number, block in enumerate(blocks("python")):
        (folder / f"{number}.py").write_text(block)
    script = """
import pathlib, runpy, sys
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    names = runpy.run_path(str(file), run_name="__main__")
    if "distiller" in names:
        names["student"].save(file.with_name("own.keras"))
    print("-- end --")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("-- end --\n")[:-1], folder / "own.keras"


def run(line: str, store: Store) -> str:
    """Run a command of ``python -m kdcore`` in this process, and return what it prints."""
    done = CliRunner().invoke(main, shlex.split(line), env={"KD_STORE": store.url})
    assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"
    return done.stdout


def prepared(line: str, experiment: str, model: Path, folder: Path) -> str:
    """Return a command as documented, with files for its placeholders and less to train."""
    images = load_digits().images
    Image.fromarray((images[3] * (255 / 16)).astype(np.uint8)).resize((80, 80)).save(
        folder / "three.png"
    )
    np.savez(folder / "own.npz", x=np.random.default_rng(0).random((60, 4)), y=np.arange(60) % 3)
    line = line.replace(" ID", f" {experiment}").replace("three.png", f"{folder}/three.png")
    line = line.replace("FILE.keras", str(model)).replace(" PATH", f" {folder}/own.npz")
    line = (
        line.replace(" DATASET", " digits")
        .replace(" NAME", " own")
        .replace("--folder exports", f"--folder {folder}")
    )
    line = re.sub(r" (curves\.csv|curves\.pdf|report\.html)", rf" {folder}/\1", line)
    line = line.replace("tensorboard runs", f"tensorboard {folder}/runs")
    # What a command prints is checked elsewhere, here that it runs as written: smaller.
    if line.startswith("train --dataset"):
        line = re.sub(r"--(teacher-)?epochs \d+", "", f"{line} {QUICK}")
    if line.startswith("sweep "):
        line = re.sub(r"--alpha \S+ --temperature \S+", "--alpha 0.1,0.9 --temperature 4", line)
        line = f"{line.replace('--seeds 3', '--seeds 1')} {QUICK}"
    return line


def test_every_command_is_covered_by_a_test_here() -> None:
    others = [line for line in commands() if not line.startswith(PROGRAM)]
    assert len(commands()) - len(others) >= 20
    assert {line for line in others if line not in CLUSTER} == {
        "make run",
        "make test",
        "make check",
        "KD_CLASSROOM=1 make run",  # tests/pages/test_classroom.py
    }
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


@pytest.mark.parametrize("name", [name for name, text in DOCUMENTS.items() if PROGRAM in text])
def test_the_commands_of_a_document_run_in_their_order(
    name: str, store: Store, experiment: str, examples: tuple[list[str], Path], tmp_path: Path
) -> None:
    for line in commands(DOCUMENTS[name]):
        if line.startswith(PROGRAM):
            words = prepared(line.removeprefix(PROGRAM), experiment, examples[1], tmp_path)
            assert run(words, store).strip(), line


def test_a_command_runs_as_a_process_of_its_own(store: Store, experiment: str) -> None:
    (line,) = {line for line in commands() if line == f"{PROGRAM}list"}
    done = subprocess.run(
        line.replace(".venv/bin/python", shlex.quote(sys.executable)),
        shell=True,
        cwd=REPOSITORY,
        env={**os.environ, "KD_STORE": store.url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert experiment in done.stdout


def test_each_python_example_prints_an_accuracy(examples: tuple[list[str], Path]) -> None:
    outputs, _model = examples
    assert len(outputs) == len(blocks("python")) >= 3
    assert all("accuracy" in output for output in outputs)


def test_make_run_starts_the_dashboard(store: Store) -> None:
    """In a checkout whose .venv is there already, as after the first call."""
    if not (REPOSITORY / ".venv" / "installed").exists():
        pytest.skip("no .venv made by make: the tests run in another environment")
    port = free_port()
    process = subprocess.Popen(
        ["make", "run", f"PORT={port}"],
        cwd=REPOSITORY,
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
                time.sleep(0.25)
        else:
            pytest.fail("the dashboard did not answer")
    finally:
        terminate_group(process.pid)
        process.wait(10)


@pytest.mark.parametrize(
    ("target", "program"), [("test", "-m pytest"), ("check", "bin/ruff check")]
)
def test_make_runs_the_program_and_installs_the_requirements(target: str, program: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert program in done.stdout
    assert "-r requirements.txt" in done.stdout


def run_cluster_lines(
    start: str, environment: dict[str, str], changes: dict[str, str]
) -> list[str]:
    """Run the lines of the page on clusters that start like this; returns what they print."""
    lines = [line for line in CLUSTER if line.startswith(start)]
    assert lines
    outputs = []
    for line in lines:
        for old, new in changes.items():
            line = line.replace(old, new)
        done = subprocess.run(
            line,
            shell=True,
            cwd=REPOSITORY,
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


def anchors(text: str) -> set[str]:
    """The names by which headings are linked."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_documents_lead_somewhere() -> None:
    lost = []
    count = 0
    for name, text in DOCUMENTS.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if link.startswith("https://"):
                continue
            count += 1
            path, _, anchor = link.partition("#")
            target = (REPOSITORY / name).parent / path if path else REPOSITORY / name
            if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
                lost.append(f"{name}: {link}")
    assert count > 30
    assert lost == []


def test_the_readme_leads_to_every_document_and_picture_and_stays_short() -> None:
    readme = DOCUMENTS["README.md"]
    assert [name for name in DOCUMENTS if name != "README.md" and f"({name})" not in readme] == []
    pictures = {path.name for path in (REPOSITORY / "docs").glob("*.png")}
    assert {name for name in pictures if name not in TEXT} == set()
    assert len(readme.splitlines()) <= 160


def test_files_and_folders_that_are_named_exist() -> None:
    named = set(re.findall(r"`((?:kdcore|pages|tests|benchmarks|docs)/[\w./]*)`", TEXT))
    named |= set(re.findall(r"`([\w-]+\.(?:txt|md|toml))`", TEXT))
    assert len(named) > 20
    assert sorted(path for path in named if not (REPOSITORY / path).exists()) == []


def test_modules_and_public_names_that_are_written_out_exist() -> None:
    named = set(re.findall(r"\b((?:kdcore|benchmarks)(?:\.\w+)+)\b(?!/)", TEXT))
    assert len(named) > 10
    lost = []
    for name in named:
        parent, _, last = name.rpartition(".")
        public = parent == "kdcore" and last in kdcore.__all__
        if not public and importlib.util.find_spec(name) is None:
            lost.append(name)
    assert lost == []


def test_the_environment_variables_that_are_named_are_read() -> None:
    source = "".join(path.read_text() for path in (REPOSITORY / "kdcore").rglob("*.py"))
    for name in set(re.findall(r"KD_[A-Z_]+", TEXT)):
        assert f'"{name}"' in source, name


def test_the_table_of_packages_is_in_the_order_that_import_linter_holds() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    contract = next(
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    layers = [re.findall(r"kdcore\.(\w+)", layer) for layer in reversed(contract["layers"])]
    rank = {name: number for number, names in enumerate(layers) for name in names}
    table = re.findall(r"^\| `kdcore/(\w+)`", DOCUMENTS["docs/architecture.md"], re.MULTILINE)
    packages = {path.parent.name for path in (REPOSITORY / "kdcore").glob("*/__init__.py")}
    assert set(table) == packages
    assert table == sorted(table, key=lambda name: rank[name])
