"""Widgets made from the settings of ExperimentConfig: labels, help and rules come from there,
nothing is repeated.
"""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Iterable
from typing import Any, Literal

import streamlit as st

from kdcore.config.catalog import (
    dataset_card,
    datasets,
    models_of,
    network_in_words,
    own_model,
    short_name,
)
from kdcore.config.experiment import ExperimentConfig, all_settings, setting_of
from kdcore.config.parts import PARTS
from kdcore.errors import ConfigError, Problem
from kdcore.methods import Method
from kdcore.settings import Part, words_of
from pages.shared.session import as_text
from pages.shared.temperature import temperature_control
from pages.shared.terms import prose

TRAIN_PREFIX = "train"  # of the form on the Train page
CHOICES = ("dataset", "teacher", "student")
OPEN_CHOICES = ("teacher", "student")  # any other name may be typed


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
        self.config, self.problems = self._read()

    def draw(self, *names: str) -> None:
        """Draw the widgets of some settings, each with what is wrong with it below."""
        for name in names:
            self._widget(name)
            for problem in self.problems.get(name, []):
                st.markdown(f":red[:material/error: {as_text(problem.on_a_page)}]")

    def kind(self, part: str) -> type[Part]:
        """The kind of a part that is chosen, the plain one where the name is unknown."""
        kinds = PARTS[part]
        return kinds.known.get(st.session_state[self.key(part)], kinds.known[kinds.plain])

    def group(self, group: str) -> list[str]:
        """Return the names of a group's settings, without those of other methods and plans."""
        kinds = {part: self.kind(part).name for part in PARTS}
        names = set(self._names())
        return [
            name
            for name in all_settings()
            # A plan may call a setting as a method does: the group is that of the chosen kind's.
            if name in names and words_of(setting_of(name, kinds))["group"] == group
        ]

    def _names(self) -> list[str]:
        """Return the settings that the chosen method and plan leave, with their own set where they
        are missing: they are new with the choice.
        """
        own = {
            name: field for part in PARTS for name, field in self.kind(part).model_fields.items()
        }
        for name, field in own.items():
            st.session_state.setdefault(self.key(name), field.default)
        return [*ExperimentConfig.model_fields, *own]

    def _choose(self, part: str) -> None:
        """Begin with a kind's own settings when it is chosen, and with what it asks of others."""
        kind = self.kind(part)
        for name, field in kind.model_fields.items():
            st.session_state[self.key(name)] = field.default
        asked = kind.defaults({name: st.session_state[self.key(name)] for name in CHOICES})
        self.fill(asked)
        for other in asked.keys() & PARTS.keys():
            self._choose(other)

    def _said_of(self, network: str) -> str:
        """Return what the data decides of a network; nothing for a name that is refused below."""
        with contextlib.suppress(ConfigError):
            return network_in_words(network, st.session_state[self.key("dataset")])
        return ""

    def _bring_along(self, name: str) -> None:
        """Set what a choice among a kind's own settings means for others of them."""
        for part in PARTS:
            self.fill(self.kind(part).brings({name: st.session_state[self.key(name)]}))

    def _read(self) -> tuple[ExperimentConfig | None, dict[str, list[Problem]]]:
        values = {name: st.session_state[self.key(name)] for name in self._names()}
        try:
            return ExperimentConfig(**values), {}
        except ConfigError as error:
            problems: dict[str, list[Problem]] = {}
            for problem in error.problems:
                problems.setdefault(problem.field, []).append(problem)
            return None, problems

    def _widget(self, name: str) -> None:
        field = setting_of(name, {part: self.kind(part).name for part in PARTS})
        extra = words_of(field)
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
            if name != "dataset" and (said := self._said_of(value)):
                st.caption(said)
        elif name in PARTS:
            known = PARTS[name].known
            st.selectbox(
                label,
                list(known),
                format_func=lambda kind: known[kind].title,
                on_change=self._choose,
                args=(name,),
                **common,
            )
            kind_words(self.kind(name))
        elif typing.get_origin(field.annotation) is Literal:
            known_values = typing.get_args(field.annotation)
            st.selectbox(label, known_values, on_change=self._bring_along, args=(name,), **common)
        elif name == "alpha":
            st.slider(label, 0.0, 1.0, step=extra["step"], **common)
        elif name == "temperature":
            temperature_control(
                st.session_state[self.key(name)],
                key=f"{self.key(name)}_slider",
                on_change=lambda chosen: self.fill({name: chosen}),
                help=str(field.description),
            )
        elif kinds == (str,):
            st.text_input(label, **common)
        else:
            optional = type(None) in kinds
            kind = "%g" if float in kinds else "%d"
            step = extra["step"] or (1.0 if float in kinds else 1)
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
    ConfigForm(TRAIN_PREFIX, config).fill(config.asked())


def kind_words(kind: type[Any]) -> None:
    """Say what a method or a plan does: in words, as an equation, what it needs, and where it is
    from.

    In a panel of its own, which is wide enough for an equation.
    """
    with st.popover("What it does", icon=":material/function:", width="stretch"):
        prose(kind.summary)
        if issubclass(kind, Method) and kind.equation:
            st.latex(kind.equation)
        st.caption(f"Paper: {kind.paper}.")
        if issubclass(kind, Method) and (departs := kind.departs()):
            st.caption(f"Not as in the paper: {departs}.")
    if issubclass(kind, Method):
        st.caption(f"Needs: {kind.needs}")


def choices(name: str, value: str, dataset: str) -> dict[str, str]:
    """Return the names that a setting offers, with their titles: models that fit ``dataset``, or
    datasets.
    """
    if name != "dataset":
        names = models_of(dataset_card(dataset).task)
        if name == "student":
            names = [
                each for each in names if (own := own_model(each)) is None or own.can_be_trained
            ]
        return {model: short_name(model) for model in names}
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
