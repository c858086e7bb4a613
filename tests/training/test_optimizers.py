"""AdamW, SGD, schedules, decay and clipping: against the same steps in float64 NumPy, and to the
bit over stops and kept loops.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdcore.analysis.results import load_results, logits
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import ConfigError, StopRequested
from kdcore.storage.store import Store
from kdcore.training import kept_loops
from kdcore.training.loop import Loop
from kdcore.training.optimizers import WarmUpThenSchedule
from kdcore.training.trainer import make_trainer
from kdcore.work.experiment import run_experiment

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

EXAMPLES, CLASSES, FEATURES, STEPS = 12, 3, 4, 20
PATIENT: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate_schedule": "cosine",
    "learning_rate_warm_up": 1,
    "weight_decay": 0.05,
    "clip_norm": 0.5,
}


def rate_of(config: ExperimentConfig, step: int, steps: int) -> float:
    warm_up = round(steps * config.learning_rate_warm_up / config.epochs)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    if config.learning_rate_schedule == "constant":
        return config.learning_rate
    gone = (step - warm_up) / max(steps - warm_up, 1)
    return config.learning_rate * (1 + math.cos(math.pi * gone)) / 2


def in_numpy(config: ExperimentConfig, x: Any, y: Any, kernel: Any, bias: Any) -> list[np.ndarray]:
    """Train a softmax regression by the textbook's formulas."""
    weights = [kernel.astype(np.float64), bias.astype(np.float64)]
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    decayed = [True, False]
    for step in range(STEPS):
        rate = rate_of(config, step, STEPS)
        z = x @ weights[0] + weights[1]
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        wrong = (p - np.eye(CLASSES)[y]) / len(x)
        gradients = [x.T @ wrong, wrong.sum(axis=0)]
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        if config.clip_norm and norm > config.clip_norm:
            gradients = [g * config.clip_norm / norm for g in gradients]
        for at, g in enumerate(gradients):
            if decayed[at]:
                weights[at] = weights[at] * (1 - rate * config.weight_decay)
            if config.optimizer == "sgd":
                first[at] = 0.9 * first[at] - rate * g
                weights[at] = weights[at] + 0.9 * first[at] - rate * g
                continue
            first[at] = 0.9 * first[at] + 0.1 * g
            second[at] = 0.999 * second[at] + 0.001 * g**2
            unbiased = math.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            weights[at] = weights[at] - rate * unbiased * first[at] / (np.sqrt(second[at]) + 1e-7)
    return weights


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"clip_norm": 0.05},
        {"learning_rate_schedule": "cosine"},
        {"learning_rate_warm_up": 2},
        {"optimizer": "sgd", "learning_rate": 0.3},
        {"optimizer": "sgd", "learning_rate": 0.3, "weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.2},
        {**PATIENT, "clip_norm": 0.1},
        {**PATIENT, "optimizer": "sgd", "learning_rate": 0.5},
    ],
)
def test_steps_are_those_of_the_textbook(asked: dict[str, Any]) -> None:
    config = ExperimentConfig(**{"learning_rate": 0.05, "epochs": 10, **asked})
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
    y = numbers.integers(0, CLASSES, EXAMPLES).astype(np.int32)
    network = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(CLASSES)])
    kernel, bias = network.get_weights()
    trainer = make_trainer("baseline", config, network, steps=STEPS)
    loop = Loop(trainer, 1.0)
    data = (keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y))
    loop.build(*data)
    loop(np.tile(np.arange(EXAMPLES, dtype=np.int32), (STEPS, 1)), *data)
    for got, expected in zip(
        network.get_weights(), in_numpy(config, x, y, kernel, bias), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-5)


@settings(deadline=None, max_examples=60)
@given(
    st.floats(1e-5, 1.0),
    st.integers(0, 50),
    st.integers(1, 200),
    st.booleans(),
)
def test_a_schedule_rises_to_its_peak_and_never_above(
    peak: float, warm_up: int, more: int, cosine: bool
) -> None:
    steps = warm_up + more
    schedule = WarmUpThenSchedule(cosine, peak, warm_up, steps)
    rates = np.array([float(schedule(step)) for step in range(steps)])
    assert np.all(rates <= peak * (1 + 1e-6))
    assert np.all(rates > 0)
    assert rates[max(warm_up - 1, 0)] == pytest.approx(peak, rel=1e-5)
    assert np.all(np.diff(rates[:warm_up]) > 0)
    after = np.diff(rates[warm_up:])
    assert np.all(after <= 0) if cosine else np.all(after == 0)
    again = WarmUpThenSchedule.from_config(schedule.get_config())
    assert float(again(steps // 2)) == float(schedule(steps // 2))


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="weight_decay must be 0 with the optimizer adam"):
        ExperimentConfig(weight_decay=0.1)
    with pytest.raises(ConfigError, match="learning_rate_warm_up must be below 20, the epochs"):
        ExperimentConfig(learning_rate_warm_up=20)
    with pytest.raises(ConfigError, match="optimizer must be one of"):
        ExperimentConfig(optimizer="lion")


TINY = ExperimentConfig(
    teacher="mlp-8",
    teacher_epochs=1,
    student="conv-4-4",
    training_examples=70,
    labels=40,
    batch_size=32,
    epochs=3,
    seeds=1,
    **PATIENT,
)


def trained(store: Store, config: ExperimentConfig, stop_after: int = 0) -> dict[str, Any]:
    """Train, stopped once after an epoch where asked; return the test logits by role."""
    experiment = store.create(config)

    def watch(_seed: int, epoch: int, _accuracy: float) -> None:
        if epoch == stop_after:
            raise StopRequested("stop")

    if stop_after:
        with pytest.raises(StopRequested):
            run_experiment(store, experiment, reuse="teacher", watch=watch)
        kept_loops._kept.clear()
    run_experiment(store, experiment, reuse="teacher")
    found = load_results(store, experiment)
    return {role: logits(store, found.runs(role)[0], "test") for role in ("student", "baseline")}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_stop_and_a_kept_loop_change_nothing(
    store: Store, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_loops._kept.clear()
    config = TINY.replace(optimizer=optimizer)
    whole = trained(store, config.replace(seed=7))
    kept_loops._kept.clear()
    stopped = trained(store, config.replace(seed=7, clip_norm=0.5), stop_after=1)
    for role in whole:
        np.testing.assert_array_equal(stopped[role], whole[role])
    kept_loops._kept.clear()
    trained(store, config.replace(epochs=2, learning_rate=0.02, learning_rate_warm_up=0.5))
    traced: list[Loop] = []
    original = Loop._run
    monkeypatch.setattr(Loop, "_run", lambda self, *_: traced.append(self) or original(self, *_))
    kept = trained(store, config.replace(seed=7, student="conv-4-4"))
    assert traced == [], "both loops were compiled for the run before"
    for role in whole:
        np.testing.assert_array_equal(kept[role], whole[role])
