"""``python -m kdcore layers``: which layers a method on features pairs."""

from __future__ import annotations

import json

import click

from kdcore.analysis.layer_pairs import get_layer_pairs, in_words
from kdcore.cli.common import SettingsCommand, carry_out
from kdcore.config.experiment import ExperimentConfig, read_setting
from kdcore.storage.store import Store


@click.command(name="layers", cls=SettingsCommand)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def layers_command(store_url: str, as_json: bool, **given: str | None) -> None:
    """Show the layers of teacher and student, and which a method on features compares.

    --layers of such a method takes these names.
    """
    config = ExperimentConfig(
        **{name: read_setting(name, text) for name, text in given.items() if text is not None}
    )
    store = Store(store_url)
    found = get_layer_pairs(store, config)
    if found is None:
        carry_out(store, "layer_pairs", {"config": config.model_dump(mode="json")})
        found = get_layer_pairs(store, config)
    assert found is not None, "a finished job has an answer"
    click.echo(json.dumps(found.to_json()) if as_json else in_words(found))
