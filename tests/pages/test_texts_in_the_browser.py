"""Texts in a real Chromium: typed phrases are answered, and texts stand where pictures do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Prediction
from kdcore.storage.store import Store
from tests.support.browser import REPOSITORY, Complaints, wait_for_app
from tests.support.training import train_elsewhere

CONFIG = ExperimentConfig(
    dataset="languages",
    labels=1500,
    teacher="transformer-1-64",
    teacher_epochs=4,
    student="bag-32",
    epochs=2,
    seeds=1,
    batch_size=64,
    teacher_batch_size=64,
)
COMMAND = [sys.executable, "-m", "kdcore"]
PHRASES = {
    "německé marky a české koruny": "Czech",
    "euskaran aikuisten näyttämöllä": "Finnish",
    "Großbritannien und Österreich": "German",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with one experiment on phrases."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('texts')}/store.db")
    train_elsewhere(store.url, store.create(CONFIG))
    return store


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


def experiment_of(store: Store) -> str:
    return store.experiments()[0][0].id


def ask_by_command(store: Store, text: str) -> dict[str, object]:
    done = subprocess.run(
        [*COMMAND, "--store", store.url, "predict", experiment_of(store), "--text", text, "--json"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout)["answers"])


def test_phrases_in_three_languages_are_answered_while_one_types(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    page.goto(f"{url}/try_it?experiment={experiment_of(store)}")
    wait_for_app(page)
    expect(page.get_by_text("A worker is starting")).to_have_count(0, timeout=180_000)
    expect(page.get_by_text("appears here, while you type")).to_be_visible()
    field = page.get_by_role("textbox", name="Type a text")
    values = page.locator(".kd-chart-card-value")
    for text, language in PHRASES.items():
        field.press("Control+A")
        field.press_sequentially(text, delay=20)
        expect(values.first).to_have_text(language, timeout=60_000)
        lines = page.locator(".kd-parts")
        expect(lines).to_have_count(3)
        expect(lines.first).to_contain_text(text)
    with store.reading() as session:
        asked = session.scalars(select(Prediction.run_ids)).all()
    assert len(asked) > len(PHRASES), "answers came while a phrase was typed"
    assert not any(each["attention"] for each in asked), "it takes time, and nobody looks at it"
    said = ask_by_command(store, text)
    page.wait_for_timeout(500)
    assert values.all_inner_texts() == [each["answer"] for each in said.values()]  # type: ignore[index]
    assert complaints.messages == []


def test_html_and_letters_that_nobody_knows_are_shown_as_what_they_are(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    page.goto(f"{url}/try_it?experiment={experiment_of(store)}")
    wait_for_app(page)
    expect(page.get_by_text("A worker is starting")).to_have_count(0, timeout=180_000)
    field = page.get_by_role("textbox", name="Type a text")
    odd = "<img src=x onerror=alert(1)> שלום 😀"
    field.press_sequentially(odd)
    expect(page.locator(".kd-parts").first).to_contain_text(odd)
    assert page.locator(".kd-parts img").count() == 0
    field.press("Control+A")
    field.press("Delete")
    expect(page.get_by_text("appears here, while you type")).to_be_visible()
    assert complaints.messages == []


@pytest.mark.parametrize("width", [1440, 390])
def test_phrases_stand_where_pictures_do(
    page: Page, url: str, store: Store, complaints: Complaints, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 1000})
    experiment = experiment_of(store)
    for address, name in [
        (f"/?experiment={experiment}", "Validation examples: choose one"),
        ("/temperature", "Test examples"),
        (f"/compare?experiment={experiment}", ""),
    ]:
        page.goto(f"{url}{address}")
        wait_for_app(page)
        expect(page.locator('[data-testid="stException"]')).to_have_count(0)
        if name:
            options = page.get_by_role("option").filter(has_text="German")
            expect(options.first).to_be_visible(timeout=60_000)
            options.first.click()
            expect(options.first).to_have_attribute("aria-selected", "true")
    assert complaints.messages == []
