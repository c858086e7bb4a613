"""``python -m kdcore reproduce``: an experiment as a script, a notebook or a file of settings."""

from __future__ import annotations

import json

import click

from kdcore.analysis.results import load_results
from kdcore.errors import require
from kdcore.storage.store import Store
from kdcore.takeaway.reproduce import notebook, script, settings

KINDS = ("python", "notebook", "json")


@click.command("reproduce")
@click.argument("experiment_id")
@click.option(
    "--as",
    "kind",
    default="python",
    show_default=True,
    metavar="KIND",
    help=f"One of {', '.join(KINDS)}.",
)
@click.pass_obj
def reproduce_command(store_url: str, experiment_id: str, kind: str) -> None:
    """Print what trains an experiment again elsewhere: a script, a notebook, or settings for train
    --config.
    """
    require(kind in KINDS, "as", f"one of {', '.join(KINDS)}", kind)
    store = Store(store_url)
    if kind == "json":
        config = settings(load_results(store, experiment_id))
        click.echo(json.dumps(config.model_dump(mode="json"), indent=2))
    else:
        click.echo({"python": script, "notebook": notebook}[kind](store, experiment_id), nl=False)
