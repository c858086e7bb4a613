"""Terms in a real Chromium: explained where they stand, by pointer, keyboard and finger, and on the
Glossary page.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from kdcore.glossary import TERMS, find
from tests.support.browser import Complaints, wait_for_app

SIZES = [(1440, 900), (390, 844)]


@pytest.fixture(scope="module")
def url(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., str]
) -> str:
    store: Path = tmp_path_factory.mktemp("glossary") / "store.db"
    return serve("dashboard.py", {"KD_STORE": f"sqlite:///{store}"})


@pytest.fixture(params=SIZES, ids=["wide", "phone"])
def sized(page: Page, request: pytest.FixtureRequest) -> Page:
    width, height = request.param
    page.set_viewport_size({"width": width, "height": height})
    return page


def opened(page: Page, address: str) -> Page:
    page.goto(address)
    wait_for_app(page)
    return page


def marked(page: Page, slug: str) -> Locator:
    return page.locator(f'a[href="glossary?term={slug}"]').first


def explanation(page: Page) -> Locator:
    return page.get_by_role("tooltip")


def expect_explained(page: Page, word: str) -> None:
    """Whether a term's own sentences can be read, all of them."""
    shown = explanation(page)
    expect(shown).to_contain_text(find(word).says)
    box = shown.bounding_box()
    assert box is not None
    assert page.viewport_size is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= page.viewport_size["height"]
    # Neither is it scrolled to be read, nor does anything lie on it.
    assert shown.evaluate("e => e.scrollHeight - e.clientHeight") <= 0
    assert shown.evaluate(
        """e => { const { left, right, top, bottom } = e.getBoundingClientRect();
        return e.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2)); }"""
    )


def test_the_keyboard_reaches_a_term_and_hears_it(
    sized: Page, url: str, complaints: Complaints
) -> None:
    page = opened(sized, f"{url}/temperature")
    term = marked(page, "softmax")
    expect(term).to_have_accessible_description(f"Softmax: {find('softmax').says}")
    marked(page, "temperature").focus()
    page.keyboard.press("Tab")
    expect(term).to_be_focused()
    expect_explained(page, "softmax")
    expect(term).to_have_accessible_description(re.compile(re.escape(find("softmax").says)))
    expect(term).not_to_have_attribute("title", re.compile("."))
    page.keyboard.press("Escape")
    expect(explanation(page)).to_be_hidden()
    expect(term).to_have_attribute("title", f"Softmax: {find('softmax').says}")
    page.keyboard.press("Tab")
    expect_explained(page, "dark knowledge")
    page.keyboard.press("Tab")
    expect(explanation(page)).to_be_hidden()
    assert complaints.messages == []


def test_the_pointer_rests_on_a_term_and_on_what_is_said(sized: Page, url: str) -> None:
    page = opened(sized, f"{url}/temperature")
    for slug in ("logit", "dark-knowledge"):
        marked(page, slug).hover()
        expect_explained(page, slug)
        explanation(page).hover()
        page.wait_for_timeout(600)
        expect_explained(page, slug)
        page.get_by_role("heading", name="See what temperature does").hover()
        expect(explanation(page)).to_be_hidden()
    expect(page.get_by_text("A network's answer is a number").locator("em").first).to_have_text("z")


def test_a_pointer_that_rests_there_while_the_page_is_drawn_is_answered(
    page: Page, url: str
) -> None:
    opened(page, f"{url}/temperature")
    box = marked(page, "softmax").bounding_box()
    assert box is not None
    across, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for _ in range(3):
        page.goto(f"{url}/temperature", wait_until="commit")
        while marked(page, "softmax").count() == 0:
            page.mouse.move(across, down)
        page.mouse.move(across + 1, down)
        wait_for_app(page)
        expect_explained(page, "softmax")
        page.mouse.move(0, 0)


