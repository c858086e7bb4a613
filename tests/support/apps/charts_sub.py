"""Finished charts, on a page with a path of its own."""

from __future__ import annotations

import numpy as np
import streamlit as st
from made_up import metrics

from kdcore.charts.curves import learning_curves
from kdcore.charts.softened import distributions
from kdcore.config.catalog import DATASETS
from pages.shared.live_chart import live_chart

NAMES = DATASETS["fashion_mnist"].class_names


def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.exp(logits / temperature - np.max(logits / temperature))
    return powers / powers.sum()


teacher = np.array([1.0, -3, 2, 0.5, 3, -4, 6.5, -5, 0, -2])
student = np.array([2.0, -2, 1.5, 0, 3.5, -3, 4.5, -4, 1, -1])
log = st.toggle("log")
soft = softmax(teacher, 4)
left, right = st.columns(2)
with left:
    curves = learning_curves(metrics(20, 5), measure="accuracy", teacher=0.976)
    point = live_chart(curves, key="seeds", description="five seeds")
    if point:
        st.markdown(f"curve: {point['uid']} {point['index']}")
    live_chart(
        learning_curves(metrics(20, 3), measure="loss", smoothing=0.9, log_y=True, show_seeds=True),
        key="log_loss",
        description="loss, logarithmic",
    )
    live_chart(
        learning_curves(metrics(0), measure="accuracy"),
        key="nothing",
        description="nothing yet",
        height=220,
    )
with right:
    rows = [
        ("teacher, T = 4", "teacher", soft, None),
        ("student (distilled)", "student", softmax(student, 4), soft),
        ("baseline (from scratch)", "baseline", softmax(-student[::-1], 4), soft),
    ]
    clicked = live_chart(
        distributions(NAMES, rows, label=6, log=log), key="rows", description="three distributions"
    )
    st.markdown(f"clicked: {clicked}")
    rows = [("student (distilled)", "student", softmax(student, 1), softmax(teacher, 1))]
    first, second = st.tabs(["first", "second"])
    first.markdown("The chart is behind the other tab.")
    with second:
        live_chart(
            distributions(NAMES, rows, label=6, log=log),
            key="row",
            description="one distribution",
            on_click=lambda click: st.session_state.update(called=click["curve"]),
        )
    st.markdown(f"called: {st.session_state.get('called')}")
