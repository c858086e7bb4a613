"""The chart component in a real browser: what survives an update, what follows the theme, what
comes back to Python.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from kdcore.palette import colour
from pages.shared import live_chart
from tests.support.browser import Complaints

APP = "tests/support/apps/charts_demo.py"


@pytest.fixture(scope="module")
def address(serve: Callable[..., str]) -> str:
    return serve(APP)


def plot(page: Page, description: str) -> Locator:
    """Return the chart with this description for screen readers, drawn."""
    found = page.get_by_role("img", name=description)
    found.locator(".main-svg").first.wait_for(timeout=60_000)
    return found


def drawn(page: Page, node: Locator, times: int) -> None:
    """Wait until Plotly has drawn ``node`` so many times more."""
    node.evaluate(
        "node => { node.kdDrawn = 0; node.on('plotly_afterplot', () => { node.kdDrawn += 1; }); }"
    )
    page.wait_for_function(
        "([node, times]) => node.kdDrawn >= times",
        arg=[node.element_handle(), times],
        timeout=60_000,
    )


def trace(node: Locator, uid: str, attribute: str) -> object:
    return node.evaluate(
        f"node => node._fullData.find((trace) => trace.uid === '{uid}').{attribute}"
    )


def click_top(page: Page, bar: Locator) -> None:
    """Click just below the upper edge of a bar, after hovering there as a hand does."""
    box = bar.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] - 5)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 1, steps=3)
    page.wait_for_timeout(150)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 1)


def test_a_tab_that_nobody_looks_at_draws_when_it_is_shown_again(page: Page, address: str) -> None:
    page.goto(address)
    node = plot(page, "accuracy of student and baseline")
    drawn(page, node, 2)
    hide = """(node, hidden) => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
      node.kdDrawn = 0;
      document.dispatchEvent(new Event('visibilitychange'));
    }"""
    node.evaluate(hide, True)
    page.wait_for_timeout(1500)
    assert node.evaluate("node => node.kdDrawn") == 0
    before = trace(node, "student", "x.length")
    node.evaluate(hide, False)
    page.wait_for_function("node => node.kdDrawn >= 1", arg=node.element_handle())
    assert trace(node, "student", "x.length") > before  # type: ignore[operator]


def test_a_live_chart_keeps_its_node_zoom_and_hidden_traces(
    page: Page, address: str, complaints: Complaints
) -> None:
    page.goto(address)
    node = plot(page, "accuracy of student and baseline")
    page.wait_for_function(
        "node => node._fullData.some((t) => t.uid === 'student')", arg=node.element_handle()
    )
    node.evaluate("node => { node.kdTag = 'the same'; }")
    before = trace(node, "student", "x.length")

    page.get_by_role("button", name="baseline (from scratch)").first.click()
    box = node.locator(".nsewdrag").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.05, box["y"] + box["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.9, steps=4)
    page.mouse.up()
    page.wait_for_function(
        "node => node._fullLayout.xaxis.range[1] < 30", arg=node.element_handle()
    )
    ranges = "node => [node._fullLayout.xaxis.range, node._fullLayout.yaxis.range]"
    zoomed = node.evaluate(ranges)

    drawn(page, node, 15)

    assert node.evaluate("node => node.kdTag") == "the same"
    assert page.locator(".js-plotly-plot").count() == 2
    assert node.evaluate(ranges) == zoomed
    assert trace(node, "baseline", "visible") == "legendonly"
    assert trace(node, "student", "visible") is True
    after = trace(node, "student", "x.length")
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after >= before + 10
    assert complaints.messages == []


def test_legend_buttons_show_and_hide_by_keyboard(page: Page, address: str) -> None:
    page.goto(address)
    node = plot(page, "accuracy of student and baseline")
    button = page.get_by_role("button", name="on training data").first
    button.focus()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    for uid in ("student-train", "baseline-train"):
        assert trace(node, uid, "visible") == "legendonly"
    drawn(page, node, 2)
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_function(
        "node => node._fullData.find((t) => t.uid === 'student-train').visible === true",
        arg=node.element_handle(),
    )


def test_the_values_are_a_table_for_keyboard_and_screen_readers(page: Page, address: str) -> None:
    page.goto(address)
    node = plot(page, "accuracy of student and baseline")
    chart = page.locator(".kd-chart", has=node)
    shown = chart.get_by_role("region", name="Values of: accuracy of student and baseline")
    expect(shown).to_be_hidden()
    button = chart.get_by_role("button", name="Values as a table").first
    button.focus()
    page.keyboard.press("Enter")
    expect(shown).to_be_visible()
    table = shown.get_by_role("table", name="student (distilled)")
    expect(table.get_by_role("columnheader").first).to_have_text("epoch")
    before = table.get_by_role("row").count()
    assert before > 1
    expect(table.get_by_role("row").nth(before)).to_be_visible()  # the chart is live: it grows
    # At one moment: the chart is live.
    cell, drawn_value = chart.evaluate(
        """chart => {
          const trace = chart.querySelector('.js-plotly-plot')._fullData.find((each) => each.uid === 'student');
          const table = [...chart.querySelectorAll('.kd-chart-table table')]
            .find((each) => each.caption.textContent === trace.name);
          return [table.tBodies[0].rows[0].cells[1].textContent, trace.y[0]];
        }"""
    )
    assert float(cell) == pytest.approx(drawn_value, rel=1e-5)
    page.keyboard.press("Escape")
    expect(shown).to_be_hidden()


def press_in_the_toolbar(page: Page, node: Locator, title: str) -> None:
    node.hover()
    node.locator(f"[data-title='{title}']").click()


def test_an_svg_that_is_saved_holds_its_font(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/sub")
    node = plot(page, "five seeds")
    with page.expect_download() as downloading:
        press_in_the_toolbar(page, node, "Download as SVG")
    downloading.value.save_as(tmp_path / "chart.svg")
    text = (tmp_path / "chart.svg").read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "accuracy, validation" in text
    alone = page.context.new_page()
    alone.goto(f"file://{tmp_path}/chart.svg")
    alone.wait_for_function("[...document.fonts].some((face) => face.status === 'loaded')")
    assert "Source Sans" in alone.evaluate("[...document.fonts][0].family")
    alone.close()


@pytest.mark.parametrize(
    ("millimetres", "title"), [(170, "170 mm, two columns of a paper"), (85, "85 mm, one column")]
)
def test_a_chart_is_printed_as_vectors_with_its_fonts(
    page: Page, address: str, millimetres: int, title: str
) -> None:
    page.add_init_script(
        "window.print = () => { top.printed = document.documentElement.outerHTML; }"
    )
    page.goto(f"{address}/sub")
    node = plot(page, "five seeds")
    press_in_the_toolbar(page, node, f"Print, or save as PDF: {title}")
    page.wait_for_function("window.printed")
    alone = page.context.new_page()
    alone.set_content(page.evaluate("window.printed"))
    data = alone.pdf(prefer_css_page_size=True)
    alone.close()
    assert b"/FontFile" in data, "fonts are embedded"
    assert b"/Subtype /Image" not in data, "no picture of pixels"
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert box is not None
    assert float(box[1]) * 25.4 / 72 == pytest.approx(millimetres, abs=0.5)
    assert data.count(b"/Type /Page\n") == 1


def test_double_click_resets_the_zoom(page: Page, address: str) -> None:
    page.goto(f"{address}/sub")
    node = plot(page, "five seeds")
    start = node.evaluate("node => node._fullLayout.xaxis.range.slice()")
    box = node.locator(".nsewdrag").bounding_box()
    assert box
    page.mouse.move(box["x"] + 60, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 90, steps=4)
    page.mouse.up()
    page.wait_for_function("node => node._fullLayout.xaxis.range[0] > 1", arg=node.element_handle())
    reset = "([node, start]) => Math.abs(node._fullLayout.xaxis.range[0] - start) < 1e-6"
    for _ in range(
        10
    ):  # on a busy machine two clicks may come too far apart to be one double click
        page.mouse.dblclick(box["x"] + 100, box["y"] + 50)
        page.wait_for_timeout(1000)
        if page.evaluate(reset, [node.element_handle(), start[0]]):
            return
    pytest.fail("ten double clicks left the chart zoomed")


def test_the_theme_is_followed_without_a_rerun(
    page: Page, address: str, complaints: Complaints
) -> None:
    page.goto(f"{address}/sub")
    node = plot(page, "five seeds")
    node.evaluate("node => { node.kdTag = 'the same'; }")
    ink = "node => node._fullLayout.yaxis.tickfont.color.match(/[\\d.]+/g).map(Number)"
    assert trace(node, "student", "line.color") == colour("student")
    assert trace(node, "student-band", "fillcolor").replace(" ", "") == colour(
        "student", alpha=0.16
    )  # type: ignore[attr-defined]
    assert max(node.evaluate(ink)) < 150

    page.emulate_media(color_scheme="dark")
    page.wait_for_selector(".kd-chart[data-theme='dark']")
    node = plot(page, "five seeds")
    assert trace(node, "student", "line.color") == colour("student", dark=True)
    assert trace(node, "student-band", "fillcolor").replace(" ", "") == colour(
        "student", alpha=0.16, dark=True
    )  # type: ignore[attr-defined]
    assert min(node.evaluate(ink)) > 120
    assert node.evaluate("node => node.kdTag") == "the same"
    assert complaints.messages == []


def test_pages_with_a_path_load_the_library_once_and_only_from_here(
    page: Page, address: str, complaints: Complaints
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/sub")
    plot(page, "five seeds")
    plot(page, "three distributions")
    page.get_by_role("link", name="Live").click()
    plot(page, "accuracy of student and baseline")
    page.get_by_role("link", name="Sub").click()
    plot(page, "five seeds")
    assert len([url for url in asked if "plotly" in url]) == 1
    assert all(
        url.startswith((address, address.replace("http", "ws"), "data:", "blob:")) for url in asked
    ), asked
    assert complaints.messages == []


def test_a_click_reaches_python(page: Page, address: str, complaints: Complaints) -> None:
    page.goto(f"{address}/sub")
    node = plot(page, "three distributions")
    expect(page.get_by_text("clicked: None")).to_be_visible()
    # Three subplots share the column: the answer must be the row that was clicked, not the first
    # one.
    click_top(page, node.locator(".trace.bars").nth(3).locator(".point").nth(2))
    expect(
        page.get_by_text("'curve': 'baseline (from scratch)', 'uid': 'row-2', 'index': 2, 'x': 2,")
    ).to_be_visible()
    # Returned once, as a button's press is.
    page.get_by_text("log", exact=True).click()
    expect(page.get_by_text("clicked: None")).to_be_visible()
    assert complaints.messages == []


@pytest.mark.parametrize("uid", ["student", "baseline"])
def test_a_click_means_the_nearest_curve(page: Page, address: str, uid: str) -> None:
    page.goto(f"{address}/sub")
    node = plot(page, "five seeds")
    x, y = node.evaluate(
        """(node, uid) => {
            const { x, y, xaxis, yaxis } = { ...node._fullData.find((trace) => trace.uid === uid), ...node._fullLayout };
            const box = node.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.c2p(x[2]), box.top + yaxis._offset + yaxis.c2p(y[2])];
        }""",
        uid,
    )
    page.mouse.move(x - 6, y)
    page.mouse.move(x, y, steps=3)
    page.wait_for_timeout(150)
    page.mouse.click(x, y)
    expect(page.get_by_text(f"curve: {uid} 2", exact=True)).to_be_visible()


def test_a_chart_behind_a_tab_is_drawn_when_the_tab_opens(
    page: Page, address: str, complaints: Complaints
) -> None:
    page.goto(f"{address}/sub")
    plot(page, "three distributions")
    page.get_by_text(
        "log", exact=True
    ).click()  # an update that reaches the chart while nobody sees it
    page.wait_for_timeout(500)
    page.get_by_role("tab", name="second").click()
    node = plot(page, "one distribution")
    assert node.evaluate("node => node._fullLayout.yaxis.type") == "log"
    click_top(page, node.locator(".trace.bars .point").nth(6))
    expect(page.get_by_text("called: student (distilled)")).to_be_visible()
    assert complaints.messages == []


def test_a_narrow_screen_holds_the_chart(page: Page, address: str) -> None:
    page.goto(f"{address}/sub")
    node = plot(page, "three distributions")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("node => node._fullLayout.width < 390", arg=node.element_handle())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    names = node.locator(".xtick text").all_text_contents()
    assert "ankle boot" in names
    assert len(names) == 10


def test_on_a_phone_the_toolbar_does_not_cover_the_data(chromium: Browser, address: str) -> None:
    phone = chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = phone.new_page()
    page.goto(f"{address}/sub")
    node = plot(page, "five seeds")
    node.tap()
    toolbar = node.locator(".modebar").bounding_box()
    data = node.locator(".nsewdrag").bounding_box()
    assert toolbar
    assert data
    assert toolbar["y"] + toolbar["height"] <= data["y"] + 1
    phone.close()


def test_the_library_is_installed_whole_and_once(tmp_path: Path) -> None:
    name = live_chart.install_plotly_js(tmp_path / "static")
    file = tmp_path / "static" / name
    assert get_plotlyjs_version() in name
    assert file.read_text(encoding="utf-8") == get_plotlyjs()
    assert os.listdir(file.parent) == [name]
    file.write_text("changed", encoding="utf-8")
    assert live_chart.install_plotly_js(tmp_path / "static") == name
    live_chart._install.cache_clear()  # as after a restart
    assert live_chart.install_plotly_js(tmp_path / "static") == name
    assert file.read_text(encoding="utf-8") == "changed"
