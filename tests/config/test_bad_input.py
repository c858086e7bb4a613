"""A thousand bad settings through library, command line and address bar: each is answered in the
one form, in words.
"""

import json
import math
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig, all_settings
from kdcore.engine.local import LocalEngine
from kdcore.errors import ConfigError
from kdcore.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
FIELDS = all_settings()
NUMBERS = sorted(
    name for name, value in ExperimentConfig().model_dump().items() if not isinstance(value, str)
)
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "../../etc/passwd",
    "..\\..\\windows",
    "'; DROP TABLE jobs;--",
    "{{7*7}}",
    "${HOME}",
    "%s%n",
    "[x](javascript:alert(1))",
    "𝟙𝟚𝟛",
    "\u202etxt",
    "a" * 5000,
    "\x1b[31m",
    "-0x10",
    "1e999",
    "nan",
]
FORM = re.compile(r"^[\w ]+ must be .+, got .+$", re.DOTALL)

# None of these is a number of any setting, and none a name that the catalog knows.
never_valid = (
    st.sampled_from(HOSTILE)
    # Blanks and commas alone are an empty list of names, which is a value.
    | st.text(string.punctuation + string.whitespace, min_size=1, max_size=30).filter(
        lambda text: text.strip("," + string.whitespace)
    )
    | st.lists(st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
    | st.binary(min_size=1, max_size=20)
    | st.sampled_from(
        [math.nan, math.inf, -math.inf, -1, -1e300, 10**30, 1 << 70, True, False, 1 + 2j]
    )
)
any_value = never_valid | st.integers() | st.floats() | st.none() | st.text(max_size=20)


def problems_of(values: Any) -> ConfigError | None:
    try:
        config = ExperimentConfig(**values)
    except ConfigError as error:
        return error
    assert ExperimentConfig.from_json(config.to_json()) == config, "what is accepted can be stored"
    return None


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), never_valid, min_size=1, max_size=4))
@settings(deadline=None, max_examples=700)
def test_the_library_refuses_in_the_one_form_and_names_every_bad_setting(
    values: dict[str, Any],
) -> None:
    error = problems_of(values)
    assert error is not None
    named = {problem.field for problem in error.problems}
    # Numbers that are merely too large for one setting may be fine for another: those that cannot
    # be must all be named.
    surely = {
        name
        for name, value in values.items()
        if isinstance(value, str | list | dict | bytes | bool | complex)
    }
    surely = {name for name in surely if isinstance(values[name], bool | bytes)} or surely
    if "plan" in named:
        # A name like any other; only a plan that is known says whether there is such a network.
        surely -= {
            name for name in ("assistants", "more_teachers") if values.get(name) in ("1e999", "nan")
        }
    if named - {"omitted_classes"} and isinstance(values.get("omitted_classes"), str):
        # Any text may be a class's name; only settings that are right say of which data.
        surely -= {"omitted_classes"}
    assert surely <= named
    for problem in error.problems:
        assert FORM.match(str(problem)), str(problem)
        assert len(str(problem)) < 400, "a long value is cut short"


@given(
    st.dictionaries(
        st.sampled_from(sorted(FIELDS)) | st.text(min_size=1, max_size=10), any_value, max_size=5
    )
)
@settings(deadline=None, max_examples=300)
def test_whatever_it_is_given_the_library_accepts_it_or_refuses_it_in_words(
    values: dict[str, Any],
) -> None:
    error = problems_of(values)
    assert error is None or all(FORM.match(str(problem)) for problem in error.problems)


scalar = st.none() | st.booleans() | st.floats() | st.text(max_size=8)
as_json = (scalar | st.lists(scalar | st.lists(scalar, max_size=3), max_size=3)).map(
    lambda value: json.dumps(value).encode()
)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | as_json)
@settings(deadline=None, max_examples=200)
def test_a_file_that_is_no_config_is_refused_in_the_one_form(text: bytes) -> None:
    try:
        ExperimentConfig.from_json(text)
    except ConfigError as error:
        assert all(FORM.match(str(problem)) for problem in error.problems)
    else:
        assert json.loads(text) == {}


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return text.lower() in ("all", "none")


typed = (
    st.sampled_from(HOSTILE)
    | st.text(string.punctuation + string.ascii_letters, min_size=1, max_size=12)
).filter(lambda text: not is_number(text))


@given(values=st.dictionaries(st.sampled_from(NUMBERS), typed, min_size=1, max_size=3))
@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_command_line_refuses_what_the_library_refuses(
    values: dict[str, str], tmp_path: Path
) -> None:
    arguments = [f"--{name.replace('_', '-')}={text}" for name, text in values.items()]
    url = f"sqlite:///{tmp_path}/never.db"
    answer = CliRunner().invoke(main, ["--store", url, "train", *arguments])
    assert answer.exit_code == 2, answer.output
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    assert "Traceback" not in answer.output
    (line,) = [line for line in answer.stderr.splitlines() if line.startswith("Error:")] or [
        answer.stderr
    ]
    assert all(f"{name} must be " in line for name in values)
    assert Store(url).experiments() == [], "nothing was accepted"


# --- the address bar ---

PARAMETERS = {
    "train": ["experiment"],
    "compare": [
        "models",
        "section",
        "curve",
        "x",
        "smooth",
        "log",
        "seeds",
        "training",
        "T",
        "seed",
        "cost",
        "first",
        "second",
        "show",
        "example",
    ],
    "sweep": ["sweep"],
    "data": ["job", "dataset", "new"],
    "try_it": ["experiment", "T"],
    "runs": ["experiment"],
    "temperature": [
        "teacher",
        "student",
        "T",
        "example",
        "order",
        "class",
        "section",
        "log",
        "against",
    ],
}
WRONG = [
    "",
    " ",
    "-1",
    "nan",
    "1e999",
    "99999999999999999999",
    "null",
    "[]",
    "{}",
    "%00",
    "a,b,,",
    "true",
    *HOSTILE[:12],
]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, trained_store: Store) -> Iterator[AppTest]:
    """The dashboard on a trained store, without workers that nobody waits for."""
    monkeypatch.setenv("KD_STORE", trained_store.url)
    monkeypatch.setattr(LocalEngine, "warm", lambda self: None)
    monkeypatch.setattr(LocalEngine, "_start_worker", lambda self, pool: None)
    streamlit.cache_resource.clear()
    streamlit.cache_data.clear()
    yield AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=30)
    streamlit.cache_resource.clear()
    streamlit.cache_data.clear()


@pytest.mark.parametrize("view", PARAMETERS)
def test_no_address_breaks_a_page(view: str, app: AppTest) -> None:
    app.run()
    app.switch_page(f"pages/views/{view}.py")
    for turn in range(len(WRONG)):  # every parameter takes every value once
        given = {
            name: WRONG[(turn + place) % len(WRONG)] for place, name in enumerate(PARAMETERS[view])
        }
        app.query_params.clear()
        app.query_params.update(given)
        app.run()
        assert not app.exception, (given, app.exception[0].message)
        shown = " ".join(
            str(element.value) for element in [*app.markdown, *app.error, *app.caption]
        )
        assert "<script>" not in shown.replace("\\<script\\>", ""), (
            "what was typed is shown as text"
        )
