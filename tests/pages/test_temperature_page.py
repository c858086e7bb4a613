"""The Temperature page in a real Chromium, on a store with two small experiments that differ in T
alone.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlparse

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect
from scipy.special import softmax
from scipy.stats import entropy
from streamlit.proto.BackMsg_pb2 import BackMsg

from kdcore.analysis.results import examples, logits, soften
from kdcore.analysis.students import Taught, taught_by
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from tests.support.browser import Complaints, choose, wait_for_app
from tests.support.workers import end_workers

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ExperimentConfig(
    teacher="conv-16-32",
    teacher_epochs=6,
    student="conv-4-8",
    epochs=6,
    seeds=1,
    temperature=10.0,
    labels=100,
)
DISTRIBUTIONS = "temperature_distributions"


@dataclass
class Lab:
    """A store with one teacher and its students at T = 1 and T = 10."""

    store: Store
    teacher: Run
    students: dict[float, Taught]

    def answers(self, role: str = "teacher") -> np.ndarray:
        run = self.teacher if role == "teacher" else getattr(self.students[10.0], role)
        return logits(self.store, run, "test").astype(float)

    @property
    def labels(self) -> np.ndarray:
        return examples(self.store, self.teacher.summary["dataset"], "test")["labels"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('lab')}/store.db")
    ids = [store.create(CONFIG), store.create(CONFIG.replace(temperature=1.0), reuse="all")]
    command = [
        sys.executable,
        "-m",
        "kdcore.work.worker",
        "--store",
        store.url,
        "--idle-seconds",
        "0.2",
    ]
    subprocess.run(command, cwd=ROOT, check=True, timeout=180)
    assert [store.job(each).status for each in ids] == ["finished", "finished"]
    (teacher,) = store.finished_runs("teacher")
    yield Lab(store, teacher, {each.temperature: each for each in taught_by(store, teacher.id)})
    end_workers(store)


@pytest.fixture(scope="module")
def url(lab: Lab, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": lab.store.url}) + "/temperature"


def visit(page: Page, url: str, **parameters: Any) -> None:
    page.goto(f"{url}?{urlencode(parameters)}")
    wait_for_app(page)


def wait_for(page: Page, ready: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def node(key: str) -> str:
    return f"document.querySelector('.st-key-{key} .js-plotly-plot')"


def drawn(page: Page, key: str, uid: str) -> list[float]:
    """The vertical values of one trace of a chart; none while it is not there."""
    trace = f"({node(key)}?.data ?? []).find(trace => trace.uid === '{uid}')"
    return page.evaluate(
        f"(trace => trace ? Array.from(trace.y._inputArray ?? trace.y) : [])({trace})"
    )


def wait_for_chart(page: Page, key: str) -> None:
    page.wait_for_function(f"{node(key)}?.data?.length > 0", timeout=60_000)


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Temperature T")


def move_to(page: Page, steps: int) -> None:
    slider(page).focus()
    for _ in range(abs(steps)):
        slider(page).press("ArrowRight" if steps > 0 else "ArrowLeft")


def bars_at(lab: Lab, index: int, temperature: float) -> list[np.ndarray]:
    """What the four rows of bars must show for an example."""
    return [
        softmax(lab.answers()[index]),
        *(
            softmax(lab.answers(role)[index] / temperature)
            for role in ("teacher", "student", "baseline")
        ),
    ]


def expect_bars(page: Page, lab: Lab, index: int, temperature: float) -> None:
    expected = bars_at(lab, index, temperature)

    def equal() -> bool:
        rows = [drawn(page, DISTRIBUTIONS, f"row-{row}") for row in range(4)]
        return all(len(row) == 10 for row in rows) and bool(np.allclose(rows, expected, atol=1e-6))

    wait_for(page, equal)


def tiles(page: Page) -> Locator:
    return page.locator(".st-key-temperature_gallery [role=option]")


def address(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


def open_section(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


# --- sharing ---


def test_a_shared_address_restores_the_view_on_a_cold_server(
    page: Page, url: str, lab: Lab, complaints: Complaints
) -> None:
    """The first test of the module: nobody has looked at the server yet."""
    student = lab.students[10.0].student.id
    index = int(np.flatnonzero(lab.labels == 5)[3])
    visit(
        page,
        url,
        teacher=lab.teacher.id,
        student=student,
        T=7.1,
        example=index,
        order="margin",
        log=1,
        **{"class": 5},
    )
    expect(page.get_by_text("Page not found")).to_have_count(0)
    expect(slider(page)).to_have_attribute("aria-valuetext", "T = 7.1")
    expect(page.locator(".st-key-temperature_gallery [aria-selected=true]")).to_have_count(1)
    expect(tiles(page)).to_have_count(int((lab.labels == 5).sum()))
    expect_bars(page, lab, index, 7.1)
    assert page.evaluate(f"{node(DISTRIBUTIONS)}.layout.yaxis.type") == "log"
    expect(page.get_by_role("radio", name="Closest call")).to_be_checked()
    visit(page, url, teacher=lab.teacher.id, section="squared", T=3)
    wait_for_chart(page, "temperature_gradients")
    expect(page.get_by_role("tab", name="Why T²")).to_have_attribute("aria-selected", "true")
    assert complaints.messages == []


def test_what_an_address_cannot_mean_is_answered_in_words(page: Page, url: str, lab: Lab) -> None:
    visit(page, url, teacher="<b>nobody</b>", T="9000", example="9999", order="best", student="x")
    shown = page.locator("[data-testid=stMain]")
    expect(shown).to_contain_text(
        "teacher must be the id of a trained teacher, got '<b>nobody</b>'"
    )
    expect(shown).to_contain_text("T must be a number from 0.01 to 1000, got '9000'")
    expect(shown).to_contain_text("example must be from 0 to 448, got 9999")
    expect(shown).to_contain_text(
        "order must be one of entropy, margin, wrong but sure, disagreement, got 'best'"
    )
    wait_for_chart(page, DISTRIBUTIONS)
    wait_for(page, lambda: address(page)["teacher"] == lab.teacher.id)  # and the page is there
    move_to(page, 1)
    expect(page.get_by_text("got '9000'")).to_have_count(0, timeout=60_000)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "0", "", "4; drop table"])
def test_no_temperature_is_too_odd(page: Page, url: str, text: str) -> None:
    visit(page, url, T=text, against=text)
    if text:
        expect(page.locator("[data-testid=stMain]")).to_contain_text(
            "T must be a number from 0.01 to 1000"
        )
    expect(slider(page)).to_have_attribute("aria-valuetext", "T = 4")


# --- the slider ---


def test_moving_the_temperature_moves_bars_sentence_and_address(
    page: Page, url: str, lab: Lab, complaints: Complaints
) -> None:
    visit(page, url, teacher=lab.teacher.id, student=lab.students[10.0].student.id, example=3, T=4)
    expect_bars(page, lab, 3, 4.0)
    first = page.get_by_text(re.compile("At T = 4 it sees")).inner_text()
    entries = page.evaluate("history.length")
    page.evaluate(f"{node(DISTRIBUTIONS)}.marked = true")
    move_to(page, 4)
    expect(slider(page)).to_have_attribute("aria-valuetext", "T = 5")
    expect_bars(page, lab, 3, 5.0)
    expect(page.get_by_text(re.compile("At T = 5 it sees"))).to_be_visible()
    assert page.get_by_text(re.compile("At T = 5 it sees")).inner_text() != first
    wait_for(page, lambda: address(page)["T"] == "5")
    assert page.evaluate("history.length") == entries, (
        "Back leaves the page, and does not walk the slider back"
    )
    assert page.evaluate(f"{node(DISTRIBUTIONS)}.marked") is True, (
        "the chart is updated, not built anew"
    )
    slider(page).press("Home")
    expect_bars(page, lab, 3, 0.5)
    page.get_by_role("button", name="the student was taught at 10").click()
    expect_bars(page, lab, 3, 10.0)
    assert complaints.messages == []


def test_a_typed_temperature_between_the_steps_is_shown_as_it_is(
    page: Page, url: str, lab: Lab
) -> None:
    visit(
        page, url, teacher=lab.teacher.id, student=lab.students[10.0].student.id, example=3, T=3.75
    )
    expect_bars(page, lab, 3, 3.75)
    expect(slider(page)).to_have_attribute("aria-valuetext", "T = 3.75")
    move_to(page, 1)
    wait_for(page, lambda: address(page)["T"] == "3.8")
    move_to(page, 1)
    expect(slider(page)).to_have_attribute("aria-valuetext", "T = 4")
    expect_bars(page, lab, 3, 4.0)


def test_the_figures_of_all_examples_are_those_of_the_command_line(
    page: Page, url: str, lab: Lab
) -> None:
    visit(page, url, teacher=lab.teacher.id, section="all", T=4)
    wait_for_chart(page, "temperature_reliability")
    for steps, temperature in ((0, 4.0), (2, 4.5)):
        move_to(page, steps)
        report = soften(lab.store, lab.students[10.0].experiment_id, temperature)
        expected = {
            ("temperature_entropy", "mean-entropy-now"): report["entropy"],
            ("temperature_effective", "effective-classes-now"): report["effective_classes"],
            ("temperature_top", "mean-top-probability-now"): report["top_probability"],
            ("temperature_top", "examples-whose-favourite-is-under-50-now"): report[
                "share_under_half"
            ],
            ("temperature_error", "calibration-error-now"): report["expected_calibration_error"],
        }
        for (key, trace), value in expected.items():
            wait_for(
                page,
                lambda key=key, trace=trace, value=value: (
                    drawn(page, key, trace) == pytest.approx([value])
                ),
            )
        calibration = report["calibration"]
        words = page.evaluate(
            f"{node('temperature_reliability')}.layout.annotations.map(a => a.text).join(' ')"
        )
        assert f"off by {calibration['error_before']:.1%}" in words
        assert f"off by {calibration['error_after']:.1%}" in words
    expect(page.get_by_text(calibration["sentence"])).to_be_visible()
    independent = entropy(softmax(lab.answers() / 4.5, axis=1), axis=1).mean()
    assert drawn(page, "temperature_entropy", "mean-entropy-now") == pytest.approx([independent])


def test_look_alikes_follow_the_temperature_and_open_examples(
    page: Page, url: str, lab: Lab
) -> None:
    visit(
        page,
        url,
        teacher=lab.teacher.id,
        student=lab.students[10.0].student.id,
        section="alike",
        T=2,
    )
    wait_for_chart(page, "temperature_similarity")

    def expect_matrix(temperature: float) -> None:
        soft = softmax(lab.answers() / temperature, axis=1)
        expected = np.array([soft[lab.labels == each].mean(axis=0) for each in range(10)])

        def equal() -> bool:
            rows = page.evaluate(
                f"{node('temperature_similarity')}.calcdata[0][0].z.map(row => Array.from(row))"
            )
            shown = np.array(
                [[np.nan if cell is None else cell for cell in row] for row in rows], dtype=float
            )
            off = ~np.eye(10, dtype=bool)
            return bool(
                np.isnan(np.diag(shown)).all() and np.allclose(shown[off], expected[off], atol=1e-6)
            )

        wait_for(page, equal)

    expect_matrix(2.0)
    move_to(page, 12)
    expect_matrix(4.0)
    strip = page.locator("[class*=st-key-temperature_pair] [role=option]")
    expect(strip.first).to_be_visible()
    strip.nth(1).click()
    wait_for_chart(page, DISTRIBUTIONS)
    wait_for(page, lambda: "example" in address(page))
    expect_bars(page, lab, int(address(page)["example"]), 4.0)


def test_the_factor_keeps_the_gradient_up(page: Page, url: str, lab: Lab) -> None:
    student = lab.students[10.0].student.id
    visit(page, url, teacher=lab.teacher.id, student=student, section="squared", T=10)
    wait_for_chart(page, "temperature_gradients")
    page.get_by_role("radio", name="Trained student").click()
    p, q = (softmax(lab.answers(role) / 10, axis=1) for role in ("teacher", "student"))
    expected = np.linalg.norm(10 * (q - p), axis=1).mean()
    wait_for(
        page,
        lambda: drawn(page, "temperature_gradients", "with-T²-now") == pytest.approx([expected]),
    )
    assert drawn(page, "temperature_gradients", "without-now") == pytest.approx([expected / 100])
    kept, lost = (drawn(page, "temperature_gradients", name) for name in ("with-T²", "without"))
    assert kept[-1] / lost[-1] == pytest.approx(400)


# --- the gallery ---


def test_the_gallery_orders_filters_and_chooses(page: Page, url: str, lab: Lab) -> None:
    visit(page, url, teacher=lab.teacher.id, student=lab.students[10.0].student.id)
    expect(tiles(page)).to_have_count(len(lab.labels))
    answers, labels = lab.answers(), lab.labels
    wrong = answers.argmax(axis=1) != labels
    page.get_by_role("radio", name="Wrong but sure").click()
    surest = np.where(wrong, softmax(answers, axis=1).max(axis=1), -1).argmax()
    caption = f"{labels[surest]} → {answers[surest].argmax()}"
    expect(tiles(page).first).to_contain_text(caption)
    tiles(page).first.click()
    wait_for(page, lambda: address(page).get("example") == str(surest))
    assert address(page)["order"] == "wrong but sure"
    expect_bars(page, lab, int(surest), 4.0)
    expect(page.get_by_text("The teacher is wrong:")).to_be_visible()
    choose(page, "True class", "Only 3")
    expect(tiles(page)).to_have_count(int((labels == 3).sum()))
    wait_for(page, lambda: address(page).get("class") == "3")
    assert labels[int(address(page)["example"])] == 3


def test_the_choices_outlive_a_visit_to_another_page(page: Page, url: str, lab: Lab) -> None:
    visit(page, url, teacher=lab.teacher.id, T=9, section="all")
    wait_for_chart(page, "temperature_entropy")
    page.get_by_role("link", name="Train").click()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="Temperature").click()
    wait_for_chart(page, "temperature_entropy")
    expect(slider(page)).to_have_attribute("aria-valuetext", "T = 9")
    wait_for(page, lambda: address(page).get("T") == "9")


# --- two students ---


def test_two_students_stand_side_by_side_and_a_missing_one_is_trained(
    page: Page, url: str, lab: Lab, complaints: Complaints
) -> None:
    mine = lab.students[10.0]
    visit(page, url, teacher=lab.teacher.id, student=mine.student.id, section="seen", example=5)
    wait_for_chart(page, "temperature_saw_right")
    assert address(page)["against"] == "1"
    for side, temperature in (("left", 1.0), ("right", 10.0)):
        student = logits(lab.store, lab.students[temperature].student, "test").astype(float)
        rows = [softmax(lab.answers()[5] / temperature), softmax(student[5] / temperature)]
        for row, expected in enumerate(rows):
            shown = drawn(page, f"temperature_saw_{side}", f"row-{row}")
            np.testing.assert_allclose(shown, expected, atol=1e-6)
    expect(page.get_by_text(re.compile("which cannot tell luck from merit"))).to_be_visible()
    choose(page, "Beside it, a student taught at", "T = 4 (not trained yet)")
    page.get_by_role("button", name="Train it at T = 4").click()
    expect(page.get_by_role("heading", name="Taught at T = 4")).to_be_visible(timeout=300_000)
    expect(page.get_by_role("heading", name="Taught at T = 10")).to_be_visible()
    found = {each.temperature: each for each in taught_by(lab.store, lab.teacher.id)}
    assert found[4.0].recipe() == mine.recipe(), "equal in all but T"
    assert found[4.0].baseline is not None
    assert mine.baseline is not None
    assert found[4.0].baseline.id == mine.baseline.id, "what was there already is reused"
    assert len(lab.store.finished_runs("teacher")) == 1
    assert complaints.messages == []


def test_without_a_teacher_a_button_trains_one_and_the_page_fills_by_itself(
    page: Page, chromium: Browser, serve: Callable[..., str], tmp_path: Path, complaints: Complaints
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    address = serve("dashboard.py", {"KD_STORE": store.url}) + "/temperature"
    try:
        visit(page, address)
        expect(page.get_by_text("This page needs a trained teacher")).to_be_visible()
        assert store.experiments() == [], "nothing is trained silently"
        page.get_by_role("button", name="Train a small teacher").click()
        expect(page.get_by_text("A teacher is being trained")).to_be_visible(timeout=60_000)
        page.wait_for_selector(f".st-key-{DISTRIBUTIONS} .js-plotly-plot", timeout=300_000)
        (run,) = store.finished_runs("teacher")
        assert page.url.startswith(f"{address}?teacher={run.id}")
        assert len(store.experiments()) == 1
        assert complaints.messages == []
    finally:
        end_workers(store)


def open_tab(page: Page) -> str:
    return page.locator("[role=tab][aria-selected=true]").inner_text()


def expect_section(page: Page, title: str, name: str | None, chart: str) -> None:
    """Wait until a section is open, drawn, and in the address."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if open_tab(page) == title and address(page).get("section") == name:
            break
        page.wait_for_timeout(100)
    assert (open_tab(page), address(page).get("section")) == (title, name)
    expect(page.locator(f".st-key-{chart} .js-plotly-plot")).to_be_visible(timeout=60_000)


