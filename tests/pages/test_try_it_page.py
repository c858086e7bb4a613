"""The Try it page in a real Chromium: a drawing is recognised by teacher, student and baseline,
while one draws.
"""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from pages.try_it.drawing_pad import SIDE, read
from tests.support.browser import Complaints, wait_for_app
from tests.support.training import train_elsewhere

REAL_MNIST = (Path(os.environ.get("KD_DATA_DIR", "no such folder")) / "mnist.npz").exists()
SMALL = ExperimentConfig(
    labels=None, teacher="conv-32-64", teacher_epochs=12, student="conv-16-32", epochs=12, seeds=1
)
MNIST = SMALL.replace(dataset="mnist", training_examples=4000, teacher_epochs=3, epochs=3)
# What a hand does, as shares of the square.
STROKES = {
    "0": [
        [
            (0.5, 0.14),
            (0.33, 0.3),
            (0.3, 0.55),
            (0.38, 0.78),
            (0.52, 0.86),
            (0.66, 0.74),
            (0.71, 0.48),
            (0.66, 0.25),
            (0.5, 0.14),
        ]
    ],
    "1": [[(0.5, 0.12), (0.49, 0.5), (0.48, 0.88)]],
    "3": [
        [
            (0.3, 0.2),
            (0.48, 0.13),
            (0.66, 0.22),
            (0.64, 0.4),
            (0.46, 0.48),
            (0.66, 0.56),
            (0.7, 0.74),
            (0.52, 0.87),
            (0.28, 0.8),
        ]
    ],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Models that have learnt their digits: of 8×8 pixels, and MNIST where it is there."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('try')}/store.db")
    ids = [
        store.create(config, name=config.dataset)
        for config in ((SMALL, MNIST) if REAL_MNIST else (SMALL,))
    ]
    train_elsewhere(store.url, *ids)
    return store


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


def open_page(page: Page, url: str, store: Store, dataset: str) -> None:
    experiment = next(each.id for each, _ in store.experiments() if each.name == dataset)
    page.goto(f"{url}/try_it?experiment={experiment}")
    wait_for_app(page)
    expect(page.get_by_text("A worker is starting")).to_have_count(0, timeout=180_000)
    expect(page.get_by_role("combobox", name="Models of")).to_have_value(dataset)


def draw(page: Page, digit: str) -> None:
    box = page.locator("canvas").bounding_box()
    assert box is not None
    for stroke in STROKES[digit]:
        for number, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
            if number == 0:
                page.mouse.down()
        page.mouse.up()


def said(page: Page) -> list[str]:
    """What teacher, student and baseline say."""
    return page.locator(".kd-chart-card-value").all_inner_texts()


@pytest.mark.parametrize(
    "dataset",
    [
        "digits",
        pytest.param(
            "mnist",
            marks=pytest.mark.skipif(not REAL_MNIST, reason="KD_DATA_DIR holds no mnist.npz"),
        ),
    ],
)
def test_drawings_are_recognised_by_all_three(
    page: Page, url: str, store: Store, dataset: str, complaints: Complaints
) -> None:
    open_page(page, url, store, dataset)
    expect(page.get_by_text("appears here, while you draw")).to_be_visible()
    for digit in STROKES:
        draw(page, digit)
        values = page.locator(".kd-chart-card-value")
        expect(values).to_have_text([digit] * 3, timeout=60_000)  # the first loads the models
        page.get_by_role("button", name="Clear").click()
        expect(values).to_have_count(0)
    assert complaints.messages == []


def test_answers_come_before_the_pen_is_lifted_and_follow_temperature(
    page: Page, url: str, store: Store
) -> None:
    open_page(page, url, store, "digits")
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.12 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.88 * box["height"], steps=10)
    expect(page.locator(".kd-chart-card-value")).to_have_text(["1"] * 3)
    page.mouse.up()
    expect(page.get_by_text(re.compile(r"through the store and back: \d+ ms"))).to_be_visible()
    heights = "((document.querySelector('[class*=st-key-try_distributions] .js-plotly-plot') || {}).calcdata || []).filter(c => c[0].trace.type === 'bar').map(c => Math.max(...c.map(p => p.s)))"
    page.wait_for_function(f"{heights}.length >= 3")
    cold = page.evaluate(heights)
    slider = page.get_by_role("slider", name="Temperature T")
    slider.focus()
    slider.press("End")
    page.wait_for_function(f"Math.max(...{heights}) < {max(cold)} - 0.2")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("appears here, while you draw")).to_be_visible()


