"""The Sweep page in a real Chromium: a finished sweep opened cold, a new one set up, started and
watched to its end.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from kdcore import sweeps
from kdcore.analysis.results import load_results
from kdcore.charts.sweep import value_of
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results
from tests.conftest import SWEPT, copy_of
from tests.support.browser import Complaints, open_popover, wait_for_app


@pytest.fixture(scope="module")
def lab(swept_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{copy_of(swept_store_file, tmp_path_factory.mktemp('sweep_page'))}")


@pytest.fixture(scope="module")
def url(serve: Callable[..., str], lab: Store) -> str:
    return serve("dashboard.py", {"KD_STORE": lab.url})


def drawn_map(page: Page) -> list[list[float | None]]:
    """The values of the map's cells as the browser has drawn them."""
    return page.evaluate(
        """() => {
            const plot = [...document.querySelectorAll('.kd-chart-plot')].find(
                (plot) => plot.data?.some((trace) => trace.uid === 'cells'));
            return plot.data.find((trace) => trace.uid === 'cells').z.map((row) => [...row]);
        }"""
    )


def stored_map(
    store: Store, sweep_id: str, alphas: tuple[Any, ...], temperatures: tuple[Any, ...]
) -> list[list[Any]]:
    sweep = sweep_results.load(store, sweep_id)
    found = {
        (cell.values["alpha"], cell.values["temperature"]): value_of(cell, "gain")
        for cell in sweep.cells
    }
    return [[pytest.approx(found[alpha, one]) for one in temperatures] for alpha in alphas]


