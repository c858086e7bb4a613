"""Every format is made by the command line's worker, opened again here by the script that comes
with it, and compared.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_wine

import kdcore
from kdcore import models
from kdcore.analysis.results import examples, gain, load_results, logits
from kdcore.cli.program import main
from kdcore.data import ingest
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError, StopRequested, StoreError
from kdcore.models.families import all_layers
from kdcore.models.precision import policy_scope
from kdcore.storage.schema import Export, Run
from kdcore.storage.store import Store
from kdcore.takeaway import decision
from kdcore.takeaway.downloads import (
    FORMATS,
    bundle,
    bundle_name,
    exports,
    find_run,
    latest_job,
    put_report,
    request,
    zip_of,
)
from kdcore.takeaway.model_card import _code, model_card
from kdcore.takeaway.reproduce import script
from kdcore.takeaway.snippets import input_words
from kdcore.tasks.report import DataOptions
from kdcore.work import export
from tests.support.browser import REPOSITORY

# Keras saves weights through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def store(trained_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    copy = tmp_path_factory.mktemp("export") / "store.db"
    shutil.copy(trained_store_file, copy)
    return Store(f"sqlite:///{copy}")


@pytest.fixture(scope="module")
def student(store: Store) -> Run:
    return find_run(store, store.experiments()[-1][0].id, "student")


@pytest.fixture(scope="module")
def exported(store: Store, student: Run, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the command line printed after exporting the student in all formats."""
    folder = tmp_path_factory.mktemp("files")
    command = [
        sys.executable,
        "-m",
        "kdcore",
        "--store",
        store.url,
        "export",
        student.id,
        "--folder",
        str(folder),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=180)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def report_of(exported: dict, name: str) -> dict:
    return next(row for row in exported["exports"] if row["format"] == name)


def test_all_formats_are_made_and_measured_on_all_test_examples(
    exported: dict, store: Store, student: Run
) -> None:
    assert [row["format"] for row in exported["exports"]] == list(FORMATS)
    recorded = logits(store, student, "test")
    right = recorded.argmax(axis=1) == examples(store, student.summary["dataset"], "test")["labels"]
    for row in exported["exports"]:
        assert row["passed"], row["reason"]
        assert 100 * (right.mean() - row["accuracy"]) == pytest.approx(row["points_lost"])
        assert abs(right.mean() - row["accuracy"]) <= row["changed"] / len(right)
        assert row["latency_ms"] > 0
        assert row["latency_calls"] >= 20
        assert "threads" in row["machine"]
    for name in ("keras", "saved-model", "litert-float32", "onnx"):
        assert report_of(exported, name)["max_difference"] < 1e-4
        assert report_of(exported, name)["accuracy"] == right.mean()
    assert 0 < report_of(exported, "litert-float16")["max_difference"] < 0.05
    assert (
        report_of(exported, "litert-int8")["max_difference"]
        > report_of(exported, "litert-float16")["max_difference"]
    )
    sizes = [
        report_of(exported, f"litert-{kind}")["size"] for kind in ("float32", "float16", "int8")
    ]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_script_that_comes_with_a_format_runs_it(
    name: str, exported: dict, store: Store, student: Run
) -> None:
    """In a process of its own, without KD Lab: its logits are the student's, and it prints the
    classes' names.
    """
    row = report_of(exported, name)
    call = "import json, numpy as np, run; data = np.load('examples.npz'); print(json.dumps([list(map(float, run.logits(x))) for x in data['inputs']]))"
    script = f"{call}; exec(open('run.py').read(), {{'__name__': '__main__'}})"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=row["folder"],
        timeout=120,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if "delegate" not in line]
    answers, recorded = (
        np.array(json.loads(lines[0])),
        logits(store, student, "test")[: len(lines) - 1],
    )
    allowed = {"litert-float16": 0.05, "litert-int8": row["max_difference"] * 1.01}.get(name, 1e-4)
    assert np.abs(answers - recorded).max() <= allowed
    truth = examples(store, student.summary["dataset"], "test")["labels"]
    for line, answer, label in zip(lines[1:], answers, truth[: len(answers)], strict=True):
        assert line.startswith(f"{answer.argmax()} (")
        assert line.endswith(f"the true label is {label}")