BARS = """() => document.querySelector('[class*=st-key-try_distributions] .js-plotly-plot').calcdata
  .filter((bars) => bars[0].trace.uid.startsWith('row-')).map((bars) => bars.map((bar) => bar.s))"""
WRITTEN = """() => {
  const node = document.querySelector('[class*=st-key-try_distributions] .js-plotly-plot');
  const wanted = node.data.filter((trace) => trace.mode === 'text').flatMap((trace) => trace.text);
  const shown = [...node.querySelectorAll('.scatterlayer text')].map((text) => text.textContent);
  return [wanted, shown].map((texts) => texts.map((text) => text.trim()).filter(Boolean));
}"""


def test_labels_of_bars_come_and_go_and_cards_agree_with_the_chart(
    page: Page, url: str, store: Store
) -> None:
    open_page(page, url, store, "digits")
    highest: set[int] = set()
    for _ in range(2):
        for digit in STROKES:
            draw(page, digit)
            expect(page.locator(".kd-chart-card-value")).to_have_text([digit] * 3)
            wanted, shown = page.evaluate(WRITTEN)
            assert shown == wanted
            assert len(wanted) >= 3, "the bar of each model's answer has its number"
            for heights in page.evaluate(BARS):
                highest.add(heights.index(max(heights)))
                assert heights.index(max(heights)) == int(digit)
            for _ in STROKES[digit]:
                page.get_by_role("button", name="Undo").click()
    assert len(highest) == len(STROKES)


def test_a_finger_draws_as_well(
    chromium: Browser, url: str, store: Store, complaints: Complaints
) -> None:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    complaints.listen(page)
    open_page(page, url, store, "digits")
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    scrolled = page.evaluate("document.querySelector('.stMain').scrollTop")
    touch = context.new_cdp_session(page)
    points = [
        {"x": box["x"] + box["width"] / 2, "y": box["y"] + share * box["height"]}
        for share in np.linspace(0.15, 0.85, 12)
    ]
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [points[0]]})
    for point in points[1:]:
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator(".kd-chart-card-value")).to_have_text(["1"] * 3)
    assert page.evaluate("document.querySelector('.stMain').scrollTop") == scrolled, (
        "drawing does not scroll the page"
    )
    assert complaints.messages == []
    context.close()


def test_a_dropped_image_and_a_test_example_are_answered_and_rubbish_is_refused(
    page: Page, url: str, store: Store
) -> None:
    open_page(page, url, store, "digits")
    page.get_by_role("radio", name="Drop an image").click()
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(
        {"name": "bad.png", "mimeType": "image/png", "buffer": b"not a picture"}
    )
    expect(page.get_by_text("image must be an image file that can be read")).to_be_visible()
    paper = np.full((200, 160), 235, np.uint8)
    paper[30:170, 74:92] = 30
    buffer = io.BytesIO()
    Image.fromarray(paper).save(buffer, "PNG")
    chooser.set_input_files(
        {"name": "one.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    expect(page.locator(".kd-chart-card-value")).to_have_text(["1"] * 3)
    page.get_by_role("radio", name="Test examples").click()
    expect(
        page.get_by_text("Outlined: the teacher's distribution. Shaded: the true class.")
    ).to_be_visible()


def test_only_a_drawing_is_read_from_what_a_browser_sends() -> None:
    import base64

    good = base64.b64encode(bytes([255]) * SIDE * SIDE).decode()
    ink = read({"number": 1, "pixels": good})
    assert ink is not None
    assert ink.shape == (SIDE, SIDE)
    assert ink.max() == 1
    for bad in (
        None,
        "x",
        {},
        {"pixels": 3},
        {"pixels": ""},
        {"pixels": "%%"},
        {"pixels": good[:400]},
        {"pixels": base64.b64encode(bytes(SIDE * SIDE)).decode()},
    ):
        assert read(bad) is None
