"""One colour for each status of an experiment or a sweep, on every page."""

from __future__ import annotations

from typing import Literal

BadgeColour = Literal["gray", "blue", "green", "orange", "red"]

STATUS_COLOURS: dict[str, BadgeColour] = {
    "queued": "gray",
    "running": "blue",
    "paused": "orange",
    "finished": "green",
    "stopped": "orange",
    "interrupted": "orange",
    "failed": "red",
}
