"""What came out of a sweep: records, and a table of them."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wildsr.report.tables import BICUBIC, Row, distinct, number, plural, show, summarize
from wildsr.sweep.grid import Run, words

Record = dict[str, Any]
Place = tuple[str, str]
"""A set and a degradation."""


def records(runs: Sequence[Run], rows: Sequence[Row], diverged: Mapping[str, str]) -> list[Record]:
    """A record for bicubic and each run, on each set and degradation: mean RGB PSNR in dB over the set's pictures, or the error.

    A model that failed on some pictures has no mean, since one over fewer pictures could not be compared."""
    summary, first = summarize(rows, "psnr", "rgb"), rows[0]
    of_model = {row["model"]: row for row in rows}
    shared = {key: first[key] for key in ("suite", "suite_version", "scale")} | {"protocol": summary.protocol}
    found: list[Record] = []
    for run in [None, *runs]:
        label = run.label if run else BICUBIC
        mine = {
            "label": label,
            "point": run.point.label if run else BICUBIC,
            "axes": run.point.axes if run else {},
            "seed": run.seed if run else None,
            "plain": run is not None and not run.config.regularizers,
            "steps": run.config.steps if run else None,
            "weights_sha256": of_model.get(label, {}).get("weights_sha256"),
            "code_version": of_model.get(label, {}).get("code_version"),
            **shared,
        }
        for name, degradation in itertools.product(summary.sets, summary.degradations):
            cell = summary.cell(label, name, degradation)
            why = summary.failures.get((label, name, degradation), {})
            error = diverged.get(label) or "; ".join(f"{picture}: {reason}" for picture, reason in why.items()) or None
            value = cell.mean if error is None else None
            found.append(
                {
                    **mine,
                    "set": name,
                    "degradation": degradation,
                    "pictures": cell.expected,
                    "metric": "psnr",
                    "space": "rgb",
                    "value": None if value is None or math.isinf(value) else value,
                    "infinite": value == math.inf,
                    "error": error,
                }
            )
    return found


class Level(NamedTuple):
    """A mean over seeds in dB, the standard deviation over them (n - 1; None for one seed), and how many there are."""

    mean: float
    deviation: float | None
    seeds: int


def level(records: Sequence[Record], point: str, places: Sequence[Place]) -> Level | None:
    """A point's level on the mean of some places, each weighing the same, over the seeds that have them all; None without such."""
    by_seed: dict[Any, dict[Place, float]] = {}
    for record in records:
        if record["point"] == point and (value := number(record)) is not None:
            by_seed.setdefault(record["seed"], {})[record["set"], record["degradation"]] = value
    means = [sum(values[place] for place in places) / len(places) for values in by_seed.values() if set(places) <= values.keys()]
    if not means:
        return None
    spread = statistics.stdev(means) if len(means) > 1 and all(map(math.isfinite, means)) else None
    return Level(sum(means) / len(means), spread, len(means))


def table(records: Sequence[Record]) -> str:
    """Markdown: what was measured and how, and a row for each point, bicubic first, with the mean over the seeds in each place."""
    places = list(dict.fromkeys((record["set"], record["degradation"]) for record in records))
    axes = axes_of(records)
    sizes = ", ".join(f"{name} {plural(count, 'picture')}" for name, count in {r["set"]: r["pictures"] for r in records}.items())
    lines = [
        _plain(f"PSNR RGB in dB, higher is better: the mean over a set's pictures ({sizes}), then over seeds. {_seeds(records)}"),
        _plain(f"{facts(records)}; protocol {records[0]['protocol']}; code {', '.join(distinct(records, 'code_version'))}."),
        "",
        "| " + " | ".join(map(_plain, [*axes, "seeds", *(f"{name} {degradation}" for name, degradation in places)])) + " |",
        "|" + " --- |" * len(axes) + " ---: |" * (1 + len(places)),
    ]
    asked = len(distinct(records, "seed"))
    for point, first in points_of(records).items():
        levels = [level(records, point, [place]) for place in places]
        names = [words(first["axes"][axis]) for axis in axes] if first["axes"] else [point, *[""] * (len(axes) - 1)]
        counts = sorted({found.seeds if found else 0 for found in levels})
        seeds = "" if point == BICUBIC else str(asked) if counts == [asked] else f"{'–'.join(map(str, counts))} of {asked}"
        cells = ["–" if found is None else show(found.mean, "psnr") + _spread(found) for found in levels]
        lines.append("| " + " | ".join(map(_plain, [*names, seeds, *cells])) + " |")
    failures = dict.fromkeys(f"{record['label']}: {record['error']}" for record in records if record["error"])
    return "\n".join([*lines, "", *(f"– failed, and in no mean: {_plain(failure)}\n" for failure in failures)])


def _spread(found: Level) -> str:
    return "" if found.deviation is None else f" ± {show(found.deviation, 'psnr')}"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("`", "\\`").replace("<", "&lt;")


def axes_of(records: Sequence[Record]) -> list[str]:
    """The names of the grid's axes, in order."""
    return list(dict.fromkeys(axis for record in records for axis in record["axes"]))


def points_of(records: Sequence[Record]) -> dict[str, Record]:
    """Point -> its first record, in order."""
    found: dict[str, Record] = {}
    for record in records:
        found.setdefault(record["point"], record)
    return found


def _seeds(records: Sequence[Record]) -> str:
    seeds = distinct(records, "seed")
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}): how far another would lie from it is not known."
    return f"± is the standard deviation over the {len(seeds)} seeds {', '.join(map(str, seeds))}."


def facts(records: Sequence[Record]) -> str:
    """What all records share, in words: suite, scale, steps."""
    steps = sorted(distinct(records, "steps"))
    length = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    return f"Suite {records[0]['suite']} {records[0]['suite_version']}, ×{records[0]['scale']}; {length} steps"
