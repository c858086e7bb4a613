from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kdcore.charts.curves import (
    MEASURES,
    POINTS_PER_CURVE,
    downsample,
    learning_curves,
    mean_and_band,
    smooth,
)
from kdcore.charts.layout import style
from kdcore.charts.softened import LOG_FLOOR, Distribution, distributions
from kdcore.errors import ConfigError
from kdcore.palette import CLEAR, NEUTRALS, TONES, colour, dark_variants

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)


def metrics(
    epochs: int = 5,
    seeds: int = 1,
    roles: tuple[str, ...] = ("student", "baseline"),
    splits: tuple[str, ...] = ("train", "validation"),
) -> pd.DataFrame:
    """Curves that are all different, so that a mix-up shows."""
    generator = np.random.default_rng(0)
    tables = []
    for role in roles:
        for seed in range(seeds):
            for split in splits:
                steps = np.arange(10, 10 * epochs + 1, 1 if split == "train" else 10)
                table = pd.DataFrame(
                    {"step": steps, "epoch": steps / 10, "seconds": steps / 3 + seed}
                )
                for measure in MEASURES:
                    table[measure] = generator.uniform(0.1, 0.9, len(steps))
                tables.append(table.assign(role=role, seed=seed, split=split))
    return pd.concat(tables, ignore_index=True)


def by_uid(figure: go.Figure) -> dict[str, go.Scatter]:
    traces = {trace.uid: trace for trace in figure.data}
    assert len(traces) == len(figure.data), "uids repeat"
    assert all(re.fullmatch(r"[\w-]+", uid) for uid in traces), "Plotly cannot select these"
    return traces


class TestDownsample:
    @settings(deadline=None, max_examples=60)
    @given(st.lists(FINITE, min_size=1, max_size=300), st.integers(4, 60))
    def test_keeps_ends_and_extremes_within_the_limit(
        self, values: list[float], limit: int
    ) -> None:
        y = np.array(values)
        x = np.arange(len(y)) * 0.5
        thin_x, thin_y = downsample(x, y, limit)
        assert len(thin_x) == len(thin_y) <= max(limit, 4)
        assert (np.diff(thin_x) > 0).all()
        np.testing.assert_array_equal(thin_y, y[(thin_x * 2).astype(int)])
        assert (thin_x[0], thin_x[-1]) == (x[0], x[-1])
        assert (thin_y.min(), thin_y.max()) == (y.min(), y.max())

    def test_short_curves_are_untouched(self) -> None:
        x, y = np.arange(4.0), np.array([3.0, 1, 4, 1])
        np.testing.assert_array_equal(downsample(x, y, 4), (x, y))

    def test_uses_its_allowance(self) -> None:
        x = np.arange(100_000.0)
        kept = len(downsample(x, np.random.default_rng(0).normal(size=100_000))[0])
        assert 0.95 * POINTS_PER_CURVE <= kept <= POINTS_PER_CURVE

    def test_limit_is_checked(self) -> None:
        with pytest.raises(ConfigError, match="limit must be at least 4, got 3"):
            downsample(np.arange(9.0), np.arange(9.0), 3)


class TestSmooth:
    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.floats(0, 0.99))
    def test_is_the_debiased_running_mean(self, values: list[float], weight: float) -> None:
        running, expected = 0.0, []
        for count, value in enumerate(values, start=1):
            running = weight * running + (1 - weight) * value
            expected.append(running / (1 - weight**count))
        np.testing.assert_allclose(smooth(np.array(values), weight), expected, rtol=1e-6, atol=1e-9)

    def test_weight_is_checked(self) -> None:
        with pytest.raises(ConfigError, match="smoothing must be at least 0 and below 1, got 1"):
            smooth(np.ones(3), 1)


