"""KD Lab's library: knowledge distillation with Keras, from a script, a notebook or ``python -m
kdcore``.

Importing the package is cheap: each public name loads its module when it is first used, so that
neither Keras nor TensorFlow is imported before something is trained.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kdcore.version import __version__

if TYPE_CHECKING:
    from kdcore.config.catalog import register_model
    from kdcore.config.experiment import ExperimentConfig
    from kdcore.errors import (
        ClaimLost,
        ConfigError,
        DatasetError,
        KDLabError,
        ModelError,
        Problem,
        StopRequested,
        StoreError,
        StoreUnreachable,
        TrainingError,
        TransitionError,
    )
    from kdcore.losses import kd_loss, soften
    from kdcore.storage.store import Store
    from kdcore.training.distiller import Distiller
    from kdcore.work.outcome import Outcome, run


# Where each public name lives.
_MODULES = {
    "ClaimLost": "kdcore.errors",
    "ConfigError": "kdcore.errors",
    "DatasetError": "kdcore.errors",
    "Distiller": "kdcore.training.distiller",
    "ExperimentConfig": "kdcore.config",
    "KDLabError": "kdcore.errors",
    "ModelError": "kdcore.errors",
    "Outcome": "kdcore.work.outcome",
    "Problem": "kdcore.errors",
    "StopRequested": "kdcore.errors",
    "Store": "kdcore.storage.store",
    "StoreError": "kdcore.errors",
    "StoreUnreachable": "kdcore.errors",
    "TrainingError": "kdcore.errors",
    "TransitionError": "kdcore.errors",
    "kd_loss": "kdcore.losses",
    "run": "kdcore.work.outcome",
    "register_model": "kdcore.config.catalog",
    "soften": "kdcore.losses",
}

__all__ = [
    "ClaimLost",
    "ConfigError",
    "DatasetError",
    "Distiller",
    "ExperimentConfig",
    "KDLabError",
    "ModelError",
    "Outcome",
    "Problem",
    "StopRequested",
    "Store",
    "StoreError",
    "StoreUnreachable",
    "TrainingError",
    "TransitionError",
    "__version__",
    "kd_loss",
    "register_model",
    "run",
    "soften",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
