"""A sweep on screen: progress, the map that fills, the cell that was clicked, margins, and the
winner.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from kdcore import sweeps
from kdcore.charts import sweep as sweep_charts
from kdcore.config.catalog import short_name
from kdcore.config.sweep import Axis, SweepConfig, is_number, short_title_of, title_of, value_text
from kdcore.errors import ConfigError
from kdcore.glossary import find
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.sweeps import race as races
from kdcore.sweeps import results as sweep_results
from kdcore.sweeps.results import SweepResults
from kdcore.sweeps.study import Study
from kdcore.takeaway.reproduce import sweep_command
from kdcore.takeaway.tables import sweep_table
from kdcore.words import duration, sentences
from pages.shared.downloads import table_buttons
from pages.shared.following import follow
from pages.shared.live_chart import Click, live_chart
from pages.shared.session import as_text, engine
from pages.shared.tiles import Tile, draw_tiles
from pages.shared.visitor import owns
from pages.sweep import cell as sweep_cell

SECONDS_BETWEEN_POLLS = 0.7


def draw(store: Store, sweep_id: str) -> None:
    """Draw a sweep; while it is live, map and numbers follow by themselves."""
    engine().tend()
    sweep = sweep_results.load(store, sweep_id)
    _header(store, sweep)
    follow(_live_part, SECONDS_BETWEEN_POLLS if sweep.live else None, key="sweep_follow")(
        store, sweep_id, sweep.live, sweep.status
    )


def _header(store: Store, sweep: SweepResults) -> None:
    """Say what the sweep is, with the buttons: outside the live part, so that a click never waits
    for a tick.
    """
    sweep_id, status = sweep.sweep.id, sweep.status
    base = sweep.config.base
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        with st.container(width="content", gap=None):
            st.title(as_text(sweep.sweep.name or sweep.config.describe()), anchor=False)
            labels = "all true labels" if base.labels is None else f"{base.labels:,} true labels"
            fixed = (
                [f"{short_name(base.teacher)} teaches {short_name(base.student)}"]
                if "student" not in sweep.config.fields
                else [base.teacher]
            )
            st.caption(
                as_text(" · ".join([*fixed, labels, f"{base.epochs} epochs", f"sweep {sweep_id}"]))
            )
        with st.container(
            horizontal=True, width="content", vertical_alignment="center", gap="small"
        ):
            own = owns(sweep.sweep.tags)
            if status == "running" and own:
                st.button(
                    "Pause",
                    icon=":material/pause:",
                    key="sweep_pause",
                    on_click=sweeps.pause,
                    args=(store, sweep_id),
                    help="Cells that have begun are finished; no others start.",
                )
                st.button(
                    "Stop",
                    icon=":material/stop:",
                    key="sweep_stop",
                    on_click=sweeps.stop,
                    args=(store, engine(), sweep_id),
                    help="Stops at the next batch; what is trained is kept.",
                )
            elif status not in ("running", "finished") and own:
                st.button(
                    "Resume",
                    icon=":material/resume:",
                    type="primary",
                    key="sweep_resume",
                    on_click=sweeps.resume,
                    args=(store, engine(), sweep_id),
                )
            if own and not sweep.config.searches:
                with st.popover(
                    "Add",
                    icon=":material/add:",
                    help="More values, seeds or trials; nothing is trained twice.",
                ):
                    _more(store, sweep)
            with st.popover(
                "Copy as command",
                icon=":material/terminal:",
                help="One line that trains this sweep elsewhere.",
            ):
                st.code(
                    sweep_command(sweep.config, sweep.trials_each), language="bash", wrap_lines=True
                )
            st.button(
                "New sweep",
                icon=":material/tune:",
                key="sweep_new",
                on_click=_new,
                args=(sweep.config,),
            )


def _more(store: Store, sweep: SweepResults) -> None:
    """Draw what a sweep can be given on top: values, seeds, trials."""
    config, sweep_id = sweep.config, sweep.sweep.id
    texts = {
        axis.field: st.text_input(
            title_of(axis.field), str(axis), key=f"sweep_more_{sweep_id}_{axis.field}"
        )
        for axis in config.axes
    }
    seeds = st.number_input("Seeds", config.base.seeds, 100, key=f"sweep_more_{sweep_id}_seeds")
    trials = config.trials
    if config.strategy == "tpe":
        trials = int(
            st.number_input("Trials", config.trials, 1000, key=f"sweep_more_{sweep_id}_trials")
        )
    if st.button("Train what is missing", type="primary", key="sweep_extend"):
        try:
            axes = tuple(Axis.parse(name, text) for name, text in texts.items())
            wanted = races.widened(config, int(seeds), axes, trials)
            sweeps.extend(store, sweep_id, wanted)
            sweeps.submit(store, engine(), sweep_id)
            st.rerun()
        except ConfigError as error:
            st.markdown(f":red[:material/error: {as_text(str(error))}]")
    st.caption("Cells and seeds that are trained stay as they are.")


def _new(config: SweepConfig) -> None:
    """Go back to the form, filled with this sweep's settings."""
    st.query_params.clear()
    for name, value in config.base.model_dump().items():
        st.session_state[f"sweep_{name}"] = value
    st.session_state["sweep_varied"] = list(config.fields)
    for axis in config.axes:
        st.session_state[f"sweep_axis_{axis.field}"] = str(axis)
    st.session_state["sweep_strategy"], st.session_state["sweep_trials"] = (
        config.strategy,
        config.trials,
    )
    st.session_state["sweep_prune"] = config.prune


