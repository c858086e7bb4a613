"""Commands over the collection of experiments: list, edit, delete, restore, purge, and their curves
as a file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd

from kdcore.analysis import library
from kdcore.storage.disk import experiment_bytes, store_bytes
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.takeaway.metrics_table import write_metrics
from kdcore.words import in_bytes

SECONDS_A_DAY = 86_400


@click.command(name="list")
@click.option("--text", default="", help="Words in name, note, tags, settings, status or id.")
@click.option(
    "--dataset", "datasets", multiple=True, help="Only with this dataset; may be repeated."
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in JobStatus]),
    help="Only in this state; may be repeated.",
)
@click.option(
    "--tag", "tags", multiple=True, help="Only with this tag; repeated: with all of them."
)
@click.option("--starred", is_flag=True, help="Only with a star.")
@click.option(
    "--sweep",
    help="Only the cells of the sweep with this id; empty: only what belongs to no sweep.",
)
@click.option("--deleted", is_flag=True, help="What is in the trash instead.")
@click.option(
    "--test-of-cells",
    is_flag=True,
    help="Test data also of cells of a sweep without a winner; choosing by it spoils the report.",
)
@click.option("--fold-sweeps", is_flag=True, help="One row for all cells of a sweep.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.pass_obj
def list_(
    store_url: str,
    as_json: bool,
    deleted: bool,
    test_of_cells: bool,
    fold_sweeps: bool,
    **wanted: Any,
) -> None:
    """List experiments, newest first."""
    table = library.listing(Store(store_url), deleted=deleted, test_of_cells=test_of_cells)
    shown = library.matching(table, **wanted)
    if fold_sweeps:
        shown = library.fold_sweeps(shown)
    if as_json:
        click.echo(json.dumps(records(shown)))
        return
    for row in shown.itertuples():
        click.echo(_in_one_line(row))
    if not len(table):
        click.echo(
            "The trash is empty" if deleted else "No experiments yet: python -m kdcore train",
            err=True,
        )
    elif not len(shown):
        click.echo(f"None of {len(table)} experiments fits", err=True)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a listing for JSON: one object a row, with None for what there is not."""
    return [
        {
            name: value if isinstance(value, list) or pd.notna(value) else None
            for name, value in row.items()
        }
        for row in table.astype(object).to_dict("records")
    ]


def _in_one_line(row: Any) -> str:
    split = " (validation)" if row.split == "validation" else ""
    gain = "" if pd.isna(row.gain) else f"{row.gain:+.1f} points{split}"
    name = f"  {row.name}" if row.name else ""
    tags = "".join(f"  #{tag}" for tag in row.tags)
    star = "*" if row.starred else " "
    return f"{row.experiment} {star} {row.status:<11}  {gain:>13}  {row.description}{name}{tags}"


experiments = click.argument("experiment_ids", nargs=-1, required=True, metavar="ID...")


@click.command()
@experiments
@click.option("--name", help="A name for lists; empty: none.")
@click.option("--note", help="A text to remember it by; empty: none.")
@click.option("--star/--no-star", "starred", default=None, help="Give a star, or take it away.")
@click.option("--tag", "add_tags", multiple=True, help="Add a tag; may be repeated.")
@click.option("--untag", "remove_tags", multiple=True, help="Take a tag away; may be repeated.")
@click.pass_obj
def edit(store_url: str, experiment_ids: Sequence[str], **changes: Any) -> None:
    """Name, annotate, star or tag experiments."""
    library.edit(Store(store_url), experiment_ids, **changes)
    click.echo(f"{_count(len(experiment_ids))} changed")


@click.command()
@experiments
@click.pass_obj
def delete(store_url: str, experiment_ids: Sequence[str]) -> None:
    """Put experiments into the trash: hidden everywhere, until restore brings them back or purge
    destroys them.
    """
    library.delete_experiments(Store(store_url), experiment_ids)
    ids = " ".join(experiment_ids)
    click.echo(
        f"{_count(len(experiment_ids))} in the trash; python -m kdcore restore {ids} brings back"
    )


@click.command()
@experiments
@click.pass_obj
def restore(store_url: str, experiment_ids: Sequence[str]) -> None:
    """Take experiments out of the trash."""
    library.restore_experiments(Store(store_url), experiment_ids)
    click.echo(f"{_count(len(experiment_ids))} restored")


@click.command()
@click.argument("experiment_ids", nargs=-1, metavar="[ID...]")
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Without ids: only what was deleted at least this many days ago.",
)
@click.pass_obj
def purge(store_url: str, experiment_ids: Sequence[str], days: float) -> None:
    """Destroy what is in the trash for good, all of it or by id, and free its disk space.

    Models and teacher logits that another experiment uses are kept.
    """
    store = Store(store_url)
    purged = library.purge(
        store, experiment_ids or library.trash(store, older_than=days * SECONDS_A_DAY)
    )
    words = f"{_count(purged.experiments)} and {purged.runs} runs destroyed, {in_bytes(purged.bytes)} freed"
    click.echo(f"{words}; the store has {in_bytes(store_bytes(store))}")


@click.command()
@click.argument("experiment_ids", nargs=-1, metavar="[ID...]")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object: bytes by experiment, and of the store.",
)
@click.pass_obj
def disk(store_url: str, experiment_ids: Sequence[str], as_json: bool) -> None:
    """Show how much disk space experiments take (all of them by default), and the store with all
    that is in it.
    """
    store = Store(store_url)
    chosen = experiment_ids or [experiment.id for experiment, _ in store.experiments()]
    sizes = experiment_bytes(
        store, [store.experiment(experiment_id).id for experiment_id in chosen]
    )
    total = store_bytes(store)
    if as_json:
        click.echo(json.dumps({"experiments": sizes, "store": total}))
        return
    for experiment_id, size in sorted(sizes.items(), key=lambda item: -item[1]):
        click.echo(f"{experiment_id}  {in_bytes(size):>10}")
    click.echo(f"store       {in_bytes(total):>10}")


@click.command()
@experiments
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where to write it; .csv or .parquet says as what.",
)
@click.pass_obj
def metrics(store_url: str, experiment_ids: Sequence[str], file: Path) -> None:
    """Write the curves of experiments to a CSV or Parquet file, one row a point."""
    points = write_metrics(Store(store_url), experiment_ids, file)
    click.echo(f"{points:,} points of {_count(len(set(experiment_ids)))} written to {file}")


def _count(number: int) -> str:
    return f"{number} experiment{'' if number == 1 else 's'}"


COMMANDS = (list_, edit, delete, restore, purge, disk, metrics)
