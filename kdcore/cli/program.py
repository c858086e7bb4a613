"""The command line: ``python -m kdcore``. The same configs, jobs and store as the dashboard."""

from __future__ import annotations

import contextlib
import json
import typing
from typing import Any

import click

from kdcore import plans
from kdcore.analysis.guessing import guessing_teachers
from kdcore.analysis.noise_twin import find_twin
from kdcore.analysis.omitted_classes import Errors, as_dict, errors
from kdcore.analysis.results import load_results, summary
from kdcore.analysis.results import soften as soften_report
from kdcore.analysis.statistics import gain_in_words
from kdcore.analysis.teaching_cost import teaching_cost
from kdcore.analysis.temperature import format_percent
from kdcore.analysis.unsettled import WHY, is_unsettled
from kdcore.cli import library as cli_library
from kdcore.cli.candidates import candidates_command
from kdcore.cli.common import TEST_ANYWAY, Commands, SettingsCommand, follow, refuse_unsettled
from kdcore.cli.compare import compare_command
from kdcore.cli.data import data
from kdcore.cli.export import export_command
from kdcore.cli.glossary import glossary_command
from kdcore.cli.layers import find_layer_pairs, layers_command
from kdcore.cli.lesson import lesson_commands
from kdcore.cli.model import model
from kdcore.cli.predict import predict_command
from kdcore.cli.race import race
from kdcore.cli.report import report
from kdcore.cli.reproduce import reproduce_command
from kdcore.cli.robustness import robustness_command
from kdcore.cli.sweep import sweep
from kdcore.cli.takeaway import decide, figure, log_to, table
from kdcore.config.catalog import load_plugins, network_in_words
from kdcore.config.experiment import ExperimentConfig, read_setting
from kdcore.config.presets import PRESET_SAYS, PRESETS, preset
from kdcore.engine.base import Engine
from kdcore.engine.choice import make_engine
from kdcore.errors import ConfigError, require
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store, default_url
from kdcore.sweeps import speed as sweep_speed


@click.group(cls=Commands)
@click.option(
    "--store",
    "store_url",
    default=default_url,
    show_default="KD_STORE, or KD Lab's own",
    help="Store URL.",
)
@click.pass_context
def main(ctx: click.Context, store_url: str) -> None:
    """Knowledge distillation with Keras: train experiments, look at them, and keep them in
    order.

    The command kdlab without arguments opens the dashboard.
    """
    ctx.obj = store_url
    load_plugins()
    # Open from the start: a config may name data and models of the users' own.
    ctx.meta["kdcore.storage.store"] = store = Store(store_url)
    ctx.call_on_close(store.close)


