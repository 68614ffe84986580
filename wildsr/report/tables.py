"""Rows of a benchmark: reading them, what each metric is, and one metric's measurements of one suite."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from wildsr import files
from wildsr.errors import UserError

BICUBIC = "bicubic"
TEXTS = ("model", "suite", "suite_version", "set", "image", "degradation", "metric", "space", "protocol")
KEY = ("suite", "model", "set", "image", "degradation", "metric", "space")
AGREE = {
    "scale": (),
    "seed": (),
    "suite_version": ("suite",),
    "protocol": ("suite", "metric", "space"),
    "weights_sha256": ("model",),
    "hr_sha256": ("set", "image"),
    "lr_sha256": ("suite", "set", "image", "degradation"),
}
"""What must be equal among all rows that share the named fields, lest numbers be compared that cannot be."""
Row = dict[str, Any]


class Metric(NamedTuple):
    """What a metric is called, its unit, its decimals, and which values are good."""

    title: str
    unit: str = ""
    decimals: int = 4
    better: Literal["higher", "lower", "zero"] = "higher"


METRICS = {
    "psnr": Metric("PSNR", " dB", 2),
    "ssim": Metric("SSIM"),
    "ms-ssim": Metric("MS-SSIM"),
    "psnr-high": Metric("Detail PSNR", " dB", 2),
}
"""The metrics in the order of their tabs. Others follow under their own names, in capitals."""
BAND = re.compile(r"energy-([0-9.]+)-([0-9.]+|top)")
"""Names of the bands of frequencies whose energy is compared with the truth's: bounds in units of LR's Nyquist frequency."""


def metric_of(name: str, row: Row | None = None) -> Metric:
    """What is known of a metric. `row`: one of its rows, which may say `lower_better`."""
    if band := BAND.fullmatch(name):
        return Metric(f"Energy {band[1]}–{band[2]}", " dB", 2, "zero")
    return METRICS.get(name) or Metric(name.upper(), better="lower" if row and row.get("lower_better") else "higher")


# Reading


ROUNDING = 1e-4
"""How far two values of one measurement may differ, relative to themselves: another number of threads, or another processor, rounds
otherwise, and tips single pixels. The first counts."""


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """Reads the rows of one or more `rows.jsonl`, which may be compressed (`rows.jsonl.xz`; a folder stands for the one in it), each
    measurement once.

    Raises UserError naming the file: missing, empty, a key that lacks or has a wrong type, and rows that cannot be compared: another
    scale or seed, another version of one suite or protocol of one metric in it, one label for two weights, another input or ground truth,
    two values for one measurement that differ by more than `ROUNDING`. A failure that another row mends is dropped."""
    rows: dict[tuple[str, ...], Row] = {}
    seen: dict[tuple[str, ...], tuple[Any, Path]] = {}
    for path in (rows_file(path) for path in paths):
        for row in read_records(path):
            _check_row(row, path)
            _check_agreement(seen, row, path)
            key = tuple([row[name] for name in KEY])
            old, new = number(rows[key]) if key in rows else None, number(row)
            if old is not None and new is not None and not math.isclose(old, new, rel_tol=ROUNDING):
                raise UserError(f"{path}: two values for {' / '.join(key)}: {old} and {new}: keep one of the two runs")
            if old is None:
                rows[key] = row
    if not rows:
        raise UserError("no rows.jsonl was given: pass the one that `wildsr bench` writes")
    return list(rows.values())


def rows_file(path: Path) -> Path:
    """A file of rows; a folder stands for the `rows.jsonl` in it, or for a `rows.jsonl.xz`."""
    path = Path(path)
    if not path.is_dir():
        return path
    compressed = path / "rows.jsonl.xz"
    return compressed if compressed.is_file() and not (path / "rows.jsonl").is_file() else path / "rows.jsonl"


def read_records(path: Path) -> list[Row]:
    """The records of one file. Raises UserError naming it when it is missing or holds none."""
    try:
        records = files.read_jsonl(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if not records:
        raise UserError(f"{path}: holds no records")
    return records


def _check_row(row: Row, path: Path) -> None:
    for key in (*TEXTS, "scale", "value", "seed"):
        if key not in row:
            raise UserError(f"{path}: a row has no {key!r}: {json.dumps(row, ensure_ascii=False)[:200]}")
        value = row[key]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (isinstance(value, str) and value if key in TEXTS else is_number or (key == "value" and value is None)):
            raise UserError(f"{path}: {key} = {value!r} is not a {'text' if key in TEXTS else 'number'}")
    if type(seed := row.get("training_seed")) not in (int, type(None)):  # True is no seed either
        raise UserError(f"{path}: training_seed = {seed!r} is not a whole number")


def _check_agreement(seen: dict[tuple[str, ...], tuple[Any, Path]], row: Row, path: Path) -> None:
    """Raises UserError where `row` differs from an earlier one in what makes two results comparable."""
    for key, scope in AGREE.items():
        value = row.get(key)
        # Only hashes may lack: bicubic has no weights, a photograph alone no ground truth.
        if value is None:
            continue
        place = [row[name] for name in scope]
        old, file = seen.setdefault((key, *place), (value, path))
        if old != value:
            both = f"{old!r} in {file} and {value!r} in {path}" if file != path else f"{old!r} and {value!r}, both in {path}"
            raise UserError(f"{key}{' of ' if place else ''}{' '.join(place)} differs: {both}: such results cannot be compared on one page")


def number(row: Row) -> float | None:
    """The measured value of a row; infinite for identical pictures, None for a failure."""
    value = row["value"]
    if row.get("error"):
        return None
    if row.get("infinite") or value == math.inf:
        return math.inf
    return float(value) if value is not None and math.isfinite(value) else None


# One metric of one suite


@dataclass(frozen=True)
class Mean:
    """A mean (None: nothing to average), the measurements that went into it, and those that were asked for."""

    mean: float | None
    count: int
    expected: int


@dataclass(frozen=True)
class Summary:
    """The measurements of one metric in one colour space under one suite. `models` starts with bicubic where there is one.

    `words` and `seen` have for each degradation its long name and whether training covers its kind ("seen", "near", "unseen", or "" where
    the rows do not say). `values` and `failures` have by (model, set, degradation) each picture's value or reason; `pictures` has by (set,
    degradation) those that any model was measured on, `hashes` by (set, picture) the SHA-256 of the ground truth where rows have it, and
    `inputs` by degradation and (set, picture) that of the low resolution."""

    suite: str
    version: str
    scale: int
    metric: str
    space: str
    protocol: str
    about: Metric
    models: list[str]
    sets: list[str]
    degradations: list[str]
    words: dict[str, str]
    seen: dict[str, str]
    values: dict[tuple[str, str, str], dict[str, float]]
    failures: dict[tuple[str, str, str], dict[str, str]]
    pictures: dict[tuple[str, str], set[str]]
    hashes: dict[tuple[str, str], str]
    inputs: dict[str, dict[tuple[str, str], str]]

    @property
    def key(self) -> str:
        return f"{self.metric}-{self.space}"

    @property
    def name(self) -> str:
        return f"{self.about.title} {self.space.upper()}"

    @property
    def unit(self) -> str:
        return self.about.unit

    @property
    def title(self) -> str:
        return f"{self.name} in{self.unit}" if self.unit else self.name

    def cell(self, model: str, of_set: str, degradation: str) -> Mean:
        """A model's mean over the pictures of a set. An infinite value makes a mean infinite."""
        found = self.values.get((model, of_set, degradation), {})
        return Mean(mean_of(found.values()), len(found), len(self.pictures.get((of_set, degradation), ())))

    @cached_property
    def places(self) -> list[tuple[str, str]]:
        """All pictures as (set, picture), set after set, by name."""
        found = {(name, image) for (name, _), images in self.pictures.items() for image in images}
        return sorted(found, key=lambda place: (self.sets.index(place[0]), place[1]))

    def images(self, of_set: str | None = None) -> list[tuple[str, str]]:
        """The pictures of a set, or of all sets, as (set, picture), in order."""
        return [place for place in self.places if of_set in (None, place[0])]

    def count(self, of_set: str | None = None) -> str:
        """How many distinct pictures a set has, or all sets have, in words."""
        return plural(len(self.images(of_set)), "picture")

    def failure_notes(self) -> list[str]:
        """A sentence for each model, set and degradation with failed pictures."""
        return [
            f"{model} on {name} {degradation}: {len(found)} of {len(self.pictures[name, degradation])} failed "
            f"({', '.join(dict.fromkeys(found.values()))[:300]})"
            for (model, name, degradation), found in self.failures.items()
        ]


