"""The link for the keyboard on a page that is not drawn yet, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import Complaints


@pytest.fixture(scope="module")
def url(chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("tests/support/apps/slow.py")


def test_who_is_faster_than_the_page_gets_to_its_button(
    page: Page, url: str, complaints: Complaints
) -> None:
    page.goto(url)
    page.get_by_role("link", name="Skip to the main control").focus()
    page.keyboard.press("Enter")
    train = page.get_by_role("button", name="Train")
    expect(train).to_have_count(0)
    expect(train).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Trained")).to_be_visible()
    assert complaints.messages == []


def test_who_goes_elsewhere_meanwhile_stays_there(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("link", name="Skip to the main control").focus()
    page.keyboard.press("Enter")
    name = page.get_by_label("Name")
    name.click()
    name.type("a student")
    expect(page.get_by_role("button", name="Train")).to_be_visible()
    page.wait_for_timeout(500)
    expect(name).to_be_focused()
    expect(name).to_have_value("a student")
