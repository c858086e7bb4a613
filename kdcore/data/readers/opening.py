"""Reading what a user brings: arrays, folders and zips of images or texts, tables. Batch by batch,
nothing unpacked on disk.

A file comes from anywhere, so nothing in it is trusted: no pickle, no path that leads out, no more
bytes or pixels than a limit, and only the image formats named here are decoded. What breaks a rule
is refused in the one form.
"""

from __future__ import annotations

from pathlib import Path

from kdcore.data.readers.arrays import NamedArrays
from kdcore.data.readers.common import MOST_BYTES, SUFFIXES, Source
from kdcore.data.readers.folders import FilesInFolders, Folder, Zip
from kdcore.data.readers.images import ImageFiles
from kdcore.data.readers.tables import Table, read_table
from kdcore.data.readers.texts import TEXT_SUFFIXES, TextFiles, TextTable, text_column
from kdcore.errors import Words, require, with_mend
from kdcore.tasks.report import DEFAULTS, DataOptions
from kdcore.words import in_bytes

TABLES = (".csv", ".tsv", ".txt", ".data", ".jsonl", ".parquet")
# What people also bring, and what to do with it.
MENDS = {
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "save the sheet as .csv"),
    **dict.fromkeys((".tar", ".gz", ".tgz", ".bz2", ".xz", ".rar", ".7z"), "pack it as a .zip"),
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
        "put images into a folder for each class, and those into a .zip",
    ),
    ".npy": "numpy.savez('name.npz', x=inputs, y=labels) keeps inputs and labels together",
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".mat"), "nothing is unpickled here: write a .npz"),
    **dict.fromkeys((".json", ".arrow", ".feather"), "write a .csv, .jsonl or .parquet"),
    **dict.fromkeys((".keras", ".h5", ".onnx"), "a model is brought under Models, or by model add"),
}


def open_source(path: Path, options: DataOptions = DEFAULTS) -> Source:
    """Open what ``path`` is: ``.npz``, ``.zip`` or a folder of images or texts, ``.csv``,
    ``.jsonl`` or ``.parquet``.

    ``options`` say how a table is read: its column of classes, which columns are features, what
    becomes of text and of missing values; and what has no label. Raises ConfigError, which says
    what is not as it must be.
    """
    require(path.exists(), "path", "a file or folder that exists", str(path))
    if path.is_dir():
        return _files(Folder(path), options)
    kind = path.suffix.lower()
    require(path.stat().st_size > 0, "file", "not empty", path.name)
    require(
        path.stat().st_size <= MOST_BYTES,
        "file",
        f"at most {in_bytes(MOST_BYTES)}",
        Words(in_bytes(path.stat().st_size)),
    )
    check_file_name(path.name)
    if kind == ".npz":
        return NamedArrays(path, options)
    if kind == ".zip":
        return _files(Zip(path), options)
    frame = read_table(path)
    texts = text_column(frame, options)
    return Table(frame, options) if texts is None else TextTable(frame, texts, options)


def _files(files: Folder | Zip, options: DataOptions) -> FilesInFolders:
    """Return the texts in a folder or zip, or the images where it holds more than a few."""
    names = [name.lower() for name in files.names()]
    written = sum(name.endswith(TEXT_SUFFIXES) for name in names)
    pictured = sum(name.endswith(SUFFIXES) for name in names)
    # One file of text beside folders is a list or a readme; where each image has one, as where they
    # say what is on it, images are meant.
    kind = TextFiles if written > max(1, 2 * pictured) else ImageFiles
    return kind(files, options)


def check_file_name(name: str) -> None:
    """Raise ConfigError for the name of a file of another kind, with what to do instead."""
    kind = Path(name).suffix.lower()
    require(
        kind in (".npz", ".zip", *TABLES),
        "file",
        "a .npz, a .zip or folder of images or texts, a .csv, .tsv, .txt or .data table, a .jsonl or a .parquet",
        with_mend(name, MENDS.get(kind)),
    )
