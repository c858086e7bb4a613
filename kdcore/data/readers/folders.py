"""Files in a zip or a folder, in folders named by their class, decoded one by one."""

from __future__ import annotations

import os
import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kdcore.data.readers.common import (
    FILE,
    IMAGES_A_BATCH,
    MOST_BYTES,
    MOST_BYTES_OF_AN_IMAGE,
    MOST_CLASSES,
    MOST_COMPRESSION,
    MOST_EXAMPLES,
    NO_LABEL,
    UNLABELLED,
    Batch,
)
from kdcore.data.readers.label_list import labels_beside
from kdcore.data.readers.layout import Layout, understand
from kdcore.errors import Words, require
from kdcore.tasks.columns import Column, Missing
from kdcore.tasks.report import DEFAULTS, DataOptions
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
        members = [info for info in self.archive.infolist() if not info.is_dir()]
        self._members = dict(zip(_readable(members), members, strict=True))
        return list(self._members)

    def read(self, name: str) -> bytes:
        """Return a member's bytes; raises BadZipFile where its checksum does not match."""
        return self.archive.read(self._members[name])


def _readable(members: list[zipfile.ZipInfo]) -> list[str]:
    """Return the members' paths with ``/`` between folders, in the encoding that they are in.

    Windows' own programs write backslashes, and names in the machine's encoding, without saying
    which: it is told from all names together.
    """
    unsaid = [info for info in members if not info.flag_bits & 0x800]
    raw = {id(info): info.filename.encode("cp437", "replace") for info in unsaid}
    encoding = _encoding(b"\n".join(raw.values()))
    names = [
        raw[id(info)].decode(encoding, "replace") if id(info) in raw else info.filename
        for info in members
    ]
    return [name.replace("\\", "/") for name in names]


def _encoding(names: bytes) -> str:
    """Return the encoding of names that do not say it: UTF-8, Chinese, or Windows' or DOS' Latin.

    Both Latin ones can read anything: the one in which more of the odd signs are letters is it.
    """
    for encoding in ("utf-8", "gb2312"):
        try:
            names.decode(encoding)
            return encoding
        except UnicodeDecodeError:
            continue

    def letters(encoding: str) -> int:
        text = names.decode(encoding, "replace")
        return sum(sign.isalpha() for sign in text if not sign.isascii())

    return max(("cp1252", "cp437"), key=letters)


