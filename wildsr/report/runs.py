"""Training runs: their logs, thinned and smoothed for drawing."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wildsr.errors import UserError
from wildsr.report.tables import read_records

POINTS = 400
"""Most points of one line of a chart."""

Curve = list[tuple[int, float]]


@dataclass(frozen=True)
class Run:
    """A training run's log: each loss and each validation score as (step, value) pairs in the order of steps."""

    name: str
    recipe: str
    losses: dict[str, Curve]
    scores: dict[str, Curve]


def read_run(folder: Path) -> Run:
    """Reads `log.jsonl` and, where there is one, `config.json`. Of a step that stands twice the later record counts; steps beyond the
    one that a resumed run began from are dropped, as it went on without them. Raises UserError naming the file."""
    steps: dict[str, dict[int, dict[str, Any]]] = {"losses": {}, "scores": {}}
    for record in read_records(Path(folder) / "log.jsonl"):
        kind, step = {"step": "losses", "val": "scores"}.get(str(record.get("event"))), record.get("step")
        first = record.get("first_step")
        if record.get("event") == "start" and isinstance(first, int):
            steps = {name: {step: found for step, found in known.items() if step <= first} for name, known in steps.items()}
        elif kind and isinstance(step, int) and isinstance(record.get(kind), dict):
            steps[kind][step] = record[kind]
    curves: dict[str, dict[str, Curve]] = {"losses": {}, "scores": {}}
    for kind, known in steps.items():
        for step, name, value in ((at, name, value) for at in sorted(known) for name, value in known[at].items()):
            if isinstance(value, int | float) and math.isfinite(value):
                curves[kind].setdefault(name, []).append((step, float(value)))
    config, recipe = Path(folder) / "config.json", ""
    if config.is_file():
        try:
            recipe = json.loads(config.read_text(encoding="utf-8")).get("recipe", "")
        except (ValueError, AttributeError):
            raise UserError(f"{config}: not a JSON object") from None
    return Run(Path(folder).resolve().name, recipe if isinstance(recipe, str) else "", curves["losses"], curves["scores"])


def thin(values: Curve, most: int = POINTS) -> Curve:
    """At most `most` (step, value) pairs: of each stretch its lowest and its highest, so that no spike is lost."""
    if len(values) <= most:
        return list(values)
    stretches = np.array_split(np.arange(len(values)), most // 2)
    kept = {int(end) for part in stretches for end in (min(part, key=lambda i: values[i][1]), max(part, key=lambda i: values[i][1]))}
    return [values[index] for index in sorted(kept)]


def smooth(values: Curve) -> Curve:
    """The centred moving mean over a tenth of the pairs, at most POINTS pairs."""
    reach = len(values) // 20
    sums = np.concatenate([[0.0], np.cumsum([value for _, value in values])])
    places = np.unique(np.linspace(0, len(values) - 1, min(POINTS, len(values))).round().astype(int))
    starts, ends = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    means = (sums[ends] - sums[starts]) / (ends - starts)
    return [(values[place][0], float(mean)) for place, mean in zip(places, means, strict=True)]