def test_int8_is_whole_numbers_throughout(exported: dict) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(
        str(Path(report_of(exported, "litert-int8")["folder"]) / "model.tflite")
    )
    interpreter.allocate_tensors()
    kinds = {detail["dtype"] for detail in interpreter.get_tensor_details()}
    assert kinds <= {np.int8, np.int32}, "int32 are biases and shapes"
    assert (
        interpreter.get_input_details()[0]["dtype"]
        == interpreter.get_output_details()[0]["dtype"]
        == np.int8
    )


def test_a_download_is_a_zip_of_model_script_examples_and_card(
    exported: dict, store: Store, student: Run
) -> None:
    (made,) = (each for each in exports(store, student.id) if each.format == "saved-model")
    folder = bundle_name(student, made)
    of_one_head = Export(format="onnx", report={"head": "class token"})
    assert bundle_name(student, of_one_head).endswith("-class-token-onnx")
    files = bundle(store, student.id, "saved-model")
    with zipfile.ZipFile(io.BytesIO(zip_of(files, folder))) as archive:
        names = {name.removeprefix(f"{folder}/") for name in archive.namelist()}
        assert names == {"saved_model.zip", "run.py", "examples.npz", "MODEL_CARD.md"}
        written = Path(report_of(exported, "saved-model")["folder"])
        for name in names:
            assert archive.read(f"{folder}/{name}") == (written / name).read_bytes()
    with zipfile.ZipFile(written / "saved_model.zip") as saved:
        assert "saved_model.pb" in saved.namelist()


def test_the_card_says_what_was_learnt_how_and_how_good_it_is(
    exported: dict, store: Store, student: Run
) -> None:
    card = model_card(store, student, exports(store, student.id))
    results = load_results(store, student.experiment_id)
    found = gain(store, results)
    assert found is not None
    assert "CI" in found.verdict
    int8 = report_of(exported, "litert-int8")
    for words in (
        "`digits`",
        "200 training examples",
        "50 of them came with their true label",
        "449 test examples",
        "Teacher: `conv-16-32`",
        "alpha 0.1",
        "T = 10",
        "seeds 0 to 1",
        found.verdict,
        "float32 of shape (8, 8, 1), from 0 to 1",
        f"| litert-int8 | {int8['accuracy']:.2%} | {int8['points_lost']:.2f} points",
        f"keras {keras.__version__}",
        "onnxruntime 1.",
    ):
        assert words in card, words
    settings = card.split("```json\n")[1].split("```")[0]
    assert json.loads(settings) == store.experiment(student.experiment_id).config


def test_a_name_with_markup_stays_a_name() -> None:
    assert _code("<b>*a*`\n`") == "`` <b>*a*` ` ``"
    report = {"input_shape": [8, 8, 1], "input_scale": 1.0, "features_scaled": False}
    assert input_words(report) == "float32 of shape (8, 8, 1), the values as they are"