def mean_of(values: Iterable[float]) -> float | None:
    """The mean; None of nothing, and where +∞ meets −∞."""
    values = list(values)
    mean = sum(values) / len(values) if values else math.nan
    return None if math.isnan(mean) else mean


def summarize(rows: Sequence[Row], metric: str, space: str, suite: str | None = None) -> Summary:
    """The rows of one suite, metric and space by model, set and degradation; failures are kept apart, out of the means. Without `suite`,
    the only one there is.

    Raises UserError where no row has this metric and space, bicubic has none (plain enlargement must be visible in each table), or one
    of several suites must be chosen."""
    suites = distinct(rows, "suite") if suite is None else [suite]
    if len(suites) > 1:
        raise UserError(f"the rows are of several suites: choose one of {', '.join(suites)}")
    mine = [row for row in rows if suite in (None, row["suite"])]
    chosen = [row for row in mine if row["metric"] == metric and row["space"] == space]
    if not chosen:
        there = ", ".join(sorted({f"{row['metric']} {row['space']}" for row in mine}))
        raise UserError(f"no rows of {metric} {space}: there is {there or 'nothing'}")
    return _summary(chosen, models_of(mine))


def summaries(rows: Iterable[Row]) -> list[Summary]:
    """A summary of each suite, metric and space of which anything was measured: suites as they appear, metrics as METRICS has them, bands
    of frequencies last. Raises UserError as `summarize` does."""
    chosen: dict[str, dict[tuple[str, str], list[Row]]] = {}
    for row in rows:
        chosen.setdefault(row["suite"], {}).setdefault((row["metric"], row["space"]), []).append(row)
    known = list(METRICS)

    def order(pair: tuple[str, str]) -> tuple[Any, ...]:
        name, space = pair
        return bool(BAND.fullmatch(name)), known.index(name) if name in known else len(known), name, space

    found = []
    for by in chosen.values():
        models = models_of(row for some in by.values() for row in some)
        # A model that fails has rows of everything that was asked for, also of what no other model has.
        found += [_summary(by[pair], models) for pair in sorted(by, key=order) if any(number(row) is not None for row in by[pair])]
    return found


