"""The methods that are known, by name."""

from __future__ import annotations

from kdcore.methods.base import Method
from kdcore.registry import Registry

METHODS: Registry[Method] = Registry("method", r"[a-z][a-z0-9_]{0,39}")
register, find = METHODS.register, METHODS.find
