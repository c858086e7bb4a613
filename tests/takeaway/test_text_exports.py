"""Models of texts leave with their tokenizer: each script answers a typed text as Keras does."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.engine.jobs import run_job
from kdcore.storage.store import Store
from kdcore.takeaway.downloads import bundle, exports, request
from kdcore.tasks.text import texts_of
from kdcore.work.outcome import run

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore::DeprecationWarning:tf2onnx",
)

FORMATS = ("keras", "saved-model", "litert-float32", "litert-float16", "onnx")
CONFIG = ExperimentConfig(
    dataset="languages",
    training_examples=1000,
    labels=1000,
    teacher="bag-16",
    teacher_epochs=1,
    student="transformer-1-32",
    epochs=3,
    seeds=1,
    batch_size=50,
)


def test_every_format_answers_texts_with_the_tokens_of_the_training(
    store: Store, tmp_path: Path
) -> None:
    outcome = run(CONFIG, store=store, progress=False)
    (student,) = outcome.results.runs("student")
    assert run_job(store.url, request(store, student.id, FORMATS)) == "finished"
    reports = {each.format: each.report for each in exports(store, student.id)}
    assert {name: report["reason"] for name, report in reports.items()} == dict.fromkeys(
        FORMATS, ""
    )
    dataset, model = datasets.load(CONFIG), outcome.model("student")
    texts = texts_of(dataset.test.texts) if dataset.test.texts is not None else []
    asked = texts[:3]
    logits = np.asarray(model(dataset.test.inputs[:3].astype(np.float32)))
    expected = [
        f"{text!r}: {dataset.class_names[best]}"
        for text, best in zip(asked, logits.argmax(axis=1), strict=True)
    ]
    for name in FORMATS:
        files = bundle(store, student.id, name)
        folder = tmp_path / name
        folder.mkdir()
        for file, data in files.items():
            (folder / file).write_bytes(data)
        done = subprocess.run(
            [sys.executable, "run.py", *asked], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said = [
            line.rpartition(" (")[0]
            for line in done.stdout.splitlines()
            if line.startswith(("'", '"'))
        ]
        assert said == expected, name
    with np.load(io.BytesIO(files["examples.npz"])) as learnt:
        tokenizer = Tokenizer.from_str(str(learnt["vocabulary"]))
    encoded = [each.ids for each in tokenizer.encode_batch(texts)]
    np.testing.assert_array_equal(encoded, dataset.test.inputs)
