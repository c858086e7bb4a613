"""A vision transformer in PyTorch, for comparison: the shape and sizes of one of KerasHub's."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


def epoch_of_pytorch(
    like: keras.Model,
    images: NDArray,
    labels: NDArray,
    batch_size: int,
    learning_rate: float,
    threads: int,
) -> Callable[[int], None]:
    """Return an epoch of eager PyTorch: its own encoder layers, cross-entropy and Adam.

    ``like`` is the network of ``vit-...`` whose sizes it gets. Raises ImportError without PyTorch,
    AssertionError where it has not as many weights as ``like``.
    """
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(threads or os.cpu_count())
    torch.manual_seed(0)
    model = _vit(torch, like)
    of_keras = sum(np.prod(each.shape) for each in like.trainable_variables)
    assert sum(each.numel() for each in model.parameters()) == of_keras
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    inputs = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    targets = torch.from_numpy(labels.astype(np.int64))

    def epoch(number: int) -> None:
        full = len(inputs) // batch_size * batch_size
        order = torch.from_numpy(np.random.default_rng(number).permutation(len(inputs))[:full])
        for rows in order.reshape(-1, batch_size):
            optimizer.zero_grad()
            answers = model(inputs[rows].float() / 255)
            torch.nn.functional.cross_entropy(answers, targets[rows]).backward()
            optimizer.step()

    return epoch


def _vit(torch: Any, like: keras.Model) -> Any:
    backbone = like.get_layer("vit_backbone")
    width, patch, classes = backbone.hidden_dim, backbone.patch_size[0], like.output_shape[-1]
    height, across, channels = backbone.image_shape
    patches = (height // patch) * (across // patch)
    nn = torch.nn

    class Vit(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(channels, width, patch, patch)
            self.token = nn.Parameter(torch.zeros(1, 1, width))
            self.positions = nn.Parameter(torch.randn(1, patches + 1, width) * 0.02)
            layer = nn.TransformerEncoderLayer(
                width,
                backbone.num_heads,
                backbone.mlp_dim,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            self.layers = nn.TransformerEncoder(
                layer, backbone.num_layers, nn.LayerNorm(width), enable_nested_tensor=False
            )
            self.head = nn.Linear(width, classes)

        def forward(self, images: Any) -> Any:
            x = self.patches(images).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
            return self.head(self.layers(x)[:, 0])

    return Vit()
