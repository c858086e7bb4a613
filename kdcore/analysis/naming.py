"""Titles for trained models in a list to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kdcore.analysis.contenders import told_apart
from kdcore.config.catalog import short_name
from kdcore.config.experiment import role_settings, stored_setting
from kdcore.storage.schema import Run

# Values of settings that matter to models of a user's own alone: they say nothing of others.
SAYS_NOTHING = ("checked",)


def run_titles(runs: Sequence[Run]) -> dict[str, str]:
    """Return a title for each run by its id: dataset, network, what tells it from the others, and
    its accuracy.

    Runs that still have one title get their id as well.
    """
    left_out = {"dataset", "teacher", "student"}
    apart = told_apart(
        [
            {
                name: value
                for name in role_settings(run.role, run.config)
                if name not in left_out
                and (value := stored_setting(run.config, name)) not in SAYS_NOTHING
            }
            | ({} if run.role == "teacher" else {"seed": run.seed})
            for run in runs
        ]
    )
    titles = {
        run.id: " · ".join(
            [
                short_name(str(run.config["dataset"])),
                short_name(run.model),
                *words,
                f"{run.summary['test_accuracy']:.1%} on test data",
            ]
        )
        for run, words in zip(runs, apart, strict=True)
    }
    counted = Counter(titles.values())
    return {
        run_id: title if counted[title] == 1 else f"{title} · {run_id}"
        for run_id, title in titles.items()
    }
