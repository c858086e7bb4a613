"""Images in a zip or a folder."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kdcore.data.readers.common import SUFFIXES
from kdcore.data.readers.folders import FilesInFolders
from kdcore.data.readers.pixels import read_pixels


class ImageFiles(FilesInFolders):
    """Images in folders named by their class, with train/ and test/ above them or not."""

    kind: str = "images"
    noun: ClassVar[str] = "image"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Return the pixels of a file [height, width, channels]."""
        return read_pixels(data)
