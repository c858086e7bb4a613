"""The plan at the top of an experiment says who learns from examples without a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdcore import plans
from kdcore.analysis.results import load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.data.ingest import add
from kdcore.storage.store import Store
from pages.train import plan


def test_steps_that_are_taught_name_them(store: Store, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "mine.npz",
        x=random.normal(size=(60, 3)),
        y=np.arange(60) % 2,
        x_unlabelled=random.normal(size=(1200, 3)),
    )
    key = add(store, "mine", tmp_path / "mine.npz").key

    def shown(**changed: object) -> dict[str, str]:
        config = ExperimentConfig(dataset=key, teacher="mlp-8", student="mlp-8", **changed)
        results = load_results(store, store.create(config))
        return {
            step.name: plan._badge(results, step).replace("\\", "")
            for step in plans.plan_of(config).steps
        }

    plain = shown()
    assert "all labels, 1,200 examples without" in plain["student"]
    assert "all labels" in plain["teacher"]
    assert not any("without" in plain[name] for name in ("teacher", "baseline"))
    noisy = shown(plan="noisy-student", generations=1, labels=10)
    assert "10 labels, 1,200 examples without" in noisy["student"]
    assert not any("without" in noisy[name] for name in ("teacher", "baseline"))
