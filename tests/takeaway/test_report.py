"""The report: one HTML file that stands alone, says what the store says, and takes no text for
markup.
"""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser

from kdcore.analysis import library
from kdcore.analysis.results import examples, gain, load_results, logits, summary, who_saw_what
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import ConfigError, StoreError
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.takeaway.report import html_report

HOSTILE = "</script><script>window.stolen=1</script><img src=x onerror=window.stolen=1>"


def both(store: Store) -> list[str]:
    return [experiment.id for experiment, _ in reversed(store.experiments())]


class Parsed(HTMLParser):
    """Elements, the words between them, and the figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words, self.scripts, self._inside = "", [""], ""
        self.feed(text)
        self.figures = [
            json.loads(script) for script in self.scripts if script.startswith('{"data"')
        ]
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.words += " "
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        self.words += " "

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words += data


def test_a_report_says_what_the_store_says(trained_store: Store) -> None:
    first, _ = both(trained_store)
    library.edit(trained_store, [first], name="Ablation 7", note="as agreed", add_tags=["thesis"])
    report = Parsed(html_report(trained_store, [first]))
    results, figures = load_results(trained_store, first), summary(trained_store, first)
    found = gain(trained_store, results)
    assert found is not None
    assert found.verdict in report.words
    assert (
        f"n = 2 pairs of student and baseline, each from the same start; {found.test}"
        in report.words
    )
    assert who_saw_what(results.config) in report.words
    for words in ("Ablation 7", "as agreed", "thesis", first, results.config.describe()):
        assert words in report.words
    for role in ("teacher", "student", "baseline"):
        mean = sum(figures[role]["accuracy"]) / 2
        assert f"{100 * mean:.2f} %" in report.words
        assert f"{figures[role]['parameters']:,}" in report.words
    for _, run in results.links:
        recorded = run.summary["versions"]
        assert set(recorded) == {"kdcore", "python", "keras", "tensorflow", "numpy"}
        assert all(f"{name} {version}" in report.words for name, version in recorded.items())
    assert "Temperature T 10 " in report.words
    curves, losses, distances, softened = report.figures
    names = {trace.get("name") for trace in curves["data"]}
    # The curves are of validation data, and so is the line beside them.
    (teacher,) = results.runs("teacher")
    labels = examples(trained_store, teacher.summary["dataset"], "validation")["labels"]
    right = (logits(trained_store, teacher, "validation").argmax(axis=1) == labels).mean()
    assert {
        "student (distilled)",
        "baseline (from scratch)",
        f"teacher {right:.1%} (validation)",
    } <= names
    assert [len(figure["data"]) > 0 for figure in (losses, distances)] == [True, True]
    assert [note["text"] for note in softened["layout"]["annotations"]] == [
        "teacher, T = 1",
        "teacher, T = 10",
        "student, seed 0, T = 10",
        "baseline, seed 0, T = 10",
    ]
    assert any(
        tag == "img" and (given["src"] or "").startswith("data:image/png;base64,")
        for tag, given in report.elements
    )


def test_nothing_in_a_report_points_outside(trained_store: Store) -> None:
    report = Parsed(html_report(trained_store, both(trained_store)))
    addresses = [
        value
        for _, given in report.elements
        for name, value in given.items()
        if name in ("src", "href")
    ]
    assert addresses
    assert all(address and address.startswith(("data:", "#")) for address in addresses)
    assert not any(
        tag in ("link", "iframe", "object", "base", "form") for tag, _ in report.elements
    )
    policy = next(given["content"] for tag, given in report.elements if given.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_text_of_users_is_shown_and_never_markup(trained_store: Store) -> None:
    first, second = both(trained_store)
    plain = Parsed(html_report(trained_store, [first, second]))
    library.edit(
        trained_store, [first, second], name=HOSTILE, note=HOSTILE, add_tags=["<b>tag</b>"]
    )
    written = html_report(trained_store, [first, second])
    report = Parsed(written)
    counts = [sum(tag == each for tag, _ in report.elements) for each in ("script", "img")]
    assert counts == [sum(tag == each for tag, _ in plain.elements) for each in ("script", "img")]
    assert report.words.count(HOSTILE) >= 3
    assert "<b>tag</b>" in report.words
    together = next(
        figure
        for figure in report.figures
        if any(t.get("uid") == "experiment-1" for t in figure["data"])
    )
    legend = next(trace["name"] for trace in together["data"] if trace["uid"] == "experiment-1")
    assert legend.startswith("1: &lt;/script&gt;")
    assert html.escape(HOSTILE) in written


def test_several_experiments_say_what_changed(trained_store: Store) -> None:
    first, second = both(trained_store)
    report = Parsed(html_report(trained_store, [first, second, first]))
    assert "What changed, and what came of it" in report.words
    rows = re.findall(
        r"(\d) (?:conv-16-32 teaches conv-4-8) (\S+) ([\d.]+) % ([\d.]+) % ([\d.]+) %", report.words
    )
    assert [(number, temperature) for number, temperature, *_ in rows] == [
        ("1", "10"),
        ("2", "2"),
    ], "only T differs"
    for row, experiment_id in zip(rows, (first, second), strict=True):
        figures = summary(trained_store, experiment_id)
        means = [
            100 * sum(figures[role]["accuracy"]) / 2 for role in ("teacher", "student", "baseline")
        ]
        assert [float(value) for value in row[2:]] == pytest.approx(means, abs=0.005)
    assert len(report.figures) == 2 * 4 + 1


def test_single_runs_are_reported_and_a_pair_of_them_has_a_verdict(trained_store: Store) -> None:
    first, _ = both(trained_store)
    results = load_results(trained_store, first)
    student, baseline = results.runs("student")[1], results.runs("baseline")[1]
    alone = Parsed(html_report(trained_store, [student.id]))
    assert "baseline (from scratch)" not in alone.words
    assert "pairs of student" not in alone.words
    pair = Parsed(html_report(trained_store, [student.id, baseline.id]))
    assert "n = 1 pair of student and baseline" in pair.words
    assert "One seed cannot tell luck from merit" in pair.words
    assert f"{100 * student.summary['test_accuracy']:.2f} %" in pair.words


def test_what_is_not_finished_is_reported_as_far_as_it_came(trained_store: Store) -> None:
    waiting = trained_store.create(ExperimentConfig())
    assert (
        "Still queued when this was written" in Parsed(html_report(trained_store, [waiting])).words
    )
    trained_store.claim("worker", waiting)
    trained_store.finish(waiting, JobStatus.FAILED, error="the loss is <not> finite")
    words = Parsed(html_report(trained_store, [waiting])).words
    assert (
        "This experiment has failed: the loss is <not> finite. What follows is what there was."
        in words
    )
    first, _ = both(trained_store)[:2]
    for run in load_results(trained_store, first).runs("teacher"):
        trained_store.update_run(
            run.id, summary={k: v for k, v in run.summary.items() if k != "versions"}
        )
    assert "kdcore 0.1.0" in Parsed(html_report(trained_store, [first])).words, (
        "the students' are known"
    )


def test_refusals_and_the_command_line(trained_store: Store, tmp_path: Path) -> None:
    first, second = both(trained_store)
    with pytest.raises(StoreError, match="no experiment 'nobody'"):
        html_report(trained_store, [first, "nobody"])
    with pytest.raises(ConfigError, match="experiments must be 1 to 50, got 0"):
        html_report(trained_store, [])
    library.delete_experiments(trained_store, [second])
    with pytest.raises(StoreError, match="in the trash"):
        html_report(trained_store, [second])
    file = tmp_path / "report.html"
    answer = CliRunner().invoke(
        main, ["--store", trained_store.url, "report", first, "--html", str(file)]
    )
    assert "opens in any browser without a network" in answer.stdout
    minutes = re.compile(r"written [\d-]+ [\d:]+ UTC")
    assert minutes.sub("", file.read_text("utf-8")) == minutes.sub(
        "", html_report(trained_store, [first])
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_opens_offline_with_its_charts_drawn(
    chromium: Browser, trained_store: Store, tmp_path: Path, scheme: str
) -> None:
    library.edit(trained_store, both(trained_store), name=HOSTILE, note=HOSTILE)
    file = tmp_path / "report.html"
    file.write_text(html_report(trained_store, both(trained_store)), encoding="utf-8")
    context = chromium.new_context(color_scheme=scheme, offline=True)  # type: ignore[arg-type]
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    page.goto(file.as_uri())
    page.wait_for_function("document.querySelectorAll('.plot .main-svg').length > 0")
    drawn = page.eval_on_selector_all(
        ".plot",
        "plots => plots.map(plot => plot.querySelectorAll('.scatterlayer .trace path.js-line, .point path').length)",
    )
    assert len(drawn) == 9
    assert all(count > 0 for count in drawn), "every chart has lines or bars"
    tone = page.evaluate(
        "document.querySelector('.plot').data.find(trace => trace.uid === 'experiment-1').line.color"
    )
    assert tone == ("#2563eb" if scheme == "light" else "#60a5fa")
    assert page.evaluate("window.stolen") is None
    assert page.get_by_text(HOSTILE).count() >= 3
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()
