"""The address of the Temperature page: what it says, what it is refused, and the slider's steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdcore.analysis.temperature import ORDERS
from pages.shared.temperature import HIGHEST, LOWEST, STEPS, within
from pages.temperature.state import SECTIONS, PageState, in_digits

states = st.builds(
    PageState,
    teacher=st.none() | st.text("abcdef0123456789", min_size=1, max_size=10),
    student=st.none() | st.text("abcdef0123456789", min_size=1, max_size=10),
    temperature=st.sampled_from(STEPS),
    example=st.none() | st.integers(0, 1999),
    order=st.sampled_from(ORDERS),
    only=st.none() | st.integers(0, 9),
    section=st.sampled_from(list(SECTIONS.values())),
    log=st.booleans(),
    against=st.none() | st.sampled_from((1.0, 2.5, 20.0)),
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(states)
def test_an_address_restores_the_state_it_was_written_from(state: PageState) -> None:
    address = state.write()
    again = PageState()
    again.read(address)
    assert again.problems == []
    assert again.write() == address
    for name in (
        "teacher",
        "student",
        "temperature",
        "example",
        "order",
        "only",
        "section",
        "log",
        "against",
    ):
        assert getattr(again, name) == getattr(state, name), name


def test_a_late_address_of_its_own_does_not_turn_the_state_back() -> None:
    state = PageState(teacher="a")
    before = state.write()
    state.temperature = 9.0
    state.write()
    state.read(before)
    assert state.temperature == 9.0, "the browser told what the page had written a moment ago"
    state.read({"T": "2"})
    assert state.temperature == 2.0, "an address from elsewhere counts"
    state.read({})
    assert state.temperature == 2.0, (
        "no address, no change: the visitor comes back from another page"
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("T", "9000", "T must be a number from 0.01 to 1000, got '9000'"),
        ("T", "nan", "T must be a number from 0.01 to 1000, got 'nan'"),
        ("T", "hot", "T must be a number from 0.01 to 1000, got 'hot'"),
        ("example", "-1", "example must be a whole number from 0, got '-1'"),
        ("example", "²", "example must be a whole number from 0, got '²'"),
        ("example", "9" * 5000, "example must be a whole number from 0"),
        ("class", "cat", "class must be a whole number from 0, got 'cat'"),
        (
            "order",
            "best",
            "order must be one of entropy, margin, wrong but sure, disagreement, got 'best'",
        ),
        ("section", "x", "section must be one of example, alike, all, squared, seen, got 'x'"),
        ("log", "yes", "log must be one of 0, 1, got 'yes'"),
        ("against", "inf", "against must be a temperature above 0, at most 1000, got 'inf'"),
    ],
)
def test_what_an_address_cannot_mean_is_a_problem_and_changes_nothing(
    name: str, text: str, message: str
) -> None:
    state = PageState()
    state.read({name: text, "unknown": "ignored"})
    (problem,) = state.problems
    assert str(problem).startswith(message)
    assert state.write() == PageState().write()


def test_an_example_or_class_beyond_the_data_is_let_go() -> None:
    state = PageState()
    state.read({"example": "10", "class": "3"})
    state.fit(classes=4, pictures=11)
    assert (state.problems, state.example, state.only) == ([], 10, 3)
    state.fit(classes=3, pictures=10)
    assert [str(problem) for problem in state.problems] == [
        "example must be from 0 to 9, got 10",
        "class must be from 0 to 2, got 3",
    ]
    assert (state.example, state.picked, state.only) == (None, None, None)


def test_the_steps_are_even_on_a_logarithmic_scale_and_hold_the_round_numbers() -> None:
    assert (STEPS[0], STEPS[-1]) == (LOWEST, HIGHEST)
    ratios = np.diff(np.log2(STEPS))
    assert ratios.min() > 0.4 / 12
    assert ratios.max() < 1.8 / 12
    assert {0.5, 1, 2, 3, 4, 5, 8, 10, 20} <= set(STEPS)


def test_a_landmark_has_three_digits() -> None:
    assert in_digits(1.1578) == 1.16
    assert in_digits(10.0) == 10.0


@pytest.mark.parametrize(("typed", "shown"), [(-3.0, 0.01), (0.0, 0.01), (4.25, 4.25), (1e9, 1000)])
def test_what_is_typed_is_brought_to_what_a_page_can_show(typed: float, shown: float) -> None:
    assert within(typed) == shown
