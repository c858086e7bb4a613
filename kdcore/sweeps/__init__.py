"""Many experiments that differ in a few settings: planned, followed, and what came out."""

from kdcore.sweeps.planning import (
    SEEDS_TO_CONFIRM,
    cells_of,
    confirm,
    counts,
    create,
    extend,
    get,
    pause,
    resume,
    stop,
    submit,
    sweeps,
    tag_of,
    tend,
)

__all__ = [
    "SEEDS_TO_CONFIRM",
    "cells_of",
    "confirm",
    "counts",
    "create",
    "extend",
    "get",
    "pause",
    "resume",
    "stop",
    "submit",
    "sweeps",
    "tag_of",
    "tend",
]
