"""Where KD Lab's files lie: in a checkout, or in an environment where a wheel was installed."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

# The folder that holds the package: the checkout, or site-packages.
ROOT = Path(__file__).resolve().parents[1]


def in_checkout() -> bool:
    """Whether the dashboard's files lie beside the package, as they do in the repository."""
    return (ROOT / "dashboard.py").exists()


def dashboard_script() -> Path:
    """Return the script that ``streamlit run`` is given."""
    folder = ROOT if in_checkout() else ROOT / "kdlab_dashboard"
    return folder / "dashboard.py"


def in_classroom() -> bool:
    """Whether the dashboard serves a class: ``KD_CLASSROOM=1``."""
    return os.environ.get("KD_CLASSROOM", "") not in ("", "0")


def data_folder() -> Path:
    """Return the folder for the default store and the workers' logs: ``.kdlab`` in a checkout, else
    the user's own for application data.
    """
    if in_checkout():
        return ROOT / ".kdlab"
    return platformdirs.user_data_path("kdlab", appauthor=False)
