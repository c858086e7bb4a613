"""Two galleries: 2,000 digits with marks inside a fragment, and a few colour images."""

from __future__ import annotations

import numpy as np
import streamlit as st
from sklearn.datasets import load_digits

from pages.shared.gallery import Mark, gallery


@st.cache_data
def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    return (np.resize(images, (2000, 8, 8)) * 15.9).astype(np.uint8), np.resize(labels, 2000)


@st.fragment
def many() -> None:
    """Choose among 2,000 digits; ids run backwards, so that an id is not a position."""
    images, labels = digits()
    marks = [Mark("wrong") if index % 7 == 0 else None for index in range(2000)]
    first = st.toggle("Choose 1990")
    order = st.toggle("Reverse")
    at = np.arange(2000)[::-1] if order else np.arange(2000)
    chosen = gallery(
        images[at],
        captions=[f"{labels[index]} → {labels[index]}" for index in at],
        ids=[1999 - int(index) for index in at],
        marks=[marks[index] for index in at],
        selected=1990 if first else None,
        key="digits",
        label="Digits",
        height=340,
    )
    st.markdown(f"chosen: {chosen}")


many()
colours = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
chosen = gallery(
    colours, captions=[f"image {index}" for index in range(12)], key="colours", height=200
)
st.markdown(f"colour: {chosen}")
gallery(colours[:0], captions=[], key="none", height=80, empty="Nothing is wrong here")
