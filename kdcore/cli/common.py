"""What all commands share: errors in one line, options made from the settings, a job followed on a
progress bar.
"""

from __future__ import annotations

import contextlib
import sys
import time
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import click
from tqdm import tqdm

from kdcore.analysis.unsettled import WHY, unsettled_among
from kdcore.config.experiment import all_settings
from kdcore.config.parts import PARTS
from kdcore.engine.base import Engine
from kdcore.engine.choice import make_engine
from kdcore.errors import ConfigError, KDLabError, StoreError
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store

SECONDS_BETWEEN_POLLS = 0.2
TEST_ANYWAY = "Show test data of cells of a sweep without a winner; who chooses by it can no longer report it."


def refuse_unsettled(store: Store, experiment_ids: Iterable[str]) -> None:
    """Raise StoreError where one is a cell of a sweep without a winner yet."""
    if cells := unsettled_among(store, experiment_ids):
        raise StoreError(f"{', '.join(sorted(cells))}: {WHY} --test-anyway shows it")


class Commands(click.Group):
    """Turns every KD Lab error into one line on stderr and exit status 2 (bad input) or 1 (anything
    else).
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and put a refusal in words."""
        try:
            return super().invoke(ctx)
        except KDLabError as error:
            click.echo(f"Error: {error}", err=True)
            raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None


def _metavar(annotation: Any) -> str:
    kinds = [
        kind for kind in (typing.get_args(annotation) or (annotation,)) if isinstance(kind, type)
    ]
    names = {int: "INTEGER", float: "NUMBER"}
    return names.get(kinds[0], "NAME") if kinds else "NAME"


class SettingsCommand(click.Command):
    """A command with one option for every setting, those of methods and plans included that a
    module of ``KD_PLUGINS`` has registered by the time the command is called.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters after those made from the settings."""
        options = [option for name in all_settings() for option in _options(name)]
        return [*options, *super().get_params(ctx)]


def _options(name: str) -> list[click.Option]:
    """Return a setting's options: what can be switched off has --no-... as well."""
    options = [_option(name)]
    if "off" in typing.get_args(all_settings()[name].annotation):
        off = f"--no-{name.replace('_', '-')}"
        options.append(click.Option([off, name], flag_value="off", default=None, hidden=True))
    return options


def _option(name: str) -> click.Option:
    """Return a setting's option.

    It takes text as typed: the config reads the number, so that a bad one gets the same answer
    everywhere.
    """
    field = all_settings()[name]
    default = field.default.name if name in PARTS else field.default
    shown = "all" if default is None else str(default)
    of_kinds = {
        kind.name: kind.model_fields[name].default
        for kinds in PARTS.values()
        for kind in kinds.known.values()
        if name in kind.model_fields
    }
    if of_kinds:
        shown = ", ".join(f"{value} ({kind})" for kind, value in of_kinds.items())
    description = field.description
    if "off" in typing.get_args(field.annotation):
        description = f"{description} --no-{name.replace('_', '-')} is off."
    if name in PARTS:
        description = f"{description} One of {', '.join(PARTS[name].known)}."
    return click.Option(
        [f"--{name.replace('_', '-')}", name],
        default=None,
        metavar=_metavar(field.annotation),
        help=f"{description} [default: {shown}]",
    )


def follow(store: Store, engine: Engine, experiment_id: str) -> JobStatus:
    """Show a job's progress on stderr until it ends; Ctrl-C asks it to stop."""
    bar = tqdm(
        total=100,
        file=sys.stderr,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
        leave=True,
    )
    with bar, _interrupt_stops(engine, experiment_id):
        while True:
            engine.tend()
            job = store.job(experiment_id)
            bar.n = round(100 * job.progress)
            bar.set_description_str(job.phase)
            bar.set_postfix_str(
                f"{job.seconds_left:.0f} s left in this phase" if job.seconds_left else ""
            )
            if not (status := JobStatus(job.status)).live:
                break
            time.sleep(SECONDS_BETWEEN_POLLS)
    if job.error:
        click.echo(f"{status}: {job.error}", err=True)
    return status


def carry_out(store: Store, kind: str, payload: dict[str, Any]) -> str:
    """Have a worker do a job, and follow it; returns its id. Exits where it does not finish."""
    job_id = store.add_job(kind, payload)
    engine = make_engine(store, idle_seconds=2.0)
    engine.submit(job_id)
    if follow(store, engine, job_id) is not JobStatus.FINISHED:
        raise SystemExit(1)
    return job_id


@contextlib.contextmanager
def _interrupt_stops(engine: Engine, experiment_id: str) -> Iterator[None]:
    import signal

    def on_interrupt(_number: int, _frame: types.FrameType | None) -> None:
        click.echo("stopping at the next batch", err=True)
        engine.cancel(experiment_id)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
