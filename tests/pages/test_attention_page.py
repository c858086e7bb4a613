"""Where models look, in a real Chromium: on an experiment, epoch by epoch, and on Try it."""

from __future__ import annotations

import base64
import io
import itertools
import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from kdcore.analysis.attention import (
    AttentionMaps,
    attention_key,
    attention_of,
    latest_attention,
    most_looked_at,
)
from kdcore.analysis.comparison import compare
from kdcore.analysis.disagreement import disagreement
from kdcore.analysis.library import delete_experiments, purge
from kdcore.analysis.results import examples, load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from kdcore.takeaway.downloads import exports
from tests.support.browser import REPOSITORY, Complaints, wait_for_app
from tests.support.training import train_elsewhere

PICTURES = ExperimentConfig(
    teacher="conv-16-32",
    teacher_epochs=2,
    student="deit-2-32",
    method="distillation_token",
    epochs=3,
    seeds=1,
)
# Its teacher is the one of the pictures.
COMPARED = PICTURES.replace(student="conv-4-8", method="attention", epochs=2)
TEXTS = ExperimentConfig(
    dataset="languages",
    labels=500,
    training_examples=2000,
    teacher="transformer-1-32",
    teacher_epochs=1,
    student="transformer-1-16",
    epochs=1,
    seeds=1,
    batch_size=64,
    teacher_batch_size=64,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with one experiment on digits, one on phrases, and one by attention transfer."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('attention')}/store.db")
    named = {"digits": PICTURES, "languages": TEXTS, "compared": COMPARED}
    ids = [store.create(config, name=name) for name, config in named.items()]
    train_elsewhere(store.url, *ids)
    return store


@pytest.fixture(scope="module")
def url(store: Store, chromium: Browser, serve: Callable[..., str]) -> str:
    return serve("dashboard.py", {"KD_STORE": store.url})


def experiment_of(store: Store, name: str) -> str:
    return next(each.id for each, _ in store.experiments() if each.name == name)


def kept(store: Store, role: str, epoch: int, dataset: str = "digits") -> AttentionMaps:
    (run,) = load_results(store, experiment_of(store, dataset)).runs(role)
    found = attention_of(store, run.id, epoch)
    assert found is not None
    return found


def test_maps_are_kept_epoch_by_epoch_and_change_while_the_network_learns(store: Store) -> None:
    found = [kept(store, "student", epoch) for epoch in range(4)]
    maps = [each.maps["distillation token"] for each in found]
    assert all(each.shape == (64, 4, 4) for each in maps)
    assert all(not np.allclose(a, b, atol=1e-3) for a, b in itertools.pairwise(maps))
    assert [len(kept(store, "teacher", epoch).maps) for epoch in range(3)] == [1, 1, 1]
    student, baseline = kept(store, "student", 0), kept(store, "baseline", 0)
    for name, each in student.maps.items():
        np.testing.assert_array_equal(each, baseline.maps[name], "they begin alike")


