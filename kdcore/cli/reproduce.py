"""``python -m kdcore reproduce``: an experiment as a script, a notebook or a file of settings."""

from __future__ import annotations

import json

import click

from kdcore.analysis.results import load_results
from kdcore.errors import require
from kdcore.storage.schema import Sweep
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results
from kdcore.takeaway.reproduce import command, notebook, script, settings, sweep_command

OF_SWEEPS = ("command", "json")
KINDS = ("python", "notebook", "json", "command")


@click.command("reproduce")
@click.argument("subject", metavar="ID")
@click.option(
    "--as",
    "kind",
    default="python",
    show_default=True,
    metavar="KIND",
    help=f"One of {', '.join(KINDS)}.",
)
@click.pass_obj
def reproduce_command(store_url: str, subject: str, kind: str) -> None:
    """Print what trains an experiment again elsewhere: a script, a notebook, settings for train
    --config, or a command.

    Of a sweep, the command or its settings.
    """
    require(kind in KINDS, "as", f"one of {', '.join(KINDS)}", kind)
    store = Store(store_url)
    with store.reading() as session:
        found = session.get(Sweep, subject)
    if found is not None:
        require(kind in OF_SWEEPS, "as", f"{' or '.join(OF_SWEEPS)} for a sweep", kind)
        sweep = sweep_results.load(store, subject)
        as_json = json.dumps(sweep.config.to_dict(), indent=2)
        as_command = sweep_command(sweep.config, sweep.trials_each)
        click.echo(as_command if kind == "command" else as_json)
    elif kind in ("json", "command"):
        again = settings(load_results(store, subject))
        as_json = json.dumps(again.model_dump(mode="json"), indent=2)
        click.echo(command(again) if kind == "command" else as_json)
    else:
        click.echo({"python": script, "notebook": notebook}[kind](store, subject), nl=False)
