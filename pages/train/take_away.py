"""What an experiment gives to take away: its models as files that work without KD Lab, and code
that repeats it.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kdcore.analysis.results import Results
from kdcore.analysis.unsettled import is_unsettled
from kdcore.errors import KDLabError
from kdcore.methods.distillation_token import BOTH_HEADS
from kdcore.palette import ROLE_NAMES
from kdcore.storage import user_models
from kdcore.storage.schema import Export, Job, JobStatus, Run
from kdcore.storage.store import Store
from kdcore.takeaway import decision
from kdcore.takeaway.downloads import (
    FORMATS,
    answering_heads,
    bundle,
    bundle_name,
    exports,
    latest_job,
    request,
    zip_of,
)
from kdcore.takeaway.limits import limits
from kdcore.takeaway.model_card import model_card
from kdcore.takeaway.reproduce import command, notebook, script, settings
from kdcore.takeaway.snippets import snippet
from pages.shared.following import follow
from pages.shared.session import as_text, engine, show_error

SECONDS_BETWEEN_TICKS = 0.5


def draw(store: Store, results: Results) -> None:
    """Draw the parts for an experiment that is not live: its models, if it has trained some, and
    its code.
    """
    if is_unsettled(store, results.experiment.id):
        st.caption(
            ":material/visibility_off: Its models can be taken away once its sweep has a winner: files are measured on "
            "test data."
        )
    else:
        _draw_models(store, results)
    _code(store, results)


def _draw_models(store: Store, results: Results) -> None:
    run = _choose_run(results)
    if run is None:
        return
    follow(_models, lambda: _pause(store, run), key="take_follow")(
        store, run, results.experiment.id
    )


def _decide(store: Store, experiment_id: str) -> None:
    """Say which of the files ships, within what a device allows."""
    found = decision.options(store, experiment_id)
    if not found:
        return
    with st.container(border=True):
        st.markdown("##### :material/rule: Which one ships?")
        st.caption("What the device allows; empty: it does not matter.")
        with st.container(horizontal=True, gap="medium"):
            limits = [
                st.number_input(label, low, None, None, key=f"take_{name}", width=190, help=about)
                for name, label, low, about in (
                    ("kilobytes", "File, at most kB", 0.1, "Of the model's file on disk."),
                    ("milliseconds", "One answer, at most ms", 0.001, "Median, on this machine."),
                    ("points", "At most points under", 0.0, "Accuracy under the teacher's."),
                )
            ]
        budget = decision.Budget(*limits)
        chosen = decision.smallest(found, budget)
        if chosen is None:
            st.warning(
                "No file fits. Make other formats, or a smaller student.", icon=":material/block:"
            )
        else:
            st.success(
                as_text(
                    f"The smallest that fits: {decision.in_words(store, experiment_id, chosen)}"
                ),
                icon=":material/check_circle:",
            )
        st.dataframe(
            [_option_row(option, budget) for option in found],
            hide_index=True,
            width="stretch",
            column_config={
                "File (kB)": st.column_config.NumberColumn(format="%.1f"),
                "One answer (ms)": st.column_config.NumberColumn(format="%.3f"),
                "Accuracy on test (%)": st.column_config.NumberColumn(format="%.2f"),
                "Against the teacher (points)": st.column_config.NumberColumn(format="%+.1f"),
            },
        )


def _option_row(option: decision.Option, budget: decision.Budget) -> dict[str, object]:
    return {
        "Fits": budget.allows(option),
        "Model": f"{option.role} {option.model}, seed {option.seed}",
        "Format": FORMATS[option.format].title,
        "File (kB)": option.kilobytes,
        "One answer (ms)": option.milliseconds,
        "Accuracy on test (%)": 100 * option.accuracy,
        "Against the teacher (points)": -option.points_under_teacher,
    }


def _pause(store: Store, run: Run) -> float | None:
    job = latest_job(store, run.id)
    return SECONDS_BETWEEN_TICKS if job is not None and JobStatus(job.status).live else None


def _choose_run(results: Results) -> Run | None:
    """Choose one of the experiment's trained models by role and seed."""
    trained = {(run.role, run.seed): run for _, run in results.links if run.finished_at is not None}
    roles = [
        role
        for role in ("student", "baseline", "teacher")
        if any(found == role for found, _ in trained)
    ]
    if not roles:
        return None
    st.subheader("Take the model with you", anchor=False)
    st.caption(
        "A worker writes the model in six formats, opens each file again with the program that will run it elsewhere, and "
        "asks it about every test example. Only what passes is offered."
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        role = st.segmented_control(
            "Model",
            roles,
            default=roles[0],
            required=True,
            key="take_role",
            format_func=lambda name: name.capitalize(),
            help="Which of the experiment's models leaves.",
        )
        seeds = sorted(seed for found, seed in trained if found == role)
        seed = seeds[0]
        if len(seeds) > 1:
            seed = st.selectbox(
                "Seed",
                seeds,
                key=f"take_seed_{role}",
                width=110,
                help="One model was trained a seed.",
            )
        run = trained[str(role), seed]
        st.caption(
            f"{ROLE_NAMES[run.role]} {run.model}: {run.parameters:,} parameters, "
            f"{run.summary['test_accuracy']:.1%} right on test data"
        )
    return run


def _models(store: Store, run: Run, experiment_id: str) -> None:
    job, made = latest_job(store, run.id), exports(store, run.id)
    live = job is not None and JobStatus(job.status).live
    if live:
        engine().tend()
    if job is not None and live:
        _progress(job)
    elif job is not None and job.error:
        st.error(as_text(job.error), icon=":material/error:")
    done = [export for export in made if export.report]
    if done:
        _table(done)
    if not live:
        for name, why in limits(store, run.id).items():
            st.caption(f":material/block: {FORMATS[name].title} cannot hold this model: {why}.")
        again = bool(done)
        head = _choose_head(run)
        if st.button(
            "Make them again" if again else "Make downloads",
            type="secondary" if again else "primary",
            icon=":material/refresh:" if again else ":material/deployed_code:",
            key="take_make",
            help="Converts, reopens and measures in a worker; a few seconds for a small model.",
        ):
            _make(store, run, head)
        _let_it_teach(store, run)
    offered = [export for export in done if export.report["passed"]]
    if offered and not live:
        _take(store, run, offered, made)
    if not live:
        _decide(store, experiment_id)


def _let_it_teach(store: Store, run: Run) -> None:
    """Offer the trained model as a teacher of others: of an assistant, or of its own generation."""
    with st.popover("Let it teach", icon=":material/school:", help="As teacher of another student"):
        suggested = user_models.suggest_name(f"{run.role}-{run.id}.keras")
        name = st.text_input("Name", suggested, key=f"take_teach_{run.id}", max_chars=40)
        if st.button("Make it a teacher", type="primary", key="take_teach"):
            try:
                payload = user_models.payload_of_run(store, run, name)
            except KDLabError as error:
                show_error(error)
                return
            job_id = store.add_job("model", payload)
            engine().submit(job_id)
            st.switch_page("pages/views/data.py", query_params={"job": job_id})


def _code(store: Store, results: Results) -> None:
    """Offer what trains the experiment again elsewhere."""
    experiment_id = results.experiment.id
    st.subheader("Reproduce it elsewhere", anchor=False)
    st.caption(
        "A few lines that train the same models from the same seeds, and compare with the accuracies found here."
    )
    with st.container(horizontal=True, gap="small"):
        with st.popover(
            "Copy as Python", icon=":material/code:", help="A script of public kdcore calls."
        ):
            st.caption("The button in the corner copies it.")
            st.code(script(store, experiment_id), language="python", height=420)
        with st.popover(
            "Copy as command", icon=":material/terminal:", help="One line for a terminal."
        ):
            st.code(command(settings(results)), language="bash", wrap_lines=True)
        st.download_button(
            "Download notebook",
            lambda: notebook(store, experiment_id),
            f"kd-lab-{experiment_id}.ipynb",
            "application/x-ipynb+json",
            icon=":material/menu_book:",
            key="take_notebook",
            on_click="ignore",
            help="The same for Jupyter, with the curves.",
        )
        st.download_button(
            "Settings as JSON",
            settings(results).model_dump_json(indent=2),
            f"kd-lab-{experiment_id}.json",
            "application/json",
            icon=":material/data_object:",
            key="take_settings",
            on_click="ignore",
            help="For train --config, or back into the form of this page.",
        )


def _choose_head(run: Run) -> str:
    """Choose whose answers leave, of a transformer with two tokens."""
    heads = answering_heads(run)
    if not heads:
        return BOTH_HEADS
    apart = run.summary["heads"]
    right = {BOTH_HEADS: run.summary["test_accuracy"]}
    right |= {name: each["test_accuracy"] for name, each in apart.items()}
    head = str(
        st.segmented_control(
            "Which head answers",
            heads,
            default=BOTH_HEADS,
            required=True,
            key=f"take_head_{run.id}",
            format_func=lambda name: (
                "Both, their mean" if name == BOTH_HEADS else name.capitalize()
            ),
            help="The heads of its two tokens answer together, as in training, or one alone.",
        )
    )
    st.caption(f"{right[head]:.1%} right on test data")
    return head


def _make(store: Store, run: Run, head: str) -> None:
    try:
        engine().submit(request(store, run.id, head=head))
    except KDLabError as error:
        show_error(error)
        return
    st.rerun()


def _progress(job: Job) -> None:
    words = "Stopping" if job.stop_requested_at else job.phase[:1].upper() + job.phase[1:]
    left, right = st.columns([6, 1], vertical_alignment="center")
    left.progress(job.progress, words)
    right.button(
        "Stop", icon=":material/stop:", key="take_stop", on_click=engine().cancel, args=(job.id,)
    )


def _table(done: list[Export]) -> None:
    rows = [
        {
            "Format": FORMATS[export.format].title,
            "Accuracy": None if report["accuracy"] is None else 100 * report["accuracy"],
            "Cost": None if report["points_lost"] is None else -report["points_lost"],
            "Changed": report["changed"],
            "Difference": report["max_difference"],
            "Size": None if report["size"] is None else report["size"] / 1000,
            "Latency": report["latency_ms"],
            "Offered": "yes" if report["passed"] else f"no: {report['reason']}",
        }
        for export in done
        if (report := export.report)
    ]
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        column_config={
            "Accuracy": number(
                "Accuracy on test", format="%.2f %%", help="Asked of the file, by its own runtime."
            ),
            "Cost": number(
                "Against Keras",
                format="%+.2f points",
                help="What the format costs in accuracy, in points.",
            ),
            "Changed": number(
                "Answers changed", help="Test examples that get another answer than from Keras."
            ),
            "Difference": number(
                "Largest difference", format="%.2g", help="Of any logit from Keras'."
            ),
            "Size": number("Size", format="%.1f kB"),
            "Latency": number(
                "One answer",
                format="%.3f ms",
                help="By the format's own runtime: the median of many calls with one example.",
            ),
            "Offered": st.column_config.TextColumn("Offered", help="Whether it passed."),
        },
    )
    report = done[0].report
    heads = {export.report.get("head", BOTH_HEADS) for export in done} - {BOTH_HEADS}
    if heads:
        st.caption(f"Answers of one head alone: {', '.join(sorted(heads))}.")
    st.caption(
        f"Times: median of up to 1,000 calls with one example each, measured on {as_text(report['machine'])}; "
        "LiteRT and ONNX Runtime with one thread."
    )


