"""Commands that write what a paper or another program takes: figures, tables, trackers' files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from kdcore.analysis.comparison import compare
from kdcore.analysis.contenders import find_contenders
from kdcore.cli.common import TEST_ANYWAY, refuse_unsettled
from kdcore.errors import require
from kdcore.storage.schema import Sweep
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results
from kdcore.takeaway import decision, figures, tables, trackers
from kdcore.words import in_bytes


@click.command()
@click.argument("subject", metavar="ID")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where to write it: .pdf, .svg or .png.",
)
@click.option(
    "--chart", default=None, metavar="NAME", help="Which chart. [default: the first; see --list]"
)
@click.option(
    "--width",
    type=float,
    default=170,
    show_default=True,
    help="In millimetres: 85 for one column of a paper, 170 for two.",
)
@click.option("--list", "only_list", is_flag=True, help="List the charts that there are.")
@click.pass_obj
def figure(
    store_url: str, subject: str, file: Path, chart: str | None, width: float, only_list: bool
) -> None:
    """Write a chart of an experiment or a sweep as a vector file.

    A browser draws it: Chromium or Chrome must be installed.
    """
    there = figures.figures(Store(store_url), subject)
    require(len(there) > 0, "experiment", "one with a first point of its curves", subject)
    if only_list:
        for each in there.values():
            click.echo(f"{each.name:<24} {each.description}")
        return
    name = next(iter(there)) if chart is None else chart
    require(name in there, "chart", f"one of {', '.join(there)}", name)
    figures.write_figure(there[name].figure, file, width)
    click.echo(f"{file}: {there[name].description}, {width:g} mm, {in_bytes(file.stat().st_size)}")


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(tables.FORMATS)),
    default="markdown",
    show_default=True,
    help="csv has plain numbers; markdown and latex (booktabs) have intervals.",
)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Where to write it. [default: to the terminal]",
)
@click.option("--test-anyway", is_flag=True, help=TEST_ANYWAY)
@click.pass_obj
def table(
    store_url: str, ids: Sequence[str], form: str, file: Path | None, test_anyway: bool
) -> None:
    """Write models beside each other, or the cells of a sweep, as a table for a paper.

    ID is that of a sweep, or 2 to 6 models as the command compare takes them.
    """
    store = Store(store_url)
    with store.reading() as session:
        is_sweep = len(ids) == 1 and session.get(Sweep, ids[0]) is not None
    if not is_sweep and not test_anyway:
        refuse_unsettled(store, [each.experiment.id for each in find_contenders(store, ids)])
    made = (
        tables.sweep_table(sweep_results.load(store, ids[0]))
        if is_sweep
        else tables.comparison_table(compare(store, ids))
    )
    text = made.render(form)
    if file is None:
        click.echo(text, nl=False)
        return
    file.write_text(text, encoding="utf-8")
    click.echo(f"{file}: {len(made.words)} rows")


@click.command()
@click.argument("experiment_id")
@click.option("--kilobytes", type=float, default=None, help="How large the file may be.")
@click.option("--milliseconds", type=float, default=None, help="How long one answer may take.")
@click.option(
    "--points", type=float, default=None, help="How far accuracy may lie under the teacher's."
)
@click.option("--test-anyway", is_flag=True, help=TEST_ANYWAY)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def decide(
    store_url: str,
    experiment_id: str,
    kilobytes: float | None,
    milliseconds: float | None,
    points: float | None,
    test_anyway: bool,
    as_json: bool,
) -> None:
    """Say which exported file ships: all that were made, and the smallest that fits a budget."""
    budget = decision.Budget(kilobytes, milliseconds, points)
    store = Store(store_url)
    if not test_anyway:
        refuse_unsettled(store, [experiment_id])
    found = decision.options(store, experiment_id)
    chosen = decision.smallest(found, budget)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "files": [{**asdict(each), "fits": budget.allows(each)} for each in found],
                    "smallest": None if chosen is None else asdict(chosen),
                }
            )
        )
        return
    if not found:
        click.echo(f"no file is made yet: python -m kdcore export {experiment_id} makes them")
        return
    for each in found:
        mark = "*" if each == chosen else " " if budget.allows(each) else "-"
        click.echo(
            f"{mark} {each.title:<58} {each.kilobytes:>9,.1f} kB {each.milliseconds:>8.3f} ms "
            f"{100 * each.accuracy:>6.2f} % {-each.points_under_teacher:>+6.1f} points"
        )
    if chosen is None:
        click.echo("No file fits.")
    else:
        click.echo(decision.in_words(store, experiment_id, chosen))


@click.command(name="log-to")
@click.argument("tracker", type=click.Choice(["tensorboard", "mlflow"]))
@click.argument("place", metavar="DIR|URI")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def log_to(store_url: str, tracker: str, place: str, ids: Sequence[str]) -> None:
    """Write the curves and results of experiments for TensorBoard (to a folder) or MLflow (to a
    tracking URI).
    """
    store = Store(store_url)
    if tracker == "tensorboard":
        written = [str(path) for path in trackers.to_tensorboard(store, ids, Path(place))]
    else:
        written = trackers.to_mlflow(store, ids, place)
    click.echo(f"{len(written)} runs written to {place}")
