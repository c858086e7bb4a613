"""The address of the Alpha page: what it says, and what it is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdcore.analysis.temperature import ORDERS
from kdcore.errors import ConfigError
from pages.alpha.state import SECTIONS, PageState
from pages.shared.alpha import STEPS, within
from pages.shared.log_slider import even_slider
from pages.shared.temperature import STEPS as TEMPERATURES

NAMES = (
    "teacher",
    "student",
    "alpha",
    "temperature",
    "example",
    "order",
    "only",
    "other",
    "section",
    "log",
    "series",
)
ids = st.none() | st.text("abcdef0123456789", min_size=1, max_size=10)
states = st.builds(
    PageState,
    teacher=ids,
    student=ids,
    alpha=st.sampled_from(STEPS),
    temperature=st.sampled_from(TEMPERATURES),
    example=st.none() | st.integers(0, 1999),
    order=st.sampled_from(ORDERS),
    only=st.none() | st.integers(0, 9),
    other=st.none() | st.integers(0, 9),
    section=st.sampled_from(list(SECTIONS.values())),
    log=st.booleans(),
    series=ids,
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(states)
def test_an_alpha_address_restores_the_state_it_was_written_from(state: PageState) -> None:
    address = state.write()
    again = PageState()
    again.read(address)
    assert again.problems == []
    assert again.write() == address
    for name in NAMES:
        assert getattr(again, name) == getattr(state, name), name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("alpha", "1.5", "alpha must be a number from 0 to 1, got '1.5'"),
        ("alpha", "nan", "alpha must be a number from 0 to 1, got 'nan'"),
        ("T", "0", "T must be a number from 0.01 to 1000, got '0'"),
        ("other", "-1", "other must be a whole number from 0, got '-1'"),
        ("section", "x", "section must be one of example, landscape, accuracy, got 'x'"),
    ],
)
def test_what_an_alpha_address_cannot_mean_is_a_problem_and_changes_nothing(
    name: str, text: str, message: str
) -> None:
    state = PageState()
    state.read({name: text})
    assert [str(problem) for problem in state.problems] == [message]
    assert state.write() == PageState().write()


def test_a_class_beyond_the_data_is_let_go_and_another_teacher_forgets_it() -> None:
    state = PageState()
    state.read({"other": "3", "example": "4"})
    state.fit(classes=4, pictures=5)
    assert (state.other, state.problems) == (3, [])
    state.fit(classes=3, pictures=5)
    assert state.other is None
    assert [str(problem) for problem in state.problems] == ["other must be from 0 to 2, got 3"]
    state.other = 1
    state.another_teacher()
    assert (state.other, state.example) == (None, None)


def test_alpha_has_a_hundred_steps_and_what_is_typed_beyond_is_brought_inside() -> None:
    assert (STEPS[0], STEPS[-1], len(STEPS)) == (0, 1, 101)
    assert {0.1, 0.25, 0.33, 0.7} <= set(STEPS)
    assert [within(value) for value in (-3.0, 0.4, 7.0)] == [0.0, 0.4, 1.0]


def test_an_even_slider_wants_two_steps() -> None:
    with pytest.raises(ConfigError, match="steps must be two or more"):
        even_slider("Alpha", [0.5], 0.5, key="one", on_change=lambda _: None)
