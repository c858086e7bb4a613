"""A window of a real Chromium with tabs as people have them: one in view, the others in the
background.

Playwright keeps every page in view. Here the browser is driven over its DevTools protocol, so that
tabs behind another are hidden and slowed down by the browser itself.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import tempfile
import time
import urllib.request
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.support.browser import QUIET, find_browser, free_port


class Tab:
    """A tab of a window; ``evaluate`` runs JavaScript in it and returns the value."""

    def __init__(self, address: str) -> None:
        self._calls = itertools.count(1)
        self._socket: ClientConnection = connect(address, max_size=None).__enter__()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers to one call of the DevTools protocol."""
        number = next(self._calls)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == number:
                return message["result"]

    def evaluate(self, script: str) -> Any:
        """Run an expression in the tab; raises RuntimeError where it throws."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script[:80]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_until(self, condition: str, seconds: float = 60) -> None:
        """Wait until an expression is true in the tab; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(condition)
            time.sleep(0.1)

    def close(self) -> None:
        """Let go of the tab; it stays open."""
        self._socket.close()


class Window:
    """One browser window; tabs opened later lie behind the first."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._port = free_port()
        size = ["--headless=new", "--window-size=1440,900", f"--user-data-dir={self._folder.name}"]
        program = find_browser()
        assert program is not None, "a Chromium on the PATH"
        command = [program, *QUIET, *size, f"--remote-debugging-port={self._port}", "about:blank"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._browser = Tab(self._address())
        self._opened: list[tuple[str, Tab]] = []

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def open(self, url: str) -> Tab:
        """Open a tab: in view if it is the only one, else in the background."""
        behind = bool(self._opened)
        target = self._browser.call("Target.createTarget", url=url, background=behind)["targetId"]
        tab = Tab(f"ws://127.0.0.1:{self._port}/devtools/page/{target}")
        self._opened.append((target, tab))
        return tab

    def close_tabs(self) -> None:
        """Close all tabs that were opened here."""
        for target, tab in self._opened:
            tab.close()
            self._browser.call("Target.closeTarget", targetId=target)
        self._opened.clear()

    def _address(self) -> str:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{self._port}/json/version"
                ) as answer:
                    return json.load(answer)["webSocketDebuggerUrl"]
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
