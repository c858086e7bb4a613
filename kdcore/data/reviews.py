"""Reads 50,000 film reviews, liked or not (Maas et al. 2011), from the archive of their authors.

Keras' own copy is left alone: it holds numbers of words, pickled.
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdcore.tasks.text import as_bytes, padded
from kdcore.tasks.vocabulary import Tokens

Part = tuple[NDArray[np.uint8], NDArray[np.int32]]
ARCHIVE = "aclImdb_v1.tar.gz"
CLASSES = {"neg": 0, "pos": 1}
# The median review has some 200 tokens; longer ones lose their end.
TOKENS = Tokens("bpe", 8000, 256)
REVIEW = re.compile(r"(?:\./)?aclImdb/(train|test)/(neg|pos)/(\d+)_\d+\.txt")
LINE_BREAK = re.compile(r"<br\s*/?>")


def read_reviews(paths: list[Path]) -> tuple[Part, Part]:
    """Read reviews as bytes [n, width] and their labels, in the order of their numbers; nothing is
    unpacked on disk.

    Raises ValueError where a part has none of a class.
    """
    found: dict[str, list[tuple[int, int, NDArray[np.uint8]]]] = {"train": [], "test": []}
    with tarfile.open(paths[0], "r|gz") as archive:
        for member in archive:
            named = REVIEW.fullmatch(member.name)
            file = archive.extractfile(member) if named is not None and member.isreg() else None
            if named is None or file is None:
                continue
            text = LINE_BREAK.sub(" ", file.read().decode("utf-8", "replace"))
            found[named[1]].append((CLASSES[named[2]], int(named[3]), as_bytes(text)))
    for part, reviews in found.items():
        if {label for label, _, _ in reviews} != set(CLASSES.values()):
            raise ValueError(f"the archive has no reviews in {part}/neg or {part}/pos")
        reviews.sort(key=lambda review: review[:2])
    train, test = (
        (
            padded([text for _, _, text in reviews]),
            np.array([label for label, _, _ in reviews], np.int32),
        )
        for reviews in found.values()
    )
    return train, test
