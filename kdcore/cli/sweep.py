"""``python -m kdcore sweep``: a sweep without a browser, with a progress bar, its map, its winner
and confirmation.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
import types
import typing
from collections.abc import Iterator
from typing import Any

import click
from tqdm import tqdm

from kdcore import sweeps
from kdcore.cli.common import SettingsCommand, follow
from kdcore.config.experiment import ExperimentConfig, read_setting
from kdcore.config.sweep import (
    STRATEGIES,
    Axis,
    SweepConfig,
    key_of,
    short_title_of,
    value_text,
    variable_fields,
)
from kdcore.engine.base import Engine
from kdcore.engine.choice import make_engine
from kdcore.errors import require
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results
from kdcore.sweeps import speed as sweep_speed
from kdcore.words import duration

# Looking costs time that the workers could use.
SECONDS_BETWEEN_POLLS = 0.5


@click.command(cls=SettingsCommand)
@click.option(
    "--config",
    "config_file",
    type=click.File("rb"),
    help="A JSON file of settings; options come on top.",
)
@click.option(
    "--strategy",
    default="grid",
    show_default=True,
    metavar="NAME",
    help=f"One of {', '.join(STRATEGIES)}.",
)
@click.option("--trials", default=25, show_default=True, help="How many cells TPE chooses.")
@click.option(
    "--prune", is_flag=True, help="Give cells up early that do badly (successive halving)."
)
@click.option(
    "--confirm",
    "confirm_seeds",
    type=int,
    is_flag=False,
    flag_value=sweeps.SEEDS_TO_CONFIRM,
    default=0,
    metavar="[SEEDS]",
    help="Train the winner again on fresh seeds.  [default number: 5]",
)
@click.option(
    "--extend",
    "extended",
    metavar="ID",
    help="Add the cells, seeds or trials to this sweep that it lacks.",
)
@click.option(
    "--resume", "resumed", metavar="ID", help="Go on with a paused, stopped or interrupted sweep."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=None,
    help="Side by side.  [default: one a core]",
)
@click.option("--name", default="", help="A name for lists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def sweep(
    store_url: str,
    config_file: typing.BinaryIO | None,
    strategy: str,
    trials: int,
    prune: bool,
    confirm_seeds: int,
    extended: str | None,
    resumed: str | None,
    workers: int | None,
    name: str,
    as_json: bool,
    **given: str | None,
) -> None:
    """Train a whole grid: every setting given as 1,2,4 or low:high:count varies.

    Ctrl-C stops, and keeps the work.
    """
    require(
        confirm_seeds == 0 or 2 <= confirm_seeds <= 100,
        "confirm",
        "from 2 to 100 seeds",
        confirm_seeds,
    )
    store = Store(store_url)
    engine = make_engine(store, workers=workers, idle_seconds=2.0)
    if resumed is not None:
        sweep_id = sweeps.get(store, resumed).id
        sweeps.resume(store, engine, sweep_id)
    else:
        base = ExperimentConfig.from_json(config_file.read()) if config_file else None
        config = _read(base, given, strategy, trials, prune)
        click.echo(str(sweep_speed.estimate(store, config, workers=engine.most_workers)), err=True)
        if extended is None:
            sweep_id = sweeps.create(store, config, name=name)
        else:
            sweep_id = sweeps.get(store, extended).id
            click.echo(f"{sweeps.extend(store, sweep_id, config)} jobs added", err=True)
        sweeps.submit(store, engine, sweep_id)
    follow_sweep(store, engine, sweep_id)
    best = sweep_results.load(store, sweep_id).best()
    finished = sweep_results.load(store, sweep_id).status == "finished"
    if confirm_seeds and finished and best is not None and best.values is not None:
        follow(store, engine, sweeps.confirm(store, engine, sweep_id, best.values, confirm_seeds))
    result = sweep_results.summary(store, sweep_id)
    click.echo(json.dumps(result) if as_json else in_words(store, sweep_id))
    raise SystemExit(0 if finished else 1)


def _read(
    base: ExperimentConfig | None,
    given: dict[str, str | None],
    strategy: str,
    trials: int,
    prune: bool,
) -> SweepConfig:
    """Make the sweep of the options: what lists values or a range varies, the rest belongs to all
    cells.
    """
    axes, fixed = [], {}
    for name, text in given.items():
        if text is None:
            continue
        if name in variable_fields() and ("," in text or ":" in text):
            axes.append(Axis.parse(name, text))
        else:
            fixed[name] = read_setting(name, text)
    if not axes:
        axes = [
            Axis("alpha", (0.1, 0.3, 0.5, 0.7, 0.9)),
            Axis("temperature", (1.0, 2.0, 4.0, 8.0, 16.0)),
        ]
        axes = [axis for axis in axes if axis.field not in fixed]
    shared = ExperimentConfig(**fixed) if base is None else base.replace(**fixed)
    return SweepConfig(shared, tuple(axes), strategy, trials, prune)  # type: ignore[arg-type]


def follow_sweep(store: Store, engine: Engine, sweep_id: str) -> None:
    """Show how far a sweep is on stderr until it ends; Ctrl-C asks it to stop."""
    bar = tqdm(
        total=100,
        file=sys.stderr,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
        leave=True,
    )
    with bar, _interrupt_stops(store, engine, sweep_id):
        while True:
            engine.tend()
            sweeps.tend(store, engine, sweep_id)
            found = sweep_results.load(store, sweep_id)
            bar.n = round(100 * found.progress)
            bar.set_description_str(found.counted)
            left, speed = found.seconds_left, found.examples_per_second
            words = [] if speed is None else [f"{speed:,.0f} examples/s"]
            words += [] if left is None else [f"about {duration(left)} left"]
            bar.set_postfix_str(", ".join(words))
            if found.status != "running":
                break
            time.sleep(SECONDS_BETWEEN_POLLS)
    for job in found.jobs:
        if job.error:
            click.echo(f"{job.id} {job.status}: {job.error}", err=True)


@contextlib.contextmanager
def _interrupt_stops(store: Store, engine: Engine, sweep_id: str) -> Iterator[None]:
    def on_interrupt(_number: int, _frame: types.FrameType | None) -> None:
        click.echo("stopping at the next batch", err=True)
        sweeps.stop(store, engine, sweep_id)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def in_words(store: Store, sweep_id: str) -> str:
    """Return a sweep's map as a table, its winner and its confirmation, for a terminal."""
    found = sweep_results.load(store, sweep_id)
    lines = [f"sweep {sweep_id}: {found.status}, {found.config.describe()}", *_map(found)]
    chosen = sweep_results.winner(store, found)
    if chosen is not None:
        lines += ["", chosen.words]
    confirmed = sweep_results.confirmation(store, found)
    if confirmed is not None:
        lines.append(confirmed["words"] or f"Confirmation: {confirmed['status']}.")
    return "\n".join(lines)


