"""Film reviews from an archive as their authors pack it, and refusals that name the way out."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from kdcore.config.catalog import dataset_card
from kdcore.data import downloads
from kdcore.data.datasets import built_in_at_hand, load_imdb
from kdcore.data.downloads import DOWNLOADS, Download
from kdcore.data.reviews import ARCHIVE, TOKENS
from kdcore.errors import DatasetError
from kdcore.tasks.text import texts_of

FILES = {
    "aclImdb/train/urls_pos.txt": "http://somewhere",
    "aclImdb/train/pos/10_9.txt": "Later.",
    "aclImdb/train/pos/2_7.txt": "Fine!<br /><br />A <br> café.",
    "aclImdb/train/unsup/0_0.txt": "nobody knows",
    "aclImdb/train/neg/0_3.txt": "Dull.",
    "aclImdb/test/neg/5_1.txt": "x" * 5000,
    "aclImdb/test/pos/1_10.txt": "Great.",
    "aclImdb/test/pos/../../../2_10.txt": "outside",
}


def packed(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("aclImdb")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path))


def test_reviews_are_read_in_order_with_their_classes_and_nothing_else(tmp_path: Path) -> None:
    packed(tmp_path / ARCHIVE, FILES)
    raw = load_imdb()
    assert texts_of(raw.inputs) == ["Dull.", "Fine!  A   café.", "Later."]
    np.testing.assert_array_equal(raw.labels, [0, 1, 1])
    assert raw.test_inputs is not None
    assert texts_of(raw.test_inputs) == ["x" * 4000, "Great."]
    np.testing.assert_array_equal(raw.test_labels, [0, 1])
    assert raw.tokens == TOKENS
    assert "imdb" in built_in_at_hand()
    assert sorted(path.name for path in tmp_path.rglob("*")) == [ARCHIVE], "nothing is unpacked"


def test_its_card_says_what_is_loaded() -> None:
    card = dataset_card("imdb")
    assert card.input_shape == (TOKENS.length,)
    assert (card.kind, card.class_names) == ("text", ("disliked", "liked"))
    assert card.training_examples + card.validation_examples == card.test_examples == 25_000


def test_another_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(b"something else")
    with pytest.raises(DatasetError, match="is not the archive of film reviews"):
        load_imdb()
    whole = packed(tmp_path / ARCHIVE, FILES).read_bytes()
    (tmp_path / ARCHIVE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="is not the archive of film reviews"):
        load_imdb()
    packed(tmp_path / ARCHIVE, {"aclImdb/train/pos/1_9.txt": "alone"})
    with pytest.raises(DatasetError, match="no reviews in train/neg or train/pos"):
        load_imdb()


def test_without_a_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = DOWNLOADS["imdb"]
    away = Download(
        {f"http://127.0.0.1:9/{ARCHIVE}": "sha256:0"},
        known.read,
        by_hand=known.by_hand,
        instead=known.instead,
    )
    monkeypatch.setitem(downloads.DOWNLOADS, "imdb", away)
    wanted = rf"imdb cannot be downloaded: .*put {ARCHIVE} into a folder .*or choose languages"
    with pytest.raises(DatasetError, match=wanted):
        load_imdb()
