"""What a config fills in by itself: a label budget that fits the data, and what pretrained networks
say of themselves.
"""

from __future__ import annotations

import re
from typing import Any

from kdcore.config import pretrained
from kdcore.config.cards import DatasetCard
from kdcore.config.catalog import dataset_card
from kdcore.config.families import brings_vocabulary
from kdcore.config.fields import ExperimentFields
from kdcore.errors import ConfigError
from kdcore.plans import PlanKind
from kdcore.settings import listed

# Settings that pretrained networks fill in where they are empty.
FILLED = ("vocabulary", "layers")


def filled(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a config with what is filled in."""
    return _with_vocabulary(_with_layers(_with_keys(_with_label_budget(values))))


def label_budget(card: DatasetCard, training_examples: int | None = None) -> int | None:
    """Return how many labels to begin with on a dataset: some ten a class, a twentieth of many.

    None, for all, where others have none: then they are few by themselves.
    """
    if card.unlabelled_examples:
        return None
    examples = min(card.training_examples, training_examples or card.training_examples)
    return min(examples, max(10 * len(card.class_names), examples // 20))


def _with_label_budget(values: dict[str, Any]) -> dict[str, Any]:
    """Give settings without a label budget one that fits their data.

    The default of 100 is that of the digits; no message names a number that nobody typed.
    """
    if "labels" in values:
        return values
    examples = values.get("training_examples")
    known = examples if isinstance(examples, int) and examples > 0 else None
    dataset = values.get("dataset", "digits")
    if not isinstance(dataset, str):  # refused as what it is
        return values
    if dataset == "digits":
        return {**values, "labels": min(100, known or 100)}
    try:
        card = dataset_card(dataset)
    except ConfigError:  # refused as what it is
        return values
    return {**values, "labels": label_budget(card, known)}


def _with_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Give pretrained networks that a plan names the names of their content."""
    plan = values.get("plan")
    if not isinstance(plan, PlanKind):
        return values
    keyed = {
        name: ",".join(_pretrained_key(network) for network in listed(text))
        for name, text in plan.networks().items()
        if pretrained.HEAD in text
    }
    return {**values, "plan": plan.model_copy(update=keyed)} if keyed else values


def _pretrained_key(network: str) -> str:
    return pretrained.key(network) if network.startswith(pretrained.HEAD) else network


def _with_vocabulary(values: dict[str, Any]) -> dict[str, Any]:
    """Give settings the vocabulary of the pretrained network for texts among their networks."""
    given = values.get("vocabulary", "")
    if given != "" and not (isinstance(given, str) and brings_vocabulary(given)):
        return values  # refused by its own rule
    try:
        written = dataset_card(str(values.get("dataset", "digits"))).task.written
    except ConfigError:  # refused as what it is
        return values
    if not written:
        return {**values, "vocabulary": ""} if given else values
    if given:
        return values
    plan, fields = values.get("plan"), ExperimentFields.model_fields
    planned = plan.networks().values() if isinstance(plan, PlanKind) else ()
    networks = [values.get(role, fields[role].default) for role in ("teacher", "student")]
    networks += [network for text in planned for network in listed(text)]
    for network in networks:
        if isinstance(network, str) and brings_vocabulary(network):
            return {**values, "vocabulary": pretrained.whole(network)}
    return values


def _with_layers(values: dict[str, Any]) -> dict[str, Any]:
    """Give a plan the layers that its student starts from, as far as its networks say them now."""
    plan, student, teacher = (values.get(name) for name in ("plan", "student", "teacher"))
    if not (isinstance(plan, PlanKind) and isinstance(student, str) and isinstance(teacher, str)):
        return values
    if not all(re.fullmatch(pretrained.TEXTS, name) for name in (teacher, student)):
        return values
    layers = pretrained.layers_of(teacher), pretrained.layers_of(student)
    return {**values, "plan": plan.with_layers(*layers)}
