"""Which layers are paired is chosen on the Train page, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from kdcore.storage.store import Store
from tests.support.browser import Complaints, choose, wait_for_app


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/store.db")


def test_pairs_are_chosen_added_removed_and_automatic_again(
    page: Page, chromium: Browser, serve: Callable[..., str], store: Store, complaints: Complaints
) -> None:
    networks = "teacher=conv-16-32&student=conv-4-8&method=hints"
    page.goto(f"{serve('dashboard.py', {'KD_STORE': store.url})}/?{networks}")
    wait_for_app(page)
    chart = page.locator(".st-key-train_layer_pairs .js-plotly-plot")
    expect(chart).to_be_visible(timeout=180_000)
    kept = (
        "The teacher answers once: what is compared of its layers is kept for all training examples"
    )
    expect(page.get_by_text(kept)).to_be_visible()
    written = page.get_by_role("textbox", name="Layers", exact=True)
    expect(written).to_have_value("automatic")
    first = page.get_by_role("combobox", name="Pair 1, student's layer")
    before = first.input_value()
    choose(page, "Pair 1, student's layer", "max_pooling2d, ")
    expect(written).to_have_value("conv2d_1:max_pooling2d", timeout=60_000)
    expect(chart).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Add a pair").click()
    expect(written).to_have_value("conv2d_1:max_pooling2d,conv2d:conv2d", timeout=60_000)
    expect(page.get_by_role("combobox", name="Pair 2, teacher's layer")).to_be_visible()
    page.get_by_role("button", name="Remove").first.click()
    expect(written).to_have_value("conv2d:conv2d", timeout=60_000)
    page.get_by_role("button", name="Back to automatic").click()
    expect(written).to_have_value("automatic", timeout=60_000)
    expect(first).to_have_value(before, timeout=60_000)
    assert complaints.messages == []