def wait_until(ready: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def map_of(page: Page) -> Any:
    return page.locator(".kd-chart", has_text="on validation data").first


def test_a_finished_sweep_opens_cold_and_a_click_shows_a_cell(
    lab: Store, url: str, page: Page, complaints: Complaints
) -> None:
    sweep_id = sweeps.sweeps(lab)[-1].id
    sweep = sweep_results.load(lab, sweep_id)
    best, chosen = sweep.best(), sweep_results.winner(lab, sweep)
    assert best is not None
    assert chosen is not None
    page.goto(f"{url}/sweep?sweep={sweep_id}")
    wait_for_app(page)
    expect(
        page.get_by_text(
            f"Best of 4 cells on validation data: {sweep_results.settings_words(best.values)}"
        )
    ).to_be_visible()
    expect(page.get_by_text(chosen.gain.verdict)).to_be_visible()
    chart = map_of(page)
    expect(chart.locator(".hm").first).to_be_attached()
    assert drawn_map(page) == stored_map(lab, sweep_id, SWEPT["alpha"], SWEPT["temperature"])
    expect(
        page.get_by_role("heading", name=sweep_results.settings_words(best.values))
    ).to_be_visible()
    # The upper right cell: alpha 0.9, T 4. The lower left one would be: alpha 0.1, T 1.
    where = {(0.9, 4.0): (0.75, 0.25), (0.1, 1.0): (0.25, 0.75)}
    other = next(
        values for values in where if values != (best.values["alpha"], best.values["temperature"])
    )
    box = chart.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    right, down = where[other]
    page.mouse.click(box["x"] + right * box["width"], box["y"] + down * box["height"])
    heading = page.get_by_role("heading", name=f"α {other[0]:g}, T {other[1]:g}")
    expect(heading).to_be_visible()
    cell = next(cell for cell in sweep.cells if tuple(cell.values.values()) == other)
    expect(page.get_by_text(f"Validation accuracy {100 * cell.accuracy:.1f} %")).to_be_visible()
    expect(
        page.locator(".kd-chart", has_text="Accuracy on validation data: higher is better")
    ).to_be_visible()
    page.get_by_role("link", name="Open in Train").click()
    expect(page).to_have_url(f"{url}/?experiment={cell.id}")
    page.goto(url)
    wait_for_app(page)
    expect(page.get_by_role("button", name="digits · α × T · 4 cells")).to_have_count(1)
    expect(page.get_by_role("button", name="digits · mlp-16 → mlp-4")).to_have_count(0)
    assert complaints.messages == []


def test_a_sweep_is_set_up_started_and_watched_to_its_end(
    lab: Store, url: str, page: Page, complaints: Complaints
) -> None:
    page.goto(f"{url}/sweep?sweep={sweeps.sweeps(lab)[-1].id}")
    wait_for_app(page)
    page.get_by_role("button", name="New sweep").click()
    start = page.get_by_role("button", name="Start sweep")
    temperatures = page.get_by_role("textbox", name="Temperature T", exact=True)
    expect(temperatures).to_have_value("1,4")
    temperatures.fill("1,-1")
    temperatures.press("Enter")
    expect(page.get_by_text("temperature must be above 0, got -1")).to_be_visible()
    expect(start).to_be_disabled()
    temperatures.fill("1,2,4")
    temperatures.press("Enter")
    # Four of the six cells are trained, and the teacher and the baselines as well.
    expect(
        page.get_by_text("6 cells: 4 students to train (11 more are trained already), about")
    ).to_be_visible()
    expect(start).to_be_enabled()
    start.click()
    expect(page).to_have_url(re.compile(r"/sweep\?sweep=\w+$"))
    sweep_id = sweeps.sweeps(lab)[0].id
    assert page.url.endswith(sweep_id)
    assert sweep_id != sweeps.sweeps(lab)[-1].id
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text(re.compile(r"Paused: \d of 6 cells are trained"))).to_be_visible()
    assert sweep_results.load(lab, sweep_id).status == "paused"
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    node = map_of(page).locator(".kd-chart-plot").element_handle()
    expect(page.get_by_test_id("stMetric").filter(has_text="Cells")).to_contain_text(
        "6 / 6", timeout=300_000
    )
    expect(page.get_by_text("Best of 6 cells on validation data")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    assert node is not None
    assert node.evaluate("plot => plot.isConnected"), "the map filled in place"
    assert drawn_map(page) == stored_map(lab, sweep_id, SWEPT["alpha"], (1.0, 2.0, 4.0))
    assert sweep_results.load(lab, sweep_id).trained == {"teacher": 0, "baseline": 0, "student": 4}
    page.get_by_role(
        "button", name=f"Confirm the winner on {sweeps.SEEDS_TO_CONFIRM} fresh seeds"
    ).click()
    expect(page.get_by_role("link", name="Open the confirmation in Train")).to_be_visible(
        timeout=180_000
    )
    wait_until(
        lambda: bool(
            (sweep_results.confirmation(lab, sweep_results.load(lab, sweep_id)) or {}).get("words")
        )
    )
    sweep = sweep_results.load(lab, sweep_id)
    found = sweep_results.confirmation(lab, sweep)
    assert found is not None
    expect(page.get_by_text(found["words"])).to_be_visible()
    used = set(range(sweep.config.base.seed, sweep.config.base.seed + sweep.config.base.seeds))
    again = load_results(lab, found["experiment"]).config
    assert not used & set(range(again.seed, again.seed + again.seeds)), (
        "seeds that had no part in the choice"
    )
    assert complaints.messages == []


def test_a_race_of_methods_is_started_and_ends_in_its_table(
    lab: Store, url: str, page: Page, complaints: Complaints
) -> None:
    page.goto(f"{url}/sweep?sweep={sweeps.sweeps(lab)[-1].id}")
    wait_for_app(page)
    page.get_by_role("button", name="New sweep").click()  # with the small settings of that one
    wait_for_app(page)
    page.get_by_text("Or let the methods race").click()
    methods = page.get_by_role("combobox", name="Methods")
    methods.click()
    for title in ("Label smoothing", "DIST"):
        expect(page.get_by_text(title).first).to_be_visible()
    page.keyboard.press("Escape")
    chosen = page.locator(".st-key-race_methods [data-tag]")
    for left in range(chosen.count() - 1, 1, -1):
        for _ in range(5):  # the page may be drawn anew at the very moment of a key
            methods.press("Backspace")
            page.wait_for_timeout(1000)
            if chosen.count() == left:
                break
        expect(chosen).to_have_count(left)
    wait_for_app(page)
    page.get_by_role("spinbutton", name="Seeds").last.fill("2")
    page.keyboard.press("Tab")
    wait_for_app(page)
    expect(page.get_by_role("radio", name="The papers'")).to_be_checked()
    page.get_by_role("radio", name="Tuned on validation data").click()
    page.get_by_role("spinbutton", name="Trials").fill("2")
    page.keyboard.press("Tab")
    wait_for_app(page)
    page.get_by_role("button", name="Start the race").click()
    expect(page.get_by_text("settings are tuned: ")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("The race, on test data")).to_be_visible(timeout=300_000)
    expect(page.get_by_text("tuned on validation data, 2 trials each")).to_be_visible()
    newest = sweeps.sweeps(lab)[0]
    assert newest.config["axes"][0]["field"] == "method"
    assert len(newest.config["searches"]) == 2
    wait_for_app(page)
    open_popover(page, "Copy as command", page.get_by_text("--trials 2"))
    expect(page.get_by_text("Best cell")).to_have_count(0)
    assert complaints.messages == []
