"""Visitors whose browsers run on other computers: ``python -m benchmarks.visitors URL QUERY
HOW_MANY SECONDS``.

They speak Streamlit's protocol as its browser part does, take all that the server sends, and ask
for the next poll when the page tells them to (see pages/shared/following.py). Only the drawing is
left out, which costs the server nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

MESSAGES_REMEMBERED = 100


class Visitor:
    """One open page; counts its polls."""

    def __init__(self, socket: ClientConnection, query: str) -> None:
        self.socket, self.query, self.polls = socket, query, 0
        self._page, self._remembered = "", dict[str, None]()
        self._next: asyncio.Task[None] | None = None

    async def poll(self, fragment: str = "", seconds: float = 0.0) -> None:
        """Ask for the page, or for one part of it, after so many seconds."""
        await asyncio.sleep(seconds)
        message = BackMsg()
        message.rerun_script.query_string, message.rerun_script.fragment_id = self.query, fragment
        message.rerun_script.page_script_hash = self._page
        message.rerun_script.cached_message_hashes.extend(self._remembered)
        await self.socket.send(message.SerializeToString())
        self.polls += 1

    async def stay(self, seconds: float) -> None:
        """Take what comes for so long."""
        await self.poll()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                received = await asyncio.wait_for(self.socket.recv(decode=False), 1.0)
            except TimeoutError:
                continue
            self._take(ForwardMsg.FromString(received))

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if message.metadata.cacheable and message.hash and kind != "ref_hash":
            self._remembered[message.hash] = None
            if len(self._remembered) > MESSAGES_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        if kind == "new_session":
            self._page = message.new_session.page_script_hash
        component = message.delta.new_element.bidi_component
        if kind == "delta" and component.component_name.endswith("kd_follower"):
            if self._next is not None:
                self._next.cancel()
            pause = json.loads(component.json)["shown"] / 1000
            self._next = asyncio.create_task(self.poll(message.delta.fragment_id, pause))


async def visit(url: str, query: str, seconds: float) -> int:
    """Watch a page for so long; returns how many polls that were."""
    address = url.replace("http", "ws", 1) + "/_stcore/stream"
    async with connect(address, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
        visitor = Visitor(socket, query)
        await visitor.stay(seconds)
        return visitor.polls


async def main(url: str, query: str, how_many: int, seconds: float) -> None:
    """Watch with several visitors, and print how often each polled."""
    polls = await asyncio.gather(*(visit(url, query, seconds) for _ in range(how_many)))
    print(json.dumps({"polls a second": sum(polls) / seconds / how_many}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
