"""The command that writes experiments down as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from kdcore.cli.common import TEST_ANYWAY, refuse_unsettled
from kdcore.storage.store import Store
from kdcore.takeaway.report import html_report
from kdcore.words import in_bytes


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option(
    "--html",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where to write it.",
)
@click.option("--test-anyway", is_flag=True, help=TEST_ANYWAY)
@click.pass_obj
def report(store_url: str, ids: Sequence[str], file: Path, test_anyway: bool) -> None:
    """Write experiments (or single runs, by id) as one HTML file with curves, table, verdict,
    settings and versions.

    It opens in any browser, without a network.
    """
    store = Store(store_url)
    if not test_anyway:
        refuse_unsettled(store, ids)
    text = html_report(store, ids)
    file.write_text(text, encoding="utf-8")
    click.echo(f"{file}: {in_bytes(len(text.encode()))}, opens in any browser without a network")
