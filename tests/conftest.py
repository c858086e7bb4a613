"""Fixtures for all tests. The browser ones start a real Chromium and a real server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

# Before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import QUIET, Complaints, Server, find_browser

expect.set_options(timeout=15_000)  # the machine may be busy


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium; without one the test is skipped, except where CI says that it must run."""
    path = find_browser()
    if path is None:
        reason = "no chromium, chromium-browser or google-chrome on the PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """``serve(script, environment)`` starts a Streamlit server and returns its address.

    All end with the module. A traceback in a server's log is an error, and where a test failed the log is shown.
    """
    servers: list[Server] = []
    failed_before = request.session.testsfailed

    def start(script: str, environment: dict[str, str] | None = None) -> str:
        server = Server(script, environment)
        servers.append(server)
        server.wait_until_healthy()
        return server.url

    yield start
    logs = [server.stop() for server in servers]
    if request.session.testsfailed > failed_before:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(*(f"\n--- end of the server's log\n{log[-2000:]}" for log in logs), file=sys.stderr)
    for log in logs:
        assert "Traceback (most recent call last)" not in log, log[-4000:]


@pytest.fixture
def complaints() -> Complaints:
    """What the browser complained about in this test."""
    return Complaints()


@pytest.fixture
def page(chromium: Browser, complaints: Complaints) -> Iterator[Page]:
    """A fresh page of 1440 by 900 in light colours; ``complaints`` listens to it."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = context.new_page()
    complaints.listen(page)
    yield page
    context.close()
