"""The Compare page in a real Chromium, on a store with two small finished experiments."""

import contextlib
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlparse

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from kdcore.analysis.comparison import Comparison, compare
from kdcore.analysis.contenders import run_table
from kdcore.analysis.logits import softmax
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from kdcore.words import in_bytes
from pages.compare.choose import _filtered
from pages.compare.state import DIFFER, PageState
from tests.support.browser import Complaints, wait_for_app

HEADER, ROW = 35, 35  # pixels of Streamlit's table


@pytest.fixture(scope="module")
def store(trained_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    copy = tmp_path_factory.mktemp("compare") / "store.db"
    with (
        contextlib.closing(sqlite3.connect(trained_store_file)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return Store(f"sqlite:///{copy}")


@pytest.fixture(scope="module")
def experiments(store: Store) -> tuple[str, str]:
    (newer, _), (older, _) = store.experiments()
    return older.id, newer.id


@pytest.fixture(scope="module")
def models(experiments: tuple[str, str]) -> list[str]:
    hot, cold = experiments
    return [f"{hot}:student", f"{hot}:baseline", f"{cold}:student"]


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


def visit(page: Page, url: str, **parameters: Any) -> None:
    page.goto(f"{url}/compare?{urlencode(parameters)}")
    wait_for_app(page)


def address(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


def cells(page: Page, row: str) -> list[str]:
    """What a row of the table of numbers says, model by model: the number without its small
    print.
    """
    found = page.locator(".kd-numbers tbody tr").filter(has=page.get_by_role("rowheader", name=row))
    return found.locator("td").evaluate_all(
        "cells => cells.map(cell => (cell.querySelector('b') ?? cell).textContent)"
    )


def expect_cells(page: Page, expected: dict[str, list[str]]) -> None:
    """Wait until rows of the table of numbers say what is expected."""
    deadline = time.monotonic() + 20
    while (
        shown := {row: cells(page, row) for row in expected}
    ) != expected and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert shown == expected


def expect_numbers(page: Page, found: Comparison) -> None:
    """Every number on the page is the library's, which is also what the command prints."""
    expect(page.locator(".kd-numbers thead th")).to_have_count(len(found.contenders))
    expected = {
        "Test accuracy": [f"{each.accuracy:.2%}" for each in found.numbers],
        "Log loss (NLL)": [f"{each.negative_log_likelihood:.4f} nats" for each in found.numbers],
        "Calibration error (ECE)": [
            f"{each.expected_calibration_error:.2%}" for each in found.numbers
        ],
        "Parameters": [f"{each.parameters:,}" for each in found.numbers],
        "Multiply-accumulates": [f"{each.multiply_accumulates:,}" for each in found.numbers],
        "Model file": [in_bytes(each.file_bytes or 0) for each in found.numbers],
        "Names the teacher's class": [f"{each.agreement:.2%}" for each in found.numbers],
        f"KL from the teacher, T = {found.temperature:g}": [
            f"{each.kl:.4f} nats" for each in found.numbers
        ],
    }
    expect_cells(page, expected)


def chart(key: str) -> str:
    return f"document.querySelector('.st-key-{key} .js-plotly-plot')"


def wait_for_chart(page: Page, key: str) -> None:
    page.wait_for_function(f"{chart(key)}?.data?.length > 0", timeout=60_000)


def tiles(page: Page) -> Locator:
    return page.locator(".st-key-compare_gallery [role=option]")


def test_a_shared_link_opens_cold(
    page: Page, url: str, store: Store, models: list[str], complaints: Complaints
) -> None:
    """The first test of the module: nobody has looked at the server yet."""
    visit(
        page,
        url,
        models=",".join(models),
        section="differ",
        show="only-first",
        T=4,
        seed=1,
        first=models[0],
        second=models[1],
    )
    found = compare(store, models, temperature=4, seed=1)
    expect_numbers(page, found)
    expect(page.get_by_role("tab", name=DIFFER)).to_have_attribute("aria-selected", "true")
    kinds = found.disagreements(0, 1)
    expect(tiles(page)).to_have_count(len(kinds["only first"]))
    answers = found.pairs[0].answers
    expect(
        page.get_by_text(f"both get {answers.both:,} right and {answers.neither:,} wrong")
    ).to_be_visible()
    for kind, words in (
        ("only first", "Only student"),
        ("only second", "Only baseline"),
        ("both wrong", "Both wrong"),
    ):
        expect(
            page.get_by_role("radio", name=re.compile(rf"^{words}.*\({len(kinds[kind])}\)$"))
        ).to_be_visible()
    wait_for_chart(page, "compare_distributions")
    example = int(address(page).get("example", kinds["only first"][0]))
    bars = page.evaluate(
        f"{chart('compare_distributions')}.calcdata.filter(c => c[0].trace.type === 'bar').map(c => c.map(p => p.s))"
    )
    np.testing.assert_allclose(
        bars, [softmax(logits[example]) for logits in found.logits if logits is not None], atol=1e-6
    )
    assert complaints.messages == []


def test_tick_three_and_see_table_curves_and_disagreements(
    page: Page, url: str, store: Store, experiments: tuple[str, str]
) -> None:
    store.update_experiment(experiments[0], name="A <i>b</i> & [c](d) %{x}")
    visit(page, url)
    expect(page.locator(".kd-numbers thead th")).to_have_count(
        3
    )  # the newest experiment, before anybody chooses
    for _ in range(3):
        count = page.locator("[class*=st-key-compare_chip]").count()
        page.locator(".st-key-compare_chip_0 button").first.click()
        expect(page.locator("[class*=st-key-compare_chip]")).to_have_count(count - 1)
    expect(page.get_by_text("Tick two models in the table above to compare")).to_be_visible()
    listed = run_table(store)["id"].tolist()
    for at in (1, 0, 3):
        tick(page, at)
        expect(page.locator("[class*=st-key-compare_chip]")).to_have_count(1 + [1, 0, 3].index(at))
    chosen = [listed[at] for at in (1, 0, 3)]
    found = compare(store, chosen)
    page.wait_for_function("document.querySelectorAll('.kd-numbers thead th').length === 3")
    expect_numbers(page, found)
    wait_for_chart(page, "compare_curve_chart")
    # The address follows when the page is drawn to its end.
    page.wait_for_function(
        "models => new URL(location).searchParams.get('models') === models", arg=",".join(chosen)
    )
    shown = page.locator(".st-key-compare_curve_chart .kd-chart-legend button").all_text_contents()
    assert shown == [style.name for style in found.styles]
    assert any("A <i>b</i> & [c](d) %{x}" in name for name in shown), "a name is text, never markup"
    chips = page.locator("[class*=st-key-compare_chip]").evaluate_all(
        "each => each.map(chip => chip.querySelector('p').textContent)"
    )
    assert chips == shown
    colours = page.evaluate(
        f"{chart('compare_curve_chart')}.data.filter(t => t.mode?.includes('lines+')).map(t => t.line.color)"
    )
    assert len(set(colours)) == 3
    page.get_by_role("tab", name=DIFFER).click()
    expect(tiles(page)).to_have_count(len(found.any_disagreement()))
    # The address follows when the page is drawn to its end.
    page.wait_for_function("new URL(location).searchParams.get('section') === 'differ'")


def tick(page: Page, row: int) -> None:
    """Click the box at the left of a row of the table, which is drawn on a canvas."""
    table = page.locator(".st-key-compare_table [data-testid=stDataFrame]")
    expect(table.locator("canvas").first).to_be_attached()
    table.scroll_into_view_if_needed()
    page.wait_for_selector(".st-key-compare_table canvas [role=row]", state="attached")
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 17, box["y"] + HEADER + ROW * row + ROW // 2)


def test_from_train_with_its_experiment(
    page: Page, url: str, store: Store, experiments: tuple[str, str]
) -> None:
    page.goto(f"{url}/?experiment={experiments[0]}")
    wait_for_app(page)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="Compare models side by side")).to_be_visible()
    found = compare(store, [experiments[0]])
    expect(page.get_by_text(found.pairs[-1].verdict)).to_be_visible()
    expect_cells(page, {"Test accuracy": [f"{each.accuracy:.2%}" for each in found.numbers]})
    for section, key in (
        ("Accuracy against cost", "compare_cost_chart"),
        ("Class by class", "compare_confusion_difference"),
    ):
        page.get_by_role("tab", name=section).click()
        wait_for_chart(page, key)
    difference = page.evaluate(
        f"Array.from({chart('compare_confusion_difference')}.calcdata[0][0].z, row => Array.from(row))"
    )
    shares = [
        matrix / matrix.sum(axis=1, keepdims=True)
        for numbers in found.numbers[1:]
        if (matrix := numbers.confusion) is not None
    ]
    np.testing.assert_allclose(difference, shares[0] - shares[1], atol=1e-6)
    page.get_by_role("tab", name="What changed").click()
    expect(page.get_by_text("what differs is the role")).to_be_visible()


def test_measuring_fills_the_times(page: Page, url: str, store: Store, models: list[str]) -> None:
    visit(page, url, models=",".join(models[:2]))
    expect_cells(page, {"Keras call, one example": ["–", "–"]})
    page.get_by_role("button", name="Measure speed").click()
    expect(page.get_by_text(re.compile("Times measured on"))).to_be_visible(timeout=300_000)
    times = [each.latency for each in compare(store, models[:2]).numbers]
    expected = [f"{each['single_milliseconds']:.3g} ms" for each in times if each is not None]
    expect_cells(page, {"Keras call, one example": expected})
    expect(page.get_by_role("button", name="Measure again")).to_be_visible()


def test_what_cannot_be_compared_is_refused_in_words(
    page: Page, url: str, store: Store, models: list[str]
) -> None:
    other = store.create(ExperimentConfig(split_seed=5))
    store.request_stop(other)
    visit(page, url, models=f"{models[0]},{other}:student,nobody", T=-3)
    expect(
        page.get_by_text(
            re.compile(
                "These cannot be compared: models must be of the same test data.*split seed 5"
            )
        )
    ).to_be_visible()
    expect(page.get_by_text(re.compile("got 'nobody'; |; .*got 'nobody'"))).to_be_visible()
    expect(
        page.get_by_text(re.compile("T must be a temperature above 0, at most 1000, got '-3'"))
    ).to_be_visible()
    same = store.create(ExperimentConfig(epochs=7))
    store.request_stop(same)
    visit(page, url, models=f"{models[0]},{same}:student")
    expect(
        page.get_by_text("is stopped, 0 of 3 trained. Compared is what there is.")
    ).to_be_visible()


def test_an_address_says_all_that_is_not_the_default() -> None:
    state = PageState()
    assert state.write() == {}
    given = {
        "models": "a:student,b",
        "section": "cost",
        "curve": "hard_loss",
        "x": "seconds",
        "smooth": "0.9",
        "log": "1",
        "seeds": "1",
        "training": "1",
        "T": "4",
        "seed": "2",
        "cost": "file_bytes",
        "first": "b",
        "second": "a:student",
        "show": "both-wrong",
        "example": "17",
    }
    state.read(given)
    assert state.problems == []
    assert state.write() == given
    state.read({"section": "nowhere", "smooth": "1", "example": "-1", "T": "nan"})
    assert [problem.field for problem in state.problems] == ["section", "smooth", "example", "T"]
    assert state.section == "Accuracy against cost", "what cannot be meant changes nothing"
    state.choose(("b", "c"))
    assert (state.first, state.example, state.seed) == (None, None, None)


def test_filters(
    store: Store, experiments: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = run_table(store)
    chosen: dict[str, Any] = {}
    monkeypatch.setattr("streamlit.session_state", chosen)
    assert len(_filtered(table)) == len(table)
    chosen["compare_roles"] = ["student", "teacher"]
    assert set(_filtered(table)["role"]) == {"student", "teacher"}
    chosen["compare_filter"] = f"CONV-4 {experiments[0]}"
    assert _filtered(table)["id"].tolist() == [f"{experiments[0]}:student"]
    chosen["compare_starred"] = True
    assert _filtered(table).empty


def test_more_than_six_are_ranked(page: Page, url: str, store: Store) -> None:
    trained = [experiment.id for experiment, _ in store.experiments()][-2:]
    runs = {run.id for each in trained for _, run in store.runs_of(each) if run.finished_at}
    visit(page, url, models=",".join([*trained, *sorted(runs)]))
    expect(page.get_by_text(re.compile(r"Best of \d+ on 449 test examples"))).to_be_visible(
        timeout=180_000
    )
    chart = page.get_by_role("img", name=re.compile("Test accuracy of .* models"))
    expect(chart.locator(".scatterlayer .trace")).to_have_count(
        int(re.search(r"Best of (\d+)", page.inner_text("body"))[1])  # type: ignore[index]
    )
