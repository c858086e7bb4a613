"""``python -m kdcore candidates``: which students a teacher could have, what they cost, and three
to try.
"""

from __future__ import annotations

import json
from typing import Any

import click

from kdcore.analysis.candidates import Candidate, Candidates, get_candidates, try_three
from kdcore.analysis.results import summary
from kdcore.cli.common import SettingsCommand, carry_out, follow
from kdcore.config.catalog import short_name
from kdcore.config.experiment import ExperimentConfig, read_setting
from kdcore.engine.choice import make_engine
from kdcore.storage.store import Store


@click.command(name="candidates", cls=SettingsCommand)
@click.option(
    "--try",
    "try_them",
    is_flag=True,
    help="Train the three that are worth trying, one experiment each.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def candidates_command(store_url: str, try_them: bool, as_json: bool, **given: Any) -> None:
    """List possible students of a teacher on its data, with what they cost.

    Suggest three to try.
    """
    config = ExperimentConfig(
        **{key: read_setting(key, value) for key, value in given.items() if value is not None}
    )
    store = Store(store_url)
    found = get_candidates(store, config)
    if found is None:
        carry_out(store, "candidates", {"config": config.model_dump(mode="json")})
        found = get_candidates(store, config)
    assert found is not None, "a finished job has an answer"
    answer: dict[str, Any] = found.to_json()
    if not as_json:
        click.echo(in_words(found))
    if try_them:
        answer["experiments"] = []
        engine = make_engine(store, idle_seconds=2.0)
        for experiment_id in try_three(store, config, found.three):
            engine.submit(experiment_id)
            follow(store, engine, experiment_id)
            result = summary(store, experiment_id)
            answer["experiments"].append(result)
            if not as_json:
                accuracy = ", ".join(f"{value:.2%}" for value in result["student"]["accuracy"])
                verdict = result["gain"]["verdict"] if result["gain"] else result["status"]
                click.echo(
                    f"{experiment_id}  {short_name(result['student']['model']):<14} {accuracy}  {verdict}"
                )
    if as_json:
        click.echo(json.dumps(answer))


def in_words(found: Candidates) -> str:
    """Return the table as text."""
    lines = [
        f"{'':<2}{'model':<16}{'parameters':>12}{'multiply-accumulates':>22}{'Keras call':>14}"
    ]
    for each in (found.teacher, *found.students):
        mark = "→ " if each.name == found.suggestion else "· " if each.name in found.three else "  "
        role = "  (the teacher)" if each is found.teacher else ""
        lines.append(f"{mark}{_row(each)}{role}")
    lines.append(
        f"Times for one example, measured on {found.machine}, with fresh weights. {found.why}"
    )
    if found.three:
        lines.append(f"Try these three: {', '.join(map(short_name, found.three))} (--try)")
    return "\n".join(lines)


def _row(each: Candidate) -> str:
    return f"{short_name(each.name):<16}{each.parameters:>12,}{each.multiply_accumulates:>22,}{each.milliseconds:>11.2f} ms"
