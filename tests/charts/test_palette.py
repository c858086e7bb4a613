from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from kdcore.errors import ConfigError
from kdcore.palette import (
    CLEAR,
    NEUTRALS,
    ROLE_NAMES,
    ROLE_STYLES,
    ROLES,
    TONES,
    colour,
    dark_variants,
    style,
)
from kdcore.storage import schema
from tests.support.browser import REPOSITORY

CONFIG = tomllib.loads((REPOSITORY / ".streamlit" / "config.toml").read_text())

# Machado, Oliveira, Fernandes 2009: what the two common kinds of colour blindness make of linear
# RGB.
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def linear(tone: str) -> np.ndarray:
    channels = np.array([int(tone[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(linear(tone) @ [0.2126, 0.7152, 0.0722] for tone in (one, other))
    return (high + 0.05) / (low + 0.05)


def oklab(rgb: np.ndarray) -> np.ndarray:
    cones = [
        [0.41222147, 0.53633254, 0.05144599],
        [0.2119035, 0.68069955, 0.10739696],
        [0.08830246, 0.28171884, 0.629979],
    ]
    axes = [
        [0.21045426, 0.79361779, -0.00407205],
        [1.9779985, -2.4285922, 0.45059371],
        [0.02590404, 0.78277177, -0.80867577],
    ]
    return np.array(axes) @ np.cbrt(np.array(cones) @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_tones_stand_out_from_the_page(theme: str) -> None:
    for name in TONES:
        tone = colour(name, dark=theme == "dark")
        assert contrast(tone, CONFIG["theme"][theme]["backgroundColor"]) >= 4.5, name


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("dark", [False, True])
def test_roles_stay_apart_for_colour_blind_eyes(sight: str, dark: bool) -> None:
    for one, other in itertools.combinations(ROLES, 2):
        seen = [
            oklab(np.array(SIGHT[sight]) @ linear(colour(role, dark=dark))) for role in (one, other)
        ]
        assert np.linalg.norm(seen[0] - seen[1]) > 0.1, (one, other)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("role", ROLES)
def test_six_models_of_a_role_stay_apart(role: str, dark: bool, sight: str) -> None:
    styles = [style(role, "m", index) for index in range(6)]
    for one, other in itertools.combinations(styles, 2):
        seen = [
            oklab(np.array(SIGHT[sight]) @ linear(colour(each.tone, dark=dark)))
            for each in (one, other)
        ]
        differ = (one.dash, one.symbol) != (other.dash, other.symbol)
        assert differ or np.linalg.norm(seen[0] - seen[1]) > 0.1, (one, other)
    assert styles[0] == ROLE_STYLES[role]._replace(name="m"), (
        "the first of a role looks as on every page"
    )


def test_the_roles_are_the_stores() -> None:
    assert set(ROLES) == set(schema.ROLES) == set(ROLE_NAMES)


def test_alpha_and_unknown_names() -> None:
    assert colour("student") == "#2563eb"
    assert colour("student", alpha=0.5) == "rgba(37,99,235,0.5)"
    with pytest.raises(ConfigError, match=r"colour must be one of teacher, .*, got 'learner'"):
        colour("learner")


def test_swaps_are_unambiguous() -> None:
    swaps = dark_variants()
    assert swaps["#2563eb"] == "#60a5fa"
    assert swaps["rgba(37,99,235,"] == "rgba(96,165,250,"
    # Replacing one after the other must not replace what was just put in, nor a neutral.
    assert not set(swaps) & set(swaps.values())
    assert not (set(swaps) | set(swaps.values())) & {*NEUTRALS.values(), CLEAR}
    assert all(re.fullmatch(r"#[0-9a-f]{6}", tone) for tone in NEUTRALS.values())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_starts_with_the_roles(theme: str) -> None:
    settings = CONFIG["theme"][theme]
    assert settings["chartCategoricalColors"][:3] == [
        colour(role, dark=theme == "dark") for role in ROLES
    ]
    assert len(settings["chartSequentialColors"]) == len(settings["chartDivergingColors"]) == 10
    assert CONFIG["theme"]["light"]["primaryColor"] == colour("student")


def test_streamlit_knows_every_option() -> None:
    command = [sys.executable, "-m", "streamlit", "config", "show"]
    shown = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    assert "not a valid config option" not in shown.stdout + shown.stderr
    for line in (
        "postScriptGC = false",
        'address = "127.0.0.1"',
        "enableXsrfProtection = true",
        "enableCORS = true",
    ):
        name = line.split(" ")[0]
        assert name == "postScriptGC" or re.search(rf"^{re.escape(line)}$", shown.stdout, re.M), (
            line
        )
