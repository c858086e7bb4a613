"""Of the tracebacks in a server's log only a browser that left is no fault."""

from __future__ import annotations

from tests.support.browser import has_traceback

LEFT = """  URL: http://127.0.0.1:34239
2026-11-29 12:00:00.000 Exception in ASGI application
Traceback (most recent call last):
  File "starlette_websocket.py", line 516, in _websocket_endpoint
    data = await websocket.receive_bytes()
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
starlette.websockets.WebSocketDisconnected: WebSocket is not connected. Need to call "accept" first.

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "starlette_websocket.py", line 524, in _websocket_endpoint
    await websocket.close()
starlette.websockets.WebSocketDisconnected: Cannot call "send" once a close message has been sent.
"""
OURS = """Traceback (most recent call last):
  File "pages/train/view.py", line 3, in draw
    raise ValueError("no")
ValueError: no
"""


def test_only_a_browser_that_left_is_no_fault() -> None:
    assert not has_traceback("")
    assert not has_traceback(LEFT + "  Stopping...\n")
    assert not has_traceback(LEFT + LEFT)
    for log in (OURS, LEFT + OURS, OURS + LEFT, LEFT + OURS + LEFT, LEFT.partition("During")[0]):
        assert has_traceback(log)
