"""Tables for a paper or a spreadsheet: a comparison of models, and the cells of a sweep.

As CSV with plain numbers, and as Markdown or LaTeX (booktabs) with intervals. The best is bold only
where paired seeds tell it from every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kdcore.analysis.comparison import Comparison
from kdcore.analysis.statistics import PairedGain, finite_or_none, paired_gain
from kdcore.config.sweep import short_title_of, value_text
from kdcore.errors import require
from kdcore.sweeps.results import Cell, SweepResults

FORMATS = {"csv": "text/csv", "markdown": "text/markdown", "latex": "text/x-tex"}
ENDINGS = {"csv": "csv", "markdown": "md", "latex": "tex"}
_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "→": r"$\rightarrow$",
    "α": r"$\alpha$",
    "×": r"$\times$",
}


@dataclass(frozen=True)
class Table:
    """A table for people and for programs.

    ``numbers`` has plain values, ``words`` what people read in the same rows, with the row at
    ``best`` (None where none is told from all others), ``note`` what the numbers are.
    """

    numbers: pd.DataFrame
    words: pd.DataFrame
    best: int | None
    note: str

    def render(self, form: str) -> str:
        """Return it as "csv", "markdown" or "latex"; raises ConfigError for another form."""
        require(form in FORMATS, "format", f"one of {', '.join(FORMATS)}", form)
        if form == "csv":
            return self.numbers.to_csv(index=False, lineterminator="\n")
        return self._markdown() if form == "markdown" else self._latex()

    def _markdown(self) -> str:
        rows = [[_in_markdown(str(cell)) for cell in row] for row in self.words.to_numpy()]
        if self.best is not None:
            rows[self.best] = [f"**{cell}**" for cell in rows[self.best]]
        head = [_in_markdown(str(name)) for name in self.words.columns]
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{self.note}\n"

    def _latex(self) -> str:
        rows = [[_in_latex(str(cell)) for cell in row] for row in self.words.to_numpy()]
        if self.best is not None:
            rows[self.best] = [rf"\textbf{{{cell}}}" for cell in rows[self.best]]
        head = [_in_latex(str(name)) for name in self.words.columns]
        lines = [
            rf"% {self.note} Needs \usepackage{{booktabs}}.",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return "\n".join(lines) + "\n"


def comparison_table(found: Comparison) -> Table:
    """Return the numbers of a comparison, a row a model: all on test data."""
    numbers: list[dict[str, Any]] = []
    words: list[dict[str, str]] = []
    for contender, style, of in zip(found.contenders, found.styles, found.numbers, strict=True):
        low, high = of.interval or (None, None)
        numbers.append(
            {
                "id": contender.id,
                "model": style.name,
                "network": contender.model,
                "seeds": len(of.accuracies),
                "test_accuracy": of.accuracy,
                "test_accuracy_low": low,
                "test_accuracy_high": high,
                "test_negative_log_likelihood": of.negative_log_likelihood,
                "test_calibration_error": of.expected_calibration_error,
                "parameters": of.parameters,
                "multiply_accumulates": of.multiply_accumulates,
                "file_bytes": of.file_bytes,
                "agreement_with_teacher": of.agreement,
            }
        )
        words.append(
            {
                "model": style.name,
                "network": contender.model,
                "seeds": str(len(of.accuracies)),
                "test accuracy (%)": _mean_and_interval(of.accuracy, of.interval),
                "log loss (nats)": _number(of.negative_log_likelihood, "{:.3f}"),
                "calibration error (%)": _number(of.expected_calibration_error, "{:.1f}", 100),
                "parameters": _number(of.parameters, "{:,.0f}"),
            }
        )
    several = any(len(of.accuracies) > 1 for of in found.numbers)
    note = (
        f"On {found.examples:,} test examples; mean with the 95 % interval"
        + (" over seeds (t), of a single run over test examples (Wilson)." if several else ".")
        + " Bold: told from every other by paired seeds."
    )
    return Table(pd.DataFrame(numbers), pd.DataFrame(words), _told_from_all(found), note)


def _told_from_all(found: Comparison) -> int | None:
    """Return the model whose gain over every other leaves zero out over paired seeds."""
    wins = {at: 0 for at in range(len(found.contenders))}
    for pair in found.pairs:
        if pair.gain.outcome == "helped":
            wins[pair.first] += 1
        elif pair.gain.outcome == "hurt":
            wins[pair.second] += 1
    best = [at for at, count in wins.items() if count == len(found.contenders) - 1]
    return best[0] if best else None


def sweep_table(sweep: SweepResults) -> Table:
    """Return the cells of a sweep: accuracy and gain on validation data, by which one chooses."""
    fields, best = sweep.config.fields, sweep.best()
    numbers: list[dict[str, Any]] = []
    words: list[dict[str, str]] = []
    shown = [cell for cell in sweep.cells if cell.values is not None]
    for cell in shown:
        values, gain = cell.values or {}, cell.gain
        low, high = cell.interval or (None, None)
        numbers.append(
            {
                **{field: values[field] for field in fields},
                "status": cell.status,
                "seeds": cell.n,
                "validation_accuracy": cell.accuracy,
                "validation_accuracy_low": low,
                "validation_accuracy_high": high,
                "gain_points": gain.mean if gain else None,
                "gain_low": finite_or_none(gain.low) if gain else None,
                "gain_high": finite_or_none(gain.high) if gain else None,
            }
        )
        words.append(
            {
                **{short_title_of(field): value_text(values[field]) for field in fields},
                "seeds": str(cell.n),
                "validation accuracy (%)": _mean_and_interval(cell.accuracy, cell.interval),
                "gain over baseline (points)": _gain_in_words(gain),
            }
        )
    chosen = None
    if best is not None and all(_beats(best, other) for other in shown if other.id != best.id):
        chosen = next(at for at, cell in enumerate(shown) if cell.id == best.id)
    note = (
        "On validation data, mean with the 95 % interval over seeds (t). "
        "Bold: the best cell, where paired seeds tell it from every other."
    )
    return Table(pd.DataFrame(numbers), pd.DataFrame(words), chosen, note)


def _beats(best: Cell, other: Cell) -> bool:
    """Whether paired seeds tell a cell from a worse one."""
    seeds = sorted(best.student.keys() & other.student.keys())
    if len(seeds) < 2:
        return False
    pairs = [[cell.student[seed] for seed in seeds] for cell in (best, other)]
    found = paired_gain(pairs[0], pairs[1], test_examples=best.validation_examples)
    return found.outcome == "helped"


def _gain_in_words(gain: PairedGain | None) -> str:
    if gain is None:
        return "–"
    known = np.isfinite(gain.low)
    return f"{gain.mean:+.1f}" + (f" ({gain.low:.1f} to {gain.high:.1f})" if known else "")


def _mean_and_interval(mean: float | None, interval: tuple[float, float] | None) -> str:
    if mean is None:
        return "–"
    if interval is None:
        return f"{100 * mean:.1f}"
    low, high = (100 * end for end in interval)
    half = (high - low) / 2
    even = abs((low + high) / 2 - 100 * mean) < 0.05
    return (
        f"{100 * mean:.1f} ± {half:.1f}" if even else f"{100 * mean:.1f} ({low:.1f} to {high:.1f})"
    )


def _number(value: float | None, form: str, times: float = 1) -> str:
    return "–" if value is None else form.format(times * value)


def _in_markdown(text: str) -> str:
    return "".join(f"\\{sign}" if sign in r"\|*_`<>[]" else sign for sign in text)


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