@main.command(cls=SettingsCommand)
@click.option(
    "--config",
    "config_file",
    type=click.File("rb"),
    help="A JSON file of settings; options come on top.",
)
@click.option(
    "--like", metavar="ID", help="Start from the settings of this experiment; options come on top."
)
@click.option(
    "--preset",
    "preset_name",
    metavar="NAME",
    help=f"Start from one of these; options come on top: {', '.join(PRESETS)}.",
)
@click.option("--name", default="", help="A name for lists.")
@click.option(
    "--reuse",
    type=click.Choice(["none", "teacher", "all"]),
    default="teacher",
    show_default=True,
    help="Which models that are trained already may serve again.",
)
@click.option(
    "--how-long", is_flag=True, help="Say how long it will take on this machine, and train nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def train(
    store_url: str,
    config_file: typing.BinaryIO | None,
    like: str | None,
    preset_name: str | None,
    name: str,
    reuse: str,
    how_long: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train teacher, student and baseline, and report what distillation gained.

    Ctrl-C stops, and keeps the work.
    """
    starts = {"--config": config_file, "--like": like, "--preset": preset_name}
    named = [option for option, given_start in starts.items() if given_start]
    require(len(named) < 2, "start", "one of --config, --like and --preset", " and ".join(named))
    store = Store(store_url)
    base = ExperimentConfig.from_json(config_file.read()) if config_file else None
    if like is not None:
        base = ExperimentConfig(**store.experiment(like).config)
    if preset_name is not None:
        base = preset(preset_name)
        click.echo(PRESET_SAYS[preset_name], err=True)
    settings = {key: read_setting(key, value) for key, value in given.items() if value is not None}
    config = ExperimentConfig(**settings) if base is None else base.replace(**settings)
    # The workers of a command leave when the command's work is done.
    engine = make_engine(store, idle_seconds=2.0)
    if how_long:
        _say_how_long(store, engine, config)
        return
    experiment_id = store.create(config, name=name, reuse=reuse)
    engine.submit(experiment_id)
    status = follow(store, engine, experiment_id)
    result = _result(store, experiment_id)
    click.echo(json.dumps(result) if as_json else _in_words(result))
    raise SystemExit(0 if status is JobStatus.FINISHED else 1)


def _result(store: Store, experiment_id: str) -> dict[str, Any]:
    """Return an experiment's result, with what it makes of classes that were left out."""
    results = load_results(store, experiment_id)
    found, twin = errors(store, results), find_twin(store, results)
    more: dict[str, Any] = {"omitted_classes": as_dict(found)} if found else {}
    if guessing := guessing_teachers(store, results):
        more["guessing_teachers"] = guessing
    if results.teacher_features:
        more["teacher_features"] = results.teacher_features
    if results.compiled_steps:
        more["compiled_steps"] = results.compiled_steps
    if twin is not None:
        more["noise_twin"] = {**twin.to_dict(), "words": twin.words}
    return summary(store, experiment_id) | more


def _say_how_long(store: Store, engine: Engine, config: ExperimentConfig) -> None:
    """Measure the speeds that are not known yet, and say what an experiment costs."""
    for job_id in sweep_speed.measure(store, sweep_speed.training_time(store, config).unknown):
        engine.submit(job_id)
        follow(store, engine, job_id)
    click.echo(f"{sweep_speed.training_time(store, config)} on this machine")
    if cost := teaching_cost(config):
        click.echo(cost)
    if config.method.needs.teacher == "features":
        click.echo(find_layer_pairs(store, config).cost(config))


@main.command()
@click.argument("experiment_id")
@click.option("--test-anyway", is_flag=True, help=TEST_ANYWAY)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def show(store_url: str, experiment_id: str, test_anyway: bool, as_json: bool) -> None:
    """Show an experiment's result, or how far it is.

    Of a cell of a sweep that has no winner yet, validation data.
    """
    store = Store(store_url)
    result = _result(store, experiment_id)
    if not test_anyway and is_unsettled(store, experiment_id):
        result = without_test_data(result)
    click.echo(json.dumps(result) if as_json else _in_words(result))


@main.command()
@click.option(
    "--experiment", "experiment_id", required=True, help="An experiment whose teacher is trained."
)
@click.option("--temperature", type=float, default=1.0, show_default=True, help="T, above 0.")
@click.option(
    "--seed",
    type=int,
    default=None,
    help="Seed of student and baseline. [default: the experiment's first]",
)
@click.option("--test-anyway", is_flag=True, help=TEST_ANYWAY)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def soften(
    store_url: str,
    experiment_id: str,
    temperature: float,
    seed: int | None,
    test_anyway: bool,
    as_json: bool,
) -> None:
    """Show what a temperature does to a teacher's answers on test data: the numbers of the
    Temperature page.
    """
    store = Store(store_url)
    if not test_anyway:
        refuse_unsettled(store, [experiment_id])
    numbers = soften_report(store, experiment_id, temperature, seed)
    click.echo(json.dumps(numbers) if as_json else _softened_in_words(numbers))


@main.command()
@click.argument("experiment_id")
@click.pass_obj
def stop(store_url: str, experiment_id: str) -> None:
    """Stop an experiment; what it has trained is kept, and resume goes on from there."""
    store = Store(store_url)
    make_engine(store).cancel(experiment_id)
    click.echo(
        f"{experiment_id}: {'stopping' if JobStatus(store.job(experiment_id).status).live else 'not running'}"
    )


@main.command()
@click.argument("experiment_id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last on stdout.")
@click.pass_obj
def resume(store_url: str, experiment_id: str, as_json: bool) -> None:
    """Go on with a stopped, failed or interrupted experiment from its last checkpoint."""
    store = Store(store_url)
    engine = make_engine(store, idle_seconds=2.0)
    store.requeue(experiment_id)
    engine.submit(experiment_id)
    status = follow(store, engine, experiment_id)
    result = _result(store, experiment_id)
    click.echo(json.dumps(result) if as_json else _in_words(result))
    raise SystemExit(0 if status is JobStatus.FINISHED else 1)


def _softened_in_words(numbers: dict[str, Any]) -> str:
    calibration = numbers["calibration"]
    alike = ", ".join(
        f"{pair['true']} → {pair['other']} ({format_percent(pair['probability'])})"
        for pair in numbers["confusions"]
    )
    lines = [
        f"teacher {numbers['teacher_run']} at T = {numbers['temperature']:g} on {numbers['examples']:,} test examples of "
        f"{numbers['classes']} classes, {numbers['accuracy']:.2%} right at any T",
        f"  entropy            {numbers['entropy']:.4f} nats, as among {numbers['effective_classes']:.2f} equal classes",
        f"  top probability    {numbers['top_probability']:.2%}, under 50 % for {numbers['share_under_half']:.2%} of examples",
        f"  calibration error  {numbers['expected_calibration_error']:.2%}; {calibration['error_before']:.2%} at T = 1, "
        f"{calibration['error_after']:.2%} where calibrated. {calibration['sentence']}",
        f"  most alike         {alike}",
    ]
    for role in ("student", "baseline"):
        if (part := numbers[role]) is not None:
            distance = (
                "beyond measure" if part["mean_kl"] is None else f"{part['mean_kl']:.4f} nats"
            )
            words = f"{part['accuracy']:.2%} right, agrees on {part['agreement']:.2%}, mean KL from the teacher {distance}"
            lines.append(f"  {role:<18} {words} (seed {numbers['seed']})")
    return "\n".join(lines)


def without_test_data(result: dict[str, Any]) -> dict[str, Any]:
    """Return a summary without what test data says, and why."""
    hidden = {**result, "gain": None, "test_data": WHY}
    for name in ("gains_over_teachers", "gains_over_baselines", "ensembles", "noise_twin"):
        hidden.pop(name, None)
    for step in plans.plan_of(ExperimentConfig.unchecked(result["config"])).names:
        if "accuracy" in result[step]:
            hidden[step] = {**result[step], "accuracy": []}
        else:
            hidden[step] = {**result[step], "test_masked_loss": None, "test_masked_accuracy": None}
    return hidden


def _in_words(result: dict[str, Any]) -> str:
    lines = [f"experiment {result['experiment']}: {result['status']}"]
    for step in plans.plan_of(ExperimentConfig.unchecked(result["config"])).names:
        part = result[step]
        hidden = "test_data" in result
        if "accuracy" not in part:
            lines.append(f"  {_guessed_in_words(step, part, 'validation' if hidden else 'test')}")
            continue
        known = part["validation_accuracy"] if hidden else part["accuracy"]
        accuracies = ", ".join(f"{100 * accuracy:.2f} %" for accuracy in known)
        accuracies = accuracies or "not trained yet"
        parameters = f"{part['parameters']:,} parameters" if part["parameters"] else ""
        if said := _said_of(part["model"], result["config"]["dataset"]):
            parameters = f"{parameters}, {said}" if parameters else said
        reused = ", reused" if part["reused"] else ""
        lines.append(f"  {step:<9} {part['model']:<14} {accuracies}  ({parameters}{reused})")
    if result["gain"]:
        lines.append(result["gain"]["verdict"])
    lines += result.get("guessing_teachers", [])
    if "teacher_features" in result:
        lines.append(f"Features of the teacher: {result['teacher_features']}.")
    if "compiled_steps" in result:
        lines.append(result["compiled_steps"])
    if hidden:
        lines.append(f"Accuracies are on validation data. {WHY}")
    lines += [
        f"  {step} over its teacher: {gain_in_words(found)}"
        for step, found in result.get("gains_over_teachers", {}).items()
    ]
    lines += [
        f"  student over {step}: {gain_in_words(found)}"
        for step, found in result.get("gains_over_baselines", {}).items()
    ]
    for step, each in result.get("ensembles", {}).items():
        lines.append(
            f"  {step} averaged with the generations before it: {100 * each['mean']:.2f} % "
            f"(95 % CI {100 * each['low']:.2f} to {100 * each['high']:.2f}, {each['interval']})"
        )
    if twin := result.get("noise_twin"):
        lines.append(f"  beside experiment {twin['experiment']}, {twin['words']}")
    lines += [f"  {_mistakes_in_words(*of)}" for of in result.get("confident_mistakes", {}).items()]
    if not hidden:
        omitted = result.get("omitted_classes", {})
        lines += [f"  {role}: {Errors(**found)}" for role, found in omitted.items()]
    return "\n".join(lines)


def _said_of(network: str, dataset: str) -> str:
    """Return what the data decides of a network; nothing where either has since been removed."""
    with contextlib.suppress(ConfigError):
        return network_in_words(network, dataset)
    return ""


def _mistakes_in_words(step: str, mistakes: list[dict[str, Any]]) -> str:
    """Say which wrong pseudo-label a step's teacher was surest of."""
    surest = mistakes[0]
    return (
        f"{step}, the surest wrong pseudo-label: row {surest['row']}, taken for {surest['given']} "
        f"at {format_percent(surest['confidence'])}, is {surest['true']}"
    )


def _guessed_in_words(step: str, part: dict[str, Any], split: str) -> str:
    """Say how well a language model guesses masked tokens."""
    loss, right = part[f"{split}_masked_loss"], part[f"{split}_masked_accuracy"]
    if loss is None:
        return f"{step} {part['model']}  not trained yet"
    return f"{step} {part['model']}  {loss:.3f} nats a masked token, {right:.1%} guessed right, {split} texts"


main.add_command(compare_command)
main.add_command(robustness_command)
main.add_command(race)
for command in cli_library.COMMANDS:
    main.add_command(command)
main.add_command(export_command)
main.add_command(data)
main.add_command(candidates_command)
main.add_command(layers_command)
main.add_command(lesson_commands)
main.add_command(model)
main.add_command(sweep)
main.add_command(report)
for command in (figure, table, decide, log_to):
    main.add_command(command)
main.add_command(reproduce_command)
main.add_command(predict_command)
main.add_command(glossary_command)