class TestMeanAndBand:
    def test_three_seeds_give_the_t_interval(self) -> None:
        y = np.random.default_rng(0).normal(size=(4, 6))
        x, mean, lower, upper = mean_and_band([(np.arange(6.0), row) for row in y])
        low, high = stats.t.interval(0.95, 3, loc=y.mean(axis=0), scale=stats.sem(y, axis=0))
        np.testing.assert_array_equal(x, np.arange(6))
        np.testing.assert_allclose(mean, y.mean(axis=0))
        np.testing.assert_allclose(lower, low)
        np.testing.assert_allclose(upper, high)

    def test_two_seeds_give_their_range_and_a_longer_one_goes_on_alone(self) -> None:
        short = (np.array([0.0, 1]), np.array([1.0, 5]))
        long = (np.array([0.0, 1, 2]), np.array([3.0, 1, 7]))
        _, mean, lower, upper = mean_and_band([short, long])
        np.testing.assert_array_equal(mean, [2, 3, 7])
        np.testing.assert_array_equal(lower, [1, 1, 7])
        np.testing.assert_array_equal(upper, [3, 5, 7])

    def test_curves_measured_at_other_moments_are_interpolated(self) -> None:
        x, mean, *_ = mean_and_band(
            [(np.array([0.0, 2]), np.array([0.0, 2])), (np.array([1.0, 3]), np.array([3.0, 5]))]
        )
        np.testing.assert_array_equal(x, [0, 1, 2, 3])
        np.testing.assert_array_equal(mean, [0, 2, 3, 5])