def test_back_and_forward_step_through_the_sections_and_not_along_the_slider(
    page: Page, url: str, lab: Lab, complaints: Complaints
) -> None:
    try:
        walk_back_and_forward(page, url, lab)
    except AssertionError:
        # Seldom, on a busy machine, Streamlit gives its connection up at Back, and says "Error".
        if not page.get_by_role("banner").get_by_text("Error", exact=True).count():
            raise
        complaints.messages.clear()
        walk_back_and_forward(page, url, lab)
    assert complaints.messages == []


def walk_back_and_forward(page: Page, url: str, lab: Lab) -> None:
    page.goto(url.replace("/temperature", "/runs"))
    visit(page, url, teacher=lab.teacher.id, T=4)
    alike = ("Look-alikes", "alike", "temperature_similarity")
    squared = ("Why T²", "squared", "temperature_gradients")
    first = ("One example", None, DISTRIBUTIONS)
    for section in (alike, squared):
        page.get_by_role("tab", name=section[0], exact=True).click()
        expect_section(page, *section)
        move_to(page, 2)
        page.wait_for_timeout(500)
    page.go_back()
    expect_section(page, *alike)
    page.go_back()
    expect_section(page, *first)
    page.go_forward()
    expect_section(page, *alike)
    page.go_back()
    expect_section(page, *first)
    page.go_back()
    expect(page).to_have_url(re.compile("/runs"))


