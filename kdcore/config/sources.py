"""Who holds users' own data and models: every open store is a :class:`Source` of them.

What a user adds has a key, ``name@digest``, that names its content; the bare name stands for the
version that was added last.
"""

from __future__ import annotations

import weakref
from typing import Protocol

from kdcore.config.cards import DatasetCard, ModelCard


class Source(Protocol):
    """Something that holds users' own data and models: a store."""

    def user_model(self, name: str) -> ModelCard | None:
        """Return the card of a key, removed or not, or of the latest version of a bare name.

        None if there is none.
        """
        ...

    def user_models(self) -> dict[str, ModelCard]:
        """Return the cards of the latest versions by key, without those removed."""
        ...

    def user_dataset(self, name: str) -> DatasetCard | None:
        """Return the card of a key, removed or not, or of the latest version of a bare name.

        None if there is none.
        """
        ...

    def user_datasets(self) -> dict[str, DatasetCard]:
        """Return the cards of the latest versions by key, without those removed."""
        ...


# What a user may call a dataset or a model, and what names one version of it.
USER_NAME = r"[a-z0-9][a-z0-9_.-]{0,39}"
USER_KEY = rf"({USER_NAME})(?:@[0-9a-f]{{10}})?"
_sources: list[weakref.ref[Source]] = []


def add_source(source: Source) -> None:
    """Make users' own data and models in ``source`` known by name, for as long as it lives.

    The latest source comes first.
    """
    remove_source(source)
    _sources.insert(0, weakref.ref(source))


def remove_source(source: Source) -> None:
    """Forget a source."""
    _sources[:] = [known for known in _sources if known() not in (source, None)]


def sources() -> list[Source]:
    """Return the live sources, the latest first."""
    return [source for known in list(_sources) if (source := known()) is not None]
