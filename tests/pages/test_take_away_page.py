"""What one takes away from an experiment in a real Chromium: downloads made by a real worker, code,
settings back in.
"""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from kdcore.takeaway.downloads import FORMATS, exports, find_run
from tests.support.browser import Complaints, open_popover, wait_for_app


@pytest.fixture(scope="module")
def store(trained_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    copy = tmp_path_factory.mktemp("take") / "store.db"
    copy.write_bytes(trained_store_file.read_bytes())
    return Store(f"sqlite:///{copy}")


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


@pytest.fixture(scope="module")
def experiment(store: Store) -> str:
    return store.experiments()[-1][0].id


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def download(page: Page, name: str) -> bytes:
    with page.expect_download() as waited:
        button(page, name).click()
    return Path(waited.value.path()).read_bytes()


def test_make_downloads_measures_and_offers_them(
    page: Page, url: str, store: Store, experiment: str, complaints: Complaints
) -> None:
    page.goto(f"{url}/?experiment={experiment}")
    wait_for_app(page)
    page.get_by_role("radio", name="Baseline", exact=True).click()
    expect(page.get_by_text("baseline (from scratch) conv-4-8")).to_be_visible()
    button(page, "Make downloads").click()
    expect(button(page, "Download LiteRT int8")).to_be_visible(timeout=600_000)
    expect(page.get_by_text("Which one ships?")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("The smallest that fits:")).to_be_visible()
    page.get_by_role("spinbutton", name="File, at most kB").fill("0.5")
    page.get_by_role("spinbutton", name="File, at most kB").press("Enter")
    expect(page.get_by_text("No file fits.")).to_be_visible()
    run = find_run(store, experiment, "baseline")
    assert [each.format for each in exports(store, run.id) if each.report.get("passed")] == list(
        FORMATS
    )
    with zipfile.ZipFile(io.BytesIO(download(page, "Download LiteRT int8"))) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        assert set(names) == {"model.tflite", "run.py", "examples.npz", "MODEL_CARD.md"}
        assert archive.read(names["model.tflite"]) == store.artifact(f"export/{run.id}/litert-int8")
    assert download(page, "Model card").startswith(
        b"# conv-4-8: a baseline, trained without a teacher"
    )
    page.get_by_role("radio", name="ONNX", exact=True).click()
    page.get_by_text("run.py: the script that comes with it").click()
    expect(page.get_by_text("onnxruntime.InferenceSession")).to_be_visible()
    assert complaints.messages == []


def test_code_comes_out_and_settings_go_back_in(
    page: Page, url: str, store: Store, experiment: str, complaints: Complaints
) -> None:
    page.goto(f"{url}/?experiment={experiment}")
    wait_for_app(page)
    nbformat.validate(json.loads(download(page, "Download notebook")))
    open_popover(page, "Copy as Python", page.get_by_text("outcome = kdcore.run(config)"))
    settings = download(page, "Settings as JSON")
    config = ExperimentConfig(**store.experiment(experiment).config)
    assert ExperimentConfig.from_json(settings).replace(precision="auto") == config

    page.goto(url)
    wait_for_app(page)
    open_popover(page, "Settings from a file", page.get_by_test_id("stFileUploader"))
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(
        {"name": "bad.json", "mimeType": "application/json", "buffer": b'{"temperature": -1}'}
    )
    expect(page.get_by_text("temperature must be above 0, got -1")).to_be_visible()
    chooser.set_input_files(
        {"name": "good.json", "mimeType": "application/json", "buffer": settings}
    )
    expect(
        page.get_by_text("In the form: digits · conv-16-32 → conv-4-8 · 50 labels")
    ).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("spinbutton", name="Label budget")).to_have_value("50")
    expect(page.get_by_role("spinbutton", name="Teacher epochs")).to_have_value("3")
    assert complaints.messages == []
