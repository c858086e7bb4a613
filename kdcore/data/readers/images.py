"""Images in a zip or a folder, decoded one by one."""

from __future__ import annotations

import io
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from kdcore.data.readers.common import (
    FORMATS,
    IMAGES_A_BATCH,
    MOST_BYTES,
    MOST_BYTES_OF_AN_IMAGE,
    MOST_CLASSES,
    MOST_COMPRESSION,
    MOST_EXAMPLES,
    MOST_PIXELS,
    PART_OF_FOLDER,
    SUFFIXES,
    Batch,
)
from kdcore.errors import Words, require
from kdcore.words import first_line, in_bytes


class Folder:
    """The files of a folder. Links that lead out of it are refused."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.root = path.resolve()

    def names(self) -> list[str]:
        """Return the paths of all files below; raises ConfigError."""
        found = []
        for folder, _, files in os.walk(self.root):
            for file in files:
                name = (Path(folder) / file).relative_to(self.root).as_posix()
                inside = (Path(folder) / file).resolve().is_relative_to(self.root)
                require(
                    inside, "file", "inside the folder; links that lead out are not followed", name
                )
                found.append(name)
        return found

    def read(self, name: str) -> bytes:
        """Return a file's bytes; raises OSError where it is too large or cannot be read."""
        path = self.root / name
        if path.stat().st_size > MOST_BYTES_OF_AN_IMAGE:
            raise OSError(f"larger than {in_bytes(MOST_BYTES_OF_AN_IMAGE)}")
        return path.read_bytes()


class Zip:
    """The members of a zip, read one by one and never unpacked to disk."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            require(False, "file", f"a readable .zip ({error})", path.name)

    def names(self) -> list[str]:
        """Return the paths of all members; raises ConfigError where one of them breaks a rule."""
        total = 0
        for info in self.archive.infolist():
            name = info.filename
            leads_out = (
                name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name[:2]
            )
            require(not leads_out, "path in the zip", "inside it (no .., no absolute path)", name)
            require(not info.flag_bits & 1, "file in the zip", "not encrypted", name)
            require(
                info.file_size <= MOST_BYTES_OF_AN_IMAGE,
                "file in the zip",
                f"at most {in_bytes(MOST_BYTES_OF_AN_IMAGE)} unpacked",
                Words(f"{name} of {in_bytes(info.file_size)}"),
            )
            bomb = info.file_size > 2**20 and info.file_size > MOST_COMPRESSION * max(
                1, info.compress_size
            )
            require(
                not bomb,
                "file in the zip",
                f"compressed less than {MOST_COMPRESSION:,}-fold, as images are",
                name,
            )
            total += info.file_size
        require(
            total <= MOST_BYTES,
            "file",
            f"at most {in_bytes(MOST_BYTES)} unpacked",
            Words(in_bytes(total)),
        )
        return [info.filename for info in self.archive.infolist() if not info.is_dir()]

    def read(self, name: str) -> bytes:
        """Return a member's bytes; raises BadZipFile where its checksum does not match."""
        return self.archive.read(name)


