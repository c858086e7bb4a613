"""Experiments to begin with, by name."""

from __future__ import annotations

from kdcore.config.experiment import ExperimentConfig
from kdcore.registry import Late

PRESETS: Late[ExperimentConfig] = Late(
    {
        "Few labels (digits)": lambda: ExperimentConfig(),
        "Few labels (text)": lambda: ExperimentConfig(
            dataset="languages",
            labels=150,
            teacher="transformer-2-64",
            teacher_epochs=5,
            teacher_batch_size=64,
            student="transformer-1-32",
            temperature=4,
            epochs=3,
            batch_size=64,
        ),
        "DistilBERT, small": lambda: ExperimentConfig(
            plan="distilbert",
            dataset="languages",
            training_examples=3000,
            labels=150,
            teacher="transformer-4-64",
            teacher_epochs=4,
            teacher_batch_size=64,
            teacher_learning_rate=2e-3,
            student="transformer-2-64",
            pretraining_epochs=5,
            temperature=4,
            epochs=3,
            batch_size=64,
            seeds=3,
        ),
        "A student that beats its teacher": lambda: ExperimentConfig(
            plan="noisy-student",
            labels=50,
            teacher="conv-16-32",
            student="conv-16-32",
            augmentation="shifts",
            pseudo_labels="hard",
        ),
        "A convnet teaches a transformer": lambda: ExperimentConfig(
            method="distillation_token",
            teacher_says="distribution",
            student="deit-2-32",
            epochs=30,
        ),
        "A convnet teaches a transformer (CIFAR-10)": lambda: ExperimentConfig(
            dataset="cifar10",
            training_examples=10_000,
            labels=1000,
            teacher="conv-64-128",
            teacher_epochs=10,
            teacher_batch_size=64,
            teacher_learning_rate=1e-3,
            method="distillation_token",
            teacher_says="distribution",
            student="deit-4-64",
            epochs=15,
            batch_size=64,
            learning_rate=1e-3,
        ),
        "A patient teacher": lambda: ExperimentConfig(
            alpha=0,
            temperature=1,
            augmentation="shifts",
            mixing="mixup",
            epochs=100,
            optimizer="adamw",
            learning_rate_schedule="cosine",
            learning_rate_warm_up=5,
            weight_decay=0.01,
            clip_norm=1,
        ),
        "The Keras example (MNIST)": lambda: ExperimentConfig(
            dataset="mnist",
            labels=None,
            teacher="conv-256-512",
            teacher_epochs=5,
            student="conv-16-32",
            epochs=3,
            alpha=0.1,
            temperature=10,
            batch_size=64,
            learning_rate=1e-3,
            teacher_batch_size=64,
            teacher_learning_rate=1e-3,
        ),
    }
)
