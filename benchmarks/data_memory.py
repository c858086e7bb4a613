"""How much memory it takes to bring many examples along: ``python -m benchmarks.data_memory``.

Makes a zip of JPEG images of random colours, or with ``--texts`` a table of short texts, puts it
into a store with ``python -m kdcore data add``, then loads it as a worker does; each in a process
of its own, whose peak memory is measured, once with a tenth of the examples and once with all.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.common import present

LOAD = """
import sys
from kdcore.data import datasets
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
store = Store(sys.argv[1])
teacher, student = sys.argv[2:]
data = datasets.load(ExperimentConfig(dataset="many", teacher=teacher, student=student, labels=None))
print(len(data.train))
"""
# Runs a command and prints its peak memory in bytes, last.
MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
sys.stderr.write(done.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(done.returncode)
"""


def make_zip(path: Path, images: int, size: int) -> None:
    """Write so many images of ten classes.

    Noise, so that no two are equal and nothing compresses well.
    """
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(images):
            file = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(
                file, "JPEG"
            )
            archive.writestr(f"class{number % 10}/{number}.jpg", file.getvalue())


def make_table(path: Path, texts: int, characters: int) -> None:
    """Write so many texts of ten classes, of words that have no meaning and are all different."""
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz    "))
    drawn = ["".join(row) for row in letters[random.integers(0, 30, (texts, characters))]]
    labels = [f"class{number % 10}" for number in range(texts)]
    pd.DataFrame({"text": drawn, "label": labels}).to_csv(path, index=False)


def peak(*command: str) -> tuple[float, float]:
    """Run a command; returns its peak memory in bytes and its seconds."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], capture_output=True, text=True
    )
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    return float(done.stdout.split()[-1]), time.perf_counter() - began


def measure(file: Path, networks: tuple[str, str], *how: str) -> list[dict[str, Any]]:
    """Add a file to a store of its own and load it; returns a row for each."""
    store = f"sqlite:///{file.parent}/store.db"
    steps = {
        "python -m kdcore data add": (
            *("-m", "kdcore", "--store", store, "data", "add", "many", str(file)),
            *how,
        ),
        "a worker loads it": ("-c", LOAD, store, *networks),
    }
    rows = []
    for what, arguments in steps.items():
        memory, seconds = peak(sys.executable, *arguments)
        rows.append({"step": what, "peak memory in MB": memory / 1e6, "seconds": seconds})
    return rows


@click.command()
@click.option("--examples", default=50_000, show_default=True)
@click.option("--size", default=64, show_default=True, help="Height and width in pixels.")
@click.option("--texts", is_flag=True, help="Texts in place of images; size is their characters.")
def main(examples: int, size: int, texts: bool) -> None:
    """Measure the peak memory of adding and of loading a large dataset, and of a tenth of it."""
    rows: list[dict[str, Any]] = []
    bytes_each = size if texts else size * size * 3
    for count in (examples // 10, examples):
        with tempfile.TemporaryDirectory() as folder:
            if texts:
                file = Path(folder) / "many.csv"
                make_table(file, count, size)
                how = ("--text-column", "text", "--label", "label", "--length", str(size))
                found = measure(file, ("bag-16", "bag-4"), *how)
            else:
                file = Path(folder) / "many.zip"
                make_zip(file, count, size)
                found = measure(file, ("mlp-8", "mlp-4"))
        about = {"examples": count, "raw MB": count * bytes_each / 1e6}
        rows += [{**about, **row} for row in found]
    adding = [row["peak memory in MB"] for row in rows if row["step"].startswith("python")]
    grown = (adding[1] - adding[0]) / (rows[-1]["raw MB"] - rows[0]["raw MB"])
    kind = f"texts of {size} characters" if texts else f"images of {size}×{size}"
    present(f"Bringing {examples:,} {kind} along", rows, growth_per_raw_byte_when_adding=grown)


if __name__ == "__main__":
    main()
