"""Models side by side: each number against scikit-learn, SciPy or a computation of its own, on two
real experiments.
"""

import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
from click.testing import CliRunner
from sqlalchemy import event

from benchmarks.compare import fill
from kdcore.analysis.comparison import COSTS, Comparison, compare
from kdcore.analysis.contenders import differing_settings, find_contenders, names, run_table, styles
from kdcore.analysis.curves import RunCurves, trace_name
from kdcore.analysis.disagreement import disagreement
from kdcore.analysis.library import delete_experiments
from kdcore.analysis.results import examples, logits, summary
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError, KDLabError, StoreError
from kdcore.palette import ROLE_NAMES
from kdcore.storage.schema import JobStatus, Run
from kdcore.storage.store import Store, new_id
from tests.support.postgres import PostgresServer


@pytest.fixture
def store(trained_store: Store) -> Store:
    return trained_store


@pytest.fixture
def experiments(store: Store) -> tuple[str, str]:
    """The experiments at T = 10 and at T = 2, which share their teacher."""
    (newer, _), (older, _) = store.experiments()
    return older.id, newer.id


@pytest.fixture
def found(store: Store, experiments: tuple[str, str]) -> Comparison:
    hot, cold = experiments
    return compare(store, [hot, f"{cold}:student"], temperature=3.0)


