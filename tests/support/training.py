"""Training in a process of its own: TensorFlow in the tests' process would keep its memory and its
threads.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_SCRIPT = (
    "import sys\n"
    "from kdcore.engine.jobs import run_job\n"
    "print(*(run_job(sys.argv[1], job) for job in sys.argv[2:]))\n"
)


def train_elsewhere(url: str, *experiments: str) -> None:
    """Train experiments of a store, one after the other; fails unless all of them finish."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, url, *experiments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    ends = done.stdout.split()[-len(experiments) :]
    assert ends == ["finished"] * len(experiments), done.stderr[-3000:]
