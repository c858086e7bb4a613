"""The Alpha page in a real Chromium, on a store with two small experiments that differ in alpha
alone.
"""

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
from playwright.sync_api import Browser, Locator, Page, expect
from scipy.special import softmax

from kdcore.analysis.results import examples, logits
from kdcore.analysis.students import Taught, taught_by
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Job, Run, SweepCell
from kdcore.storage.store import Store
from tests.support.browser import Complaints, wait_for_app
from tests.support.workers import end_workers

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ExperimentConfig(
    teacher="conv-16-32",
    teacher_epochs=6,
    student="conv-4-8",
    epochs=6,
    seeds=1,
    alpha=0.1,
    labels=100,
)


@dataclass
class Weighed:
    """A store with one teacher and its students at alpha = 0.1 and alpha = 0.9."""

    store: Store
    teacher: Run
    students: dict[float, Taught]

    def answers(self, role: str = "teacher") -> np.ndarray:
        run = self.teacher if role == "teacher" else getattr(self.students[0.1], role)
        return logits(self.store, run, "test").astype(float)

    @property
    def labels(self) -> np.ndarray:
        return examples(self.store, self.teacher.summary["dataset"], "test")["labels"]

    @property
    def parameters(self) -> dict[str, str]:
        return {"teacher": self.teacher.id, "student": self.students[0.1].student.id}

    def pulls(self, index: int, alpha: float, temperature: float) -> dict[str, np.ndarray]:
        """What the arrows must show, written down once more: [classes] each."""
        z, v = self.answers("student")[index], self.answers()[index]
        label = alpha * (np.eye(len(z))[self.labels[index]] - softmax(z))
        apart = softmax(v / temperature) - softmax(z / temperature)
        teacher = (1 - alpha) * temperature * apart
        return {"label": label, "teacher": teacher, "sum": label + teacher}


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weighed]:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('weighed')}/store.db")
    ids = [store.create(CONFIG), store.create(CONFIG.replace(alpha=0.9), reuse="all")]
    command = [sys.executable, "-m", "kdcore.work.worker", "--store", store.url]
    subprocess.run([*command, "--idle-seconds", "0.2"], cwd=ROOT, check=True, timeout=180)
    assert [store.job(each).status for each in ids] == ["finished", "finished"]
    (teacher,) = store.finished_runs("teacher")
    found = taught_by(store, teacher.id)
    yield Weighed(store, teacher, {each.student.config["alpha"]: each for each in found})
    end_workers(store)