def require_measured(found: Sequence[Summary]) -> None:
    """Raises UserError where there is no summary but of bands of frequencies."""
    if all(BAND.fullmatch(summary.metric) for summary in found):
        raise UserError("no row has a value: every measurement failed; their errors stand in rows.jsonl")


def _summary(chosen: Sequence[Row], models: list[str]) -> Summary:
    first = chosen[0]
    metric, space = first["metric"], first["space"]
    if all(row["model"] != BICUBIC for row in chosen):
        raise UserError(f"no bicubic rows of {metric} {space}: add the word bicubic to the bench command")
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    failures: dict[tuple[str, str, str], dict[str, str]] = {}
    pictures: dict[tuple[str, str], set[str]] = {}
    words: dict[str, str] = {}
    seen: dict[str, str] = {}
    hashes: dict[tuple[str, str], str] = {}
    inputs: dict[str, dict[tuple[str, str], str]] = {}
    for row in chosen:
        key, value = (row["model"], row["set"], row["degradation"]), number(row)
        pictures.setdefault(key[1:], set()).add(row["image"])
        words.setdefault(key[2], str(row.get("words") or key[2]))
        seen.setdefault(key[2], str(row.get("seen") or ""))
        if row.get("hr_sha256"):
            hashes.setdefault((key[1], row["image"]), row["hr_sha256"])
        if row.get("lr_sha256"):
            inputs.setdefault(key[2], {}).setdefault((key[1], row["image"]), row["lr_sha256"])
        if value is None:
            failures.setdefault(key, {})[row["image"]] = str(row.get("error") or "no value")
        else:
            values.setdefault(key, {})[row["image"]] = value
    facts = (first["suite"], first["suite_version"], int(first["scale"]), metric, space, first["protocol"], metric_of(metric, first))
    return Summary(*facts, models, distinct(chosen, "set"), list(words), words, seen, values, failures, pictures, hashes, inputs)


# Words


def distinct(rows: Iterable[Row], key: str) -> list[Any]:
    """The values of a key in their order of appearance, without None."""
    return list(dict.fromkeys(row[key] for row in rows if row.get(key) is not None))


def models_of(rows: Iterable[Row]) -> list[str]:
    """Labels in the order of their appearance, bicubic first."""
    return sorted(distinct(rows, "model"), key=lambda model: model != BICUBIC)


def families(words: Mapping[str, str]) -> dict[str, list[str]]:
    """Degradations by kind: those whose long names agree up to a comma ("motion blur, severity 2 of 3") are of one."""
    found: dict[str, list[str]] = {}
    for name, long in words.items():
        found.setdefault(long.partition(", severity ")[0], []).append(name)
    return found


def show(value: float | None, metric: str) -> str:
    """A number as it is shown: PSNR with 2 decimals, others with 4; ∞; – for none."""
    decimals = metric_of(metric).decimals
    return "–" if value is None else "∞" if value == math.inf else "−∞" if value == -math.inf else f"{value:.{decimals}f}"


def signed(value: float | None, metric: str) -> str:
    """A difference as it is shown, with +, − or, where it rounds to nothing, ±."""
    size = show(None if value is None else abs(value), metric)
    return size if value is None else f"±{size}" if not size.strip("0.") else f"+{size}" if value > 0 else f"−{size}"


def plural(count: int, word: str) -> str:
    """A count and its noun: 1 set, 2 sets."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
