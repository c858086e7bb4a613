"""The Runs page in a real Chromium: find, name, delete and undo, take along."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from streamlit.testing.v1 import AppTest

from kdcore.analysis import library
from kdcore.analysis.results import gain, load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.takeaway.metrics_table import metrics_table
from kdcore.takeaway.report import html_report
from tests.support.browser import REPOSITORY, Complaints, open_popover, wait_for_app

HOSTILE = "<img src=x onerror=window.stolen=1> *bold* :material/home:"
ROW = 35


@pytest.fixture(scope="module")
def whole_store(trained_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    file = tmp_path_factory.mktemp("runs") / "store.db"
    with (
        closing(sqlite3.connect(trained_store_file)) as source,
        closing(sqlite3.connect(file)) as target,
    ):
        source.backup(target)
    return Store(f"sqlite:///{file}")


@pytest.fixture
def store(whole_store: Store) -> Iterator[Store]:
    """The store of all tests here, what it deletes restored after each one."""
    yield whole_store
    library.restore_experiments(whole_store, library.trash(whole_store))


@pytest.fixture(scope="module")
def url(whole_store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": whole_store.url})


def both(store: Store) -> list[str]:
    """The two trained experiments, as the table shows them: the newer one first."""
    return [experiment.id for experiment, _ in store.experiments()]


def settle(page: Page) -> None:
    page.wait_for_timeout(150)  # a click takes a moment to reach the server
    wait_for_app(page)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def tick(page: Page, row: int) -> None:
    """Tick a row of the table, which is drawn on a canvas; the first is 1."""
    box = page.get_by_test_id("stDataFrame").first.locator("canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 14, box["y"] + ROW * row + ROW // 2)
    settle(page)


def opened(page: Page, url: str) -> None:
    page.goto(f"{url}/runs")
    expect(page.get_by_role("heading", name="All experiments")).to_be_visible(timeout=180_000)
    wait_for_app(page)


def test_a_chosen_experiment_is_named_tagged_and_starred(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    opened(page, url)
    first = both(store)[0]
    tick(page, 1)
    found = gain(store, load_results(store, first))
    assert found is not None
    expect(page.get_by_text(found.verdict)).to_be_visible()
    page.get_by_role("textbox", name="Name").fill(HOSTILE)
    page.get_by_role("textbox", name="Name").press("Enter")
    expect(page.get_by_role("heading", name=HOSTILE.replace(":m", ":\u2060m"))).to_be_visible()
    tags = page.get_by_role("combobox", name="Tags").last
    tags.fill("thesis")
    tags.press("Enter")
    expect(page.get_by_text("thesis").last).to_be_visible()
    settle(page)
    button(page, "Star").click()
    expect(button(page, "Unstar")).to_be_visible()
    row = library.listing(store).iloc[0]
    assert [row["name"], row["tags"], bool(row["starred"])] == [HOSTILE, ["thesis"], True]
    assert page.evaluate("window.stolen") is None
    assert complaints.messages == []


def test_a_click_on_a_row_opens_the_experiment_and_temperature_begins_with_it(
    page: Page, url: str, store: Store
) -> None:
    opened(page, url)
    older = both(store)[1]
    box = page.get_by_test_id("stDataFrame").first.locator("canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 150, box["y"] + ROW * 2 + ROW // 2)
    page.wait_for_url(f"**/?experiment={older}", timeout=60_000)
    wait_for_app(page)
    page.get_by_role("link", name="Temperature").click()
    student = load_results(store, older).runs("student")[0].id
    page.wait_for_url(f"**/temperature?*student={student}*", timeout=60_000)


def click_until_listed(page: Page, name: str, store: Store, count: int) -> None:
    """Click a button until the click has reached the store.

    In two whole runs of the suite one had no effect; in some forty runs of this file alone, with
    all cores busy, none. Until it is known why, a second click is what a person would do.
    """
    for _ in range(3):
        button(page, name).click()
        for _ in range(200):
            if len(library.listing(store)) == count:
                return
            page.wait_for_timeout(100)
    raise AssertionError(
        f"{count} experiments were expected, there are {len(library.listing(store))}; the page "
        f"says: {page.locator('section').first.inner_text()}"
    )


def test_delete_and_undo(page: Page, url: str, store: Store, complaints: Complaints) -> None:
    opened(page, url)
    before = library.listing(store)
    tick(page, 1)
    tick(page, 2)
    expect(page.get_by_role("heading", name="2 experiments")).to_be_visible()
    button(page, "Delete").click()
    expect(page.get_by_text("2 experiments are in the trash.")).to_be_visible()
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    assert both(store) == []
    page.goto(url)
    expect(page.get_by_text("Nothing trained yet")).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_text("Trash: 2 deleted")).to_be_visible(timeout=60_000)
    page.get_by_text("Trash: 2 deleted").click()
    click_until_listed(page, "Restore all", store, 2)
    assert library.listing(store).equals(before)
    expect(page.get_by_role("heading", name="2 experiments")).to_be_visible()
    click_until_listed(page, "Delete", store, 0)
    click_until_listed(page, "Undo", store, 2)
    expect(page.get_by_text("2 restored").first).to_be_visible()
    assert library.listing(store).equals(before)
    assert complaints.messages == []


def test_the_report_and_the_curves_are_downloaded_and_the_report_opens_offline(
    page: Page, url: str, store: Store, tmp_path: Path
) -> None:
    opened(page, url)
    tick(page, 1)
    tick(page, 2)
    expect(page.get_by_role("heading", name="2 experiments")).to_be_visible()
    settle(page)
    chosen = both(store)
    files = {}
    for name in ("Report", "CSV", "Parquet"):
        with page.expect_download() as coming:
            button(page, name).click()
        files[name] = tmp_path / coming.value.suggested_filename
        coming.value.save_as(files[name])
    table = metrics_table(store, chosen)
    pd.testing.assert_frame_equal(pd.read_csv(files["CSV"]), table, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(files["Parquet"]), table)
    written = files["Report"].read_text("utf-8")
    minutes = re.compile(r"written [\d-]+ [\d:]+ UTC")
    assert minutes.sub("", written) == minutes.sub("", html_report(store, chosen))
    page.context.set_offline(True)
    page.goto(files["Report"].as_uri())
    page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))"
    )
    lines = page.locator(".plot .scatterlayer .trace path.js-line").count()
    assert lines >= 8
    expect(page.get_by_role("heading", name="2 experiments")).to_be_visible()


def test_the_train_page_offers_the_report_too(page: Page, url: str, store: Store) -> None:
    experiment_id = both(store)[0]
    page.goto(f"{url}/?experiment={experiment_id}")
    with page.expect_download(timeout=180_000) as coming:
        button(page, "Report").click(timeout=60_000)
    assert coming.value.suggested_filename == f"report-{experiment_id}.html"


def test_train_again_with_changes_brings_the_settings_along(
    page: Page, url: str, store: Store
) -> None:
    opened(page, url)
    tick(page, 1)
    config = load_results(store, both(store)[0]).config
    button(page, "Train again with changes").click()
    expect(page.get_by_text(config.describe()).first).to_be_visible(timeout=60_000)
    expect(page.get_by_role("spinbutton", name="Temperature T")).to_have_value("2")
    expect(button(page, "Train")).to_be_enabled()


def test_destroying_what_is_in_the_trash_frees_its_space(
    page: Page, url: str, store: Store
) -> None:
    older = both(store)[1]
    library.delete_experiments(store, [older])
    opened(page, url)
    page.get_by_text("Trash: 1 deleted").click()
    destroy = button(page, "Destroy them")
    open_popover(page, "Delete all for good", destroy)
    destroy.click()
    expect(
        page.get_by_text(re.compile(r"1 experiment and 4 models destroyed, \d+\.\d kB freed"))
    ).to_be_visible()
    assert library.trash(store) == []
    assert load_results(store, both(store)[0]).accuracies("teacher"), "the shared teacher is there"


# What needs no browser


def shown(app: AppTest) -> list[str]:
    return list(app.dataframe[0].value["id"])


@pytest.fixture
def app(trained_store: Store, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    import streamlit as st

    monkeypatch.setenv("KD_STORE", trained_store.url)
    monkeypatch.setattr("kdcore.engine.local.LocalEngine.warm", lambda _: None)
    monkeypatch.setattr("kdcore.engine.local.LocalEngine.tend", lambda _: None)
    st.cache_resource.clear()
    st.cache_data.clear()
    return AppTest.from_file(REPOSITORY / "pages" / "views" / "runs.py", default_timeout=60)


def test_filters_narrow_the_table_and_a_choice_outlives_them(
    app: AppTest, trained_store: Store
) -> None:
    second, first = both(trained_store)
    library.edit(trained_store, [first], name="warm", add_tags=["thesis"], starred=True)
    app.run()
    assert shown(app) == [second, first]
    app.session_state["runs_chosen"] = [second]
    app.text_input(key="runs_text").set_value("warm conv").run()
    assert shown(app) == [first]
    named = [field.label for field in app.text_input]
    assert "Name" not in named, "nothing is done to an experiment that is not shown"
    app.text_input(key="runs_text").set_value("nowhere").run()
    assert "None of 2 experiments fits" in app.caption[1].value
    app.button(key="runs_show_all").click().run()
    assert shown(app) == [second, first]
    assert "Name" in [field.label for field in app.text_input], "the chosen one stays chosen"
    app.multiselect(key="runs_tags").set_value(["thesis"]).run()
    assert shown(app) == [first]
    app.multiselect(key="runs_tags").set_value([]).run()
    app.toggle(key="runs_starred").set_value(True).run()
    assert shown(app) == [first]
    assert not app.exception


def test_a_live_experiment_can_be_stopped_and_not_deleted(
    app: AppTest, trained_store: Store
) -> None:
    live = trained_store.create(ExperimentConfig())
    app.session_state["runs_chosen"] = [live]
    app.run()
    assert app.button(key="runs_delete").disabled
    assert "3 experiments · 1 of them live" in app.caption[0].value
    app.button(key="runs_stop").click().run()
    assert trained_store.job(live).status == JobStatus.STOPPED
    assert not app.button(key="runs_delete").disabled
    assert not app.exception


def test_a_tag_that_is_too_long_is_refused_where_it_was_typed(
    app: AppTest, trained_store: Store
) -> None:
    app.session_state["runs_chosen"] = both(trained_store)
    app.run()
    tags = next(each for each in app.multiselect if each.label == "Add tags to all")
    tags.set_value(["x" * 41]).run()
    assert "tag must be 1 to 40 characters" in app.error[0].value.replace("\\", "")
    assert library.listing(trained_store)["tags"].to_list() == [[], []]
    assert not app.exception
