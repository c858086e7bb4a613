"""Distillation methods: one file each, and one line in the list below.

A method of your own: subclass :class:`Method`, call :func:`register`, and name the module in
``KD_PLUGINS``.
"""

from kdcore.methods.attention import Attention
from kdcore.methods.base import Batch, Curve, Method, Needs, Term
from kdcore.methods.decoupled import Decoupled
from kdcore.methods.dist import Dist
from kdcore.methods.distillation_token import DistillationToken
from kdcore.methods.hard_labels import HardLabels
from kdcore.methods.hints import Hints
from kdcore.methods.label_smoothing import LabelSmoothing
from kdcore.methods.logits import Logits
from kdcore.methods.pseudo_labels import PseudoLabels
from kdcore.methods.registry import METHODS, find, register
from kdcore.methods.similarity import Similarity
from kdcore.methods.standardized import Standardized

register(Logits)
register(HardLabels)
register(LabelSmoothing)
register(Decoupled)
register(Standardized)
register(Dist)
register(Hints)
register(Attention)
register(Similarity)
register(PseudoLabels)
register(DistillationToken)

__all__ = [
    "METHODS",
    "Batch",
    "Curve",
    "Method",
    "Needs",
    "Term",
    "find",
    "register",
]
