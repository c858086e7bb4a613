"""``python -m kdcore model``: add models of your own, list and remove them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kdcore.analysis.brought_teacher import Examination, looks
from kdcore.cli.common import carry_out
from kdcore.config import pretrained
from kdcore.config.catalog import dataset_key, short_name
from kdcore.config.families import APPLICATIONS
from kdcore.errors import StoreError, Words, require
from kdcore.storage import user_data, user_models
from kdcore.storage.schema import UserModel
from kdcore.storage.store import Store, new_id
from kdcore.storage.user_models import INPUTS
from kdcore.takeaway.downloads import find_run
from kdcore.words import in_bytes


@click.group()
def model() -> None:
    """Bring your own: .keras files as teacher or student, ONNX files or answers as teacher."""


@model.command()
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option(
    "--from-run",
    "trained",
    default="",
    metavar="ID",
    help="In place of PATH: a run that was trained here, or the student of an experiment.",
)
@click.option(
    "--inputs",
    type=click.Choice(INPUTS),
    default="auto",
    show_default=True,
    help="The range of values that it expects. auto: told by its first layers, else pixels from 0 to 1 and tables as "
    "their dataset scales them.",
)
@click.option(
    "--output",
    default="",
    metavar="NAME",
    help="Which output is meant, of a model with several. [default: the only one]",
)
@click.option(
    "--dataset",
    default="",
    metavar="NAME",
    help="Data on whose labels it is looked at. [default: what is at hand and fits]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def add(
    store_url: str,
    name: str,
    path: Path | None,
    trained: str,
    inputs: str,
    output: str,
    dataset: str,
    as_json: bool,
) -> None:
    """Take in the model at PATH as NAME, and look at what it answers on labelled data.

    PATH is a .keras file; an ONNX file, for a teacher; or a teacher's answers to the examples of
    --dataset (.csv, .parquet, .npz). It is loaded in a worker process only.
    """
    user_models.check_name(name)
    store = Store(store_url)
    received = Words("both" if path else "neither")
    require(bool(path) != bool(trained), "path", "given, or --from-run in its place", received)
    if path is None:
        payload = user_models.payload_of_run(store, find_run(store, trained), name)
    else:
        payload = _payload_of_file(store, path) | {
            "name": name,
            "inputs": inputs,
            "output": output,
            "dataset": dataset and dataset_key(dataset),
        }
    job_id = carry_out(store, "model", payload)
    row = user_models.find(store, (store.artifact(f"model_report/{job_id}") or b"").decode())
    assert row is not None, "a finished job has stored something"
    seen = looks(store, row.key)
    if as_json:
        click.echo(json.dumps(_summary(row) | {"looks": _looks_as_json(seen)}))
    else:
        click.echo("\n".join([_in_words(row), *_looks_in_words(seen), f"stored as {row.key}"]))


def _payload_of_file(store: Store, path: Path) -> dict[str, Any]:
    user_models.check_file(path)
    with path.open("rb") as file:
        return {
            "upload": user_data.put_upload(store, new_id(), file),
            "file_name": path.name,
        }


@model.command(name="look")
@click.argument("name")
@click.option("--dataset", required=True, metavar="NAME", help="Data with labels.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def look_command(store_url: str, name: str, dataset: str, as_json: bool) -> None:
    """Look at what the model NAME answers on up to 500 labelled validation examples, with its
    inputs in each range.
    """
    store = Store(store_url)
    row = user_models.find(store, name)
    if row is None:
        raise StoreError(f"there is no model {name!r}; python -m kdcore model list shows them")
    key = dataset_key(dataset)
    carry_out(store, "look", {"model": row.key, "dataset": key})
    seen = {key: looks(store, row.key)[key]}
    click.echo(json.dumps(_looks_as_json(seen)) if as_json else "\n".join(_looks_in_words(seen)))


def _looks_as_json(seen: Mapping[str, Examination]) -> dict[str, Any]:
    return {dataset: found.to_dict() for dataset, found in seen.items()}


def _looks_in_words(seen: Mapping[str, Examination]) -> list[str]:
    if not seen:
        return ["no data at hand fits it: what it answers was not looked at (--dataset NAME)"]
    lines = []
    for dataset, found in seen.items():
        lines.append(f"on {short_name(dataset)}: {found}")
        if found.ways:
            ways = " or ".join(f'"{each}"' for each in found.ways)
            lines.append(f"train with it by --teacher-inputs {ways}, if that is right")
    return lines


@model.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.pass_obj
def list_(store_url: str, as_json: bool) -> None:
    """List the models that were added, and the networks of others that can be named."""
    rows = [row for row in user_data.versions(Store(store_url), table=UserModel)]
    if as_json:
        click.echo(json.dumps([_summary(row) for row in rows]))
        return
    for row in rows:
        click.echo(_in_words(row))
    click.echo(
        "by name: "
        + ", ".join(f"app-{slug}" for slug in APPLICATIONS)
        + "; with -imagenet from its weights"
    )
    here = [
        name
        for pattern in (pretrained.IMAGES, pretrained.TEXTS)
        for name in pretrained.at_hand(pattern)
    ]
    click.echo(f"pretrained by KerasHub: hub-NAME; on this machine: {', '.join(here) or 'none'}")


@model.command()
@click.argument("name")
@click.pass_obj
def remove(store_url: str, name: str) -> None:
    """Remove a model, all versions of NAME or the one of name@digest.

    Experiments made with it stay.
    """
    for row in user_data.remove(Store(store_url), name, UserModel):
        click.echo(f"removed {row.key} ({in_bytes(row.size)})")


def _summary(row: UserModel) -> dict[str, Any]:
    return {
        "model": row.name,
        "key": row.key,
        "bytes": row.size,
        **{
            name: row.card[name]
            for name in (
                "input_shape",
                "classes",
                "parameters",
                "output",
                "inputs",
                "inputs_known",
                "kind",
            )
        },
    }


def _in_words(row: UserModel) -> str:
    card = user_models.to_card(row)
    if card.kind == "function":
        return f"{row.key:<28} a Python function"
    if card.format == "answers":
        return f"{row.key:<28} answers to {short_name(card.dataset)}, {card.classes} classes; {card.output}"
    shape = "×".join("any" if side is None else str(side) for side in card.input_shape or ())
    return (
        f"{row.key:<28} {shape} → {card.classes} classes, {card.parameters:,} parameters; {card.output}; "
        f"sees {user_models.values_in_words(card)}"
    )