def test_what_is_not_the_model_is_not_offered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A converter that writes other weights, and one that breaks, are both found out.

    The rest goes on.
    """
    run = find_run(store, store.experiments()[-1][0].id, "baseline", 1)
    other = models.build("conv-4-8", (8, 8, 1), 10, seed=99)

    def wrong(_subject: object, folder: Path) -> Path:
        other.save(folder / "model.keras")
        return folder / "model.keras"

    def broken(_subject: object, _folder: Path) -> Path:
        raise RuntimeError("no such operation\nand much more")

    monkeypatch.setitem(export._CONVERTERS, "keras", wrong)
    monkeypatch.setitem(export._CONVERTERS, "saved-model", broken)
    job = request(store, run.id, ["onnx", "saved-model", "keras"])
    with pytest.raises(StoreError, match="being made already"):
        request(store, run.id)
    assert run_job(store.url, job) == "finished"
    reports = {each.format: each.report for each in exports(store, run.id)}
    assert "differs from Keras'" in reports["keras"]["reason"]
    assert (
        reports["saved-model"]["reason"] == "it could not be made: RuntimeError: no such operation"
    )
    assert reports["onnx"]["passed"]
    for name in ("keras", "saved-model"):
        with pytest.raises(StoreError, match="is not offered"):
            bundle(store, run.id, name)
        assert not store.has_artifact(f"export/{run.id}/{name}")
    with pytest.raises(StoreError, match="is not made yet"):
        bundle(store, run.id, "litert-int8")
    card = model_card(store, run, exports(store, run.id))
    assert "| saved-model | – | – | – | – | – | no: it could not be made" in card


def test_the_smallest_file_that_fits_ships(exported: dict, store: Store, student: Run) -> None:
    experiment = store.experiments()[-1][0].id
    found = [each for each in decision.options(store, experiment) if each.run_id == student.id]
    made = {row["format"]: row for row in exported["exports"]}
    assert [each.kilobytes for each in found] == sorted(each.kilobytes for each in found)
    teacher = find_run(store, experiment, "teacher")
    for each in found:
        row = made[each.format]
        assert each.kilobytes == row["size"] / 1000
        assert each.milliseconds == row["latency_ms"]
        assert each.points_under_teacher == pytest.approx(
            100 * (teacher.summary["test_accuracy"] - row["accuracy"])
        )
    assert decision.smallest(found, decision.Budget()) == found[0]
    exact = next(each for each in found if each.format == "litert-float32")
    close = [each for each in found if each.points_under_teacher <= exact.points_under_teacher]
    budget = decision.Budget(points=max(exact.points_under_teacher, 0))
    assert decision.smallest(found, budget) == close[0]
    assert decision.smallest(found, decision.Budget(kilobytes=0.1)) is None
    words = decision.in_words(store, experiment, found[0])
    assert f"{100 * found[0].accuracy:.1f} % right on test data" in words
    assert "Make the teacher's files too" in words
    with pytest.raises(ConfigError, match="kilobytes must be above 0, got -1"):
        decision.Budget(kilobytes=-1)
    command = [sys.executable, "-m", "kdcore", "--store", store.url, "decide", experiment]
    said = subprocess.run(
        [*command, "--kilobytes", "0.1"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert said.stdout.splitlines()[-1] == "No file fits."
    said = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert said.stdout.startswith("* ")


def test_files_are_compared_with_the_teachers_of_the_same_format(
    exported: dict, store: Store
) -> None:
    experiment = store.experiments()[-1][0].id
    teacher = find_run(store, experiment, "teacher")
    request(store, teacher.id, ["litert-int8", "onnx"])
    for name, size, latency, machine in (
        ("litert-int8", 50_000, 3.0, exported["exports"][0]["machine"]),
        ("onnx", 60_000, 2.0, "another machine"),
    ):
        measured = {"passed": True, "accuracy": 0.9, "size": size, "latency_ms": latency}
        put_report(store, teacher.id, name, {**measured, "machine": machine})
    found = {
        each.format: each for each in decision.options(store, experiment) if each.role == "student"
    }
    int8, onnx = found["litert-int8"], found["onnx"]
    assert int8.times_smaller == pytest.approx(50 / int8.kilobytes)
    assert int8.times_faster == pytest.approx(3 / int8.milliseconds)
    assert onnx.times_smaller == pytest.approx(60 / onnx.kilobytes)
    assert onnx.times_faster is None, "times of two machines are not compared"
    assert "than the teacher's" in decision.in_words(store, experiment, int8)


def test_a_stop_ends_it_between_formats(store: Store) -> None:
    run = find_run(store, store.experiments()[-1][0].id, "student", 1)
    job = request(store, run.id)

    def check() -> None:
        if any(each.report for each in exports(store, run.id)):
            raise StopRequested("stop")

    with pytest.raises(StopRequested):
        export.run_export(store, job, run.id, list(FORMATS), check)
    assert [bool(each.report) for each in exports(store, run.id)] == [True] + [False] * (
        len(FORMATS) - 1
    )
    store.request_stop(job)
    assert latest_job(store, run.id).status == "stopped"  # type: ignore[union-attr]


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16", "float64"])
def test_a_model_of_any_number_format_leaves_in_float32(policy: str) -> None:
    with policy_scope(policy):
        inner = keras.Sequential(
            [keras.Input((6, 6, 4)), keras.layers.Flatten(), keras.layers.Dense(8)]
        )
    plain = keras.layers.Conv2D(4, 3, activation="relu", dtype="float32")
    inputs = keras.Input((8, 8, 1))
    answers = keras.layers.Dense(3, dtype=keras.DTypePolicy(policy))(inner(plain(inputs)))
    model = keras.Model(inputs, answers)
    copy = export.in_float32(model)
    assert {layer.compute_dtype for layer in all_layers(copy)} == {"float32"}
    examples = np.random.default_rng(0).random((40, 8, 8, 1), np.float32)
    reference = np.asarray(copy(examples))
    np.testing.assert_allclose(np.asarray(model(examples), np.float32), reference, atol=0.05)
    subject = export.Subject(
        copy, examples, examples, reference.argmax(axis=1).astype(np.int32), reference
    )
    for name in ("litert-float32", "litert-float16", "litert-int8", "onnx"):
        _, report = export.make(name, subject)
        assert report["max_difference"] is not None, report["reason"]


@pytest.mark.parametrize("model", ["resnet-8-4", "mlp-8"])
def test_a_teacher_in_bfloat16_leaves_in_float32(model: str) -> None:
    with policy_scope("mixed_bfloat16"):
        teacher = models.build(model, (8, 8, 1), 10, seed=0)
    copy = export.in_float32(teacher)
    assert {layer.compute_dtype for layer in copy.layers} == {"float32"}
    for ours, theirs in zip(copy.get_weights(), teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    inputs = np.random.default_rng(0).random((40, 8, 8, 1), np.float32)
    reference = copy(inputs).numpy()
    assert 0 < np.abs(teacher(inputs).numpy() - reference).max() < 0.2
    subject = export.Subject(
        copy, inputs, inputs, reference.argmax(axis=1).astype(np.int32), reference
    )
    for name in ("onnx", "litert-int8"):
        file, report = export.make(name, subject)
        assert report["max_difference"] is not None, report["reason"]
        assert len(file) > 1000
    assert export.in_float32(copy) is copy


@pytest.mark.parametrize("name", ["vit-1-16", "deit-1-16"])
def test_a_vision_transformer_leaves_in_every_format(name: str) -> None:
    model = models.build(name, (8, 8, 1), 10, seed=0)
    inputs = np.random.default_rng(0).random((40, 8, 8, 1), np.float32)
    reference = model(inputs).numpy()
    labels = reference.argmax(axis=1).astype(np.int32)
    subject = export.Subject(model, inputs, inputs, labels, reference)
    for each, wanted in FORMATS.items():
        _, report = export.make(each, subject)
        assert report["reason"] == "", each
        assert export.refusal(wanted, report) == "", each
        if each in ("onnx", "litert-float32", "saved-model", "keras"):
            assert report["max_difference"] < 1e-4, each


def test_a_file_must_be_close_and_finite_and_as_right(exported: dict) -> None:
    good = report_of(exported, "litert-int8")
    wanted = FORMATS["litert-int8"]
    assert export.refusal(wanted, good) == ""
    assert "not finite" in export.refusal(wanted, good | {"max_difference": None})
    assert "loses 5.1 points" in export.refusal(wanted, good | {"points_lost": 5.1})
    assert "more than 0.001" in export.refusal(
        FORMATS["onnx"], good | {"max_difference": 0.0011, "largest_logit": 0.5}
    )


def test_bad_input_is_refused_in_the_one_form(store: Store, student: Run) -> None:
    with pytest.raises(ConfigError, match=r"format must be one of keras, .*, got 'pickle'"):
        request(store, student.id, ["pickle"])
    experiment = student.experiment_id
    for arguments, words in (
        ((experiment, "--format", "int8"), "format must be one of"),
        (
            (experiment, "--role", "tutor"),
            "role must be one of teacher, student, baseline, got 'tutor'",
        ),
        ((experiment, "--seed", "7"), "seed must be one of 0, 1, got 7"),
        (("nothing",), "there is no experiment"),
    ):
        with contextlib.chdir(store.url.removeprefix("sqlite:///").rsplit("/", 1)[0]):
            result = CliRunner().invoke(main, ["--store", store.url, "export", *arguments])
        assert result.exit_code != 0
        assert words in result.stderr


def test_a_table_of_ones_own_leaves_with_the_scaling_of_its_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = load_wine(as_frame=True).frame
    table.to_csv(tmp_path / "wine.csv", index=False)
    url = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("KD_STORE", url)
    store = kdcore.Store(url)
    ingest.add(store, "wine", tmp_path / "wine.csv", DataOptions("target"))
    config = kdcore.ExperimentConfig(
        dataset="wine",
        labels=None,
        teacher="mlp-16",
        student="mlp-8",
        teacher_epochs=2,
        epochs=2,
        seeds=1,
    )
    outcome = kdcore.run(config, store=store, progress=False)
    run = find_run(store, outcome.experiment_id)
    assert run_job(url, request(store, run.id, ["litert-int8"])) == "finished"
    files = bundle(store, run.id, "litert-int8")
    assert "each feature less its centre, divided by its spread" in files["run.py"].decode()
    with np.load(io.BytesIO(files["examples.npz"])) as travelling:
        features = travelling["inputs"] * travelling["spread"] + travelling["centre"]
    rows = table.drop(columns="target").to_numpy()
    for example in features:
        assert np.abs(rows - example).max(axis=1).min() < 1e-3, "it is one of the table's wines"
    names: dict = {}
    exec(script(store, outcome.experiment_id), names)
    assert names["outcome"].accuracies("student") == outcome.accuracies("student")


def test_rows_as_they_were_in_the_table_are_answered_by_what_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = load_wine(as_frame=True).frame[["alcohol", "hue", "proline", "target"]]
    table.insert(0, "sweet", pd.Series(np.where(table.proline > 900, "yes", "no")))
    table["sweet"] = table["sweet"].mask(table.index % 8 == 1)
    table.loc[table.index % 5 == 2, "alcohol"] = np.nan
    table.insert(0, "price", table.proline.map(lambda value: f"€{1.5 * value:,.2f}"))
    table["depth"] = table.index + 0.5  # another in each row
    table.to_csv(tmp_path / "wine.csv", index=False)
    url = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("KD_STORE", url)
    store = kdcore.Store(url)
    options = DataOptions("target", text="encode", missing="own category")
    ingest.add(store, "wine", tmp_path / "wine.csv", options)
    tiny = {"labels": None, "teacher_epochs": 2, "epochs": 2, "seeds": 1}
    config = kdcore.ExperimentConfig(dataset="wine", teacher="mlp-16", student="mlp-8", **tiny)
    outcome = kdcore.run(config, store=store, progress=False)
    run = find_run(store, outcome.experiment_id)
    assert run_job(url, request(store, run.id, ["litert-float32"])) == "finished"
    folder = tmp_path / "taken"
    folder.mkdir()
    for name, data in bundle(store, run.id, "litert-float32").items():
        (folder / name).write_bytes(data)
    with np.load(folder / "examples.npz") as travelling:
        features = travelling["inputs"] * travelling["spread"] + travelling["centre"]
    rows = table.iloc[[round(float(at) - 0.5) for at in features[:, -1]]]
    assert rows.alcohol.isna().any()
    assert rows.sweet.isna().any()
    rows.drop(columns="target").to_csv(folder / "rows.csv", index=False)

    def told(*arguments: str) -> list[str]:
        command = [sys.executable, "run.py", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return [line.partition(",")[0] for line in done.stdout.splitlines()]

    assert told("rows.csv") == told()
    assert len(set(told())) > 1


def test_a_teacher_of_ones_own_leaves_too_and_its_card_does_not_claim_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    )
    outside.save(tmp_path / "outside.keras")
    url = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("KD_STORE", url)
    add = [
        sys.executable,
        "-m",
        "kdcore",
        "--store",
        url,
        "model",
        "add",
        "outside",
        str(tmp_path / "outside.keras"),
    ]
    subprocess.run(add, capture_output=True, cwd=REPOSITORY, timeout=180, check=True)
    store = kdcore.Store(url)
    config = kdcore.ExperimentConfig(
        teacher="outside",
        teacher_inputs="as added",  # it has learnt nothing
        student="mlp-4",
        training_examples=200,
        labels=50,
        epochs=1,
        seeds=1,
    )
    outcome = kdcore.run(config, store=store, progress=False)
    run = find_run(store, outcome.experiment_id, "teacher")
    job = request(store, run.id, ["onnx"])
    run_job(url, job)
    while (
        store.job(job).status == "running"
    ):  # the worker that took the model in is still there, and may be faster
        time.sleep(0.05)
    card = bundle(store, run.id, "onnx")["MODEL_CARD.md"].decode()
    assert "Added as a trained file and used as it is." in card
    assert "epochs on true labels" not in card
    names: dict = {}
    exec(script(store, outcome.experiment_id), names)
    assert names["outcome"].accuracies("student") == outcome.accuracies("student")