def _map(found: sweep_results.SweepResults) -> list[str]:
    """Return the cells as lines: a map for two varied settings of a grid, a list for others, the
    best one starred.
    """
    best, cells = found.best(), found.by_values()

    def entry(cell: sweep_results.Cell | None) -> str:
        if cell is None or cell.accuracy is None:
            return "–" if cell is None else cell.status
        star = "*" if best is not None and cell.id == best.id else ""
        sure = "" if cell.proven else "?"
        gain = f" {cell.gain.mean:+.1f}{sure}" if cell.gain else ""
        return f"{star}{100 * cell.accuracy:.1f}{gain}"

    if len(found.config.axes) == 2 and found.config.strategy == "grid":
        down, across = found.config.axes
        head = [
            f"{short_title_of(down.field)} ↓ {short_title_of(across.field)} →",
            *map(value_text, across.values),
        ]
        rows: list[list[Any]] = [
            [
                value_text(one),
                *(
                    entry(cells.get(key_of({down.field: one, across.field: two})))
                    for two in across.values
                ),
            ]
            for one in down.values
        ]
        table = [head, *rows]
    else:
        table = [["accuracy", "settings"]]
        ordered = sorted(found.cells, key=lambda cell: -(cell.accuracy or 0))
        table += [
            [entry(cell), sweep_results.settings_words(cell.values or {})] for cell in ordered
        ]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return [
        *lines,
        "Accuracy on validation data in %, gain over the baseline in points (?: its interval includes no gain).",
    ]
