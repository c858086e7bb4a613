"""An experiment of several generations in a real Chromium: what its page shows of each of them."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from kdcore.analysis.results import ensembles, load_results, summary
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.work.experiment import run_experiment
from tests.support.browser import Complaints

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
    experiment = store.create(SMALL)
    store.claim("a worker", experiment)
    run_experiment(store, experiment)
    store.finish(experiment, JobStatus.FINISHED)
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
    experiment = store.create(born_again)
    store.claim("a worker", experiment)
    run_experiment(store, experiment)
    store.finish(experiment, JobStatus.FINISHED)
    together = ensembles(store, load_results(store, experiment))["student"]
    page.goto(f"{url}/?experiment={experiment}")
    cells = page.get_by_role("table").filter(has_text="Averaged with those before it")
    expect(cells.locator("tr").nth(3)).to_contain_text(together.words)
    expect(cells.locator("tr").nth(2).locator("td").last).to_have_text("")
    assert complaints.messages == []
