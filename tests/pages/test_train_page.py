"""The Train page in a real Chromium, with real workers: what a visitor does and sees."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import run_job
from kdcore.storage.store import Store
from tests.support.browser import Complaints, Server, open_popover
from tests.support.workers import end_workers

LONG = ExperimentConfig(
    training_examples=300,
    labels=60,
    teacher="mlp-32",
    teacher_epochs=3,
    student="conv-4-8",
    epochs=10_000,
    seeds=1,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{tmp_path_factory.mktemp('lab')}/store.db")


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


def settle(page: Page) -> None:
    page.wait_for_selector(
        "[data-testid='stApp'][data-test-script-state='notRunning']", timeout=180_000
    )


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def temperature_field(page: Page) -> Locator:
    """The form's: an experiment has one of the same name for what it shows."""
    form = page.locator("[class*=st-key-train_temperature_slider]")
    return form.get_by_role("spinbutton", name="Temperature T")


def chart(page: Page, name: str) -> str:
    """A JavaScript expression for the Plotly node of a chart."""
    return f"document.querySelector('[class*=st-key-{name}] .js-plotly-plot')"


def shown_points(page: Page, name: str) -> int:
    """How many points the chart draws."""
    node = chart(page, name)
    return page.evaluate(
        f"(({node} || {{}}).calcdata || []).reduce((sum, points) => sum + points.length, 0)"
    )


def wait_for(page: Page, ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)


def start(page: Page, url: str, store: Store, config: ExperimentConfig) -> str:
    """Queue an experiment as the CLI would, and open it."""
    experiment = store.create(config)
    page.goto(f"{url}/?experiment={experiment}")
    settle(page)
    return experiment


def stop(page: Page, store: Store, experiment: str) -> None:
    button(page, "Stop").click()
    expect(page.get_by_text("Stopped. What was trained is kept")).to_be_visible(timeout=60_000)
    assert store.job(experiment).status == "stopped"


