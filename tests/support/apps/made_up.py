"""Curves with the shape of training, for the demo apps."""

from __future__ import annotations

import numpy as np
import pandas as pd

STEPS_PER_EPOCH = 34


def metrics(epochs: int, seeds: int = 1) -> pd.DataFrame:
    """Make a table as the store would give it, after ``epochs`` epochs."""
    tables = []
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        for role, best in (("student", 0.97), ("baseline", 0.92)):
            level = best + generator.normal() * 0.006
            for split, step in (("train", 1), ("validation", STEPS_PER_EPOCH)):
                steps = np.arange(step, epochs * STEPS_PER_EPOCH + 1, step)
                noise = generator.normal(size=len(steps)) * (0.03 if split == "train" else 0.004)
                gap = np.exp(-steps / STEPS_PER_EPOCH / 3)
                table = pd.DataFrame(
                    {"step": steps, "epoch": steps / STEPS_PER_EPOCH, "seconds": steps / 200}
                )
                table["accuracy"] = np.clip(level - 0.6 * gap + noise, 0, 1)
                table["loss"] = (1 - level) * 4 + 2 * gap + np.abs(noise)
                tables.append(table.assign(role=role, seed=seed, split=split))
    return pd.concat(tables, ignore_index=True)