class TestLearningCurves:
    @pytest.mark.parametrize("measure", MEASURES)
    @pytest.mark.parametrize("x", ["epoch", "step", "seconds"])
    def test_draws_the_very_numbers(self, measure: str, x: str) -> None:
        table = metrics()
        shuffled = table.sample(frac=1, random_state=1)
        traces = by_uid(learning_curves(shuffled, measure=measure, x=x))
        for role in ("student", "baseline"):
            for uid, split in ((role, "validation"), (f"{role}-train", "train")):
                rows = table[(table["role"] == role) & (table["split"] == split)]
                np.testing.assert_allclose(traces[uid].x, rows[x])
                np.testing.assert_allclose(traces[uid].y, rows[measure], rtol=1e-6)

    def test_validation_is_bold_training_faint_in_the_roles_colour(self) -> None:
        traces = by_uid(learning_curves(metrics(), measure="loss"))
        for role, name in (
            ("student", "student (distilled)"),
            ("baseline", "baseline (from scratch)"),
        ):
            bold, faint = traces[role], traces[f"{role}-train"]
            assert (bold.name, bold.line.color, bold.mode) == (name, colour(role), "lines+markers")
            assert faint.line.width < bold.line.width / 2
            assert faint.line.color == colour(role, alpha=0.5)
            assert not faint.showlegend

    def test_one_legend_entry_hides_all_training_lines(self) -> None:
        traces = by_uid(learning_curves(metrics(), measure="loss"))
        group = {uid for uid, trace in traces.items() if trace.legendgroup == "training"}
        assert group == {"training", "student-train", "baseline-train"}
        assert [uid for uid in group if traces[uid].showlegend] == ["training"]

    def test_gaps_are_left_out(self) -> None:
        table = metrics(splits=("validation",))
        table.loc[table["step"] == 20, "loss"] = np.nan
        assert list(by_uid(learning_curves(table, measure="loss", x="step"))["student"].x) == [
            10,
            30,
            40,
            50,
        ]

    def test_what_is_only_measured_in_training_is_bold(self) -> None:
        table = metrics(roles=("teacher",))
        table.loc[table["split"] == "validation", "learning_rate"] = np.nan
        traces = by_uid(learning_curves(table, measure="learning_rate"))
        assert set(traces) == {"teacher"}
        assert traces["teacher"].showlegend

    def test_seeds_become_a_mean_and_a_band(self) -> None:
        table = metrics(seeds=3, splits=("validation",))
        traces = by_uid(learning_curves(table, measure="accuracy"))
        rows = table[table["role"] == "student"].pivot(
            index="epoch", columns="seed", values="accuracy"
        )
        half = stats.t.ppf(0.975, 2) * rows.sem(axis=1)
        np.testing.assert_allclose(traces["student"].y, rows.mean(axis=1), rtol=1e-6)
        expected = np.concatenate([rows.mean(axis=1) + half, (rows.mean(axis=1) - half)[::-1]])
        expected = expected.clip(0, 1)  # no accuracy lies outside
        np.testing.assert_allclose(traces["student-band"].y, expected, rtol=1e-5)
        assert traces["student-band"].legendgroup == traces["student"].legendgroup
        assert not any("seed" in uid for uid in traces)

    def test_the_subtitle_says_what_line_and_band_are(self) -> None:
        said = [
            learning_curves(metrics(seeds=seeds), measure="loss").layout.title.subtitle.text
            for seeds in (1, 2, 3)
        ]
        assert said[0] is None
        assert said[1] == "Line: mean of 2 seeds. Band: lowest to highest."
        assert said[2] == "Line: mean of 3 seeds. Band: 95% interval of the mean."

    def test_single_seeds_on_demand(self) -> None:
        table = metrics(seeds=2, splits=("validation",))
        traces = by_uid(learning_curves(table, measure="accuracy", show_seeds=True))
        rows = table[(table["role"] == "baseline") & (table["seed"] == 1)]
        np.testing.assert_allclose(traces["baseline-seed-1"].y, rows["accuracy"], rtol=1e-6)

    def test_smoothing_leaves_validation_alone_and_says_so(self) -> None:
        table = metrics()
        plain, smoothed = (
            by_uid(learning_curves(table, measure="loss", smoothing=weight)) for weight in (0, 0.9)
        )
        np.testing.assert_array_equal(plain["student"].y, smoothed["student"].y)
        assert np.ptp(smoothed["student-train"].y[10:]) < 0.5 * np.ptp(
            plain["student-train"].y[10:]
        )
        assert smoothed["training"].name == "on training data, smoothed 0.9"

    def test_teacher_is_a_dashed_line_across_named_in_the_legend(self) -> None:
        figure = learning_curves(metrics(), measure="accuracy", teacher=0.976, end=40)
        line = by_uid(figure)["teacher-reference"]
        assert list(line.x) == [0, 40]
        assert list(line.y) == [0.976, 0.976]
        assert (line.line.dash, line.line.color, line.name) == (
            "dash",
            colour("teacher"),
            "teacher 97.6% (validation)",
        )
        assert (
            by_uid(learning_curves(metrics(), measure="loss", teacher=0.0712))[
                "teacher-reference"
            ].name
            == "teacher 0.0712 (validation)"
        )

    def test_accuracy_is_in_percent_and_axes_have_units(self) -> None:
        layout = learning_curves(metrics(), measure="accuracy", x="seconds").layout
        assert layout.yaxis.tickformat.endswith("%")
        assert layout.xaxis.title.text == "time (s)"
        assert (
            learning_curves(metrics(), measure="soft_loss").layout.yaxis.title.text
            == "T² × KL divergence (nats), validation"
        )

    @pytest.mark.parametrize("columns", [[], ["accuracy"]])
    def test_a_run_that_has_measured_nothing_has_an_empty_chart(self, columns: list[str]) -> None:
        figure = learning_curves(pd.DataFrame(columns=columns), measure="accuracy", end=10)
        assert figure.layout.annotations[0].text == "No measurements yet"

    def test_a_band_of_accuracy_stays_within_0_and_1(self) -> None:
        table = metrics(seeds=3)
        table = table[table["split"] == "validation"].copy()
        table["accuracy"] = np.where(table["seed"] == table["seed"].min(), 0.9, 1.0)
        (band,) = [
            trace
            for trace in learning_curves(table, measure="accuracy").data
            if trace.uid == "student-band"
        ]
        assert max(band.y) == 1.0
        assert min(band.y) >= 0.0

    @pytest.mark.parametrize("measure", ["accuracy", "loss", "hard_loss", "soft_loss"])
    def test_title_and_axis_say_the_split(self, measure: str) -> None:
        for split, name in (("validation", "validation"), ("train", "training")):
            table = metrics()
            layout = learning_curves(table[table["split"] == split], measure=measure).layout
            assert f"on {name} data" in layout.title.text
            assert layout.yaxis.title.text.endswith(f", {name}")

    def test_log_axis_and_end_of_a_live_run(self) -> None:
        layout = learning_curves(metrics(), measure="loss", log_y=True, end=40).layout
        assert layout.yaxis.type == "log"
        assert layout.xaxis.range[0] == 0
        assert 40 <= layout.xaxis.range[1] < 42

    def test_few_epochs_have_no_ticks_between_them(self) -> None:
        few = learning_curves(metrics(epochs=3), measure="loss").layout
        live = learning_curves(metrics(epochs=3), measure="loss", end=40).layout
        in_seconds = learning_curves(metrics(epochs=3), measure="loss", x="seconds").layout
        assert [each.xaxis.dtick for each in (few, live, in_seconds)] == [1, None, None]

    def test_long_runs_stay_small(self) -> None:
        table = metrics(epochs=3000, seeds=3)
        figure = learning_curves(table, measure="loss")
        assert max(len(trace.x) for trace in figure.data) <= POINTS_PER_CURVE
        assert len(figure.to_json()) < 300_000

    def test_uids_do_not_depend_on_who_else_is_there(self) -> None:
        alone = by_uid(learning_curves(metrics(roles=("baseline",)), measure="loss"))
        both = by_uid(learning_curves(metrics(), measure="loss", teacher=1.0))
        assert set(alone) < set(both)

    def test_nothing_yet(self) -> None:
        for table in (metrics(epochs=0), metrics(epochs=0)[["role", "seed", "split", "epoch"]]):
            figure = learning_curves(table, measure="loss")
            assert figure.layout.annotations[0].text == "No measurements yet"
            assert not figure.data
        assert not learning_curves(metrics(), measure="loss").layout.annotations

    def test_wrong_names_are_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"measure must be one of accuracy, .*, got 'acc'"):
            learning_curves(metrics(), measure="acc")
        with pytest.raises(ConfigError, match="x must be one of epoch, step, seconds, got 'time'"):
            learning_curves(metrics(), measure="loss", x="time")