def test_train_with_the_defaults_shows_that_distillation_pays(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    page.goto(url)
    settle(page)
    expect(page.get_by_text("Nothing trained yet")).to_be_visible()
    button(page, "Train").click()
    page.wait_for_url(re.compile("experiment="))
    counts: list[int] = []
    titles: set[str] = set()
    wait_for(page, lambda: shown_points(page, "train_accuracy") > 0)
    while store.job(page.url.split("=")[1]).status in ("queued", "running"):
        counts.append(shown_points(page, "train_accuracy"))
        titles.add(page.title())
        page.wait_for_timeout(200)
    assert len(set(counts)) >= 5, "the curves grow before one's eyes"
    expect(page.get_by_text(re.compile(r"Distillation gained [\d.]+ points"))).to_be_visible(
        timeout=60_000
    )
    assert any(re.fullmatch(r"\d+ % · KD Lab", title) for title in titles), titles
    expect(page).to_have_title("done · KD Lab")
    names = page.evaluate(
        f"{chart(page, 'train_accuracy')}.data.filter(t => t.showlegend !== false).map(t => t.name)"
    )
    assert any("student" in name for name in names)
    assert any("baseline" in name for name in names)
    rows = page.evaluate(
        f"{chart(page, 'train_distributions')}.layout.annotations.map(a => a.text).join(' ')"
    )
    for words in ("teacher, T = 1", "teacher, T = 10", "student", "baseline"):
        assert words in rows
    assert complaints.messages == []


def test_how_long_it_will_take_is_measured_before_it_starts(page: Page, url: str) -> None:
    page.goto(url)
    settle(page)
    page.get_by_text("More settings").click()
    batch_size = page.get_by_role("spinbutton", name="Batch size", exact=True)
    batch_size.fill("48")
    batch_size.press("Enter")
    expect(button(page, "How long will it take?")).to_be_visible(timeout=60_000)
    settle(page)
    button(page, "How long will it take?").click(timeout=60_000)
    expect(
        page.get_by_text(re.compile(r"models? to train.*about .* on this machine"))
    ).to_be_visible(timeout=300_000)


def test_candidates_appear_after_the_click(page: Page, url: str) -> None:
    page.goto(url)
    settle(page)
    page.get_by_text("Understand before shrinking").click()
    button(page, "Look at candidates").click()
    expect(page.get_by_role("button", name="Try these three")).to_be_visible(timeout=300_000)


def bars(page: Page) -> list[list[float]]:
    """Heights of the bars of all distributions on screen, from top to bottom."""
    return page.evaluate(
        f"{chart(page, 'train_distributions')}.calcdata.filter(c => c[0].trace.type === 'bar').map(c => c.map(p => p.s))"
    )


def test_the_distributions_follow_temperature_example_and_epoch(
    page: Page, url: str, store: Store
) -> None:
    experiment = store.experiments(limit=1)[0][0].id
    page.goto(f"{url}/?experiment={experiment}")
    settle(page)
    wait_for(page, lambda: bool(page.evaluate(f"!!{chart(page, 'train_distributions')}")))
    before = bars(page)
    slider = page.get_by_role("slider", name="Temperature T")
    slider.focus()
    slider.press("Home")
    wait_for(page, lambda: bars(page) != before, seconds=15)
    cold = bars(page)
    assert max(cold[1]) > max(before[1]), "a lower temperature makes the teacher surer"
    assert cold[0] == before[0], "the answer at T = 1 does not change"
    epoch = page.get_by_role("slider", name="Student up to epoch")
    epoch.focus()
    epoch.press("Home")
    wait_for(page, lambda: bars(page)[2] != cold[2], seconds=15)
    untrained = bars(page)
    assert untrained[0] == cold[0], "the teacher stays as it is"
    assert max(untrained[2]) < 0.99, "before training the student knew nothing"


def test_a_live_chart_keeps_its_node_and_zoom_and_stop_stops(
    page: Page, url: str, store: Store
) -> None:
    experiment = start(page, url, store, LONG)
    wait_for(page, lambda: store.job(experiment).phase.startswith("training student"))
    wait_for(page, lambda: shown_points(page, "train_accuracy") > 10)
    node = chart(page, "train_accuracy")
    page.evaluate(
        f"{node}.marked = true; Plotly.relayout({node}, {{'yaxis.range[0]': 0.2, 'yaxis.range[1]': 0.7}})"
    )
    seen = {shown_points(page, "train_loss")}
    deadline = time.monotonic() + 60
    while len(seen) < 16:
        assert time.monotonic() < deadline, f"only {len(seen)} updates in a minute"
        page.wait_for_timeout(80)
        seen.add(shown_points(page, "train_loss"))
    assert page.evaluate(f"{node}.marked") is True, "the same node after 15 updates"
    assert page.evaluate(f"{node}.layout.yaxis.range") == [0.2, 0.7], "the zoom is kept"
    began = time.monotonic()
    stop(page, store, experiment)
    assert time.monotonic() - began < 15
    expect(button(page, "Resume")).to_be_visible()


def test_a_refresh_and_a_second_tab_show_the_same_live_run(
    page: Page, chromium: Browser, url: str, store: Store
) -> None:
    experiment = start(page, url, store, LONG.replace(seed=1))
    wait_for(page, lambda: shown_points(page, "train_accuracy") > 5)
    page.reload()
    settle(page)
    wait_for(page, lambda: shown_points(page, "train_accuracy") > 5)
    other = chromium.new_page()
    other.goto(f"{url}/?experiment={experiment}")
    wait_for(other, lambda: shown_points(other, "train_accuracy") > 5)
    expect(button(other, "Stop")).to_be_visible()
    button(other, "Stop").click()
    expect(page.get_by_text("Stopped. What was trained is kept")).to_be_visible(timeout=60_000)
    other.close()


def test_a_second_experiment_queues_and_says_behind_what(
    page: Page, url: str, store: Store
) -> None:
    running = [
        store.create(LONG.replace(seed=seed)) for seed in range(2, 2 + (os.cpu_count() or 1))
    ]
    waiting = start(page, url, store, LONG.replace(seed=9))
    wait_for(page, lambda: all(store.job(job).status == "running" for job in running))
    expect(page.get_by_text(re.compile("Queued: waits for experiment"))).to_contain_text(running[0])
    button(page, "Stop").click()
    expect(page.get_by_text("Stopped. What was trained is kept")).to_be_visible(timeout=60_000)
    assert store.job(waiting).status == "stopped"
    for job in running:
        store.request_stop(job)
    wait_for(page, lambda: all(store.job(job).status == "stopped" for job in running))


def test_a_killed_worker_is_reported_and_resume_goes_on(page: Page, url: str, store: Store) -> None:
    experiment = start(page, url, store, LONG.replace(seed=20))
    wait_for(page, lambda: shown_points(page, "train_accuracy") > 5)
    worker = next(each for each in store.workers() if each.id == store.job(experiment).worker_id)
    os.kill(worker.pid, signal.SIGKILL)
    expect(page.get_by_text("Interrupted: its worker process ended")).to_be_visible(timeout=60_000)
    button(page, "Resume").click()
    wait_for(page, lambda: store.job(experiment).status == "running")
    expect(button(page, "Stop")).to_be_visible(timeout=60_000)
    stop(page, store, experiment)


def test_a_killed_server_leaves_the_run_going_and_a_new_one_shows_it_cold(
    page: Page, chromium: Browser, tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    first = Server("dashboard.py", {"KD_STORE": store.url})
    first.wait_until_healthy()
    experiment = start(page, first.url, store, LONG)
    wait_for(page, lambda: shown_points(page, "train_accuracy") > 5)
    os.killpg(first._process.pid, signal.SIGKILL)
    first.stop()
    assert store.job(experiment).status == "running"
    written = len(store.metrics([run.id for _, run in store.runs_of(experiment)]))
    second = Server("dashboard.py", {"KD_STORE": store.url})
    second.wait_until_healthy()
    page.goto(f"{second.url}/?experiment={experiment}")
    settle(page)
    wait_for(page, lambda: shown_points(page, "train_accuracy") > 5)
    assert len(store.metrics([run.id for _, run in store.runs_of(experiment)])) > written, (
        "training went on"
    )
    stop(page, store, experiment)
    assert "Traceback" not in second.stop()
    end_workers(store)


def test_a_bad_value_is_refused_where_it_was_typed(page: Page, url: str) -> None:
    page.goto(url)
    settle(page)
    field = page.get_by_role("spinbutton", name="Temperature T")
    field.fill("-1")
    field.press("Enter")
    expect(page.get_by_text("temperature must be above 0, got -1")).to_be_visible()
    card = page.get_by_test_id("stColumn").filter(
        has=page.get_by_role("spinbutton", name="Temperature T")
    )
    expect(card.last).to_contain_text("temperature must be above 0, got -1")
    expect(button(page, "Train")).to_be_disabled()
    field.fill("4")
    field.press("Enter")
    expect(button(page, "Train")).to_be_enabled()
    budget = page.get_by_role("spinbutton", name="Label budget")
    budget.fill("5")
    budget.press("Enter")
    expect(page.get_by_text("labels must be from 10 (one a class) to 1,078")).to_be_visible()


def test_the_keras_example_is_one_click(page: Page, url: str) -> None:
    page.goto(url)
    settle(page)
    page.get_by_role("radio", name="The Keras example (MNIST)").click()
    expect(
        page.get_by_text("mnist · conv-256-512 → conv-16-32 · all labels · α 0.1 · T 10")
    ).to_be_visible()


def test_change_and_train_again_keeps_the_settings(page: Page, url: str, store: Store) -> None:
    experiment = store.create(LONG.replace(temperature=2.5, alpha=0.3))
    store.request_stop(experiment)
    page.goto(f"{url}/?experiment={experiment}")
    settle(page)
    button(page, "Change and train again").click()
    expect(page.get_by_text("α 0.3 · T 2.5 · 10000 epochs").first).to_be_visible()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_experiment_before_stays_in_sight_and_is_named_where_one_sees_it(
    page: Page, url: str, store: Store
) -> None:
    quick = LONG.replace(epochs=3)
    before = store.create(quick.replace(alpha=0.3))
    run_job(store.url, before)
    page.goto(f"{url}/?experiment={before}")
    settle(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("mlp-32 teaches conv-4-8")
    name = page.get_by_role("textbox", name="Name")
    open_popover(page, "Name", name)
    name.fill("The *first* one")
    name.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("The *first* one")
    assert store.experiment(before).name == "The *first* one"
    page.keyboard.press("Escape")
    button(page, "Change and train again").click()
    expect(button(page, "Train")).to_be_visible()
    settle(page)
    temperature_field(page).fill("7")
    page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    settle(page)
    button(page, "Train").click()
    said = page.get_by_text("Thin and dashed: The *first* one, with")
    expect(said).to_contain_text("10 instead of 7", timeout=60_000)
    traces = f"({chart(page, 'train_accuracy')}?.data ?? []).map((trace) => trace.uid)"
    page.wait_for_function(f"{traces}.includes('student-before')", timeout=180_000)
    assert f"previous={before}" in page.url


def test_what_is_typed_while_the_page_is_drawn_anew_is_not_lost(
    page: Page, url: str, store: Store
) -> None:
    experiment = store.create(LONG)
    store.request_stop(experiment)
    page.goto(f"{url}/?experiment={experiment}")
    settle(page)
    button(page, "Change and train again").click()
    field = temperature_field(page)
    field.fill("7")  # at the first moment that it is there
    page.keyboard.press("Tab")
    expect(field).to_have_value("7")
    page.wait_for_timeout(1500)
    settle(page)
    expect(field).to_have_value("7")
    expect(page.get_by_role("slider", name="Temperature T")).to_have_attribute(
        "aria-valuetext", "T = 7"
    )


def test_the_link_is_copied_and_the_keyboard_skips_the_navigation(
    page: Page, url: str, store: Store
) -> None:
    experiment = store.create(LONG)
    store.request_stop(experiment)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{url}/?experiment={experiment}")
    settle(page)
    button(page, "Copy link").click()
    expect(page.get_by_text("Copied", exact=True)).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    link = page.get_by_role("link", name="Skip to the main control")
    link.focus()
    page.keyboard.press("Enter")
    expect(button(page, "Resume")).to_be_focused()


def test_the_focus_goes_to_the_button_that_takes_the_place_of_the_focused_one(
    page: Page, url: str, store: Store
) -> None:
    experiment = store.create(LONG)
    page.goto(f"{url}/?experiment={experiment}")
    settle(page)
    page.get_by_role("link", name="Skip to the main control").focus()
    page.keyboard.press("Enter")
    expect(button(page, "Stop")).to_be_focused()
    store.request_stop(experiment)
    expect(button(page, "Resume")).to_be_focused()


@pytest.mark.parametrize(
    "bad", ["nonsense", "<img src=x onerror=alert(1)>", "../../etc/passwd", ""]
)
def test_an_unknown_experiment_is_answered_in_words(
    page: Page, url: str, bad: str, complaints: Complaints
) -> None:
    page.goto(f"{url}/?experiment={bad}")
    settle(page)
    expect(page.get_by_text("there is no experiment")).to_be_visible()
    button(page, "Set up an experiment").click()
    expect(button(page, "Train")).to_be_visible()
    assert complaints.messages == []


def test_the_page_is_usable_at_390_pixels(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(url)
    settle(page)
    expect(button(page, "Train")).to_be_visible()
    overflow = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