@pytest.fixture(scope="module")
def url(weighed: Weighed, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": weighed.store.url}) + "/alpha"


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


def drawn(page: Page, key: str, uid: str) -> np.ndarray:
    """The places [n, 2] of one trace of a chart; none while it is not there."""
    trace = f"({node(key)}?.data ?? []).find(trace => trace.uid === '{uid}')"
    listed = "[trace.x, trace.y].map(values => Array.from(values._inputArray ?? values))"
    found = page.evaluate(f"(trace => trace ? {listed} : [[], []])({trace})")
    return np.array(found, dtype=float).T


def wait_for_chart(page: Page, key: str) -> None:
    page.wait_for_function(f"{node(key)}?.data?.length > 0", timeout=60_000)


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Alpha")


def address(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


def expect_pulls(
    page: Page, weighed: Weighed, index: int, other: int, alpha: float, temperature: float
) -> None:
    pair = [int(weighed.labels[index]), other]
    expected = weighed.pulls(index, alpha, temperature)

    def equal() -> bool:
        ends = {uid: drawn(page, "alpha_pulls", uid) for uid in expected}
        return all(
            len(ends[uid]) == 2 and bool(np.allclose(ends[uid][1], expected[uid][pair], atol=1e-6))
            for uid in expected
        )

    wait_for(page, equal)


def another_class(weighed: Weighed, index: int) -> int:
    return int((weighed.labels[index] + 3) % 10)


def test_a_shared_alpha_address_restores_the_view_on_a_cold_server(
    page: Page, url: str, weighed: Weighed, complaints: Complaints
) -> None:
    """The first test of the module: nobody has looked at the server yet."""
    other = another_class(weighed, 7)
    visit(page, url, **weighed.parameters, alpha=0.35, T=3, example=7, other=other)
    expect(page.get_by_text("Alpha weights the true labels")).to_be_visible()
    expect(page.get_by_text("(others define it the other way round)")).to_be_visible()
    expect(slider(page)).to_have_attribute("aria-valuetext", "α = 0.35")
    expect_pulls(page, weighed, 7, other, 0.35, 3.0)
    visit(page, url, **weighed.parameters, section="landscape", alpha=0.2)
    wait_for_chart(page, "alpha_landscape")
    expect(page.get_by_role("tab", name="Landscape")).to_have_attribute("aria-selected", "true")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    assert complaints.messages == []


def test_what_an_alpha_address_cannot_mean_is_answered_in_words(
    page: Page, url: str, weighed: Weighed
) -> None:
    visit(page, url, teacher="nobody", alpha="2", other="77", series="x", section="accuracy")
    shown = page.locator("[data-testid=stMain]")
    expect(shown).to_contain_text("teacher must be the id of a trained teacher, got 'nobody'")
    expect(shown).to_contain_text("alpha must be a number from 0 to 1, got '2'")
    expect(shown).to_contain_text("other must be from 0 to 9, got 77")
    expect(shown).to_contain_text("series must be the key of a series in this store, got 'x'")
    wait_for_chart(page, "alpha_accuracy")
    wait_for(page, lambda: address(page)["teacher"] == weighed.teacher.id)


def test_moving_alpha_and_t_moves_arrows_bars_and_address(
    page: Page, url: str, weighed: Weighed, complaints: Complaints
) -> None:
    other = another_class(weighed, 3)
    visit(page, url, **weighed.parameters, alpha=0.5, T=4, example=3, other=other)
    expect_pulls(page, weighed, 3, other, 0.5, 4.0)
    page.evaluate(f"{node('alpha_pulls')}.marked = true")
    axes = f"[{node('alpha_pulls')}.layout.xaxis.range, {node('alpha_pulls')}.layout.yaxis.range]"
    before = page.evaluate(axes)
    slider(page).focus()
    for _ in range(3):
        slider(page).press("ArrowRight")
    expect(slider(page)).to_have_attribute("aria-valuetext", "α = 0.53")
    expect_pulls(page, weighed, 3, other, 0.53, 4.0)
    wait_for(page, lambda: address(page)["alpha"] == "0.53")
    for name, text, alpha, temperature in (
        ("Alpha", "0.125", 0.125, 4.0),
        ("Temperature T", "2.5", 0.125, 2.5),
        ("Alpha", "7", 1.0, 2.5),
    ):
        number = page.get_by_role("spinbutton", name=name)
        number.fill(text)
        number.press("Enter")
        expect_pulls(page, weighed, 3, other, alpha, temperature)
    after = np.array(page.evaluate(axes))  # square axes follow the chart's width by a hair
    np.testing.assert_allclose(after, before, atol=0.05 * np.ptp(before))
    assert page.evaluate(f"{node('alpha_pulls')}.marked") is True, "updated, not built anew"
    slider(page).press("Home")
    expect_pulls(page, weighed, 3, other, 0.0, 2.5)
    wait_for_chart(page, "alpha_targets")
    asked = softmax(weighed.answers()[3] / 2.5)
    wait_for(
        page,
        lambda: bool(np.allclose(drawn(page, "alpha_targets", "row-2")[:, 1], asked, atol=1e-6)),
    )
    assert complaints.messages == []


def test_the_landscape_marks_where_each_loss_is_least(
    page: Page, url: str, weighed: Weighed
) -> None:
    index = int(np.flatnonzero(weighed.answers("student").argmax(axis=1) != weighed.labels)[0])
    label, other = int(weighed.labels[index]), another_class(weighed, index)
    chosen = dict(section="landscape", example=index, other=other, T=4)
    visit(page, url, **weighed.parameters, alpha=0, **chosen)
    wait_for_chart(page, "alpha_landscape")
    z, v = weighed.answers("student")[index], weighed.answers()[index]
    here = drawn(page, "alpha_landscape", "student")[0]
    np.testing.assert_allclose(here, z[[label, other]], atol=1e-5)
    place = z.copy()
    place[[label, other]] = drawn(page, "alpha_landscape", "teacher")[0]
    pair = [label, other]
    np.testing.assert_allclose(softmax(place / 4)[pair], softmax(v / 4)[pair], atol=1e-6)
    least, target = (drawn(page, "alpha_landscape", uid)[0] for uid in ("least", "teacher"))
    np.testing.assert_allclose(least, target, atol=1e-2)
    slider(page).press("End")
    corner = drawn(page, "alpha_landscape", "label")[0]
    wait_for(page, lambda: bool(np.allclose(drawn(page, "alpha_landscape", "least")[0], corner)))
    expect(page.get_by_text("its target lies at infinity")).to_be_visible()
    expect(page.get_by_text("on the edge of the square")).to_be_visible()


def test_accuracy_over_alpha_is_that_of_the_trained_students(
    page: Page, url: str, weighed: Weighed, complaints: Complaints
) -> None:
    visit(page, url, **weighed.parameters, section="accuracy")
    wait_for_chart(page, "alpha_accuracy")
    shown = drawn(page, "alpha_accuracy", "student")
    trained = {
        alpha: 100 * each.student.summary["test_accuracy"]
        for alpha, each in weighed.students.items()
    }
    assert dict(shown.tolist()) == pytest.approx(trained)
    baseline = weighed.students[0.1].baseline
    assert baseline is not None
    expected = 100 * baseline.summary["test_accuracy"]
    assert drawn(page, "alpha_accuracy", "baseline")[:, 1] == pytest.approx([expected, expected])
    expect(page.get_by_text("2 alphas from 0.1 to 0.9")).to_be_visible()
    expect(page.get_by_text("This is test data")).to_be_visible()
    expect(page.get_by_role("button", name="Train")).to_have_count(0)
    assert complaints.messages == []


def test_cells_of_a_sweep_without_a_winner_are_kept_back(
    page: Page, swept_store_file: Path, serve: Callable[..., str], tmp_path: Path
) -> None:
    copy = tmp_path / "store.db"
    copy.write_bytes(swept_store_file.read_bytes())
    store = Store(f"sqlite:///{copy}")
    with store.writing() as session:
        cell = session.query(SweepCell).filter_by(part="cell").first()
        assert cell is not None
        session.get_one(Job, cell.job_id).status = "stopped"
    address = serve("dashboard.py", {"KD_STORE": store.url}) + "/alpha"
    visit(page, address, section="accuracy")
    expect(page.get_by_text("No experiments differ in alpha alone yet")).to_be_visible()
    page.get_by_text("experiments of sweeps without a winner").click()
    wait_for_chart(page, "alpha_accuracy")
    end_workers(store)


def test_from_an_empty_store_to_accuracy_over_alpha(
    page: Page, chromium: Browser, serve: Callable[..., str], tmp_path: Path, complaints: Complaints
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    url = serve("dashboard.py", {"KD_STORE": store.url}) + "/alpha"
    try:
        visit(page, url)
        expect(page.get_by_text("This page needs a trained teacher")).to_be_visible()
        page.get_by_role("button", name="Train a small teacher").click()
        page.wait_for_selector(".st-key-alpha_pulls .js-plotly-plot", timeout=300_000)
        page.get_by_role("tab", name="Accuracy over alpha").click()
        assert len(store.experiments()) == 1, "nothing is trained silently"
        page.get_by_role("button", name="Train five small experiments").click()
        expect(page.get_by_text("are trained ·")).to_be_visible(timeout=60_000)
        wait_for(page, lambda: len(drawn(page, "alpha_accuracy", "student")) == 6, seconds=240)
        expect(page.get_by_text("are trained ·")).to_have_count(0)
        shown = drawn(page, "alpha_accuracy", "student")
        assert shown[:, 0].tolist() == [0, 0.1, 0.25, 0.5, 0.75, 1]
        assert len(store.finished_runs("teacher")) == len(store.finished_runs("baseline")) == 1
        assert complaints.messages == []
    finally:
        end_workers(store)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_nothing_shows_through_the_sliders_that_stay_at_the_top(
    chromium: Browser, url: str, weighed: Weighed, width: int, scheme: Any
) -> None:
    size = {"width": width, "height": 844}
    context = chromium.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    visit(page, url, **weighed.parameters)
    wait_for_chart(page, "alpha_targets")
    page.mouse.move(width / 2, 600)
    page.mouse.wheel(0, 600)
    head = page.locator(".st-key-alpha_head")
    wait_for(page, lambda: (head.bounding_box() or {"y": 999})["y"] < 70)
    backgrounds = [
        page.locator(each).first.evaluate("node => getComputedStyle(node).backgroundColor")
        for each in (".st-key-alpha_head", ".stApp")
    ]
    assert backgrounds[0] == backgrounds[1]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
