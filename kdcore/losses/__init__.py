"""The mathematics of distillation: pure functions with nothing to configure and no state.

All take Keras tensors (or arrays), channels last, and return the mean over the batch unless their
docstring says otherwise. No gradient flows to what comes from the teacher.
"""

from kdcore.losses.arguments import (
    as_class_numbers,
    check_alpha,
    check_loss_fits_labels,
    check_temperature,
)
from kdcore.losses.distillation import (
    distillation_loss,
    kd_loss,
    kd_loss_per_example,
    soften,
)
from kdcore.losses.features import (
    attention_map,
    attention_transfer_loss,
    hint_loss,
    relational_loss,
    similarity_preserving_loss,
    smaller_size,
    strength_difference,
    strength_of_places,
)
from kdcore.losses.language import (
    hidden_cosine_loss,
    masked_language_model_loss,
    token_kd_loss,
)
from kdcore.losses.logits import (
    decoupled_kd_loss,
    decoupled_kd_terms,
    dist_loss,
    dist_terms,
    distillation_token_loss,
    hard_label_loss,
    hard_label_loss_per_example,
    mean_of_decoupled,
    pearson_correlation,
    smoothed_cross_entropy,
    standardize_logits,
)
from kdcore.losses.self_training import noisy_student_loss, pseudo_label_loss
from kdcore.losses.teachers import confidence_weights, mean_teacher_logits

__all__ = [
    "as_class_numbers",
    "attention_map",
    "attention_transfer_loss",
    "check_alpha",
    "check_loss_fits_labels",
    "check_temperature",
    "confidence_weights",
    "decoupled_kd_loss",
    "decoupled_kd_terms",
    "dist_loss",
    "dist_terms",
    "distillation_loss",
    "distillation_token_loss",
    "hard_label_loss",
    "hard_label_loss_per_example",
    "hidden_cosine_loss",
    "hint_loss",
    "kd_loss",
    "kd_loss_per_example",
    "masked_language_model_loss",
    "mean_of_decoupled",
    "mean_teacher_logits",
    "noisy_student_loss",
    "pearson_correlation",
    "pseudo_label_loss",
    "relational_loss",
    "similarity_preserving_loss",
    "smaller_size",
    "smoothed_cross_entropy",
    "soften",
    "standardize_logits",
    "strength_difference",
    "strength_of_places",
    "token_kd_loss",
]