def test_what_is_seen_is_what_is_kept_at_the_epoch_that_is_chosen(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    page.goto(f"{url}/?experiment={experiment_of(store, 'digits')}")
    wait_for_app(page)
    tiles = page.locator(".kd-tiles img")
    expect(tiles).to_have_count(6, timeout=120_000)  # example, teacher, two tokens of two learners
    expect(page.get_by_text("mean over 64 validation examples").first).to_be_visible()

    def said(epoch: int) -> list[str]:
        found = [("Teacher conv-16-32", kept(store, "teacher", 2))]
        found += [
            (f"{role.capitalize()} deit-2-32, after epoch {epoch}", kept(store, role, epoch))
            for role in ("student", "baseline")
        ]
        return [
            f"{title}, {what}: {most_looked_at(pictures[0])}"
            for title, maps in found
            for what, pictures in maps.maps.items()
        ]

    def alternatives() -> list[str]:
        return [str(each.get_attribute("alt")) for each in tiles.all()][1:]

    assert alternatives() == said(3)
    slider = page.get_by_role("slider", name="Student up to epoch")
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    expect(page.locator(".kd-tiles").get_by_text("after epoch 1").first).to_be_visible()
    assert alternatives() == said(1)
    page.get_by_role("radio", name="Layer 2").click()
    # One head in each of two layers; the convolutional teacher has none.
    expect(page.locator(".kd-tiles").get_by_text("class token, head 1").first).to_be_visible()
    expect(tiles).to_have_count(5)
    heads = kept(store, "baseline", 1).heads["distillation token"][0, 1, 0]
    assert alternatives()[-1].endswith(f"head 1: {most_looked_at(heads)}")
    assert complaints.messages == []


def test_the_latest_kept_maps_are_shown_while_training_goes_on(store: Store) -> None:
    (run,) = load_results(store, experiment_of(store, "digits")).runs("student")
    latest = latest_attention(store, run.id, 2)
    assert latest is not None
    assert latest[0] == 2
    last = kept(store, "student", 3)
    store.delete_artifacts(attention_key(run.id, 3))  # as it was after two epochs of three
    found = [latest_attention(store, run.id, epoch) for epoch in (None, 3, 30)]
    assert [each and each[0] for each in found] == [2, 2, 2]
    store.put_artifact(attention_key(run.id, 3), last.as_bytes())
    assert latest_attention(store, "nobody") is None


def test_the_brightest_place_of_a_tile_is_where_the_map_is_largest(
    page: Page, url: str, store: Store
) -> None:
    page.goto(f"{url}/?experiment={experiment_of(store, 'digits')}")
    wait_for_app(page)
    tile = page.locator(".kd-tiles img").nth(2)
    expect(tile).to_be_visible(timeout=120_000)
    address = str(tile.get_attribute("src"))
    data = base64.b64decode(address.partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)), float)
    colour = pixels.max(axis=2) - pixels.min(axis=2)  # the example below is grey
    places = colour.reshape(4, 32, 4, 32).mean(axis=(1, 3))
    assert places.argmax() == kept(store, "student", 3).maps["class token"][0].argmax()


