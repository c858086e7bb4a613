"""The plans that are known, by name."""

from __future__ import annotations

import re

from kdcore.errors import require
from kdcore.plans.base import PlanKind

PLANS: dict[str, type[PlanKind]] = {}


def register(plan: type[PlanKind]) -> type[PlanKind]:
    """Make a plan known to forms, command line, sweeps and workers; returns it.

    Raises ConfigError for a name that is taken by another one, or for one that is no name.
    """
    name = plan.name
    require(bool(re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name)), "plan name", "lower case", name)
    known = PLANS.get(name)
    same = known is None or (known.__module__, known.__qualname__) == (
        plan.__module__,
        plan.__qualname__,
    )
    require(same, "plan name", "one that is not taken", name)
    PLANS[name] = plan
    return plan


def find(name: object) -> type[PlanKind]:
    """Return the plan called ``name``; raises ConfigError with all names for an unknown one."""
    known = isinstance(name, str) and name in PLANS
    require(known, "plan", f"one of {', '.join(PLANS)}", name)
    return PLANS[str(name)]