def _live_part(store: Store, sweep_id: str, was_live: bool, status_before: str) -> None:
    if was_live:
        engine().tend()
        sweeps.tend(store, engine(), sweep_id)
    sweep = sweep_results.load(store, sweep_id)
    _state_in_words(sweep)
    if races.is_race(sweep):
        _league(store, sweep)
    else:
        _winner(store, sweep)
    _figures(sweep)
    left, right = st.columns([1.15, 1], gap="medium")
    with left:
        measure = _map(sweep)
        _margin(sweep, measure, 0)
    with right:
        sweep_cell.draw(store, sweep, _chosen(sweep))
    _below(store, sweep, measure)
    # Whether there are ticks is decided outside of this part: they begin when a confirmation does,
    # and end with the work.
    if sweep.live != was_live or (was_live and sweep.status != status_before):
        st.rerun()


def _state_in_words(sweep: SweepResults) -> None:
    status, total = sweep.status, len(sweep.cells)
    shared = next(
        ((cell.part, job) for cell, job in sweep.shared if job.status == JobStatus.RUNNING.value),
        None,
    )
    left = "" if sweep.seconds_left is None else f" · about {duration(sweep.seconds_left)} left"
    if status == "running":
        words = sweep.counted
        if sweep.done == 0 and shared is not None:
            words += f" · first what they share: {shared[1].phase}"
        elif not any(job.started_at for job in sweep.jobs):
            words += " · workers are starting"
        st.progress(min(1.0, sweep.progress), words + left)
    elif status == "paused":
        busy = sum(cell.job.status == JobStatus.RUNNING.value for cell in sweep.cells)
        ending = f", {busy} more are finishing" if busy else ""
        st.info(
            f"Paused: {sweep.done} of {total} cells are trained{ending}.",
            icon=":material/pause_circle:",
        )
    elif status in ("failed", "interrupted"):
        errors = sorted({job.error for job in sweep.jobs if job.error and job.status == status})
        show = st.error if status == "failed" else st.warning
        show(as_text(sentences(*errors[:2], "Resume tries again")), icon=":material/error:")
    elif status == "stopped":
        st.info(
            f"Stopped: {sweep.done} of {total} cells are trained. Resume goes on.",
            icon=":material/stop_circle:",
        )


def _figures(sweep: SweepResults) -> None:
    best, speed = sweep.best(), sweep.examples_per_second
    gain = best.gain if best else None
    students, shared = (
        sweep.trained["student"],
        sweep.trained["baseline"] + sweep.trained["teacher"],
    )
    numbers = [
        Tile(
            "Best cell",
            _short(best.values) if best else "–",
            "so far" if sweep.done < len(sweep.cells) else "of all",
            "Highest mean accuracy on validation data.",
        ),
        Tile(
            "Its accuracy",
            f"{best.accuracy:.1%}" if best and best.accuracy is not None else "–",
            "validation data",
            "Mean over its seeds.",
        ),
        Tile(
            "Its gain",
            f"{gain.mean:+.1f}" if gain else "–",
            "points, validation data",
            find("gain").says,
        ),
        Tile(
            "Cells",
            f"{sweep.done} / {len(sweep.cells)}",
            "trained",
            f"{sum(cell.pruned for cell in sweep.cells)} of them were pruned.",
        ),
        Tile(
            "Models trained",
            f"{students + shared}",
            f"{students} are students",
            f"{shared} teachers and baselines are shared by all cells.",
        ),
        Tile(
            "Training speed",
            f"{speed:,.0f}" if speed else "–",
            "examples a second",
            "Over all workers, latest cells.",
        ),
    ]
    if races.is_race(sweep):  # nothing is chosen in a race: its table is of test data
        numbers = numbers[3:]
    draw_tiles(numbers)


def _short(values: dict[str, Any] | None) -> str:
    return ", ".join(
        f"{short_title_of(name)} {value_text(value)}" for name, value in (values or {}).items()
    )


