"""``python -m kdcore data``: add data of your own, list and remove it.

The same functions as the Data page.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from kdcore.config.catalog import DATASETS
from kdcore.data import ingest
from kdcore.data.check import check, check_name
from kdcore.errors import ConfigError, Problem, StoreError, require
from kdcore.storage import user_data
from kdcore.storage.store import Store
from kdcore.tasks import find
from kdcore.tasks.columns import MISSING_WAYS, TEXT_WAYS
from kdcore.tasks.report import COLOURS, SCALINGS, UNLABELLED_WAYS, DataOptions, Report
from kdcore.tasks.vocabulary import PIECES
from kdcore.words import in_bytes


@click.group()
def data() -> None:
    """Bring your own data: check it, store it, list and remove it."""


@data.command()
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--label",
    default=None,
    help="The column of a table that holds the classes. [default: found by its name]",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="COLUMN",
    help="A column that is a feature although it looks like row numbers or the answer.",
)
@click.option(
    "--drop", multiple=True, metavar="COLUMN", help="A column to leave out; also several times."
)
@click.option(
    "--text",
    type=click.Choice(TEXT_WAYS),
    default="refuse",
    show_default=True,
    help="Columns of text: encode makes a feature of each category.",
)
@click.option(
    "--missing",
    type=click.Choice(MISSING_WAYS),
    default="refuse",
    show_default=True,
    help="Missing values of a table. What fills them is learnt from the training part; own category adds a feature that says where.",
)
@click.option(
    "--text-column",
    default=None,
    metavar="COLUMN",
    help="The column of a table whose texts are learnt. [default: found by what is in it]",
)
@click.option(
    "--pieces",
    type=click.Choice(list(PIECES)),
    default="bpe",
    show_default=True,
    help="What texts are cut into; bpe: parts of words that the training part shows; wordpiece: the same as BERT's are.",
)
@click.option(
    "--vocabulary", type=int, default=4000, show_default=True, help="The most different pieces."
)
@click.option(
    "--length",
    type=int,
    default=64,
    show_default=True,
    help="Tokens of a text; longer ones lose their end.",
)
@click.option(
    "--unlabelled",
    type=click.Choice(UNLABELLED_WAYS),
    default="named",
    show_default=True,
    help="What has no label. named: folders and arrays called so, rows with an empty label, and -1 beside 0, 1, ...; test: a test part without classes, too; no: nothing.",
)
@click.option(
    "--size",
    default=None,
    metavar="HxW",
    help="Resize images, such as 32x32. [default: the most frequent size]",
)
@click.option(
    "--colour",
    type=click.Choice(COLOURS),
    default="as it is",
    show_default=True,
    help="Channels of images.",
)
@click.option(
    "--scaling",
    type=click.Choice(SCALINGS),
    default="auto",
    show_default=True,
    help="unit: 0 to 1; standard: mean 0, deviation 1 for each feature of a table; auto: unit for images, standard for tables.",
)
@click.option("--skip-corrupt", is_flag=True, help="Leave out files that cannot be read.")
@click.option(
    "--drop-duplicates",
    is_flag=True,
    help="Leave out training examples that are in the test part, and repeats.",
)
@click.option(
    "--check", "only_check", is_flag=True, help="Report what is found, and store nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def add(
    store_url: str,
    name: str,
    path: Path,
    label: str | None,
    keep: tuple[str, ...],
    drop: tuple[str, ...],
    text: Any,
    missing: Any,
    text_column: str | None,
    pieces: Any,
    vocabulary: int,
    length: int,
    unlabelled: Any,
    size: str | None,
    colour: Any,
    scaling: Any,
    skip_corrupt: bool,
    drop_duplicates: bool,
    only_check: bool,
    as_json: bool,
) -> None:
    """Check the data at PATH, report, and store it as NAME.

    PATH is a .npz (x_train, y_train, x_test, y_test, or x, y), a zip or a folder of images or of
    .txt files (class/..., or train/ and test/ above), a .csv, .jsonl or .parquet with a column of
    classes, and features or texts beside it.
    """
    check_name(name)
    options = DataOptions(
        label=label,
        keep=keep,
        drop=drop,
        text=text,
        missing=missing,
        text_column=text_column,
        pieces=pieces,
        vocabulary=vocabulary,
        length=length,
        unlabelled=unlabelled,
        size=read_size(size),
        colour=colour,
        scaling=scaling,
        skip_corrupt=skip_corrupt,
        drop_duplicates=drop_duplicates,
    )
    with tqdm(
        total=100,
        file=sys.stderr,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}",
        leave=False,
    ) as bar:

        def tell(fraction: float, words: str) -> None:
            bar.n = round(100 * fraction)
            bar.set_description_str(words)

        if only_check:
            report, key = check(path, options, tell).report, None
        else:
            row = ingest.add(Store(store_url), name, path, options, tell)
            report, key = Report(**row.report), row.key
    if as_json:
        click.echo(json.dumps({"dataset": name, "key": key, "report": report.to_json()}))
    else:
        click.echo(in_words(report))
        click.echo(f"stored as {key}" if key else "nothing stored, as asked")
    if report.problems:
        raise ConfigError(*(Problem(*problem) for problem in report.problems))


@data.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.pass_obj
def list_(store_url: str, as_json: bool) -> None:
    """List the datasets that can be trained on."""
    yours = [_summary(row) for row in user_data.versions(Store(store_url))]
    built_in = [
        {
            "dataset": name,
            "key": name,
            "kind": card.kind,
            "shape": list(card.input_shape),
            "classes": len(card.class_names),
            "training_examples": card.training_examples,
            "unlabelled_examples": card.unlabelled_examples,
            "bytes": None,
        }
        for name, card in DATASETS.items()
    ]
    if as_json:
        click.echo(json.dumps([*yours, *built_in]))
        return
    for row in [*yours, *built_in]:
        shape = "×".join(map(str, row["shape"]))
        size = "built in" if row["bytes"] is None else in_bytes(row["bytes"])
        click.echo(
            f"{row['key']:<28} {row['kind']:<7} {shape:<12} {row['classes']:>4} classes "
            f"{row['training_examples']:>9,} for training  {size}{_without(row)}"
        )


@data.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def show(store_url: str, name: str, as_json: bool) -> None:
    """Show the report of a dataset that was added: NAME, or name@digest for a certain version."""
    row = user_data.find(Store(store_url), name)
    if row is None:
        raise StoreError(
            f"there is no dataset {name!r} in the store; python -m kdcore data list shows what there is"
        )
    report = Report(**row.report)
    if as_json:
        click.echo(json.dumps({**_summary(row), "report": report.to_json()}))
    else:
        click.echo(f"{row.key}{' (removed)' if row.removed_at else ''}, {in_bytes(row.size)}")
        click.echo(in_words(report))


@data.command()
@click.argument("name")
@click.pass_obj
def remove(store_url: str, name: str) -> None:
    """Remove a dataset, all versions of NAME or the one of name@digest.

    Experiments made with it stay.
    """
    for row in user_data.remove(Store(store_url), name):
        click.echo(f"removed {row.key} ({in_bytes(row.size)})")


def read_size(text: str | None) -> tuple[int, int] | None:
    """Read "32x24" as height and width; raises ConfigError."""
    if text is None:
        return None
    require(
        bool(found := re.fullmatch(r"(\d{1,4})(?:[x×](\d{1,4}))?", text)),
        "size",
        "HxW, such as 32x32",
        text,
    )
    assert found is not None
    return int(found[1]), int(found[2] or found[1])


def _summary(row: Any) -> dict[str, Any]:
    return {
        "dataset": row.name,
        "key": row.key,
        "kind": row.card["kind"],
        "shape": list(row.card["input_shape"]),
        "classes": len(row.card["class_names"]),
        "training_examples": row.card["training_examples"],
        "unlabelled_examples": row.card.get("unlabelled_examples", 0),
        "bytes": row.size,
    }


def _without(row: dict[str, Any]) -> str:
    count = row["unlabelled_examples"]
    return f"  and {count:,} without a label" if count else ""


def in_words(report: Report) -> str:
    """Return the report as lines of text."""
    lines = [
        f"{report.source}: {report.understood}",
        f"  values      {report.values}",
    ]
    task = find(report.kind)
    lines += [f"  {what:<11} {words}" for what, words in task.about(report)]
    lines.append(
        f"  stored as   {task.stored_in_words(report)}, scaled to {task.scaling_in_words(report)}, "
        f"{in_bytes(report.stored_bytes)}"
    )
    lines.append(
        "  division    " + ", ".join(f"{count:,} {part}" for part, count in report.division.items())
    )
    first = next(iter(report.counts))
    counts = sorted(zip(report.counts[first], report.class_names, strict=True), reverse=True)
    shown = ", ".join(f"{name} {count:,}" for count, name in counts[:12]) + (
        ", ..." if len(counts) > 12 else ""
    )
    lines.append(f"  classes     {shown}")
    lines += [f"  note        {note}" for note in report.notes]
    if report.ignored_count:
        more = ", ..." if report.ignored_count > len(report.ignored) else ""
        lines.append(
            f"  ignored     {report.ignored_count:,}: {', '.join(report.ignored[:5])}{more}"
        )
    lines += [f"  corrupt     {name}" for name in report.corrupt]
    lines += [f"  warning     {warning}" for warning in report.warnings]
    return "\n".join(lines)