NAMES = ("T-shirt", "trouser", "ankle boot")
ROWS: list[Distribution] = [
    ("teacher, T = 4", "teacher", [0.7, 0.295, 0.005], None),
    ("student", "student", np.array([0.2, 0.8, 1e-9]), np.array([0.7, 0.295, 0.005])),
]


class TestDistributions:
    def test_bars_carry_the_probabilities_in_the_roles_colour(self) -> None:
        traces = by_uid(distributions(NAMES, ROWS))
        for index, (title, role, probabilities, _) in enumerate(ROWS):
            bars = traces[f"row-{index}"]
            np.testing.assert_array_equal(bars.y, probabilities)
            assert bars.marker.color == colour(role, alpha=0.85)
            assert bars.name == title
        assert traces["row-0"].yaxis != traces["row-1"].yaxis

    def test_the_ghost_is_an_outline_where_there_is_one(self) -> None:
        traces = by_uid(distributions(NAMES, ROWS))
        assert "ghost-0" not in traces
        ghost = traces["ghost-1"]
        np.testing.assert_array_equal(ghost.y, [0.7, 0.295, 0.005])
        assert ghost.marker.color == CLEAR
        assert ghost.marker.line.color == colour("teacher")
        assert ghost.yaxis == traces["row-1"].yaxis

    def test_percentages_from_one_percent_up_clear_of_bar_and_outline(self) -> None:
        traces = by_uid(
            distributions(
                ("a", "b", "c"), [("s", "student", [0.985, 0.01, 0.005], [0.5, 0.4, 0.1])]
            )
        )
        numbers = traces["numbers-0"]
        assert list(numbers.text) == ["98%", "1.0%", ""]
        assert (np.array(numbers.y) > [0.985, 0.4, 0.1]).all()

    def test_rows_share_the_classes_and_do_not_overlap(self) -> None:
        layout = distributions(NAMES, ROWS).layout
        assert list(layout.xaxis.ticktext) == list(NAMES)
        assert layout.yaxis.domain[0] > layout.yaxis2.domain[1]
        assert [note.text for note in layout.annotations] == ["teacher, T = 4", "student"]

    def test_the_true_class_is_marked(self) -> None:
        layout = distributions(NAMES, ROWS, label=2).layout
        assert list(layout.xaxis.ticktext) == ["T-shirt", "trouser", "<b>ankle boot</b>"]
        (band,) = layout.shapes
        assert (band.x0, band.x1, band.y0, band.y1, band.yref) == (1.5, 2.5, 0, 1, "paper")
        assert "Shaded: the true class." in layout.title.subtitle.text
        assert not distributions(NAMES, ROWS).layout.shapes

    def test_log_scale_has_a_floor_and_keeps_true_values_for_the_hover(self) -> None:
        figure = distributions(NAMES, ROWS, log=True)
        bars = by_uid(figure)["row-1"]
        np.testing.assert_allclose(bars.y, [0.2, 0.8, LOG_FLOOR])
        np.testing.assert_allclose(np.ravel(bars.customdata), [0.2, 0.8, 1e-9])
        assert "customdata" in bars.hovertemplate
        for axis in (figure.layout.yaxis, figure.layout.yaxis2):
            assert axis.type == "log"
            assert axis.range[0] == np.log10(LOG_FLOOR)

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="probabilities must be 2 long, got 3"):
            distributions(NAMES[:2], ROWS)
        with pytest.raises(ConfigError, match="ghost must be 3 long"):
            distributions(NAMES, [("s", "student", [1, 0, 0], [1, 0])])
        with pytest.raises(ConfigError, match="label must be from 0 to 2, got 3"):
            distributions(NAMES, ROWS, label=3)
        with pytest.raises(ConfigError, match="rows must be at least one distribution"):
            distributions(NAMES, [])


