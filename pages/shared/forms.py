"""Widgets made from the settings of ExperimentConfig: labels, help and rules come from there,
nothing is repeated.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Any, Literal

import streamlit as st

from kdcore.config.catalog import dataset_card, datasets, models_of, short_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import ConfigError, Problem
from pages.shared.session import as_text

TRAIN_PREFIX = "train"  # of the form on the Train page
CHOICES = ("dataset", "teacher", "student")
OPEN_CHOICES = ("teacher", "student")  # any other name may be typed
STEPS = {
    "alpha": 0.05,
    "temperature": 0.5,
    "learning_rate": 1e-3,
    "teacher_learning_rate": 1e-3,
    "labels": 10,
}


class ConfigForm:
    """A form of settings under one key prefix.

    ``config`` is None while anything in it is refused.
    """

    def __init__(self, prefix: str, initial: ExperimentConfig) -> None:
        self.prefix = prefix
        for name, value in initial.model_dump().items():
            st.session_state.setdefault(self.key(name), value)
        self.config, self.problems = self._read()

    def key(self, name: str) -> str:
        """Return the widget key of a setting."""
        return f"{self.prefix}_{name}"

    def fill(self, values: dict[str, Any]) -> None:
        """Set settings; to be called before they are drawn, or from a callback."""
        for name, value in values.items():
            st.session_state[self.key(name)] = value

    def draw(self, *names: str) -> None:
        """Draw the widgets of some settings, each with what is wrong with it below."""
        for name in names:
            self._widget(name)
            for problem in self.problems.get(name, []):
                st.markdown(f":red[:material/error: {as_text(str(problem))}]")

    def group(self, group: str) -> list[str]:
        """Return the names of a group's settings."""
        return [
            name
            for name, field in ExperimentConfig.model_fields.items()
            if typing.cast(dict[str, Any], field.json_schema_extra)["group"] == group
        ]

    def _read(self) -> tuple[ExperimentConfig | None, dict[str, list[Problem]]]:
        values = {name: st.session_state[self.key(name)] for name in ExperimentConfig.model_fields}
        try:
            return ExperimentConfig(**values), {}
        except ConfigError as error:
            problems: dict[str, list[Problem]] = {}
            for problem in error.problems:
                problems.setdefault(problem.field, []).append(problem)
            return None, problems

    def _widget(self, name: str) -> None:
        field = ExperimentConfig.model_fields[name]
        extra = typing.cast(dict[str, Any], field.json_schema_extra)
        common: dict[str, Any] = {
            "key": self.key(name),
            "help": field.description,
            "persist_state": "session",
        }
        label = field.title or name
        kinds = _kinds(field.annotation)
        if name in CHOICES:
            value = st.session_state[self.key(name)]
            titles = choices(name, value, st.session_state[self.key("dataset")])
            options = list(titles) + ([value] if value not in titles else [])
            st.selectbox(
                label,
                options,
                format_func=lambda option: titles.get(option, option),
                accept_new_options=name in OPEN_CHOICES,
                **common,
            )
        elif typing.get_origin(field.annotation) is Literal:
            st.selectbox(label, typing.get_args(field.annotation), **common)
        elif name == "alpha":
            st.slider(label, 0.0, 1.0, step=STEPS[name], **common)
        else:
            optional = type(None) in kinds
            kind = "%g" if float in kinds else "%d"
            step = STEPS.get(name, 1.0 if float in kinds else 1)
            st.number_input(
                label,
                value=None,
                step=step,
                format=kind,
                placeholder="all" if optional else None,
                **common,
            )
        if extra["ends"]:
            low, high = extra["ends"]
            with st.container(horizontal=True, horizontal_alignment="distribute", gap=None):
                st.caption(low, width="content")
                st.caption(high, width="content")


def prefill(config: ExperimentConfig) -> None:
    """Put a config into the form of the Train page, for "change and train again"."""
    ConfigForm(TRAIN_PREFIX, config).fill(config.model_dump())


def choices(name: str, value: str, dataset: str) -> dict[str, str]:
    """Return the names that a setting offers, with their titles: models that fit ``dataset``, or
    datasets.
    """
    if name != "dataset":
        return {model: short_name(model) for model in models_of(dataset_card(dataset).kind)}
    titles = {key: card.title for key, card in datasets().items()}
    if value not in titles:  # an older or removed version, which an experiment was made with
        titles[value] = f"{dataset_card(value).title} (not the latest version)"
    return titles


def problems_elsewhere(problems: dict[str, list[Problem]], drawn: Iterable[str]) -> list[Problem]:
    """Return the problems of settings that are not on screen."""
    shown = set(drawn)
    return [problem for name, found in problems.items() if name not in shown for problem in found]


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) or (annotation,)
