"""A sweep's config, as it is read back from a store."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.errors import ConfigError


def test_a_stored_sweep_is_checked_once_however_often_it_is_polled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = SweepConfig(
        ExperimentConfig(labels=101),
        (Axis("alpha", (0.1, 0.5, 0.9)), Axis("temperature", (1.0, 4.0))),
    )
    stored = asked.to_dict()
    checked: list[dict[str, Any]] = []
    original = ExperimentConfig.replace

    def remember(self: ExperimentConfig, **values: Any) -> ExperimentConfig:
        checked.append(values)
        return original(self, **values)

    monkeypatch.setattr(ExperimentConfig, "replace", remember)
    for _ in range(3):
        read = SweepConfig.from_dict(json.loads(json.dumps(stored)))
        assert read == asked
        cells = [read.cell(values) for values in read.combinations()]
        assert [(cell.alpha, cell.temperature) for cell in cells] == [
            (alpha, temperature) for alpha in (0.1, 0.5, 0.9) for temperature in (1.0, 4.0)
        ]
    of_cells = [values for values in checked if len(values) == 2]
    assert len(of_cells) == 6, "each cell once, not at each reading, nor when it is asked for"
    other = {**stored, "axes": [{**stored["axes"][0], "values": [0.2]}]}
    assert SweepConfig.from_dict(other).axes[0].values == (0.2,)


def test_a_stored_sweep_that_is_refused_is_refused_each_time() -> None:
    stored = SweepConfig(ExperimentConfig(labels=102), (Axis("alpha", (0.1,)),)).to_dict()
    wrong = {**stored, "base": {**stored["base"], "temperature": -1}}
    for _ in range(2):
        with pytest.raises(ConfigError, match="temperature must be above 0, got -1"):
            SweepConfig.from_dict(wrong)


def test_a_method_without_a_varied_setting_is_trained_as_it_is() -> None:
    methods = Axis("method", ("logits", "hard_labels", "decoupled"))
    swept = SweepConfig(ExperimentConfig(), (methods, Axis("temperature", (1.0, 4.0))))
    cells = [swept.cell(values) for values in swept.combinations()]
    assert [cell.method.name for cell in cells[::2]] == ["logits", "hard_labels", "decoupled"]
    assert [cells[at].temperature for at in (0, 1, 4, 5)] == [1, 4, 1, 4]
    assert cells[2] == cells[3] == ExperimentConfig(method="hard_labels")
    weights = Axis("target_weight", (0.5, 2.0))
    weighted = SweepConfig(ExperimentConfig(), (methods, weights))
    assert [weighted.cell(values).get("target_weight") for values in weighted.combinations()] == [
        *[None] * 4,
        0.5,
        2.0,
    ]
    with pytest.raises(ConfigError, match="temperature must be left out: Hard labels has no such"):
        SweepConfig(ExperimentConfig(method="hard_labels"), (Axis("temperature", (1.0, 4.0)),))
    with pytest.raises(ConfigError, match="target_weight must be at least 0"):
        SweepConfig(ExperimentConfig(), (methods, Axis("target_weight", (-1.0, 2.0))))