def _chosen(sweep: SweepResults) -> sweep_results.Cell | None:
    """Return the cell that was clicked, or the best one until one was."""
    wanted = st.session_state.get(f"sweep_cell_{sweep.sweep.id}")
    return next((cell for cell in sweep.cells if cell.id == wanted), None) or sweep.best()


def _map(sweep: SweepResults) -> str:
    """Draw the map, with the choice of what its colours mean; returns that measure."""
    sweep_id, fields = sweep.sweep.id, sweep.config.fields

    def clicked(click: Click) -> None:
        found = click.get("customdata")
        if isinstance(found, str):
            st.session_state[f"sweep_cell_{sweep_id}"] = found

    measure = st.segmented_control(
        "Colour by",
        list(sweep_charts.MEASURES),
        default="gain",
        required=True,
        key="sweep_measure",
        format_func=sweep_charts.MEASURES.__getitem__,
        label_visibility="collapsed",
    )
    if len(fields) == 1:
        figure = sweep_charts.margins(sweep, fields[0], None, str(measure))
        live_chart(figure, key=f"sweep_line_{sweep_id}", description=_described(sweep), height=430)
        _pick(sweep)
        _table_buttons(sweep)
        return str(measure)
    x, y = _two_fields(fields)
    chosen = _chosen(sweep)
    frame = chosen.id if chosen else None
    if sweep.config.strategy == "grid":
        others = _slice(sweep, [name for name in fields if name not in (x, y)])
        figure = sweep_charts.sweep_map(sweep, str(measure), x, y, others, frame)
    else:
        figure = sweep_charts.scattered(sweep, str(measure), x, y, frame)
    live_chart(figure, key=f"sweep_map_{sweep_id}", description=_described(sweep), on_click=clicked)
    st.caption("Click a cell to see its curves. All of this is validation data.")
    _table_buttons(sweep)
    return str(measure)


def _table_buttons(sweep: SweepResults) -> None:
    if owns(sweep.sweep.tags):
        table_buttons(partial(sweep_table, sweep), f"sweep-{sweep.sweep.id}", key="sweep_table")


def _pick(sweep: SweepResults) -> None:
    cells = [cell for cell in sweep.cells if cell.values is not None]
    if cells:
        st.selectbox(
            "Cell",
            [cell.id for cell in cells],
            key=f"sweep_cell_{sweep.sweep.id}",
            format_func={
                cell.id: sweep_results.settings_words(cell.values or {}) for cell in cells
            }.__getitem__,
        )


def _two_fields(fields: tuple[str, ...]) -> tuple[str, str]:
    """Return which settings lie across and upwards: temperature across where it varies, the
    visitor's choice of three.
    """
    across = (
        "temperature"
        if "temperature" in fields
        else next((name for name in fields if is_number(name)), fields[0])
    )
    upwards = next(name for name in fields if name != across)
    if len(fields) == 2:
        return across, upwards
    left, right = st.columns(2, gap="small")
    x = left.selectbox("Across", fields, fields.index(across), format_func=title_of, key="sweep_x")
    rest = [name for name in fields if name != x]
    y = right.selectbox(
        "Upwards",
        rest,
        rest.index(upwards) if upwards in rest else 0,
        format_func=title_of,
        key="sweep_y",
    )
    return str(x), str(y)


def _slice(sweep: SweepResults, fields: list[str]) -> dict[str, Any]:
    """Let the visitor choose the values of the settings that the map has no axis for.

    The best cell's at first.
    """
    best, chosen = sweep.best(), {}
    for name in fields:
        values = next(axis.values for axis in sweep.config.axes if axis.field == name)
        start = (best.values or {}).get(name, values[0]) if best else values[0]
        if len(values) > 1:
            chosen[name] = st.select_slider(
                title_of(name),
                values,
                start,
                format_func=value_text,
                key=f"sweep_slice_{sweep.sweep.id}_{name}",
            )
        else:
            chosen[name] = values[0]
    return chosen


def _described(sweep: SweepResults) -> str:
    best = sweep.best()
    said = f"Map of {len(sweep.cells)} cells, {sweep.done} of them done"
    if best is None or best.accuracy is None:
        return said
    return f"{said}. Best: {sweep_results.settings_words(best.values or {})}, accuracy {best.accuracy:.1%}"


def _margin(sweep: SweepResults, measure: str, turn: int) -> None:
    """Draw accuracy or gain over one of the two main settings, a line for each value of the
    other.
    """
    fields, sweep_id = sweep.config.fields, sweep.sweep.id
    if (
        sweep.config.strategy != "grid"
        or len(fields) == 1
        or not any(cell.finished for cell in sweep.cells)
    ):
        return
    both = (
        ("temperature", "alpha")
        if {"temperature", "alpha"} <= set(fields)
        else (fields[-1], fields[0])
    )
    x, by = both if turn == 0 else both[::-1]
    live_chart(
        sweep_charts.margins(sweep, x, by, measure),
        key=f"sweep_margin_{turn}_{sweep_id}",
        description=f"{sweep_charts.MEASURES[measure]} over {short_title_of(x)} for each {short_title_of(by)}",
    )