@pytest.mark.parametrize(
    "figure",
    [
        learning_curves(metrics(seeds=3), measure="accuracy", teacher=0.9, show_seeds=True),
        learning_curves(metrics(epochs=0), measure="loss"),
        distributions(NAMES, ROWS, label=1),
        style(go.Figure(go.Scatter(y=[1, 2])), "Title", "x", "y"),
    ],
    ids=["curves", "empty", "distributions", "style"],
)
def test_every_colour_has_a_dark_variant(figure: go.Figure) -> None:
    text = re.sub(r'"bdata":"[^"]*"', "", figure.to_json())
    known = {tone.light for tone in TONES.values()} | set(NEUTRALS.values())
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b", text)) <= known
    heads = {name for name in dark_variants() if name.startswith("rgba")}
    assert {
        head
        for head in re.findall(r"rgba?\([^)]*\)", text)
        if head != CLEAR and not head.startswith(tuple(heads))
    } == set()
    for light, dark in dark_variants().items():
        text = text.replace(light, dark)
    assert not any(tone.light in text for tone in TONES.values())
    assert json.loads(figure.to_json())


def test_style_gives_title_axes_and_height() -> None:
    figure = style(
        go.Figure(go.Scatter(y=[1, 2])),
        "Gain",
        "temperature",
        "gain (pp)",
        subtitle="by seed",
        height=200,
    )
    layout = figure.layout
    assert (layout.title.text, layout.title.subtitle.text, layout.height) == (
        "Gain",
        "by seed",
        200,
    )
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("temperature", "gain (pp)")
    assert layout.paper_bgcolor == layout.plot_bgcolor == CLEAR
