"""Curves as a file: read back, they are what the store holds."""

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from kdcore.cli.program import main
from kdcore.errors import ConfigError, StoreError
from kdcore.storage.schema import MEASURES
from kdcore.storage.store import Store, current_points
from kdcore.takeaway.metrics_table import COLUMNS, metrics_table, write_metrics


def ids(store: Store) -> list[str]:
    return [experiment.id for experiment, _ in store.experiments()]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_read_back_equals_the_store(
    trained_store: Store, tmp_path: Path, suffix: str
) -> None:
    chosen, file = ids(trained_store), tmp_path / f"curves{suffix}"
    written = write_metrics(trained_store, chosen, file)
    read = pd.read_csv(file) if suffix == ".csv" else pd.read_parquet(file)
    assert list(read.columns) == list(COLUMNS)
    assert len(read) == written
    for experiment_id in chosen:
        mine = read[read["experiment"] == experiment_id]
        links = trained_store.runs_of(experiment_id)
        assert set(mine["run"]) == {run.id for _, run in links}
        for link, run in links:
            points = mine[mine["run"] == run.id]
            assert set(zip(points["role"], points["seed"], strict=True)) == {(link.role, link.seed)}
            kept = current_points(trained_store.metrics([run.id])).sort_values(["split", "step"])
            for name in ("split", "step", "epoch", "seconds", *MEASURES):
                pd.testing.assert_series_equal(
                    points[name].reset_index(drop=True),
                    kept[name].reset_index(drop=True),
                    check_dtype=False,
                    check_exact=True,
                )
    assert set(read["split"]) == {"train", "epoch", "validation"}
    assert read.loc[read["split"] == "validation", "accuracy"].between(0, 1).all()


def test_what_a_resumed_run_trained_again_is_there_once(trained_store: Store) -> None:
    experiment_id = ids(trained_store)[0]
    run = trained_store.runs_of(experiment_id)[1][1]
    points = trained_store.metrics([run.id])
    last = points[points["split"] == "train"].iloc[-1]
    trained_store.append_metrics([{**last.to_dict(), "loss": 123.0}])
    table = metrics_table(trained_store, [experiment_id])
    again = table[
        (table["run"] == run.id) & (table["split"] == "train") & (table["step"] == last["step"])
    ]
    assert again["loss"].to_list() == [123.0]


def test_an_experiment_without_curves_gives_an_empty_table(
    tmp_path: Path, trained_store: Store
) -> None:
    from kdcore.config.experiment import ExperimentConfig

    waiting = trained_store.create(ExperimentConfig())
    assert write_metrics(trained_store, [waiting], tmp_path / "none.parquet") == 0
    assert list(pd.read_parquet(tmp_path / "none.parquet").columns) == list(COLUMNS)


def test_refusals_and_the_command_line(trained_store: Store, tmp_path: Path) -> None:
    chosen = ids(trained_store)
    with pytest.raises(
        ConfigError, match=r"file must be a name that ends in .csv or .parquet, got 'curves.xls'"
    ):
        write_metrics(trained_store, chosen, Path("curves.xls"))
    with pytest.raises(StoreError, match="no experiment 'nobody'"):
        write_metrics(trained_store, ["nobody"], tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()
    file = tmp_path / "both.csv"
    answer = CliRunner().invoke(
        main, ["--store", trained_store.url, "metrics", *chosen, chosen[0], "--file", str(file)]
    )
    points = len(pd.read_csv(file))
    assert points == len(metrics_table(trained_store, chosen)), "each experiment once"
    assert answer.stdout == f"{points:,} points of 2 experiments written to {file}\n"
