"""The command line does what the dashboard does, on the same store, and answers bad input in the
one form.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig, all_settings
from kdcore.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
QUICK = [
    "--training-examples",
    "200",
    "--teacher",
    "mlp-16",
    "--student",
    "mlp-4",
    "--labels",
    "50",
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('cli')}/store.db"


def kdcore(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kdcore", "--store", url, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


@pytest.fixture(scope="module")
def trained(url: str) -> dict:
    done = kdcore(
        url, "train", *QUICK, "--teacher-epochs", "2", "--epochs", "2", "--seeds", "1", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stderr, "a progress bar on stderr"
    return json.loads(done.stdout.splitlines()[-1])


def test_train_prints_one_object_last(trained: dict) -> None:
    assert set(trained) >= {"experiment", "teacher", "student", "baseline", "gain", "seconds"}
    for role in ("teacher", "student", "baseline"):
        assert len(trained[role]["accuracy"]) == 1
        assert 0 <= trained[role]["accuracy"][0] <= 1
        assert trained[role]["parameters"] > 0
    gain = 100 * (trained["student"]["accuracy"][0] - trained["baseline"]["accuracy"][0])
    assert trained["gain"]["mean"] == pytest.approx(gain)
    parts = [trained["seconds"][part] for part in ("teacher", "teacher_logits", "students")]
    assert trained["seconds"]["total"] == pytest.approx(sum(parts))


def test_list_and_show_tell_the_same_as_train(url: str, trained: dict) -> None:
    rows = json.loads(kdcore(url, "list", "--json").stdout)
    assert [row["experiment"] for row in rows][-1] == trained["experiment"]
    shown = json.loads(kdcore(url, "show", trained["experiment"], "--json").stdout)
    assert shown == trained
    words = kdcore(url, "show", trained["experiment"]).stdout
    assert trained["gain"]["verdict"] in words


def test_ctrl_c_stops_and_resume_goes_on(url: str, trained: dict) -> None:
    command = [
        sys.executable,
        "-m",
        "kdcore",
        "--store",
        url,
        "train",
        *QUICK,
        "--epochs",
        "10000",
        "--seeds",
        "1",
    ]
    command += ["--teacher-epochs", "2", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    store = Store(url)

    def newest() -> tuple:
        return store.experiments(limit=1)[0]

    deadline = time.monotonic() + 60
    while newest()[0].id == trained["experiment"] or "student" not in newest()[1].phase:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    stopped = json.loads(output.splitlines()[-1])
    assert stopped["status"] == "stopped"
    assert stopped["student"]["accuracy"] == []
    resume = subprocess.Popen(
        [sys.executable, "-m", "kdcore", "--store", url, "resume", stopped["experiment"]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=os.environ,
    )
    while store.job(stopped["experiment"]).status != "running":
        time.sleep(0.05)
    assert "stopping" in kdcore(url, "stop", stopped["experiment"]).stdout
    assert resume.wait(60) == 1
    assert store.job(stopped["experiment"]).status == "stopped"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--temperature", "-1"], "temperature must be above 0, got -1"),
        (["train", "--alpha", "two"], "alpha must be a number, got 'two'"),
        (["train", "--student", "conv-16"], "student must be a name such as"),
        (["train", "--labels", "3", "--epochs", "x"], "epochs must be a whole number, got 'x'"),
        (["show", "nonsense"], "there is no experiment 'nonsense'"),
        (["resume", "../../etc"], "there is no experiment or job '../../etc'"),
    ],
)
def test_bad_input_is_answered_in_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    answer = CliRunner().invoke(main, ["--store", f"sqlite:///{tmp_path}/store.db", *arguments])
    assert answer.exit_code in (1, 2)
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr + answer.stdout
    assert answer.stdout == ""


def test_a_config_file_gives_the_settings_and_options_come_on_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ExperimentConfig] = []

    def remember(_store: Store, config: ExperimentConfig, **_: str) -> str:
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "create", remember)
    file = tmp_path / "config.json"
    file.write_text(ExperimentConfig(alpha=0.7, temperature=3.0).to_json())
    arguments = [
        "--store",
        f"sqlite:///{tmp_path}/s.db",
        "train",
        "--config",
        str(file),
        "--alpha",
        "0.2",
        "--labels",
        "all",
    ]
    CliRunner().invoke(main, arguments)
    assert seen == [ExperimentConfig(alpha=0.2, temperature=3.0, labels=None)]
    seen.clear()
    for switch in (["--no-noise", "--no-balance"], ["--noise", "off", "--balance", "off"]):
        CliRunner().invoke(main, ["train", "--plan", "noisy-student", *switch])
    assert seen == [ExperimentConfig(plan="noisy-student", noise="off", balance="off")] * 2


def test_every_setting_is_an_option_with_its_help() -> None:
    words = " ".join(CliRunner().invoke(main, ["train", "--help"]).stdout.split())
    for name, field in all_settings().items():
        assert f"--{name.replace('_', '-')}" in words
        assert (field.description or "?").split(".")[0][:30] in words


def test_soften_gives_the_figures_of_the_temperature_page(url: str, trained: dict) -> None:
    import numpy as np
    from scipy.special import softmax
    from scipy.stats import entropy

    from kdcore.analysis.results import load_results, logits

    arguments = ("soften", "--experiment", trained["experiment"], "--temperature", "4")
    numbers = json.loads(kdcore(url, *arguments, "--json").stdout)
    store = Store(url)
    answers = logits(
        store, load_results(store, trained["experiment"]).runs("teacher")[0], "test"
    ).astype(float)
    assert numbers["entropy"] == pytest.approx(
        np.mean(entropy(softmax(answers / 4, axis=1), axis=1))
    )
    words = kdcore(url, *arguments).stdout
    assert f"entropy            {numbers['entropy']:.4f} nats" in words
    assert numbers["calibration"]["sentence"] in words
    assert f"{numbers['student']['accuracy']:.2%} right" in words
    assert numbers == json.loads(kdcore(url, *arguments, "--seed", "0", "--json").stdout)
    unknown = kdcore(url, *arguments, "--seed", "7")
    assert "seed must be between 0 and 0, the seeds of the experiment, got 7" in unknown.stderr
    refused = kdcore(url, "soften", "--experiment", trained["experiment"], "--temperature", "-1")
    assert "temperature must be above 0, got -1" in refused.stderr


# The command's worker leaves by itself, after this process has forgotten it.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_preset_is_a_start_like_others_and_says_what_it_shows(tmp_path: Path) -> None:
    command = ["--store", f"sqlite:///{tmp_path}/store.db", "train"]
    asked = [*command, "--preset", "Few labels (text)", "--how-long"]
    small = ["--training-examples", "200", "--teacher-epochs", "1", "--labels", "50"]
    done = CliRunner().invoke(main, [*asked, *small])
    assert done.exit_code == 0, done.output
    assert "In which of 15 languages is a phrase?" in done.output
    assert "its logits for all 200 training examples are kept, 12.0 kB" in done.output
    refused = CliRunner().invoke(main, [*command, "--preset", "Few labels (text)", "--like", "x"])
    assert refused.exit_code == 2
    assert "start must be one of --config, --like and --preset" in refused.output
