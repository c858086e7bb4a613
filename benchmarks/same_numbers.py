"""Whether a change left every number as it was: ``python -m benchmarks.same_numbers record|compare
FILE``.

A dozen small experiments of all kinds and a sweep are trained, and a digest of each model's test
logits is written to FILE, or compared with it. Digests are of one machine: record before a change
and compare after it on the same one.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from kdcore import ExperimentConfig, Store, run
from kdcore.cli.program import main as kdlab

SMALL: dict[str, Any] = {
    "teacher": "conv-16-32",
    "student": "conv-4-8",
    "teacher_epochs": 2,
    "epochs": 2,
    "seeds": 2,
}
DENSE = {**SMALL, "teacher": "mlp-64", "student": "mlp-8"}
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "labels few": {**SMALL, "labels": 100},
    "labels all": {**SMALL, "labels": None},
    "augmentation shifts": {**SMALL, "augmentation": "shifts"},
    "augmentation flips and shifts": {
        **SMALL,
        "augmentation": "flips and shifts",
        "labels": None,
        "seeds": 1,
    },
    "alpha 0": {**SMALL, "alpha": 0.0},
    "alpha 1": {**SMALL, "alpha": 1.0},
    "temperature 1": {**SMALL, "temperature": 1.0, "seed": 7},
    "uneven batches": {**SMALL, "training_examples": 333, "labels": 77, "batch_size": 50},
    "mlp": {**DENSE, "labels": 50},
    "resnet": {**SMALL, "teacher": "resnet-8-8", "student": "resnet-8-4", "seeds": 1},
    "another split": {**SMALL, "split_seed": 3, "teacher_seed": 5, "seeds": 1},
    "float32": {**SMALL, "precision": "float32", "seeds": 1},
}


def digest(logits: Any) -> str:
    """Return a short digest of an array's bytes."""
    return hashlib.sha256(logits.tobytes()).hexdigest()[:16]


def measured() -> dict[str, str]:
    """Train everything and return a digest for each model."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.db")
        for name, values in {**EXPERIMENTS, **own_file(store, Path(folder))}.items():
            outcome = run(ExperimentConfig(**values), store=store, progress=False)
            seeds = range(values.get("seed", 0), values.get("seed", 0) + values["seeds"])
            for role, seed in [
                ("teacher", None),
                *((role, seed) for role in ("student", "baseline") for seed in seeds),
            ]:
                found[f"{name}: {role} {seed}"] = digest(outcome.logits(role, "test", seed))
        found |= sweep(folder)
        store.close()
    return found


def own_file(store: Store, folder: Path) -> dict[str, dict[str, Any]]:
    """Add a model file to the store; return experiments that use it, as it is and anew."""
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dense(10),
        ]
    )
    model.save(folder / "mine.keras")
    done = CliRunner().invoke(
        kdlab, ["model", "add", "mine", str(folder / "mine.keras")], env={"KD_STORE": store.url}
    )
    assert done.exit_code == 0, done.output
    return {
        "own file": {**SMALL, "student": "mine", "student_start": "file", "seeds": 1},
        "own file anew": {**SMALL, "student": "mine", "seeds": 1},
    }


def sweep(folder: str) -> dict[str, str]:
    """Train a small sweep through the command line and return digests of its cells' students."""
    url = f"sqlite:///{folder}/sweep.db"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    done = CliRunner().invoke(
        kdlab,
        ["sweep", "--alpha", "0.1,0.9", "--temperature", "2,8", *options],
        env={"KD_STORE": url},
    )
    assert done.exit_code == 0, done.output
    store = Store(url)
    found = {}
    for experiment, _job in store.experiments():
        config = ExperimentConfig(**experiment.config)
        for link, trained in store.runs_of(experiment.id):
            from kdcore.analysis import results

            found[f"sweep α {config.alpha} T {config.temperature}: {link.role} {link.seed}"] = (
                digest(results.logits(store, trained, "test"))
            )
    store.close()
    return found


@click.command()
@click.argument("what", type=click.Choice(["record", "compare"]))
@click.argument("file", type=click.Path(path_type=Path))
def main(what: str, file: Path) -> None:
    """Record the digests in FILE, or compare with those there."""
    found = measured()
    if what == "record":
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False))
        print(f"{len(found)} models recorded in {file}")
        return
    known = json.loads(file.read_text())
    differing = [name for name in known if found.get(name) != known[name]]
    print(*(f"differs: {name}" for name in differing), sep="\n")
    print(f"{len(known) - len(differing)} of {len(known)} models are the same to the bit")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
