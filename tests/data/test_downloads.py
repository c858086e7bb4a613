"""Downloads: fetched once, checked, and refused in words that name the way out."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from kdcore.data import downloads
from kdcore.data.datasets import load_cifar10, load_fashion_mnist, load_mnist
from kdcore.data.downloads import DOWNLOADS, Download
from kdcore.errors import DatasetError

RANDOM = np.random.default_rng(0)


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def served(tmp_path: Path, asked: list[str]) -> Iterator[tuple[Path, str]]:
    """A folder, and the address that it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_given: object) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KD_DATA_DIR", raising=False)
    return tmp_path / "keras" / "datasets"


def offer(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str, files: dict[str, bytes], folder: Path
) -> None:
    """Serve files in place of those of a dataset."""
    for file, data in files.items():
        (folder / file).write_bytes(data)
    known = {
        address + file: f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
        for file, data in files.items()
    }
    made = Download(known, DOWNLOADS[name].read, DOWNLOADS[name].folder)
    monkeypatch.setitem(downloads.DOWNLOADS, name, made)


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


MNIST = {
    "x_train": RANDOM.integers(0, 256, (20, 28, 28), np.uint8),
    "y_train": np.arange(20, dtype=np.uint8) % 10,
    "x_test": RANDOM.integers(0, 256, (10, 28, 28), np.uint8),
    "y_test": np.arange(10, dtype=np.uint8),
}


def test_a_dataset_is_fetched_once(
    served: tuple[Path, str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    offer(monkeypatch, "mnist", address, {"mnist.npz": npz(**MNIST)}, folder)
    for _ in range(2):
        raw = load_mnist()
        np.testing.assert_array_equal(raw.inputs[..., 0], MNIST["x_train"])
        np.testing.assert_array_equal(raw.test_labels, MNIST["y_test"])
    assert asked == ["/mnist.npz"]


def test_what_is_not_what_it_should_be_is_refused_and_not_kept(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, empty_home: Path
) -> None:
    folder, address = served
    offer(monkeypatch, "mnist", address, {"mnist.npz": npz(**MNIST)}, folder)
    (folder / "mnist.npz").write_bytes(b"something else")
    with pytest.raises(DatasetError, match=r"mnist cannot be downloaded.*KD_DATA_DIR"):
        load_mnist()
    assert [path for path in empty_home.rglob("*") if path.is_file()] == []


def test_without_a_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Download({"http://127.0.0.1:9/mnist.npz": "md5:0"}, DOWNLOADS["mnist"].read)
    monkeypatch.setitem(downloads.DOWNLOADS, "mnist", made)
    with pytest.raises(DatasetError, match=r"Without a network, put mnist\.npz"):
        load_mnist()


def test_a_file_of_ones_own_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnist.npz").write_bytes(npz(**MNIST))
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path))
    assert len(load_mnist().inputs) == 20


def test_fashion_mnist_is_read_from_its_four_files(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served

    def packed(array: np.ndarray, header: int) -> bytes:
        return gzip.compress(bytes(header) + array.tobytes())

    files = {
        "train-labels-idx1-ubyte.gz": packed(MNIST["y_train"], 8),
        "train-images-idx3-ubyte.gz": packed(MNIST["x_train"], 16),
        "t10k-labels-idx1-ubyte.gz": packed(MNIST["y_test"], 8),
        "t10k-images-idx3-ubyte.gz": packed(MNIST["x_test"], 16),
    }
    offer(monkeypatch, "fashion_mnist", address, files, folder)
    raw = load_fashion_mnist()
    np.testing.assert_array_equal(raw.inputs[..., 0], MNIST["x_train"])
    np.testing.assert_array_equal(raw.labels, MNIST["y_train"])
    np.testing.assert_array_equal(raw.test_labels, MNIST["y_test"])


def test_cifar_10_is_read_from_its_binary_version(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    images = RANDOM.integers(0, 256, (12, 32, 32, 3), np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 10
    archive = io.BytesIO()
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    with tarfile.open(fileobj=archive, mode="w:gz") as files:
        for place, name in enumerate(names):
            rows = slice(2 * place, 2 * place + 2)
            pixels = images[rows].transpose(0, 3, 1, 2).reshape(2, -1)
            data = np.concatenate([labels[rows, None], pixels], axis=1).tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(data)
            files.addfile(member, io.BytesIO(data))
    offer(monkeypatch, "cifar10", address, {"cifar-10-binary.tar.gz": archive.getvalue()}, folder)
    raw = load_cifar10()
    np.testing.assert_array_equal(raw.inputs, images[:10])
    np.testing.assert_array_equal(raw.labels, labels[:10])
    np.testing.assert_array_equal(raw.test_inputs, images[10:])


def test_every_download_has_a_checksum() -> None:
    for download in DOWNLOADS.values():
        assert all(checksum.startswith(("md5:", "sha256:")) for checksum in download.files.values())
        assert all(url.startswith("https://") for url in download.files)