def test_what_is_said_can_be_read_in_light_and_dark(chromium: Browser, url: str) -> None:
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        page = opened(context.new_page(), f"{url}/temperature")
        marked(page, "softmax").hover()
        ink, paper = explanation(page).evaluate(
            """e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor].map((colour) => {
            const canvas = new OffscreenCanvas(1, 1).getContext('2d');
            canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
            return [...canvas.getImageData(0, 0, 1, 1).data]; })"""
        )
        assert paper[3] == 255  # nothing shines through
        bright = [sum(colour[:3]) / 765 for colour in (ink, paper)]
        assert bright[0] < 0.35 < 0.9 < bright[1] if scheme == "light" else bright[1] < 0.2
        assert abs(bright[0] - bright[1]) > 0.6
        context.close()


def test_terms_look_alike_in_texts_captions_and_headings(page: Page, url: str) -> None:
    opened(page, url)
    for slug in ("student", "true-label", "distillation"):
        expect(marked(page, slug)).to_have_css("text-decoration-style", "dotted")
        around = marked(page, slug).evaluate("e => getComputedStyle(e.parentElement).color")
        expect(marked(page, slug)).to_have_css("color", around)


@pytest.fixture
def phone(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    yield context.new_page()
    context.close()


def test_a_tap_explains_and_the_next_one_opens_the_entry(phone: Page, url: str) -> None:
    page = opened(phone, f"{url}/temperature")
    marked(page, "softmax").tap()
    expect_explained(page, "softmax")
    expect(explanation(page)).to_contain_text("Tap again")
    assert len(page.context.pages) == 1
    with page.context.expect_page() as opening:
        marked(page, "softmax").tap()
    expect(opening.value).to_have_url(f"{url}/glossary?term=softmax")
    marked(page, "logit").tap()
    expect_explained(page, "logit")
    page.get_by_role("heading", name="See what temperature does").tap()
    expect(explanation(page)).to_be_hidden()


def test_all_terms_are_on_one_page_and_the_filter_finds_some(
    sized: Page, url: str, complaints: Complaints
) -> None:
    page = opened(sized, f"{url}/glossary")
    entries = page.get_by_role("heading", level=3)
    expect(entries).to_have_text([term.title for term in TERMS])
    expect(page.get_by_text(f"{len(TERMS)} terms", exact=True)).to_be_visible()
    expect(page.get_by_text(find("points").says)).to_be_attached()
    expect(page.locator(".katex")).to_have_count(sum(bool(term.equation) for term in TERMS))
    expect(page.locator(".katex-error")).to_have_count(0)
    search = page.get_by_role("textbox", name="Find")
    search.fill("logits softmax")
    search.press("Enter")
    expect(entries).to_have_text(["Distribution", "Softmax", "Temperature"])
    search.fill("<b>nothing")
    search.press("Enter")
    expect(page.get_by_text("No term has these words")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert complaints.messages == []


def test_a_link_leads_to_its_term(sized: Page, url: str, complaints: Complaints) -> None:
    page = opened(sized, f"{url}/glossary?term=Softmax")
    entry = page.locator(".st-key-glossary_asked")
    expect(entry.get_by_role("heading")).to_have_text("Softmax")
    expect(entry).to_contain_text(find("softmax").says)
    expect(entry).to_be_in_viewport(ratio=1)
    heading = entry.get_by_role("heading")
    assert heading.evaluate("e => e.getBoundingClientRect().bottom") <= entry.get_by_text(
        find("softmax").says
    ).evaluate("e => e.getBoundingClientRect().top")
    # Typing leads the eye elsewhere, and the page does not jump back.
    page.wait_for_timeout(2500)
    search = page.get_by_role("textbox", name="Find")
    search.fill("class")
    search.press("Enter")
    expect(page.get_by_text(re.compile(rf"\d+ of {len(TERMS)} terms"))).to_be_visible()
    expect(search).to_be_in_viewport()
    assert complaints.messages == []


def test_a_link_to_no_term_is_refused_in_words(page: Page, url: str) -> None:
    opened(page, f"{url}/glossary?term=%3Cb%3Esofmax")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("term must be a word of the glossary, got '<b>sofmax'")
    expect(page.get_by_role("heading", level=3)).to_have_count(len(TERMS))