def _below(store: Store, sweep: SweepResults, measure: str) -> None:
    """The other margin, and for more than two varied settings parallel coordinates and
    importance.
    """
    sweep_id, several = sweep.sweep.id, len(sweep.config.fields) > 2
    if not any(cell.finished for cell in sweep.cells) or len(sweep.config.fields) == 1:
        return
    if not several:
        _margin(sweep, measure, 1)
        return
    shares = _importances(store, sweep_id, sweep.config, sweep.done)
    left, right = st.columns([1.15, 1], gap="medium")
    with left:
        live_chart(
            sweep_charts.parallel(sweep, measure),
            key=f"sweep_parallel_{sweep_id}",
            description="Each cell as a line across all varied settings",
        )
    with right:
        if shares:
            live_chart(
                sweep_charts.importances(shares),
                key=f"sweep_importance_{sweep_id}",
                description=", ".join(
                    f"{title_of(name)} {share:.0%}" for name, share in shares.items()
                ),
            )
        _margin(sweep, measure, 1)


@st.cache_data(show_spinner=False, max_entries=64)
def _importances(_store: Store, sweep_id: str, _config: SweepConfig, done: int) -> dict[str, float]:
    """Return what mattered; worked out once for each number of cells that are done."""
    return Study(_store.url, sweep_id, _config).importances()


def _confirm(store: Store, sweep_id: str, values: dict[str, Any]) -> None:
    sweeps.confirm(store, engine(), sweep_id, values)


def _league(store: Store, sweep: SweepResults) -> None:
    """Draw the league table of a race of methods once all have finished, and what it says."""
    if not races.has_result(sweep):
        return
    sweep_id = sweep.sweep.id
    table = races.league(store, sweep)
    with st.container(border=True):
        st.markdown("##### :material/leaderboard: The race, on test data")
        st.markdown(as_text(table.said))
        st.dataframe(
            [dict(zip(table.HEAD, cells, strict=True)) for cells in table.cells()],
            hide_index=True,
            key=f"sweep_league_{sweep_id}",
        )
        st.caption("Gains in points, with 95 % intervals. Step: its time, plain distillation = 1.")
        if not owns(sweep.sweep.tags):
            return
        with st.container(horizontal=True):
            for ending, text in (("csv", table.csv()), ("md", table.markdown())):
                st.download_button(
                    f"Download .{ending}",
                    text,
                    f"race-{sweep_id}.{ending}",
                    key=f"sweep_league_{ending}",
                    on_click="ignore",
                )


def _confirm_button(store: Store, sweep_id: str, values: dict[str, Any]) -> None:
    st.button(
        f"Confirm the winner on {sweeps.SEEDS_TO_CONFIRM} fresh seeds",
        icon=":material/verified:",
        type="primary",
        key="sweep_confirm",
        on_click=_confirm,
        args=(store, sweep_id, values),
        help="Trains this cell and its baseline again, on seeds that had no part in the choice.",
    )


def _winner(store: Store, sweep: SweepResults) -> None:
    """Say what test data says of the best cell, once all are trained, and how its confirmation
    stands.
    """
    if sweep.status != "finished":
        return
    chosen = sweep_results.winner(store, sweep)
    if chosen is None:
        return
    sweep_id, confirmed = sweep.sweep.id, sweep_results.confirmation(store, sweep)
    with st.container(border=True):
        st.markdown("##### :material/emoji_events: The winner")
        st.markdown("\n".join(f"- {as_text(line)}" for line in chosen.lines))
        if confirmed is None:
            if owns(sweep.sweep.tags):
                _confirm_button(store, sweep_id, chosen.cell.values or {})
            return
        if confirmed["words"]:
            outcome = confirmed["gain"]["outcome"]
            show = {"helped": st.success, "hurt": st.warning}.get(outcome, st.info)
            show(
                as_text(
                    f"Confirmed: {confirmed['words']}"
                    if outcome == "helped"
                    else confirmed["words"]
                ),
                icon=":material/verified:" if outcome == "helped" else ":material/balance:",
            )
        else:
            st.progress(
                confirmed["progress"],
                f"Confirmation on {confirmed['seeds']} fresh seeds: {confirmed['status']}",
            )
        st.page_link(
            "pages/views/train.py",
            label="Open the confirmation in Train",
            icon=":material/open_in_new:",
            query_params={"experiment": confirmed["experiment"]},
        )