class FilesInFolders(ABC):
    """Files in folders named by their class, with train/ and test/ above them or not.

    Attributes:
        kind: of data.
        noun: what one file is.
        suffixes: of the files' names.
    """

    kind: str
    noun: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    feature_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    missing: Missing = "refuse"

    def __init__(self, files: Folder | Zip, options: DataOptions = DEFAULTS) -> None:
        self.files = files
        self.notes: list[str] = []
        names = sorted(name for name in files.names() if not _is_clutter(name))
        wanted = [name for name in names if name.lower().endswith(self.suffixes)]
        self.ignored = [name for name in names if not name.lower().endswith(self.suffixes)]
        self._check_count(wanted, others=len(self.ignored))
        layout = self._layout(wanted, options)
        self.notes += layout.notes
        self.ignored += layout.left_out
        found = {place.part for place in layout.places.values()}
        called = self._parts_called(found) if found - {"all"} else {}
        self.class_names = tuple(sorted({place.label for place in layout.places.values()}))
        require(
            len(self.class_names) <= MOST_CLASSES,
            "classes",
            f"at most {MOST_CLASSES:,}",
            len(self.class_names),
        )
        numbers = {label: number for number, label in enumerate(self.class_names)}
        self._entries: dict[str, list[tuple[str, int]]] = {}
        for name, (part, label) in layout.places.items():
            self._entries.setdefault(called.get(part, part), []).append((name, numbers[label]))
        self._check_test_classes()
        if layout.unlabelled:
            self._entries[UNLABELLED] = [(name, NO_LABEL) for name in layout.unlabelled]
        order = ("train", "test", "all", UNLABELLED)
        self.parts: dict[str, int] = {
            part: len(self._entries[part]) for part in order if part in self._entries
        }

    def _check_count(self, wanted: list[str], others: int) -> None:
        endings = ", ".join(suffix[1:] for suffix in self.suffixes)
        require(
            bool(wanted),
            f"{self.noun}s",
            f"files ending in {endings}, in one folder a class",
            Words(f"{others} other files"),
        )
        require(
            len(wanted) <= MOST_EXAMPLES,
            f"{self.noun}s",
            f"at most {MOST_EXAMPLES:,}",
            Words(f"{len(wanted):,}"),
        )

    def _layout(self, names: list[str], options: DataOptions) -> Layout:
        """Return what the folders of files mean, or a list of labels beside them where they mean
        nothing; raises ConfigError where neither says every file's class.
        """
        layout = understand(names, options.unlabelled)
        if layout.loose is not None or len({each.label for each in layout.places.values()}) < 2:
            layout = self._listed(names, layout, options) or layout
        require(
            layout.loose is None,
            self.noun,
            f"in the folder of its class, such as cat/1{self.suffixes[0]} or train/cat/1{self.suffixes[0]}",
            layout.loose,
        )
        require(
            not layout.unclear,
            "folders",
            "classes side by side, or train and test with the classes in them (what belongs to "
            "neither lies elsewhere)",
            Words(layout.unclear),
        )
        return layout

    def _listed(self, names: list[str], layout: Layout, options: DataOptions) -> Layout | None:
        """Return what a list of labels beside the files says, and count it among the files that
        are used; None where there is none.
        """
        apart = dict.fromkeys(layout.unlabelled)
        others = [name for name in names if name not in apart]
        listed = labels_beside(self.files.read, self.ignored, others, options.unlabelled)
        if listed is None:
            return None
        used, by_list = listed
        by_list.unlabelled += apart
        by_list.notes += layout.notes if apart else []
        self.ignored.remove(used)
        return by_list

    def _parts_called(self, found: set[str]) -> dict[str, str]:
        """Return what the folders of parts stand for where their name says another, and note it.

        Raises ConfigError where there is no train folder.
        """
        require(
            "train" in found,
            "folders",
            "train and test, or one a class",
            Words(", ".join(sorted(found))),
        )
        if "validation" in found and "test" in found:
            self.notes.append(
                "The validation folder joins the training part: KD Lab draws its own validation part."
            )
            return {"validation": "train"}
        if "validation" in found:
            self.notes.append(
                "There is no test folder: the validation folder is used as test data."
            )
            return {"validation": "test"}
        if "test" not in found:
            self.notes.append("There is only a train folder: a test part is drawn from it.")
            return {"train": "all"}
        return {}

    def _check_test_classes(self) -> None:
        if "test" not in self._entries:
            return
        trained = {label for _, label in self._entries["train"]}
        strange = [
            self.class_names[label] for _, label in self._entries["test"] if label not in trained
        ]
        require(
            not strange,
            "test classes",
            "among the classes of the training part",
            strange[0] if strange else None,
        )

    @abstractmethod
    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Return what a file holds; raises anything where it cannot be read."""

    def batches(self, part: str) -> Iterator[Batch]:
        """Decode a part from its beginning."""
        entries = self._entries[part]
        for start in range(0, len(entries), IMAGES_A_BATCH):
            inputs, labels, names, corrupt = [], [], [], []
            for name, label in entries[start : start + IMAGES_A_BATCH]:
                try:
                    inputs.append(self.decode(self.files.read(name)))
                except (
                    Exception
                ) as error:  # decoders raise anything; whatever it is, this file is not readable
                    corrupt.append(f"{name} ({first_line(error)})")
                else:
                    labels.append(label)
                    names.append(name)
            yield Batch(inputs, np.asarray(labels, np.int64), names, corrupt, {FILE: names})


def _is_clutter(name: str) -> bool:
    """Files that systems leave behind."""
    return any(
        part.startswith(("._", ".")) or part in ("__MACOSX", "Thumbs.db")
        for part in name.split("/")
    )
