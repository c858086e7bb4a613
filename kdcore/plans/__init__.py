"""Who teaches whom: one file a kind of plan, and one line in the list below.

A plan of your own: subclass :class:`PlanKind`, call :func:`register`, and name the module in
``KD_PLUGINS``.
"""

from typing import Any

from kdcore.plans.assistant import Assistant
from kdcore.plans.base import PlanKind, learner_settings, teacher_step
from kdcore.plans.born_again import BornAgain
from kdcore.plans.distil import Distil
from kdcore.plans.distilbert import DistilBert
from kdcore.plans.noisy_student import NoisyStudent
from kdcore.plans.registry import PLANS, find, register
from kdcore.plans.several_teachers import SeveralTeachers
from kdcore.plans.steps import OF_DATA, OF_LEARNER, OF_TEACHER, Plan, Selection, Step

register(Distil)
register(Assistant)
register(BornAgain)
register(SeveralTeachers)
register(NoisyStudent)
register(DistilBert)


def plan_of(config: Any) -> Plan:
    """Return the plan of an :class:`~kdcore.config.experiment.ExperimentConfig`."""
    return Plan(config.plan.steps(config))


__all__ = [
    "OF_DATA",
    "OF_LEARNER",
    "OF_TEACHER",
    "PLANS",
    "Plan",
    "PlanKind",
    "Selection",
    "Step",
    "find",
    "learner_settings",
    "plan_of",
    "register",
    "teacher_step",
]
