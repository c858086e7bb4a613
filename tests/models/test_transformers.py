"""Vision transformers: what they answer, what they cost, and which token learns from whom."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kdcore import Distiller, ExperimentConfig, models
from kdcore.config.catalog import parse_model_name
from kdcore.config.families import patch_fits, patch_of
from kdcore.errors import ConfigError
from kdcore.methods.distillation_token import DistillationToken
from kdcore.models.families import multiply_accumulates
from kdcore.models.transformers import heads_of
from kdcore.training.evaluation import model_from_bytes, model_to_bytes
from kdcore.training.method_loss import method_losses

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE, CLASSES = (8, 8, 1), 10
IMAGES = np.random.default_rng(0).normal(size=(12, *SHAPE)).astype(np.float32)
LABELS = np.arange(12, dtype=np.int32) % CLASSES


def heads(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    both = keras.Model(
        model.inputs[0],
        [model.get_layer(name).output for name in ("class_head", "distillation_head")],
    )
    return tuple(np.asarray(each) for each in both(IMAGES))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_it_answers_with_the_mean_of_both_heads_probabilities_also_from_its_file() -> None:
    model = models.build("deit-2-32", SHAPE, CLASSES, seed=3)
    of_class, of_teacher = heads(model)
    assert not np.allclose(of_class, of_teacher)
    mean = (softmax(of_class) + softmax(of_teacher)) / 2
    for each in (model, model_from_bytes(model_to_bytes(model))):
        np.testing.assert_allclose(np.exp(each(IMAGES)), mean, atol=1e-6)


@pytest.mark.parametrize("extra", [1, 2])
@pytest.mark.parametrize("named", [None, 4, 5])
@pytest.mark.parametrize(("shape", "depth", "width"), [((8, 8, 1), 2, 32), ((30, 28, 3), 1, 48)])
def test_multiply_accumulates_are_those_counted_by_hand(
    extra: int, named: int | None, shape: tuple[int, ...], depth: int, width: int
) -> None:
    name = f"{('vit', 'deit')[extra - 1]}-{depth}-{width}" + (f"-p{named}" if named else "")
    model = models.build(name, shape, CLASSES)
    patch = named or patch_of(shape)
    patches = math.prod(-(-side // patch) for side in shape[:2])
    tokens = patches + extra
    embedding = patches * patch**2 * shape[2] * width
    projections = 4 * tokens * width**2
    attention = 2 * tokens**2 * width
    mlp = 2 * tokens * width * 2 * width
    expected = embedding + depth * (projections + attention + mlp) + extra * width * CLASSES
    assert multiply_accumulates(model) == expected


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("vit-2-32", (8, 8, 1), "16 patches of 2 × 2 pixels"),
        ("deit-2-32-p4", (30, 28, 3), "56 patches of 4 × 4 pixels"),
        ("vit-2-32", (16, 512, 1), "512 patches of 4 × 4 pixels"),  # of 2 × 2 there were 2,048
        ("conv-4-8", (8, 8, 1), ""),
    ],
)
def test_the_patches_that_the_images_size_decides_are_said(
    name: str, shape: tuple[int, ...], words: str
) -> None:
    family, numbers = parse_model_name(name)
    assert family.said_of_shape(numbers, shape) == words


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_each_token_learns_from_its_own_teacher(weight: float) -> None:
    def trained(answers_seed: int) -> tuple[np.ndarray, np.ndarray]:
        answers = np.random.default_rng(answers_seed).normal(size=(12, CLASSES), scale=4)
        student = models.build("deit-1-16", SHAPE, CLASSES, seed=1)
        method = DistillationToken(teacher_weight=weight, smoothing=0.0)
        distiller = Distiller(student=student)
        losses = method_losses(method, None, student)
        distiller.compile(optimizer=keras.optimizers.SGD(0.1), alpha=0.0, distillation_loss=losses)
        targets = {"labels": LABELS, "teacher_logits": answers.astype(np.float32)}
        start = [layer.get_weights()[0] for layer in _head_layers(student)]
        distiller.fit(IMAGES, targets, epochs=1, batch_size=12, verbose=0)
        ends = [layer.get_weights()[0] for layer in _head_layers(student)]
        return tuple(end - begin for begin, end in zip(start, ends, strict=True))

    (class_head, token_head), (class_again, token_again) = trained(5), trained(6)
    if weight == 0:
        assert np.any(class_head)
        np.testing.assert_array_equal(class_head, class_again)
        assert not np.any(token_head), "the labels do not reach the distillation token's head"
    else:
        assert not np.any(class_head), "the teacher does not reach the class token's head"
        assert not np.array_equal(token_head, token_again)


def _head_layers(model: keras.Model) -> list[keras.Layer]:
    return [model.get_layer(name) for name in ("class_head", "distillation_head")]


def test_its_loss_is_that_of_the_pure_function() -> None:
    from kdcore.losses import distillation_token_loss

    student = models.build("deit-1-16", SHAPE, CLASSES, seed=1)
    answers = np.random.default_rng(5).normal(size=(12, CLASSES)).astype(np.float32)
    for says, temperature in (("top class", None), ("distribution", 3.0)):
        losses = method_losses(DistillationToken(teacher_says=says), None, student)
        of_class, of_teacher = heads(student)
        parts = [
            loss.compute_loss(answers, tf.constant(head), labels=tf.constant(LABELS))
            for loss, head in zip(losses, (of_class, of_teacher), strict=True)
        ]
        whole = distillation_token_loss(
            of_class, of_teacher, answers, LABELS, 0.5, 0.1, temperature
        )
        assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-5)


def test_patches_and_heads_follow_size_and_width() -> None:
    assert [patch_of((side, side, 1)) for side in (8, 28, 32, 64, 224)] == [2, 4, 4, 8, 16]
    assert [heads_of(width) for width in (16, 32, 48, 64, 192)] == [1, 1, 2, 2, 6]
    for width in range(16, 2049, 16):
        assert 16 <= width // heads_of(width) <= 64 or width == 16


@pytest.mark.parametrize(
    ("dataset", "patch", "rule"),
    [
        ("digits", 9, "a transformer with patches of 1 to 8 pixels"),
        ("mnist", 29, "a transformer with patches of 1 to 28 pixels"),
    ],
)
def test_patches_larger_than_the_image_are_refused_before_anything_is_trained(
    dataset: str, patch: int, rule: str
) -> None:
    ExperimentConfig(dataset=dataset, student=f"deit-2-32-p{patch - 1}")
    with pytest.raises(ConfigError, match=f"student must be {rule}, got 'deit-2-32-p{patch}'"):
        ExperimentConfig(dataset=dataset, student=f"deit-2-32-p{patch}")


def test_patches_too_many_to_compare_are_refused() -> None:
    assert patch_fits((2, 32, 7), (224, 224, 3)) is None
    assert patch_fits((2, 32, 6), (224, 224, 3)) == "a transformer with patches of 7 to 224 pixels"
    assert patch_fits((2, 32), (224, 224, 3)) is None


@pytest.mark.parametrize(
    "name", ["vit-4-60", "deit-0-64", "vit-99-64", "vit-2-32-p0", "vit-2-32-4"]
)
def test_names_that_are_no_transformers_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="model must be"):
        parse_model_name(name)
