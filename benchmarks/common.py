"""What all benchmarks share: the machine in words, and results as a table for people and JSON for
programs.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Run
from kdcore.storage.store import Store


def machine() -> str:
    """Return the processor, its cores, and the number formats that it computes fast, in one
    line.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    facts = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    flags = set(facts.get("flags", "").split())
    formats = [
        name
        for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16"))
        if flag in flags
    ]
    name = facts.get("model name", platform.processor() or platform.machine())
    return f"{name}, {os.cpu_count()} cores, {' and '.join(formats) or 'no bfloat16 instructions'}"


def present(title: str, rows: Sequence[Mapping[str, Any]], **facts: Any) -> None:
    """Print ``rows`` as a Markdown table, and everything once more as one line of JSON, last."""
    print(f"\n## {title}\n\n{machine()}\n")
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(_in_words(row.get(column)) for column in columns) + " |")
    print(
        "\n" + json.dumps({"benchmark": title, "machine": machine(), **facts, "rows": list(rows)})
    )


def student_run(store: Store, config: ExperimentConfig) -> Run:
    """Put an experiment into the store with the run of its first student, as a worker that is about
    to train it does.
    """
    experiment_id = store.create(config)
    run = Run(
        id=f"{experiment_id}s",
        fingerprint=config.fingerprint("student"),
        role="student",
        seed=config.seed,
        model=config.student,
        config=config.model_dump(mode="json"),
        experiment_id=experiment_id,
        created_at=time.time(),
    )
    return store.claim_run(run, experiment_id, share=False)[0]


def _in_words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value)
