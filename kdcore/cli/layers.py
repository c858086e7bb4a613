"""``python -m kdcore layers``: which layers a method on features pairs, and which of its teacher's
layers a student starts from.
"""

from __future__ import annotations

import json

import click

from kdcore.analysis import layer_pairs, layer_starts
from kdcore.cli.common import SettingsCommand, carry_out
from kdcore.config.experiment import ExperimentConfig, read_setting
from kdcore.errors import require
from kdcore.storage.store import Store


def find_layer_pairs(store: Store, config: ExperimentConfig) -> layer_pairs.LayerPairs:
    """Return which layers a method on features compares, as a worker finds them."""
    found = layer_pairs.get_layer_pairs(store, config)
    if found is None:
        carry_out(store, "layer_pairs", {"config": config.model_dump(mode="json")})
        found = layer_pairs.get_layer_pairs(store, config)
    assert found is not None, "a finished job has an answer"
    return found


@click.command(name="layers", cls=SettingsCommand)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def layers_command(store_url: str, as_json: bool, **given: str | None) -> None:
    """Show the layers of teacher and student, and which a method on features compares; with a plan
    such as distilbert, which of its teacher's layers the student starts from.

    --layers takes these names or numbers.
    """
    config = ExperimentConfig(
        **{name: read_setting(name, text) for name, text in given.items() if text is not None}
    )
    starts = layer_starts.layer_starts(config)
    found, on_features = None, config.method.needs.teacher == "features"
    rule = "one on features, unless the plan starts the student from its teacher's layers"
    require(on_features or starts is not None, "method", rule, config.method.name)
    if on_features:
        found = find_layer_pairs(Store(store_url), config)
    if as_json:
        pairs = {} if found is None else found.to_json()
        click.echo(json.dumps({**pairs, **({"starts": starts.to_json()} if starts else {})}))
        return
    if starts is not None:
        click.echo(layer_starts.in_words(starts))
    if found is not None:
        click.echo(layer_pairs.in_words(found, config))
