"""How one setting is declared: its default, range, label, help, and its words, in one place.

Configs and methods are made of such settings; form, command line, tables and reports read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
# What stands for a setting that older configs never lacked.
ALWAYS_THERE = "kdcore: always there"


class Part(BaseModel):
    """A part of a config that is one of several kinds, each with settings of its own: its fields.

    A config has its settings beside all others; the part's own value is the kind's name.
    """

    model_config = FROZEN

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]

    @classmethod
    def setting_names(cls) -> tuple[str, ...]:
        """Return the names of its settings."""
        return tuple(cls.model_fields)

    def values(self) -> dict[str, Any]:
        """Return its settings by name."""
        return {name: getattr(self, name) for name in self.setting_names()}

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return values for settings of the experiment that were not ``given``."""
        return {}

    @classmethod
    def brings(cls, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return what choices among its own settings mean for others of them that are not
        ``chosen``.
        """
        return {}


def _names(text: str) -> str:
    names = listed(text)
    if names and all(re.fullmatch(r"[a-z0-9][a-z0-9_.@-]{0,120}", name) for name in names):
        return text
    raise PydanticCustomError("rule", "{rule}", {"rule": "one name or more, with commas"})


# A setting that takes several names.
Names = Annotated[str, AfterValidator(_names)]


def listed(text: str) -> list[str]:
    """Return the names in a setting that takes several, with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def setting(
    default: Any,
    title: str,
    description: str,
    group: str,
    ends: tuple[str, str] | None = None,
    *,
    short: str | None = None,
    log: bool = False,
    step: float | None = None,
    older: Any = ALWAYS_THERE,
    **rules: Any,
) -> Any:
    """Declare one setting: pydantic's Field, and what is said of it.

    Args:
        default: its value where none is given.
        title: its label.
        description: its help.
        group: where it is drawn.
        ends: what its low and its high end mean.
        short: its name beside a value, such as "α"; by default the title in lower case.
        log: whether twice as much of it is a step like any other.
        step: of its widget.
        older: the value that configs of before this setting were made with.
        **rules: pydantic's, such as ``ge=0``.
    """
    drawn = {
        "group": group,
        "ends": list(ends) if ends else [],
        "short": short or title.lower(),
        "log": log,
        "step": step,
        "older": older,
    }
    return Field(default, title=title, description=description, json_schema_extra=drawn, **rules)


def words_of(field: FieldInfo) -> dict[str, Any]:
    """Return what :func:`setting` was told besides pydantic's own."""
    return cast(dict[str, Any], field.json_schema_extra)


def alpha_setting(default: float) -> Any:
    """Declare the weight of the true labels against a method's own loss."""
    return setting(
        default,
        "Alpha: weight of the true labels",
        "0 listens to the teacher only, 1 to the true labels only (the teacher is ignored).",
        "method",
        ends=("0: only the teacher", "only the true labels: 1"),
        short="α",
        step=0.05,
        ge=0,
        le=1,
    )


def temperature_setting(default: float) -> Any:
    """Declare the temperature that softens teacher and student."""
    return setting(
        default,
        "Temperature T",
        "Divides the logits before softmax. 1 keeps the teacher's probabilities; "
        "higher shows more of how it ranks the wrong classes.",
        "method",
        ends=("1: as sure as the teacher is", "20: how it ranks what is wrong"),
        short="T",
        log=True,
        step=0.5,
        gt=0,
        le=1000,
    )


def smoothing_setting(default: float) -> Any:
    """Declare how much of each true label is spread over all classes."""
    return setting(
        default,
        "Smoothing ε",
        "How much of each label is spread over all classes.",
        "method",
        ends=("0: the plain label", "1: no label at all"),
        short="ε",
        step=0.05,
        ge=0,
        lt=1,
    )


def weight_setting(
    default: float,
    title: str,
    description: str,
    short: str | None = None,
    older: Any = ALWAYS_THERE,
) -> Any:
    """Declare the weight of a part of a loss; ``older`` as for :func:`setting`."""
    return setting(
        default,
        title,
        description,
        "method",
        ends=("0: left out", "larger: counts more"),
        short=short,
        log=default > 1,
        older=older,
        ge=0,
        le=1_000_000,
    )