def softmax(values: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    return scipy.special.softmax(values.astype(float) / temperature, axis=1)


def test_what_an_experiment_and_a_role_name(
    found: Comparison, experiments: tuple[str, str]
) -> None:
    hot, cold = experiments
    expected = [f"{hot}:teacher", f"{hot}:student", f"{hot}:baseline", f"{cold}:student"]
    assert [each.id for each in found.contenders] == expected
    assert [len(each.trained) for each in found.contenders] == [1, 2, 2, 2]
    assert {each.state for each in found.contenders} == {"finished"}


def test_every_metric_equals_scikit_learn(store: Store, found: Comparison) -> None:
    teacher = found.contenders[0].runs[0]
    truth = examples(store, teacher.summary["dataset"], "test")["labels"]
    taught = logits(store, teacher, "test")
    classes = range(10)
    for contender, numbers in zip(found.contenders, found.numbers, strict=True):
        answers = [logits(store, run, "test") for run in contender.runs]
        said = [each.argmax(axis=1) for each in answers]
        scores = [sklearn.metrics.accuracy_score(truth, each) for each in said]
        assert numbers.accuracies == pytest.approx(scores)
        assert numbers.accuracy == pytest.approx(np.mean(scores))
        losses = [
            sklearn.metrics.log_loss(truth, softmax(each), labels=classes) for each in answers
        ]
        assert numbers.negative_log_likelihood == pytest.approx(np.mean(losses), rel=1e-5)
        errors = [calibration_error(softmax(each), truth) for each in answers]
        assert numbers.expected_calibration_error == pytest.approx(np.mean(errors), rel=1e-5)
        recalls = [
            sklearn.metrics.recall_score(truth, each, average=None, labels=classes) for each in said
        ]
        np.testing.assert_allclose(numbers.per_class, np.mean(recalls, axis=0))
        matrices = [sklearn.metrics.confusion_matrix(truth, each, labels=classes) for each in said]
        np.testing.assert_array_equal(numbers.confusion, np.sum(matrices, axis=0))
        if contender.role == "teacher":
            assert (numbers.agreement, numbers.kl) == (None, None)
            continue
        same = [sklearn.metrics.accuracy_score(taught.argmax(axis=1), each) for each in said]
        apart = [
            scipy.stats.entropy(softmax(taught, 3.0), softmax(each, 3.0), axis=1).mean()
            for each in answers
        ]
        assert numbers.agreement == pytest.approx(np.mean(same))
        assert numbers.kl == pytest.approx(np.mean(apart), rel=1e-5)


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.digitize(confidence, np.linspace(0, 1, 16)[1:-1], right=True)
    groups = [bins == index for index in range(15)]
    return sum(
        abs(right[group].mean() - confidence[group].mean()) * group.mean()
        for group in groups
        if group.any()
    )


def test_intervals_over_seeds_and_over_examples(store: Store, found: Comparison) -> None:
    student = found.numbers[1]
    interval = scipy.stats.ttest_1samp(student.accuracies, 0).confidence_interval(0.95)
    assert student.interval == pytest.approx((max(0, interval.low), min(1, interval.high)))
    assert student.interval_kind == "t over 2 seeds"
    teacher, run = found.numbers[0], found.contenders[0].runs[0]
    right, n = run.summary["test_correct"], run.summary["test_examples"]
    wilson = scipy.stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert teacher.interval == pytest.approx((wilson.low, wilson.high))
    assert teacher.interval_kind == f"Wilson, one run on {n} test examples"


def test_sizes_are_those_of_the_models(store: Store, found: Comparison) -> None:
    for contender, numbers in zip(found.contenders, found.numbers, strict=True):
        data = store.artifact(f"model/{contender.runs[0].id}")
        assert data is not None
        assert numbers.file_bytes == len(data)
    student, baseline = found.numbers[1:3]
    # conv-4-8 on 8x8 images: 40 + 296 + 330 weights and biases; 4x4x4x9 + 2x2x8x9x4 + 32x10
    # products
    assert student.parameters == baseline.parameters == 40 + 296 + 330
    assert student.multiply_accumulates == 16 * 4 * 9 + 4 * 8 * 9 * 4 + 320
    assert student.file_bytes is not None
    assert baseline.file_bytes == pytest.approx(student.file_bytes, rel=0.01), (
        "no optimizer in the baseline's file"
    )


def test_pairs_equal_scipy_and_the_experiments_own_verdict(
    store: Store, found: Comparison, experiments: tuple[str, str]
) -> None:
    assert len(found.pairs) == 6
    own = next(pair for pair in found.pairs if (pair.first, pair.second) == (1, 2))
    assert own.verdict == summary(store, experiments[0])["gain"]["verdict"]
    for pair in found.pairs:
        ids = [found.contenders[index] for index in (pair.first, pair.second)]
        one, two = ({run.seed: run.summary["test_accuracy"] for run in each.runs} for each in ids)
        if "teacher" in (ids[0].role, ids[1].role):
            assert pair.gain.n == 1
            assert pair.gain.outcome == "no difference"
            assert pair.gain.mean == pytest.approx(100 * (one[0] - two[0]))
        else:
            oracle = scipy.stats.ttest_rel([one[0], one[1]], [two[0], two[1]])
            assert pair.gain.n == 2
            assert pair.gain.mean == pytest.approx(50 * (one[0] - two[0] + one[1] - two[1]))
            assert pair.gain.p_value == pytest.approx(oracle.pvalue)


@pytest.mark.parametrize("seed", [0, 1])
def test_mcnemar_and_the_gallery_add_up(
    store: Store, experiments: tuple[str, str], seed: int
) -> None:
    found = compare(store, [experiments[0], f"{experiments[1]}:student"], seed=seed)
    truth = found.labels
    for pair in found.pairs:
        runs = [found.contenders[index].run(seed) for index in (pair.first, pair.second)]
        one, two = (logits(store, run, "test").argmax(axis=1) for run in runs if run is not None)
        table = [
            [np.sum((one == truth) & (two == truth)), np.sum((one == truth) & (two != truth))],
            [np.sum((one != truth) & (two == truth)), np.sum((one != truth) & (two != truth))],
        ]
        answers = pair.answers
        assert [[answers.both, answers.only_first], [answers.only_second, answers.neither]] == table
        discordant = (
            answers.only_first + answers.only_second
        )  # none, where two models are right about the same
        oracle = scipy.stats.binomtest(answers.only_first, discordant).pvalue if discordant else 1.0
        assert answers.p_value == pytest.approx(oracle)
        kinds = found.disagreements(pair.first, pair.second)
        assert len(kinds["only first"]) == answers.only_first
        assert len(kinds["only second"]) == answers.only_second
        assert (
            len(kinds["both wrong"])
            == np.sum((one != two) & (one != truth) & (two != truth))
            <= answers.neither
        )
        assert (
            sorted(itertools.chain(*list(kinds.values())[1:]))
            == kinds["all"].tolist()
            == np.flatnonzero(one != two).tolist()
        )
    everyone = found.any_disagreement()
    assert set(everyone) == {
        int(at)
        for pair in found.pairs
        for at in found.disagreements(pair.first, pair.second)["all"]
    }


def test_the_front_leaves_out_whoever_is_beaten(found: Comparison) -> None:
    for cost in ("parameters", "multiply_accumulates", "file_bytes"):
        points = [(numbers.cost(cost), numbers.accuracy) for numbers in found.numbers]
        for kept, (price, value) in zip(found.front(cost), points, strict=True):
            beaten = any(p <= price and v >= value and (p, v) != (price, value) for p, v in points)
            assert kept == (not beaten)
    assert not found.front("single_milliseconds").any(), "nothing is measured yet"
    with pytest.raises(ConfigError, match=r"cost must be one of parameters, .*, got 'price'"):
        found.front("price")


def test_only_settings_that_differ(
    store: Store, found: Comparison, experiments: tuple[str, str]
) -> None:
    assert found.settings_that_differ() == [("temperature", [None, 10.0, None, 2.0])]
    alone = compare(store, [experiments[0]])
    assert alone.settings_that_differ() == []


def test_names_and_looks(store: Store, found: Comparison, experiments: tuple[str, str]) -> None:
    assert [each.name for each in found.styles] == [
        "teacher",
        f"{ROLE_NAMES['student']} · T 10",
        ROLE_NAMES["baseline"],
        f"{ROLE_NAMES['student']} · T 2",
    ]
    assert [each.tone for each in found.styles] == ["teacher", "student", "baseline", "student-2"]
    alone = find_contenders(store, [experiments[1]])
    assert [each.name for each in styles(alone)] == [
        "teacher",
        ROLE_NAMES["student"],
        ROLE_NAMES["baseline"],
    ], "as on the Train page"
    store.update_experiment(experiments[0], name="First <b>try</b>")
    renamed = find_contenders(store, [each.id for each in found.contenders])
    assert names(renamed)[1] == f"{ROLE_NAMES['student']} · First <b>try</b>"
    runs = [run.id for run in found.contenders[1].runs]
    assert names(find_contenders(store, runs)) == [
        f"{ROLE_NAMES['student']} · seed {seed}" for seed in (0, 1)
    ]
    twins = [f"{each}:baseline" for each in experiments]
    assert len(set(names(find_contenders(store, twins)))) == 2, (
        "equal settings, so the ids tell them apart"
    )


def test_choices_that_cannot_be_compared(store: Store, experiments: tuple[str, str]) -> None:
    hot, cold = experiments
    mnist = store.create(ExperimentConfig(dataset="mnist"))
    other = store.create(ExperimentConfig(split_seed=7))
    refusals: list[tuple[list[str], type[KDLabError], str]] = [
        ([f"{hot}:student"], ConfigError, "models must be from 2 to 6, each another one, got 1"),
        ([f"{hot}:student", f"{hot}:student"], ConfigError, "each another one, got 1"),
        ([hot, cold, mnist], ConfigError, "models must be from 2 to 6, each another one, got 8"),
        (
            [hot, f"{mnist}:student"],
            ConfigError,
            r"of the same test data: .* has digits, split seed 0.*mnist, split seed 0",
        ),
        ([hot, f"{other}:student"], ConfigError, r"of the same test data: .*digits, split seed 7"),
        (
            [hot, f"{hot}:learner"],
            ConfigError,
            "role must be one of teacher, student, baseline, got 'learner'",
        ),
        ([hot, "nobody"], StoreError, "there is no experiment or run 'nobody'"),
        ([hot, "nobody:student"], StoreError, "there is no experiment 'nobody'"),
    ]
    for ids, kind, words in refusals:
        with pytest.raises(kind, match=words):
            compare(store, ids)
    with pytest.raises(ConfigError, match="temperature must be above 0, got 0"):
        compare(store, [hot], temperature=0)
    with pytest.raises(ConfigError, match="seed must be one of the trained ones, 0, 1, got 9"):
        compare(store, [hot], seed=9)


def test_a_shared_teacher_counts_once(store: Store, experiments: tuple[str, str]) -> None:
    assert [each.role for each in find_contenders(store, experiments)] == [
        "teacher",
        "student",
        "baseline",
        "student",
        "baseline",
    ]


def test_what_is_live_or_was_stopped_is_compared_for_what_it_has(
    store: Store, experiments: tuple[str, str]
) -> None:
    live = store.create(ExperimentConfig(training_examples=200, labels=50, seeds=2))
    run = Run(
        id=new_id(),
        fingerprint="f",
        role="student",
        seed=0,
        model="m",
        config=ExperimentConfig().model_dump(),
        parameters=12,
        experiment_id=live,
        created_at=time.time(),
    )
    ids = [f"{live}:student", f"{experiments[0]}:student"]
    assert compare(store, ids).contenders[0].state == "queued, 0 of 2 trained"
    store.claim_run(run, live, share=False)
    store.append_metrics(
        [
            {
                "run_id": run.id,
                "split": "validation",
                "step": 3,
                "epoch": 1.0,
                "seconds": 0.1,
                "accuracy": 0.5,
            }
        ]
    )
    store.claim("worker", live)
    found = compare(store, ids)
    assert found.contenders[0].state == "in training, 0 of 2 trained"
    assert (found.numbers[0].accuracy, found.numbers[0].parameters) == (None, 12)
    assert (found.pairs, found.predictions[0]) == ((), None)
    json.dumps(found.to_dict(), allow_nan=False)
    curves = RunCurves()
    assert curves.read_on(store, found.contenders)
    table = curves.table(found.contenders)
    assert table.loc[table["role"] == trace_name(found.contenders[0]), "accuracy"].tolist() == [0.5]
    assert set(table["role"]) == {trace_name(each) for each in found.contenders}
    assert not curves.read_on(store, found.contenders), "nothing is read twice"
    store.request_stop(live)
    store.finish(live, JobStatus.STOPPED)
    assert compare(store, ids).contenders[0].state == "stopped, 0 of 2 trained"


def test_measuring_in_a_job(store: Store, experiments: tuple[str, str]) -> None:
    """The measured times are this machine's, so only what must hold on any machine is claimed."""
    chosen = find_contenders(store, [experiments[0]])
    job = store.add_job("measure", {"run_ids": [each.trained[0].id for each in chosen]})
    assert run_job(store.url, job) == "finished"
    found = compare(store, [experiments[0]])
    for numbers in found.numbers:
        measured = numbers.latency
        assert measured is not None
        assert (
            0
            < measured["single_quartiles"][0]
            <= measured["single_milliseconds"]
            <= measured["single_quartiles"][1]
        )
        assert numbers.cost("batch_milliseconds") == measured["batch_milliseconds"] > 0
        assert measured["batch_milliseconds"] < 64 * measured["single_milliseconds"]
        assert measured["repeats"] >= 20
        assert measured["batch_size"] == 64
        assert "threads" in measured["machine"]
        assert measured["measured_at"] == pytest.approx(time.time(), abs=120)
    for cost in COSTS:
        assert found.front(cost).any()
    unfinished = store.add_job("measure", {"run_ids": ["nobody"]})
    assert run_job(store.url, unfinished) == "failed"
    assert store.job(unfinished).error == f"there is no run 'nobody' in {store.url}"


def test_the_command_prints_the_same_numbers(
    store: Store, found: Comparison, experiments: tuple[str, str]
) -> None:
    hot, cold = experiments
    arguments = ["--store", store.url, "compare", hot, f"{cold}:student", "--temperature", "3"]
    printed = CliRunner().invoke(main, [*arguments, "--json"])
    said = json.loads(printed.stdout)
    assert said.pop("disagreement") == disagreement(store, found).to_dict()
    assert said == json.loads(json.dumps(found.to_dict(), allow_nan=False))
    words = CliRunner().invoke(main, arguments).stdout
    for numbers in found.numbers:
        assert f"accuracy {numbers.accuracy:.2%}" in words
    for pair in found.pairs:
        assert pair.verdict in words
    refused = CliRunner().invoke(main, ["--store", store.url, "compare", f"{hot}:student"])
    assert (refused.exit_code, refused.stderr) == (
        2,
        "Error: models must be from 2 to 200, each another one, got 1\n",
    )


def test_the_table_to_choose_from(store: Store, experiments: tuple[str, str]) -> None:
    hot, cold = experiments
    table = run_table(store)
    assert table["id"].tolist() == [
        f"{cold}:baseline",
        f"{cold}:student",
        f"{hot}:baseline",
        f"{hot}:student",
        f"{hot}:teacher",
    ], "newest first; the teacher that the second reused once"
    assert table["seeds"].tolist() == [2, 2, 2, 2, 1]
    assert differing_settings(table) == ["temperature"]
    own = table.set_index("id").loc[f"{hot}:student"]
    assert own["accuracy"] == pytest.approx(np.mean(summary(store, hot)["student"]["accuracy"]))
    assert (own["status"], own["temperature"], own["model"]) == ("finished", 10.0, "conv-4-8")
    assert math.isnan(table.set_index("id").loc[f"{hot}:baseline", "temperature"]), (
        "it depends on no T"
    )
    by_seed = run_table(store, by_seed=True)
    assert len(by_seed) == 9
    assert len(find_contenders(store, by_seed["id"].tolist()[:6])) == 6


def test_what_is_in_the_trash_is_not_offered(store: Store, experiments: tuple[str, str]) -> None:
    delete_experiments(store, [experiments[0]])
    table = run_table(store)
    assert set(table["experiment"]) == {experiments[1]}
    assert set(table["role"]) == {"teacher", "student", "baseline"}, (
        "the shared teacher now comes with the other"
    )


def test_the_table_reads_no_metric(store: Store) -> None:
    statements: list[str] = []
    event.listen(store._engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    run_table(store)
    assert len(statements) <= 3, "not one a run"
    assert not any(
        name in statement for statement in statements for name in ("metrics", "artifacts", "probes")
    )


def test_choosing_and_curves_on_postgresql(postgres: PostgresServer) -> None:
    store = Store(postgres.new_url())
    assert fill(store, runs=14, points=3) == 14
    table = run_table(store)
    assert len(table) == 6
    assert table["accuracy"].tolist() == pytest.approx([0.91, 0.91, 0.9] * 2)
    assert len(run_table(store, by_seed=True)) == 14
    chosen = find_contenders(store, [table["experiment"][0]])
    assert [each.state for each in chosen] == ["finished"] * 3
    curves = RunCurves()
    assert curves.read_on(store, chosen)
    assert len(curves.table(chosen)) == 7 * 3
    delete_experiments(store, [table["experiment"][0]])
    assert len(run_table(store)) == 3
    store.close()


def test_an_empty_store_has_an_empty_table(tmp_path: Path) -> None:
    table = run_table(Store(f"sqlite:///{tmp_path}/store.db"))
    assert table.empty
    assert differing_settings(table) == []
