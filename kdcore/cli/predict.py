"""``python -m kdcore predict``: ask teacher, student and baseline about a picture or a text."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import click
import numpy as np

from kdcore.analysis.attention import AttentionMaps, most_looked_at, over_parts
from kdcore.analysis.logits import softmax
from kdcore.analysis.occlusion import Part, drops, parts_of, questions
from kdcore.config.catalog import dataset_card
from kdcore.engine.choice import make_engine
from kdcore.engine.predictions import (
    from_image,
    from_text,
    predict,
    trained_models,
    vocabulary_of,
)
from kdcore.errors import Words, require
from kdcore.storage.store import Store
from kdcore.tasks.vocabulary import Vocabulary


@click.command("predict")
@click.argument("experiment_id")
@click.argument("image", type=click.File("rb"), required=False)
@click.option("--text", default=None, help="What models of texts are asked, instead of an image.")
@click.option(
    "--seed",
    type=int,
    default=None,
    help="Seed of student and baseline. [default: the experiment's first]",
)
@click.option("--temperature", type=float, default=1.0, show_default=True, help="T, above 0.")
@click.option(
    "--attention",
    "with_attention",
    is_flag=True,
    help="Say where each model looks: with --json as numbers for each place or part.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def predict_command(
    store_url: str,
    experiment_id: str,
    image: BinaryIO | None,
    text: str | None,
    seed: int | None,
    temperature: float,
    with_attention: bool,
    as_json: bool,
) -> None:
    """Ask the models of an experiment about a picture or a text, as the Try it page does.

    A digit is cut out and centred. Of a text it says, with --json, how much less likely the answer
    becomes without each of its parts.
    """
    require(temperature > 0, "temperature", "above 0", temperature)
    store = Store(store_url)
    runs = trained_models(store, experiment_id, seed)
    card = dataset_card(store.experiment(experiment_id).config["dataset"])
    parts: list[Part] = []
    if card.task.written:
        require(text is not None and image is None, "text", "given (--text), and no image", text)
        vocabulary = vocabulary_of(store, store.experiment(experiment_id).dataset_key or "")
        parts = parts_of(text or "", vocabulary)
        inputs = from_text(vocabulary, questions(text or "", parts))
    else:
        require(text is None, "text", "left out: these models take no texts", text)
        require(image is not None, "image", "a file", Words("none"))
        inputs = from_image(card, image.read() if image is not None else b"")
    answer = predict(
        store,
        make_engine(store, idle_seconds=2.0),
        [run.id for run in runs.values()],
        inputs,
        attention=with_attention,
        idle_seconds=2.0,
    )
    answers: dict[str, dict[str, Any]] = {}
    for role, run in runs.items():
        probabilities = softmax(answer.logits[run.id][0], temperature)
        answers[role] = {
            "run": run.id,
            "model": run.model,
            "answer": card.class_names[int(np.argmax(probabilities))],
            "probabilities": dict(zip(card.class_names, map(float, probabilities), strict=True)),
            "milliseconds": answer.milliseconds[run.id],
        }
        if text is not None:
            falls = drops(answer.logits[run.id], temperature).tolist()
            answers[role]["parts"] = [
                {"part": text[part.begin : part.end], "drop": fall}
                for part, fall in zip(parts, falls, strict=True)
            ]
        if (found := answer.attention.get(run.id)) is not None:
            answers[role]["attention"] = (
                _over_places(found) if text is None else _over_text(found, text, parts, vocabulary)
            )
    if as_json:
        click.echo(
            json.dumps(
                {"experiment": experiment_id, "temperature": temperature, "answers": answers}
            )
        )
        return
    for role, said in answers.items():
        sure = max(said["probabilities"].values())
        click.echo(
            f"{role:<9} {said['model']:<14} {said['answer']} ({sure:.1%} at T = {temperature:g}), Keras call {said['milliseconds']:.2f} ms"
        )
        for what, places in said.get("attention", {}).items():
            click.echo(f"{'':<9} {what}: {_most(places)}")


def _over_places(found: AttentionMaps) -> dict[str, Any]:
    return {what: maps[0].tolist() for what, maps in found.maps.items()}


def _over_text(
    found: AttentionMaps, text: str, parts: list[Part], vocabulary: Vocabulary
) -> dict[str, Any]:
    places = [(part.begin, part.end) for part in parts]
    return {
        what: [
            {"part": text[begin:end], "share": float(share)}
            for (begin, end), share in zip(
                places, over_parts(maps[0], vocabulary.spans(text), places), strict=True
            )
        ]
        for what, maps in found.maps.items()
    }


def _most(places: list[Any]) -> str:
    """Say where most of the attention falls."""
    if not isinstance(places[0], dict):
        return most_looked_at(np.array(places))
    best = max(places, key=lambda each: each["share"])
    return f"most on {best['part']!r} ({best['share']:.1%})"
