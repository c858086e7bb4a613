"""``python -m kdcore export``: a trained model as files that work without KD Lab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from kdcore.cli.common import TEST_ANYWAY, follow, refuse_unsettled
from kdcore.engine.choice import make_engine
from kdcore.methods.distillation_token import BOTH_HEADS, TOKEN_HEADS
from kdcore.storage.schema import ROLES, Export
from kdcore.storage.store import Store
from kdcore.takeaway.downloads import (
    FORMATS,
    bundle,
    bundle_name,
    exports,
    find_run,
    request,
)
from kdcore.takeaway.limits import limits


@click.command("export")
@click.argument("run_or_experiment")
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="FORMAT",
    help=f"One of {', '.join(FORMATS)}; may be given several times. [default: all]",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("exports"),
    show_default=True,
    help="Where to write the files.",
)
@click.option(
    "--role",
    default="student",
    show_default=True,
    metavar="ROLE",
    help=f"Which model of an experiment: {', '.join(ROLES)}.",
)
@click.option(
    "--seed", type=int, default=None, help="Which seed of an experiment. [default: its first]"
)
@click.option(
    "--head",
    default=BOTH_HEADS,
    show_default=True,
    metavar="HEAD",
    help="Of a transformer with a distillation token, whose answers leave: "
    f"{BOTH_HEADS} (their mean), {', '.join(TOKEN_HEADS)}.",
)
@click.option("--test-anyway", is_flag=True, help=TEST_ANYWAY)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def export_command(
    store_url: str,
    run_or_experiment: str,
    formats: tuple[str, ...],
    folder: Path,
    role: str,
    seed: int | None,
    head: str,
    test_anyway: bool,
    as_json: bool,
) -> None:
    """Export a trained model: convert, open again, measure, and write what passes with a script
    that runs it.
    """
    store = Store(store_url)
    run = find_run(store, run_or_experiment, role, seed)
    if not test_anyway and run.role == "student":
        refuse_unsettled(store, [run.experiment_id])  # its files are measured on test data
    for name, why in limits(store, run.id).items():
        click.echo(f"{FORMATS[name].title} cannot hold this model: {why}", err=True)
    engine = make_engine(store, idle_seconds=2.0)
    job_id = request(store, run.id, formats, head)
    engine.submit(job_id)
    follow(store, engine, job_id)
    asked = [export for export in exports(store, run.id) if export.job_id == job_id]
    rows = [_write(store, export, folder / bundle_name(run, export)) for export in asked]
    if as_json:
        click.echo(
            json.dumps(
                {
                    "run": run.id,
                    "role": run.role,
                    "model": run.model,
                    "seed": run.seed,
                    "exports": rows,
                }
            )
        )
    else:
        click.echo("\n".join(map(_in_words, rows)))
    raise SystemExit(0 if all(row.get("passed") for row in rows) else 1)


def _write(store: Store, export: Export, folder: Path) -> dict[str, Any]:
    """Write an export's files where it passed.

    Returns its report with ``format`` and ``folder``.
    """
    row = {"format": export.format, "folder": None, **export.report}
    if export.report.get("passed"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in bundle(store, export.run_id, export.format).items():
            (folder / name).write_bytes(data)
        row["folder"] = str(folder)
    return row


def _in_words(row: dict[str, Any]) -> str:
    title = f"{FORMATS[row['format']].title:<15}"
    if not row.get("passed"):
        return f"{title} not offered: {row.get('reason', 'not made')}"
    return (
        f"{title} {row['accuracy']:.2%} ({row['points_lost']:+.2f} points lost), {row['size'] / 1000:.1f} kB, "
        f"{row['latency_ms']:.3f} ms an answer: {row['folder']}"
    )
