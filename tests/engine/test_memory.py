"""Out of memory is recognised in every form that it comes in."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from kdcore.engine import memory
from kdcore.engine.jobs import _in_words
from kdcore.errors import TrainingError
from tests.support.browser import REPOSITORY


class ResourceExhaustedError(Exception):
    """Named as TensorFlow names it."""


def wrapped(inner: BaseException) -> BaseException:
    """As Keras puts its own words around what a layer's call raised."""
    try:
        try:
            raise inner
        except BaseException as error:
            raise SystemError("Exception encountered when calling Conv2D.call().") from error
    except SystemError as error:
        return error


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        ResourceExhaustedError("{{function_node}} somewhere"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("OOM when allocating tensor with shape[512,1024]"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("could not create a memory object [Op:Conv2D]"),
        ExceptionGroup("two", [ValueError("x"), MemoryError()]),
    ],
    ids=lambda failure: repr(failure)[:40],
)
def test_every_form_is_recognised_bare_and_wrapped(failure: BaseException) -> None:
    assert memory.is_out_of_memory(failure)
    assert memory.is_out_of_memory(wrapped(failure))
    assert "not enough memory" in _in_words(wrapped(failure))  # type: ignore[arg-type]


def test_numpys_own_refusal_is_recognised() -> None:
    with pytest.raises(MemoryError) as caught:
        np.zeros(2**60, np.uint8)
    assert memory.is_out_of_memory(caught.value)


def test_other_failures_are_not_taken_for_it() -> None:
    for failure in (ValueError("shape mismatch"), SystemError("error return without exception")):
        assert not memory.is_out_of_memory(failure)
    assert _in_words(TrainingError("the loss became nan")) == "the loss became nan"


def test_a_failure_without_words_is_recognised_where_the_process_can_have_no_more() -> None:
    resource = pytest.importorskip("resource")
    assert resource.RLIMIT_AS
    script = (
        "import os, resource\n"
        "from kdcore.engine.memory import is_out_of_memory\n"
        "assert not is_out_of_memory(SystemError('no words'))\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * os.sysconf('SC_PAGE_SIZE')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used, used))\n"
        "print(is_out_of_memory(SystemError('no words')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "True", done.stderr
