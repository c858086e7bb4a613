"""The Train page draws where DistilBERT's student starts, as it is typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store

CONFIG = ExperimentConfig(dataset="languages", plan="distilbert")


def test_the_picture_follows_the_setting_and_goes_where_it_is_refused(
    page: Page, chromium: Browser, serve: Callable[..., str], tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    experiment = store.create(CONFIG)
    store.request_stop(experiment)
    url = serve("dashboard.py", {"KD_STORE": store.url})
    page.goto(f"{url}/?experiment={experiment}")
    page.get_by_role("button", name="Change and train again", exact=True).click()
    picture = page.get_by_role("img", name="The student: embeddings from embeddings")
    expect(picture).to_have_accessible_name(
        "The student: embeddings from embeddings; layer 1 from layer 1; layer 2 from layer 3; "
        "head from head"
    )
    field = page.get_by_role("textbox", name="Layers to start from")
    own, heading = field.bounding_box(), page.get_by_text("Who teaches whom").bounding_box()
    assert own is not None
    assert heading is not None
    assert own["y"] > heading["y"], "it is the plan's, whatever a method calls its own settings"
    field.fill("2,4")
    field.press("Enter")
    expect(picture).to_have_accessible_name(
        re.compile("layer 1 from layer 2; layer 2 from layer 4")
    )
    field.fill("2,9")
    field.press("Enter")
    expect(
        page.get_by_text("layers must be empty, or 2 numbers from 1 to 4, got '2,9'")
    ).to_be_visible()
    expect(picture).to_have_count(0)
