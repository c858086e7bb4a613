"""A class on one machine: ``python -m benchmarks.classroom``.

So many visitors walk through the lessons at once, each a page every few seconds, by Streamlit's own
protocol (only the drawing in the browser is left out), while one of the lessons is being trained.
Measured is how long a page takes, from asking for it to its last element. All have given their name
at the gate before; their experiments and predictions are their own.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from urllib.parse import urlencode

import click
import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.common import present
from kdcore import lessons
from kdcore.engine.jobs import terminate_group
from kdcore.engine.local import LocalEngine
from kdcore.lessons import LESSONS, find_lesson, find_runs
from kdcore.storage.store import Store
from pages.lessons.state import STEPS
from tests.support.browser import Server

TRAINED, LIVE = "temperature", "one-run"
SECONDS_BETWEEN_PAGES = (2.0, 8.0)


async def ask(socket: ClientConnection, query: str, title: str) -> float:
    """Ask for a page of the lessons, and return the seconds until all of it has come, its ``title``
    included.
    """
    message = BackMsg()
    message.rerun_script.query_string, message.rerun_script.page_name = query, "lessons"
    began = time.perf_counter()
    await socket.send(message.SerializeToString())
    titled = False
    while True:
        received = await socket.recv(decode=False)
        titled = titled or title.encode() in received
        if ForwardMsg.FromString(received).WhichOneof("type") == "script_finished":
            assert titled, f"another page came than {query}"
            return time.perf_counter() - began


async def come_in(socket: ClientConnection, name: str) -> None:
    """Type a name where the page asks for one, and press the button beside it."""
    message = BackMsg()
    message.rerun_script.page_name = "lessons"
    await socket.send(message.SerializeToString())
    field, button = await _fields_of_the_gate(socket)
    message.rerun_script.widget_states.widgets.extend(
        [WidgetState(id=field, string_value=name), WidgetState(id=button, trigger_value=True)]
    )
    await socket.send(message.SerializeToString())
    welcomed = False
    while True:
        received = await socket.recv(decode=False)
        welcomed = welcomed or b"Ten lessons in distillation" in received
        if ForwardMsg.FromString(received).WhichOneof("type") == "script_finished" and welcomed:
            return


async def _fields_of_the_gate(socket: ClientConnection) -> tuple[str, str]:
    """Return the ids of the field and the button of "Who are you?"."""
    field = button = ""
    while True:
        received = ForwardMsg.FromString(await socket.recv(decode=False))
        element = received.delta.new_element
        if element.WhichOneof("type") == "text_input":
            field = element.text_input.id
        if element.WhichOneof("type") == "button" and element.button.is_form_submitter:
            button = element.button.id
        if received.WhichOneof("type") == "script_finished":
            assert all((field, button)), "nobody asked for a name"
            return field, button


async def walk(url: str, number: int, seconds: float) -> list[float]:
    """Go from page to page for so long; returns how long each took."""
    chance, taken = random.Random(number), list[float]()
    address = url.replace("http", "ws", 1) + "/_stcore/stream"
    await asyncio.sleep(chance.uniform(0, SECONDS_BETWEEN_PAGES[1]))
    async with connect(address, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
        await come_in(socket, f"Visitor {number}")
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            lesson = chance.choice([TRAINED, LIVE, *LESSONS])
            query = urlencode({"lesson": lesson, "step": chance.choice(list(STEPS))})
            taken.append(await ask(socket, query, LESSONS[lesson].title))
            await asyncio.sleep(chance.uniform(*SECONDS_BETWEEN_PAGES))
    return taken


def train(store: Store, name: str, *, to_its_end: bool) -> None:
    """Have a lesson trained; waits for its end, or until it has begun."""
    lesson, engine = find_lesson(name), LocalEngine(store)
    lessons.start(store, engine, lesson)
    while not (runs := find_runs(store, lesson)).finished:
        engine.tend()
        if not to_its_end and any(each and each.links for each in runs.experiments):
            return
        time.sleep(0.3)


async def together(url: str, visitors: int, seconds: float) -> list[float]:
    """Let so many walk at once; returns the seconds of all pages."""
    walks = await asyncio.gather(*(walk(url, number, seconds) for number in range(visitors)))
    return [each for taken in walks for each in taken]


@click.command()
@click.option("--visitors", default=30, show_default=True)
@click.option("--seconds", default=60.0, show_default=True, help="How long they walk.")
def main(visitors: int, seconds: float) -> None:
    """Measure how long a page takes alone, and with a class while a lesson is trained."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.db")
        server = Server("dashboard.py", {"KD_STORE": store.url, "KD_CLASSROOM": "1"})
        server.wait_until_healthy()
        try:
            train(store, TRAINED, to_its_end=True)
            for count, live in ((1, False), (visitors, False), (visitors, True)):
                if live:
                    train(store, LIVE, to_its_end=False)
                taken = asyncio.run(together(server.url, count, seconds))
                rows.append(
                    {
                        "visitors": count,
                        "a lesson is trained": "yes" if live else "no",
                        "pages": len(taken),
                        "median (s)": float(np.median(taken)),
                        "95 % (s)": float(np.quantile(taken, 0.95)),
                        "slowest (s)": float(max(taken)),
                    }
                )
        finally:
            server.stop()
            for worker in store.workers():
                terminate_group(worker.pid)
    present("A class walks through the lessons", rows)


if __name__ == "__main__":
    main()
