"""Which number format to compute in: bfloat16 where the hardware is built for it, float32
elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import keras
import tensorflow as tf

from kdcore.config.fields import Precision
from kdcore.errors import require

Policy = Literal["float32", "mixed_bfloat16"]

CPU_FEATURES = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX512-BF16"}
LOWEST_GPU_CAPABILITY = (8, 0)  # NVIDIA Ampere, the first generation with bfloat16 tensor cores


@dataclass(frozen=True)
class ResolvedPrecision:
    """A Keras dtype policy, and one sentence for the user that says why it was taken."""

    policy: Policy
    reason: str


def resolve_precision(setting: Precision) -> ResolvedPrecision:
    """Turn the config's precision into a dtype policy.

    "auto" asks the hardware that will do the work: the GPU where there is one, the processor
    otherwise. Variables stay float32 in either policy; "mixed_bfloat16" computes in bfloat16.

    Raises:
        ConfigError: for a setting that is not one of the config's.
    """
    require(
        setting in get_args(Precision),
        "precision",
        f"one of {', '.join(get_args(Precision))}",
        setting,
    )
    suited, why = _hardware()
    if setting == "auto":
        return ResolvedPrecision(
            "mixed_bfloat16" if suited else "float32", f"{_name(suited)}: {why}"
        )
    if setting == "bfloat16":
        note = "" if suited else f", although it may be slow: {why}"
        return ResolvedPrecision("mixed_bfloat16", f"bfloat16: chosen in the settings{note}")
    return ResolvedPrecision("float32", "float32: chosen in the settings")


@contextmanager
def policy_scope(policy: Policy) -> Iterator[None]:
    """Build the models of a ``with`` block under ``policy``, and put the former global policy back
    at its end.

    Keras has one policy a process: do not use it in two threads at once.
    """
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


def bfloat16_without_tiles() -> bool:
    """Say whether the processor does the work, and knows bfloat16 by AVX-512 alone, without AMX's
    tiles.
    """
    return not gpus() and {"amx_bf16", "avx512_bf16"} & _cpu_flags() == {"avx512_bf16"}


def _name(suited: bool) -> str:
    return "bfloat16" if suited else "float32"


def _hardware() -> tuple[bool, str]:
    """Say whether the hardware in use is built for bfloat16, and by what."""
    found = gpus()
    if found:
        # TensorFlow computes on the GPU where there is one, so the processor's instructions do not
        # matter.
        name, capability = min(found, key=lambda gpu: gpu[1])
        version = ".".join(map(str, capability))
        if capability >= LOWEST_GPU_CAPABILITY:
            return (
                True,
                f"this GPU ({name}, compute capability {version}) has bfloat16 tensor cores",
            )
        return (
            False,
            f"this GPU ({name}, compute capability {version}) has no bfloat16 tensor cores",
        )
    flags = _cpu_flags()
    for flag, feature in CPU_FEATURES.items():
        if flag in flags:
            return True, f"this processor has {feature} instructions"
    return False, "this processor has no known bfloat16 instructions"


def gpus() -> list[tuple[str, tuple[int, ...]]]:
    """Return each GPU's name and compute capability; (0,) where TensorFlow does not know it."""
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [
        (str(detail.get("device_name", "unknown")), tuple(detail.get("compute_capability", (0,))))
        for detail in details
    ]


def cpu_field(name: str, path: Path = Path("/proc/cpuinfo")) -> str:
    """Return what Linux says of the first processor under a name; empty on other systems."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the processor's feature flags; empty where they are not known."""
    return frozenset(cpu_field("flags", path).split())
