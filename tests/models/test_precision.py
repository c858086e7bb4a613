"""Which precision is taken on which hardware, and that a policy is put back."""

from pathlib import Path

import keras
import pytest

from kdcore.errors import ConfigError
from kdcore.models import precision
from kdcore.models.precision import policy_scope, resolve_precision

AMPERE, TURING = ("A100", (8, 0)), ("T4", (7, 5))


def hardware(monkeypatch: pytest.MonkeyPatch, flags: str = "", gpus: tuple = ()) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: frozenset(flags.split()))
    monkeypatch.setattr(precision, "gpus", lambda: list(gpus))


@pytest.mark.parametrize(
    ("flags", "gpus", "policy", "word"),
    [
        ("sse avx512f", (), "float32", "no known bfloat16"),
        ("sse amx_bf16 avx512_bf16", (), "mixed_bfloat16", "AMX-BF16"),
        ("sse avx512_bf16", (), "mixed_bfloat16", "AVX512-BF16"),
        ("", (AMPERE,), "mixed_bfloat16", "A100"),
        ("amx_bf16", (TURING,), "float32", "7.5"),  # the GPU does the work
        ("", (AMPERE, TURING), "float32", "T4"),  # the weaker of two decides
        ("amx_bf16", (("unknown", (0,)),), "float32", "unknown"),
    ],
)
def test_auto_follows_the_hardware(
    monkeypatch: pytest.MonkeyPatch, flags: str, gpus: tuple, policy: str, word: str
) -> None:
    hardware(monkeypatch, flags, gpus)
    resolved = resolve_precision("auto")
    assert resolved.policy == policy
    assert resolved.reason.startswith("bfloat16: " if policy == "mixed_bfloat16" else "float32: ")
    assert word in resolved.reason


@pytest.mark.parametrize("flags", ["", "amx_bf16"])
def test_a_chosen_precision_is_kept_and_its_cost_said(
    monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    hardware(monkeypatch, flags)
    assert resolve_precision("float32").policy == "float32"
    chosen = resolve_precision("bfloat16")
    assert chosen.policy == "mixed_bfloat16"
    assert ("slow" in chosen.reason) == (not flags)


def test_an_unknown_setting_is_refused_in_words() -> None:
    with pytest.raises(
        ConfigError, match="precision must be one of auto, float32, bfloat16, got 'float16'"
    ):
        resolve_precision("float16")  # type: ignore[arg-type]


def test_flags_are_read_as_linux_lists_them(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "model name\t: Intel amx_int8\nflags\t\t: fpu amx_bf16 sse\nbugs\t: none\nflags\t\t: fpu\n"
    )
    assert precision._cpu_flags(cpuinfo) == {"fpu", "amx_bf16", "sse"}
    cpuinfo.write_text("Features\t: fp asimd bf16\n")
    assert precision._cpu_flags(cpuinfo) == frozenset()
    assert precision._cpu_flags(tmp_path / "missing") == frozenset()


def test_this_machine_gets_a_policy_that_its_flags_explain() -> None:
    resolved = resolve_precision("auto")
    listed = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if not precision.gpus():
        assert (resolved.policy == "mixed_bfloat16") == (
            "amx_bf16" in listed or "avx512_bf16" in listed
        )


def test_gpus_are_described_by_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"gpu0": {"device_name": "A100", "compute_capability": (8, 0)}, "gpu1": {}}
    monkeypatch.setattr(
        precision.tf.config,
        "list_physical_devices",
        lambda kind: list(known) if kind == "GPU" else [],
    )
    monkeypatch.setattr(precision.tf.config.experimental, "get_device_details", known.__getitem__)
    assert precision.gpus() == [AMPERE, ("unknown", (0,))]


def test_the_policy_is_put_back_even_after_an_error() -> None:
    former = keras.config.dtype_policy().name
    with policy_scope("mixed_bfloat16"):
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
        with policy_scope("float32"):
            assert keras.config.dtype_policy().name == "float32"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    with pytest.raises(ZeroDivisionError), policy_scope("mixed_bfloat16"):
        raise ZeroDivisionError
    assert keras.config.dtype_policy().name == former
