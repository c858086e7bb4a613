"""The section of the Compare page on images made worse: a chart, a table, and who minds less."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kdcore.analysis.comparison import Comparison
from kdcore.analysis.robustness import Robustness, gain, of_contender, to_measure
from kdcore.charts.robustness import accuracy_by_severity
from kdcore.config.catalog import dataset_card
from kdcore.data.corruptions import CORRUPTIONS
from kdcore.storage.store import Store
from pages.compare.measuring import measuring, show_progress
from pages.shared.live_chart import live_chart
from pages.shared.session import as_text, engine


def draw(store: Store, found: Comparison) -> None:
    """Draw what was measured, and offer to measure."""
    dataset = str(found.contenders[0].config["dataset"])
    if not dataset_card(dataset).task.pictures:
        st.caption("Only images can be made worse in these ways.")
        return
    known = [of_contender(store, each) for each in found.contenders]
    _measure(store, found, any(each is not None for each in known))
    models = [
        (style, each) for style, each in zip(found.styles, known, strict=True) if each is not None
    ]
    if not models:
        st.markdown(
            "A worker asks every trained model about test images with noise, blurred, shifted, with less contrast, and "
            "partly covered, in three severities: the same images for all."
        )
        return
    live_chart(
        accuracy_by_severity(models),
        key="compare_robustness",
        description="Accuracy on test images made worse in five ways, over three severities",
    )
    st.dataframe(
        pd.DataFrame([_row(style.name, each) for style, each in models]),
        hide_index=True,
        width="stretch",
        column_config={
            title: st.column_config.NumberColumn(format="%.1f")
            for title in ("Clean (%)", "Worse, mean (%)", *_titles().values())
        },
    )
    examples = models[0][1].examples
    st.caption(
        f"Accuracy in percent on the first {examples:,} test images, mean over seeds; of each corruption over its three "
        "severities. Strengths are this project's own: compare models here, not with numbers from elsewhere."
    )
    _pairs(found, known)


def _titles() -> dict[str, str]:
    return {name: f"{kind.title} (%)" for name, kind in CORRUPTIONS.items()}


def _row(name: str, each: Robustness) -> dict[str, object]:
    return {
        "Model": name,
        "Clean (%)": 100 * each.clean,
        "Worse, mean (%)": 100 * each.mean,
        **{
            title: 100 * sum(each.corrupted[kind]) / len(each.corrupted[kind])
            for kind, title in _titles().items()
        },
    }


def _pairs(found: Comparison, known: list[Robustness | None]) -> None:
    """Say of each pair on screen who is better on corrupted images, by paired seeds."""
    for pair in found.pairs:
        one, two = known[pair.first], known[pair.second]
        if one is None or two is None or (paired := gain(one, two)) is None:
            continue
        names = [as_text(found.styles[place].name) for place in (pair.first, pair.second)]
        st.markdown(
            f"- **{names[0]}** against **{names[1]}** on images made worse: {paired.mean:+.1f} points, "
            f"{as_text(_interval(paired.low, paired.high, paired.n))}"
        )


def _interval(low: float, high: float, seeds: int) -> str:
    if seeds < 2:
        return "one seed: no interval"
    return f"95 % CI {low:.1f} to {high:.1f} over {seeds} paired seeds"


def _measure(store: Store, found: Comparison, again: bool) -> None:
    job = measuring(store, found.contenders, "robustness")
    if job is not None:
        show_progress(job)
        return
    st.button(
        "Ask again" if again else "Ask about images made worse",
        icon=":material/blur_on:",
        key="compare_robustness_start",
        on_click=_start,
        args=(store, to_measure(found.contenders)),
    )


def _start(store: Store, run_ids: list[str]) -> None:
    engine().submit(store.add_job("robustness", {"run_ids": run_ids}))
