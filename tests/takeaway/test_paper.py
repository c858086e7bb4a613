"""Figures, tables and trackers' files: what a researcher takes to a paper or another program."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kdcore.analysis.comparison import Comparison, compare
from kdcore.analysis.results import load_results
from kdcore.cli.program import main
from kdcore.errors import ConfigError, KDLabError
from kdcore.storage.store import Store
from kdcore.sweeps import planning
from kdcore.sweeps import results as sweep_results
from kdcore.takeaway import figures, tables, trackers
from kdcore.takeaway.metrics_table import metrics_table
from tests.conftest import copy_of


@pytest.fixture(scope="module")
def store(trained_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{copy_of(trained_store_file, tmp_path_factory.mktemp('paper'))}")


@pytest.fixture(scope="module")
def swept(swept_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{copy_of(swept_store_file, tmp_path_factory.mktemp('swept'))}")


@pytest.fixture
def experiment(store: Store) -> str:
    return store.experiments()[0][0].id


def asked(store: Store, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["--store", store.url, *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


# --- Figures ---


def test_a_pdf_is_as_wide_as_a_column_and_holds_its_fonts(
    store: Store, experiment: str, tmp_path: Path
) -> None:
    file = tmp_path / "curves.pdf"
    said = asked(store, "figure", experiment, "--file", str(file), "--width", "85")
    assert "Accuracy on validation data over epochs, 85 mm" in said
    data = file.read_bytes()
    assert data.startswith(b"%PDF")
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert box is not None
    assert float(box[1]) * 25.4 / 72 == pytest.approx(85, abs=0.5)
    assert b"/FontFile2" in data, "fonts are embedded"
    assert b"/Subtype /Image" not in data, "no picture of pixels"


def test_an_svg_holds_the_curves_that_the_store_holds(
    store: Store, experiment: str, tmp_path: Path
) -> None:
    there = figures.figures(store, experiment)
    assert list(there)[:3] == ["accuracy", "hard-loss", "soft-loss"]
    figures.write_figure(there["accuracy"].figure, tmp_path / "a.svg")
    drawn = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert drawn.get("width") == "643"
    texts = {text.strip() for text in drawn.itertext() if text.strip()}
    assert {"epoch", "accuracy, validation", "student (distilled)"} <= texts
    font = re.search(r"font/woff2;base64,([A-Za-z0-9+/=]+)", (tmp_path / "a.svg").read_text())
    assert font is not None
    assert base64.b64decode(font[1])[:4] == b"wOF2", "its font is in it"
    points = metrics_table(store, [experiment])
    validation = points[(points["split"] == "validation") & (points["role"] == "student")]
    expected = validation.groupby("epoch")["accuracy"].mean().to_numpy()
    line = next(
        trace for trace in there["accuracy"].figure.data if trace.name == "student (distilled)"
    )
    np.testing.assert_allclose(np.asarray(line.y, float), expected, atol=1e-6)


def test_what_cannot_be_a_figure_is_refused(store: Store, experiment: str, tmp_path: Path) -> None:
    figure = figures.figures(store, experiment)["accuracy"].figure
    with pytest.raises(ConfigError, match=r"file must be one that ends in .svg, .pdf, .png"):
        figures.write_figure(figure, tmp_path / "a.gif")
    with pytest.raises(ConfigError, match="width must be from 40 to 400 millimetres, got 2"):
        figures.write_figure(figure, tmp_path / "a.svg", 2)
    done = CliRunner().invoke(
        main, ["--store", store.url, "figure", experiment, "--file", "x.svg", "--chart", "pie"]
    )
    assert done.exit_code != 0
    assert "chart must be one of accuracy, hard-loss" in done.output + str(done.stderr)


def test_a_sweep_has_its_map(swept: Store, tmp_path: Path) -> None:
    sweep = planning.sweeps(swept)[0]
    there = figures.figures(swept, sweep.id)
    fields = sweep_results.load(swept, sweep.id).config.fields
    assert set(there) >= {name.replace("_", "-") for name in fields}
    figures.write_figure(next(iter(there.values())).figure, tmp_path / "map.png", 85)
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


# --- Tables ---


def test_a_table_of_models_has_the_numbers_of_the_comparison(store: Store, experiment: str) -> None:
    found = compare(store, [experiment])
    read = pd.read_csv(io.StringIO(asked(store, "table", experiment, "--format", "csv")))
    assert read["id"].tolist() == [each.id for each in found.contenders]
    assert read["test_accuracy"].tolist() == [each.accuracy for each in found.numbers]
    assert read["parameters"].tolist() == [each.parameters for each in found.numbers]
    markdown = asked(store, "table", experiment)
    assert markdown.count("\n| ") == 4
    for numbers in found.numbers:
        assert numbers.accuracy is not None
        assert f"| {100 * numbers.accuracy:.1f} " in markdown.replace("**", "")
    latex = asked(store, "table", experiment, "--format", "latex")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"test accuracy (\%)"):
        assert rule in latex
    body = latex.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    assert {line.count("&") for line in body.strip().splitlines()} == {6}


def with_gains(found: Comparison, outcomes: dict[tuple[int, int], str]) -> Comparison:
    pairs = [
        SimpleNamespace(first=first, second=second, gain=SimpleNamespace(outcome=outcome))
        for (first, second), outcome in outcomes.items()
    ]
    return dataclasses.replace(found, pairs=tuple(pairs))  # type: ignore[arg-type]


def test_the_best_is_bold_only_where_it_is_told_from_every_other(
    store: Store, experiment: str
) -> None:
    found = compare(store, [experiment])
    won = {(0, 1): "helped", (2, 0): "hurt", (1, 2): "no difference"}
    table = tables.comparison_table(with_gains(found, won))
    assert table.best == 0
    assert table.render("markdown").count("\n| **") == 1
    assert r"\textbf{teacher}" in table.render("latex")
    even = tables.comparison_table(with_gains(found, {**won, (2, 0): "no difference"}))
    assert even.best is None
    assert "**" not in even.render("markdown")


def test_signs_of_markup_in_names_are_only_shown() -> None:
    words = pd.DataFrame({"model": ["a_b & 50 % #1 {x}", "*b* | [c]"]})
    table = tables.Table(words, words, None, "note")
    assert r"a\_b \& 50 \% \#1 \{x\}" in table.render("latex")
    assert r"\*b\* \| \[c\]" in table.render("markdown")
    with pytest.raises(ConfigError, match="format must be one of csv, markdown, latex"):
        table.render("html")


def test_a_table_of_a_sweep_has_every_cell_on_validation_data(swept: Store) -> None:
    sweep = planning.sweeps(swept)[0]
    found = sweep_results.load(swept, sweep.id)
    read = pd.read_csv(io.StringIO(asked(swept, "table", sweep.id, "--format", "csv")))
    assert len(read) == len(found.cells)
    assert read["validation_accuracy"].tolist() == [cell.accuracy for cell in found.cells]
    assert "test" not in " ".join(read.columns)


# --- Trackers ---


def test_tensorboard_reads_every_point(store: Store, experiment: str, tmp_path: Path) -> None:
    import tensorflow as tf
    from tensorboardX.proto.event_pb2 import Event

    said = asked(store, "log-to", "tensorboard", str(tmp_path / "tb"), experiment)
    points = metrics_table(store, [experiment])
    runs = {run.id: run for _, run in load_results(store, experiment).links}
    assert said.startswith(f"{len(runs)} runs written")
    for folder in (tmp_path / "tb").iterdir():
        run = runs[folder.name.rpartition("-")[2]]
        read: dict[str, dict[int, float]] = {}
        for record in tf.data.TFRecordDataset([str(next(folder.iterdir()))]):
            event = Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    read.setdefault(value.tag, {})[event.step] = value.simple_value
        own = points[(points["run"] == run.id) & (points["split"] == "validation")]
        expected = dict(zip(own["step"], own["accuracy"], strict=True))
        assert read["validation/accuracy"] == pytest.approx(expected)
        (result,) = read["result/test_accuracy"].values()
        assert result == pytest.approx(run.summary["test_accuracy"])
    with pytest.raises(ConfigError, match="folder must be without the run already"):
        trackers.to_tensorboard(store, [experiment], tmp_path / "tb")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
def test_mlflow_reads_settings_and_every_point(
    store: Store, experiment: str, tmp_path: Path
) -> None:
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    written = trackers.to_mlflow(store, [experiment], uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    points = metrics_table(store, [experiment])
    runs = {run.id: run for _, run in load_results(store, experiment).links}
    assert len(written) == len(runs)
    for run_id in written:
        read = client.get_run(run_id)
        run = runs[read.data.tags["kd_lab_run"]]
        assert read.info.status == "FINISHED"
        assert read.data.params["temperature"] == str(
            store.experiment(experiment).config["temperature"]
        )
        own = points[(points["run"] == run.id) & (points["split"] == "validation")]
        history = client.get_metric_history(run_id, "validation/accuracy")
        assert {point.step: point.value for point in history} == pytest.approx(
            dict(zip(own["step"], own["accuracy"], strict=True))
        )


def test_without_mlflow_it_is_said_what_to_install(
    store: Store, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(KDLabError, match="pip install mlflow-skinny"):
        trackers.to_mlflow(store, [experiment], "sqlite://")
