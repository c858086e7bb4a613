"""What stands above the Keras line starts without Keras.

import-linter, in `make check`, holds the rest of the layers.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UPPER = [
    "config",
    "methods",
    "settings",
    "storage",
    "data",
    "tasks",
    "engine",
    "analysis",
    "sweeps",
    "charts",
    "takeaway",
    "cli",
    "errors",
    "palette",
    "glossary",
    "words",
]
HEAVY = {"keras", "tensorflow", "torch", "jax", "streamlit"}


def modules() -> list[str]:
    """Every module of the upper packages."""
    files = [file for name in UPPER for file in (ROOT / "kdcore").glob(f"{name}.py")]
    files += [file for name in UPPER for file in (ROOT / "kdcore" / name).rglob("*.py")]
    # alembic runs the migrations itself, by their path.
    files = [
        file for file in files if "migrations" not in file.parent.parts or file.stem == "__init__"
    ]
    return [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in files
    ]


def test_the_upper_half_loads_neither_keras_nor_streamlit() -> None:
    names = ["kdcore", *modules()]
    assert len(names) > 60
    imports = "\n".join(f"import {name}" for name in names)
    script = f"import sys\n{imports}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not set(done.stdout.split()) & HEAVY
