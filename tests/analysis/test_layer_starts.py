"""What is drawn and said of where a student starts is what the plan trains with."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from kdcore.analysis.layer_starts import LayerStarts, layer_starts
from kdcore.charts.layer_starts import draw_layer_starts
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.plans import plan_of
from kdcore.plans.distilbert import DistilBert

CONFIG = ExperimentConfig(dataset="languages", plan="distilbert")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (4, (0, 2))),
        ({"layers": "4, 1"}, (4, (3, 0))),
        ({"teacher": "transformer-6-32", "student": "transformer-3-32"}, (6, (0, 2, 4))),
    ],
)
def test_they_are_those_of_the_plan(
    changes: dict[str, str], expected: tuple[int, tuple[int, ...]]
) -> None:
    config = CONFIG.replace(**changes)
    found = layer_starts(config)
    assert found == LayerStarts(*expected)
    assert isinstance(config.plan, DistilBert)
    assert found.student == config.plan.layers_of(config)
    trained = plan_of(config).step("distilled language model").pretraining
    assert trained is not None
    assert found.student == trained.layers


def test_a_fresh_start_and_other_plans_have_none() -> None:
    assert layer_starts(CONFIG.replace(layer_start="off")) is None
    assert layer_starts(ExperimentConfig()) is None


@pytest.mark.parametrize("student", [(0, 2), (3, 0), (1, 1)])
def test_each_line_leads_from_the_teachers_layer_to_the_students(student: tuple[int, ...]) -> None:
    figure = draw_layer_starts(LayerStarts(4, student))
    traces = {trace.uid: trace for trace in figure.data}
    assert traces["teacher"].text == ("embeddings", *(f"layer {at}" for at in (1, 2, 3, 4)), "head")
    assert traces["student"].text == ("embeddings", "layer 1", "layer 2", "head")
    ends = [list(traces[f"start-{number}"].y) for number in range(4)]
    teacher, own = list(traces["teacher"].y), list(traces["student"].y)
    places = (0, *(at + 1 for at in student), 5)
    assert ends == [[teacher[at], own[number]] for number, at in enumerate(places)]
    assert len(set(own)) == 4, "no layer of the student hides another"
    bare = [
        text
        for text, tone in zip(traces["teacher"].text, traces["teacher"].marker.color, strict=True)
        if tone != traces["teacher"].marker.color[0]
    ]
    assert bare == [f"layer {at + 1}" for at in range(4) if at not in student]


def test_the_command_line_says_the_same() -> None:
    asked = ["layers", "--plan=distilbert", "--dataset=languages", "--layers=2,4"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert [line.split(maxsplit=1) for line in done.output.splitlines()[1:3]] == [
        ["embeddings", "from embeddings"],
        ["layer", "1    from layer 2"],
    ]
    done = CliRunner().invoke(main, [*asked, "--json"])
    assert json.loads(done.output) == {"starts": {"teacher": 4, "student": [2, 4]}}
    done = CliRunner().invoke(main, [*asked[:3], "--layers=5,6"])
    assert done.exit_code == 2
    assert "layers must be empty, or 2 numbers from 1 to 4, got '5,6'" in done.output
    done = CliRunner().invoke(main, [*asked[:3], "--layer-start=off"])
    assert "method must be one on features, unless the plan starts the student" in done.output
