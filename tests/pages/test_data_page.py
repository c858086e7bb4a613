"""The Data page in a real Chromium: a file goes in, is checked by a worker, stored, and
trained on.
"""

import io
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from kdcore.config.catalog import dataset_key
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from tests.support.browser import Complaints, choose


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{tmp_path_factory.mktemp('lab')}/store.db")


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


def settle(page: Page) -> None:
    page.wait_for_selector(
        "[data-testid='stApp'][data-test-script-state='notRunning']", timeout=180_000
    )


def upload(page: Page, name: str, data: bytes) -> None:
    page.locator("input[type=file]").first.set_input_files(
        files=[{"name": name, "mimeType": "application/octet-stream", "buffer": data}]
    )


def small_npz() -> bytes:
    """Two classes that a network can tell apart, one test image also in the training part."""
    random = np.random.default_rng(0)
    labels = np.arange(160) % 2
    images = random.integers(0, 90, (160, 8, 8), dtype=np.uint8)
    images[labels == 1, 2:6, 2:6] += 150
    images[130] = images[0]
    file = io.BytesIO()
    np.savez(
        file, x_train=images[:120], y_train=labels[:120], x_test=images[120:], y_test=labels[120:]
    )
    return file.getvalue()


def test_a_file_is_checked_stored_and_trained_on(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    page.goto(f"{url}/data")
    settle(page)
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
    upload(page, "Squares of mine.npz", small_npz())
    expect(page.get_by_text("1 test example is in the training part too")).to_be_visible(
        timeout=300_000
    )
    expect(page.get_by_text("8 × 8 × 1")).to_be_visible()
    expect(page.locator("[class*=st-key-data_classes] .js-plotly-plot")).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(12)
    assert store.user_datasets() == {}, "a check stores nothing"
    page.reload()  # all is in the address
    settle(page)
    name = page.get_by_role("textbox", name="Name")
    expect(name).to_have_value("squares-of-mine")
    name.fill("Not a name")
    name.press("Enter")
    expect(page.get_by_text("name must be lower-case letters")).to_be_visible()
    name.fill("squares")
    name.press("Enter")
    expect(page.get_by_role("button", name="Store", exact=True)).to_be_enabled()
    page.get_by_role("button", name="Store", exact=True).click()
    expect(page.get_by_text("It can now be chosen on every page")).to_be_visible(timeout=300_000)
    page.get_by_role("button", name="Train on it").click()
    expect(page.get_by_text("squares · conv-64-128 → conv-8-16 · 20 labels")).to_be_visible()
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("squares · 20 true labels")).to_be_visible(timeout=60_000)
    experiment = page.url.split("experiment=")[1]
    assert store.experiment(experiment).config["dataset"] == dataset_key("squares")
    for _ in range(600):
        if store.finished_runs("teacher"):
            break
        assert JobStatus(store.job(experiment).status).live, store.job(experiment).error
        page.wait_for_timeout(100)
    assert store.finished_runs("teacher")[0].summary["test_accuracy"] > 0.9
    store.request_stop(experiment)
    assert complaints.messages == []


def pick(page: Page, label: str, option: str) -> None:
    choose(page, label, option, exact=True)
    settle(page)


def test_what_is_refused_is_said_and_a_table_asks_for_its_column(page: Page, url: str) -> None:
    page.goto(f"{url}/data")
    settle(page)
    rows = b"1,red,cat\n2,blue,dog\n3,blue,cat\n,red,dog\n" * 12
    upload(page, "<b>table</b>.csv", b"size,colour,kind\n" + rows)
    expect(
        page.get_by_text("label must be the name of the column that holds the classes")
    ).to_be_visible(timeout=300_000)
    expect(page.get_by_text("<b>table</b>.csv")).to_be_visible()
    pick(page, "Column of classes", "kind")
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("got text in colour")).to_be_visible(timeout=180_000)
    expect(page.get_by_text("got 12 in size")).to_be_visible()
    pick(page, "Columns of text", "encode")
    pick(page, "Missing values", "own category")
    page.get_by_role("button", name="Check again").click()
    expect(
        page.get_by_text("Classes are read from the column 'kind', features from the other 2.")
    ).to_be_visible(timeout=180_000)
    expect(page.get_by_text("a feature for each category: colour (2)")).to_be_visible()
    expect(page.get_by_text("48", exact=True)).to_be_visible()
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("tabpanel", name="Data").get_by_text("In the store")).to_be_visible()


@pytest.mark.parametrize(
    ("tab", "name", "words"),
    [
        ("Data", "rows.xlsx", "got 'rows.xlsx': save the sheet as .csv"),
        ("Models", "old.h5", "got 'old.h5': load it with Keras and save it"),
    ],
)
def test_a_file_of_another_kind_is_refused_before_it_is_handed_over(
    page: Page, url: str, tab: str, name: str, words: str
) -> None:
    page.goto(f"{url}/data")
    settle(page)
    page.get_by_role("tab", name=tab, exact=True).click()
    panel = page.get_by_role("tabpanel", name=tab)
    panel.locator("input[type=file]").set_input_files(
        files=[{"name": name, "mimeType": "application/octet-stream", "buffer": b"whatever"}]
    )
    expect(panel.get_by_text(words)).to_be_visible()
    assert "job=" not in page.url


def test_examples_without_a_label_are_said_and_shown(page: Page, url: str, store: Store) -> None:
    random = np.random.default_rng(1)
    images = random.integers(0, 255, (90, 8, 8), dtype=np.uint8)
    file = io.BytesIO()
    np.savez(
        file,
        x_train=images[:40],
        y_train=np.arange(40) % 2,
        x_test=images[40:60],
        y_test=np.where(np.arange(20) < 5, -1, np.arange(20) % 2),
        x_unlabelled=images[60:],
    )
    page.goto(f"{url}/data")
    settle(page)
    upload(page, "partly.npz", file.getvalue())
    expect(
        page.get_by_text(
            "30 examples without a label: they are for teachers to answer, never for validation or test."
        )
    ).to_be_visible(timeout=300_000)
    expect(
        page.get_by_text("2 classes: 0, 1; 40 for training, 15 for test, 30 without")
    ).to_be_visible()
    expect(page.get_by_text("5 test examples have the label -1")).to_be_visible()
    expect(page.get_by_test_id("stMetric").filter(has_text="Without a label")).to_contain_text("30")
    pick(page, "Without a label", "also a test part without classes")
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("35 examples without a label")).to_be_visible(timeout=180_000)
    page.get_by_role("button", name="Store", exact=True).click()
    expect(page.get_by_text("It can now be chosen on every page")).to_be_visible(timeout=300_000)
    assert store.user_datasets()[dataset_key("partly")].unlabelled_examples == 35
    page.get_by_role("button", name="All data").click()
    expect(page.get_by_text("34 for training and 35 without a label")).to_be_visible()