class ImageFiles:
    """Images in folders named by their class, with train/ and test/ above them or not."""

    kind: Literal["images", "table"] = "images"
    feature_names: tuple[str, ...] = ()

    def __init__(self, files: Folder | Zip) -> None:
        self.files = files
        self.notes: list[str] = []
        names = sorted(name for name in files.names() if not _is_clutter(name))
        images = [name for name in names if name.lower().endswith(SUFFIXES)]
        self.ignored = [name for name in names if not name.lower().endswith(SUFFIXES)]
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        require(
            bool(images),
            "images",
            f"files ending in {kinds}, in one folder a class",
            Words(f"{len(names)} other files"),
        )
        require(
            len(images) <= MOST_EXAMPLES,
            "images",
            f"at most {MOST_EXAMPLES:,}",
            Words(f"{len(images):,}"),
        )
        paths = [PurePosixPath(name).parts for name in images]
        top = (
            os.path.commonpath([str(PurePosixPath(*path[:-1])) for path in paths]) if paths else ""
        )
        depth = len(PurePosixPath(top).parts)
        if depth and all(
            len(path) == depth + 1 for path in paths
        ):  # all in one folder: that is the class
            depth -= 1
        divided = {path[depth].lower() for path in paths} <= set(PART_OF_FOLDER)
        below = depth + 1 if divided else depth
        loose = [name for name, path in zip(images, paths, strict=True) if len(path) < below + 2]
        require(
            not loose,
            "image",
            "in the folder of its class, such as cat/1.png or train/cat/1.png",
            loose[0] if loose else None,
        )
        entries = [
            (PART_OF_FOLDER[path[depth].lower()] if divided else "all", path[below], name)
            for name, path in zip(images, paths, strict=True)
        ]
        found = {part for part, _, _ in entries}
        rename = {}
        if divided:
            require(
                "train" in found,
                "folders",
                "train and test, or one a class",
                Words(", ".join(sorted(found))),
            )
            if "validation" in found and "test" in found:
                rename = {"validation": "train"}
                self.notes.append(
                    "The validation folder joins the training part: KD Lab draws its own validation part."
                )
            elif "validation" in found:
                rename = {"validation": "test"}
                self.notes.append(
                    "There is no test folder: the validation folder is used as test data."
                )
            elif "test" not in found:
                rename = {"train": "all"}
                self.notes.append("There is only a train folder: a test part is drawn from it.")
        self.class_names = tuple(sorted({label for _, label, _ in entries}))
        require(
            len(self.class_names) <= MOST_CLASSES,
            "classes",
            f"at most {MOST_CLASSES:,}",
            len(self.class_names),
        )
        numbers = {label: number for number, label in enumerate(self.class_names)}
        self._entries: dict[str, list[tuple[str, int]]] = {}
        for part, label, name in entries:
            self._entries.setdefault(rename.get(part, part), []).append((name, numbers[label]))
        if "test" in self._entries:
            trained = {label for _, label in self._entries["train"]}
            strange = [
                self.class_names[label]
                for _, label in self._entries["test"]
                if label not in trained
            ]
            require(
                not strange,
                "test classes",
                "among the classes of the training part",
                strange[0] if strange else None,
            )
        order = ("train", "test", "all")
        self.parts: dict[str, int] = {
            part: len(self._entries[part]) for part in order if part in self._entries
        }

    def batches(self, part: str) -> Iterator[Batch]:
        """Decode a part from its beginning."""
        entries = self._entries[part]
        for start in range(0, len(entries), IMAGES_A_BATCH):
            inputs, labels, names, corrupt = [], [], [], []
            for name, label in entries[start : start + IMAGES_A_BATCH]:
                try:
                    inputs.append(decode(self.files.read(name)))
                except (
                    Exception
                ) as error:  # decoders raise anything; whatever it is, this file is not readable
                    corrupt.append(f"{name} ({first_line(error)})")
                else:
                    labels.append(label)
                    names.append(name)
            yield Batch(inputs, np.asarray(labels, np.int64), names, corrupt)


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels [height, width, 1 or 3] of an image file, turned as its camera said.

    Raises OSError or ValueError for what is no image of a known format, or has too many pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of doubtful metadata; what cannot be decoded raises
        try:
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"not an image of a known format: {', '.join(FORMATS)}") from None
        with opened as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels are too many")
            if image.mode.startswith("I;16"):
                return (np.asarray(image) >> 8).astype(np.uint8)[..., np.newaxis]
            turned = ImageOps.exif_transpose(image)
            if turned.mode in ("1", "L", "LA", "I", "F"):
                return np.asarray(turned.convert("L"))[..., np.newaxis]
            return np.asarray(turned.convert("RGB"))


def _is_clutter(name: str) -> bool:
    """Files that systems leave behind."""
    return any(
        part.startswith(("._", ".")) or part in ("__MACOSX", "Thumbs.db")
        for part in name.split("/")
    )
