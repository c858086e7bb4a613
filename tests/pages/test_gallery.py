"""The gallery: the sprite in Python, choosing in a real browser."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page

from kdcore.errors import ConfigError
from pages.shared.gallery import _columns, _Memory, _sprite, gallery
from tests.support.browser import Complaints

APP = "tests/support/apps/charts_demo.py"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 5, 9])
def test_every_image_is_in_its_cell_of_the_sprite(count: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 6, channels), dtype=np.uint8)
    address = _sprite(images.tobytes(), images.shape)
    file = io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))
    sheet = np.asarray(Image.open(file)).reshape(-1, 6 * _columns(count), channels)
    for index in range(count):
        row, column = divmod(index, _columns(count))
        cell = sheet[row * 4 : row * 4 + 4, column * 6 : column * 6 + 6]
        np.testing.assert_array_equal(cell, images[index])


def test_what_does_not_fit_is_refused() -> None:
    images = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(ConfigError, match="captions must be 2 long, got 1"):
        gallery(images, captions=["a"], key="k")
    with pytest.raises(ConfigError, match="images must be of type uint8, or texts, got 'float32'"):
        gallery(images.astype(np.float32), captions=["a", "b"], key="k")
    with pytest.raises(ConfigError, match="ids must be 2 distinct numbers"):
        gallery(images, captions=["a", "b"], ids=[1, 1], key="k")
    with pytest.raises(ConfigError, match="marks must be 2 long, got 1"):
        gallery(images, captions=["a", "b"], marks=[None], key="k")


class TestWhoseChoiceCounts:
    """``told`` is what the browser is sent: as long as it is the same, the images need not be sent
    again.
    """

    def test_the_visitors_until_the_caller_changes_its_mind(self) -> None:
        memory = _Memory(3)
        assert memory.for_browser(3, None) == 3
        answer = {"id": 5, "turn": 1}
        memory.hear(answer)
        assert memory.chosen == 5
        assert memory.for_browser(3, {"chosen": answer}) == 3
        assert memory.for_browser(7, {"chosen": answer}) == 7
        memory.hear(answer)  # the old click is still in the component's state
        assert memory.chosen == 7
        memory.hear({"id": 5, "turn": 2})
        assert memory.chosen == 5

    def test_a_component_made_anew_is_told_the_choice(self) -> None:
        memory = _Memory(None)
        memory.for_browser(None, None)
        memory.hear({"id": 5, "turn": 1})
        assert memory.for_browser(None, {"chosen": None}) == 5
        assert memory.chosen == 5


@pytest.fixture(scope="module")
def address(serve: Callable[..., str]) -> str:
    return serve(APP)


@pytest.fixture
def digits(page: Page, address: str) -> Locator:
    page.goto(f"{address}/gallery")
    box = page.get_by_role("listbox", name="Digits")
    box.get_by_role("option").first.wait_for(timeout=60_000)
    return box


def says(page: Page, text: str) -> None:
    # Not ``expect``: when its first look fails it writes down all 2,000 options, which takes longer
    # than the test.
    page.get_by_text(text, exact=True).wait_for()


def chosen(box: Locator, at: int, also: str = "") -> None:
    """Wait until the thumbnail at a position is the chosen one."""
    box.locator(f"[data-at='{at}'][aria-selected='true']{also}").wait_for()


def option(box: Locator, at: int) -> Locator:
    return box.locator(f"[data-at='{at}']")


def in_view(button: Locator) -> bool:
    """Return whether a thumbnail is inside the part of the box that is seen."""
    inside = """button => {
        const [here, box] = [button, button.parentElement].map((node) => node.getBoundingClientRect());
        return here.top >= box.top && here.bottom <= box.bottom;
    }"""
    return bool(button.evaluate(inside))


def test_a_click_chooses_and_python_hears_the_id(
    page: Page, digits: Locator, complaints: Complaints
) -> None:
    assert digits.get_by_role("option").count() == 2000
    says(page, "chosen: None")
    option(digits, 3).click()
    says(page, "chosen: 1996")
    chosen(digits, 3)
    assert digits.locator("[aria-selected='true']").count() == 1
    # Another widget's rerun leaves it; another order takes it along.
    page.get_by_text("Reverse").click()
    chosen(digits, 1996)
    says(page, "chosen: 1996")
    assert complaints.messages == []


def test_arrow_keys_move_the_choice(page: Page, digits: Locator) -> None:
    option(digits, 0).click()
    says(page, "chosen: 1999")
    page.keyboard.press("ArrowRight")
    says(page, "chosen: 1998")
    chosen(digits, 1, ":focus")
    across = digits.evaluate("box => getComputedStyle(box).gridTemplateColumns.split(' ').length")
    page.keyboard.press("ArrowDown")
    says(page, f"chosen: {1998 - across}")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is nothing further left
    says(page, "chosen: 1999")
    page.keyboard.press("End")
    says(page, "chosen: 0")
    chosen(digits, 1999, ":focus")
    assert in_view(option(digits, 1999))
    assert not in_view(option(digits, 0))
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == 0


def test_the_caller_may_overrule(page: Page, digits: Locator) -> None:
    option(digits, 2).click()
    says(page, "chosen: 1997")
    page.get_by_text("Choose 1990").click()
    says(page, "chosen: 1990")
    chosen(digits, 9)
    option(digits, 2).click()
    says(page, "chosen: 1997")


def test_the_choice_survives_another_page(
    page: Page, digits: Locator, complaints: Complaints
) -> None:
    option(digits, 4).click()
    says(page, "chosen: 1995")
    page.get_by_role("link", name="Sub").click()
    page.get_by_role("img", name="five seeds").wait_for()
    page.get_by_role("link", name="Gallery").click()
    says(page, "chosen: 1995")
    chosen(digits, 4)
    assert complaints.messages == []


def test_tiles_show_their_own_image(page: Page, digits: Locator) -> None:
    """What the browser paints in a tile is the image that Python sent, here in dark ink on a light
    page.
    """
    from sklearn.datasets import load_digits

    for at in (0, 46, 77):
        expected = 255 - (load_digits().images[at] * 15.9).astype(np.uint8)
        tile = option(digits, at).locator(".tile")
        tile.scroll_into_view_if_needed()
        box = tile.bounding_box()
        assert box
        assert (box["width"], box["height"]) == (48, 48)
        screen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L")).astype(int)
        centres = np.arange(8) * 6 + 3
        painted = screen[np.ix_(int(box["y"]) + centres, int(box["x"]) + centres)]
        inner = (slice(1, 7), slice(1, 7))  # the corners are rounded
        assert np.abs(painted[inner] - expected[inner]).max() < 12


def test_marks_are_seen_and_said(page: Page, digits: Locator) -> None:
    assert digits.locator(".mark").count() == len(range(0, 2000, 7))
    assert "wrong" in option(digits, 7).inner_text()
    assert "wrong" not in option(digits, 8).inner_text()
    red = (
        option(digits, 7).locator(".mark").evaluate("dot => getComputedStyle(dot).backgroundColor")
    )
    assert red == "rgb(208, 33, 28)"


def test_an_empty_gallery_says_so(page: Page, digits: Locator) -> None:
    empty = page.get_by_role("listbox", name="Images").nth(1)
    assert empty.get_by_role("option").count() == 0
    assert "Nothing is wrong here" in empty.evaluate(
        "box => getComputedStyle(box, '::after').content"
    )