class Deaf:
    """What a browser tells its server, the first click after ``losing`` was set being lost."""

    def __init__(self, page: Page) -> None:
        self.losing = False
        self.lost: list[str] = []
        self._server: WebSocketRoute
        page.route_web_socket(re.compile("_stcore/stream"), self._connect)

    def _connect(self, browser: WebSocketRoute) -> None:
        self._server = browser.connect_to_server()
        browser.on_message(self._pass_on)

    def _pass_on(self, message: str | bytes) -> None:
        assert isinstance(message, bytes)
        told = BackMsg.FromString(message)
        if self.losing and not self.lost and told.rerun_script.fragment_id:  # no page drawn anew
            self.lost.append(told.rerun_script.fragment_id)
        else:
            self._server.send(message)


def test_a_section_that_back_opened_while_nobody_listened_is_opened_again(
    page: Page, url: str, lab: Lab, complaints: Complaints
) -> None:
    deaf = Deaf(page)
    visit(page, url, teacher=lab.teacher.id, T=4)
    page.get_by_role("tab", name="Look-alikes", exact=True).click()
    expect_section(page, "Look-alikes", "alike", "temperature_similarity")
    deaf.losing = True
    page.go_back()
    expect_section(page, "One example", None, DISTRIBUTIONS)
    assert len(deaf.lost) == 1
    assert complaints.messages == []


@pytest.mark.parametrize("early", [True, False])
def test_a_section_opened_by_hand_while_nobody_listened_is_opened_again_as_one_step(
    page: Page, url: str, lab: Lab, complaints: Complaints, early: bool
) -> None:
    deaf = Deaf(page)
    visit(page, url, teacher=lab.teacher.id, T=4)
    if not early:
        expect_section(page, "One example", None, DISTRIBUTIONS)
        page.wait_for_timeout(2_000)
    deaf.losing = True
    page.get_by_role("tab", name="Look-alikes", exact=True).click()
    expect_section(page, "Look-alikes", "alike", "temperature_similarity")
    assert len(deaf.lost) == 1
    page.go_back()
    expect_section(page, "One example", None, DISTRIBUTIONS)
    assert complaints.messages == []