def test_texts_are_coloured_by_what_was_read(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    page.goto(f"{url}/?experiment={experiment_of(store, 'languages')}")
    wait_for_app(page)
    texts = page.locator(".kd-parts")
    expect(texts).to_have_count(3, timeout=120_000)
    key = load_results(store, experiment_of(store, "languages")).experiment.dataset_key
    shown = str(examples(store, str(key), "probe")["images"][0])
    expect(texts.first).to_contain_text(shown)
    shares = [
        float(str(each.get_attribute("title")).split("%")[0])
        for each in texts.first.locator("span").all()
    ]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert complaints.messages == []


def test_try_it_says_where_each_looks_as_the_command_does(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    page.goto(f"{url}/try_it?experiment={experiment_of(store, 'digits')}")
    wait_for_app(page)
    page.get_by_role("radio", name="Test examples").click()
    expect(page.locator(".kd-tiles img")).to_have_count(6, timeout=180_000)
    seen = [str(each.get_attribute("alt")) for each in page.locator(".kd-tiles img").all()]
    page.goto(f"{url}/try_it?experiment={experiment_of(store, 'languages')}")
    wait_for_app(page)
    page.get_by_role("textbox", name="Type a text").press_sequentially("Österreich", delay=20)
    page.get_by_role("radio", name="Attention").click()
    expect(page.locator(".kd-parts span[title*='of its attention']")).to_have_count(30)
    assert complaints.messages == []
    key = load_results(store, experiment_of(store, "digits")).experiment.dataset_key
    first = examples(store, str(key), "test")["images"][0]
    file = io.BytesIO()
    Image.fromarray(first[..., 0]).save(file, "PNG")
    asked = ["predict", experiment_of(store, "digits"), "-", "--attention", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "kdcore", "--store", store.url, *asked],
        input=file.getvalue(),
        capture_output=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout)["answers"]
    assert list(answers["student"]["attention"]) == ["class token", "distillation token"]
    assert np.shape(answers["teacher"]["attention"]["feature maps"]) == (4, 4)
    assert len(seen) == 1 + sum(len(each["attention"]) for each in answers.values())
    asked = ["predict", experiment_of(store, "languages"), "--text", "Österreich", "--attention"]
    done = subprocess.run(
        [sys.executable, "-m", "kdcore", "--store", store.url, *asked],
        capture_output=True,
        cwd=REPOSITORY,
    )
    assert done.stdout.decode().count("mean over its tokens: most on") == 3, done.stderr[-2000:]


def test_the_heads_decide_apart_and_one_can_be_chosen_to_leave(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    experiment = experiment_of(store, "digits")
    page.goto(f"{url}/compare?models={experiment}&section=differ")
    wait_for_app(page)
    matrix = page.locator(".kd-apart")
    expect(matrix).to_be_visible(timeout=120_000)
    found = disagreement(store, compare(store, [experiment]))
    shown = [row.locator("td").all_inner_texts() for row in matrix.locator("tbody tr").all()]
    assert shown == [
        ["–" if row == column else f"{share:.1%}" for column, share in enumerate(shares)]
        for row, shares in enumerate(found.shares)
    ]
    page.goto(f"{url}/?experiment={experiment}")
    wait_for_app(page)
    expect(page.get_by_role("radio", name="Both, their mean")).to_be_checked(timeout=60_000)
    page.get_by_role("radio", name="Distillation token").click()
    page.get_by_role("button", name="Make downloads").click()
    expect(page.get_by_text("of one head alone: distillation token")).to_be_visible(timeout=300_000)
    page.get_by_role("radio", name="Teacher", exact=True).click()
    expect(page.get_by_text("Which head answers")).to_have_count(0)
    assert complaints.messages == []
    (run,) = load_results(store, experiment).runs("student")
    accuracy = run.summary["heads"]["distillation token"]["test_accuracy"]
    made = {each.format: each.report for each in exports(store, run.id) if each.report}
    assert made["keras"]["accuracy"] == pytest.approx(accuracy)


def test_maps_go_with_their_run(store: Store) -> None:
    experiment = experiment_of(store, "languages")
    (run,) = load_results(store, experiment).runs("student")
    assert store.artifact_keys(f"attention/{run.id}/")
    delete_experiments(store, [experiment])
    purge(store, [experiment])
    assert not store.artifact_keys(f"attention/{run.id}/")


def test_the_maps_that_a_method_compares_stand_beside_each_other(
    page: Page, url: str, store: Store, complaints: Complaints
) -> None:
    compared = experiment_of(store, "compared")
    page.goto(f"{url}/?experiment={compared}")
    wait_for_app(page)
    results = load_results(store, compared)
    found = {}
    for role in ("teacher", "student", "baseline"):
        latest = latest_attention(store, results.runs(role)[0].id)
        assert latest is not None
        found[role] = latest[1]
    pairs = list(found["student"].layers)
    tiles = page.locator(".kd-tiles img")
    expect(tiles).to_have_count(4, timeout=120_000)  # example, teacher, student, baseline
    chosen = page.get_by_role("radio", name=pairs[-1].replace(":", " with "))
    chosen.click()
    expect(chosen).to_be_checked()
    of_teacher, of_student = pairs[-1].split(":")
    said = [
        f"Teacher conv-16-32, {of_teacher}: {most_looked_at(found['teacher'].layers[of_teacher][0])}",
        *(
            f"{role.capitalize()} conv-4-8, after epoch 2, {of_student}: "
            f"{most_looked_at(found[role].layers[pairs[-1]][0])}"
            for role in ("student", "baseline")
        ),
    ]
    expect(tiles.last).to_have_attribute("alt", said[-1])
    assert [each.get_attribute("alt") for each in tiles.all()][1:] == said
    page.get_by_role("radio", name="The last maps").click()
    expect(page.locator(".kd-tiles").get_by_text("feature maps").first).to_be_visible()
    assert complaints.messages == []
