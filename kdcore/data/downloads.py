"""Public datasets from the network: fetched once, checked, kept where Keras keeps its own.

Nothing that is fetched is unpickled.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch
from numpy.typing import NDArray

from kdcore.data.reviews import ARCHIVE, read_reviews
from kdcore.errors import DatasetError

Arrays = tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]

KERAS_FILES = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
CIFAR_10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
REVIEWS = "https://ai.stanford.edu/~amaas/data/sentiment/"
SECONDS_TO_ANSWER = 30


@dataclass(frozen=True)
class Download:
    """A dataset on the network.

    Args:
        files: the address of each file, with the checksum that its authors publish.
        read: makes (training inputs, labels), (test inputs, labels) of the files' paths.
        folder: below Keras' folder of datasets.
        by_hand: what to put into KD_DATA_DIR where there is no network.
        instead: a dataset of the kind that needs none.
    """

    files: Mapping[str, str]
    read: Callable[[list[Path]], Arrays]
    folder: str = ""
    by_hand: str = ""
    instead: str = "digits, which are built in"


def fetch(name: str) -> Arrays:
    """Return a dataset of :data:`DOWNLOADS`: (training inputs, labels), (test inputs, labels).

    Raises DatasetError, with the way out, where it cannot be fetched or is not what it should be.
    """
    download = DOWNLOADS[name]
    try:
        paths = [
            _fetched(url, checksum, datasets_folder() / download.folder)
            for url, checksum in download.files.items()
        ]
        return download.read(paths)
    except (OSError, ValueError, KeyError, EOFError, zlib.error, tarfile.TarError) as error:
        arrays = f"{name}.npz (arrays x_train, y_train, x_test, y_test)"
        raise DatasetError(
            f"{name} cannot be downloaded: {error}. Without a network, put {download.by_hand or arrays} "
            "into a folder and start with KD_DATA_DIR set to that folder; "
            f"or choose {download.instead}."
        ) from error


def datasets_folder() -> Path:
    """Return where Keras keeps datasets, so that what is there already is not fetched again."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "datasets"


def _fetched(url: str, checksum: str, folder: Path) -> Path:
    """Return the path of a file, fetched where it is missing or another one.

    Raises ValueError for a wrong checksum, OSError without a network; nothing is left behind then.
    """
    downloader = pooch.HTTPDownloader(timeout=SECONDS_TO_ANSWER)
    name = url.rpartition("/")[2]
    return Path(pooch.retrieve(url, checksum, fname=name, path=folder, downloader=downloader))


def _of_npz(paths: list[Path]) -> Arrays:
    with np.load(paths[0], allow_pickle=False) as arrays:
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _of_idx(paths: list[Path]) -> Arrays:
    """Read labels and images of the training part, then of the test part (LeCun's IDX files)."""

    def labels(path: Path) -> NDArray:
        return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8)

    def images(path: Path) -> NDArray:
        pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
        return pixels.reshape(-1, 28, 28)

    return (images(paths[1]), labels(paths[0])), (images(paths[3]), labels(paths[2]))


def _of_cifar(paths: list[Path]) -> Arrays:
    """Read the binary version: a byte of label and 3,072 of pixels, colour by colour."""
    with tarfile.open(paths[0]) as archive:

        def part(name: str) -> NDArray:
            member = archive.extractfile(f"cifar-10-batches-bin/{name}.bin")
            assert member is not None, "the archive holds files"
            return np.frombuffer(member.read(), np.uint8).reshape(-1, 3073)

        train = np.concatenate([part(f"data_batch_{number}") for number in range(1, 6)])
        test = part("test_batch")

    def apart(rows: NDArray) -> tuple[NDArray, NDArray]:
        pixels = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(pixels), rows[:, 0]

    return apart(train), apart(test)


DOWNLOADS: dict[str, Download] = {
    "mnist": Download(
        {
            f"{KERAS_FILES}mnist.npz": "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
        },
        _of_npz,
    ),
    "fashion_mnist": Download(
        {
            f"{KERAS_FILES}train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            f"{KERAS_FILES}train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            f"{KERAS_FILES}t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
            f"{KERAS_FILES}t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
        },
        _of_idx,
        folder="fashion-mnist",
    ),
    "cifar10": Download({CIFAR_10: "md5:c32a1d4ab5d03f1284b67883e8d87530"}, _of_cifar),
    "imdb": Download(
        {
            f"{REVIEWS}{ARCHIVE}": "sha256:c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"
        },
        read_reviews,
        by_hand=ARCHIVE,
        instead="languages, which is built in",
    ),
}
