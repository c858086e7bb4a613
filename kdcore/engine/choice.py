"""The engine that ``KD_ENGINE`` names."""

from __future__ import annotations

import os
from typing import Any

from kdcore.engine.base import Engine
from kdcore.engine.local import LocalEngine
from kdcore.engine.ray import RayEngine
from kdcore.errors import require
from kdcore.storage.store import Store


def make_engine(
    store: Store, *, workers: int | None = None, idle_seconds: float | None = None
) -> Engine:
    """Return the engine that ``KD_ENGINE`` names: "local" (default), worker processes on this
    machine, or "ray".

    ``workers`` is how many there may be, ``idle_seconds`` after how long without work they leave;
    both are the engine's own choice by default. Raises ConfigError for another name, and where the
    engine cannot serve this store.
    """
    options: dict[str, Any] = {"workers": workers}
    if idle_seconds is not None:
        options["idle_seconds"] = idle_seconds
    name = os.environ.get("KD_ENGINE") or "local"
    if name == "ray":
        return RayEngine(store, **options)
    require(name == "local", "KD_ENGINE", "local or ray", name)
    return LocalEngine(store, **options)
