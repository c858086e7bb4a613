"""Experiments to begin with, by name, and what each of them shows."""

from __future__ import annotations

from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import require
from kdcore.registry import Late

PRESETS: Late[ExperimentConfig] = Late(
    {
        "Few labels (digits)": lambda: ExperimentConfig(),
        "Few labels (text)": lambda: ExperimentConfig(
            dataset="languages",
            training_examples=5000,
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
            teacher="transformer-2-48",
            teacher_epochs=4,
            teacher_batch_size=64,
            teacher_learning_rate=2e-3,
            student="transformer-1-48",
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
        "Patient and consistent": lambda: ExperimentConfig(
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

# What was measured with each, over seeds that are paired: docs/ has the tables.
PRESET_SAYS = {
    "Few labels (digits)": "A convolutional network teaches one 42 times smaller with 100 labels: "
    "+9.4 points on test data over five seeds (95 % CI 6.9 to 12.0). Half a minute.",
    "Few labels (text)": "In which of 15 languages is a phrase? With 150 labels a transformer of one "
    "layer gains 16.8 points from one of two over three seeds (12.6 to 20.9).",
    "DistilBERT, small": "Pre-training by masked words, a student from its teacher's layers, then 150 "
    "labels. At this length pre-training alone does not help the labels: what it gives shows in how "
    "well masked characters are guessed.",
    "A student that beats its teacher": "Noisy Student: three generations teach each other with 50 "
    "labels; the last one has 2.5 points more than the first over five seeds (1.5 to 3.6).",
    "A convnet teaches a transformer": "DeiT on digits with 100 labels: a small vision transformer "
    "gains 22.3 points from a convolutional network over five seeds (15.4 to 29.3).",
    "A convnet teaches a transformer (CIFAR-10)": "The same with 1,000 labels of 10,000 images, which "
    "are fetched once: +13.6 points over three seeds (10.6 to 16.6). Some 20 minutes for three.",
    "Patient and consistent": "A long training on the teacher alone: both see the same shifted and "
    "mixed view of each image, and no label counts (Beyer et al. 2022).",
    "The Keras example (MNIST)": "The networks and settings of Keras' own example, on MNIST, which is "
    "fetched once. With all labels a student has little left to gain.",
}


def preset(name: str) -> ExperimentConfig:
    """Return a preset by its name; raises ConfigError for an unknown one."""
    require(name in PRESETS, "preset", f"one of {', '.join(PRESETS)}", name)
    return PRESETS[name]
