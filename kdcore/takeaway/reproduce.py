"""An experiment as code: a short script or notebook of public kdcore calls that trains it again,
with the same numbers.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from kdcore.analysis.results import Results, load_results
from kdcore.config.catalog import dataset_card, own_model
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import SweepConfig, value_text
from kdcore.errors import ConfigError
from kdcore.storage.schema import ROLES
from kdcore.storage.store import Store

_WHERE = (
    "Run it with KD Lab's folder as the current one, in its environment. The seeds fix everything: on the same kind of\n"
    "machine and versions the numbers are the same to the last digit."
)

_OWN = "The store that has your data and models: KD_STORE's, or KD Lab's own. The same file is known to any it is added to."


def settings(results: Results) -> ExperimentConfig:
    """Return the settings that train the same models anywhere: "auto" precision becomes what was
    used here.
    """
    config = results.config
    used = [
        run.summary["precision"] for run in results.runs("teacher") if "precision" in run.summary
    ]
    return (
        config.replace(precision="bfloat16" if "bfloat16" in used[0] else "float32")
        if used
        else config
    )


def script(store: Store, experiment_id: str) -> str:
    """Return a Python script that trains an experiment again and compares accuracies.

    Raises StoreError.
    """
    results = load_results(store, experiment_id)
    return "\n\n".join([f'"""{_title(results)}\n\n{_WHERE}\n"""', *_parts(results)]) + "\n"


def command(config: ExperimentConfig) -> str:
    """Return the command line that trains an experiment: what differs from the defaults."""
    return _command("train", _options(config))


def sweep_command(config: SweepConfig, trials: int = 0) -> str:
    """Return the command line that trains a sweep; ``trials`` is how many the settings of each
    method of a race were tuned with.
    """
    if config.method_settings or config.searches:
        settings = ["--trials", str(trials)] if config.searches else ["--settings", "papers"]
        shared = {**_options(config.base), "seeds": str(config.base.seeds)}
        return " ".join(
            [_command("race", shared), "--methods", ",".join(config.methods), *settings]
        )
    # A comma says that a setting varies, also where it has one value.
    varied = {
        axis.field: f"{axis}," if len(axis.values) == 1 else str(axis) for axis in config.axes
    }
    options = {**_options(config.base), **varied}
    extra = {"strategy": config.strategy, "trials": str(config.trials)}
    more = [f"--{name} {value}" for name, value in extra.items() if config.strategy != "grid"]
    return " ".join([_command("sweep", options), *more, *(["--prune"] if config.prune else [])])


def _options(config: ExperimentConfig) -> dict[str, str]:
    values = config.model_dump(mode="json")
    # What the other settings depend on: networks for images would be refused beside texts.
    kinds = {
        "dataset": config.dataset,
        "method": config.method.name,
        "plan": config.plan.name,
        "teacher": config.teacher,
        "student": config.student,
    }
    usual = ExperimentConfig().model_dump(mode="json")
    try:
        plain = ExperimentConfig(**kinds).model_dump(mode="json")
    except ConfigError:  # these fit with other settings of theirs alone: all of them are said
        plain = usual
    return {
        name: value_text(value)
        for name, value in values.items()
        if value != plain.get(name) or name == "labels" or (name in kinds and value != usual[name])
    }


def _command(name: str, options: Mapping[str, str]) -> str:
    given = [
        f"--{setting.replace('_', '-')} {shlex.quote(text)}" for setting, text in options.items()
    ]
    return " ".join(["python -m kdcore", name, *given])


def notebook(store: Store, experiment_id: str) -> str:
    """Return the same as a Jupyter notebook (nbformat 4.5 JSON), with its curves.

    Raises StoreError.
    """
    results = load_results(store, experiment_id)
    chart = (
        "from kdcore import charts\n\n"
        f'charts.learning_curves(outcome.curves(), measure="accuracy", end={results.config.epochs})'
    )
    cells = [
        ("markdown", f"# {_title(results)}\n\n{_WHERE}"),
        *(("code", part) for part in _parts(results)),
        ("code", chart),
    ]
    made: dict[str, Any] = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        "cells": [_cell(number, kind, source) for number, (kind, source) in enumerate(cells)],
    }
    return json.dumps(made, indent=1, ensure_ascii=False)


def _title(results: Results) -> str:
    config = results.config
    return f"KD Lab experiment {results.experiment.id}: {config.teacher} teaches {config.student} on {config.dataset}."


def _parts(results: Results) -> list[str]:
    """Return the code in three parts: the settings, the training, and what it came to beside what
    was recorded.
    """
    values = settings(results).model_dump(mode="json")
    arguments = "".join(f"    {name}={value!r},\n" for name, value in values.items())
    recorded = {role: results.accuracies(role) for role in ROLES}
    lines = "".join(
        f"    {role!r}: {accuracies!r},\n" for role, accuracies in recorded.items() if accuracies
    )
    config = results.config
    own = not dataset_card(config.dataset).builder or any(
        own_model(name) is not None for name in (config.teacher, config.student)
    )
    known = f"# {_OWN}\nstore = kdcore.Store()\n\n" if own else ""
    return [
        f"import kdcore\n\n{known}config = kdcore.ExperimentConfig(\n{arguments})",
        f"outcome = kdcore.run(config{', store=store' if own else ''})",
        f"recorded = {{\n{lines}}}\n"
        "for role, accuracies in recorded.items():\n"
        '    print(f"{role}: accuracy {outcome.accuracies(role)}, recorded {accuracies}")\n'
        "print(outcome.gain.verdict)",
    ]


def _cell(number: int, kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "id": f"cell-{number}",
        "cell_type": kind,
        "metadata": {},
        "source": source,
    }
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell
