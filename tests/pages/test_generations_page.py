"""An experiment of several generations in a real Chromium: what its page shows of each of them."""

import json
import re
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, expect

from kdcore.analysis.noise_twin import find_twin, twin_config
from kdcore.analysis.results import ensembles, load_results, summary
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.local import LocalEngine
from kdcore.storage.store import Store
from kdcore.work.outcome import run
from tests.support.browser import Complaints
from tests.support.workers import end_workers

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL = ExperimentConfig(
    plan="noisy-student",
    generations=2,
    confidence=0.0,
    labels=30,
    teacher="conv-4-8",
    student="conv-4-8",
    teacher_epochs=4,
    epochs=2,
    training_examples=200,
    seeds=1,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{tmp_path_factory.mktemp('lab')}/store.db")


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


def test_confident_mistakes_are_a_gallery_by_generation(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    experiment = trained(store, SMALL)
    found = summary(store, experiment)["confident_mistakes"]
    page.goto(f"{url}/?experiment={experiment}")
    tiles = page.locator("[class*=st-key-train_mistakes] [role=option]")
    for step, name in (("generation 1", "generation 1"), ("student", "generation 2")):
        page.get_by_role("radio", name=name, exact=True).click()
        expect(page.get_by_text(f"Training examples that {name} learned")).to_be_visible()
        expect(tiles).to_have_count(len(found[step]))
        first = found[step][0]
        expect(tiles.first).to_contain_text(f"{first['true']}→{first['given']}")
    tiles.first.click()
    expect(
        page.get_by_text(f"Row {first['row']} of the data, taken for {first['given']} at")
    ).to_be_visible()
    assert complaints.messages == []


def test_what_the_noise_is_worth_stands_beside_the_generations(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    config = SMALL.replace(epochs=3)
    first = trained(store, config)
    page.goto(f"{url}/?experiment={first}")
    button = page.get_by_role("button", name="Train the same with the noise off")
    expect(button).to_be_visible(timeout=60_000)
    wanted = twin_config(config)
    assert wanted == config.replace(noise="off")
    assert twin_config(wanted) == config
    assert find_twin(store, load_results(store, first)) is None
    second = trained(store, wanted)
    page.reload()
    expect(
        page.get_by_text(
            re.compile("^The noise's gain in teacher: .*; the noise's gain in student:")
        )
    ).to_be_visible(timeout=60_000)
    expect(page.get_by_role("img", name=re.compile("without noise dotted"))).to_be_visible()
    expect(button).to_have_count(0)
    loud, quiet = summary(store, first), summary(store, second)
    told = CliRunner().invoke(main, ["--store", store.url, "show", first, "--json"])
    twin = json.loads(told.stdout.splitlines()[-1])["noise_twin"]
    assert twin["experiment"] == second
    for step in ("teacher", "student"):
        assert twin["accuracy"][step] == quiet[step]["accuracy"]
        worth = 100 * (loud[step]["accuracy"][0] - quiet[step]["accuracy"][0])
        assert twin["worth"][step]["mean"] == pytest.approx(worth)
    # Seen from the other one, the noise is worth the same.
    back = find_twin(store, load_results(store, second))
    assert back is not None
    assert (back.experiment_id, back.title) == (first, "with noise")
    assert back.worth["student"].mean == pytest.approx(twin["worth"]["student"]["mean"])
    words = CliRunner().invoke(main, ["--store", store.url, "show", second]).stdout
    assert f"beside experiment {first}, the noise's gain in teacher" in words
    assert complaints.messages == []


def test_the_step_that_is_trained_now_pulses(page: Page, url: str, store: Store) -> None:
    experiment = store.create(SMALL.replace(epochs=60, teacher_epochs=60))
    engine = LocalEngine(store)
    engine.submit(experiment)
    try:
        page.goto(f"{url}/?experiment={experiment}")
        now = page.locator(".st-key-train_plan .stMarkdownBadge", has_text="autorenew")
        expect(now.first).to_have_css("animation-name", "kd-live-step", timeout=120_000)
        later = page.locator(".st-key-train_plan .stMarkdownBadge", has_text="student")
        expect(later.first).to_have_css("animation-name", "none")
    finally:
        engine.cancel(experiment)
        end_workers(store)


def trained(store: Store, config: ExperimentConfig) -> str:
    return run(config, store=store).experiment_id


def test_generations_averaged_stand_beside_each(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    born_again = ExperimentConfig(
        plan="born-again",
        teacher="mlp-16",
        student="mlp-16",
        teacher_epochs=1,
        epochs=1,
        training_examples=200,
        seeds=2,
    )
    experiment = trained(store, born_again)
    together = ensembles(store, load_results(store, experiment))["student"]
    page.goto(f"{url}/?experiment={experiment}")
    cells = page.get_by_role("table").filter(has_text="Averaged with those before it")
    expect(cells.locator("tr").nth(3)).to_contain_text(together.words)
    expect(cells.locator("tr").nth(2).locator("td").last).to_have_text("")
    assert complaints.messages == []
