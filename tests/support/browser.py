"""What the browser tests share: a Streamlit server of one's own, and a page that remembers what
went wrong on it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Locator, Page
from playwright.sync_api import TimeoutError as PatienceLost

REPOSITORY = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# What Streamlit's own server writes where a browser leaves while something is sent to it: it takes
# the closed connection for a message of the wrong type, and closes it again. No answer is lost.
_BROWSER_LEFT = re.compile(
    r"Traceback \(most recent call last\):\n(?:[ ].*\n)+"
    r"starlette\.websockets\.WebSocketDisconnected: WebSocket is not connected.*\n\n"
    r"During handling of the above exception, another exception occurred:\n\n"
    r"Traceback \(most recent call last\):\n(?:[ ].*\n)+"
    r"starlette\.websockets\.WebSocketDisconnected: Cannot call \"send\" once a close.*\n"
)


def has_traceback(log: str) -> bool:
    """Return whether a server's log holds a traceback other than that of a browser that left."""
    return "Traceback (most recent call last)" in _BROWSER_LEFT.sub("", log)


def find_browser() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def free_port() -> int:
    """Return a TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A Streamlit server running one script from the repository's root.

    ``url`` has no slash at its end.
    """

    def __init__(self, script: str | Path, environment: dict[str, str] | None = None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by stop()
        command = [
            sys.executable,
            "-m",
            "streamlit",
            "run",
            str(script),
            "--server.port",
            str(port),
        ]
        command += ["--server.headless", "true", "--server.fileWatcherType", "none"]
        self._process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {})},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def log(self) -> str:
        """Everything that the server has written so far."""
        self._log.flush()
        return os.pread(self._log.fileno(), 10_000_000, 0).decode(errors="replace")

    def wait_until_healthy(self, seconds: float = 60) -> None:
        """Return as soon as the server answers.

        Raises RuntimeError with its log when it does not.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"the server did not start:\n{self.log[-3000:]}")

    def kill(self) -> None:
        """End the server as a power failure would: it gets to do nothing more."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it was neither killed nor stopped."""
        return self._process.poll() is None

    def stop(self) -> str:
        """End the server and return its log."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        log = self.log
        self._log.close()
        return log


@dataclass
class Complaints:
    """What a page complained about: console errors, uncaught exceptions, and failed requests."""

    messages: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        """Collect what ``page`` complains about from now on."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.messages.append(f"exception: {error}"))
        page.on("response", lambda answer: self._response(answer.status, answer.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _probe(message.location["url"]):
            self.messages.append(f"console: {message.text} ({message.location['url']})")

    def _response(self, status: int, url: str) -> None:
        if status >= 400 and not _probe(url):
            self.messages.append(f"HTTP {status}: {url}")


def _probe(url: str) -> bool:
    """Streamlit finds out where it is mounted by asking below the page's path first, and expects
    refusals.
    """
    return url.endswith(("/_stcore/health", "/_stcore/host-config"))


def wait_for_app(page: Page) -> None:
    """Wait until the first run of the script is through."""
    page.wait_for_selector(
        "[data-testid='stApp'][data-test-script-state='notRunning']", timeout=60_000
    )


def choose(page: Page, label: str, option: str, *, exact: bool = False) -> None:
    """Choose an option of the first select box with this label."""
    box = page.get_by_role("combobox", name=label).first
    wanted = page.get_by_role("option", name=option, exact=exact).first
    _open_until(page, box, lambda: wanted.click(timeout=5_000), f"{label} offered no {option!r}")


def open_popover(page: Page, name: str, inside: Locator) -> None:
    """Open the popover of the button with this name, and wait until ``inside`` is seen in it."""
    opener = page.get_by_role("button", name=name, exact=True)
    _open_until(page, opener, lambda: inside.wait_for(timeout=10_000), f"{name} showed no {inside}")


def _open_until(page: Page, opener: Locator, reach: Callable[[], None], failure: str) -> None:
    """Open a list or a popover until what is in it can be reached.

    It closes where the page moves under it, as it does while a chart above is still being drawn;
    who looks on opens it again.
    """
    for _ in range(5):
        opener.click()
        try:
            reach()
        except PatienceLost:
            page.keyboard.press("Escape")
        else:
            return
    raise AssertionError(failure)
