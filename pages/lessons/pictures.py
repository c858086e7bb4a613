"""The picture that a lesson begins with: real examples, or arithmetic."""

from __future__ import annotations

import re

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kdcore.charts.lessons import PICTURES, patches
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.data.datasets import load_named
from kdcore.glossary import plain
from kdcore.lessons import Lesson
from pages.shared.gallery import gallery
from pages.shared.live_chart import live_chart

MOST_EXAMPLES = 24


def draw_picture(lesson: Lesson) -> None:
    """Draw a lesson's picture."""
    of_class = re.fullmatch(r"examples_of_(\d)", lesson.picture)
    if of_class:
        images = _of_class(lesson.base.dataset, int(of_class[1]))
        gallery(
            images,
            captions=[of_class[1]] * len(images),
            key=f"lessons_examples_{lesson.name}",
            height=230,
            label=f"Test examples of class {of_class[1]}",
        )
        return
    if lesson.picture == "patches":
        figure = patches(_of_class(ExperimentConfig().dataset, 5)[0])
    else:
        figure = PICTURES[lesson.picture]()
    live_chart(
        figure,
        key=f"lessons_picture_{lesson.name}",
        description=plain(lesson.prose["picture"]),
    )


@st.cache_data(show_spinner="Reading examples", max_entries=8)
def _of_class(dataset: str, number: int) -> NDArray[np.uint8]:
    """Return the first test examples of a class, as people see them."""
    data, card = load_named(dataset), dataset_card(dataset)
    chosen = data.test.inputs[data.test.labels == number][:MOST_EXAMPLES]
    return card.task.show(chosen, data.train.inputs, data.scale, card.value_range)
