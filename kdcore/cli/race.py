"""``python -m kdcore race``: which distillation method pays on this data, in one league table."""

from __future__ import annotations

import json
import typing
from pathlib import Path

import click

from kdcore import sweeps
from kdcore.cli.common import SettingsCommand
from kdcore.cli.sweep import follow_sweep
from kdcore.config.experiment import ExperimentConfig, read_setting, starting_config
from kdcore.config.parts import PARTS
from kdcore.engine.choice import make_engine
from kdcore.errors import require
from kdcore.storage.store import Store
from kdcore.sweeps import race as races
from kdcore.sweeps import results as sweep_results

FORMATS = (".csv", ".md")


@click.command(cls=SettingsCommand)
@click.option(
    "--methods",
    default="all",
    show_default=True,
    metavar="NAMES",
    help="Which methods race, with commas; all: every one that fits the data and the student.",
)
@click.option(
    "--settings",
    metavar="NAME",
    help="Where each method's own settings come from: papers, defaults, or tuned on validation "
    "data.  [default: papers]",
)
@click.option(
    "--trials",
    type=int,
    metavar="INTEGER",
    help=f"How many trials each method is tuned with.  [default: {races.TRIALS}, where tuned]",
)
@click.option(
    "--config",
    "config_file",
    type=click.File("rb"),
    help="A JSON file of settings; options come on top.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the table: .csv or .md.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=None,
    help="Side by side.  [default: one a core]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def race(
    store_url: str,
    methods: str,
    settings: str | None,
    trials: int | None,
    config_file: typing.BinaryIO | None,
    output: Path | None,
    workers: int | None,
    as_json: bool,
    **given: str | None,
) -> None:
    """Let methods teach the same student over the same seeds, and compare them on test data.

    Ctrl-C stops, and keeps the work: the same command goes on from there.
    """
    require(output is None or output.suffix in FORMATS, "output", "a .csv or .md file", str(output))
    settings = settings or ("papers" if trials is None else "tuned")
    tuned = trials is None or settings == "tuned"
    require(tuned, "trials", "left out: they are for --settings tuned", trials)
    base = _read(config_file, given)
    entrants = races.entrants(base, methods)
    race = races.Race(base, tuple(entrants), settings, trials or races.TRIALS)  # type: ignore[arg-type]
    store = Store(store_url)
    engine = make_engine(store, workers=workers, idle_seconds=2.0)
    click.echo(str(race.estimate(store, engine.most_workers)), err=True)
    sweep_id = races.create(store, race)
    sweeps.submit(store, engine, sweep_id)
    follow_sweep(store, engine, sweep_id)
    found = sweep_results.load(store, sweep_id)
    if not races.has_result(found):
        click.echo(f"sweep {sweep_id}: {found.status}", err=True)
        raise SystemExit(1)
    table = races.league(store, found)
    if output is not None:
        output.write_text(table.csv() if output.suffix == ".csv" else table.markdown())
    click.echo(json.dumps(table.to_dict()) if as_json else in_words(base, table))
    if table.missing:
        raise SystemExit(1)


def _read(config_file: typing.BinaryIO | None, given: dict[str, str | None]) -> ExperimentConfig:
    """Return what all methods share: the dataset's own start with what was given on top."""
    for name, text in given.items():
        of_method = name == "method" or PARTS["method"].has(name)
        require(not (of_method and text), name, "left out: --methods names what races", text)
    settings = {name: read_setting(name, text) for name, text in given.items() if text is not None}
    if config_file is not None:
        read = ExperimentConfig.from_json(config_file.read())
        plain = type(read.method)()
        rule = "one with the defaults of its method: --methods names what races"
        require(read.method == plain, "config", rule, read.method.describe())
        return read.replace(**settings)
    start = starting_config(str(settings.get("dataset", "digits")))
    return start.replace(**{"seeds": races.SEEDS, **settings})


def in_words(base: ExperimentConfig, table: races.League) -> str:
    """Return the league table for a terminal."""
    lines = [table.HEAD, *table.cells()]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.HEAD))]
    labels = "all labels" if base.labels is None else f"{base.labels:,} labels"
    return "\n".join(
        [
            f"{base.dataset}, {labels}, {base.teacher} teaches {base.student}, {base.seeds} seeds",
            *(
                "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
                for line in lines
            ),
            "Test data; gains in points with 95 % intervals; step: its time, plain distillation = 1.",
            "",
            table.said,
        ]
    )
