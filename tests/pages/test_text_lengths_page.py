"""The Data page draws how long the texts of a dataset are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from playwright.sync_api import Browser, Page, expect

from kdcore.data.ingest import add
from kdcore.storage.store import Store
from kdcore.tasks.report import DataOptions


def test_lengths_are_drawn_and_said(
    page: Page, chromium: Browser, serve: Callable[..., str], tmp_path: Path
) -> None:
    table = tmp_path / "texts.csv"
    rows = [("ab" * size, "even" if size % 2 else "odd") for size in range(1, 31)]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(table, index=False)
    store = Store(f"sqlite:///{tmp_path}/store.db")
    options = DataOptions(text_column="text", pieces="characters", length=32)
    row = add(store, "mine", table, options)
    url = serve("dashboard.py", {"KD_STORE": store.url})
    page.goto(f"{url}/data?dataset={row.key}")
    words = "4 to 62 tokens, half of them at most 32; 15 of 30 are cut at 32"
    expect(page.get_by_role("img", name=f"Texts of {words}")).to_be_visible(timeout=180_000)
    expect(page.get_by_role("button", name="lose their end")).to_be_visible()
    expect(page.get_by_text(f"Lengths: {words}.")).to_be_visible()
