"""Numbers and errors as a person would say them."""

from __future__ import annotations

import time

import humanize


def in_bytes(count: float) -> str:
    """Return a number of bytes in words: "12.6 MB"."""
    return humanize.naturalsize(count).replace("Bytes", "bytes").replace("Byte", "byte")


def duration(seconds: float) -> str:
    """Return a length of time in words, as coarse as one would say it: "40 seconds", "2 hours"."""
    larger = ["days", "hours", "minutes"]
    if seconds >= 90:
        larger.remove("minutes")
    if seconds >= 5400:
        larger.remove("hours")
    unit = "seconds" if seconds < 90 else "minutes" if seconds < 5400 else "hours"
    return humanize.precisedelta(
        max(1, round(seconds)), minimum_unit=unit, suppress=larger, format="%0.0f"
    )


def ago(moment: float) -> str:
    """Return how long ago a Unix time was, in words: "just now", "3 hours ago"."""
    seconds = time.time() - moment
    return "just now" if seconds < 60 else humanize.naturaltime(seconds)


def first_line(error: BaseException) -> str:
    """Return what an error says first, its kind if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def sentences(*texts: str) -> str:
    """Return texts one after another, each with a full stop; those that are empty are left out."""
    return " ".join(
        text if text.endswith((".", "!", "?")) else f"{text}." for text in texts if text
    )
