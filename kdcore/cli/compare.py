"""``python -m kdcore compare``: the numbers of the Compare page, without a browser."""

from __future__ import annotations

import json
from typing import Any

import click

from kdcore.analysis.comparison import Comparison, Numbers, compare, settings_in_words
from kdcore.analysis.contenders import MOST, MOST_RANKED, Contender, find_contenders
from kdcore.analysis.disagreement import Disagreement, disagreement
from kdcore.analysis.ranking import Ranking, rank
from kdcore.analysis.temperature import format_percent
from kdcore.cli.common import TEST_ANYWAY, carry_out, refuse_unsettled
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store


@click.command(name="compare")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option(
    "--temperature",
    type=float,
    default=None,
    help="T at which the distance from the teacher is taken. [default: that of the first model's experiment]",
)
@click.option(
    "--seed",
    type=int,
    default=None,
    help="Whose runs meet in McNemar's test. [default: the first that all share]",
)
@click.option("--test-anyway", is_flag=True, help=TEST_ANYWAY)
@click.option(
    "--measure", is_flag=True, help="First measure on this machine how fast the models answer."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def compare_command(
    store_url: str,
    ids: tuple[str, ...],
    temperature: float | None,
    seed: int | None,
    test_anyway: bool,
    measure: bool,
    as_json: bool,
) -> None:
    """Compare 2 to 6 models with the same test data; up to 200 are ranked.

    ID is an experiment (all its roles, each over its seeds), EXPERIMENT:ROLE
    ("4f1c2a9e03:student"), one run, or a sweep (the students of its finished cells).
    """
    store = Store(store_url)
    contenders = find_contenders(store, ids, most=MOST_RANKED)
    if not test_anyway:
        refuse_unsettled(store, [each.experiment.id for each in contenders])
    if len(contenders) > MOST:
        ranked = rank(contenders)
        click.echo(json.dumps(_ranking_dict(ranked)) if as_json else ranking_in_words(ranked))
        return
    if measure:
        trained = [each.trained[0].id for each in contenders if each.trained]
        carry_out(store, "measure", {"run_ids": trained})
    found = compare(store, ids, temperature=temperature, seed=seed)
    apart = disagreement(store, found)
    if as_json:
        click.echo(json.dumps(found.to_dict() | {"disagreement": apart.to_dict()}))
    else:
        click.echo("\n".join([in_words(found), *_apart_in_words(apart)]))


def ranking_in_words(ranked: Ranking) -> str:
    """Return a ranking as text for a terminal: a line a model, those told from the best marked."""
    lines = []
    for place, each in enumerate(ranked.standings, start=1):
        low, high = each.interval
        behind = "" if each.behind is None else f"  {-each.behind.mean:+.1f} points"
        told = " (told from the best)" if each.told_from_best else ""
        lines.append(
            f"{place:>3}  {100 * each.accuracy:>6.2f} % ({100 * low:.1f} to {100 * high:.1f})  "
            f"{each.name}, {each.contender.model}{behind}{told}"
        )
    lines += [f"  –  {each.id}: {each.state}" for each in ranked.untrained]
    return "\n".join([*lines, ranked.words])


def _ranking_dict(ranked: Ranking) -> dict[str, Any]:
    return {
        "ranking": [each.to_dict() for each in ranked.standings],
        "untrained": [each.id for each in ranked.untrained],
        "test_examples": ranked.test_examples,
        "words": ranked.words,
    }


def _counted(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def in_words(found: Comparison) -> str:
    """Return a comparison as text for a terminal."""
    lines = []
    for contender, style, numbers in zip(
        found.contenders, found.styles, found.numbers, strict=True
    ):
        lines += _model_lines(contender, style.name, numbers, found.temperature)
    for pair in found.pairs:
        answers = pair.answers
        lines.append(f"{pair.verdict}.")
        lines.append(
            f"  seed {found.seed}: {answers.only_first} examples right only for the first, {answers.only_second} only for "
            f"the second (McNemar's exact test: p = {answers.p_value:.2g})"
        )
    differing = settings_in_words(found.settings_that_differ())
    lines += [f"{title}: {' | '.join(values)}" for title, values in differing]
    return "\n".join(lines)


def _apart_in_words(apart: Disagreement) -> list[str]:
    """Return how often any two decide differently as lines, from three models on."""
    if len(apart.names) < 3:
        return []
    lines = ["Share of test examples that two decide differently:"]
    for row, name in enumerate(apart.names):
        shares = " ".join(_share(apart, row, column) for column in range(len(apart.names)))
        lines.append(f"  {row + 1} {shares}  {name}")
    return lines


def _share(apart: Disagreement, row: int, column: int) -> str:
    share = apart.shares[row, column]
    return f"{'–' if row == column or not apart.seeds[row, column] else f'{share:.1%}':>6}"


def _model_lines(
    contender: Contender, name: str, numbers: Numbers, temperature: float
) -> list[str]:
    state = "" if contender.status is JobStatus.FINISHED else f" ({contender.state})"
    lines = [f"{contender.id}  {name}, {contender.model}{state}"]
    if numbers.accuracy is None or numbers.interval is None:
        return lines
    low, high = numbers.interval
    lines.append(
        f"  accuracy {numbers.accuracy:.2%} (95 % CI {low:.2%} to {high:.2%}, {numbers.interval_kind}), NLL "
        f"{numbers.negative_log_likelihood:.4f} nats, ECE {numbers.expected_calibration_error:.2%}"
    )
    lines.append(
        f"  {numbers.parameters:,} parameters, {_counted(numbers.multiply_accumulates)} multiply-accumulates, file "
        f"{numbers.file_bytes or 0:,} bytes"
    )
    if numbers.latency is not None:
        lines.append(
            f"  a Keras call takes {numbers.latency['single_milliseconds']:.3g} ms for one example, "
            f"{numbers.latency['batch_milliseconds']:.3g} ms for {numbers.latency['batch_size']}, on "
            f"{numbers.latency['machine']}"
        )
    if numbers.agreement is not None and numbers.kl is not None:
        lines.append(
            f"  names the teacher's class for {format_percent(numbers.agreement)}, KL from it {numbers.kl:.4f} nats at "
            f"T = {temperature:g}"
        )
    return lines
