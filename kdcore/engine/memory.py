"""Whether a failure was a lack of memory, which comes out in many forms."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

# What TensorFlow, oneDNN, NumPy, Keras and the C++ library say of it.
MESSAGES = (
    "bad_alloc",
    "oom when allocating",
    "out of memory",
    "unable to allocate",
    "failed to allocate",
    "cannot allocate memory",
    "could not create a memory object",
    "resource exhausted",
    "resourceexhausted",
    "not enough memory",
)
# A training step asks for more than this; a process that cannot have it is out of memory.
BYTES_TO_TRY = 64 * 2**20


def is_out_of_memory(failure: BaseException) -> bool:
    """Return whether an exception, or one that it came from, says that memory ran out.

    Some code of C's fails for want of memory without saying so, for example as SystemError: then
    what tells is whether this process can have any more.
    """
    for one in _chain(failure):
        said = f"{type(one).__name__} {one}".lower()
        if isinstance(one, MemoryError) or any(message in said for message in MESSAGES):
            return True
    return not _can_have(BYTES_TO_TRY)


def _chain(failure: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it came from, each once."""
    waiting, seen = [failure], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
        waiting += getattr(one, "exceptions", ())


def _can_have(size: int) -> bool:
    try:
        mmap.mmap(-1, size).close()
    except (OSError, MemoryError):
        return False
    return True
