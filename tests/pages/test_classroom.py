"""A classroom in a real Chromium: a name each, own experiments and predictions, one board."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from kdcore import sweeps
from kdcore.analysis import library
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.errors import ConfigError
from kdcore.lessons import find_lesson
from kdcore.storage import lesson_progress
from kdcore.storage.store import Store
from pages.shared.visitor import read_name
from tests.conftest import TINY_CELL, copy_of
from tests.support.browser import wait_for_app


@pytest.fixture(scope="module")
def store(trained_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with two finished experiments, one of them Ada's."""
    store = Store(f"sqlite:///{copy_of(trained_store_file, tmp_path_factory.mktemp('class'))}")
    first = store.experiments()[0][0].id
    library.edit(store, [first], add_tags=["by Ada"])
    return store


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url, "KD_CLASSROOM": "1"})


def come_in(page: Page, url: str, name: str, path: str) -> None:
    page.goto(f"{url}{path}")
    wait_for_app(page)
    name_yourself(page, name)


def name_yourself(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("button", name="Come in").click()
    expect(page.get_by_role("button", name=name)).to_be_visible()


def test_a_visitor_sees_and_changes_only_what_is_theirs(page: Page, url: str, store: Store) -> None:
    own, other = (each.id for each, _ in store.experiments())
    come_in(page, url, "Ada", "/runs")
    expect(page.get_by_text("1 experiment ·")).to_be_visible()
    page.goto(f"{url}/?experiment={own}")  # the browser remembers the name
    expect(page.get_by_role("button", name="Ada")).to_be_visible()
    expect(page.get_by_role("heading", name="Take the model with you")).to_be_visible(
        timeout=60_000
    )
    page.goto(f"{url}/?experiment={other}")
    expect(page.get_by_role("button", name="Copy link")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("heading", name="Take the model with you")).to_have_count(0)
    for name in ("Name", "Report"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)


def test_a_sweep_is_stopped_and_extended_by_its_owner_alone(
    page: Page, url: str, store: Store
) -> None:
    base = ExperimentConfig(**TINY_CELL)
    axes = (Axis.parse("alpha", "0.1,0.9"),)
    own = sweeps.create(store, SweepConfig(base, axes), tags=["by Ada"])
    other = sweeps.create(store, SweepConfig(base, axes, trials=7), tags=["by Emmy"])
    tags = [library.tags_of(store, each.id) for each, _ in store.experiments()]
    of_cells = [["by Emmy", f"sweep {other}"]] * 4  # two cells, a teacher and a baseline
    assert [each for each in tags if "by Emmy" in each] == of_cells
    come_in(page, url, "Ada", f"/sweep?sweep={own}")
    for name in ("Pause", "Stop", "Add"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
    page.goto(f"{url}/sweep?sweep={other}")
    expect(page.get_by_role("button", name="Copy as command")).to_be_visible(timeout=60_000)
    for name in ("Pause", "Stop", "Add"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)


def test_tables_of_compare_are_for_the_owner(page: Page, url: str, store: Store) -> None:
    own = next(
        each.id for each, _ in store.experiments() if library.tags_of(store, each.id) == ["by Ada"]
    )
    come_in(page, url, "Ada", f"/compare?models={own}")
    expect(page.get_by_role("button", name="LaTeX")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Ada").click()
    name_yourself(page, "Emmy")
    expect(page.get_by_role("tab", name="Cost")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="LaTeX")).to_have_count(0)


def test_predictions_are_each_visitors_own(page: Page, url: str, store: Store) -> None:
    come_in(page, url, "Émile", "/lessons?lesson=t-squared&step=predict")
    page.get_by_role("button", name="This is my prediction").click()
    expect(page).to_have_url(re.compile("step=run"))
    assert set(lesson_progress.predictions_of(store, "t-squared")) == {"Émile"}
    assert lesson_progress.progress_in(store, "t-squared", "Ada").prediction is None
    middle = find_lesson("t-squared").predict
    kept = lesson_progress.progress_in(store, "t-squared", "Émile").prediction
    assert kept == pytest.approx((middle.low + middle.high) / 2, abs=1)


@pytest.mark.parametrize("text", ["", "   ", "x" * 31, "a\x00b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="name must be 1 to 30 signs"):
        read_name(text)


def test_blanks_around_a_name_are_nothing() -> None:
    assert read_name("  Ada   Lovelace ") == "Ada Lovelace"
