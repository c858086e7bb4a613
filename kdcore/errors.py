"""Every error that KD Lab raises on purpose: one tree, messages written for the person who reads
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class KDLabError(Exception):
    """Root of the tree: ``except KDLabError`` catches all that KD Lab reports in words."""


class Words(str):
    """A received value told in words, such as "3 files": shown without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def with_mend(received: str, mend: str | None) -> str:
    """Return a received value followed by what to do instead, where that is known."""
    return Words(f"{received!r}: {mend}") if mend else received


@dataclass(frozen=True)
class Problem:
    """One refused setting: the field, the rule it breaks, and the value received."""

    field: str
    rule: str
    received: Any

    def __str__(self) -> str:
        whole = isinstance(self.received, float) and self.received.is_integer()
        received = repr(int(self.received) if whole else self.received)
        if len(received) > 80:
            received = received[:77] + "..."
        return f"{self.field} must be {self.rule}, got {received}"

    @property
    def on_a_page(self) -> str:
        """The same for a person who reads labels, not names of settings: no underscores, and
        "nothing" for an empty field.
        """
        field = self.field.replace("_", " ")
        if self.received is None:
            return f"{field} must be {self.rule}, got nothing"
        return str(Problem(field, self.rule, self.received))


class ConfigError(KDLabError):
    """One or more settings break their rule.

    ``problems`` names each, in the one form of ``Problem``.
    """

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(map(str, problems)))


class DatasetError(KDLabError):
    """A dataset cannot be found, read or used; the message names the way out."""


class ModelError(KDLabError):
    """A model cannot be built or does not fit the data."""


class TrainingError(KDLabError):
    """Training cannot go on, for example because the loss is not finite."""


class StoreError(KDLabError):
    """The store cannot be opened or does not hold what was asked for."""


class StoreUnreachable(StoreError):
    """The store's database does not answer, or no longer, or cannot be written.

    It is worth trying again.
    """


class TransitionError(StoreError):
    """A job cannot go from its present status to the one asked for."""


class StopRequested(KDLabError):
    """Raised inside a job when its user pressed Stop."""


class ClaimLost(KDLabError):
    """Raised inside a job that another process has meanwhile declared dead or taken over."""


def require(ok: bool, field: str, rule: str, received: Any) -> None:
    """Raise the one-form :class:`ConfigError` unless ``ok``."""
    if not ok:
        raise ConfigError(Problem(field, rule, received))
