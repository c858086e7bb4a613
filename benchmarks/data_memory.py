"""How much memory it takes to bring many images along: ``python -m benchmarks.data_memory``.

Makes a zip of JPEG images of random colours, puts it into a store with ``python -m kdcore data
add``, then loads it as a worker does; each in a process of its own, whose peak memory is measured,
once with a tenth of the images and once with all.
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
from PIL import Image

from benchmarks.common import present

LOAD = """
import sys
from kdcore.data import datasets
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
store = Store(sys.argv[1])
data = datasets.load(ExperimentConfig(dataset="many", teacher="mlp-8", student="mlp-4", labels=None))
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


def peak(*command: str) -> tuple[float, float]:
    """Run a command; returns its peak memory in bytes and its seconds."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], capture_output=True, text=True
    )
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    return float(done.stdout.split()[-1]), time.perf_counter() - began


@click.command()
@click.option("--images", default=50_000, show_default=True)
@click.option("--size", default=64, show_default=True, help="Height and width in pixels.")
def main(images: int, size: int) -> None:
    """Measure the peak memory of adding and of loading a large dataset, and of a tenth of it."""
    rows: list[dict[str, Any]] = []
    for count in (images // 10, images):
        with tempfile.TemporaryDirectory() as folder:
            archive, store = Path(folder) / "many.zip", f"sqlite:///{folder}/store.db"
            make_zip(archive, count, size)
            steps = {
                "python -m kdcore data add": (
                    "-m",
                    "kdcore",
                    "--store",
                    store,
                    "data",
                    "add",
                    "many",
                    str(archive),
                ),
                "a worker loads it": ("-c", LOAD, store),
            }
            for what, arguments in steps.items():
                memory, seconds = peak(sys.executable, *arguments)
                rows.append(
                    {
                        "images": count,
                        "pixels in MB": count * size * size * 3 / 1e6,
                        "step": what,
                        "peak memory in MB": memory / 1e6,
                        "seconds": seconds,
                    }
                )
    adding = [row["peak memory in MB"] for row in rows if row["step"].startswith("python")]
    grown = (adding[1] - adding[0]) / (rows[-1]["pixels in MB"] - rows[0]["pixels in MB"])
    present(
        f"Bringing {images:,} images of {size}×{size} along",
        rows,
        growth_per_byte_of_pixels_when_adding=grown,
    )


if __name__ == "__main__":
    main()
