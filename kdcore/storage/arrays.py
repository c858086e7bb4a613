"""NumPy arrays as bytes and back, without pickle: what the store keeps of weights, logits and
images.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kdcore.errors import StoreError


def pack(array: NDArray) -> bytes:
    """Return one array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def unpack(data: bytes) -> NDArray:
    """Read what ``pack`` wrote; raises StoreError for anything else."""
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise StoreError(f"stored array cannot be read: {error}") from None


def pack_many(arrays: Mapping[str, NDArray], compress: bool = False) -> bytes:
    """Return named arrays as the bytes of a .npz file."""
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack_many(data: bytes) -> dict[str, NDArray]:
    """Read what ``pack_many`` wrote; raises StoreError for anything else."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise StoreError(f"stored arrays cannot be read: {error}") from None
