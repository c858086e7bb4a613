"""``python -m kdcore robustness``: how accurate models stay on test images made worse."""

from __future__ import annotations

import json
from typing import Any

import click

from kdcore.analysis.contenders import MOST_RANKED, Contender, find_contenders
from kdcore.analysis.robustness import Robustness, gain, of_contender, to_measure
from kdcore.cli.common import TEST_ANYWAY, carry_out, refuse_unsettled
from kdcore.data.corruptions import CORRUPTIONS
from kdcore.storage.store import Store


@click.command(name="robustness")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--test-anyway", is_flag=True, help=TEST_ANYWAY)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def robustness_command(
    store_url: str, ids: tuple[str, ...], test_anyway: bool, as_json: bool
) -> None:
    """Ask models about test images with noise, blurred, shifted, with less contrast and partly
    covered.

    ID as for compare: an experiment (all its roles), EXPERIMENT:ROLE, or one run. Two or more.
    """
    store = Store(store_url)
    contenders = find_contenders(store, ids, most=MOST_RANKED)
    if not test_anyway:
        refuse_unsettled(store, [each.experiment.id for each in contenders])
    carry_out(store, "robustness", {"run_ids": to_measure(contenders)})
    found = {each.id: of_contender(store, each) for each in contenders}
    if as_json:
        click.echo(json.dumps({name: each and _as_dict(each) for name, each in found.items()}))
        return
    titles = "".join(f"{kind.title:>11}" for kind in CORRUPTIONS.values())
    click.echo(f"{'accuracy in % on test images':<40}{'clean':>8}{'worse':>8}{titles}")
    for contender in contenders:
        if (each := found[contender.id]) is not None:
            click.echo(_line(contender, each))
    for line in _gains(contenders, found):
        click.echo(line)


def _as_dict(each: Robustness) -> dict[str, Any]:
    return {
        "clean": each.clean,
        "mean": each.mean,
        "corrupted": each.corrupted,
        "by_seed": each.by_seed,
        "test_examples": each.examples,
    }


def _line(contender: Contender, each: Robustness) -> str:
    means = (100 * sum(values) / len(values) for values in each.corrupted.values())
    kinds = "".join(f"{value:>11.1f}" for value in means)
    return f"{contender.id:<40}{100 * each.clean:>8.1f}{100 * each.mean:>8.1f}{kinds}"


def _gains(contenders: list[Contender], found: dict[str, Robustness | None]) -> list[str]:
    """Say by how much each student is better on worse images than its baseline, by paired seeds."""
    lines = []
    for student in (each for each in contenders if each.role == "student"):
        for other in contenders:
            same = other.experiment.id == student.experiment.id and other.role == "baseline"
            one, two = found[student.id], found[other.id]
            if not same or one is None or two is None or (paired := gain(one, two)) is None:
                continue
            interval = f", 95 % CI {paired.low:.1f} to {paired.high:.1f}" if paired.n > 1 else ""
            lines.append(
                f"{student.id} against its baseline on worse images: {paired.mean:+.1f} points"
                f"{interval} ({paired.n} paired seeds)"
            )
    return lines
