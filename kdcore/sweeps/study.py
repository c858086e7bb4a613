"""A sweep's Optuna study: it lives in the store's own database, so ``optuna-dashboard`` shows it as
well.

Optuna is imported where it is used: most of KD Lab has no need of it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, text
from sqlalchemy.engine import make_url

from kdcore.config.experiment import digest
from kdcore.config.sweep import Axis, SweepConfig, is_log, is_number, is_whole

if TYPE_CHECKING:
    import optuna


class Study:
    """What a sweep asks of Optuna: which cell to train next, whether a cell is worth going on with,
    what mattered.

    The value of a trial is the mean validation accuracy of its seeds, its steps are epochs.
    ``seed`` fixes the sampler's next choice.
    """

    def __init__(
        self, url: str, sweep_id: str, config: SweepConfig, seed: int | None = None
    ) -> None:
        import optuna

        self.config = config
        self.storage = _storage(url)
        self.distributions = {axis.field: _distribution(axis) for axis in config.axes}
        # A cell must be among the better half after a quarter of its epochs, and again after a
        # half.
        first_rung = max(1, round(config.base.epochs / 4))
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=2)
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=study_name(sweep_id, config),
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=pruner if config.prune else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )

    def ask(self, experiment_id: str) -> tuple[int, dict[str, Any]]:
        """Let the sampler choose a cell; returns the trial's id and the varied settings."""
        trial = self.study.ask(self.distributions)
        trial.set_user_attr("experiment", experiment_id)
        return trial._trial_id, {
            name: _plain(name, trial.params[name]) for name in self.config.fields
        }

    def begin(self, experiment_id: str, values: Mapping[str, Any]) -> int:
        """Enter a cell that was chosen already, one of a grid; returns the trial's id."""
        import optuna

        state = optuna.trial.TrialState.RUNNING
        trial = optuna.trial.create_trial(
            state=state,
            params=dict(values),
            distributions=self.distributions,
            user_attrs={"experiment": experiment_id},
        )
        return self.storage.create_new_trial(self.study._study_id, template_trial=trial)

    def report(self, trial_id: int, epoch: int, accuracy: float) -> bool:
        """Tell how a trial does after ``epoch``; returns whether it should be given up."""
        import optuna

        if self.over(trial_id):
            return False
        trial = optuna.trial.Trial(self.study, trial_id)
        trial.report(accuracy, epoch)
        return trial.should_prune()

    def over(self, trial_id: int) -> bool:
        """Return whether a trial has ended."""
        return self.storage.get_trial(trial_id).state.is_finished()

    def finish(self, trial_id: int, accuracy: float) -> None:
        """Tell the result of a trial; one that has ended before keeps its first result."""
        self._end(trial_id, "COMPLETE", [accuracy])

    def prune(self, trial_id: int) -> None:
        """Tell that a trial was given up."""
        self._end(trial_id, "PRUNED", None)

    def fail(self, trial_id: int) -> None:
        """Tell that a trial broke."""
        self._end(trial_id, "FAIL", None)

    def _end(self, trial_id: int, state: str, values: list[float] | None) -> None:
        import optuna

        if not self.over(trial_id):
            self.storage.set_trial_state_values(trial_id, optuna.trial.TrialState[state], values)

    def importances(self) -> dict[str, float]:
        """Return how much of the variation in accuracy each varied setting explains, from 0 to 1,
        adding up to 1.

        PED-ANOVA over the completed trials (Watanabe et al. 2023), Optuna's default. Empty while
        there are too few trials or all did the same.
        """
        import optuna

        done = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if len(done) < 4 or len({trial.value for trial in done}) < 2 or len(self.distributions) < 2:
            return {}
        return dict(optuna.importance.get_param_importances(self.study))


def study_name(sweep_id: str, config: SweepConfig) -> str:
    """Return the name of a sweep's study.

    A study cannot take on new names for a setting, so these are part of it.
    """
    choices = {axis.field: list(axis.values) for axis in config.axes if not _by_number(axis)}
    return f"sweep {sweep_id}" + (f" {digest(choices)[:6]}" if choices else "")


@functools.cache
def _storage(url: str) -> optuna.storages.RDBStorage:
    """Return Optuna's storage on the store's database, one a process."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sqlite = make_url(url).get_backend_name() == "sqlite"
    arguments = {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
    storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
    if sqlite:
        _take_the_lock_at_once(storage.engine)
    return storage


def _take_the_lock_at_once(engine: Any) -> None:
    """Make SQLite wait for other writers, as the store's own transactions do.

    Optuna reads and then writes in one transaction; in a write-ahead log such a one fails at once,
    whatever the timeout, if another process has written in between.
    """

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.execute(text("BEGIN IMMEDIATE"))

    engine.dispose()  # connections made before know nothing of this


def _by_number(axis: Axis) -> bool:
    return is_number(axis.field) and all(isinstance(value, int | float) for value in axis.values)


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    import optuna

    if not _by_number(axis):
        return optuna.distributions.CategoricalDistribution(axis.values)
    low, high = (
        (axis.low, axis.high) if axis.low is not None else (min(axis.values), max(axis.values))
    )
    log = is_log(axis.field)
    if is_whole(axis.field):
        return optuna.distributions.IntDistribution(int(low), int(high), log=log)  # type: ignore[arg-type]
    return optuna.distributions.FloatDistribution(float(low), float(high), log=log)  # type: ignore[arg-type]


def _plain(field: str, value: Any) -> Any:
    """Return a sampled value as a setting is written: four digits of a float are as good as
    seventeen.
    """
    return float(f"{value:.4g}") if isinstance(value, float) else value
