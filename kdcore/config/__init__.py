"""What can be asked for: the settings of experiments and sweeps, and the names that they
may use.
"""

from kdcore.config.experiment import (
    ExperimentConfig,
    digest,
    read_setting,
    starting_config,
    stored_setting,
)
from kdcore.config.presets import PRESETS

__all__ = [
    "PRESETS",
    "ExperimentConfig",
    "digest",
    "read_setting",
    "starting_config",
    "stored_setting",
]
