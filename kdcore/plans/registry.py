"""The plans that are known, by name."""

from __future__ import annotations

from kdcore.plans.base import PlanKind
from kdcore.registry import Registry

PLANS: Registry[PlanKind] = Registry("plan", r"[a-z][a-z0-9-]{0,39}")
register, find = PLANS.register, PLANS.find
