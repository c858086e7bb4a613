"""The command ``kdlab``: the dashboard, or with arguments what ``python -m kdcore`` does."""

from __future__ import annotations

import os
import sys

from kdcore.installation import dashboard_script


def start() -> None:
    """Open the dashboard in place of this process, or run the command that is given."""
    if len(sys.argv) > 1:
        from kdcore.cli.program import main

        main(prog_name="kdlab")
    # -P: a folder called pages where the command is typed must not hide the dashboard's own.
    arguments = ["-P", "-m", "streamlit", "run", str(dashboard_script())]
    os.execv(sys.executable, [sys.executable, *arguments])
