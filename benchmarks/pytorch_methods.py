"""The same students and losses in eager PyTorch, for comparison, with a teacher that is asked at
every step, as the papers' code does.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEMPERATURE, ALPHA = 4.0, 0.1


def steps_of_pytorch(
    images: NDArray,
    labels: NDArray,
    filters: dict[str, tuple[int, int]],
    batch_size: int,
    threads: int,
) -> dict[str, Callable[[], None]]:
    """Return, by the names of our methods, a function that trains a student of its own on all
    batches once.

    ``filters`` are those of the networks of "teacher" and "student". Raises ImportError without
    PyTorch.
    """
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(threads or os.cpu_count())
    inputs = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    targets = torch.from_numpy(labels.astype(np.int64))
    losses = _losses(torch)

    def epoch_of(name: str) -> Callable[[], None]:
        torch.manual_seed(0)
        teacher, student = (_conv(torch, *filters[role]) for role in ("teacher", "student"))
        widths = filters["student"][1], filters["teacher"][1]
        adapter = torch.nn.Conv2d(*widths, 1, bias=False) if name == "hints" else None
        trained = [*student.parameters(), *(adapter.parameters() if adapter else [])]
        optimizer, loss = torch.optim.Adam(trained, 1e-3), losses[name]

        def epoch() -> None:
            for start in range(0, len(inputs), batch_size):
                batch = inputs[start : start + batch_size].float() / 255
                true = targets[start : start + batch_size]
                with torch.no_grad():
                    taught = teacher(batch)
                optimizer.zero_grad()
                learnt = student(batch)
                hard = torch.nn.functional.cross_entropy(learnt[-1], true)
                if adapter is not None:
                    learnt = (learnt[0], adapter(learnt[1]), learnt[2])
                (ALPHA * hard + (1 - ALPHA) * loss(taught, learnt, true)).backward()
                optimizer.step()

        return epoch

    return {name: epoch_of(name) for name in losses}


def _conv(torch: Any, first: int, second: int) -> Any:
    """Return the convolutional network of our catalog for images of 28 × 28 in grey; it answers
    with its features at 14 × 14 and at 7 × 7, and its logits.
    """
    nn = torch.nn

    class Conv(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(1, first, 3, 2, 1)
            self.two = nn.Conv2d(first, second, 3, 2, 1)
            self.logits = nn.Linear(second * 49, 10)

        def forward(self, images: Any) -> tuple[Any, ...]:
            one = nn.functional.leaky_relu(self.one(images), 0.2)
            pooled = nn.functional.max_pool2d(nn.functional.pad(one, (0, 1, 0, 1)), 2, 1)
            two = self.two(pooled)
            return one, two, self.logits(two.flatten(1))

    return Conv()


def _losses(torch: Any) -> dict[str, Callable[[Any, Any, Any], Any]]:
    """Return the losses of (teacher's, student's, labels) by the names of our methods, each with
    the default weights of ours; answers are (features at 14 × 14, at 7 × 7, logits).
    """
    nn = torch.nn.functional

    def divergence(teacher: Any, student: Any) -> Any:
        one, other = teacher / TEMPERATURE, student / TEMPERATURE
        rows = nn.kl_div(nn.log_softmax(other, 1), nn.softmax(one, 1), reduction="none").sum(1)
        return rows.mean() * TEMPERATURE**2

    def standardized(logits: Any) -> Any:
        return (logits - logits.mean(1, keepdim=True)) / (1e-7 + logits.std(1, keepdim=True))

    def decoupled(teacher: Any, student: Any, labels: Any) -> Any:
        true = nn.one_hot(labels, student.shape[1]).bool()
        soft = [nn.softmax(each / TEMPERATURE, 1) for each in (teacher, student)]
        pairs = [
            torch.stack([(each * true).sum(1), (each * ~true).sum(1)], 1).clamp_min(1e-12)
            for each in soft
        ]
        target = nn.kl_div(pairs[1].log(), pairs[0], reduction="none").sum(1).mean()
        rest = [each / TEMPERATURE - 1000.0 * true for each in (teacher, student)]
        others = nn.kl_div(nn.log_softmax(rest[1], 1), nn.softmax(rest[0], 1), reduction="none")
        return (target + 8 * others.sum(1).mean()) * TEMPERATURE**2

    def correlation(teacher: Any, student: Any) -> Any:
        one, other = (nn.softmax(each, 1) for each in (teacher, student))

        def apart(a: Any, b: Any) -> Any:
            a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
            return 1 - nn.cosine_similarity(a, b, eps=1e-8).mean()

        return apart(one, other) + apart(one.t(), other.t())

    def attention(teacher: Any, student: Any) -> Any:
        maps = [nn.normalize(each.pow(2).mean(1).flatten(1)) for each in (teacher, student)]
        return (maps[0] - maps[1]).pow(2).mean()

    def similarity(teacher: Any, student: Any) -> Any:
        flat = [each.flatten(1) for each in (teacher, student)]
        grams = [nn.normalize(each @ each.t()) for each in flat]
        return (grams[0] - grams[1]).pow(2).sum() / len(flat[0]) ** 2

    def beside(extra: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
        return lambda t, s, y: divergence(t[-1], s[-1]) + extra(t, s)

    return {
        "logits": lambda t, s, y: divergence(t[-1], s[-1]),
        "hard_labels": lambda t, s, y: nn.cross_entropy(s[-1], t[-1].argmax(1)),
        "standardized": lambda t, s, y: divergence(standardized(t[-1]), standardized(s[-1])),
        "decoupled": lambda t, s, y: decoupled(t[-1], s[-1], y),
        "dist": lambda t, s, y: correlation(t[-1], s[-1]),
        "hints": beside(lambda t, s: 100 * nn.mse_loss(s[1], t[1])),
        "attention": beside(lambda t, s: 10 * sum(map(attention, t[:2], s[:2]))),
        "similarity": beside(lambda t, s: 100 * similarity(t[1], s[1])),
    }