def _take(store: Store, run: Run, offered: list[Export], made: list[Export]) -> None:
    """Choose a format that passed, and download it with the script that runs it."""
    reports = {export.format: export.report for export in offered}
    names = list(reports)
    with st.container(border=True):
        chosen = str(
            st.segmented_control(
                "Format",
                names,
                default="litert-int8" if "litert-int8" in names else names[0],
                required=True,
                key="take_format",
                format_func=lambda name: FORMATS[name].title,
                help="What to take away.",
            )
        )
        folder = bundle_name(run, next(each for each in offered if each.format == chosen))
        st.caption(FORMATS[chosen].about)
        with st.container(horizontal=True, gap="small"):
            st.download_button(
                f"Download {FORMATS[chosen].title}",
                lambda: zip_of(bundle(store, run.id, chosen), folder),
                f"{folder}.zip",
                "application/zip",
                type="primary",
                icon=":material/download:",
                key="take_download",
                on_click="ignore",
                help="A zip of the model, run.py, ten examples and the model card.",
            )
            st.download_button(
                "Model card",
                lambda: model_card(store, run, made),
                f"{folder}-card.md",
                "text/markdown",
                icon=":material/description:",
                key="take_card",
                on_click="ignore",
                help="What it learnt from, how good it is and how that was found, as Markdown.",
            )
        with st.expander("run.py: the script that comes with it", icon=":material/code:"):
            st.code(snippet(chosen, FORMATS[chosen].file, reports[chosen]), language="python")
