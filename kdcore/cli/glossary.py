"""``python -m kdcore glossary``: what the words mean that KD Lab uses."""

from __future__ import annotations

import json

import click

from kdcore.glossary import TERMS, Term, find


@click.command(name="glossary")
@click.argument("term", required=False)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON array, or one object for a term."
)
def glossary_command(term: str | None, as_json: bool) -> None:
    """Say what a term means, or all of them."""
    if term is None:
        texts = [each.to_json() for each in TERMS]
        click.echo(json.dumps(texts) if as_json else "\n\n".join(map(_in_words, TERMS)))
        return
    found = find(term)
    click.echo(json.dumps(found.to_json()) if as_json else _in_words(found))


def _in_words(term: Term) -> str:
    also = f" (also: {', '.join(term.also)})" if term.also else ""
    return f"{term.name}{also}\n{click.wrap_text(term.says, 78, '  ', '  ')}"
