"""The layers hold: who may import whom, and what the dashboard process never loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEVELS = {
    0: {"database", "ray_engine", "artifacts", "cursors", "queueing", "sweep_charts", "sweep_config", "sweeps",
        "sweep_study", "sweep_results", "sweep_speed", "errors", "catalog", "config", "schema", "arrays",
        "statistics", "temperature", "store", "jobs", "engine", "results", "charts", "palette", "contenders",
        "comparison", "library", "disk", "metrics_table", "report", "downloads", "model_card", "snippets",
        "data_check", "glyphs", "ingest", "source_arrays", "source_common", "source_images", "source_tables",
        "sources", "user_data", "outcome", "reproduce", "drawing", "predictions", "user_models", "candidates"},
    1: {"datasets", "models", "losses", "precision", "augmentation", "own_models", "linear_tail",
        "strided_gradients"},
    2: {"training", "kept_loops", "evaluation", "teacher_logits", "distiller", "callbacks"},
    3: {"sweep_jobs", "experiment", "measuring", "export", "predict", "candidate_job"},
    4: {"cli_sweep", "worker", "cli", "cli_common", "cli_compare", "cli_library", "cli_report", "cli_export",
        "__main__", "cli_data", "cli_reproduce", "cli_predict", "cli_model", "cli_candidates"},
}  # fmt: skip
LEVEL_OF = {module: level for level, modules in LEVELS.items() for module in modules}
HEAVY = {"keras", "tensorflow", "torch", "jax"}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Names of all modules that a file imports; with ``top_level_only``, those imported when it is."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def kdcore_modules(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("kdcore.") and name.split(".")[1] in LEVEL_OF}


def test_every_module_has_a_level() -> None:
    modules = {path.stem for path in (ROOT / "kdcore").glob("*.py")} - {"__init__"}
    assert modules == set(LEVEL_OF)


@pytest.mark.parametrize("module", sorted(LEVEL_OF))
def test_a_module_imports_only_its_own_level_and_those_below(module: str) -> None:
    names = imports(ROOT / "kdcore" / f"{module}.py", top_level_only=True)
    assert all(LEVEL_OF[other] <= LEVEL_OF[module] for other in kdcore_modules(names))
    if LEVEL_OF[module] == 0:
        assert not {name.split(".")[0] for name in names} & (HEAVY | {"streamlit"})


def test_there_are_no_import_cycles() -> None:
    graph = {
        module: kdcore_modules(imports(ROOT / "kdcore" / f"{module}.py", top_level_only=True)) for module in LEVEL_OF
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for other in graph[module]:
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    "path", [ROOT / "dashboard.py", *sorted((ROOT / "pages").rglob("*.py"))], ids=lambda path: path.stem
)
def test_the_dashboard_uses_only_the_lowest_level(path: Path) -> None:
    names = imports(path)
    assert not {name.split(".")[0] for name in names} & HEAVY
    assert all(LEVEL_OF[module] == 0 for module in kdcore_modules(names))


@pytest.mark.parametrize("module", ["kdcore", *(f"kdcore.{name}" for name in sorted(LEVELS[0]))])
def test_importing_the_lowest_level_loads_neither_keras_nor_streamlit(module: str) -> None:
    script = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not set(done.stdout.split()) & (HEAVY | {"streamlit"})
