"""Reading on: which rows of metrics and probes are new since the last poll, whatever the order in
which runs commit.

A cursor holds, for each run, the last id that was read; a run that is not in it was not read yet.
One number for all runs would not do: PostgreSQL gives ids out before the commit, so that a row of
one run can become visible after a row of another with a higher id. Within a run, which has one
writer, ids become visible in their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from sqlalchemy import BigInteger, Result, Select, cast, func, literal, text
from sqlalchemy.orm import Session

Cursor = Mapping[str, int]


def newer(
    session: Session, query: Select[Any], table: Any, run_ids: Iterable[str], after: Cursor | None
) -> Result[Any]:
    """Execute ``query`` for the rows of ``table`` that are new in the given runs, in order
    of id.
    """
    cursor = json.dumps({run_id: (after or {}).get(run_id, 0) for run_id in run_ids})
    # One parameter however many runs there are: the statement is compiled once.
    if session.get_bind().dialect.name == "postgresql":
        known = func.json_each_text(literal(cursor).op("::")(text("json"))).table_valued(
            "key", "value"
        )
    else:
        known = func.json_each(cursor).table_valued("key", "value")
    joined = query.join_from(known, table, table.run_id == known.c.key)
    return session.execute(
        joined.where(table.id > cast(known.c.value, BigInteger)).order_by(table.id)
    )


def next_cursor(metrics: pd.DataFrame, after: Cursor | None = None) -> dict[str, int]:
    """Return the cursor that follows ``after`` once ``metrics`` have been read."""
    return {
        **(after or {}),
        **{str(run): int(last) for run, last in metrics.groupby("run_id")["id"].max().items()},
    }


def current_points(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the points that still count: a resumed run replaces what it had trained past its
    checkpoint.

    A point is superseded when the same run and split later wrote one with a step that is not
    greater.
    """
    if metrics.empty:
        return metrics
    latest_first, curve = metrics.sort_values("id", ascending=False), ["run_id", "split"]
    latest_first["lowest"] = latest_first.groupby(curve, sort=False)["step"].cummin()
    lowest_later = latest_first.groupby(curve, sort=False)["lowest"].shift(1).reindex(metrics.index)
    return metrics[lowest_later.isna() | (metrics["step"] < lowest_later)]
