"""The command ``glossary``: what a term means, in words and as JSON."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kdcore.cli.program import main
from kdcore.glossary import TERMS, find


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def glossary(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--store", url, "glossary", *arguments])


def test_a_term_in_words(url: str) -> None:
    done = glossary(url, "softened distribution")
    assert done.exit_code == 0
    name, *lines = done.stdout.splitlines()
    assert name.startswith("soft target (also: softened distribution, ")
    assert " ".join(line.strip() for line in lines) == find("soft target").says


def test_terms_as_json(url: str) -> None:
    every = json.loads(glossary(url, "--json").stdout)
    assert [each["name"] for each in every] == [term.name for term in TERMS]
    one = json.loads(glossary(url, "softmax", "--json").stdout)
    assert one in every
    assert one["says"] == find("softmax").says
    assert "sum" in one["equation"]


def test_all_terms_in_words(url: str) -> None:
    assert glossary(url).stdout.count("\n\n") == len(TERMS) - 1


def test_an_unknown_term_is_refused(url: str) -> None:
    done = glossary(url, "sofmax")
    assert done.exit_code == 2
    assert "term must be a word of the glossary, got 'sofmax'" in done.stderr
